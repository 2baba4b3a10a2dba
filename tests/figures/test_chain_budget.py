import math
from dataclasses import replace

import numpy as np
import pytest

from explorer.chains import ChainRun, chain_facts, chain_of
from explorer.figures import chain_budget
from explorer.figures.chain_budget import (
    BARS,
    END,
    HEIGHT,
    LEFT,
    LINE,
    PIXELS,
    RIGHT,
    Shown,
    columns,
    describe,
)
from explorer.figures.text_lines import pixels_of
from explorer.figures.view import update
from explorer.records import TrainingCost
from explorer.strings import LANGUAGES, Strings
from explorer.values import ChannelGroup

STRINGS = Strings("en")
CHAIN = chain_of(ChannelGroup("a", 16, (), ("a",), True, ""))
DRAWN = np.array([0.2, 0.4, 0.402, 0.6])
NAN = math.nan


def run_of(shares=(0.6, 0.6, 0.45, 0.4), of=40, **fields):
    """A frame every 10 steps, the first 10 of 40 being warm-up."""
    frames = len(shares)
    settings = {"cost": "macs", "target": 0.4, "warm_up": 1}
    settings |= {name: fields.pop(name) for name in ("cost", "target") if name in fields}
    run = ChainRun(
        network="toy", graph_key="", method="dmcp", of=of, per_epoch=10, steps=10 * np.arange(1, frames + 1),
        series={"alphas": np.zeros((frames, CHAIN.states), np.float32), "shares": np.array(shares)},
        losses={
            "full": np.array([2.0, 1.5, 1.2, 1.0])[:frames], "sub": np.array([1.0, 0.5, 0.4, 0.3])[:frames],
            "chains": np.array([NAN, 1.6, 1.4, 1.1])[:frames], "cost": np.array([NAN, 9.0, 9.0, 9.0])[:frames],
        },
        settings=settings, training=TrainingCost(1.0, 1, 1), facts=chain_facts([CHAIN]),
    )  # fmt: skip
    return replace(run, **fields)


def texts(tables):
    labels = tables["labels"]
    return ["".join(row) for row in zip(*(labels[role] for role in chain_budget._ROLES), strict=True)]


def percent_at(tables, y):
    """The percent at a height, read off the ticks at the left."""
    rows = zip(tables["labels"]["x"], tables["labels"]["y"], texts(tables), strict=True)
    ticks = sorted((height, float(text)) for x, height, text in rows if x == -0.012)
    return float(np.interp(y, *zip(*ticks, strict=True)))


def test_the_curve_stands_where_the_axes_say_and_is_strong_up_to_the_frame():
    tables = columns(Shown(run_of(), 1, DRAWN), STRINGS)
    curve = tables["curve"]
    assert curve["x"] == pytest.approx([END / 4, END / 2, END * 3 / 4, END])
    assert [percent_at(tables, y) for y in curve["y"][:2]] == pytest.approx([60, 60])
    assert [percent_at(tables, y) for y in curve["rest"][1:]] == pytest.approx([60, 45, 40])
    assert [math.isnan(y) for y in curve["y"]] == [False, False, True, True]
    assert [math.isnan(y) for y in curve["rest"]] == [True, False, False, False]
    assert (tables["frame"]["x"], tables["frame"]["y"]) == ([curve["x"][1]], [curve["y"][1]])


def test_while_the_search_runs_the_axis_spans_all_its_steps():
    tables = columns(Shown(run_of((0.6, 0.6)), -1, DRAWN), STRINGS)
    assert tables["curve"]["x"] == pytest.approx([END / 4, END / 2])
    assert tables["warm_up"]["x"] == [END / 4]
    assert {"warm-up", "40 steps"} <= set(texts(tables))
    assert not any(math.isnan(y) for y in tables["curve"]["y"])


def test_the_band_is_two_percent_of_the_target():
    tables = columns(Shown(run_of(), -1, DRAWN), STRINGS)
    band = [percent_at(tables, tables["band"][end][0]) for end in ("low", "target", "high")]
    assert band == pytest.approx([39.2, 40, 40.8])


def test_losses_share_one_scale_from_zero_and_are_named_with_their_value_now():
    tables = columns(Shown(run_of(), 1, DRAWN), STRINGS)
    above = {
        name: [y - chain_budget.LOSS_BASE for y in tables[name]["y"][:2]]
        for name in ("full", "sub", "chains")
    }
    unit = above["full"][0] / 2.0
    assert above["full"] == pytest.approx([2 * unit, 1.5 * unit])
    assert above["sub"] == pytest.approx([unit, 0.5 * unit])
    assert above["chains"][1] == pytest.approx(1.6 * unit)
    assert {"full 1.50", "drawn 0.50", "gates 1.60", "losses"} <= set(texts(tables))
    assert "gates 1.60" not in texts(columns(Shown(run_of(), 0, DRAWN), STRINGS)), "none in the warm-up"


def test_the_histogram_counts_the_drawn_networks():
    tables = columns(Shown(run_of(), -1, DRAWN), STRINGS)
    bars = tables["bars"]
    left, right = BARS
    shares = [(x - left) / (right - left) for x in bars["left"]]
    assert [math.floor(share * 25) for share in shares] == [5, 10, 15]  # bars of 4 %
    heights = [top - chain_budget.BAR_BASE for top in bars["top"]]
    assert heights == pytest.approx([heights[1] / 2, heights[1], heights[1] / 2])
    assert bars["hover"][1] == "40 to 44 % of the dense cost, drawn networks: 2"


def test_how_the_drawn_networks_scatter():
    shown = Shown(run_of(), -1, DRAWN)
    mean = (0.2 + 0.4 + 0.402 + 0.6) / 4
    variance = sum((each - mean) ** 2 for each in DRAWN) / 4
    assert shown.spread == pytest.approx(math.sqrt(variance) / 0.4)
    assert shown.near == 0.5  # 0.4 and 0.402 of four
    assert {"sd 35 % of target", "within 1 %: 50 %"} <= set(texts(columns(shown, STRINGS)))
    at_edge = Shown(run_of(), -1, np.array([0.396, 0.404, 0.4041, 0.3959]))
    assert at_edge.near == 0.5


def test_what_was_edited_is_marked_beside_what_was_searched():
    tables = columns(Shown(run_of(), -1, DRAWN, edited=0.37), STRINGS)
    assert percent_at(tables, tables["edited"]["y"][0]) == pytest.approx(37)
    assert {"40 %", "edited 37 %", "37 %", "target 40 %"} <= set(texts(tables))
    left, right = BARS
    assert tables["flag_now"]["x"] == pytest.approx([left + 0.37 * (right - left)])
    assert columns(Shown(run_of(), -1, DRAWN), STRINGS)["edited"]["x"] == []


def test_before_anything_is_known_the_target_is_shown():
    none = run_of(())
    tables = columns(Shown(none, -1, np.array([])), STRINGS)
    assert tables["curve"]["x"] == tables["bars"]["top"] == tables["flag_now"]["x"] == []
    assert {"target 40 %", "drawing…"} <= set(texts(tables))
    assert len(describe(Shown(none, -1, np.array([])), STRINGS)) == 1


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    ("shares", "edited"),
    [
        ((0.6, 0.6, 0.45, 0.4), 0.401),
        ((1.0, 1.0, 0.99, 0.02), 0.03),
        ((0.4, 0.4, 0.4, 0.4), 0.39),
        ((0.4,) * 4, 1.0),
    ],
)
@pytest.mark.parametrize("target", [0.02, 0.4, 0.98])
def test_texts_stay_in_the_chart_and_cover_no_other(language, shares, edited, target):
    shown = Shown(
        run_of(shares, target=target, cost="params" if target == 0.98 else "macs"), -1, DRAWN, edited
    )
    tables = columns(shown, Strings(language))
    boxes = []
    for x, y, align, text in zip(
        *(tables["labels"][name] for name in ("x", "y", "align")), texts(tables), strict=True
    ):
        wide = 0.93 * pixels_of(text)  # most are plain
        left = x * PIXELS - wide * {"left": 0, "center": 0.5, "right": 1}[align]
        assert left >= LEFT * PIXELS - 1, text
        assert left + wide <= RIGHT * PIXELS + 1, text
        assert 6 <= y <= HEIGHT - 6
        boxes.append((left, y, left + wide, text))
    for place, one in enumerate(boxes):
        for other in boxes[place + 1 :]:
            apart = one[2] <= other[0] + 1 or other[2] <= one[0] + 1 or abs(one[1] - other[1]) >= LINE - 2
            assert apart, (one, other)


def test_no_line_crosses_the_words_of_the_other():
    for target in (0.02, 0.3, 0.4, 0.5, 0.98):
        for edited in (0.01, 0.25, 0.4, 0.41, 0.6, 1.0):
            tables = columns(Shown(run_of(target=target), -1, DRAWN, edited), STRINGS)
            place = max(
                row for row, y in enumerate(tables["labels"]["y"]) if y == chain_budget.NOW_FLAG
                and tables["labels"]["kept"][row] and tables["labels"]["x"][row] > 0.6
            )  # fmt: skip
            wide = pixels_of(tables["labels"]["kept"][place]) / PIXELS
            start = tables["labels"]["x"][place] - wide * (tables["labels"]["align"][place] == "right")
            if start < tables["flag_target"]["x"][0] < start + wide:
                assert tables["flag_target"]["y1"][0] < chain_budget.NOW_FLAG - 6


def test_everything_is_told():
    target, at, full, sub, chains, edited, drawn = describe(Shown(run_of(), 1, DRAWN, 0.37), STRINGS)
    assert target == (
        "Expected MACs over the 40 steps of the search, of which the first 10 train weights only; target: 40 % of the "
        "dense network."
    )
    assert at == "At step 20 of 40, 60 % is expected."
    assert full == "Loss of the full network: 1.50."
    assert sub == "Divergence of the drawn networks from the full one: 0.50."
    assert chains == "Loss with gates: 1.60."
    assert edited == "With the transitions as edited, 37 % is expected."
    assert drawn == (
        "Drawn networks: 4. Their cost has a standard deviation of 35 % of the target; 50 % of them are within 1 % of "
        "the target."
    )


def test_parameters_are_named_as_such():
    run = run_of(cost="params")
    assert "expected parameters, % of dense" in texts(columns(Shown(run, 0, DRAWN), STRINGS))
    assert describe(Shown(run, 0, DRAWN), STRINGS)[0].startswith("Expected parameters")


def test_the_view_takes_the_tables():
    view = chain_budget.build(1.25)
    tables = columns(Shown(run_of(), -1, DRAWN, 0.37), STRINGS)
    update(view, tables)
    assert {name: set(source.data) for name, source in view.sources.items()} == {
        name: set(table) for name, table in tables.items()
    }
    assert view.sources["bars"].data == tables["bars"]
