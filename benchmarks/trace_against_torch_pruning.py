"""How long it takes to find the coupled channels, here and in torch-pruning, which runs and differentiates
the network and then constructs a pruner: python -m benchmarks.trace_against_torch_pruning [torchvision name ...]

torch-pruning's time depends on the size of the image, ours does not. Its first column is of the smallest input that
a network takes, the second of the one that torchvision's are made for (224 pixels, 299 for Inception).
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
    print(f"{'network':20} {'layers':>6} {'groups':>6} {'explorer':>9} {'torch-pruning':>20} {'ratios':>12}")
    for name, model, example in networks(sys.argv[1:]):
        graph = explorer.trace(model, example)
        side = 28 if name in NETWORKS else 299 if name == "inception_v3" else 224
        full = torch.zeros(*example.shape[:2], side, side)
        ours = fastest(lambda: explorer.trace(model, full))  # noqa: B023
        small, large = (fastest(lambda: construct(model, each)) for each in (example, full))  # noqa: B023
        print(
            f"{name:20} {len(graph.layers):6} {len(graph.groups):6} {ours * 1e3:6.0f} ms {small * 1e3:7.0f} ms "
            f"{large * 1e3:7.0f} ms {ours / small:6.2f} {ours / large:5.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
