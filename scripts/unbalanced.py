"""Small residual networks whose stages weigh differently: where a search over widths has something to find.

Three stages of one residual block each, at 14 x 14, 7 x 7 and 4 x 4 positions. With widths 16, 32, 64 every stage costs
about as much; with 64, 32, 16 nearly all MACs are in the first, and one multiplier for all groups (the uniform
structure) takes from stages where there is little to save.
"""

from dataclasses import replace

import torch
from torch import Tensor, nn

import explorer
from explorer.data import Normalize, fashion_mnist
from explorer.graph.randomness import same_random_numbers
from explorer.zoo.networks.resnet20 import BasicBlock
from scripts.fashion_mnist import MEAN, STD

WIDTHS = {
    "residual-16-32-64": (16, 32, 64),
    "residual-32-32-32": (32, 32, 32),
    "residual-64-32-16": (64, 32, 16),
}


class Residual(nn.Module):
    """Images (N, 1, 28, 28) -> logits (N, 10): a stem of stride 2, three blocks of two convolutions, a classifier."""

    def __init__(self, widths: tuple[int, int, int]) -> None:
        super().__init__()
        first, second, third = widths
        self.stem = nn.Conv2d(1, first, 3, stride=2, padding=1, bias=False)
        self.stem_bn = nn.BatchNorm2d(first)
        self.stage1 = BasicBlock(first, first, stride=1)
        self.stage2 = BasicBlock(first, second, stride=2)
        self.stage3 = BasicBlock(second, third, stride=2)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(third, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.stem_bn(self.stem(x)))
        x = self.stage3(self.stage2(self.stage1(x)))
        return self.classifier(torch.flatten(self.pool(x), 1))


def load(name: str) -> explorer.Network:
    """One of WIDTHS with random weights, always the same, and the bundled images."""
    with same_random_numbers(seed=0):
        model = Residual(WIDTHS[name])
    network = explorer.load(model, data=fashion_mnist(Normalize(MEAN, STD)))
    return replace(network, name=name, trained=False)
