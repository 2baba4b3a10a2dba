from dataclasses import replace

import numpy as np
import pytest

from explorer.figures import instance_pair
from explorer.figures.instance_pair import BASE, TOP
from explorer.figures.view import update
from explorer.strings import Strings
from tests.instance_runs import example_instances
from tests.panels.fake_session import CHAIN, RESNET, make_graph

STRINGS = Strings("en")


def hand_made():
    """Two images of a site of 16 channels: both keep 0-3, the first 4-5, the second 6-11."""
    instances = example_instances(make_graph(CHAIN), count=3)
    keep = np.zeros((3, 16), dtype=bool)
    keep[0, :6] = True
    keep[2, [*range(4), *range(6, 12)]] = True
    return replace(instances, keep=keep, macs=np.array([2, 3, 5]), dense_macs=10)


def test_parts_stand_upon_each_other_in_proportion():
    bars = instance_pair.columns(hand_made(), (0, 4), STRINGS)["bars"]
    tops = [(bars[part][0] - BASE) / (TOP - BASE) for part in ("both", "first", "second")]
    assert tops == pytest.approx([4 / 16, 6 / 16, 12 / 16])
    assert bars["layer"] == ["second"]
    assert bars["hover"] == ["Of 16 channels both images keep 4, only the first 2, only the second 6"]


def test_the_order_of_the_picks_tells_first_from_second():
    bars = instance_pair.columns(hand_made(), (4, 0), STRINGS)["bars"]
    assert (bars["first"][0] - BASE) / (TOP - BASE) == pytest.approx(10 / 16)


def test_totals_are_said_with_the_macs_of_both():
    tables = instance_pair.columns(hand_made(), (0, 4), STRINGS)
    texts = tables["labels"]["ink"]
    assert "1st: image 0, 20 % of the MACs; 2nd: image 4, 50 %" in texts
    assert {"both 25 %", "1st only 12 %", "2nd only 38 %", "neither 25 %"} <= set(texts)
    assert instance_pair.totals(hand_made(), (0, 2)) == {
        "size": 16,
        "both": 4,
        "first": 2,
        "second": 6,
        "neither": 4,
    }


def test_the_totals_are_the_sums_of_all_sites():
    instances = example_instances(make_graph(RESNET))
    found = instance_pair.totals(instances, (3, 8))
    assert found["size"] == instances.sites.channels == sum(found[part] for part in instance_pair.PARTS)
    assert found["both"] + found["first"] == int(instances.keep[3].sum())
    assert found["both"] + found["second"] == int(instances.keep[8].sum())


@pytest.mark.parametrize("images", [(), (0,), (0, 1)])
def test_without_two_known_images_a_sentence_stands_instead(images):
    tables = instance_pair.columns(hand_made(), images, STRINGS)
    key = "instance_pair_gone" if images == (0, 1) else "instance_pair_pick"
    assert tables["labels"]["soft"] == [STRINGS(key)]
    assert tables["bars"]["left"] == []
    assert instance_pair.describe(hand_made(), images, STRINGS) == []
    assert instance_pair.columns(None, (0, 4), STRINGS)["labels"]["soft"] == [STRINGS("instance_pair_pick")]


def test_bars_of_a_stage_stand_together_and_a_tap_finds_the_layer():
    instances = example_instances(make_graph(RESNET))
    tables = instance_pair.columns(instances, (0, 4), STRINGS, layer="stage2.1.conv1")
    bars = tables["bars"]
    assert {"stage1", "stage2", "stage3"} <= set(tables["labels"]["soft"])
    gaps = np.diff(bars["left"])
    apart = [name for name, gap in zip(bars["layer"][1:], gaps, strict=True) if gap > 1.5 * gaps[0]]
    assert apart == ["stage2.0.conv1", "stage3.0.conv1"]
    assert bars["right"][-1] <= 1.0
    for x, layer in zip(bars["x"], bars["layer"], strict=True):
        assert instance_pair.layer_at(x, instances) == layer
    assert instance_pair.layer_at(1.2, instances) is None
    marked = [name for name, at in zip(bars["layer"], bars["marker"], strict=True) if at == at]
    assert marked == ["stage2.1.conv1"]


def test_stages_are_told_by_the_part_of_the_names_in_which_they_differ():
    specs = tuple((f"net.block{b}.conv{c}", f"g{b}{c}", 8, "3x3") for b in (0, 1) for c in (0, 1, 2))
    instances = example_instances(make_graph(specs))
    labels = instance_pair.columns(instances, (0, 2), STRINGS)["labels"]["soft"]
    assert [text for text in labels if text] == ["net.block0", "net.block1"]


def test_the_pair_in_sentences():
    said = instance_pair.describe(hand_made(), (0, 4), STRINGS)
    total = "image 0 and image 4 both keep 4; 2 only the first, 6 only the second, 4 neither."
    assert said == [
        f"Of 16 channels that can be dropped, {total}",
        "second: of 16 channels both picked images keep 4, only the first 2, only the second 6.",
    ]


@pytest.mark.parametrize("language", ["en", "ja", "ko"])
def test_the_key_has_room(language):
    labels = instance_pair.columns(hand_made(), (0, 4), Strings(language))["labels"]
    every = zip(labels["x"], labels["y"], labels["ink"], strict=True)
    texts = [(x, text) for x, y, text in every if y == instance_pair.KEY]
    assert len(texts) == 4
    last, text = texts[-1]
    assert last * instance_pair.WIDTH + instance_pair.pixels_of(text) <= instance_pair.WIDTH


def test_the_view_takes_what_columns_gives():
    view = instance_pair.build(scale=1.25)
    tables = instance_pair.columns(hand_made(), (0, 4), STRINGS)
    update(view, tables)
    for name, table in tables.items():
        assert len({len(column) for column in table.values()}) == 1
        assert view.sources[name].name == f"instance-pair-{name}"
    assert view.root.height == round(1.25 * instance_pair.HEIGHT)
