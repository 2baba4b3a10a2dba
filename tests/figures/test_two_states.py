import numpy as np
import pytest

from explorer.figures import two_states
from explorer.figures.two_states import HEIGHT, columns, describe, differences
from explorer.figures.view import update
from explorer.strings import Strings
from explorer.values import Plan
from tests.panels.fake_session import RESNET, make_graph

STRINGS = Strings("en")
GRAPH = make_graph()


def plan(graph=GRAPH, **widths):
    """Dense but for those widths."""
    return Plan(graph.key, {g.id: np.arange(g.size) < widths.get(g.id, g.size) for g in graph.prunable})


def texts(tables):
    return [a or b for a, b in zip(tables["labels"]["soft"], tables["labels"]["ink"], strict=True)]


def test_only_groups_that_differ_the_most_different_first():
    rows = differences(GRAPH, plan(s1b0=8, s2b0=31, s3b0=5), plan(s1b0=10, s2b0=31, sum2=8))
    assert [(row.group, row.one, row.other) for row in rows] == [
        ("s3b0", 5, 64),  # 59 of 64
        ("sum2", 32, 8),  # 24 of 32
        ("s1b0", 8, 10),  # 2 of 16
    ]


def test_bars_are_as_long_as_the_share_that_is_kept():
    tables = columns(differences(GRAPH, plan(s1b0=4), plan(s1b0=12)), STRINGS)
    pairs = {name: values[0] for name, values in tables["pairs"].items()}
    full = pairs["end"] - pairs["left"]
    assert (pairs["one"] - pairs["left"]) / full == pytest.approx(0.25)
    assert (pairs["other"] - pairs["left"]) / full == pytest.approx(0.75)
    assert {"stage1.0.conv1", "4 → 12"} <= set(texts(tables))


def test_a_group_of_several_layers_is_named_by_the_first_and_how_many_more():
    rows = differences(GRAPH, plan(), plan(sum1=8))
    assert [row.name for row in rows] == ["stem +3"]


@pytest.mark.parametrize("count", [1, 12, 13, 24, 25, 40])
def test_rows_do_not_overlap_and_what_has_no_room_is_counted(count):
    graph = make_graph([(f"layer{k}", f"g{k}", 8, "3x3") for k in range(count)], frozen=())
    rows = differences(graph, plan(graph), Plan(graph.key, {g.id: np.arange(8) < 3 for g in graph.groups}))
    assert len(rows) == count
    tables = columns(rows, STRINGS)
    boxes = sorted(zip(*(tables["pairs"][name] for name in ("left", "low", "end", "high")), strict=True))
    for place, (left, low, end, high) in enumerate(boxes):
        assert 0 < left < end < 1
        assert low > 0
        assert high < HEIGHT
        for other in boxes[place + 1 :]:
            assert other[0] >= end or other[1] >= high or other[3] <= low
    left_out = count - len(boxes)
    assert left_out == (0 if count <= 24 else count - 23)
    assert (f"and {left_out} more" in texts(tables)) == (left_out > 0)


def test_equal_widths_and_messages_are_said():
    assert texts(columns([], STRINGS)) == [STRINGS("tradeoff_same_widths")]
    assert texts(columns([], STRINGS, "wait")) == ["wait"]
    assert describe([], STRINGS) == [STRINGS("tradeoff_same_widths")]


def test_the_summary_has_every_difference():
    many = {group: 3 for _name, group, _size, _kernel in RESNET if group != "classes"}
    rows = differences(GRAPH, plan(), plan(**many))
    sentences = describe(rows, STRINGS)
    assert len(sentences) == 12
    assert any("stage3.0.conv1: 64 channels, then 3, of 64" in sentence for sentence in sentences)


def test_the_view_takes_the_tables():
    view = two_states.build(1.25)
    tables = columns(differences(GRAPH, plan(), plan(s1b0=3)), STRINGS)
    update(view, tables)
    assert {name: source.data for name, source in view.sources.items()} == tables
