from itertools import pairwise

import numpy as np
import pytest

from explorer.chains import Chain, chain_of, steps_of
from explorer.figures import chain_map
from explorer.figures.chain_map import HEIGHT, LINE, LOWEST_PITCH, MOST_CELLS, Row, Shown
from explorer.figures.view import update
from explorer.strings import Strings
from tests.panels.fake_session import make_graph

SAY = Strings("en")
THREE = Chain("a", 8, 2, 2, np.log([0.8 / 0.2, 0.5 / 0.5, 0.25 / 0.75]))  # m = .8, .4, .1; E = 4.6


def many(count):
    least, step, states = steps_of(32)
    return tuple(
        Row(f"block.{k}", Chain(f"g{k}", 32, least, step, np.full(states, 0.1 * k))) for k in range(count)
    )


def test_a_cell_is_as_deep_as_its_channels_are_likely_to_be_kept():
    cells = chain_map.columns(Shown((Row("first", THREE),)), SAY)["cells"]
    assert cells["left"] == pytest.approx([0, 0.25, 0.5, 0.75])
    assert cells["right"] == pytest.approx([0.25, 0.5, 0.75, 1])
    assert cells["depth"] == pytest.approx([1, 0.8, 0.4, 0.1])


def test_a_row_has_a_tick_at_its_expected_width_and_the_number_beside_it():
    tables = chain_map.columns(Shown((Row("first", THREE),)), SAY)
    assert tables["ticks"]["x"] == pytest.approx([4.6 / 8])
    assert "5 of 8" in tables["words"]["soft"]
    assert tables["names"]["soft"] == ["first"]
    assert tables["rows"]["html"] == ["<b>first</b><br>Expected width: 4.6 ± 1.8 of 8<br>Always kept: 2"]


def test_the_selected_row_is_drawn_apart():
    tables = chain_map.columns(Shown(many(3), selected="g1"), SAY)
    assert len(tables["cells"]["left"]) == 2 * 8
    assert len(tables["chosen"]["left"]) == 8
    assert tables["names"]["ink"][0] == "block.1"
    assert tables["marker"]["y"] == [(tables["rows"]["bottom"][1] + tables["rows"]["top"][1]) / 2]


@pytest.mark.parametrize("count", [1, 2, 12, 13, 20, 41, 42, 43, 60, 105, 300])
def test_rows_lie_apart_from_the_bottom_up_and_have_at_least_the_lowest_pitch(count):
    tables = chain_map.columns(Shown(many(count), selected=f"g{count // 2}"), SAY)
    rows = tables["rows"]
    assert rows["group"] == [f"g{k}" for k in range(count)]
    boxes = list(zip(*(rows[name] for name in ("left", "bottom", "right", "top")), strict=True))
    for one, other in pairwise(boxes):
        assert other[1] == pytest.approx(one[3]) or other[0] > one[2]  # above, or in the next column
    assert all(top - bottom >= LOWEST_PITCH - 1e-9 for _left, bottom, _right, top in boxes)
    assert all(0 <= left < right <= 1 + 1e-9 for left, _bottom, right, _top in boxes)
    assert all(0 < bottom < top <= HEIGHT for _left, bottom, _right, top in boxes)
    if count <= 12:
        assert boxes[0][3] - boxes[0][1] >= 14


@pytest.mark.parametrize("count", [13, 20, 41])
def test_names_that_have_room_stand_beside_thin_rows(count):
    tables = chain_map.columns(Shown(many(count), selected="g7"), SAY)
    heights = sorted(tables["names"]["y"])
    assert "block.7" in tables["names"]["ink"]
    assert min(np.diff(heights)) >= LINE
    assert heights[0] > chain_map.FOOT
    assert heights[-1] + LINE / 2 <= HEIGHT


def test_where_there_are_columns_the_selected_row_is_named_above():
    tables = chain_map.columns(Shown(many(105), selected="g62"), SAY)
    assert tables["names"]["y"] == []
    words = [text for text in tables["words"]["ink"] if text]
    width = round(many(105)[62].chain.expected)
    assert words == ["block.62", f"expected {width} of 32"]
    assert all(
        y > max(tables["rows"]["top"])
        for y, text in zip(tables["words"]["y"], tables["words"]["ink"], strict=True)
        if text
    )


def test_long_chains_are_drawn_with_means():
    chain = Chain("g", 100, 1, 1, np.linspace(8, -2, 99))
    cells = chain_map.columns(Shown((Row("long", chain),)), SAY)["cells"]
    assert len(cells["depth"]) == MOST_CELLS
    shares = np.array(cells["right"]) - np.array(cells["left"])
    assert 100 * shares @ np.array(cells["depth"]) == pytest.approx(chain.expected, abs=0.1)


def test_a_group_of_one_channel_is_one_cell():
    graph = make_graph([("one", "o", 1, "1x1")], frozen=())
    cells = chain_map.columns(Shown((Row("one", chain_of(graph.groups[0])),)), SAY)["cells"]
    assert (cells["left"], cells["right"], cells["depth"]) == ([0], [1], [1])


def test_the_map_in_sentences():
    assert chain_map.describe(Shown((Row("first", THREE),), selected="a"), SAY) == [
        "Selected: first.",
        "first: expected width 4.6 of 8 channels, standard deviation 1.8.",
    ]
    assert chain_map.describe(None, SAY, "nothing yet") == ["nothing yet"]


def test_without_rows_only_the_message_is_drawn():
    tables = chain_map.columns(None, SAY, "nothing yet")
    assert tables["words"]["soft"] == ["nothing yet"]
    assert tables["rows"]["group"] == []


def test_the_view_takes_the_columns():
    view = chain_map.build()
    update(view, chain_map.columns(Shown((Row("first", THREE),)), SAY))
    assert view.sources["rows"].data["group"] == ["a"]
    assert set(chain_map.make_tappable(view).data) == {"number", "group"}
