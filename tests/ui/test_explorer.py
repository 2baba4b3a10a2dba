"""The whole road in a real JupyterLab: keys move Keep, the network is cut, the accuracy answers; all of it fits."""

import pytest

import explorer
from tests.ui.lab import FIND

pytestmark = [pytest.mark.ui, pytest.mark.slow]

SESSION = "Out[1].session"
LABELS = f"{SESSION}.__dict__.setdefault('labels', [])"
SETTLED = f"{SESSION}.wait(timeout=300)"
PLAN = "{group: keep.tolist() for group, keep in Out[1].plan.keep.items()}"
KEEP = 0.5
SMALLEST = 848, 496  # what JupyterLab leaves of a 1280 x 720 projector, with the file browser open
POPOVERS = ".pe-popover:not(.pe-shut)"


@pytest.fixture(scope="module")
def offline():
    """The same cut without Jupyter: (plan, instantly refitted network, the one refitted layer after layer)."""
    network = explorer.load("resnet20")
    graph = explorer.trace(network.model, network.example)
    plan = explorer.allocate(graph, explorer.score(network, graph, "l1"), keep=KEEP)
    instant = explorer.recover(network.model, network.data, repair="refit", graph=graph, plan=plan)
    rested = explorer.repair(network.model, graph, plan, "refit_sequential", network.data.train)
    return plan, *(explorer.evaluate(small, network.data) for small in (instant, rested))


@pytest.fixture
def running(open_notebook):
    """The explorer notebook, run, drawn and evaluated."""
    notebook = open_notebook(width=1280, height=960)
    notebook.run_all()
    notebook.wait_drawn("bars")
    assert notebook.kernel(SETTLED)
    return notebook


def press(notebook, selector, *keys):
    """Focus the first match and press keys."""
    notebook.page.locator(selector).first.focus()
    for key in keys:
        notebook.page.keyboard.press(key)


def wait_keep(notebook, percent):
    """Until the slider stands there."""
    notebook.page.wait_for_function(
        "text => document.querySelector('.pe-keep-value').innerText.startsWith(text)", arg=f"{percent} %"
    )


def fit(notebook, width):
    """Make the window so wide that the dashboard has that width."""
    box = notebook.page.locator(".pruning-explorer").bounding_box()
    window = notebook.page.viewport_size
    wider = round(window["width"] + width - box["width"])
    notebook.page.set_viewport_size({"width": wider, "height": window["height"]})
    notebook.page.wait_for_function(
        "width => document.querySelector('.pruning-explorer').getBoundingClientRect().width === width",
        arg=width,
    )


def test_keep_by_keyboard_cuts_the_network_and_the_accuracy_answers(running, offline):
    plan, instant, estimate = offline
    running.screenshot("dense")
    running.kernel(f"{SESSION}.observe(lambda change: {LABELS}.append(change.new.key), 'estimate_label')")
    press(running, ".pe-keep .noUi-handle", *["ArrowLeft"] * (100 - round(100 * KEEP)))
    wait_keep(running, 50)
    assert running.kernel(SETTLED)
    running.page.wait_for_function(
        "() => document.querySelector('.pe-accuracy').innerText.includes('refit layer after layer')"
    )
    assert running.kernel(LABELS)[-2:] == ["label_two", "label_refit_sequential"]
    assert running.kernel("Out[1].session.request.recovery.code") == "refit+bn"
    assert running.kernel("Out[1].session.recovery.code") == "refit_sequential"
    found = f"{SESSION}._live.outcome(Out[1].plan, {SESSION}.request.recovery).estimate.correct"
    assert running.kernel(found) == instant.correct
    running.screenshot("half")
    assert running.kernel("Out[1].session.request.keep") == KEEP
    assert running.kernel(PLAN) == {group: keep.tolist() for group, keep in plan.keep.items()}
    counted = running.kernel("[Out[1].estimate.correct, Out[1].estimate.seen]")
    assert counted == [estimate.correct, estimate.seen]
    assert f"{100 * estimate.accuracy:.1f}" in running.page.locator(".pe-accuracy").inner_text()
    assert running.kernel("Out[1].session.error") == ""


def test_beside_every_choice_stands_what_it_gives_and_nothing_moves(running):
    fit(running, SMALLEST[0])
    page = running.page
    places = """() => [...document.querySelectorAll('.pe-choice button, .pe-gives, .pe-train')].map(
        part => { const box = part.getBoundingClientRect(); return [box.x, box.width] })"""
    before = page.evaluate(places)
    running.kernel(f"Out[1].set(keep={KEEP})")
    numbers = "[...document.querySelectorAll('.pe-gives')].map(each => each.innerText.trim())"
    page.wait_for_function(f"() => {numbers}.every(text => /^[0-9]+$/.test(text))", timeout=120_000)
    given = running.kernel("[round(100 * each.estimate.accuracy) for each in Out[1].session.given.values()]")
    assert page.evaluate(f"() => {numbers}.map(Number)") == given
    assert given[0] < given[1] < given[3]
    assert page.evaluate(places) == before
    running.screenshot("given")
    page.locator(".pe-choice button", has_text="BN").click()
    page.wait_for_function(
        "() => document.querySelector('.pe-accuracy').innerText.includes('re-estimated BN')"
    )
    assert page.locator(".pe-choice button[aria-pressed=true]").inner_text() == "BN"
    assert running.kernel("Out[1].session.request.recovery.code") == "bn"
    running.kernel("Out[1].set(keep=0.7)")
    page.locator(".pe-gives.pe-other-cut").first.wait_for()
    running.screenshot("given-before")
    assert running.kernel("Out[1].session.error") == ""


def test_keys_undo_and_redo_and_never_reach_jupyterlab(running):
    cells = running.page.locator(".jp-Cell").count()
    press(running, ".pe-keep .noUi-handle", "ArrowLeft", "ArrowLeft", "ArrowLeft")
    wait_keep(running, 97)
    running.page.keyboard.press("Control+z")
    wait_keep(running, 100)
    running.page.locator(".pe-redo:enabled").wait_for()
    running.page.keyboard.press("Control+Shift+Z")
    wait_keep(running, 97)
    for key in "dd":  # in JupyterLab: delete the cell
        running.page.keyboard.press(key)
    running.page.locator(".pe-final .pe-opener").click()
    running.page.locator(POPOVERS).wait_for()
    running.page.keyboard.press("Escape")
    running.page.locator(POPOVERS).wait_for(state="hidden")
    assert running.page.locator(".jp-Cell").count() == cells


def test_the_handle_comes_back_from_what_cannot_be_reached(running):
    press(running, ".pe-keep .noUi-handle", "Home")
    running.page.wait_for_function(
        "() => document.querySelector('.pe-status').innerText.includes('Keep stops')"
    )
    low = running.kernel("Out[1].session.reach[0]")
    assert running.kernel("Out[1].session.request.keep") == pytest.approx(low)
    running.page.wait_for_function(
        "value => Number(document.querySelector('.pe-keep .noUi-handle').ariaValueNow) === value",
        arg=round(100 * low),
    )


@pytest.mark.parametrize("width", [848, 1100, 1280])
def test_nothing_is_clipped_and_nothing_scrolls(running, width):
    fit(running, width)
    running.kernel("Out[1].set(keep=0.6)")
    running.kernel("Out[1].session.set_reference()")  # its way back takes room in the first line
    running.page.locator(".pe-dense-again").wait_for()
    box = running.page.locator(".pruning-explorer").bounding_box()
    assert box["height"] <= SMALLEST[1]
    for place, tab in enumerate(running.page.locator(".pe-tabs button").all()):
        tab.click()
        running.page.locator(f".pe-panes > :nth-child({place + 1}):not(.pe-shut)").wait_for()
        outside = running.page.evaluate(
            """() => {
                const root = document.querySelector('.pruning-explorer').getBoundingClientRect()
                const controls = document.querySelectorAll(
                    '.pruning-explorer :is(button, select, input, .pe-name, .pe-number, .pe-big)')
                return [...controls].filter(control => {
                    const box = control.getBoundingClientRect()
                    const shown = box.width > 1 && getComputedStyle(control).visibility !== 'hidden'
                    return shown && (box.left < root.left || box.right > root.right + 0.5
                        || box.top < root.top || box.bottom > root.bottom + 0.5)
                }).map(control => control.innerText || control.className)
            }"""
        )
        assert outside == []
    overlaps = running.page.evaluate(
        """() => {
            const rank = document.querySelector('.pe-rank').getBoundingClientRect()
            return rank.right > document.querySelector('.pe-undo').getBoundingClientRect().left
        }"""
    )
    assert not overlaps
    running.screenshot(f"width-{width}")


def test_the_scorecard_stands_still(running):
    places = """() => ['.pe-macs', '.pe-params', '.pe-timing', '.pe-cost', '.pe-after'].map(
        name => document.querySelector(name).getBoundingClientRect().x)"""
    before = running.page.evaluate(places)
    running.kernel("Out[1].set(keep=0.1)")
    running.page.wait_for_function("() => !document.querySelector('.pe-macs').innerText.includes('100 %')")
    assert running.page.evaluate(places) == before
    assert running.kernel(SETTLED)
    assert running.page.evaluate(places) == before


def test_a_view_that_was_hidden_is_drawn_as_wide_as_its_place(running):
    running.wait_drawn("layer")
    drawn = f"() => Bokeh.index.find_one(({FIND})('layer')).el.getBoundingClientRect().width"
    narrow = running.page.evaluate(drawn)
    running.page.locator(".pe-tabs button").nth(1).click()
    running.page.wait_for_function(f"() => ({drawn})() === 0")
    running.page.set_viewport_size({"width": 1500, "height": 960})
    running.page.locator(".pe-tabs button").nth(0).click()
    running.page.wait_for_function(f"narrow => ({drawn})() > narrow + 100", arg=narrow)


def test_a_tooltip_leaves_with_its_figure(running):
    row = "[...document.body.children].filter(child => child.matches('.bk-Tooltip')).length"
    running.page.mouse.move(*running.pixel("bars", running.column("bars-handles", "x")[0] / 2, 100))
    running.page.wait_for_function(f"() => {row} === 1")
    documents = running.page.evaluate("() => Bokeh.documents.length")
    running.run_all()
    running.page.wait_for_function("before => Bokeh.documents.length > before", arg=documents)
    running.page.wait_for_function(f"() => {row} === 0", timeout=10_000)


def test_the_dark_theme_paints_texts_too(running):
    running.page.evaluate(
        "() => window.jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab Dark'})"
    )
    running.page.wait_for_function("() => document.body.dataset.jpThemeLight === 'false'")
    running.screenshot("dark")
    ink = "() => getComputedStyle(document.querySelector('.pe-label')).color"
    assert running.page.evaluate(ink) == "rgb(154, 167, 179)"  # the palette's soft grey on dark


def test_bad_input_is_answered_in_words_and_the_last_state_stays(running):
    before = running.kernel(PLAN)
    with pytest.raises(AssertionError, match="BadInput: keep must be"):
        running.kernel("Out[1].set(keep=7)")
    assert running.kernel(PLAN) == before
    assert running.kernel("Out[1].session.stage.key") == "stage_ready"
