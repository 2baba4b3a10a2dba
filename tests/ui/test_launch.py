"""What `pruning-explorer` shows before anything is run: the notebook alone, quiet, nothing from outside."""

import sys

import pytest

from explorer.launch import NOTEBOOK

pytestmark = pytest.mark.ui

NOTIFICATIONS = "/lab/api/settings/@jupyterlab/apputils-extension:notification"


def test_the_notebook_is_open_alone_with_its_source_collapsed(open_notebook):
    notebook = open_notebook()
    page = notebook.page
    notebook.screenshot("launched")
    assert page.evaluate("() => window.jupyterapp.shell.mode") == "single-document"
    paths = page.evaluate(
        "() => Array.from(window.jupyterapp.shell.widgets('main')).map(widget => widget.context?.path)"
    )
    assert paths == [NOTEBOOK]
    assert page.locator(".jp-MarkdownCell").inner_text().strip().startswith("Run ▸ Run All Cells")
    assert not page.locator(".jp-FileBrowser").first.is_visible()
    assert page.locator(".jp-CodeCell").count() == 1
    assert page.locator(".jp-CodeCell .jp-InputPlaceholder").count() == 1
    assert page.locator(".jp-CodeCell .cm-editor:visible").count() == 0
    assert notebook.kernel("__import__('sys').prefix") == sys.prefix


def test_no_news_is_asked_for_or_shown(open_notebook, lab):
    page = open_notebook().page
    settings = page.evaluate("async url => (await fetch(url)).json()", lab.address + NOTIFICATIONS)
    defaults = {name: entry["default"] for name, entry in settings["schema"]["properties"].items()}
    assert defaults["fetchNews"] == "false"
    assert defaults["checkForUpdates"] is False
    assert page.locator(".Toastify__toast, .jp-Dialog").count() == 0
