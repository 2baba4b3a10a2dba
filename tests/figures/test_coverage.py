import math
from dataclasses import replace
from itertools import pairwise

import pytest

from explorer.figures import coverage as coverage_map
from explorer.figures.coverage import (
    LOWEST_PITCH,
    NAMES,
    NARROWEST_BOX,
    WIDTH,
    box_at,
    build,
    columns,
    describe,
    lay_out,
)
from explorer.figures.view import update
from explorer.records import Coverage, LayerCoverage
from explorer.strings import Strings
from explorer.values import FixedCall
from tests.figures.test_folding import DENSENET, FLAT, RESNET152

STRINGS = Strings("en")
HEIGHT = 150.0


def layer(name, share=1.0, kind="conv", cause="mixes", operator="LayerNorm"):
    free = round(8 * share)
    stays = (
        {"cause": cause, "operator": operator, "reason": f"{operator} at {name} mixes"} if free < 8 else {}
    )
    return LayerCoverage(name, kind, f"g.{name}", 8, free, 4, free // 2, 100, 10, **stays)


def coverage_of(layers, fixed=(), removed=()):
    """A hundred MACs per layer; the smallest networks' costs are made up."""
    macs = 100 * len(layers) + sum(call.macs for call in fixed)
    return Coverage(tuple(layers), tuple(fixed), macs, 500, 60, 20, tuple(removed), 30, 10)


TRANSFORMER = [
    layer("conv_proj", 0.0),
    *(
        layer(f"encoder.{block}.{part}", share)
        for block in range(12)
        for part, share in (("up", 1), ("down", 0))
    ),
    layer("head", 0.0, "linear", "outputs", ""),
]
NETWORKS = {
    "resnet152": [layer(name) for name in RESNET152],
    "densenet": [layer(name) for name in DENSENET],
    "flat": [layer(name) for name in FLAT],
    "flat, no two alike": [layer(name, (place % 7) / 8) for place, name in enumerate(FLAT)],
    "stages, no two alike": [
        layer(f"s{stage}.{place}", ((stage + place) % 5) / 8) for stage in range(30) for place in range(20)
    ],
    "transformer": TRANSFORMER,
    "one layer": [layer("fc")],
}


@pytest.mark.parametrize("height", [60.0, HEIGHT])
@pytest.mark.parametrize("name", NETWORKS)
def test_every_layer_is_in_one_box_and_all_boxes_have_room(name, height):
    lines = lay_out(NETWORKS[name], height)
    places = sorted(place for line in lines for place in line.layers)
    assert places == list(range(len(NETWORKS[name])))
    assert lines[0].bottom >= 0
    assert lines[-1].top <= height + 1e-6
    assert all(one.top == pytest.approx(other.bottom) for one, other in pairwise(lines))
    assert all(line.top - line.bottom >= LOWEST_PITCH - 1e-6 for line in lines)
    for line in lines:
        boxes = [box for segment in line.segments for box in segment.boxes]
        assert boxes[0].left >= NAMES
        assert boxes[-1].right <= WIDTH
        assert all(one.right < other.left for one, other in pairwise(boxes))
        assert all(box.right - box.left >= NARROWEST_BOX - 1e-6 for box in boxes)


def test_where_all_have_room_every_layer_has_a_box():
    layers = [
        layer("stem"),
        *(layer(f"stage.{block}.conv{c}") for block in range(3) for c in (1, 2)),
        layer("fc"),
    ]
    lines = lay_out(layers, HEIGHT)
    assert [line.name for line in lines] == ["stem", "stage", "fc"]
    assert all(len(box.layers) == 1 for line in lines for segment in line.segments for box in segment.boxes)


def test_blocks_that_are_alike_are_drawn_once_with_how_many_they_are():
    lines = {line.name: line for line in lay_out(NETWORKS["resnet152"], HEIGHT)}
    assert list(lines) == ["conv1", "layer1", "layer2", "layer3", "layer4", "fc"]
    first, others = lines["layer3"].segments
    assert (len(first.boxes), first.times) == (4, 1)  # the first block has a shortcut
    assert (len(others.boxes), others.times) == (3, 35)
    names = [RESNET152[place] for place in others.boxes[1].layers]
    assert names == [f"layer3.{block}.conv2" for block in range(1, 36)]


def test_stages_that_are_alike_share_a_line_where_lines_are_few():
    lines = lay_out(TRANSFORMER, HEIGHT)
    assert [(line.name, line.times) for line in lines] == [
        ("conv_proj", 1),
        ("encoder.0–11", 12),
        ("head", 1),
    ]
    (segment,) = lines[1].segments
    assert [box.share for box in segment.boxes] == [1.0, 0.0]
    assert len(segment.boxes[0].layers) == 12


def test_a_block_that_differs_in_what_stays_is_not_put_together_with_the_others():
    odd = [
        replace(each, prunable=4) if each.name == "layer3.20.conv2" else each
        for each in NETWORKS["resnet152"]
    ]
    (line,) = (line for line in lay_out(odd, HEIGHT) if line.name == "layer3")
    assert [segment.times for segment in line.segments] == [1, 19, 1, 15]
    assert line.segments[2].boxes[1].share == 0.5


def drawn(layers, selected=""):
    lines = lay_out(layers, HEIGHT)
    return lines, columns(lines, coverage_of(layers), selected, STRINGS)


def test_solid_reaches_as_high_as_the_prunable_share_and_the_rest_is_hatched():
    _lines, tables = drawn([layer("a"), layer("b", 0.25), layer("c", 0.0)])
    boxes = tables["boxes"]
    share = [
        (solid - bottom) / (top - bottom)
        for solid, bottom, top in zip(boxes["solid"], boxes["bottom"], boxes["top"], strict=True)
    ]
    assert share[:2] == pytest.approx([1.0, 0.25])
    assert math.isnan(share[2])
    assert [math.isnan(level) for level in boxes["stays"]] == [True, False, False]
    assert boxes["stays"][1] == boxes["solid"][1]
    assert boxes["stays"][2] == boxes["bottom"][2]


def test_the_selected_layer_is_outlined_in_the_box_that_stands_for_it():
    lines, tables = drawn(NETWORKS["resnet152"], "layer3.30.conv2")
    (at,) = (place for place, top in enumerate(tables["boxes"]["chosen"]) if not math.isnan(top))
    x, y = tables["boxes"]["left"][at] + 1, tables["boxes"]["bottom"][at] + 1
    box = box_at(lines, x, y)
    assert RESNET152.index("layer3.30.conv2") in box.layers
    assert box_at(lines, 1.0, y) is None
    assert box_at(lines, x, HEIGHT + 50) is None


def test_names_and_how_often_stand_in_the_lines():
    _lines, tables = drawn(NETWORKS["resnet152"])
    assert [name for name in tables["texts"]["name"] if name] == [
        "conv1",
        "layer1",
        "layer2",
        "layer3",
        "layer4",
        "fc",
    ]
    assert {"×7", "×35"} <= set(tables["texts"]["times"])


def test_beside_the_pointer_stand_the_counts_and_the_reason():
    _lines, tables = drawn([layer("a<b", 0.5)])
    (html,) = tables["boxes"]["html"]
    assert "<b>a&lt;b</b>" in html
    assert "4 of 8" in html
    assert "LayerNorm at a&lt;b mixes" in html
    _lines, tables = drawn(NETWORKS["resnet152"])
    assert any("layer3.1.conv1 to layer3.35.conv1" in html for html in tables["boxes"]["html"])


def test_in_sentences_nothing_is_missing():
    product = FixedCall("attend", "matmul", 400, "matmul at attend multiplies two activations")
    found = coverage_of(TRANSFORMER, fixed=[product], removed=["g.encoder.0.up"])
    said = describe(lay_out(TRANSFORMER, HEIGHT), found, STRINGS)
    assert said[0] == "Prunable: 12 of 26 layers, 46 % of channels, 40 % of MACs"
    assert said[1] == "Smallest: MACs 2.0 %, parameters 4.0 %; blocks gone: 1.0 %, 2.0 %"
    assert "encoder.0–11: layers: 24, of which can be pruned: 12." in said
    (why,) = (each for each in said if "LayerNorm mixes the channels" in each)
    assert why.startswith("Layers: 13.")
    assert "encoder.11.down" in why
    assert said[-1] == "13 % of MACs in operations that are no layers: matmul"


def test_the_view_takes_the_tables_and_its_boxes_differ_by_more_than_colour():
    _lines, tables = drawn(TRANSFORMER, "conv_proj")
    view = build(HEIGHT, 1.25)
    update(view, tables)
    assert view.sources["boxes"].data == tables["boxes"]
    hatched = [
        each.glyph.hatch_pattern for each in view.root.renderers if hasattr(each.glyph, "hatch_pattern")
    ]
    assert hatched.count("/") == 1
    assert view.root.height == round(HEIGHT * 1.25)
    assert coverage_map.lay_out((), HEIGHT) == ()
