import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from explorer.chains import Chain, steps_of
from explorer.figures import chain_curve
from explorer.figures.chain_curve import AXIS, FOOT, LEFT, LOW, PIXELS, RIGHT, TALL, TOP, Shown
from explorer.figures.chain_words import MOST_SAID
from explorer.figures.text_lines import pixels_of
from explorer.figures.view import update
from explorer.strings import LANGUAGES, Strings

SAY = Strings("en")


def chain(size, transitions, divisions=8):
    """The chain of a group with those transition probabilities, or the same one for all steps."""
    least, step, states = steps_of(size, divisions)
    p = np.broadcast_to(np.asarray(transitions, dtype=float), (states,))
    return Chain("g", size, least, step, np.log(p) - np.log1p(-p))


def even(like):
    """The same group's chain with even transitions."""
    return replace(like, alphas=np.zeros(like.states))


THREE = Chain("g", 8, 2, 2, np.log([0.8 / 0.2, 0.5 / 0.5, 0.25 / 0.75]))
"""Least 2, steps of 2: m = .8, .4, .1; P(2, 4, 6, 8) = .2, .4, .3, .1; E = 2 + 2 x 1.3 = 4.6."""


def probability(y):
    return (y - FOOT) / (TOP - FOOT)


def test_the_curve_has_both_ends_of_every_step():
    curve = chain_curve.columns(Shown(THREE), SAY)["curve"]
    assert curve["x"] == [0, 0.25, 0.25, 0.5, 0.5, 0.75, 0.75, 1]
    assert [probability(y) for y in curve["y"]] == pytest.approx([1, 1, 0.8, 0.8, 0.4, 0.4, 0.1, 0.1])


def test_bars_stand_at_the_widths_and_are_as_high_as_these_are_likely():
    bars = chain_curve.columns(Shown(THREE), SAY)["bars"]
    middles = [(left + right) / 2 for left, right in zip(bars["left"], bars["right"], strict=True)]
    assert middles == pytest.approx([0.25, 0.5, 0.75, 1])
    assert [(top - LOW) / TALL for top in bars["top"]] == pytest.approx([0.5, 1, 0.75, 0.25])


def test_a_knob_stands_in_its_step_at_its_transition_probability():
    knobs = chain_curve.columns(Shown(THREE), SAY)["knobs"]
    assert knobs["x"] == pytest.approx([0.375, 0.625, 0.875])
    assert knobs["p"] == pytest.approx([0.8, 0.5, 0.25])
    assert [probability(y) for y in knobs["y"]] == pytest.approx(knobs["p"])


def test_the_expected_width_has_a_band_of_one_standard_deviation():
    expected = chain_curve.columns(Shown(THREE), SAY)["expected"]
    spread = math.sqrt(0.2 * 2.6**2 + 0.4 * 0.6**2 + 0.3 * 1.4**2 + 0.1 * 3.4**2)
    assert expected["x"] == pytest.approx([4.6 / 8])
    assert expected["left"] == pytest.approx([(4.6 - spread) / 8])
    assert expected["right"] == pytest.approx([(4.6 + spread) / 8])
    assert expected["text"] == [f"expected 4.6 ± {spread:.1f} of 8"]


def test_the_likeliest_width_is_told_beside_its_bar():
    likely = chain_curve.columns(Shown(THREE), SAY)["likely"]
    assert likely["text"] == ["P(width = 4) = 0.4"]
    assert likely["align"] == ["right"]  # of the line of the expected width, at 4.6
    assert likely["x"][0] == pytest.approx(0.5, abs=0.1)


def test_the_first_frame_is_drawn_where_it_differs():
    other = Chain("g", 8, 2, 2, np.zeros(3))
    first = chain_curve.columns(Shown(THREE, first=other), SAY)["first"]
    assert [probability(y) for y in first["y"]] == pytest.approx([1, 1, 0.5, 0.5, 0.25, 0.25, 0.125, 0.125])
    assert chain_curve.columns(Shown(THREE, first=THREE), SAY)["first"]["x"] == []


def test_the_width_of_the_bars_takes_the_place_of_numbers():
    tables = chain_curve.columns(Shown(THREE, width=8), SAY)
    assert (tables["now"]["x"], tables["now"]["text"]) == ([1.0], ["in the bars: 8"])
    assert tables["axis"]["text"] == ["0", "2"]
    assert chain_curve.columns(Shown(THREE), SAY)["axis"]["text"] == ["8 channels", "0", "2"]


def test_the_pointer_is_told_all_that_is_known_of_a_step():
    hover = chain_curve.columns(Shown(THREE), SAY)["hover"]
    here = [
        html
        for left, right, bottom, top, html in zip(*hover.values(), strict=True)
        if left <= 0.4 < right and bottom <= FOOT + 20 < top
    ]
    facts = ["Retention probability: m = 0.8", "Transition probability: p = 0.8", "P(width = 4) = 0.4"]
    assert here == ["<br>".join(["<b>Channels 3 to 4</b>", *facts])]
    below = [
        html
        for left, right, bottom, top, html in zip(*hover.values(), strict=True)
        if left <= 0.2 < right and bottom <= AXIS < top
    ]
    assert below == ["<b>Channels 1 to 2</b><br>Always kept<br>P(width = 2) = 0.2"]


EXTREMES = [
    *(chain(size, p) for size in (2, 3, 15, 16, 100, 2048) for p in (1e-6, 0.5, 0.9, 1 - 1e-6)),
    chain(1, []),
    chain(2048, 0.99, divisions=2048),
]


@pytest.mark.parametrize("shown", EXTREMES, ids=lambda each: f"{each.size}-{each.expected:.3g}")
@pytest.mark.parametrize("language", LANGUAGES)
def test_texts_stay_in_the_figure_and_lines_of_text_do_not_touch(shown, language):
    say = Strings(language)
    for width in (None, shown.least, shown.size):
        tables = chain_curve.columns(Shown(shown, even(shown), width), say)
        rows = [[], [], []]
        for place, name in enumerate(("expected", "likely", "now")):
            rows[place] += zip(*(tables[name][key] for key in ("x", "text", "align")), strict=True)
        rows[2] += zip(*(tables["axis"][key] for key in ("x", "text", "align")), strict=True)
        for row in rows:
            spans = sorted(_span(*each) for each in row)
            assert all(low >= LEFT and high <= RIGHT + 0.02 for low, high in spans)
            assert all(one[1] < other[0] for one, other in pairwise(spans))


def _span(x, text, align):
    wide = 0.93 * pixels_of(text) / PIXELS  # estimates are generous
    low = x - wide * {"left": 0, "center": 0.5, "right": 1}[align]
    return low, low + wide


def test_the_pointer_is_told_something_everywhere():
    for shown in EXTREMES:
        hover = chain_curve.columns(Shown(shown), SAY)["hover"]
        assert len(hover["html"]) <= 2 * chain_curve.MOST_ZONES
        for foot, end in ((FOOT, 1), (0, RIGHT)):
            zones = zip(hover["left"], hover["right"], hover["bottom"], strict=True)
            edges = [(left, right) for left, right, bottom in zones if bottom == foot]
            assert (edges[0][0], edges[-1][1]) == (0, end)
            assert all(one[1] == other[0] for one, other in pairwise(edges))


def test_names_stand_above_the_bars():
    for shown in EXTREMES:
        labels = chain_curve.columns(Shown(shown, even(shown), 1), SAY)["labels"]
        assert all(FOOT < y < TOP + 20 for y in labels["y"])


def test_long_chains_have_small_knobs_and_bars_without_gaps():
    tables = chain_curve.columns(Shown(chain(2048, 0.99, divisions=2048)), SAY)
    assert set(tables["knobs"]["size"]) == {chain_curve.SMALLEST_KNOB}
    assert tables["bars"]["left"][1:] == pytest.approx(tables["bars"]["right"][:-1])


def test_the_figure_in_sentences():
    says = chain_curve.describe("conv1", Shown(THREE, width=5), SAY)
    whole = "conv1: expected width 4.6 of 8 channels, standard deviation 1.8; always kept: 2; "
    assert says == [
        f"{whole}most likely width 4, with probability 0.4.",
        "Width in the bars: 5.",
        "Channels 3 to 4: retention probability 0.8, transition probability 0.8; width 4 has probability 0.4.",
        "Channels 5 to 6: retention probability 0.4, transition probability 0.5; width 6 has probability 0.3.",
        "Channels 7 to 8: retention probability 0.1, transition probability 0.25; width 8 has probability 0.1.",
    ]
    assert len(chain_curve.describe("conv1", Shown(chain(2048, 0.9, 2048)), SAY)) == 1 + MOST_SAID
    assert chain_curve.describe("conv1", None, SAY, "why not") == ["why not"]


def test_without_a_chain_only_the_message_is_drawn():
    tables = chain_curve.columns(None, SAY, "cannot be pruned")
    assert tables["labels"]["soft"] == ["cannot be pruned"]
    assert all(not column for name in tables if name != "labels" for column in tables[name].values())


def test_the_view_takes_the_columns():
    view = chain_curve.build()
    update(view, chain_curve.columns(Shown(THREE), SAY))
    assert view.sources["knobs"].data["p"] == pytest.approx([0.8, 0.5, 0.25])
    ask, answer = chain_curve.make_draggable(view)
    assert set(ask.data) == {"number", "group", "place", "probability", "ended"}
    assert set(answer.data) == {"number"}
