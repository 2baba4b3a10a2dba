from itertools import pairwise

import pytest

from explorer.figures.folding import MOST, shown, stages, tree

RESNET152 = (
    "conv1",
    *(
        name
        for stage, blocks in enumerate((3, 8, 36, 3), start=1)
        for block in range(blocks)
        for name in (
            *(f"layer{stage}.{block}.conv{conv}" for conv in (1, 2, 3)),
            *([f"layer{stage}.0.downsample.0"] if block == 0 else []),
        )
    ),
    "fc",
)
DENSENET = (
    "features.conv0",
    *(
        f"features.denseblock{stage}.denselayer{layer}.conv{conv}"
        for stage, layers in enumerate((6, 12, 48, 32), start=1)
        for layer in range(1, layers + 1)
        for conv in (1, 2)
    ),
    "classifier",
)
FLAT = tuple(f"conv{place}" for place in range(340))


def at_most(rows):
    """Room for that many bars: a layer's or a folded block's."""
    return lambda items: sum(_bars(item) for item in items) <= rows


def _bars(item):
    return item.block.end - item.block.first if item.opened else 1


def names(items):
    return [("*" if item.opened else "") + item.block.name for item in items]


def test_all_layers_are_shown_where_they_fit():
    root = tree(["stem", "a.0", "a.1", "head"])
    assert names(shown(root, None, at_most(4))) == ["*stem", "*a", "*head"]


def test_one_stage_is_open_and_the_others_are_folded():
    root = tree(["stem", *(f"a.{i}" for i in range(4)), *(f"b.{i}" for i in range(4)), "head"])
    assert names(shown(root, None, at_most(8))) == ["stem", "a", "b", "head"]
    assert names(shown(root, (6, 7), at_most(8))) == ["stem", "a", "*b", "head"]


def test_a_stage_of_many_blocks_is_folded_into_runs_named_by_their_first_and_last():
    root = tree(RESNET152)
    assert [block.name for block in root.blocks] == ["conv1", "layer1", "layer2", "layer3", "layer4", "fc"]
    layer3 = root.blocks[3]
    assert [block.name for block in layer3.blocks] == [
        *("layer3.0–5", "layer3.6–11", "layer3.12–17", "layer3.18–23", "layer3.24–29", "layer3.30–35")
    ]
    place = RESNET152.index("layer3.13.conv2")
    assert names(shown(root, (place, place + 1), at_most(20))) == [
        *("conv1", "layer1", "layer2", "layer3.0–5", "layer3.6–11", "layer3.12", "*layer3.13", "layer3.14"),
        *(
            "layer3.15",
            "layer3.16",
            "layer3.17",
            "layer3.18–23",
            "layer3.24–29",
            "layer3.30–35",
            "layer4",
            "fc",
        ),
    ]


GOOGLENET = (
    *("conv1", "conv2", "conv3"),
    *(
        f"inception{name}.branch{branch}"
        for name in ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b")
        for branch in range(1, 7)
    ),
    "fc",
)


def test_blocks_of_one_kind_of_name_are_put_together():
    root = tree(GOOGLENET)
    assert [block.name for block in root.blocks] == [
        *("conv1–2", "conv3", "inception3a–3b", "inception4a–4b", "inception4c", "inception4d–4e"),
        *("inception5a–5b", "fc"),
    ]


def test_a_block_knows_of_how_many_it_was_put_together():
    layer3 = tree(RESNET152).blocks[3]
    assert layer3.several == 0
    assert [block.several for block in layer3.blocks] == [6] * 6
    assert tree(FLAT).blocks[0].several == 49


def test_stages_are_all_there_however_many():
    assert [block.name for block in stages(GOOGLENET)][3:6] == ["inception3a", "inception3b", "inception4a"]
    assert len(stages(FLAT)) == len(FLAT)


def test_a_small_block_is_opened_whole_and_the_others_are_folded_for_it():
    layers = [f"stage.{block}.{part}.{conv}" for block in range(30) for part in "ab" for conv in (1, 2)]
    items = shown(tree(["stem", *layers]), (42, 43), at_most(14))
    (opened,) = (item for item in items if item.opened)
    assert opened.block.name == "stage.10"
    assert at_most(14)(items)


def test_what_lies_farthest_out_is_folded_further_where_there_is_no_room():
    root = tree(RESNET152)
    place = RESNET152.index("layer3.13.conv2")
    items = names(shown(root, (place, place + 1), at_most(13)))
    assert items[0] == "conv1–layer2"
    assert items[-1] == "layer4–fc"
    assert "*layer3.13" in items


def test_names_without_dots_are_runs_of_consecutive_layers():
    root = tree(FLAT)
    assert root.blocks[0].name == "conv0–48"
    assert root.blocks[0].blocks[1].name == "conv7–13"


def test_a_prefix_that_nearly_all_share_is_no_stage_of_its_own():
    found = [block.name for block in tree(DENSENET).blocks]
    assert found == ["features.conv0", *(f"features.denseblock{i}" for i in (1, 2, 3, 4)), "classifier"]


def test_a_module_that_is_called_several_times_is_as_many_layers():
    (block,) = tree(["shared.conv"] * 3).blocks[:1]
    assert block.span == (0, 1)
    assert [b.span for b in tree(["stem", "a.conv", "a.conv"]).blocks[1].blocks] == [(1, 2), (2, 3)]


@pytest.mark.parametrize("layers", [RESNET152, DENSENET, FLAT, FLAT[:1], FLAT[:11]])
def test_wherever_one_looks_all_layers_are_there_once_in_order_and_there_is_room(layers):
    root = tree(layers)
    for place in range(len(layers)):
        items = shown(root, (place, place + 1), at_most(20))
        spans = [item.block.span for item in items]
        assert spans[0][0] == 0
        assert spans[-1][1] == len(layers)
        assert all(one[1] == other[0] for one, other in pairwise(spans))
        assert at_most(20)(items)
        inside = next(item for item in items if item.block.holds((place, place + 1)))
        assert inside.opened or not inside.block.blocks


@pytest.mark.parametrize("layers", [RESNET152, DENSENET, FLAT])
def test_every_block_has_few_children_that_fill_it(layers):
    root = tree(layers)
    for block in [root, *(block for _depth, block in root.walk())]:
        assert 2 <= len(block.blocks) <= MOST
        assert block.blocks[0].first == block.first
        assert block.blocks[-1].end == block.end


def test_around_is_the_block_that_a_folding_shows_again():
    root = tree(RESNET152)
    layer3 = root.blocks[3]
    chunk = layer3.blocks[2]
    assert root.around(chunk.blocks[1].span) == chunk
    assert root.around(chunk.span) == layer3
    assert root.around(layer3.span) is None
