"""The whole road in a real JupyterLab: keys move Keep, the network is cut, the accuracy answers."""

import pytest

import explorer
from explorer.figures import width_bars
from explorer.figures.rows import layout
from explorer.values import full_plan

pytestmark = [pytest.mark.ui, pytest.mark.slow]

SETTLED = "Out[1].session.wait(timeout=300)"
PLAN = "{group: keep.tolist() for group, keep in Out[1].plan.keep.items()}"
KEEP = 0.5


@pytest.fixture(scope="module")
def offline():
    """The same cut without Jupyter: (graph, plan, estimate)."""
    network = explorer.load("resnet20")
    graph = explorer.trace(network.model, network.example)
    plan = explorer.allocate(graph, explorer.score(network, graph, "taylor"), keep=KEEP)
    small = explorer.recover(explorer.shrink(network.model, graph, plan), network.data, bn=True)
    return graph, plan, explorer.evaluate(small, network.data)


@pytest.fixture
def running(open_notebook):
    """The explorer notebook, run, drawn and evaluated."""
    notebook = open_notebook(width=1280, height=960)
    notebook.run_all()
    notebook.wait_drawn("bars")
    assert notebook.kernel(SETTLED)
    return notebook


def lengths(rows):
    """The solid parts of the bars: drawn as chosen for the selected layer, as kept for all others."""
    pairs = zip(rows["kept"], rows["chosen"], strict=True)
    return [[length for length in pair if length > 0] for pair in pairs]


def test_keep_by_keyboard_cuts_the_network_and_the_accuracy_answers(running, offline):
    graph, plan, estimate = offline
    dense = width_bars.columns(layout(graph), full_plan(graph))["rows"]
    cut = width_bars.columns(layout(graph), plan)["rows"]
    running.wait_column("bars-rows", "count", dense["count"])
    running.screenshot("dense")

    running.page.locator(".pe-keep .noUi-handle").focus()
    for _ in range(100 - round(100 * KEEP)):
        running.page.keyboard.press("ArrowLeft")
    running.wait_column("bars-rows", "count", cut["count"])
    drawn = {column: running.column("bars-rows", column) for column in ("kept", "chosen")}
    assert lengths(drawn) == lengths(cut)
    assert running.kernel(SETTLED)
    running.screenshot("half")

    assert running.kernel("Out[1].session.request.keep") == KEEP
    assert running.kernel(PLAN) == {group: keep.tolist() for group, keep in plan.keep.items()}
    counted = running.kernel("[Out[1].estimate.correct, Out[1].estimate.seen]")
    assert counted == [estimate.correct, estimate.seen]
    assert f"{100 * estimate.accuracy:.1f}" in running.page.locator(".pe-accuracy").inner_text()
    assert running.kernel("Out[1].session.error") == ""


def test_a_tap_selects_the_layer_and_shows_its_importance(running, offline):
    graph, _, _ = offline
    row = next(row for row in layout(graph).rows if row.name == "stage2.0.conv1")
    running.page.mouse.click(*running.pixel("bars", 0.1, row.middle))
    running.page.wait_for_function(
        "words => document.querySelector('.pe-details').innerText.includes(words)", arg=row.words
    )
    assert running.kernel("Out[1].session.selection") == row.group
    assert sum(running.column("importance-kept", "top")) > 0
    running.page.evaluate(
        "() => window.jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab Dark'})"
    )
    running.page.wait_for_function("() => document.body.dataset.jpThemeLight === 'false'")
    running.screenshot("layer-dark")


def test_a_tooltip_leaves_with_its_figure(running):
    row = "[...document.body.children].filter(child => child.matches('.bk-Tooltip')).length"
    running.page.mouse.move(*running.pixel("bars", 0.1, 100))
    running.page.wait_for_function(f"() => {row} === 1")
    running.run_all()
    running.page.wait_for_function("() => Bokeh.documents.length > 1")
    running.page.wait_for_function(f"() => {row} === 0", timeout=10_000)
    running.page.evaluate("document.dispatchEvent(new Event('scroll'))")
    drawn = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))"
    assert running.page.evaluate(drawn), "two frames, in which a scroll would have drawn it again"
    assert running.page.evaluate(row) == 0


def test_the_scorecard_stands_still_and_the_page_is_low(running):
    places = """() => ['.pe-macs', '.pe-params', '.pe-file', '.pe-timing'].map(
        name => document.querySelector(name).getBoundingClientRect().x)"""
    before = running.page.evaluate(places)
    running.kernel("Out[1].set(keep=0.1)")
    running.page.wait_for_function("() => !document.querySelector('.pe-macs').innerText.includes('100 %')")
    assert running.page.evaluate(places) == before
    assert running.kernel(SETTLED)
    assert running.page.evaluate(places) == before
    assert running.page.locator(".pruning-explorer").bounding_box()["height"] <= 496


def test_bad_input_is_answered_in_words_and_the_last_state_stays(running):
    before = running.kernel(PLAN)
    with pytest.raises(AssertionError, match="BadInput: keep must be"):
        running.kernel("Out[1].set(keep=7)")
    assert running.kernel(PLAN) == before
    assert running.kernel("Out[1].session.stage") == "ready"
