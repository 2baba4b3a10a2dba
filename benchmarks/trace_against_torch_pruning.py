"""How long it takes to find the coupled channels, here and in torch-pruning, which runs and differentiates
the network: python benchmarks/trace_against_torch_pruning.py"""

import timeit

import torch
import torch_pruning
from torch import nn

import explorer
from explorer.zoo.networks import NETWORKS


def groups_by_torch_pruning(model: nn.Module, example: torch.Tensor) -> int:
    graph = torch_pruning.DependencyGraph().build_dependency(model, example)
    return sum(1 for _ in graph.get_all_groups(root_module_types=[nn.Conv2d, nn.Linear]))


def main() -> None:
    torch.set_num_threads(1)
    example = torch.zeros(1, 1, 28, 28)
    print(f"{'network':12} {'groups':>6} {'explorer':>10} {'torch-pruning':>14}")
    for name, build in NETWORKS.items():
        model = build().eval()
        groups = len(explorer.trace(model, example).groups)
        assert groups == groups_by_torch_pruning(model, example)
        ours = min(timeit.repeat(lambda: explorer.trace(model, example), number=1, repeat=3))  # noqa: B023
        theirs = min(timeit.repeat(lambda: groups_by_torch_pruning(model, example), number=1, repeat=3))  # noqa: B023
        print(f"{name:12} {groups:6} {ours * 1e3:7.0f} ms {theirs * 1e3:11.0f} ms")


if __name__ == "__main__":
    main()
