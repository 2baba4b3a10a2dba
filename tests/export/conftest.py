"""Small cuts of the four bundled classes, with live weights instead of trained ones, and their reports."""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
import torch
from torch import nn

import explorer
from explorer.data import Normalize, identity
from explorer.export import Measured, Report
from explorer.graph.inputs import Example, as_inputs
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
from explorer.zoo.constructor import Constructor
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
    example = torch.randn(1, 1, 28, 28, generator=torch.Generator().manual_seed(1))
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = explorer.live_weights(NETWORKS[name](), example)
    source = inspect.getsourcefile(type(model))
    return cut_of(Network(name, model, example, None, Normalize(0.25, 0.5), source))


def cut_of(network: Network, removed: Sequence[str] = ()) -> Cut:
    """A random cut, numbers made up; `removed` are groups that go whole."""
    graph = explorer.trace(network.model, network.example)
    plan = explorer.allocate(graph, explorer.score(network, graph, "random", seed=3), keep=0.4)
    plan = Plan(graph.key, {name: kept & (name not in removed) for name, kept in plan.keep.items()})
    shrunk = explorer.shrink(network.model, graph, plan)
    report = Report(
        Request("random", keep=0.4, recovery=Recovery(), seed=3),
        measured(explorer.cost(graph), 90, 4.0),
        measured(explorer.cost(graph, plan), 60, 2.0),
        explorer.prove(network.model, graph, plan, network.example),
    )
    return Cut(network, graph, plan, shrunk, report)


def own_network(
    model: nn.Module, example: Example, constructor: Constructor | None = None, reason: str = ""
) -> Network:
    """A network of one's own with live weights, as `load` makes it of a module."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = explorer.live_weights(model, example)
    return Network(
        type(model).__name__,
        model,
        as_inputs(example),
        None,
        identity,
        None,
        constructor,
        no_constructor=reason,
    )


@pytest.fixture(scope="session")
def cuts() -> dict[str, Cut]:
    return {name: make_cut(name) for name in NETWORKS}


@pytest.fixture
def cut(cuts) -> Cut:
    return cuts["resnet20"]
