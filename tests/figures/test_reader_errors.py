import numpy as np
import pytest

from explorer.figures import reader_errors
from explorer.figures.reader_errors import ReaderErrors
from explorer.figures.view import update
from explorer.strings import Strings

SAY = Strings("en")
CUT = np.array([1, 0.8, 0.46, 0.2, 0], dtype=np.float32)
REFITTED = np.array([1, 0.4, 0.08, 0.013, 0], dtype=np.float32)


def tables(width, cut=CUT, refitted=REFITTED):
    return reader_errors.columns(ReaderErrors(cut, refitted, width), SAY)


def texts(found):
    return [
        plain or bold for plain, bold in zip(found["labels"]["plain"], found["labels"]["bold"], strict=True)
    ]


def test_the_curves_go_from_one_channel_to_all_and_end_on_the_axis():
    curves, base = tables(2)["curves"], tables(2)["base"]["y"][0]
    assert curves["x"] == [0.25, 0.5, 0.75, 1.0]
    for name, errors in (("cut", CUT), ("refitted", REFITTED)):
        rises = (np.array(curves[name]) - base) / (curves["cut"][0] - base)
        np.testing.assert_allclose(rises, errors[1:] / CUT[1], rtol=1e-6)


def test_the_marker_stands_on_both_curves_with_both_numbers_beside_it():
    found = tables(2)
    marker = found["marker"]
    assert marker["x"] == [0.5]
    assert [marker["cut"][0], marker["refitted"][0]] == [
        found["curves"][name][1] for name in ("cut", "refitted")
    ]
    assert {SAY("layer_error_cut", error="46"), SAY("layer_error_refitted", error="8.0")} <= set(texts(found))


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_the_numbers_stand_on_the_side_where_there_is_room_and_apart_from_each_other(width):
    labels = tables(width)["labels"]
    shifts = [shift for shift in labels["shift"] if shift]
    assert len(shifts) == 2
    assert all((shift > 0) == (width / 4 < 0.5) for shift in shifts)
    assert abs(shifts[0] - shifts[1]) > 60  # a text is between


def test_small_errors_fill_the_plot_and_the_largest_is_said():
    low, high = tables(2, CUT / 20, REFITTED / 20), tables(2)
    np.testing.assert_allclose(low["curves"]["cut"], high["curves"]["cut"], rtol=1e-5)
    assert SAY("layer_error_least", error="4.0") in texts(low)


def test_a_removed_group_has_curves_and_no_marker():
    found = tables(0)
    assert found["marker"]["x"] == []
    assert len(found["curves"]["x"]) == 4


@pytest.mark.parametrize("cut", [np.zeros(2, dtype=np.float32), np.full(2, np.nan, dtype=np.float32)])
def test_nothing_to_lose_and_nothing_known_are_drawn_without_a_fault(cut):
    found = tables(1, cut, np.zeros(2, dtype=np.float32))
    assert len(found["curves"]["x"]) == 1


def test_without_errors_it_says_why():
    found = reader_errors.columns(None, SAY, "No images.")
    assert texts(found) == ["No images."]
    assert found["curves"]["x"] == []
    assert reader_errors.describe("b", None, SAY, "No images.") == ["No images."]


def test_it_is_told_in_sentences_the_width_now_first():
    said = reader_errors.describe("next", ReaderErrors(CUT, REFITTED, 2), SAY)
    assert all(part in said[0] for part in ("2 of 4", "next", "46", "8.0"))
    assert len(said) == 3
    assert "1 of 4" in said[1]


@pytest.mark.parametrize(
    ("share", "text"), [(0, "0.0"), (0.0031, "0.3"), (0.0813, "8.1"), (0.0996, "10"), (1.2, "120")]
)
def test_numbers_have_two_digits(share, text):
    assert reader_errors.percent(share) == text


def test_the_view_takes_the_tables():
    view = reader_errors.build()
    assert not view.root.visible
    found = tables(3)
    update(view, found)
    assert {name: source.data for name, source in view.sources.items()} == found
