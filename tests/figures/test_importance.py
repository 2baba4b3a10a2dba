import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from explorer.figures import importance
from explorer.figures.view import update

SCORES = np.array([4.0, 1.0, 2.0, 8.0], dtype=np.float32)
KEEP = np.array([True, False, False, True])


def texts(tables):
    return [a or b for a, b in zip(tables["labels"]["plain"], tables["labels"]["bold"], strict=True)]


def heights(table):
    return sum(top - bottom for top, bottom in zip(table["top"], table["bottom"], strict=True))


def test_the_threshold_stands_between_removed_and_kept():
    tables = importance.columns(SCORES, KEEP)
    assert tables["threshold"]["x"] == pytest.approx([(3 - 1) / 7])
    assert "cut below 3" in texts(tables)
    assert max(tables["removed"]["right"]) <= tables["threshold"]["x"][0] <= min(tables["kept"]["left"])


def test_counts_and_ends_are_labelled_directly():
    words = texts(importance.columns(SCORES, KEEP))
    assert {"2 removed", "2 kept", "lowest 1", "highest 8"} <= set(words)


def test_nothing_removed_has_no_threshold_and_names_the_tallest_bar():
    tables = importance.columns(SCORES, np.ones(4, dtype=bool))
    assert tables["threshold"]["x"] == []
    assert tables["removed"]["left"] == []
    assert "0 removed" in texts(tables)
    assert "1 channel" in texts(tables)


def test_mixed_channels_are_stacked_without_a_threshold():
    tables = importance.columns(np.array([1.0, 1.0, 2.0, 2.0]), np.array([True, False, False, True]))
    assert tables["threshold"]["x"] == []
    assert tables["removed"]["bottom"] == tables["kept"]["top"]


def test_very_skewed_scores_are_drawn_by_their_logarithm_and_say_so():
    scores = np.array([1e-6, 1e-5, 1e-4, 1.0])
    tables = importance.columns(scores, np.array([False, True, True, True]))
    assert {"log scale", "lowest 1.0·10⁻⁶", "highest 1"} <= set(texts(tables))
    assert tables["threshold"]["x"] == pytest.approx([1 / 12])


def test_without_scores_only_the_message_is_drawn():
    tables = importance.columns(None, None, "cannot be pruned: classes")
    assert texts(tables) == ["cannot be pruned: classes"]
    assert all(not column for name in ("kept", "removed", "base") for column in tables[name].values())


@given(st.lists(st.floats(0, 1e3, width=32), min_size=1, max_size=80), st.integers(0, 80))
def test_bars_hold_every_channel_once_and_stay_in_the_frame(values, cut):
    scores = np.array(values, dtype=np.float32)
    keep = np.ones(len(scores), dtype=bool)
    keep[np.argsort(scores, kind="stable")[: min(cut, len(scores) - 1)]] = False
    tables = importance.columns(scores, keep)
    kept, removed = heights(tables["kept"]), heights(tables["removed"])
    assert kept / (kept + removed) == pytest.approx(keep.mean())
    for name in ("kept", "removed"):
        assert all(
            0 <= left <= right <= 1
            for left, right in zip(tables[name]["left"], tables[name]["right"], strict=True)
        )
        assert all(top <= importance.BASE + importance.TALLEST + 1e-6 for top in tables[name]["top"])


def test_the_chart_in_sentences():
    assert importance.describe("conv1", SCORES, KEEP) == [
        "conv1: 2 channels removed, 2 kept.",
        "Importance of removed channels: 1 to 2.",
        "Importance of kept channels: 4 to 8.",
    ]
    assert importance.describe("conv1", None, None, "why not") == ["why not"]


def test_the_view_takes_the_columns():
    view = importance.build()
    update(view, importance.columns(SCORES, KEEP))
    assert view.sources["threshold"].data["x"] == pytest.approx([2 / 7])
