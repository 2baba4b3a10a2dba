"""The chain tab under a real pointer and real keys: replay, dragged points, bars that follow; and all of it fits."""

import pytest

from explorer.figures.chain_curve import FOOT, TOP
from tests.ui.lab import FIND
from tests.ui.test_explorer import fit, press

pytestmark = [pytest.mark.ui, pytest.mark.slow]

SETTLED = "Out[1].session.wait(timeout=300)"
FRAMES = 21
RUN = f"__import__('tests.chain_runs', fromlist=['_']).example_run(Out[1].session.graph, {FRAMES})"
RUNS = f"{{'dmcp': __import__('explorer.runs', fromlist=['_']).Recorded({RUN})}}"
RECORDED = f"Out[1].session.set_trait('runs', type(Out[1].session.runs)(recorded={RUNS}))"
TAB = "[pane for pane in Out[1]._board.views.holder.children if 'pe-methods-tab' in pane._dom_classes][0]"
PANE = f"{TAB}.panes['dmcp']"
REPLAY = f"({PANE})._replay"
CHAIN = f"{REPLAY}.chains[{REPLAY}.place(Out[1].session.selection)]"
HANDLE = ".pe-chain-slider .noUi-handle[aria-label='Step of the search']"


@pytest.fixture
def running(open_notebook):
    """The explorer notebook, run, with the chain tab open on a recorded run."""
    notebook = open_notebook(width=1280, height=960)
    notebook.run_all()
    notebook.wait_drawn("bars")
    assert notebook.kernel(SETTLED)
    notebook.kernel(f"[__import__('explorer.chains'), {RECORDED}][2:]")
    notebook.page.get_by_role("tab", name="Methods").click()
    notebook.wait_drawn("chain-curve")
    return notebook


def picture(notebook, selector):
    return notebook.page.locator(selector).first.screenshot()


def transitions(notebook):
    """Those of the selected layer's chain, in Python."""
    return notebook.kernel(f"{CHAIN}.transitions.tolist()")


def test_the_replay_goes_by_keys_and_by_itself_and_the_bars_follow_when_asked(running):
    before = picture(running, ".pe-chain-figure")
    running.screenshot("chain-end")
    press(running, HANDLE, *["ArrowLeft"] * 8)
    running.page.locator(".pe-chain-step", has_text="120 of 200").wait_for()
    assert running.kernel(f"{REPLAY}.frame") == FRAMES - 1 - 8
    running.wait_column("chain-curve-knobs", "p", transitions(running))
    assert picture(running, ".pe-chain-figure") != before
    running.screenshot("chain-middle")

    bars = picture(running, ".pe-bars")
    running.page.get_by_role("button", name="Show in bars").click()
    press(running, HANDLE, "ArrowRight")
    running.page.locator(".pe-chain-step", has_text="130 of 200").wait_for()
    widths = "{group: width for group, width in Out[1].plan.widths.items()}"
    assert running.kernel(widths) == running.kernel(f"{REPLAY}.widths()")
    assert running.kernel(SETTLED)
    assert picture(running, ".pe-bars") != bars

    running.page.locator(".pe-chain-play").click()
    running.page.locator(".pe-chain-step", has_text="200 of 200").wait_for()
    running.page.locator(".pe-chain-play", has_text="▶").wait_for()
    assert running.kernel(f"{REPLAY}.frame") == FRAMES - 1
    assert running.kernel(widths) == running.kernel(f"{REPLAY}.widths()")
    assert running.kernel("Out[1].session.error") == ""


def test_a_point_follows_the_pointer_and_the_keys(running):
    before = picture(running, ".pe-chain-figure")
    x, y = (running.column("chain-curve-knobs", name)[2] for name in "xy")
    mouse = running.page.mouse
    mouse.move(*running.pixel("chain-curve", x, y))
    mouse.down()
    mouse.move(*running.pixel("chain-curve", x, FOOT + 0.25 * (TOP - FOOT)), steps=8)
    mouse.up()
    running.page.wait_for_function(
        f"""() => {{
            const [ask, answer] = ["ask", "answer"].map((name) => ({FIND})(`chain-curve-${{name}}`).data.number[0])
            return ask > 0 && ask === answer
        }}"""
    )
    running.page.locator(".pe-chain-fields button:enabled").wait_for()
    moved = transitions(running)
    assert moved[2] == pytest.approx(0.25, abs=0.03)
    assert running.column("chain-curve-knobs", "p") == pytest.approx(moved)
    assert picture(running, ".pe-chain-figure") != before
    running.screenshot("chain-dragged")

    field = running.page.locator(".pe-chain-p input")
    field.fill("0.5")
    field.press("Enter")
    running.page.wait_for_function(f"() => ({FIND})('chain-curve-knobs').data.p[2] === 0.5")
    assert transitions(running)[2] == pytest.approx(0.5)  # of the step that was dragged
    running.page.get_by_role("button", name="reset").click()
    running.page.locator(".pe-chain-fields button:disabled").wait_for()
    assert not running.kernel(f"dict({REPLAY}.changed)")
    assert running.kernel("Out[1].session.error") == ""


@pytest.mark.parametrize("width", [848, 1280])
def test_every_view_fits_into_the_pane(running, width):
    fit(running, width)
    for place, view in enumerate(("curve", "map", "budget", "order", "compare", "published")):
        running.page.locator(".pe-chain-views button").nth(place).click()
        running.wait_drawn(f"chain-{view}")
        outside = running.page.evaluate(
            """() => {
                const pane = document.querySelector('.pe-chain'), box = pane.getBoundingClientRect()
                const parts = pane.querySelectorAll(':scope > :not(.pe-hidden, .pe-shut), button, input, select')
                return [...parts].filter((part) => {
                    const {left, right, top, bottom, width} = part.getBoundingClientRect()
                    return width > 1 && (left < box.left || right > box.right + 0.5 || top < box.top
                        || bottom > box.bottom + 0.5)
                }).map((part) => part.innerText || part.className)
            }"""
        )
        assert outside == [], view
        running.screenshot(f"chain-{width}-{view}")
    running.page.locator(".pe-search-opener").click()
    surface = running.page.locator(".pe-search .pe-popover:not(.pe-shut)").bounding_box()
    root = running.page.locator(".pruning-explorer").bounding_box()
    assert surface["y"] + surface["height"] <= root["y"] + root["height"]
    assert root["x"] <= surface["x"]
    running.screenshot(f"chain-{width}-search")
