import math
from dataclasses import replace

import numpy as np
import pytest

from explorer.figures import tradeoff
from explorer.figures.trade_axes import BASE, FOOT, PLOT_PIXELS, TOP, axes_of
from explorer.figures.tradeoff import Shown, columns, describe, hit
from explorer.figures.view import update
from explorer.records import SweepPoint, Visit
from explorer.strings import Strings
from explorer.values import Cost, Estimate, Latency, Plan, Recovery, Request

STRINGS = Strings("en")
DENSE = Cost(1000, 400, 0, 0, (), ())


def visit(number, macs, correct, parent=None, recovery="bn", **fields):
    """A visit with that many of 1000 MACs, and that many of 1000 images right."""
    plan = Plan("graph", {"a": np.arange(10) < macs // 100})
    estimate = Estimate(f"key {number}", correct, 1000, 1000)
    cost = Cost(macs, macs // 4, 0, 0, (), ())
    return Visit(
        number, parent, Request(), plan, Recovery.parse(recovery), cost, estimate, **fields
    )  # fmt: skip


START = visit(0, 1000, 930, recovery="none")
VISITS = (START, visit(1, 800, 900, 0), visit(2, 600, 870, 1), visit(3, 700, 890, 1))
FALLEN = visit(4, 600, 200, 2, recovery="none")


def shown(*visits, **fields):
    return Shown(visits, DENSE, reference=START.estimate, reference_cost=DENSE, **fields)


def texts(tables):
    return [a or b for a, b in zip(tables["labels"]["soft"], tables["labels"]["ink"], strict=True)]


def accuracy_at(tables, y):
    """The accuracy in percent at a height, read off the labelled grid."""
    grid = sorted(tables["grid"]["y"])
    ticks = sorted(
        float(text) for text, x in zip(texts(tables), tables["labels"]["x"], strict=True) if x == -0.012
    )
    return float(np.interp(y, grid, ticks))


def share_at(tables, x):
    """The share of the cost in percent at a place, read off the labelled ticks."""
    heights = zip(texts(tables), tables["labels"]["x"], tables["labels"]["y"], strict=True)
    ticks = [(at, float(text)) for text, at, y in heights if y == BASE - 12]
    return float(np.interp(x, *zip(*ticks, strict=True)))


@pytest.mark.parametrize(("x", "shares"), [("macs", [100, 80, 60, 70]), ("params", [62.5, 50, 37.5, 43.75])])
def test_points_stand_where_the_axes_say(x, shares):
    tables = columns(shown(*VISITS, x=x), STRINGS)
    points = tables["points"]
    assert [accuracy_at(tables, y) for y in points["y"]] == pytest.approx([93, 90, 87, 89])
    assert [share_at(tables, place) for place in points["x"]] == pytest.approx(shares)


def test_whiskers_are_the_95_percent_interval():
    tables = columns(shown(*VISITS), STRINGS)
    # Wilson interval of 900 of 1000 images, from published tables: 0.8798 to 0.9171
    assert accuracy_at(tables, tables["points"]["low"][1]) == pytest.approx(87.98, abs=0.01)
    assert accuracy_at(tables, tables["points"]["high"][1]) == pytest.approx(91.71, abs=0.01)


def test_every_child_hangs_on_its_parent():
    tables = columns(shown(*VISITS), STRINGS)
    spots = list(zip(tables["points"]["x"], tables["points"]["y"], strict=True))
    lines = zip(*(tables["path"][name] for name in ("x0", "y0", "x1", "y1")), strict=True)
    assert [(spots.index(line[:2]), spots.index(line[2:])) for line in lines] == [(0, 1), (1, 2), (1, 3)]


def test_the_current_one_and_the_chosen_one_are_marked():
    tables = columns(shown(*VISITS, at=2, chosen=3), STRINGS)
    assert tables["current"]["x"] == [tables["points"]["x"][2]]
    assert tables["chosen"]["y"] == [tables["points"]["y"][3]]
    assert {"now", "state 3"} <= set(texts(tables))


def test_named_states_are_labelled_and_the_reference_is():
    tables = columns(shown(*VISITS[:3], replace(VISITS[3], name="slim")), STRINGS)
    assert {"slim", "dense 93.0 %"} <= set(texts(tables))
    line = tables["reference"]["y"]
    assert [accuracy_at(tables, y) for y in line] == pytest.approx([93])
    assert (tables["diamond"]["x"], tables["diamond"]["y"]) == ([1.0], line)


def test_a_state_below_a_cliff_does_not_squash_the_others():
    tables = columns(shown(*VISITS, FALLEN), STRINGS)
    heights = tables["points"]["y"]
    assert heights[4] == FOOT
    assert tables["points"]["marker"][4] == "inverted_triangle"
    assert math.isnan(tables["points"]["low"][4])
    label = texts(tables).index("20.0 %")
    assert tables["labels"]["y"][label] > FOOT, "not among the numbers of the axis"
    assert max(heights[:4]) - min(heights[:4]) > 0.4 * (TOP - BASE)


def test_without_a_gap_all_accuracies_are_on_the_axis():
    tables = columns(shown(*VISITS, visit(4, 500, 800, 2)), STRINGS)
    assert "inverted_triangle" not in tables["points"]["marker"]
    assert accuracy_at(tables, tables["points"]["y"][4]) == pytest.approx(80)


def test_marks_say_how_the_weights_were_recovered_where_that_differs():
    same = columns(shown(*VISITS), STRINGS)
    assert not any("BN" in text for text in texts(same))
    mixed = columns(
        shown(*VISITS, visit(4, 600, 910, 2, recovery="2"), visit(5, 900, 880, 0, "none")), STRINGS
    )
    assert "○ bare cut   ● BN   ■ trained" in texts(mixed)
    assert mixed["points"]["marker"][3:] == ["circle", "square", "circle"]
    assert mixed["points"]["fill"][3:] == [1.0, 1.0, 0.0]


def timed(number, seconds):
    both = (Latency(1, 1.0, 1.0, 1.0, 20), Latency(1, 1.0, 1.0, 1.0, 20))
    last = (Latency(64, 0.040, 0.04, 0.04, 20), Latency(64, seconds, seconds, seconds, 20))
    return replace(VISITS[number], latency=both + last)


def test_latency_shows_only_what_was_timed_and_says_how_many():
    tables = columns(shown(VISITS[0], timed(1, 0.03), VISITS[2], x="latency"), STRINGS)
    assert [share_at(tables, x) for x in tables["points"]["x"]] == pytest.approx([75])
    assert "timed: 1 of 3" in texts(tables)
    assert tables["points"]["cost"] == ["75.0 % of latency: 30.00 of 40.00 ms"]


def test_a_network_slower_than_the_dense_one_is_right_of_100_percent():
    tables = columns(shown(timed(1, 0.044), x="latency"), STRINGS)
    assert share_at(tables, tables["points"]["x"][0]) == pytest.approx(110)


def sweep(kind, keep, *corrects):
    cost = Cost(int(1000 * keep), int(400 * keep), 0, 0, (), ())
    estimates = [Estimate(f"{kind} {keep} {c}", c, 500, 500) for c in corrects]
    return [SweepPoint(kind, keep, cost, estimate, Recovery(bn=True)) for estimate in estimates]


BANDS = (
    *sweep("uniform", 0.9, 450),
    *sweep("uniform", 0.6, 420),
    *sweep("random", 0.9, 440, 430, 445),
    *sweep("random", 0.6, 410, 415, 425),
)


def test_bands_are_median_and_extremes_of_the_draws_and_the_interval_of_uniform():
    tables = columns(shown(*VISITS, bands=BANDS), STRINGS)
    right = {
        kind: [accuracy_at(tables, tables[kind][name][-1]) for name in ("low", "y", "high")]
        for kind in ("uniform", "random")
    }
    assert right["random"] == pytest.approx([86, 88, 89])
    estimate = BANDS[0].estimate
    assert right["uniform"] == pytest.approx([100 * estimate.low, 90, 100 * estimate.high])
    assert share_at(tables, tables["random"]["x"][-1]) == pytest.approx(90)
    names = {"uniform, BN re-estimated", "random ×3, BN re-estimated", "bands: 500 images"}
    assert names <= set(texts(tables))


def test_bands_say_what_was_done_to_their_weights():
    bare = [replace(point, recovery=Recovery()) for point in BANDS]
    assert "uniform, bare cut" in texts(columns(shown(*VISITS, bands=bare), STRINGS))
    assert "Uniform at 90.0 %, bare cut" in describe(shown(*VISITS, bands=bare), STRINGS)[1 + len(VISITS)]


def test_a_band_ends_where_the_axis_ends():
    deep = (*sweep("uniform", 0.9, 450), *sweep("uniform", 0.3, 50))
    table = columns(shown(*VISITS, bands=deep), STRINGS)["uniform"]
    heights = [y for y in table["y"] if not math.isnan(y)]
    assert 0 < len(heights) < len(table["y"])
    assert min(heights) >= BASE
    assert min(table["low"]) == BASE
    assert min(table["x"]) >= 0


def test_one_point_is_no_band_yet():
    tables = columns(shown(*VISITS, bands=BANDS[:1]), STRINGS)
    assert tables["uniform"]["x"] == []


def test_a_tap_finds_the_nearest_state_within_reach():
    what = shown(*VISITS)
    points = columns(what, STRINGS)["points"]
    for number, (x, y) in enumerate(zip(points["x"], points["y"], strict=True)):
        assert hit(what, x + 5 / PLOT_PIXELS, y - 5) == number
        assert hit(what, x, y + 60) is None


def test_the_message_stands_in_the_chart_and_without_states_too():
    assert "Cut something" in texts(columns(shown(START), STRINGS, "Cut something"))
    assert "wait" in texts(columns(Shown((), DENSE), STRINGS, "wait"))


def test_the_summary_tells_every_state_and_its_comparison():
    sentences = describe(shown(*VISITS, at=2, bands=BANDS), STRINGS)
    assert len(sentences) == 1 + len(VISITS) + len(BANDS)
    assert "accuracy 87.0 %" in sentences[3]
    assert "where you are now" in sentences[3]
    assert "60.0 % of MACs: 600 of 1,000" in sentences[3]
    assert "images: 500" in sentences[-1]
    assert "not measured" in describe(shown(*VISITS, x="latency"), STRINGS)[2]
    assert len(describe(Shown((), DENSE), STRINGS)) == 1


def test_labels_cover_no_point():
    names = [replace(v, name=f"state with a name {v.number}") for v in VISITS]
    tables = columns(shown(*names, at=2), STRINGS)
    spots = list(zip(tables["points"]["x"], tables["points"]["y"], strict=True))
    labels = tables["labels"]
    for x, y, text, align in zip(labels["x"], labels["y"], labels["ink"], labels["align"], strict=True):
        if text.startswith("state"):
            width = 6.5 * len(text) / PLOT_PIXELS
            left = x - width * {"left": 0, "center": 0.5, "right": 1}[align]
            covered = [s for s in spots if left < s[0] < left + width and abs(s[1] - y) < 7]
            assert covered == []


@pytest.mark.parametrize("correct", [902, 915, 930, 938, 941])
def test_the_label_of_the_reference_covers_no_line_no_mark_and_no_other_text(correct):
    dense = visit(0, 1000, correct, recovery="none")
    what = Shown((dense, visit(1, 600, 890, 0)), DENSE, reference=dense.estimate, reference_cost=DENSE)
    tables = columns(what, STRINGS)
    labels = list(zip(*(tables["labels"][name] for name in ("x", "y", "align")), texts(tables), strict=True))

    def box(x, y, align, text):
        width = 6.5 * len(text) / PLOT_PIXELS
        left = x - width * {"left": 0, "center": 0.5, "right": 1}[align]
        return left, y - 6, left + width, y + 6

    own = box(*next(label for label in labels if label[3].startswith("dense")))
    boxes = [box(*label) for label in labels if not label[3].startswith("dense")]
    boxes += [(0, y, 1, y) for y in (*tables["grid"]["y"], *tables["reference"]["y"])]
    points = zip(*(tables["points"][name] for name in ("x", "low", "high")), strict=True)
    boxes += [(x, low, x, high) for x, low, high in points]
    crossed = [b for b in boxes if b[0] < own[2] and own[0] < b[2] and b[1] < own[3] and own[1] < b[3]]
    assert crossed == []


@pytest.mark.parametrize("accuracies", [[0.93], [0.93, 0.1], [0.0, 1.0], [0.5, 0.5]])
def test_axes_hold_all_that_is_not_set_aside_between_labelled_ends(accuracies):
    axes = axes_of([0.2], [(a, a, a) for a in accuracies])
    assert axes.low <= min(accuracies) <= max(accuracies) <= axes.high
    assert (axes.accuracies[0], axes.accuracies[-1]) == (100 * axes.low, 100 * axes.high)
    assert 3 <= len(axes.accuracies) <= 7
    assert (axes.shares[0], axes.shares[-1]) == (20, 100)


def test_the_view_takes_the_tables():
    view = tradeoff.build(1.25)
    tables = columns(shown(*VISITS, FALLEN, at=2, bands=BANDS), STRINGS)
    update(view, tables)
    assert {name: source.data for name, source in view.sources.items()} == tables
