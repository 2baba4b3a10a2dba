"""A small network with images, a search's outcome without a search: for tests of what is measured after one."""

from dataclasses import replace

import torch
from torch import Tensor, nn

import explorer
from explorer.chains import ChainEvidence, ChainRun, Comparison, Contender, OrderCurve
from explorer.data import Data
from explorer.runs import Recorded
from explorer.zoo.network import Network
from tests.chain_runs import example_run
from tests.evaluate.toys import CLASSES, images_of


class Small(nn.Module):
    """(N, 1, 6, 6) -> (N, 4): two convolutions with batch norm, 16 and 24 wide."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.conv2 = nn.Conv2d(16, 24, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(24)
        self.classifier = nn.Linear(24, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.bn1(self.conv1(x)))
        x = torch.relu(self.bn2(self.conv2(x)))
        return self.classifier(x.mean((2, 3)))


def small_network(name: str = "small") -> Network:
    """Loaded, with labelled training and explore images, and weights that are always the same."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Small()
    data = Data("toys", ("a", "b", "c", "d"), images_of(96, seed=1), images_of(80, seed=2), None)
    return replace(explorer.load(model, data=data), name=name)


def ended_run(network: Network, frames: int = 13) -> ChainRun:
    graph = explorer.trace(network.model, network.example)
    return replace(example_run(graph, frames), network=network.name)


def recorded_run(network: Network, frames: int = 13) -> Recorded[ChainRun, ChainEvidence]:
    """A run with made-up measurements."""
    widths = (("conv1", 6), ("conv2", 9))
    contenders = (
        Contender("dmcp", 0.4012, widths, 0.71, (0.8, 0.81)),
        Contender("smallest", 1 / 3, widths, 0.3, ()),
    )
    order = (OrderCurve("first", "after", (0.5, 1.0), (2 / 3, 0.9), 80),)
    comparisons = (Comparison(network.name, 0.4, 80, 4, "scratch", contenders),)
    return Recorded(
        ended_run(network, frames),
        ChainEvidence(order, comparisons),
        "python -m scripts.record dmcp small",
    )
