"""Another network in a live output: chosen and uploaded by keyboard, drawn in place, brought back by undo."""

import inspect

import nbformat
import pytest
import torch
from torch import nn

from explorer.launch import NOTEBOOK
from tests.ui.lab import ROOT

pytestmark = [pytest.mark.ui, pytest.mark.slow]

OPENER = ".pe-picker > .pe-opener"
# Of all documents that the page had, the one that it shows: whether its bars are drawn, a row for each layer.
DRAWN = """([least, most]) => Bokeh.documents.some((shown) => {
    const chart = shown.get_model_by_name('bars')
    const view = chart && Bokeh.index.find_one(chart)
    const rows = shown.get_model_by_name('bars-rows')?.data.dense.length
    return view?.el.isConnected && view.has_finished() && least <= rows && rows <= most
})"""
# What ended the wait for a name: the name, or a refusal in words other than one that was there before.
NAMED = f"""([name, before]) => {{
    if (document.querySelector('{OPENER}').innerText.trim() === name) return name
    const refusal = document.querySelector('.pe-picker-answer [role=alert]')?.textContent ?? ''
    return refusal !== before && refusal
}}"""
FOCUSED = "() => document.activeElement.matches('.pe-picker > .pe-opener')"


def network():
    return nn.Sequential(
        nn.Conv2d(3, 512, 3), nn.ReLU(), nn.Conv2d(512, 640, 3), nn.ReLU(), nn.Conv2d(640, 8, 1)
    )


@pytest.fixture
def running(open_notebook, lab):
    """The explorer, and a cell that makes a module."""
    notebook = nbformat.read(ROOT / "notebooks" / NOTEBOOK, as_version=4)
    source = f"from torch import nn\n\n{inspect.getsource(network)}\nmine = network()"
    notebook.cells.append(nbformat.v4.new_code_cell(source))
    nbformat.write(notebook, lab.folder / "picker.ipynb")
    opened = open_notebook("picker.ipynb", width=1016, height=720)
    opened.run_all()
    opened.wait_drawn("bars")
    return opened


@pytest.fixture
def checkpoint(tmp_path):
    """Weights for that module, too large for one message to the kernel."""
    torch.manual_seed(7)
    path = tmp_path / "other.pt"
    torch.save(network().state_dict(), path)
    assert path.stat().st_size > 11e6
    return path


def named(notebook, name, before=""):
    """Until the first line says so; what is refused meanwhile, other than `before`, fails in its own words."""
    said = notebook.page.wait_for_function(NAMED, arg=[name, before], timeout=120_000)
    assert said.json_value() == name


def choose(notebook, row, kind):
    group = notebook.page.get_by_role("group", name=row, exact=True)
    group.get_by_role("button", name=kind, exact=True).press("Enter")


def test_another_network_is_loaded_in_place_and_undo_brings_the_first_back(running, checkpoint):
    page = running.page
    box = page.locator(".pruning-explorer").bounding_box()
    page.locator(OPENER).focus()
    page.keyboard.press("Enter")
    page.locator(".pe-picker .pe-popover:not(.pe-shut)").wait_for()
    page.keyboard.press("Tab")  # into it
    page.keyboard.press("Escape")
    page.locator(".pe-picker .pe-popover").wait_for(state="hidden")
    page.wait_for_function(FOCUSED)
    assert page.locator(OPENER).get_attribute("aria-expanded") == "false"

    page.keyboard.press("Enter")
    choose(running, "Network", "Notebook")
    choose(running, "Weights", "Checkpoint")
    with page.expect_file_chooser() as chooser:
        page.locator(".pe-upload:visible").press("Enter")
    chooser.value.set_files(checkpoint)
    page.get_by_text("other.pt is here").wait_for(timeout=60_000)
    page.locator(".pe-picker-foot button").press("Enter")
    refusal = page.locator(".pe-picker-answer [role=alert]").text_content()
    assert "does not say what it takes" in refusal
    panel = page.locator(".pe-picker .pe-popover").bounding_box()
    assert panel["x"] >= box["x"]
    assert panel["y"] + panel["height"] <= box["y"] + box["height"]
    running.screenshot("picker-refused")

    page.locator(".pe-size input").fill("3 x 16 x 16")
    page.locator(".pe-picker-foot button").press("Enter")
    named(running, "Sequential", before=refusal)
    page.wait_for_function(FOCUSED)
    page.wait_for_function(DRAWN, arg=[3, 3])
    weights = torch.load(checkpoint, weights_only=True)["2.weight"]
    kernel = "float(Out[1].session.network.model[2].weight.double().sum())"
    assert running.kernel(kernel) == pytest.approx(float(weights.double().sum()))
    page.locator(".pe-keep .noUi-handle").focus()
    page.keyboard.press("ArrowLeft")
    page.wait_for_function("() => document.querySelector('.pe-keep-value').innerText.startsWith('99 %')")
    assert page.locator(".pe-keep .noUi-handle").get_attribute("aria-label") == "Keep"
    assert page.locator(".pe-undo").get_attribute("aria-label") == "Undo"
    running.screenshot("picker-changed")

    page.keyboard.press("Control+z")
    page.wait_for_function("() => document.querySelector('.pe-keep-value').innerText.startsWith('100 %')")
    page.keyboard.press("Control+z")
    named(running, "resnet20")
    page.wait_for_function(DRAWN, arg=[10, 40])
    assert running.kernel("Out[1].session.wait(timeout=300)")
    page.wait_for_function("() => document.querySelector('.pe-accuracy').innerText.includes('2,000')")
