from dataclasses import replace

import pytest

from explorer.figures.rows import GAP, HEIGHT, IMAGE_PITCH, LOWEST_PITCH, Geometry, words
from tests.panels.fake_session import CHAIN, RESNET, make_graph

INVERTED = (
    ("stem", "stem", 16, "3x3"),
    ("blocks.0.expand", "h0", 64, "1x1"),
    ("blocks.0.depthwise", "h0", 64, "3x3"),
    ("blocks.0.project", "sum", 24, "1x1"),
    ("blocks.1.expand", "h1", 96, "1x1"),
    ("blocks.1.depthwise", "h1", 96, "3x3"),
    ("blocks.1.project", "sum", 24, "1x1"),
)
LONG = tuple((f"layer{stage}.{i}.conv", f"g{stage}.{i}", 8, "3x3") for stage in range(4) for i in range(15))


def layout(specs, opened=None, **options):
    return Geometry(make_graph(specs)).layout(opened, **options)


def by_name(specs):
    return {row.name: row for row in layout(specs).rows}


def test_rows_are_in_execution_order_from_the_bottom_and_fill_the_height():
    result = layout(RESNET)
    assert [row.name for row in result.rows] == [name for name, *_ in RESNET]
    assert result.rows[0].bottom == IMAGE_PITCH + GAP
    for lower, upper in zip(result.rows, result.rows[1:], strict=False):
        assert upper.bottom >= lower.top - 1e-9
    assert HEIGHT - 3 <= result.rows[-1].top <= HEIGHT
    assert not result.foldable


def test_a_row_with_a_handle_is_high_enough_to_be_caught():
    for specs, opened in ((RESNET, None), (LONG, None), (LONG, (20, 21))):
        result = layout(specs, opened)
        own = [row.top - row.bottom for row in result.rows if not row.thin]
        folded = [section.top - section.bottom for section in result.sections if section.folded]
        assert min(own + folded) >= LOWEST_PITCH - 1e-9


def test_fewer_layers_have_thicker_bars():
    assert by_name(CHAIN)["second"].top - by_name(CHAIN)["second"].bottom > 60


def test_a_residual_sum_is_one_band_over_its_stage():
    result = layout(RESNET)
    rows = {row.name: row for row in result.rows}
    band = next(band for band in result.bands if band.group == "sum2")
    assert (band.bottom, band.top) == (rows["stage2.0.conv1"].bottom, rows["stage2.2.conv2"].top)
    assert band.grip in [row.middle for row in result.rows if row.group == "sum2"]
    assert {band.group for band in result.bands} == {"sum1", "sum2", "sum3"}
    assert rows["stage2.0.shortcut.0"].thin
    assert not rows["stage2.0.conv1"].thin
    assert rows["stem"].tied == ("stage1.0.conv2", "stage1.1.conv2", "stage1.2.conv2")


def test_a_depthwise_layer_is_thin_beside_the_layer_that_it_follows_and_needs_no_band():
    rows = by_name(INVERTED)
    assert (rows["blocks.0.expand"].thin, rows["blocks.0.depthwise"].thin) == (False, True)
    assert not rows["blocks.0.depthwise"].banded
    assert rows["blocks.0.project"].banded
    assert [band.group for band in layout(INVERTED).bands] == ["sum"]


def test_a_group_whose_other_layers_are_folded_has_a_handle_where_it_is_seen():
    specs = tuple(
        (f"layer{stage}.{i}.conv{c}", f"g{stage}.{i}" if c == 0 else f"sum{stage // 2}", 8, "3x3")
        for stage in range(4)
        for i in range(6)
        for c in (0, 1)
    )
    result = layout(specs, (12, 24))
    assert [section.block.name for section in result.sections if section.opened] == ["layer1"]
    assert [band.group for band in result.bands] == ["sum0"]
    first = result.sections[0]
    assert "sum0" in first.groups
    assert first.folded


def test_folded_blocks_know_their_groups_and_their_widest_layer():
    result = layout((*LONG, ("head", "classes", 100, "")), (0, 15))
    folded = [section for section in result.sections if section.folded]
    assert [section.block.name for section in folded] == ["layer1", "layer2", "layer3"]
    assert folded[0].groups == tuple(f"g1.{i}" for i in range(15))
    assert folded[0].size == 8


def test_narrow_bars_switch_the_scale_to_percent_unless_one_is_chosen():
    assert not layout(RESNET).percent  # 16 of 64: 62 px
    specs = ("wide", "a", 256, "3x3"), ("narrow", "b", 16, "3x3")
    narrow = layout(specs)
    assert narrow.percent
    assert narrow.length(8, 16) == narrow.length(128, 256) == 0.5
    assert layout(specs, percent=False).length(128, 256) == 0.5
    assert layout(specs, percent=False).length(8, 16) == 8 / 256


def test_row_at_and_section_at_find_what_a_tap_meant():
    result = layout(CHAIN)
    assert [result.row_at(row.middle) for row in result.rows] == list(result.rows)
    assert result.row_at(result.image_top - 1) is None
    assert result.section_at(result.height + 1) is None
    assert result.section_at(result.rows[1].middle).block.name == "second"


def test_an_unprunable_layer_carries_the_reason():
    row = by_name(CHAIN)["classifier"]
    assert not row.prunable
    assert row.reason == "the network's output"


def test_words_give_kernel_channels_and_maps():
    layers = {layer.name: layer for layer in make_graph(CHAIN).layers}
    assert words(layers["second"]) == "3×3 · 8 → 16 · 28×28"
    assert words(layers["classifier"]) == "linear · 16 → 10"


@pytest.mark.parametrize(
    ("given", "returned", "expected"),
    [
        ((197, 768), (197, 3072), "linear · 768 → 3072 · 197"),
        ((7, 9, 96), (7, 9, 384), "linear · 96 → 384 · 7×9"),
    ],
)
def test_words_of_linear_layers_of_tokens_and_of_channels_last(given, returned, expected):
    linear = make_graph(CHAIN).layers[-1]
    assert words(replace(linear, in_shape=given, out_shape=returned)) == expected


@pytest.mark.parametrize("layers", [1, 3, 20, 60, 340])
def test_any_number_of_layers_fits(layers):
    result = layout(tuple((f"conv{i}", f"g{i}", 8 + i, "3x3") for i in range(layers)), (layers - 1, layers))
    assert result.sections[-1].top <= HEIGHT
    assert result.rows[-1].place == layers - 1
