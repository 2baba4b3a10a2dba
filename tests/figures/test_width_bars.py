import math
from dataclasses import replace

import numpy as np
import pytest

from explorer.figures import bar_drawing, bar_words, width_bars
from explorer.figures.rows import Geometry
from explorer.figures.shown import Shown, kept
from explorer.figures.view import update
from explorer.strings import Strings
from explorer.values import Plan, full_plan
from tests.panels.fake_session import CHAIN, RESNET, make_graph

STRINGS = Strings("en")
FOLDED = tuple(
    (f"layer{stage}.{i}.conv", f"g{stage}.{i}", 10 * stage, "3x3") for stage in (1, 2, 3) for i in range(10)
)


def plan_of(graph, **widths):
    keep = {g.id: np.arange(g.size) < widths.get(g.id, g.size) for g in graph.prunable}
    return Plan(graph.key, keep)


def showing(graph, widths=None, **options):
    return Shown(plan_of(graph, **(widths or {})), options.pop("reference", full_plan(graph)), **options)


def tables_of(specs, widths=None, opened=None, **options):
    graph = make_graph(specs)
    layout = Geometry(graph).layout(opened)
    return width_bars.columns(layout, showing(graph, widths, **options), STRINGS)


def entry(table, column, value):
    place = table[column].index(value)
    return {key: values[place] for key, values in table.items()}


def row_of(tables, group):
    return entry(tables["rows"], "group", group)


def drawn(column):
    return [value for value in column if not math.isnan(value)]


def texts(tables, start):
    return next(html for html in tables["hover"]["html"] if html.startswith(f"<b>{start}</b>"))


def test_kept_is_solid_dense_is_outlined_and_the_reference_is_where_the_dense_bar_ends():
    tables = tables_of(CHAIN, {"a": 2, "b": 4})
    row = row_of(tables, "b")
    assert (row["kept"], row["dense"], row["reference"], row["number"]) == (4 / 16, 1.0, 1.0, "4")
    assert row_of(tables, "a")["kept"] == 2 / 16


def test_another_reference_moves_the_tick_of_rows_and_bands():
    graph = make_graph(RESNET)
    tables = tables_of(RESNET, reference=plan_of(graph, s3b0=40, sum3=52))
    assert row_of(tables, "s3b0")["reference"] == 40 / 64
    assert entry(tables["bands"], "group", "sum3")["reference"] == 52 / 64
    assert math.isnan(entry(tables["bands"], "group", "sum2")["reference"])


def test_a_sum_has_one_handle_at_the_end_of_its_band_and_every_own_layer_has_one():
    tables = tables_of(RESNET, {"sum2": 20, "s2b1": 9})
    handles = tables["handles"]
    assert sorted(handles["group"]) == sorted({group for _n, group, *_ in RESNET} - {"classes"})
    band, row = entry(handles, "group", "sum2"), entry(handles, "group", "s2b1")
    assert (band["x"], row["x"]) == (20 / 64, 9 / 64)
    assert (row["groups"], row["sizes"], row["step"], row["base"]) == (["s2b1"], [32], 1, 0)
    assert band["low"] < row["low"] < row["high"] < band["high"]
    assert entry(tables["bands"], "group", "sum2")["width"] == 20 / 64


def test_locked_groups_have_a_mark_and_no_handle_pinned_ones_a_mark():
    tables = tables_of(RESNET, pinned=("s1b0", "s1b1", "sum3"), locked=("s1b1",))
    assert "s1b1" not in tables["handles"]["group"]
    assert (row_of(tables, "s1b1")["mark"], row_of(tables, "s1b0")["mark"]) == ("@lock", "@pin")
    marked = [g for g, at in zip(tables["rows"]["group"], tables["rows"]["mark_at"], strict=True) if at == at]
    assert sorted(marked) == ["s1b0", "s1b1", "sum3"]
    assert "Locked" in texts(tables, "stage1.1.conv1")
    assert "Pinned" in texts(tables, "stage1.0.conv1")


def test_a_group_at_width_0_is_crossed_out():
    tables = tables_of(RESNET, {"s1b1": 0})
    row = row_of(tables, "s1b1")
    assert (row["crossed"], row["number"], row["kept"]) == (16 / 64, "0", 0.0)
    assert len(drawn(tables["rows"]["crossed"])) == 1
    assert "Removed" in texts(tables, "stage1.1.conv1")


def test_selection_moves_every_bar_of_the_group_and_its_band_to_the_accent_and_marks_the_layer():
    tables = tables_of(RESNET, {"sum2": 20}, selection="sum2", layer="stage2.0.shortcut.0")
    rows = tables["rows"]
    chosen = {
        group for group, value in zip(rows["group"], rows["chosen"], strict=True) if not math.isnan(value)
    }
    assert chosen == {"sum2"}
    assert drawn(rows["chosen"]) == [20 / 64] * 4
    assert len(drawn(rows["marker"])) == 1
    assert drawn(tables["bands"]["chosen"]) == [20 / 64]
    assert len(drawn(tables["bands"]["kept"])) == 2


def test_an_unprunable_layer_is_grey_whole_has_no_handle_and_says_why():
    tables = tables_of(CHAIN, {"b": 4}, selection="classes")
    row = row_of(tables, "classes")
    assert row["fixed"] == 10 / 16
    assert math.isnan(row["kept"])
    assert math.isnan(row["chosen"])
    assert "classes" not in tables["handles"]["group"]
    assert "Cannot be pruned: the network&#x27;s output" in texts(tables, "classifier")


def test_a_folded_block_reaches_from_its_smallest_to_its_largest_share():
    widths = {"g2.0": 5, "g2.1": 10, **{f"g2.{i}": 15 for i in range(2, 10)}}
    tables = tables_of(FOLDED, widths, opened=(0, 10))
    fold = entry(tables["folds"], "start", 10)
    whole = 20 / 30
    assert (fold["low"], fold["median"], fold["high"]) == pytest.approx(
        (0.25 * whole, 0.75 * whole, 0.75 * whole)
    )
    assert (fold["number"], fold["dense"]) == ("25–75%", whole)
    handle = entry(tables["handles"], "fold", 10)
    assert handle["groups"] == [f"g2.{i}" for i in range(10)]
    assert handle["sizes"] == [20] * 10
    assert (handle["x"], handle["unit"]) == pytest.approx((0.75 * whole, whole))
    assert "25 to 75 %, median 75 %" in texts(tables, "layer2")


def test_a_layer_in_no_group_is_drawn_whole_and_says_so():
    graph = make_graph(CHAIN)
    first, *others = graph.layers
    graph = replace(graph, layers=(replace(first, out_units=np.full((8, 2), -1, np.int32)), *others))
    layout = Geometry(graph).layout()
    tables = width_bars.columns(layout, showing(graph, {"b": 4}), STRINGS)
    assert row_of(tables, "")["fixed"] == 8 / 16
    assert tables["handles"]["group"] == ["b"]
    assert STRINGS("bars_no_group") in texts(tables, "first")


def test_a_folded_block_says_what_it_holds_and_why_some_of_it_stays():
    specs = tuple((f"s.{i}.conv", "classes" if i == 5 else f"g{i}", 8, "3x3") for i in range(40))
    graph = make_graph(specs)
    layout = Geometry(graph).layout(None)
    said = [
        html
        for html in width_bars.columns(layout, showing(graph), STRINGS)["hover"]["html"]
        if "blocks" in html
    ]
    assert any("s.0 to s.5: 6 blocks" in html for html in said)
    assert [html.count("the network&#x27;s output") for html in said] == [1] + [0] * (len(said) - 1)
    assert "layers: 1." in said[0]


def test_locked_groups_stay_out_of_a_folded_blocks_drag():
    tables = tables_of(FOLDED, opened=(0, 10), locked=("g2.3",))
    assert "g2.3" not in entry(tables["handles"], "fold", 10)["groups"]
    assert len(entry(tables["handles"], "fold", 10)["groups"]) == 9


def test_sensitivity_is_a_cell_beside_every_bar_and_the_largest_loss_is_opaque():
    tables = tables_of(CHAIN, lost={"a": 1.0, "b": 4.0})
    assert tables["heat"]["heat"] == pytest.approx([0.06 + 0.94 / 4, 1.0], abs=1e-3)
    assert "4.0 points" in texts(tables, "second")
    assert tables["scale"]["heat"] == ["lost at half width, to −4.0 points"]
    assert tables["scale"]["text"] == [""]  # both have no room beside each other
    assert tables["hover"]["low"][-1] == 0
    assert STRINGS("bars_lost_legend", points="4.0") in tables["hover"]["html"][-1]
    bare = tables_of(CHAIN)
    assert bare["heat"]["heat"] == []
    assert bare["margins"]["right"][0] < tables["margins"]["right"][0]


def test_macs_of_the_layer_now_and_dense():
    tables = tables_of(CHAIN, macs=(1_000_000, 2_500_000, 10), dense_macs=(2_000_000, 9_000_000, 20))
    assert "2.5 of 9 M MACs" in texts(tables, "second")


def test_names_are_no_html():
    assert "<b>a&lt;b</b>" in tables_of((("a<b", "g", 8, "3x3"),))["hover"]["html"][0]


def test_sections_name_their_sum_and_labels_do_not_overlap():
    tables = tables_of(RESNET, {"sum3": 52})
    assert "52 of 64" in tables["labels"]["plain"]
    assert {"stage1", "stage2", "stage3", "classifier"} <= set(tables["labels"]["bold"])
    assert min(np.diff(sorted(tables["labels"]["y"]))) > 11
    assert tables["scale"]["text"] == ["64 channels"]


def test_long_names_are_told_by_their_last_part_and_folding_by_a_triangle():
    specs = tuple((f"features.stage{s}.block{i}", f"g{s}.{i}", 8, "3x3") for s in range(4) for i in range(10))
    bold = tables_of(specs, opened=(0, 10))["labels"]["bold"]
    assert [name for name in bold if name] == ["▾ …stage0", "▸ …stage1", "▸ …stage2", "▸ …stage3"]


def test_kept_counts_channels_of_all_groups_and_of_none():
    graph = make_graph(CHAIN)
    rows = Geometry(graph).rows
    assert kept(rows[1], plan_of(graph, b=5)) == 5
    assert kept(rows[2], plan_of(graph, b=5)) == 10


@pytest.mark.parametrize("specs", [RESNET, CHAIN, FOLDED])
def test_columns_are_lists_of_equal_length_and_fill_the_view(specs):
    tables = tables_of(specs, opened=(0, 10))
    for table in tables.values():
        assert len({len(column) for column in table.values()}) == 1
        assert all(type(column) is list for column in table.values())
    view = bar_drawing.build()
    update(view, tables)
    assert view.sources["rows"].data["group"] == tables["rows"]["group"]
    assert view.sources["rows"].name == "bars-rows"


def test_the_chart_in_sentences():
    graph = make_graph(RESNET)
    shown = showing(graph, {"s1b0": 7, "sum3": 52}, pinned=("s1b0",), lost={"s1b1": 3.25})
    sentences = bar_words.describe(Geometry(graph).layout(), shown, STRINGS)
    assert sentences[0] == "The image has channels: 1."
    assert "stage1.0.conv1 keeps 7 of 16 channels." in sentences
    assert "stage1.0.conv1 is pinned." in sentences
    assert "stage1.1.conv1: cut to half, alone, loses 3.2 points of accuracy." in sentences
    assert (
        "stage3.0.conv2 keeps 52 of 64 channels, together with stage3.0.shortcut.0, stage3.1.conv2, "
        "stage3.2.conv2." in sentences
    )
    assert sentences[-1] == "classifier keeps all 10 channels; it cannot be pruned: the network's output."


def test_folded_blocks_in_a_sentence_in_their_place():
    graph = make_graph(FOLDED)
    sentences = bar_words.describe(Geometry(graph).layout((10, 20)), showing(graph, {"g1.0": 5}), STRINGS)
    assert sentences[1] == "layer1 is folded, layers: 10; kept are 50 to 100 %, median 100 %."
    assert sentences[2] == "layer2.0.conv keeps 20 of 20 channels."
    assert sentences[-1].startswith("layer3 is folded")


def test_what_stays_is_hatched_so_that_it_differs_from_what_is_kept_by_more_than_colour():
    glyphs = [each.glyph for each in bar_drawing.build().root.renderers]
    fixed = [each for each in glyphs if getattr(each, "right", None) == "fixed"]
    kept = [each for each in glyphs if getattr(each, "right", None) in ("kept", "low")]
    assert [each.hatch_pattern for each in fixed] == ["/", "/"]
    assert {each.hatch_pattern for each in kept} == {None}


# ---- picked images ------------------------------------------------------------------------------------


def picks(*kept, size=16):
    """Masks of the layer "second" of CHAIN, from the channels that each image keeps."""
    return {"second": tuple(np.isin(np.arange(size), list(channels)) for channels in kept)}


def spans(tables, whose):
    """(first channel, end) of the cells of one kind in a bar that is as long as 16 channels."""
    cells = tables["cells"]
    ends = zip(cells["left"], cells[whose], strict=True)
    return [(round(16 * left), round(16 * right)) for left, right in ends if not math.isnan(right)]


def test_a_picked_images_channels_are_cells_at_their_places_in_place_of_the_plans_width():
    tables = tables_of(CHAIN, {"b": 4}, instances=picks([0, 1, 2, 9, 15]), selection="b")
    row = row_of(tables, "b")
    assert spans(tables, "both") == [(0, 3), (9, 10), (15, 16)]
    assert spans(tables, "first") == spans(tables, "second") == []
    assert math.isnan(row["kept"])
    assert math.isnan(row["chosen"])
    assert (row["dense"], row["number"]) == (1.0, "5")
    assert {*tables["cells"]["bottom"], *tables["cells"]["top"]} == {row["bottom"], row["top"]}
    assert row_of(tables, "a")["kept"] == 8 / 16  # no site: as it was


def test_of_two_images_the_firsts_own_channels_are_the_upper_half_the_seconds_the_lower():
    tables = tables_of(CHAIN, instances=picks([0, 1, 2, 3], [2, 3, 4, 8]))
    row, cells = row_of(tables, "b"), tables["cells"]
    assert spans(tables, "both") == [(2, 4)]
    assert spans(tables, "first") == [(0, 2)]
    assert spans(tables, "second") == [(4, 5), (8, 9)]
    heights = {
        whose: {
            (bottom, top)
            for bottom, top, right in zip(cells["bottom"], cells["top"], cells[whose], strict=True)
            if not math.isnan(right)
        }
        for whose in ("both", "first", "second")
    }
    assert heights == {
        "both": {(row["bottom"], row["top"])},
        "first": {(row["middle"], row["top"])},
        "second": {(row["bottom"], row["middle"])},
    }
    assert row["number"] == "4, 4"
    colours = {g.glyph.right: g.glyph.fill_color for g in bar_drawing.build().root.renderers
               if getattr(g.glyph, "fill_alpha", None) == "alpha"}  # fmt: skip
    assert len(set(colours.values())) == len(colours) == 3


def test_the_key_says_whose_a_colour_is_and_only_then():
    assert tables_of(CHAIN)["key"]["text"] == []
    assert tables_of(CHAIN, instances=picks([1]))["key"]["text"] == ["kept for the image"]
    tables = tables_of(CHAIN, instances=picks([1], [2]), lost={"a": 1.0})
    assert tables["key"]["text"] == ["1st only", "2nd only", "both"]
    assert tables["key"]["x"] == sorted(tables["key"]["x"])
    assert tables["scale"]["text"] == tables["scale"]["heat"] == [""]  # they would lie upon each other


def test_thin_rows_of_a_residual_sum_are_outlined_and_thicker_where_they_have_cells():
    mask = np.arange(64) % 2 == 0
    bare = entry(tables_of(RESNET)["rows"], "middle", _middle("stage3.1.conv2"))
    tables = tables_of(RESNET, instances={"stage3.1.conv2": (mask,)})
    row = entry(tables["rows"], "middle", _middle("stage3.1.conv2"))
    assert math.isnan(bare["dense"])
    assert row["dense"] == 1.0
    assert row["number"] == ""
    assert row["top"] - row["bottom"] > bare["top"] - bare["bottom"]
    assert len(tables["cells"]["left"]) == 32


def _middle(name):
    return next(row.middle for row in Geometry(make_graph(RESNET)).layout().rows if row.name == name)


def test_very_many_channels_share_cells_that_are_as_opaque_as_many_are_kept():
    specs = (("first", "a", 8, "3x3"), ("second", "b", 2048, "3x3"))
    keep = np.zeros(2048, dtype=bool)
    keep[:1024] = True
    keep[1024:1536:4] = True  # one of every four: two of a cell of eight
    cells = tables_of(specs, instances={"second": (keep,)})["cells"]
    assert (cells["left"], cells["both"], cells["alpha"]) == ([0.0, 0.5], [0.5, 0.75], [1.0, 0.25])


def test_a_layer_that_a_picked_image_empties_has_no_cells_and_a_layer_that_cannot_be_pruned_can_have_some():
    assert tables_of(CHAIN, instances=picks([]))["cells"]["left"] == []
    assert row_of(tables_of(CHAIN, instances=picks([])), "b")["number"] == "0"
    tables = tables_of(CHAIN, instances={"classifier": (np.arange(10) < 5,)})
    row = row_of(tables, "classes")
    assert math.isnan(row["fixed"])
    assert row["dense"] == 10 / 16


def test_a_folded_block_reaches_over_the_shares_that_the_picked_images_keep():
    masks = {f"layer2.{i}.conv": (np.arange(20) < 4 + i, np.arange(20) < 5) for i in range(10)}
    tables = tables_of(FOLDED, opened=(0, 10), instances=masks)
    fold = entry(tables["folds"], "start", 10)
    whole = 20 / 30
    assert (fold["low"], fold["high"]) == pytest.approx((4 / 20 * whole, 13 / 20 * whole))
    assert fold["number"] == "20–65%"
    assert "The picked images keep 20 to 65 %" in texts(tables, "layer2")
    assert entry(tables["folds"], "start", 20)["number"] == "100%"  # no sites in it


def test_picks_are_told_under_the_pointer_and_in_sentences():
    graph = make_graph(CHAIN)
    layout = Geometry(graph).layout()
    one, two = (showing(graph, instances=picks(*kept)) for kept in ([[1, 2]], [[1, 2], [2, 3, 4]]))
    said = [texts(width_bars.columns(layout, shown, STRINGS), "second") for shown in (one, two)]
    assert "This image keeps 2 of 16 channels" in said[0]
    assert "both images keep 1, only the first 1, only the second 2" in said[1]
    sentences = bar_words.describe(layout, two, STRINGS)
    assert sentences[2] == (
        "second: of 16 channels both picked images keep 1, only the first 1, only the second 2."
    )
    assert "second: the picked image keeps 2 of 16 channels." in bar_words.describe(layout, one, STRINGS)
    folded = showing(make_graph(FOLDED), instances={"layer1.3.conv": (np.arange(10) < 3,)})
    sentence = bar_words.describe(Geometry(make_graph(FOLDED)).layout((10, 20)), folded, STRINGS)[1]
    assert "the picked images keep 30 to 30 % of their channels" in sentence


def test_cells_fill_the_view():
    view = bar_drawing.build()
    tables = tables_of(CHAIN, instances=picks([1, 5], [5, 6]))
    for name in ("cells", "key"):
        assert len({len(column) for column in tables[name].values()}) == 1
    update(view, tables)
    assert view.sources["cells"].data == tables["cells"]
