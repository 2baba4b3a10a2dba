import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from explorer.figures import importance
from explorer.figures.importance import Importance
from explorer.figures.view import update
from explorer.strings import Strings

SAY = Strings("en")
SCORES = np.array([4.0, 1.0, 2.0, 8.0], dtype=np.float32)
KEEP = np.array([True, False, False, True])
SHOWN = Importance(SCORES, KEEP)


def texts(tables):
    return [a or b for a, b in zip(tables["labels"]["plain"], tables["labels"]["bold"], strict=True)]


def spans(bars, name):
    """(left, right) of the parts of one kind that are drawn."""
    pairs = zip(bars[f"{name}_left"], bars[f"{name}_right"], strict=True)
    return [pair for pair in pairs if not math.isnan(pair[0])]


def best(scores, width):
    keep = np.zeros(len(scores), dtype=bool)
    keep[np.argsort(-scores, kind="stable")[:width]] = True
    return keep


def test_the_threshold_stands_between_removed_and_kept():
    tables = importance.columns(SHOWN, SAY)
    assert tables["threshold"]["x"] == pytest.approx([(3 - 1) / 7])
    assert "cut below 3" in texts(tables)
    removed, kept = spans(tables["bars"], "removed"), spans(tables["bars"], "kept")
    assert max(right for _, right in removed) <= tables["threshold"]["x"][0] <= min(left for left, _ in kept)


def test_the_parts_are_labelled_where_they_are():
    tables = importance.columns(SHOWN, SAY)
    assert {"removed: 2", "kept: 2"} <= set(texts(tables))
    place = texts(tables).index("removed: 2")
    assert (tables["labels"]["x"][place], tables["labels"]["align"][place]) == (-importance.MARGIN, "left")
    ordered = importance.columns(Importance(SCORES, KEEP, "sorted"), SAY)
    place = texts(ordered).index("removed: 2")
    assert (ordered["labels"]["x"][place], ordered["labels"]["align"][place]) == (
        1 + importance.MARGIN,
        "right",
    )


def test_where_nothing_is_removed_the_threshold_waits_at_the_lowest_score():
    tables = importance.columns(Importance(SCORES, np.ones(4, dtype=bool)), SAY)
    assert -importance.MARGIN < tables["threshold"]["x"][0] < 0
    assert spans(tables["bars"], "removed") == []
    assert {"removed: 0", "drag to cut"} <= set(texts(tables))


def test_mixed_channels_are_stacked_without_a_threshold():
    shown = Importance(np.array([1.0, 1.0, 2.0, 2.0], dtype=np.float32), np.array([True, False, False, True]))
    bars = importance.columns(shown, SAY)["bars"]
    assert importance.columns(shown, SAY)["threshold"]["x"] == []
    assert bars["foot"] == bars["kept_top"]
    assert bars["removed_top"] == bars["top"]


def test_very_skewed_scores_are_placed_by_their_logarithm():
    scores = np.array([1e-6, 1e-5, 1e-4, 1.0], dtype=np.float32)
    assert importance.is_logarithmic(scores)
    tables = importance.columns(Importance(scores, np.array([False, True, True, True])), SAY)
    assert tables["threshold"]["x"] == pytest.approx([1 / 12])


def test_without_scores_only_the_message_is_drawn():
    tables = importance.columns(None, SAY, "cannot be pruned: classes")
    assert texts(tables) == ["cannot be pruned: classes"]
    assert all(not column for name in ("bars", "base", "scale") for column in tables[name].values())


def test_sorted_channels_fall_from_left_to_right_and_are_cut_at_the_width():
    shown = Importance(SCORES, KEEP, "sorted", channels=(10, 11, 12, 13))
    tables = importance.columns(shown, SAY)
    tops = tables["bars"]["top"]
    assert tops == sorted(tops, reverse=True)
    assert tables["threshold"]["x"] == [0.5]
    assert all(right <= 0.5 for _, right in spans(tables["bars"], "kept"))
    assert all(left >= 0.5 for left, _ in spans(tables["bars"], "removed"))
    assert tables["scale"]["channels"] == [[13, 10, 12, 11]]


def test_many_sorted_channels_are_one_area_of_steps():
    scores = np.arange(1, 301, dtype=np.float32)
    tables = importance.columns(Importance(scores, best(scores, 101), "sorted"), SAY)
    bars = tables["bars"]
    assert len(bars["left"]) == importance.MOST_BARS
    assert sum(bars["count"]) == 300
    assert bars["right"][:-1] == pytest.approx(bars["left"][1:])  # no gaps
    assert max(right for _, right in spans(bars, "kept")) == pytest.approx(101 / 300)
    assert all(math.isnan(top) for top in bars["removed_top"])  # no outline for each step
    assert bars["step_top"] == bars["top"]


@given(
    st.lists(st.floats(0, 1e3, width=32), min_size=1, max_size=80),
    st.integers(0, 80),
    st.sampled_from(["histogram", "sorted"]),
)
def test_bars_hold_every_channel_once_and_stay_in_the_frame(values, cut, chart):
    scores = np.array(values, dtype=np.float32)
    width = max(len(scores) - cut, 1)
    tables = importance.columns(Importance(scores, best(scores, width), chart), SAY)
    bars = tables["bars"]
    assert sum(bars["count"]) == len(scores)
    starts = np.concatenate([[0], np.cumsum(bars["count"])[:-1]])
    assert bars["start"] == starts.tolist()
    for name, count in (("kept", width), ("removed", len(scores) - width)):
        drawn = spans(bars, name)
        assert bool(drawn) == bool(count)
        assert all(0 <= left <= right <= 1 for left, right in drawn)
    assert all(importance.BASE < top <= importance.BASE + importance.TALLEST + 1e-6 for top in bars["top"])


def test_the_chart_in_sentences():
    assert importance.describe("conv1", SHOWN, SAY) == [
        "conv1: channels removed: 2, kept: 2.",
        "Importance of removed channels: 1 to 2.",
        "Importance of kept channels: 4 to 8.",
    ]
    assert importance.describe("conv1", None, SAY, "why not") == ["why not"]


def test_numbers_are_short():
    assert [importance.number(value) for value in (0.0, 0.01234, 3.21e-6, 2.5e7)] == [
        "0",
        "0.0123",
        "3.2·10⁻⁶",
        "2.5·10⁷",
    ]


def test_the_view_takes_the_columns():
    view = importance.build()
    update(view, importance.columns(SHOWN, SAY))
    assert view.sources["threshold"].data["x"] == pytest.approx([2 / 7])
