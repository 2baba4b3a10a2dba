"""How long it takes to find the coupled channels, here and in torch-pruning, which runs and differentiates
the network and then constructs a pruner: python -m benchmarks.trace_against_torch_pruning [torchvision name ...]

Torchvision's networks have the smallest input that they take, which is kind to torch-pruning.
"""

import sys
import timeit
import warnings
from collections.abc import Callable, Iterator

import torch
import torch_pruning
from torch import Tensor, nn

import explorer
from explorer.zoo.networks import NETWORKS
from tests.torchvision.classifiers import build, example_of

TORCHVISION = (
    "resnet18", "resnet152", "vgg11_bn", "mobilenet_v2", "mobilenet_v3_large", "efficientnet_b0", "densenet121",
    "googlenet", "inception_v3", "regnet_y_400mf", "resnext50_32x4d", "squeezenet1_1",
)  # fmt: skip


def networks(names: list[str]) -> Iterator[tuple[str, nn.Module, Tensor]]:
    """Name, network in eval mode, example input."""
    for name, bundled in NETWORKS.items():
        if not names:
            yield name, bundled().eval(), torch.zeros(1, 1, 28, 28)
    for name in names or TORCHVISION:
        yield name, build(name).eval(), example_of(name)


def construct(model: nn.Module, example: Tensor) -> None:
    """torch-pruning's dependency graph and pruner."""
    importance = torch_pruning.importance.MagnitudeImportance(p=1)
    torch_pruning.pruner.BasePruner(model, example, importance, pruning_ratio=0.5)


def fastest(work: Callable[[], object]) -> float:
    """Seconds of the fastest of three runs."""
    return min(timeit.repeat(work, number=1, repeat=3))


def main() -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # torch-pruning's words about parameters of the network's own
    print(f"{'network':20} {'layers':>6} {'groups':>6} {'explorer':>11} {'torch-pruning':>14} {'ratio':>6}")
    for name, model, example in networks(sys.argv[1:]):
        graph = explorer.trace(model, example)
        ours = fastest(lambda: explorer.trace(model, example))  # noqa: B023
        theirs = fastest(lambda: construct(model, example))  # noqa: B023
        print(
            f"{name:20} {len(graph.layers):6} {len(graph.groups):6} {ours * 1e3:8.0f} ms {theirs * 1e3:11.0f} ms "
            f"{ours / theirs:6.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
