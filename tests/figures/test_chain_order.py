import math

import numpy as np
import pytest

from explorer.chains import OrderCurve
from explorer.figures import chain_order
from explorer.figures.chain_order import LEFT, PANELS, PIXELS, RIGHT, columns, describe, sentence
from explorer.figures.text_lines import lines_of
from explorer.figures.view import update
from explorer.strings import LANGUAGES, Strings

STRINGS = Strings("en")
SHARES = (0.25, 0.5, 1.0)


def curve(which, when, *accuracy, shares=SHARES, images=1000):
    return OrderCurve(which, when, shares, accuracy, images)


BEFORE = (curve("first", "before", 0.2, 0.5, 0.9), curve("last", "before", 0.2, 0.48, 0.9))
AFTER = (
    curve("first", "after", 0.7, 0.8, 0.85),
    curve("last", "after", 0.1, 0.2, 0.85),
    curve("random", "after", 0.3, 0.4, 0.85),
)


def texts(tables):
    labels = tables["labels"]
    return ["".join(row) for row in zip(*(labels[role] for role in chain_order._ROLES), strict=True)]


def axis(tables):
    """(heights, percents) of the ticks at the left."""
    rows = zip(tables["labels"]["x"], tables["labels"]["y"], texts(tables), strict=True)
    return zip(*sorted((y, float(text)) for x, y, text in rows if x == -0.012), strict=True)


def test_points_stand_where_the_axes_say_in_the_plot_of_their_time():
    tables = columns(BEFORE + AFTER, STRINGS)
    heights, percents = axis(tables)
    table = tables["first"]
    assert [round(float(np.interp(y, heights, percents)), 6) for y in table["y"][:3]] == [20, 50, 90]
    assert math.isnan(table["y"][3])
    assert [round(float(np.interp(y, heights, percents)), 6) for y in table["y"][4:]] == [70, 80, 85]
    for start, when in ((0, "before"), (4, "after")):
        left, right = PANELS[when]
        shares = [(x - left) / (right - left) for x in table["x"][start : start + 3]]
        assert shares == pytest.approx(SHARES)


def test_every_curve_is_labelled_once_in_its_plot():
    tables = columns(BEFORE + AFTER, STRINGS)
    said = texts(tables)
    assert (said.count("first"), said.count("last"), said.count("random")) == (2, 2, 1)
    place = said.index("random")
    assert tables["labels"]["x"][place] > PANELS["after"][0]


def test_the_sentence_is_worked_out_from_the_share_nearest_to_a_half():
    said = sentence(BEFORE + AFTER, STRINGS)
    assert said.startswith("Kept 50 %: first minus last is +60.0 points after the search, +2.0 before.")
    assert said.endswith("came to carry more.")


def test_a_change_within_chance_is_said_to_be_none():
    same = tuple(curve(c.which, "after", *c.accuracy) for c in BEFORE)
    assert "No change beyond chance" in sentence(BEFORE + same, STRINGS)
    # 0.5 to 0.5 + d with four shares near a half of 1000 images: 1.96 sqrt(4 x 0.25 / 1000) = 0.062
    for step, kind in ((0.055, "chance"), (0.07, "carry more"), (-0.07, "carry less")):
        first, last = (
            curve("first", "before", 0.5, shares=(0.5,)),
            curve("last", "before", 0.5, shares=(0.5,)),
        )
        moved = curve("first", "after", 0.5 + step, shares=(0.5,)), curve("last", "after", 0.5, shares=(0.5,))
        assert kind in sentence((first, last, *moved), STRINGS)


def test_what_was_not_measured_is_not_told():
    assert "nothing was measured" in sentence(AFTER, STRINGS)
    assert sentence(BEFORE, STRINGS) == ""
    assert texts(columns(AFTER, STRINGS)).count("not measured") == 1
    assert texts(columns((), STRINGS)).count("not measured") == 2
    assert describe((), STRINGS) == ["not measured"]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("kind", ["came", "went", "same", "after"])
def test_the_sentence_has_room_in_every_language(language, kind):
    values = {} if kind == "after" else {"before": "−100.0"}
    said = Strings(language)(f"chain_order_says_{kind}", share="50", after="+100.0", **values)
    assert len(lines_of(said, PIXELS * (RIGHT - LEFT) - 12)) <= 2


def test_every_curve_is_told():
    sentences = describe(BEFORE + AFTER, STRINGS)
    assert len(sentences) == 1 + 5
    assert sentences[1] == (
        "First channels kept, before (1,000 images): 20.0 % at 25 %, 50.0 % at 50 %, 90.0 % at 100 %."
    )


def test_images_without_labels_agree():
    agreeing = STRINGS.agreeing()
    tables = columns(AFTER, agreeing)
    assert "agreement, %" in texts(tables)
    assert "agreement 70.0 %" in tables["first"]["hover"][0]


def test_the_view_takes_the_tables():
    view = chain_order.build(1.25)
    tables = columns(AFTER, STRINGS)
    update(view, tables)
    assert {name: source.data for name, source in view.sources.items()} == tables
