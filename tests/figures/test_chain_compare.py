from dataclasses import replace

import pytest

from explorer.chains import Comparison, Contender
from explorer.figures import chain_compare
from explorer.figures.chain_compare import HEIGHT, PIXELS, STRIP, columns, describe, pages, verdict
from explorer.figures.text_lines import pixels_of
from explorer.figures.view import update
from explorer.strings import LANGUAGES, Strings

STRINGS = Strings("en")
SHIFT = {"left": 0, "center": 0.5, "right": 1}  # share of a text that stands before its x


def comparison(dmcp=(0.84, 0.85, 0.86), uniform=(0.83, 0.85, 0.87), **fields):
    """Differences of 1, 0 and -1 points: mean 0, interval +-4.303 / sqrt(3) = 2.48 points."""
    contenders = (
        Contender("dmcp", 0.3996, (), 0.828, dmcp),
        Contender("uniform", 0.4011, (), 0.823, uniform),
        Contender("largest", 1.0, (), 0.85, ()),
        Contender("smallest", 0.031, (), 0.41, ()),
    )
    return replace(Comparison("resnet20", 0.4, 5000, 4, "scratch", contenders), **fields)


def texts(tables):
    labels = tables["labels"]
    return ["".join(row) for row in zip(*(labels[role] for role in chain_compare._ROLES), strict=True)]


def test_marks_stand_on_one_scale_of_accuracy():
    tables = columns((comparison(),), STRINGS)
    x = tables["seeds"]["x"]
    point = x[1] - x[0]
    assert x[:3] == pytest.approx([x[0], x[0] + point, x[0] + 2 * point])
    assert x[3:] == pytest.approx([x[0] - point, x[0] + point, x[0] + 3 * point])
    assert tables["zero"]["x"] == pytest.approx([x[1]])  # the mean of uniform
    assert tables["interval"]["x"] == pytest.approx([x[1]])
    assert tables["interval"]["right"][0] - x[1] == pytest.approx(2.484 * point, rel=1e-3)
    assert x[1] - tables["interval"]["left"][0] == pytest.approx(2.484 * point, rel=1e-3)


def test_the_least_and_the_greatest_value_stand_at_the_ends_of_the_strip():
    tables = columns((comparison(uniform=(0.7, 0.7, 0.7), dmcp=(0.7, 0.7, 0.7)),), STRINGS)
    assert {"69.8", "70.2"} <= set(texts(tables))
    tables = columns((comparison(uniform=(0.81,), dmcp=(0.87,)),), STRINGS)
    labels = zip(tables["labels"]["x"], tables["labels"]["align"], texts(tables), strict=True)
    ends = {text: (x, align) for x, align, text in labels}
    assert (ends["81.0"], ends["87.0"]) == ((STRIP[0], "left"), (STRIP[1], "right"))


@pytest.mark.parametrize("count", [1, 2])
def test_equal_seeds_are_stacked_within_their_line(count):
    tables = columns((comparison(dmcp=(0.85, 0.85, 0.85), uniform=(0.83, 0.85, 0.87)),) * count, STRINGS)
    middle = tables["labels"]["y"][texts(tables).index("DMCP")]
    heights = tables["seeds"]["y"][:3]
    assert len(set(tables["seeds"]["x"][:3])) == 1
    pitch = chain_compare.PITCHES[count]
    low, own, high = sorted(heights)
    assert own == pytest.approx(middle)
    assert high - own == pytest.approx(own - low)
    assert high - own >= 4.5
    assert high - low <= pitch
    assert len(set(tables["seeds"]["y"][3:6])) == 1, "those beside one another stay on their line"


def test_what_shared_weights_are_is_told_over_their_column():
    tables = columns((comparison(), comparison()), STRINGS)
    helps = tables["helps"]
    assert helps["hover"] == [STRINGS("chain_compare_shared_is")] * 2
    for x, y, text in zip(tables["labels"]["x"], tables["labels"]["y"], texts(tables), strict=True):
        if text in ("shared", "82.8", "82.3", "+0.5"):
            over = zip(helps["left"], helps["right"], helps["bottom"], helps["top"], strict=True)
            assert any(left < x <= right and low < y < top for left, right, low, top in over), text


def test_all_marks_are_in_the_strip():
    tables = columns((comparison(), comparison(uniform=(0.1, 0.5, 0.9))), STRINGS)
    marks = [*tables["seeds"]["x"], *tables["interval"]["left"], *tables["interval"]["right"]]
    assert STRIP[0] < min(marks) <= max(marks) < STRIP[1]
    assert len(tables["rules"]["y"]) == 1


def test_numbers_stand_beside():
    said = texts(columns((comparison(),), STRINGS))
    assert {"82.8", "82.3", "+0.5", "85.00", "40 %", "retrained, seeds: 3", "4 epochs from scratch"} <= set(
        said
    )
    assert "Shared weights, 5,000 images: largest 85.0, smallest 41.0 %" in said


@pytest.mark.parametrize(
    ("dmcp", "uniform", "words"),
    [
        (
            (0.84, 0.85, 0.86),
            (0.83, 0.85, 0.87),
            "Not told apart: 0.0 points (95 %, seeds only: −2.5 to +2.5).",
        ),
        # differences 2, 2.2, 1.8 points: 2 +- 4.303 x 0.2 / sqrt(3) = 0.497
        (
            (0.82, 0.822, 0.818),
            (0.8, 0.8, 0.8),
            "DMCP is better by 2.0 points (95 %, seeds only: +1.5 to +2.5).",
        ),
        (
            (0.8, 0.8, 0.8),
            (0.82, 0.822, 0.818),
            "Uniform is better by 2.0 points (95 %, seeds only: +1.5 to +2.5).",
        ),
        ((0.81,), (0.8,), "Difference +1.0 points, one seed: no interval, no verdict."),
        ((), (), "Not retrained: only shared weights were compared."),
    ],
)
def test_the_verdict_follows_from_the_interval(dmcp, uniform, words):
    assert verdict(comparison(dmcp, uniform), STRINGS) == words
    assert words in texts(columns((comparison(dmcp, uniform),), STRINGS))


def test_without_retraining_there_is_nothing_in_the_strip():
    tables = columns((comparison((), ()),), STRINGS)
    assert tables["seeds"]["x"] == tables["zero"]["x"] == tables["lines"]["y"] == []
    assert "4 epochs from scratch" not in texts(tables)


def test_pages_hold_two_and_leave_out_what_cannot_be_compared():
    lonely = comparison(contenders=comparison().contenders[:1])
    one, two, three = (comparison(network=name) for name in "abc")
    assert pages((one, lonely, two, three)) == ((one, two), (three,))
    assert pages((lonely,)) == ()
    assert texts(columns((), STRINGS, "nothing yet")) == ["nothing yet"]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("count", [1, 2])
def test_texts_have_room_in_every_language(language, count):
    long = comparison(network="a network that is described in very many words", start="supernet")
    tables = columns((long,) * count, Strings(language))
    assert any("…" in text and "40 %" in text for text in texts(tables)), "the target is not cut off"
    rows = list(zip(*(tables["labels"][name] for name in ("x", "y", "align")), texts(tables), strict=True))
    for x, y, align, text in rows:
        left = x * PIXELS - pixels_of(text) * SHIFT[align]
        assert left >= -1
        assert left + pixels_of(text) <= PIXELS + 1, text
        assert 6 <= y <= HEIGHT - 6
    for one in rows:
        for other in rows:
            if one is not other and one[1] == other[1] and one[0] <= other[0]:
                end = one[0] * PIXELS + pixels_of(one[3]) * (1 - SHIFT[one[2]])
                start = other[0] * PIXELS - pixels_of(other[3]) * SHIFT[other[2]]
                assert end <= start + 1, (one, other)


def test_everything_is_told():
    sentences = describe((comparison(),), STRINGS)
    assert sentences[0] == "resnet20, structures of 40 % of MACs; accuracy over 5,000 images."
    assert sentences[2] == "DMCP: 40 % of MACs, accuracy 82.8 % with the supernet's weights."
    assert sentences[3] == "DMCP, accuracy after retraining, seed by seed, in percent: 84.0, 85.0, 86.0."
    assert sentences[-1].startswith("Not told apart")
    assert "agreement" in describe((comparison(),), STRINGS.agreeing())[2]


def test_the_view_takes_the_tables():
    view = chain_compare.build(1.25)
    tables = columns((comparison(),), STRINGS)
    update(view, tables)
    assert {name: source.data for name, source in view.sources.items()} == tables
