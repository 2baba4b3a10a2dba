"""Small networks for the engine's tests: written by hand, or composed at random of the supported operators."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from hypothesis import settings
from hypothesis import strategies as st
from torch import Tensor, nn

import explorer
from explorer.values import ChannelGraph, Plan
from explorer.zoo.networks import NETWORKS

BUNDLED = tuple(NETWORKS)
THOROUGH = int(os.environ.get("THOROUGH", "1"))  # multiplies the number of random examples


def examples(count: int) -> settings:
    """Hypothesis settings with this many examples, times the environment's THOROUGH."""
    return settings(max_examples=count * THOROUGH, deadline=None)


class Written(nn.Module):
    """A network whose forward is a function of (its modules, x)."""

    def __init__(self, forward: Callable[[Any, Tensor], Any], **modules: nn.Module | nn.Parameter) -> None:
        super().__init__()
        self._written = forward
        for name, module in modules.items():
            setattr(self, name, module)

    def forward(self, x: Tensor) -> Any:
        return self._written(self, x)


def pooled(x: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, C)."""
    return x.mean((2, 3))


def conv(inputs: int, outputs: int, **options: Any) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1, **options)


IMAGE = torch.zeros(1, 3, 8, 8)


def groups_of(model: nn.Module, example: Tensor = IMAGE) -> dict[str, explorer.ChannelGroup]:
    return {group.id: group for group in explorer.trace(model, example).groups}


@cache
def untrained(name: str) -> nn.Module:
    """A bundled network with live weights; treat it as read-only."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = NETWORKS[name]()
    return explorer.live_weights(model, torch.zeros(1, 1, 28, 28))


@cache
def graph_of(name: str) -> ChannelGraph:
    """The graph of a bundled network."""
    return explorer.trace(untrained(name), torch.zeros(1, 1, 28, 28))


def trained(name: str) -> explorer.Network:
    """A bundled network with its weights."""
    return explorer.load(name)


def inputs_like(example: Tensor, count: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((count, *example.shape[1:]), dtype=example.dtype, generator=generator)


def random_plan(graph: ChannelGraph, seed: int, least: int = 1, share: float | None = None) -> Plan:
    """Random units of every prunable group, `least` at least (if it has so many); some groups stay dense."""
    rng = np.random.default_rng(seed)
    keep = {}
    for group in graph.prunable:
        width = round(share * group.size) if share else int(rng.integers(least, group.size + 1))
        keep[group.id] = np.zeros(group.size, dtype=bool)
        keep[group.id][rng.permutation(group.size)[: max(width, min(least, group.size))]] = True
    return Plan(graph.key, keep)


# --- networks composed at random ------------------------------------------------------------------------

ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.SiLU, nn.Sigmoid, nn.Hardswish, nn.GELU, nn.Identity)


def unit(inputs: int, outputs: int, activation: type[nn.Module] = nn.ReLU, **options: Any) -> nn.Sequential:
    return nn.Sequential(conv(inputs, outputs, bias=False, **options), nn.BatchNorm2d(outputs), activation())


class SqueezeExcitation(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.reduce, self.expand = nn.Conv2d(channels, 4, 1), nn.Conv2d(4, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.expand(torch.relu(self.reduce(x.mean((2, 3), keepdim=True)))))


class Residual(nn.Module):
    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x) + x)


class Concatenation(nn.Module):
    def __init__(self, *parts: nn.Module) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([part(x) for part in self.parts], dim=1)


class Sum(Concatenation):
    def forward(self, x: Tensor) -> Tensor:
        first, second = (part(x) for part in self.parts)
        return first + second


class SpatialGate(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gate = nn.Conv2d(channels, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid(self.gate(x)) * x


class LayerScale(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


class Twice(nn.Module):
    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        return self.body(torch.sigmoid(self.body(x)))


class Flattened(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.view(x.size(0), -1)


Block = Callable[[int, type[nn.Module]], tuple[nn.Module, int]]
BLOCKS: dict[str, Block] = {
    "plain": lambda c, act: (unit(c, 12, act), 12),
    "biased": lambda c, act: (nn.Sequential(conv(c, 10 + c % 2), act()), 10 + c % 2),
    "depthwise": lambda c, act: (unit(c, c, act, groups=c), c),
    "depthwise multiplied": lambda c, act: (unit(c, 2 * c, act, groups=c), 2 * c),
    "whole conv groups": lambda c, act: (nn.Sequential(unit(c, 8), unit(8, 16, act, groups=4)), 16),
    "positions in conv groups": lambda c, act: (nn.Sequential(unit(c, 12), unit(12, 12, act, groups=2)), 12),
    "residual": lambda c, act: (Residual(nn.Sequential(unit(c, 6, act), unit(6, c, nn.Identity))), c),
    "concatenation": lambda c, act: (Concatenation(unit(c, 6, act), unit(c, 5), nn.Identity()), 11 + c),
    "itself twice": lambda c, act: (Concatenation(act(), nn.Identity()), 2 * c),
    "sum of concatenations": lambda c, act: (
        Sum(Concatenation(unit(c, 8, act), conv(c, 4)), Concatenation(conv(c, 5), unit(c, 7))),
        12,
    ),
    "squeeze-excitation": lambda c, act: (SqueezeExcitation(c), c),
    "spatial gate": lambda c, act: (SpatialGate(c), c),
    "layer scale": lambda c, act: (LayerScale(c), c),
    "called twice": lambda c, act: (Twice(conv(c, c)), c),
    "max pooling": lambda c, act: (nn.MaxPool2d(3, stride=2, padding=1), c),
    "average pooling": lambda c, act: (nn.AvgPool2d(3, stride=2, padding=1), c),
    "transposed": lambda c, act: (nn.Sequential(nn.ConvTranspose2d(c, 9, 2, stride=2), act()), 9),
}
TAILS: dict[str, Callable[[int], list[nn.Module]]] = {
    "pooled": lambda c: [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(c, 5)],
    "flattened": lambda c: [nn.AdaptiveMaxPool2d(3), Flattened(), nn.Dropout(), nn.Linear(9 * c, 5)],
    "two linears": lambda c: [
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * c, 14), nn.BatchNorm1d(14), nn.ReLU(), nn.Linear(14, 5)
    ],
}  # fmt: skip


@dataclass(frozen=True)
class Recipe:
    """How a random network is built; shows in a failing example."""

    blocks: tuple[str, ...]
    activation: type[nn.Module]
    tail: str
    seed: int

    def build(self) -> nn.Module:
        """The network, for IMAGE, with live weights."""
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            channels = 8
            modules: list[nn.Module] = [unit(3, channels, self.activation)]
            for name in self.blocks:
                module, channels = BLOCKS[name](channels, self.activation)
                modules.append(module)
            model = nn.Sequential(*modules, *TAILS[self.tail](channels))
        return explorer.live_weights(model, IMAGE, self.seed)


recipes = st.builds(
    Recipe,
    st.lists(st.sampled_from(sorted(BLOCKS)), min_size=1, max_size=4).map(tuple),
    st.sampled_from(ACTIVATIONS),
    st.sampled_from(sorted(TAILS)),
    st.integers(0, 9),
)
seeds = st.integers(0, 10_000)
