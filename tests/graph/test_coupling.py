"""Which channels are coupled: hand-written expectations for every way in which channels meet."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

import explorer
from tests.networks import (
    IMAGE,
    Concatenation,
    Sum,
    Twice,
    Written,
    conv,
    graph_of,
    groups_of,
    pooled,
)


def coupled(name: str) -> set[tuple[str, ...]]:
    return {group.layers for group in graph_of(name).groups}


def test_resnet20_couples_a_stage_and_leaves_inner_convolutions_alone() -> None:
    inner = {(f"stage{stage}.{block}.conv1",) for stage in (1, 2, 3) for block in (0, 1, 2)}
    sums = {
        ("stem", "stage1.0.conv2", "stage1.1.conv2", "stage1.2.conv2"),
        ("stage2.0.conv2", "stage2.0.shortcut.0", "stage2.1.conv2", "stage2.2.conv2"),
        ("stage3.0.conv2", "stage3.0.shortcut.0", "stage3.1.conv2", "stage3.2.conv2"),
    }
    assert coupled("resnet20") == inner | sums | {("classifier",)}


def test_resnet20_slots_of_the_first_stage_name_every_place_of_its_channels() -> None:
    slots = {(slot.tensor, slot.dim, slot.reads) for slot in graph_of("resnet20").group("stem").slots}
    norms = ["stem_bn"] + [f"stage1.{block}.bn2" for block in range(3)]
    convs = ["stem"] + [f"stage1.{block}.conv2" for block in range(3)]
    readers = [f"stage1.{block}.conv1" for block in range(3)] + ["stage2.0.conv1", "stage2.0.shortcut.0"]
    assert slots == (
        {(f"{name}.weight", 0, False) for name in convs}
        | {(f"{name}.weight", 1, True) for name in readers}
        | {(f"{n}.{t}", 0, False) for n in norms for t in ("weight", "bias", "running_mean", "running_var")}
    )


def test_vgg_has_one_group_per_layer() -> None:
    assert coupled("vgg") == {(layer.name,) for layer in graph_of("vgg").layers}


def test_mobilenetv2_couples_expansion_with_depthwise_and_projections_over_residuals() -> None:
    found = coupled("mobilenetv2")
    assert ("blocks.3.expand.0", "blocks.3.depthwise.0") in found
    assert ("blocks.2.project.0", "blocks.3.project.0", "blocks.4.project.0") in found
    assert ("head.0",) in found


def test_inception_has_one_group_per_tower_and_the_next_block_reads_all() -> None:
    graph = graph_of("inception")
    assert all(len(group.layers) == 1 for group in graph.groups)
    reader = next(layer for layer in graph.layers if layer.name == "block2.tower1.0")
    read = [graph.groups[place].id for place in dict.fromkeys(reader.in_units[:, 0].tolist())]
    assert read == ["block1.tower1.0", "block1.tower2.1.0", "block1.tower3.2.0", "block1.tower4.1.0"]


def test_flatten_gives_every_channel_its_positions() -> None:
    slot = next(s for s in graph_of("vgg").group("stage3.3").slots if s.tensor == "classifier.weight")
    assert slot.reads
    assert slot.unit.tolist() == np.repeat(np.arange(128), 9).tolist()


def test_edges_lead_from_producers_to_readers() -> None:
    graph = graph_of("resnet20")
    names = {(graph.layers[a].name, graph.layers[b].name) for a, b in graph.edges}
    assert ("stem", "stage1.0.conv1") in names
    assert ("stage1.2.conv2", "stage2.0.shortcut.0") in names
    assert ("stage1.0.conv1", "stage1.1.conv1") not in names


def test_folds_are_the_batch_norms_right_after_a_convolution() -> None:
    assert len(graph_of("resnet20").folds) == 21
    assert ("stage2.0.shortcut.0", "stage2.0.shortcut.1") in graph_of("resnet20").folds


def test_no_fold_where_something_else_reads_the_convolution() -> None:
    model = Written(
        lambda m, x: m.f(pooled(m.n(y := m.c(x)) + y)), c=conv(3, 8), n=nn.BatchNorm2d(8), f=nn.Linear(8, 4)
    )
    assert explorer.trace(model, IMAGE).folds == ()


@pytest.mark.parametrize("name", ["c.weight", "c.bias", "n.weight", "n.running_mean"])
def test_no_fold_where_the_forward_reads_a_tensor_of_the_pair(name: str) -> None:
    def forward(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
        module, tensor = name.split(".")
        return m.f(pooled(m.n(m.c(x)))) * getattr(getattr(m, module), tensor).sum()

    model = Written(forward, c=conv(3, 8, bias=True), n=nn.BatchNorm2d(8), f=nn.Linear(8, 4))
    assert explorer.trace(model, IMAGE).folds == ()


def test_no_fold_where_a_tensor_of_the_pair_is_another_modules_too() -> None:
    model = Written(
        lambda m, x: m.f(pooled(m.o(m.d(m.n(m.c(x)))))),
        c=conv(3, 3), n=nn.BatchNorm2d(3), d=conv(3, 3), o=nn.BatchNorm2d(3), f=nn.Linear(3, 4),
    )  # fmt: skip
    assert explorer.trace(model, IMAGE).folds == (("c", "n"), ("d", "o"))
    model.d.weight = model.c.weight
    assert explorer.trace(model, IMAGE).folds == ()


def test_depthwise_goes_with_its_input() -> None:
    model = Written(
        lambda m, x: m.f(pooled(m.d(m.c(x)))), c=conv(3, 8), d=conv(8, 16, groups=8), f=nn.Linear(16, 4)
    )
    group = groups_of(model)["c"]
    assert (group.size, group.layers) == (8, ("c", "d"))
    assert {s.tensor: s.unit.tolist() for s in group.slots}["d.weight"] == [u for u in range(8) for _ in "ab"]


def test_grouped_convolution_loses_whole_groups_where_these_are_more() -> None:
    model = Written(
        lambda m, x: m.f(pooled(m.g(m.c(x)))), c=conv(3, 8), g=conv(8, 12, groups=4), f=nn.Linear(12, 4)
    )
    group = groups_of(model)["c"]
    assert (group.size, group.layers, group.prunable) == (4, ("c", "g"), True)
    units = {(s.tensor, s.dim): s.unit.tolist() for s in group.slots}
    assert units["c.weight", 0] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert units["g.weight", 0] == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]


def test_grouped_convolution_loses_the_same_position_of_every_group_where_these_are_more() -> None:
    model = Written(
        lambda m, x: m.f(pooled(m.g(m.c(x)))), c=conv(3, 8), g=conv(8, 12, groups=2), f=nn.Linear(12, 4)
    )
    groups = groups_of(model)
    assert (groups["c"].size, groups["g"].size) == (4, 6)
    units = {(s.tensor, s.dim): s.unit.tolist() for g in groups.values() if g.prunable for s in g.slots}
    assert units["c.weight", 0] == [0, 1, 2, 3, 0, 1, 2, 3]
    assert units["g.weight", 1] == [0, 1, 2, 3]
    assert units["g.weight", 0] == [0, 1, 2, 3, 4, 5] * 2


def test_concatenation_of_a_tensor_with_itself_gives_every_unit_two_places() -> None:
    model = Written(
        lambda m, x: m.f(pooled(m.d(torch.cat([y := m.c(x), y], 1)))),
        c=conv(3, 8),
        d=conv(16, 6),
        f=nn.Linear(6, 4),
    )
    slot = next(s for s in groups_of(model)["c"].slots if s.tensor == "d.weight")
    assert slot.unit.tolist() == [*range(8), *range(8)]


def test_sum_of_concatenations_splits_a_layer_in_groups() -> None:
    parts = Sum(Concatenation(conv(3, 8), conv(3, 4)), Concatenation(conv(3, 5), conv(3, 7)))
    groups = groups_of(nn.Sequential(parts, conv(12, 3), nn.Flatten()))
    first, second = "0.parts.0.parts.0", "0.parts.0.parts.1"
    assert groups[first].layers == (first, "0.parts.1.parts.0")
    assert groups[f"{first}/2"].layers == (first, "0.parts.1.parts.1")
    assert groups[second].layers == (second, "0.parts.1.parts.1")
    assert [groups[name].size for name in (first, f"{first}/2", second)] == [5, 3, 4]


def test_a_module_that_is_called_twice_is_two_layers_of_one_group() -> None:
    graph = explorer.trace(
        nn.Sequential(conv(3, 8), Twice(conv(8, 8)), conv(8, 6), nn.Flatten(), nn.Linear(384, 2)), IMAGE
    )
    assert [layer.name for layer in graph.layers[:4]] == ["0", "1.body", "1.body#2", "2"]
    assert graph.group("0").layers == ("0", "1.body", "1.body#2")


def test_tied_weights_couple_what_they_serve() -> None:
    model = Written(
        lambda m, x: m.f(pooled(m.b(torch.relu(m.a(m.c(x)))))),
        c=conv(3, 8), a=conv(8, 8), b=conv(8, 8), f=nn.Linear(8, 4),
    )  # fmt: skip
    model.b.weight = model.a.weight
    graph = explorer.trace(model, IMAGE)
    assert graph.ties == (("b.weight", "a.weight"),)
    assert graph.group("c").layers == ("c", "a", "b")


def test_heads_of_the_training_forward_are_coupled() -> None:
    def forward(m: nn.Module, x: torch.Tensor) -> object:
        x = torch.relu(m.c(x))
        y = m.f(pooled(m.d(x)))
        return (y, m.aux(pooled(x))) if m.training else y

    model = Written(forward, c=conv(3, 8), d=conv(8, 6), f=nn.Linear(6, 4), aux=nn.Linear(8, 4))
    graph = explorer.trace(model, IMAGE)
    assert [layer.name for layer in graph.layers] == ["c", "d", "f"]
    assert ("aux.weight", 1, True) in {(s.tensor, s.dim, s.reads) for s in graph.group("c").slots}
    shrunk = explorer.shrink(
        model, graph, explorer.plan_widths(graph, explorer.score(model, graph, "l1"), {"c": 3})
    )
    assert shrunk.aux.in_features == 3
    assert [y.shape for y in shrunk.train()(torch.zeros(2, 3, 8, 8))] == [(2, 4), (2, 4)]


def test_transposed_convolution_carries_outputs_in_dimension_1() -> None:
    model = Written(
        lambda m, x: m.f(pooled(m.t(m.c(x)))),
        c=conv(3, 8),
        t=nn.ConvTranspose2d(8, 6, 2, 2),
        f=nn.Linear(6, 4),
    )
    groups = groups_of(model)
    assert ("t.weight", 0, True) in {(s.tensor, s.dim, s.reads) for s in groups["c"].slots}
    assert ("t.weight", 1, False) in {(s.tensor, s.dim, s.reads) for s in groups["t"].slots}


def test_batch_norm_after_flatten_has_every_position() -> None:
    model = Written(
        lambda m, x: m.f(m.n(m.c(x).flatten(1))),
        c=nn.Conv2d(3, 4, 7),
        n=nn.BatchNorm1d(16),
        f=nn.Linear(16, 4),
    )
    slot = next(s for s in groups_of(model)["c"].slots if s.tensor == "n.running_var")
    assert slot.unit.tolist() == [u for u in range(4) for _ in range(4)]


def test_linear_chain_with_batch_norm_1d() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Linear(12, 4))
    group = groups_of(model)["1"]
    assert (group.size, group.prunable) == (12, True)


def test_a_gate_of_one_channel_ties_nothing() -> None:
    model = Written(
        lambda m, x: m.f(pooled(torch.cat([(y := m.c(x)) * torch.sigmoid(m.g(y)), m.d(x)], 1))),
        c=conv(3, 8), d=conv(3, 6), g=nn.Conv2d(8, 1, 1), f=nn.Linear(14, 4),
    )  # fmt: skip
    assert {name: g.prunable for name, g in groups_of(model).items()} == {"c": True, "d": True, "f": False}


def test_squeeze_excitation_ties_gate_and_trunk() -> None:
    model = Written(
        lambda m, x: m.f(pooled((y := m.c(x)) * torch.sigmoid(m.e(F.relu(m.r(F.adaptive_avg_pool2d(y, 1))))))),
        c=conv(3, 8), r=nn.Conv2d(8, 4, 1), e=nn.Conv2d(4, 8, 1), f=nn.Linear(8, 4),
    )  # fmt: skip
    assert groups_of(model)["c"].layers == ("c", "e")


def test_a_size_read_from_the_same_channels_follows_the_plan() -> None:
    model = Written(
        lambda m, x: m.f((y := F.adaptive_avg_pool2d(m.c(x), 1)).view(y.shape[0], y.size(1))),
        c=conv(3, 8),
        f=nn.Linear(8, 4),
    )
    assert groups_of(model)["c"].prunable


def test_arguments_by_name_are_understood() -> None:
    model = Written(
        lambda m, x: m.f(input=torch.mean(input=F.relu(input=m.c(input=x)), dim=(2, 3))),
        c=conv(3, 8),
        f=nn.Linear(8, 4),
    )
    assert groups_of(model)["c"].prunable
