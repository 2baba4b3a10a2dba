"""Small cuts of the four bundled classes, with live weights instead of trained ones, and their reports."""

import inspect
from dataclasses import dataclass

import pytest
import torch
from torch import nn

import explorer
from explorer.data import Normalize
from explorer.export import Measured, Report
from explorer.values import (
    ChannelGraph,
    Cost,
    Estimate,
    Latency,
    Plan,
    Recovery,
    Request,
)
from explorer.zoo import Network
from explorer.zoo.networks import NETWORKS


@dataclass(frozen=True)
class Cut:
    network: Network
    graph: ChannelGraph
    plan: Plan
    model: nn.Module
    report: Report

    @property
    def all(self):
        return self.network, self.graph, self.plan, self.model, self.report


def measured(cost: Cost, correct: int, milliseconds: float) -> Measured:
    latency = Latency(1, milliseconds / 1000, milliseconds / 1100, milliseconds / 900, 20)
    return Measured(
        Estimate("key", correct, 200, 200), Estimate("key", correct - 1, 100, 100), cost, (latency,)
    )


def make_cut(name: str) -> Cut:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        example = torch.randn(1, 1, 28, 28)
        model = explorer.live_weights(NETWORKS[name](), example)
    source = inspect.getsourcefile(type(model))
    network = Network(name, model, example, None, Normalize(0.25, 0.5), source)
    graph = explorer.trace(model, example)
    scores = explorer.score(network, graph, "random", seed=3)
    plan = explorer.allocate(graph, scores, keep=0.4)
    shrunk = explorer.shrink(model, graph, plan)
    report = Report(
        Request("random", keep=0.4, recovery=Recovery(), seed=3),
        measured(explorer.cost(graph), 90, 4.0),
        measured(explorer.cost(graph, plan), 60, 2.0),
        explorer.prove(model, graph, plan, example),
    )
    return Cut(network, graph, plan, shrunk, report)


@pytest.fixture(scope="session")
def cuts() -> dict[str, Cut]:
    return {name: make_cut(name) for name in NETWORKS}


@pytest.fixture
def cut(cuts) -> Cut:
    return cuts["resnet20"]
