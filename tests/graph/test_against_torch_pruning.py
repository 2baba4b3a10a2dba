"""torch-pruning as an oracle: the same layers are coupled on the bundled networks."""

import warnings

import pytest
import torch
from torch import nn

from explorer.zoo.networks import NETWORKS
from tests.networks import BUNDLED, graph_of


def coupled_by_torch_pruning(name: str) -> set[frozenset[str]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import torch_pruning

        model = NETWORKS[name]()
        graph = torch_pruning.DependencyGraph().build_dependency(model, torch.randn(1, 1, 28, 28))
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
    assert {frozenset(group.layers) for group in graph_of(name).groups} == coupled_by_torch_pruning(name)
