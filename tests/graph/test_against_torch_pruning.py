"""torch-pruning as an oracle: the same layers are coupled, or the difference is explained."""

import re
import warnings

import pytest
import torch
from torch import Tensor, nn

import explorer
from explorer.zoo.networks import NETWORKS
from tests.networks import BUNDLED, graph_of
from tests.torchvision.classifiers import build, example_of

Coupled = set[frozenset[str]]


def coupled_by_torch_pruning(model: nn.Module, example: Tensor) -> Coupled:
    """The convolution and linear layers of which each loses output channels when one of them does."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import torch_pruning

        graph = torch_pruning.DependencyGraph().build_dependency(model, example)
        names = {module: path for path, module in model.named_modules()}
        found = set()
        for group in graph.get_all_groups(root_module_types=[nn.Conv2d, nn.Linear]):
            members = [
                names[dependency.target.module]
                for dependency, _ in group
                if isinstance(dependency.target.module, nn.Conv2d | nn.Linear)
                and graph.is_out_channel_pruning_fn(dependency.handler)
            ]
            found.add(frozenset(members))
    return found


@pytest.mark.parametrize("name", BUNDLED)
def test_the_same_layers_are_coupled(name: str) -> None:
    theirs = coupled_by_torch_pruning(NETWORKS[name](), torch.randn(1, 1, 28, 28))
    assert {frozenset(group.layers) for group in graph_of(name).groups} == theirs


slow = pytest.mark.slow
SAME = (
    "resnet18", "squeezenet1_1", "mobilenet_v2", "mobilenet_v3_small", "mnasnet0_5",
    *(pytest.param(name, marks=slow) for name in
      ("alexnet", "densenet121", "efficientnet_b0", "googlenet", "inception_v3", "vgg11", "wide_resnet50_2")),
)  # fmt: skip


@pytest.mark.parametrize("name", SAME)
def test_the_same_layers_of_torchvisions_networks_are_coupled(name: str) -> None:
    model, example = build(name).eval(), example_of(name)
    graph = explorer.trace(model, example)
    assert {frozenset(group.layers) for group in graph.groups} == coupled_by_torch_pruning(model, example)


WHOLE_CONV_GROUPS = {  # a grouped convolution -> the layer whose channels it reads
    "resnext50_32x4d": (r"conv2$", "conv1"),
    "regnet_x_400mf": (r"f\.b\.0$", "f.a.0"),
    "regnet_y_400mf": (r"f\.b\.0$", "f.a.0"),
}


@slow
@pytest.mark.parametrize("name", WHOLE_CONV_GROUPS)
def test_whole_conv_groups_tie_what_a_grouped_convolution_reads_to_what_it_writes(name: str) -> None:
    """With 32 conv groups of 4 channels torch-pruning takes the same positions out of every conv group, 4 units, and
    for inputs and outputs separately; we take whole conv groups, 32 units, which removes both."""
    model, example = build(name).eval(), example_of(name)
    expected = coupled_by_torch_pruning(model, example)
    ending, reads = WHOLE_CONV_GROUPS[name]
    merged = 0
    for path, module in model.named_modules():
        if isinstance(module, nn.Conv2d) and 1 < module.groups >= module.in_channels // module.groups:
            pair = {path, re.sub(ending, reads, path)}
            assert len(pair) == 2
            parts = {layers for layers in expected if layers & pair}
            expected = expected - parts | {frozenset().union(*parts)}
            merged += 1
    assert merged > 10
    assert {frozenset(group.layers) for group in explorer.trace(model, example).groups} == expected


@slow
def test_what_a_layer_norm_averages_over_is_not_pruned() -> None:
    """torch-pruning cuts ConvNeXt's trunk through LayerNorm, whose mean and variance are then others: no mask of the
    dense network equals that. We keep the trunk, and prune what torch-pruning couples elsewhere: the MLPs."""
    model, example = build("convnext_tiny").eval(), example_of("convnext_tiny")
    graph = explorer.trace(model, example)
    theirs = coupled_by_torch_pruning(model, example)
    trunk = {
        layers
        for layers in theirs
        if any(re.search(r"block\.(0|5)$|^features\.0\.0$", name) for name in layers)
    }
    assert len(trunk) == 4
    assert {frozenset(group.layers) for group in graph.prunable} == theirs - trunk - {
        frozenset(["classifier.2"])
    }
    kept = [group for group in graph.groups if not group.prunable]
    assert {name for group in kept for name in group.layers} == frozenset().union(*trunk) | {"classifier.2"}
