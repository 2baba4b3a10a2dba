"""Structures from chains: rounded and repaired, drawn, and uniform at equal cost."""

import numpy as np
import pytest

import explorer
from explorer.chains import Chain
from explorer.costs import cost, totals
from explorer.methods.structure import (
    all_widths,
    direct_sample,
    expected_structure,
    prefix_plan,
    reachable,
    repaired,
    uniform,
)
from tests.methods.test_gates import random_chains
from tests.methods.test_supernet import chains_of
from tests.networks import BUNDLED, graph_of


def share_of(graph: explorer.ChannelGraph, widths: dict[str, int], kind: str = "macs") -> float:
    return getattr(cost(graph, prefix_plan(graph, widths)), kind) / getattr(cost(graph), kind)


def test_a_prefix_plan_keeps_the_first_units() -> None:
    graph = graph_of("vgg")
    name = graph.prunable[0].id
    plan = prefix_plan(graph, {name: 3})
    assert np.flatnonzero(plan.keep[name]).tolist() == [0, 1, 2]
    assert all(kept.all() for other, kept in plan.keep.items() if other != name)


@pytest.mark.parametrize("width", [0, 10_000, 2.5, True])
def test_no_width_that_is_none(width: object) -> None:
    graph = graph_of("vgg")
    with pytest.raises(explorer.BadInput, match="width of"):
        prefix_plan(graph, {graph.prunable[0].id: width})  # type: ignore[dict-item]


@pytest.mark.parametrize("name", BUNDLED)
@pytest.mark.parametrize("kind", ["macs", "params"])
def test_the_expected_structure_meets_the_target(name: str, kind: str) -> None:
    graph = graph_of(name)
    chains = random_chains(graph, 6)
    expected = np.array([chain.expected for chain in chains])
    target = float(totals(graph, all_widths(graph, chains, expected), kind)) / float(
        totals(graph, graph.sizes, kind)
    )
    widths = expected_structure(graph, chains, target, kind)
    assert share_of(graph, widths, kind) == pytest.approx(target, rel=0.01)
    away = [abs(widths[chain.group] - chain.expected) for chain in chains]
    assert sum(away) <= len(chains)  # rounding and a few units of repair, no new structure


@pytest.mark.parametrize("name", BUNDLED)
@pytest.mark.parametrize("kind", ["macs", "params"])
def test_the_expected_structure_in_multiples_never_exceeds_the_target(name: str, kind: str) -> None:
    graph = graph_of(name)
    chains = random_chains(graph, 6)
    least = min(1.0, reachable(graph, chains, kind) + 0.35)
    widths = expected_structure(graph, chains, least, kind, multiple=4)
    assert 0.8 * least <= share_of(graph, widths, kind) <= least
    for chain in chains:
        assert widths[chain.group] >= chain.least
        assert widths[chain.group] % 4 == 0 or widths[chain.group] == chain.size
    with pytest.raises(explorer.BadInput, match="multiple"):
        expected_structure(graph, chains, least, kind, multiple=0)


def test_a_repair_moves_the_unit_that_comes_nearest() -> None:
    """One convolution of 10 x 10 outputs: a channel of it costs 2,700 MACs and 4 of the head."""
    from tests.networks import IMAGE, Written, conv, pooled

    net = Written(
        lambda net, x: net.head(pooled(net.b(net.a(x)))), a=conv(3, 8), b=conv(8, 8), head=torch_linear(8)
    )
    graph = explorer.trace(net, IMAGE)
    chains = [Chain(group.id, 8, 1, 1, np.zeros(7)) for group in graph.prunable]
    now = np.array([5, 5])
    costs = {}
    for place in (0, 1):
        for change in (-1, 1):
            moved = now.copy()
            moved[place] += change
            costs[tuple(moved)] = int(totals(graph, all_widths(graph, chains, moved), "macs"))
    for widths, macs in costs.items():
        assert tuple(repaired(graph, chains, now, macs)) == widths


def torch_linear(inputs: int):  # type: ignore[no-untyped-def]
    from torch import nn

    return nn.Linear(inputs, 4)


@pytest.mark.parametrize("name", BUNDLED)
@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_uniform_costs_the_same_and_is_uniform(name: str, share: float) -> None:
    graph = graph_of(name)
    chains = random_chains(graph, 7)
    like = expected_structure(graph, chains, share)
    found = uniform(graph, like)
    assert abs(share_of(graph, found) / share_of(graph, like) - 1) <= 0.02
    kept = [found[chain.group] / chain.size for chain in chains]
    room = max(2 / chain.size for chain in chains)
    assert max(kept) - min(kept) <= 2 * room + 0.05


def test_drawn_structures_are_within_the_tolerance_and_repeat() -> None:
    graph = graph_of("resnet20")
    chains = random_chains(graph, 8)
    target = float(
        np.median(totals(graph, all_widths(graph, chains, np.array([[c.expected for c in chains]])), "macs"))
    )
    target /= cost(graph).macs
    found = direct_sample(graph, chains, target, count=5, tolerance=0.05)
    assert len(found) == 5
    assert all(abs(share_of(graph, widths) / target - 1) <= 0.05 for widths in found)
    assert all(widths[c.group] in c.widths for widths in found for c in chains)
    assert found == direct_sample(graph, chains, target, count=5, tolerance=0.05)
    assert found != direct_sample(graph, chains, target, count=5, tolerance=0.05, seed=1)


def test_drawing_gives_up_with_the_nearest() -> None:
    graph = graph_of("resnet20")
    closed = chains_of(graph, -30.0)
    with pytest.raises(explorer.NotReachable, match=r"None of 2,500 drawn networks .* nearest was \d"):
        direct_sample(graph, closed, 0.5, tries=2_500)


def test_what_no_width_reaches_is_refused() -> None:
    graph = graph_of("resnet20")
    chains = chains_of(graph)
    least = reachable(graph, chains, "macs")
    with pytest.raises(explorer.NotReachable, match="least width"):
        expected_structure(graph, chains, least / 2)
    with pytest.raises(explorer.UnknownName, match="flops"):
        expected_structure(graph, chains, 0.5, "flops")
