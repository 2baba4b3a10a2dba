import math

import numpy as np
import pytest

from explorer.figures import width_bars
from explorer.figures.rows import layout
from explorer.figures.view import update
from explorer.values import Plan, full_plan
from tests.panels.fake_session import CHAIN, RESNET, make_graph


def plan_of(graph, **widths):
    keep = {g.id: np.arange(g.size) < widths.get(g.id, g.size) for g in graph.prunable}
    return Plan(graph.key, keep)


def drawn(column):
    return [value for value in column if not math.isnan(value)]


def entry(table, name):
    place = table["name"].index(name)
    return {key: values[place] for key, values in table.items()}


def test_kept_is_solid_dense_is_outlined_and_the_reference_is_where_the_dense_bar_ends():
    graph = make_graph(CHAIN)
    table = width_bars.columns(layout(graph), plan_of(graph, a=2, b=4))["rows"]
    row = entry(table, "second")
    assert (row["kept"], row["dense"], row["reference"]) == (4 / 16, 1.0, 1.0)
    assert entry(table, "first")["kept"] == 2 / 16
    assert row["count"] == "4 of 16 channels kept"
    assert row["number"] == "4"


def test_the_image_is_at_the_bottom():
    graph = make_graph(CHAIN, image=3)
    table = width_bars.columns(layout(graph), full_plan(graph))["rows"]
    assert table["name"][0] == "image"
    assert table["middle"][0] == min(table["middle"])
    assert table["fixed"][0] == 3 / 16


def test_selection_moves_every_bar_of_the_group_and_its_band_to_the_accent():
    graph = make_graph(RESNET)
    tables = width_bars.columns(layout(graph), plan_of(graph, sum2=20), "sum2")
    table = tables["rows"]
    chosen = [
        name for name, value in zip(table["name"], table["chosen"], strict=True) if not math.isnan(value)
    ]
    assert chosen == ["stage2.0.conv2", "stage2.0.shortcut.0", "stage2.1.conv2", "stage2.2.conv2"]
    assert {entry(table, name)["chosen"] for name in chosen} == {20 / 64}
    assert all(math.isnan(entry(table, name)["kept"]) for name in chosen)
    assert len(drawn(table["marker"])) == 4
    assert len(drawn(tables["bands"]["chosen"])) == 1
    assert len(drawn(tables["bands"]["edge"])) == 2


def test_an_unprunable_layer_is_grey_whole_and_says_why():
    graph = make_graph(CHAIN)
    row = entry(width_bars.columns(layout(graph), plan_of(graph, b=4), "classes")["rows"], "classifier")
    assert row["fixed"] == 10 / 16
    assert math.isnan(row["kept"])
    assert math.isnan(row["chosen"])
    assert row["note"] == "Cannot be pruned: the network's output"


def test_sections_name_their_sum_and_labels_do_not_overlap():
    graph = make_graph(RESNET)
    labels = width_bars.columns(layout(graph), plan_of(graph, sum3=52))["labels"]
    assert "52 of 64" in labels["plain"]
    assert "64 channels" in labels["plain"]
    left = sorted(y for y, align in zip(labels["y"], labels["align"], strict=True) if align == "left")
    assert min(np.diff(left)) > 10


def test_kept_counts_channels_of_all_groups_and_of_none():
    graph = make_graph(CHAIN)
    row = layout(graph).rows[1]
    assert width_bars.kept(row, plan_of(graph, b=5)) == 5
    assert width_bars.kept(layout(graph).rows[2], plan_of(graph, b=5)) == 10


@pytest.mark.parametrize("specs", [RESNET, CHAIN])
def test_columns_are_lists_of_equal_length_and_fill_the_view(specs):
    graph = make_graph(specs)
    tables = width_bars.columns(layout(graph), full_plan(graph))
    for table in tables.values():
        assert len({len(column) for column in table.values()}) == 1
        assert all(type(column) is list for column in table.values())
    view = width_bars.build()
    update(view, tables)
    assert view.sources["rows"].data["name"] == tables["rows"]["name"]
    assert view.sources["rows"].name == "bars-rows"


def test_the_chart_in_sentences():
    graph = make_graph(RESNET)
    sentences = width_bars.describe(layout(graph), plan_of(graph, s1b0=7, sum3=52))
    assert sentences[0] == "The image has 1 channel."
    assert "stage1.0.conv1 keeps 7 of 16 channels." in sentences
    assert (
        "stage3.0.conv2 keeps 52 of 64 channels, together with stage3.0.shortcut.0, stage3.1.conv2, "
        "stage3.2.conv2." in sentences
    )
    assert sentences[-1] == "classifier keeps all 10 channels; it cannot be pruned: the network's output."
