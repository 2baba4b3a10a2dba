from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from explorer.figures import instance_effects
from explorer.figures.instance_effects import (
    HEAD,
    HEIGHT,
    PITCH,
    PIXELS,
    SPREAD,
    STRIP,
    columns,
    describe,
    name_at,
    notes,
    pages,
    paired_accuracy,
    spread,
    verdict,
)
from explorer.figures.text_lines import lines_of, pixels_of
from explorer.figures.view import update
from explorer.instances import Effect, InstanceEvidence, Rival
from explorer.strings import LANGUAGES, Strings
from explorer.values import wilson_interval

STRINGS = Strings("en")
SHIFT = {"left": 0, "center": 0.5, "right": 1}  # share of a text that stands before its x
RIVALS = Rival("dense", 1.0, 0.95, 1000), Rival("longer", 1.0, 0.96, 1000), Rival("static", 0.55, 0.9, 1000)


def effect(name="whole", gap=0.2, share=0.5, wrong=100, shuffled=False):
    """1,000 images whose MACs rise with the loss by `gap` from the easiest to the hardest fifth; the first `wrong`
    are wrong. Without a gap MACs differ without regard to the loss."""
    losses = np.arange(1000)
    macs = share + 1.25 * gap * (losses / 999 - 0.5)
    macs += 0.01 * np.random.default_rng(0).standard_normal(1000) if shuffled else 0
    return Effect(name, {}, 0, macs, losses, losses >= wrong, (0.5, float("nan"), 0.7), 0.4)


def recorded(*effects, rivals=RIVALS):
    found = effects or (
        effect(),
        effect("no_similarity", 0.1),
        effect("strong_similarity", 0.2, wrong=150),
        effect("no_sparsity", 0.15, 0.7),
        effect("uniform", 0.05),
        effect("strong_sparsity", 0.1, 0.35),
        effect("strong_uniform", 0.02, 0.3),
        effect("fbs", 0.0, 0.45, shuffled=True),
    )
    return InstanceEvidence(found, rivals)


def texts(tables):
    labels = tables["labels"]
    return ["".join(row) for row in zip(*(labels[role] for role in instance_effects._ROLES), strict=True)]


def test_pages_tell_terms_apart_from_rivals():
    assert pages(recorded()) == ("terms", "rivals")
    assert pages(recorded(effect())) == ("rivals",)
    assert pages(recorded(effect(), rivals=())) == ()
    assert pages(None) == ()
    assert [name_at(recorded(), "rivals", HEAD - PITCH * (k + 1)) for k in range(6)] == [
        "whole", "fbs", "dense", "longer", "static", None,
    ]  # fmt: skip
    assert name_at(recorded(), "terms", HEAD) is None


def test_the_paired_interval_is_that_of_discordant_images():
    one, other = np.zeros(100, bool), np.zeros(100, bool)
    one[:90], other[10:94] = True, True  # 10 right only in one, 4 only in the other
    found = paired_accuracy(one, other)
    assert found.difference == pytest.approx(0.06)
    # b = 10.5, c = 4.5, n = 102: (b - c) / n and 1.96 sqrt(b + c - (b - c)^2 / n) / n
    half = 1.959964 * (15 - 36 / 102) ** 0.5 / 102
    assert (found.low, found.high) == pytest.approx((6 / 102 - half, 6 / 102 + half))
    assert found.verdict == "open"
    assert paired_accuracy(one, np.zeros(100, bool)).verdict == "better"


def test_equal_answers_are_a_tie_with_a_width():
    right = np.ones(50, bool)
    found = paired_accuracy(right, right)
    assert found.difference == 0
    assert found.low == pytest.approx(-found.high)
    assert 0 < found.high < 0.05


def test_the_paired_interval_covers_as_often_as_it_says():
    """Of 400 draws of 500 images, at least 93 % of the intervals hold the true difference of 2 points."""
    random, held = np.random.default_rng(1), 0
    for _ in range(400):
        draw = random.random(500)
        one, other = draw < 0.92, (draw < 0.86) | (draw > 0.96)  # 6 % only in one, 4 % only in the other
        found = paired_accuracy(one, other)
        held += found.low <= 0.02 <= found.high
    assert 0.93 <= held / 400 <= 0.98


def test_a_verdict_compares_with_the_whole_run_over_the_same_images():
    said = verdict(recorded(), "strong_similarity", STRINGS)
    assert said.startswith("Against ManiDP, strong similarity: −5.0 points of accuracy (95 %: −6.")
    assert "beyond chance, at 0.0 points of MACs" in said
    assert "not told apart" in verdict(recorded(), "uniform", STRINGS)
    assert verdict(recorded(), "whole", STRINGS) == ""
    assert verdict(recorded(effect("uniform"), effect("fbs")), "uniform", STRINGS) == ""


def test_a_rival_is_compared_by_both_intervals():
    """Newcombe's example of his method 10: 56 of 70 against 48 of 80 gives 0.0524 to 0.3339."""
    whole = Effect("whole", {}, 0, np.full(80, 0.5), np.arange(80), np.arange(80) < 48, (), 0.4)
    said = verdict(recorded(whole, rivals=(Rival("static", 0.5, 0.8, 70),)), "static", STRINGS)
    assert said.startswith(
        "Against ManiDP, static network: +20.0 points of accuracy (95 %: +5.2 to +33.4), beyond"
    )


def test_the_gap_is_that_of_the_fifths():
    gap, half = spread(effect(gap=0.2))
    easy, hard = effect(gap=0.2).by_quintile
    assert gap == pytest.approx(hard - easy)
    assert gap == pytest.approx(0.2, abs=0.001)
    assert 0 < half < 0.01


@pytest.mark.parametrize(
    ("own", "other", "words"),
    [
        (0.2, 0.05, "the complexity term's own mark."),
        (0.1, 0.1, "mark does not show."),
        (0.02, 0.2, "narrower"),
    ],
)
def test_whether_the_complexity_term_shows_is_worked_out(own, other, words):
    found = recorded(effect(gap=own), effect("uniform", gap=other))
    (said,) = [note for note in notes(found, "terms", STRINGS) if note.startswith("Hard images")]
    assert words in said
    assert f"{100 * own:.1f} points more" in said


def test_a_rank_correlation_of_the_uniform_weight_is_told_only_where_there_is_one():
    said = notes(recorded(effect(), effect("uniform", 0.05)), "terms", STRINGS)
    assert said[0] == "Uniform weight gives ρ 1.00 too: hard classes excite more channels."
    flat = effect("uniform", 0.0, shuffled=True)
    assert abs(flat.correlation) < 0.06
    said = notes(recorded(effect(), flat), "terms", STRINGS)
    assert said[0].startswith("Uniform weight: ρ ")
    assert "do not follow" in said[0]


def test_every_page_says_that_one_seed_is_no_proof():
    found = recorded()
    assert [notes(found, page, STRINGS)[-1] for page in pages(found)] == [
        STRINGS("instance_effects_one_seed")
    ] * 2
    assert any("theoretical" in note for note in notes(found, "rivals", STRINGS))
    assert notes(None, "terms", STRINGS) == []


def test_marks_stand_on_common_scales():
    tables = columns(recorded(), "rivals", STRINGS)
    marks = tables["accuracies"]
    low, high = wilson_interval(850, 1000)[0], wilson_interval(960, 1000)[1]  # of both pages
    unit = (STRIP[1] - STRIP[0]) / (high - low)
    assert marks["x"][2] == pytest.approx(STRIP[0] + unit * (0.95 - low))
    assert marks["high"][3] == pytest.approx(STRIP[1])
    assert marks["low"][0] == pytest.approx(STRIP[0] + unit * (wilson_interval(900, 1000)[0] - low))
    spreads = tables["spreads"]
    assert len(spreads["y"]) == 2  # rivals have none
    shares = recorded().effects[0].by_quintile
    assert (spreads["hard"][0] - spreads["easy"][0]) / (SPREAD[1] - SPREAD[0]) == pytest.approx(
        (shares[1] - shares[0]) / 0.6
    )  # from 20 to 80 %
    assert SPREAD[0] <= min(spreads["easy"])


def test_numbers_stand_beside_and_unknown_ones_do_not():
    tables = columns(recorded(), "terms", STRINGS)
    assert {"ManiDP", "50 %", "90.0", "1.00", "0.60", "strong, uniform"} <= set(texts(tables))
    tables = columns(recorded(effect(), rivals=RIVALS[:1]), "rivals", STRINGS)
    y = tables["labels"]["y"][texts(tables).index("dense")]
    line = [text for text, height in zip(texts(tables), tables["labels"]["y"], strict=True) if height == y]
    assert line == ["dense", "100 %", "95.0"]
    constant = replace(effect(), macs=np.full(1000, 0.5))
    assert "–" in texts(columns(recorded(constant), "rivals", STRINGS))


def test_a_chosen_row_is_marked_and_told_below():
    tables = columns(recorded(), "terms", STRINGS, chosen="no_sparsity")
    middle = (tables["chosen"]["bottom"][0] + tables["chosen"]["top"][0]) / 2
    assert name_at(recorded(), "terms", middle) == "no_sparsity"
    shown = " ".join(texts(tables))
    assert verdict(recorded(), "no_sparsity", STRINGS) in shown
    assert columns(recorded(), "terms", STRINGS, chosen="fbs")["chosen"]["top"] == []


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("page", ["terms", "rivals"])
@pytest.mark.parametrize("gaps", [(0.2, 0.05), (0.1, 0.1), (0.102, 0.2)])
def test_nothing_is_left_out_and_texts_have_room(language, page, gaps):
    strings = Strings(language)
    found = recorded()
    by_name = {each.name: each for each in found.effects}
    by_name |= {"whole": effect(gap=gaps[0]), "uniform": effect("uniform", gaps[1])}
    found = recorded(*by_name.values())
    tables = columns(found, page, strings)
    lines = {}
    for x, y, align, text in zip(
        *(tables["labels"][key] for key in ("x", "y", "align")), texts(tables), strict=True
    ):
        wide = 0.93 * pixels_of(text)
        left = 425 * x - SHIFT[align] * wide
        lines.setdefault(y, []).append((left, left + wide, text))
    for line in lines.values():
        ends = [(-1, 0, ""), *sorted(line), (430, 430, "")]
        for (_left, end, one), (start, _right, other) in pairwise(ends):
            assert end <= start, (one, other)
    below = [line for note in notes(found, page, strings) for line in lines_of(note, PIXELS)]
    assert [text for text in texts(tables) if text in below] == below
    assert 6 <= min(lines) < max(lines) <= HEIGHT - 7


def test_it_is_told_in_sentences():
    said = describe(recorded(), "rivals", STRINGS)
    assert said[0].startswith(
        "ManiDP: 50 % of the MACs (easiest fifth 40 %, hardest fifth 60 %), accuracy 90.0 % (88.0 to 91.7)"
    )
    assert "rank correlation of MACs and loss: 1.00" in said[0]
    assert any(sentence.startswith("dense: 100 % of the MACs, accuracy 95.0 %") for sentence in said)
    assert describe(None, "terms", STRINGS, "wait") == ["wait"]
    assert texts(columns(None, "terms", STRINGS, message="wait")) == ["wait"]


def test_without_labels_it_is_agreement():
    said = " ".join(describe(recorded(), "terms", STRINGS.agreeing()))
    assert "agreement 90.0 %" in said
    assert "accuracy" not in said


def test_the_view_takes_the_tables():
    view = instance_effects.build(1.25)
    tables = columns(recorded(), "terms", STRINGS, chosen="uniform")
    update(view, tables)
    assert {name: source.data for name, source in view.sources.items()} == tables
