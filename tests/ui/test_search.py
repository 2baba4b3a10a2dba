"""A search over widths in a real JupyterLab: seen, stopped by keyboard, and gone on with by another kernel."""

import shutil

import pytest

from explorer.launch import NOTEBOOK

pytestmark = [pytest.mark.ui, pytest.mark.slow]

STRIP = ".pe-training"


def begun(notebook, cache):
    """Run the notebook, and begin a search that lasts longer than this test."""
    notebook.kernel(f"__import__('os').environ.update(XDG_CACHE_HOME={str(cache)!r})")
    notebook.run_all()
    notebook.wait_drawn("bars")
    notebook.kernel("Out[1].session.start_search(batch=8, epochs=1000)")


def wait_words(notebook, selector, words):
    notebook.page.wait_for_function(
        "([selector, words]) => document.querySelector(selector)?.innerText.includes(words)",
        arg=[selector, words],
        timeout=300_000,
    )


def test_a_search_that_is_stopped_goes_on_in_another_kernel(open_notebook, lab, tmp_path):
    notebook = open_notebook(width=1280, height=960)
    begun(notebook, tmp_path)
    wait_words(notebook, STRIP, "warm-up · loss")
    notebook.screenshot("searching")
    notebook.page.locator(f"{STRIP} button", has_text="Stop").locator("visible=true").focus()
    notebook.page.keyboard.press("Enter")
    wait_words(notebook, STRIP, "search stopped")
    step = notebook.kernel("Out[1].session.runs.progress.get('dmcp').step")
    assert step > 0
    assert notebook.kernel("Out[1].session.error") == ""
    shutil.copyfile(lab.folder / NOTEBOOK, lab.folder / "again.ipynb")
    again = open_notebook("again.ipynb", width=1280, height=960)
    begun(again, tmp_path)
    wait_words(again, ".pe-status", f"goes on from step {step} of")
    wait_words(again, STRIP, "warm-up · loss")
    assert again.kernel("Out[1].session.runs.progress.get('dmcp').step") > step
