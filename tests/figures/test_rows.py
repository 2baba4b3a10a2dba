import pytest

from explorer.figures.rows import HEIGHT, LOWEST_PITCH, layout, words
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


def by_name(specs):
    return {row.name: row for row in layout(make_graph(specs)).rows}


def test_rows_are_in_execution_order_from_the_bottom_without_gaps_or_overlaps():
    result = layout(make_graph(RESNET))
    assert [row.name for row in result.rows] == [name for name, *_ in RESNET]
    assert result.rows[0].bottom == result.image_top
    for lower, upper in zip(result.rows, result.rows[1:], strict=False):
        assert upper.bottom == pytest.approx(lower.top)
    assert result.rows[-1].top <= result.height == HEIGHT


def test_a_residual_sum_is_one_band_from_its_first_to_its_last_layer():
    result = layout(make_graph(RESNET))
    rows = {row.name: row for row in result.rows}
    band = next(band for band in result.bands if band.group == "sum2")
    assert (band.bottom, band.top) == (rows["stage2.0.conv2"].bottom, rows["stage2.2.conv2"].top)
    assert {band.group for band in result.bands} == {"sum1", "sum2", "sum3"}
    assert rows["stage2.0.shortcut.0"].thin
    assert not rows["stage2.0.conv1"].thin
    assert rows["stem"].tied == ("stage1.0.conv2", "stage1.1.conv2", "stage1.2.conv2")


def test_a_depthwise_layer_is_thin_beside_the_layer_that_it_follows_and_needs_no_band():
    rows = by_name(INVERTED)
    assert (rows["blocks.0.expand"].thin, rows["blocks.0.depthwise"].thin) == (False, True)
    assert not rows["blocks.0.depthwise"].banded
    assert rows["blocks.0.project"].banded
    assert [band.group for band in layout(make_graph(INVERTED)).bands] == ["sum"]


def test_narrow_bars_switch_the_scale_to_percent():
    assert not layout(make_graph(RESNET)).percent  # 16 of 64: 65 px
    narrow = layout(make_graph((("wide", "a", 256, "3x3"), ("narrow", "b", 16, "3x3"))))
    assert narrow.percent
    assert narrow.length(8, 16) == narrow.length(128, 256) == 0.5


def test_linear_lengths_are_shares_of_the_longest_bar():
    assert layout(make_graph(RESNET)).length(16, 32) == 0.25


def test_many_layers_make_the_figure_higher_rather_than_the_rows_thinner():
    specs = tuple((f"layer{i}", f"g{i}", 8, "3x3") for i in range(150))
    result = layout(make_graph(specs))
    assert result.rows[0].top - result.rows[0].bottom == pytest.approx(LOWEST_PITCH)
    assert result.height > HEIGHT
    assert not result.numbered


def test_sections_are_first_names_or_two_names_where_one_would_hold_nearly_all():
    assert [section.name for section in layout(make_graph(RESNET)).sections] == [
        *("stem", "stage1", "stage2", "stage3", "classifier")
    ]
    blocks = tuple((f"features.{i // 3}.{i % 3}", f"g{i}", 8, "3x3") for i in range(12))
    assert [s.name for s in layout(make_graph(blocks)).sections] == [f"features.{i}" for i in range(4)]


def test_row_at_finds_the_row_of_a_tap():
    result = layout(make_graph(CHAIN))
    assert [result.row_at(row.middle) for row in result.rows] == list(result.rows)
    assert result.row_at(result.image_top - 1) is None
    assert result.row_at(result.height) is None


def test_an_unprunable_layer_carries_the_reason():
    row = by_name(CHAIN)["classifier"]
    assert not row.prunable
    assert row.reason == "the network's output"


def test_words_give_kernel_channels_and_maps():
    layers = {layer.name: layer for layer in make_graph(CHAIN).layers}
    assert words(layers["second"]) == "3×3 · 8 → 16 · 28×28"
    assert words(layers["classifier"]) == "linear · 16 → 10"
