import math
from dataclasses import dataclass

import pytest

from explorer.figures import class_changes
from explorer.figures.class_changes import BARS, HEAD, HEIGHT, MOST_ROWS, WIDTH
from explorer.figures.view import update
from explorer.strings import Strings

STRINGS = Strings("en")
NAMES = ("shirt", "coat", "ankle boot")


@dataclass(frozen=True)
class Change:
    label: int
    broken: int
    mended: int
    images: int = 200
    right: int = 160
    taken_for: int | None = 1
    taken: int = 5
    points: float = -12.0
    interval: tuple[float, float] = (-17.5, -6.5)
    beyond_chance: bool = True
    remembered: float = 0.8


SHIRT = Change(0, broken=30, mended=10)
COAT = Change(1, broken=0, mended=4, points=2.0, interval=(-0.5, 4.5), beyond_chance=False, taken_for=None)
BOOT = Change(2, broken=15, mended=0, remembered=math.nan)  # what no real class is: all texts at once
CHANGES = (SHIRT, COAT, BOOT)


def test_bars_diverge_from_one_line_in_proportion_to_the_counts():
    rows = class_changes.columns(CHANGES, NAMES, STRINGS)["rows"]
    zero, unit = rows["zero"][0], (BARS[1] - BARS[0]) / 40  # 30 to the left and 10 to the right fill the room
    assert rows["zero"] == [zero] * 3
    assert [zero - x for x in rows["broken"]] == pytest.approx([30 * unit, 0, 15 * unit])
    assert [x - zero for x in rows["mended"]] == pytest.approx([10 * unit, 4 * unit, 0])
    assert min(rows["broken"]) == pytest.approx(BARS[0])
    assert max(rows["mended"]) == pytest.approx(BARS[1])


def test_counts_and_points_stand_beside_and_only_what_is_beyond_chance_is_bold():
    rows = class_changes.columns(CHANGES, NAMES, STRINGS)["rows"]
    assert rows["name"] == ["shirt", "coat", "ankle boot"]
    assert (rows["broken_text"], rows["mended_text"]) == (["30", "0", "15"], ["10", "4", "0"])
    assert rows["sure"] == ["−12.0", "", "−12.0"]
    assert rows["points"] == ["", "+2.0", ""]


def test_the_number_of_images_stands_above_where_all_classes_have_as_many():
    head = class_changes.columns(CHANGES, NAMES, STRINGS)["labels"]["text"]
    assert head == ["of 200", "broken", "mended", "points"]
    uneven = (SHIRT, Change(1, 0, 0, images=150))
    assert class_changes.columns(uneven, NAMES, STRINGS)["labels"]["text"][0] == ""
    assert "of 150 images" in class_changes.columns(uneven, NAMES, STRINGS)["rows"]["line1"][1]


def test_the_chosen_class_alone_is_marked():
    rows = class_changes.columns(CHANGES, NAMES, STRINGS, chosen=1)["rows"]
    assert [math.isnan(x) for x in rows["chosen"]] == [True, False, True]


def test_a_tap_finds_the_class_of_the_row():
    rows = class_changes.columns(CHANGES, NAMES, STRINGS)["rows"]
    for place, change in enumerate(CHANGES):
        assert class_changes.class_at(rows["middle"][place], CHANGES) == change.label
    assert class_changes.class_at(HEIGHT - HEAD / 2, CHANGES) is None
    assert class_changes.class_at(rows["low"][-1] - 1, CHANGES) is None


def test_of_many_classes_those_with_most_flips_are_shown_and_the_others_counted():
    many = [Change(label, broken=label % 50, mended=0) for label in range(100)]
    tables = class_changes.columns(many, (), STRINGS)
    assert len(tables["rows"]["name"]) == MOST_ROWS - 1
    assert set(tables["rows"]["broken_text"]) == {"49", "48", "47", "46", "45"}
    assert tables["rows"]["name"][:2] == ["49", "99"]  # without names the number of the class
    assert tables["labels"]["text"][-1] == "and 90 more classes"
    assert tables["labels"]["y"][-1] > 0
    assert class_changes.class_at(tables["rows"]["middle"][1], many) == 99
    assert class_changes.class_at(tables["labels"]["y"][-1], many) is None


def test_without_flips_no_bar_is_drawn():
    rows = class_changes.columns([Change(0, 0, 0)], NAMES, STRINGS)["rows"]
    assert rows["broken"] == rows["mended"] == rows["zero"]
    assert class_changes.columns([], NAMES, STRINGS)["rows"]["name"] == []


def test_every_class_is_told_in_words():
    known = "remembers 80 % of the 160 that were right."
    assert class_changes.describe(CHANGES, NAMES, STRINGS) == [
        "shirt: broken 30, mended 10, of 200 images; accuracy −12.0 points (95 %: −17.5 to −6.5); " + known,
        "Of the broken images of shirt, 5 are taken for coat, more than for any other class.",
        "coat: broken 0, mended 4, of 200 images; accuracy +2.0 points (95 %: −0.5 to +4.5); " + known,
        "ankle boot: mended 0 of 200 images, none of which were right; accuracy −12.0 points (95 %: −17.5 to −6.5).",
        "Of the broken images of ankle boot, 5 are taken for coat, more than for any other class.",
    ]


def test_the_view_takes_what_columns_gives():
    view = class_changes.build(scale=1.25)
    update(view, class_changes.columns(CHANGES, NAMES, STRINGS))
    assert view.sources["rows"].data["name"][0] == "shirt"
    assert (view.root.width, view.root.height) == (round(1.25 * WIDTH), round(1.25 * HEIGHT))
