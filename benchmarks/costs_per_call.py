"""How long the closed-form cost takes, against counting with hooks: python benchmarks/costs_per_call.py"""

import timeit

import numpy as np
import torch
from torch import Tensor, nn

import explorer
from explorer.costs import totals
from explorer.zoo.networks import NETWORKS


class Chain(nn.Sequential):
    """A chain of 50 convolutions with batch norm and ReLU, and a classifier."""

    def __init__(self) -> None:
        super().__init__()
        for layer in range(50):
            self.append(nn.Conv2d(16 if layer else 1, 16, 3, padding=1, bias=False))
            self.append(nn.BatchNorm2d(16))
            self.append(nn.ReLU())
        self.extend([nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10)])


def macs_by_hooks(model: nn.Module, example: Tensor) -> int:
    """Multiply-adds, counted while the model runs once."""
    total = 0

    def count(module: nn.Module, _: tuple[Tensor, ...], result: Tensor) -> None:
        nonlocal total
        total += result[0].numel() * module.weight[0].numel()

    handles = [
        m.register_forward_hook(count) for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)
    ]
    with torch.inference_mode():
        model(example)
    for handle in handles:
        handle.remove()
    return total


def main() -> None:
    torch.set_num_threads(1)
    example = torch.zeros(1, 1, 28, 28)
    print(f"{'network':12} {'layers':>6} {'closed form':>12} {'hooks':>9} {'ratio':>6} {'1000 widths':>12}")
    for name, build in {"50 layers": Chain, **NETWORKS}.items():
        model = build().eval()
        graph = explorer.trace(model, example)
        assert explorer.cost(graph).macs == macs_by_hooks(model, example)
        closed = min(timeit.repeat(lambda: explorer.cost(graph), number=20, repeat=5)) / 20  # noqa: B023
        hooks = min(timeit.repeat(lambda: macs_by_hooks(model, example), number=1, repeat=5))  # noqa: B023
        many = np.repeat(graph.sizes[None, :], 1000, axis=0)
        curve = min(timeit.repeat(lambda: totals(graph, many, "macs"), number=1, repeat=5))  # noqa: B023
        print(
            f"{name:12} {len(graph.layers):6} {closed * 1e3:9.3f} ms {hooks * 1e3:6.1f} ms {hooks / closed:6.0f} "
            f"{curve * 1e3:9.2f} ms"
        )


if __name__ == "__main__":
    main()
