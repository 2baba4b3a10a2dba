"""The layer view under a real pointer: threshold and handle are one, a refusal snaps back, pointing picks a channel."""

import pytest

from tests.ui.lab import FIND

pytestmark = [pytest.mark.ui, pytest.mark.slow]

SETTLED = "Out[1].session.wait(timeout=300)"
CHOSEN = "Out[1].session.selection"
WIDTH = f"Out[1].plan.widths[{CHOSEN}]"
PARTS = ("kept_left", "kept_right", "removed_left", "removed_right", "kept_top", "removed_top", "foot")


@pytest.fixture
def running(open_notebook):
    """The explorer notebook, run, with the layer view drawn and its activations measured."""
    notebook = open_notebook(width=1280, height=960)
    notebook.run_all()
    notebook.wait_drawn("layer")
    assert notebook.kernel(SETTLED)
    notebook.page.wait_for_function(f"() => ({FIND})('activations-boxes').data.left.length > 0")
    return notebook


def select_own(notebook):
    """Select a group of one layer."""
    groups = "[g.id for g in Out[1].session.graph.prunable if len(g.layers) == 1 and g.size >= 32]"
    notebook.kernel(f"Out[1].session.select({groups}[0])")
    assert notebook.kernel(SETTLED)
    notebook.page.wait_for_function(f"size => ({FIND})('layer-target').data.size[0] === size", arg=32)


def drag(notebook, figure, start, to):
    """Press at `start`, move to `to` (both of the figure's x axis, at half its height) and stay there."""
    mouse = notebook.page.mouse
    mouse.move(*notebook.pixel(figure, start, 30 if figure == "importance" else 14))
    mouse.down()
    mouse.move(*notebook.pixel(figure, to, 30 if figure == "importance" else 14), steps=10)


def drawn(notebook):
    """What the browser draws of width, threshold and bars."""
    bars = {name: notebook.column("importance-bars", name) for name in PARTS}
    return bars, notebook.column("importance-threshold", "x"), notebook.column("lens-bar", "width")


def smudge(notebook):
    """Spoil what the browser draws, so that only an answer of Python's makes it whole."""
    notebook.page.evaluate(
        f"""() => {{
            const bar = ({FIND})('lens-bar'), bars = ({FIND})('importance-bars')
            bar.data = {{...bar.data, width: [2]}}
            bars.data = {{...bars.data, kept_left: bars.data.left.map(() => 2)}}
        }}"""
    )


def wait_width(notebook, share):
    """Until the browser draws that share of the width."""
    notebook.page.wait_for_function(f"share => ({FIND})('lens-bar').data.width[0] === share", arg=share)


@pytest.mark.parametrize(("figure", "start", "to"), [("importance", 0.0, 0.3), ("lens", 1.0, 0.4)])
def test_the_browser_draws_a_drag_as_python_does(running, figure, start, to):
    select_own(running)
    drag(running, figure, start, to)
    echo = drawn(running)
    smudge(running)
    running.page.mouse.up()
    wait_width(running, echo[2][0])
    width = running.kernel(WIDTH)
    assert 1 <= width < 32
    assert drawn(running) == echo
    assert echo[2] == [width / 32]
    running.screenshot(f"layer-{figure}")


def test_the_marker_among_the_errors_drags_the_width(running):
    select_own(running)
    running.page.locator(".pe-layer-caption button").last.click()
    running.page.wait_for_function(f"() => ({FIND})('errors-curves').data.x.length === 32")
    running.wait_drawn("errors")
    drag(running, "errors", 1.0, 0.4)
    running.page.mouse.up()
    running.page.wait_for_function(f"() => ({FIND})('errors-marker').data.x[0] < 0.5")
    assert running.kernel(SETTLED)
    width = running.kernel(WIDTH)
    wait_width(running, width / 32)
    assert running.column("errors-marker", "x") == [width / 32]
    assert len(running.column("errors-labels", "bold")) == 4
    running.screenshot("layer-errors")


def test_a_locked_layer_snaps_back(running):
    select_own(running)
    running.kernel(f"Out[1].session.lock({CHOSEN}, True)")
    before = drawn(running)
    drag(running, "lens", 1.0, 0.4)
    assert drawn(running) != before
    running.page.mouse.up()
    wait_width(running, 1)
    assert drawn(running) == before
    assert "locked" in running.kernel("Out[1].session.error")


def test_pointing_at_a_channel_shows_it(running):
    select_own(running)
    running.page.wait_for_function(f"() => ({FIND})('activations-scale').data.size[0] === 32")
    running.page.mouse.move(*running.pixel("activations", 20.5 / 32, 25))
    running.page.wait_for_function(
        "() => [...document.querySelectorAll('.pe-layer-choice input')].some(input => input.value === '20')"
    )
    assert running.page.locator(".pe-layer-strip img").count() == 8
    running.screenshot("layer-channel")
