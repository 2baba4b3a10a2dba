"""The differentiable chains against the values, and the expected cost against counted networks."""

import numpy as np
import pytest
import torch
from torch import Tensor

import explorer
from explorer.chains import Chain, draws
from explorer.costs import cost_of_widths, totals
from explorer.methods.gates import ExpectedCost, Gates
from explorer.methods.structure import all_widths, prefix_plan
from tests.counting import counted_macs
from tests.methods.test_supernet import chains_of
from tests.networks import BUNDLED, graph_of, untrained


def random_chains(graph: explorer.ChannelGraph, seed: int, spread: float = 2.0) -> tuple[Chain, ...]:
    random = np.random.default_rng(seed)
    return tuple(
        Chain(c.group, c.size, c.least, c.step, spread * random.standard_normal(c.states))
        for c in chains_of(graph)
    )


@pytest.mark.parametrize("name", BUNDLED)
@pytest.mark.parametrize("spread", [0.5, 50.0])
def test_torch_and_numpy_say_the_same(name: str, spread: float) -> None:
    graph = graph_of(name)
    chains = random_chains(graph, 1, spread)
    gates = Gates(graph, chains)
    retention = gates.retention()
    for row, chain in zip(retention.detach().numpy(), chains, strict=True):
        np.testing.assert_allclose(row[: chain.states], chain.retention, rtol=1e-9, atol=1e-300)
        assert not row[chain.states :].any()
    expected = gates.expected(retention)
    np.testing.assert_allclose(expected.detach().numpy(), [c.expected for c in chains], rtol=1e-9)
    (slope,) = torch.autograd.grad(expected.sum(), [gates.alphas])
    assert torch.isfinite(slope).all()
    np.testing.assert_allclose(
        slope.numpy(), np.concatenate([c.slope for c in chains]), rtol=1e-7, atol=1e-12
    )


@pytest.mark.parametrize("name", BUNDLED)
@pytest.mark.parametrize("kind", ["macs", "params"])
def test_expected_cost_has_the_gradient_that_differences_say(name: str, kind: str) -> None:
    """mobilenetv2's depthwise convolutions among them, where a width that divides itself away is easily lost."""
    graph = graph_of(name)
    chains = random_chains(graph, 2)
    gates, expected = Gates(graph, chains), ExpectedCost(graph, chains, kind)

    def answer(alphas: Tensor) -> Tensor:
        gates.alphas = alphas
        return expected(gates.expected(gates.retention())) / expected.dense

    assert torch.autograd.gradcheck(answer, (gates.alphas.detach().clone().requires_grad_(),), fast_mode=True)


@pytest.mark.parametrize("name", BUNDLED)
def test_at_whole_widths_it_is_what_the_built_network_executes(name: str) -> None:
    graph, model = graph_of(name), untrained(name)
    chains = random_chains(graph, 3)
    widths = draws(chains, 1)[0]
    found = ExpectedCost(graph, chains, "macs")(torch.from_numpy(widths.astype(np.float64)))
    plan = prefix_plan(graph, {c.group: int(w) for c, w in zip(chains, widths, strict=True)})
    assert found.item() == counted_macs(explorer.shrink(model, graph, plan), torch.zeros(1, 1, 28, 28))
    params = ExpectedCost(graph, chains, "params")(torch.from_numpy(widths.astype(np.float64)))
    assert params.item() == cost_of_widths(graph, all_widths(graph, chains, widths)).params


def test_open_chains_cost_the_dense_network_and_closed_ones_the_least() -> None:
    graph = graph_of("inception")
    for alpha, widths in (
        (60.0, [c.size for c in chains_of(graph)]),
        (-60.0, [c.least for c in chains_of(graph)]),
    ):
        chains = chains_of(graph, alpha)
        gates = Gates(graph, chains)
        found = ExpectedCost(graph, chains, "macs")(gates.expected(gates.retention()))
        assert found.item() == pytest.approx(
            totals(graph, all_widths(graph, chains, np.array(widths)), "macs")
        )


def mean_of_draws(graph: explorer.ChannelGraph, chains: tuple[Chain, ...]) -> tuple[float, float]:
    """(mean, standard error) of the MACs of drawn networks."""
    macs = totals(graph, all_widths(graph, chains, draws(chains, 20_000)), "macs")
    return float(macs.mean()), float(macs.std() / np.sqrt(len(macs)))


def test_it_is_the_mean_of_drawn_networks_where_no_layer_has_one_chain_on_both_sides() -> None:
    graph = graph_of("vgg")
    chains = random_chains(graph, 4)
    gates = Gates(graph, chains)
    expected = ExpectedCost(graph, chains, "macs")(gates.expected(gates.retention())).item()
    mean, error = mean_of_draws(graph, chains)
    assert abs(mean - expected) < 4 * error


def test_it_is_below_that_mean_where_one_chain_is_on_both_sides() -> None:
    """x + conv(x): the convolution reads and produces the same group, and E[w]^2 < E[w^2]."""
    from tests.networks import IMAGE, Written, conv, pooled

    net = Written(
        lambda net, x: net.head(pooled((y := net.stem(x)) + net.body(torch.relu(y)))),
        stem=conv(3, 32), body=conv(32, 32), head=torch.nn.Linear(32, 5),
    )  # fmt: skip
    graph = explorer.trace(net, IMAGE)
    chains = random_chains(graph, 5)
    gates = Gates(graph, chains)
    expected = ExpectedCost(graph, chains, "macs")(gates.expected(gates.retention())).item()
    mean, error = mean_of_draws(graph, chains)
    assert mean > expected + 10 * error
