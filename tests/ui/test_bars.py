"""The bars under a real pointer: exact widths, one undo for a drag, a refusal that snaps back."""

import pytest

from tests.ui.lab import FIND

pytestmark = [pytest.mark.ui, pytest.mark.slow]

SETTLED = "Out[1].session.wait(timeout=300)"


@pytest.fixture
def running(open_notebook):
    """The explorer notebook, run, with its bars drawn and the network evaluated."""
    notebook = open_notebook(width=1280, height=960)
    notebook.run_all()
    notebook.wait_drawn("bars")
    notebook.page.wait_for_function(f"() => ({FIND})('bars-handles').data.x.length > 0")
    assert notebook.kernel(SETTLED)
    return notebook


def handle(notebook, group):
    """(x, y) of the group's handle in the figure's axes, and how long one channel is drawn there."""
    place = notebook.column("bars-handles", "group").index(group)
    return tuple(notebook.column("bars-handles", name)[place] for name in ("x", "y", "unit"))


def drag(notebook, group, to):
    """Drag the group's handle to that place of the x axis."""
    x, y, _unit = handle(notebook, group)
    start, target = notebook.pixel("bars", x, y), notebook.pixel("bars", to, y)
    mouse = notebook.page.mouse
    mouse.move(*start)
    mouse.down()
    mouse.move(*target, steps=12)
    mouse.up()


def wait_answered(notebook, widths):
    """Until the browser has asked for these widths last and Python has answered it."""
    notebook.page.wait_for_function(
        f"""widths => {{
            const [ask, answer] = ['bars-ask', 'bars-answer'].map(name => ({FIND})(name).data)
            return ask.number[0] === answer.number[0] && String(ask.widths[0]) === String(widths)
        }}""",
        arg=widths,
    )


def wait_released(notebook):
    notebook.page.wait_for_function(f"() => ({FIND})('pressed').data.down[0] === false")


def width(notebook, group):
    return notebook.kernel(f"Out[1].plan.widths[{group!r}]")


def own_group(notebook):
    """A group of one layer, inside of a block."""
    return notebook.kernel(
        "[g.id for g in Out[1].session.graph.prunable if len(g.layers) == 1 and g.size >= 32][0]"
    )


def sum_group(notebook):
    return notebook.kernel("max(Out[1].session.graph.prunable, key=lambda g: len(g.layers)).id")


def test_a_drag_gives_the_width_under_the_pointer_and_is_undone_as_one(running):
    group = own_group(running)
    before = width(running, group)
    _x, _y, unit = handle(running, group)
    drag(running, group, 9 * unit)
    wait_answered(running, [9])
    assert width(running, group) == 9
    assert dict(running.kernel("Out[1].session.request.widths"))[group] == 9
    assert handle(running, group)[0] == pytest.approx(9 * unit)
    (layer,) = running.kernel(f"list(Out[1].session.graph.group({group!r}).layers)")
    assert running.kernel("[Out[1].session.selection, Out[1].session.layer]") == [group, layer]
    running.screenshot("bars-dragged")

    wait_released(running)
    running.kernel("Out[1].session.undo()")
    assert width(running, group) == before
    assert not running.kernel("Out[1].session.can_undo")


def test_a_drag_in_multiples_snaps_in_the_browser_as_in_python(running):
    group = own_group(running)
    running.kernel("Out[1].session.propose(multiple=8)")
    running.page.wait_for_function(f"() => ({FIND})('bars-handles').data.snaps.flat().includes(8)")
    _x, _y, unit = handle(running, group)
    for to, snapped in ((13, 16), (9, 8), (1, 8)):
        drag(running, group, to * unit)
        wait_answered(running, [snapped])
        assert width(running, group) == snapped
        assert handle(running, group)[0] == pytest.approx(snapped * unit)
    wait_released(running)


def test_a_drag_stops_at_one_channel_and_far_beyond_asks_to_remove_which_a_sum_refuses(running):
    group = sum_group(running)
    drag(running, group, 0)
    wait_answered(running, [1])
    assert width(running, group) == 1
    drag(running, group, -0.2)
    wait_answered(running, [0])
    assert width(running, group) == 1
    assert running.kernel("Out[1].session.error") != ""
    x, _y, unit = handle(running, group)
    assert x == pytest.approx(unit)


def test_a_tap_selects_and_marks_the_layer(running):
    group = own_group(running)
    _x, y, unit = handle(running, group)
    running.page.mouse.click(*running.pixel("bars", 3 * unit, y))
    running.page.wait_for_function(  # another layer is marked until then
        f"""group => {{
            const data = ({FIND})('bars-handles').data;
            return data.chosen[data.group.indexOf(group)] > 0;
        }}""",
        arg=group,
    )
    assert running.kernel("Out[1].session.selection") == group
    (name,) = running.kernel(f"list(Out[1].session.graph.group({group!r}).layers)")
    assert running.kernel("Out[1].session.layer") == name
