"""The figures of chains under a real pointer, without a kernel: what the browser draws is what Python would answer."""

import numpy as np
import pytest
from bokeh.document import Document
from bokeh.embed import file_html
from bokeh.resources import INLINE

from explorer.chains import Chain
from explorer.figures import chain_curve, chain_map
from explorer.figures.chain_curve import ECHOED, FOOT, TOP, Shown
from explorer.figures.chain_map import Row
from explorer.figures.view import update
from explorer.strings import Strings
from tests.ui.lab import FIND

pytestmark = [pytest.mark.ui, pytest.mark.slow]

SAY = Strings("en")
CHAIN = Chain("g", 32, 4, 4, np.linspace(3, -2, 7))
READY = "() => window.Bokeh?.documents[0]?.is_idle"


@pytest.fixture
def opened(chromium):
    """Opens a figure in a page of its own; at the end it fails where the page threw an error."""
    page = chromium.new_page(viewport={"width": 430, "height": 220})
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))

    def open_(root):
        document = Document()
        document.add_root(root)
        page.set_content(file_html(document, INLINE, "figure"))
        page.wait_for_function(READY)
        page.wait_for_function(f"name => Bokeh.index.find_one(({FIND})(name))?.frame != null", arg=root.name)
        return page

    yield open_
    page.close()
    assert errors == []


def pixel(page, name, x, y):
    """Where a point of the figure is on the page."""
    return page.evaluate(
        f"""([name, x, y]) => {{
            const view = Bokeh.index.find_one(({FIND})(name))
            const box = view.canvas_view.events_el.getBoundingClientRect()
            return [box.left + view.frame.x_scale.compute(x), box.top + view.frame.y_scale.compute(y)]
        }}""",
        [name, x, y],
    )


def columns(page, name):
    """All columns of a source, as the browser has them."""
    data = f"({FIND})(name).data"
    return page.evaluate(
        f"name => Object.fromEntries(Object.entries({data}).map(([key, column]) => [key, Array.from(column)]))",
        name,
    )


@pytest.fixture
def curve(opened):
    view = chain_curve.build()
    update(view, chain_curve.columns(Shown(CHAIN), SAY))
    chain_curve.make_draggable(view)
    return opened(view.root)


def drag(page, place, probability):
    """Drag a knob to about that probability, and stay there."""
    x = (CHAIN.widths[place + 1] - CHAIN.step / 2) / CHAIN.size
    page.mouse.move(*pixel(page, "chain-curve", x, FOOT + (TOP - FOOT) * float(CHAIN.transitions[place])))
    page.mouse.down()
    page.mouse.move(*pixel(page, "chain-curve", x, FOOT + (TOP - FOOT) * probability), steps=5)


@pytest.mark.parametrize(("place", "probability"), [(0, 0.3), (3, 0.99), (6, 0.02), (2, 0.0)])
def test_the_browser_draws_the_chain_that_python_has(curve, place, probability):
    drag(curve, place, probability)
    asked = {name: column[0] for name, column in columns(curve, "chain-curve-ask").items()}
    assert (asked["group"], asked["place"], asked["ended"]) == ("g", place, False)
    assert asked["probability"] == pytest.approx(probability, abs=0.02)
    wanted = CHAIN.with_transition(place, asked["probability"])
    tables = chain_curve.columns(Shown(wanted), SAY)
    for name in ECHOED:
        drawn = columns(curve, f"chain-curve-{name}")
        for key, column in tables[name].items():
            assert drawn[key] == (pytest.approx(column, abs=1e-6) if key not in ("text", "align") else column)
    curve.mouse.up()
    ended = {name: column[0] for name, column in columns(curve, "chain-curve-ask").items()}
    assert ended["ended"] is True
    assert ended["number"] > asked["number"]
    assert ended["probability"] == asked["probability"]


def test_older_columns_do_not_undo_a_wish_but_its_answer_does(curve):
    drag(curve, 3, 0.1)
    curve.mouse.up()
    wish = columns(curve, "chain-curve-knobs")
    before = chain_curve.columns(Shown(CHAIN), SAY)["knobs"]
    answer = f"([number, knobs]) => {{ ({FIND})('chain-curve-answer').data = {{number: [number]}}; "
    answer += f"({FIND})('chain-curve-knobs').data = knobs }}"
    curve.evaluate(answer, [0, before])
    assert columns(curve, "chain-curve-knobs")["p"] == wish["p"]
    curve.evaluate(answer, [columns(curve, "chain-curve-ask")["number"][0], before])
    assert columns(curve, "chain-curve-knobs")["p"] == before["p"]


def test_a_press_beside_all_knobs_asks_for_nothing(curve):
    x = (CHAIN.widths[1] - CHAIN.step / 2) / CHAIN.size
    curve.mouse.move(*pixel(curve, "chain-curve", x, FOOT + 20))
    curve.mouse.down()
    curve.mouse.move(*pixel(curve, "chain-curve", x, FOOT + 60), steps=5)
    curve.mouse.up()
    assert columns(curve, "chain-curve-ask")["number"] == [0]


@pytest.mark.parametrize(("count", "place"), [(3, 1), (105, 0), (105, 60)])
def test_a_tap_on_a_row_of_the_map_names_its_group(opened, count, place):
    rows = tuple(Row(f"layer{k}", Chain(f"g{k}", 32, 4, 4, np.full(7, 0.02 * k))) for k in range(count))
    tables = chain_map.columns(chain_map.Shown(rows, "g0"), SAY)
    view = chain_map.build()
    update(view, tables)
    chain_map.make_tappable(view)
    page = opened(view.root)
    left, bottom, top = (tables["rows"][name][place] for name in ("left", "bottom", "top"))
    page.mouse.click(*pixel(page, "chain-map", left + 0.05, (bottom + top) / 2))
    page.wait_for_function(f"() => ({FIND})('chain-map-tapped').data.number[0] > 0")
    assert columns(page, "chain-map-tapped")["group"] == [f"g{place}"]
