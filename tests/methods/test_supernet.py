"""Subnetworks against shrunk networks, gates against masks, and where gradients go."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import explorer
from explorer.chains import Chain, chain_of
from explorer.methods.gates import Gates
from explorer.methods.structure import prefix_plan
from explorer.methods.supernet import Supernet
from tests.graph.blocks import BLOCKS
from tests.graph.composer import Spec
from tests.graph.heads import HEADS
from tests.graph.movers import MOVES
from tests.networks import BUNDLED, IMAGE, Written, conv, examples, graph_of, inputs_like, pooled, untrained


def chains_of(graph: explorer.ChannelGraph, alpha: float = 0.0, divisions: int = 8) -> tuple[Chain, ...]:
    every = (chain_of(group, alpha, divisions) for group in graph.prunable)
    return tuple(chain for chain in every if chain.states)


def still(model: nn.Module) -> nn.Module:
    """In place: train mode, but no dropout, so that two forwards can be compared."""
    model.train()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.eval()
    return model


def in_training(model: nn.Module, inputs: Tensor) -> Tensor:
    """Logits with each batch's own statistics."""
    return still(model)(inputs)


def supernet_of(model: nn.Module, graph: explorer.ChannelGraph, chains: Sequence[Chain]) -> Supernet:
    supernet = Supernet(model, graph, chains)
    still(supernet.model)
    return supernet


def shuffled_concat(net: Written, x: Tensor) -> Tensor:
    """Groups whose units are not the first positions of what reads them: concatenated, shuffled, and flattened."""
    both = torch.cat([net.a(x), net.b(x)], 1)
    n, c, h, w = both.shape
    mixed = both.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)
    y = torch.relu(net.norm(mixed))
    return net.head(torch.flatten(net.pool(net.reader(y)), 1))


def shuffled() -> tuple[nn.Module, Tensor]:
    parts = {
        "a": conv(3, 8),
        "b": conv(3, 8),
        "norm": nn.BatchNorm2d(16),
        "reader": conv(16, 8),
        "pool": nn.AdaptiveAvgPool2d(2),
        "head": nn.Linear(8 * 4, 5),
    }
    return explorer.live_weights(Written(shuffled_concat, **parts), IMAGE), IMAGE


def depthwise() -> tuple[nn.Module, Tensor]:
    parts = {
        "stem": conv(3, 12),
        "stem_norm": nn.BatchNorm2d(12),
        "deep": conv(12, 24, groups=12),
        "deep_norm": nn.BatchNorm2d(24),
        "point": nn.Conv2d(24, 10, 1),
        "norm": nn.GroupNorm(5, 10),
        "head": nn.Linear(10, 5),
    }

    def run(net: Written, x: Tensor) -> Tensor:
        x = torch.sigmoid(net.stem_norm(net.stem(x)))
        x = nn.functional.relu6(net.deep_norm(net.deep(x)))
        return net.head(pooled(torch.relu(net.norm(net.point(x)))))

    return explorer.live_weights(Written(run, **parts), IMAGE), IMAGE


NETWORKS: dict[str, Callable[[], tuple[nn.Module, Tensor]]] = {
    **{name: lambda name=name: (untrained(name), torch.zeros(1, 1, 28, 28)) for name in BUNDLED},  # type: ignore[misc]
    "shuffled": shuffled,
    "depthwise": depthwise,
}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("seed", range(3))
def test_a_subnetwork_is_the_shrunk_network(name: str, seed: int) -> None:
    model, example = NETWORKS[name]()
    graph = explorer.trace(model, example)
    chains = chains_of(graph)
    random = np.random.default_rng(seed)
    widths = np.array([random.integers(1, chain.size + 1) for chain in chains])
    inputs = inputs_like(example, 4, seed)
    plan = prefix_plan(graph, {chain.group: int(w) for chain, w in zip(chains, widths, strict=True)})
    expected = in_training(explorer.shrink(model, graph, plan), inputs)
    found = supernet_of(model, graph, chains).at(inputs, widths)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", NETWORKS)
def test_gates_of_zero_and_one_are_the_masked_network_without_statistics(name: str) -> None:
    """Batch norm takes the statistics of each batch: what is masked is read by nobody, so they do not change."""
    model, example = NETWORKS[name]()
    graph = explorer.trace(model, example)
    chains = [Chain(c.group, c.size, c.least, c.step, np.full(c.states, 50.0)) for c in chains_of(graph)]
    cut = [c.with_transition(place % c.states, 1e-9) for place, c in enumerate(chains)]
    gates = Gates(
        graph, [Chain(c.group, c.size, c.least, c.step, np.where(c.alphas < 0, -80, 50)) for c in cut]
    )
    widths = {c.group: int(c.least + c.step * (place % c.states)) for place, c in enumerate(cut)}
    inputs = inputs_like(example, 4)
    supernet = supernet_of(model, graph, cut)
    with torch.no_grad():
        found = supernet.gated(inputs, gates, gates.retention())
        masked = explorer.mask(model, graph, prefix_plan(graph, widths))
        expected = in_training(masked, inputs)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_open_gates_change_nothing_and_closed_ones_leave_the_least_network() -> None:
    """alpha = 50: the plain network. alpha = -50: the least one, with fixed statistics of batch norm."""
    graph = graph_of("resnet20")
    model = untrained("resnet20")
    inputs = inputs_like(torch.zeros(1, 1, 28, 28), 4)
    chains = chains_of(graph, 50.0)
    supernet = supernet_of(model, graph, chains)
    gates = Gates(graph, chains)
    torch.testing.assert_close(
        supernet.gated(inputs, gates, gates.retention()), supernet.full(inputs), rtol=1e-6, atol=1e-6
    )
    closed = chains_of(graph, -50.0)
    gates = Gates(graph, closed)
    plan = prefix_plan(graph, {chain.group: chain.least for chain in closed})
    fixed = supernet_of(model, graph, closed)
    fixed.model = explorer.mask(model, graph, prefix_plan(graph, {}))  # eval mode, with statistics
    expected = explorer.shrink(model, graph, plan)(inputs)
    torch.testing.assert_close(fixed.gated(inputs, gates, gates.retention()), expected, rtol=1e-5, atol=1e-5)


def test_channels_beyond_the_widths_get_no_gradient_and_the_others_the_shrunk_networks() -> None:
    model, example = NETWORKS["shuffled"]()
    graph = explorer.trace(model, example)
    chains = chains_of(graph)
    widths = np.array([max(1, chain.size // 2) for chain in chains])
    plan = prefix_plan(graph, {chain.group: int(w) for chain, w in zip(chains, widths, strict=True)})
    inputs = inputs_like(example, 4)
    supernet = supernet_of(model, graph, chains)
    supernet.at(inputs, widths).square().sum().backward()
    small = explorer.shrink(model, graph, plan)
    in_training(small, inputs).square().sum().backward()
    theirs = dict(small.named_parameters())
    for group in graph.prunable:
        for slot in group.slots:
            gradient = supernet.parameters.get(slot.tensor)
            if gradient is None:
                continue
            assert gradient.grad is not None
            gone = (slot.unit >= 0) & ~plan.keep[group.id][slot.unit]
            assert not gradient.grad.index_select(slot.dim, torch.from_numpy(np.flatnonzero(gone))).any()
    for name, parameter in supernet.parameters.items():
        expected = theirs[name].grad
        assert parameter.grad is not None
        assert expected is not None
        torch.testing.assert_close(
            parameter.grad.square().sum(), expected.square().sum(), rtol=1e-3, atol=1e-3
        )


def test_gates_learn_what_channels_answer_and_weights_do_not_move() -> None:
    """d logits / d m_k by autograd through the gates against central differences, in float64."""
    model, example = NETWORKS["depthwise"]()
    model, example = model.double(), example.double()
    graph = explorer.trace(model, example)
    chains = chains_of(graph, 0.3, divisions=4)
    supernet, gates = supernet_of(model, graph, chains), Gates(graph, chains)
    inputs = inputs_like(example, 4)

    def answer(alphas: Tensor) -> Tensor:
        gates.alphas = alphas
        return supernet.gated(inputs, gates, gates.retention()).square().sum()

    alphas = gates.alphas.detach().clone().requires_grad_()
    assert torch.autograd.gradcheck(answer, (alphas,))
    assert all(parameter.grad is None for parameter in supernet.parameters.values())


def test_a_gate_before_batch_norm_would_do_nothing_and_ours_scales() -> None:
    """Half the retention of every channel halves what the classifier reads of it: a bias alone would stay."""
    parts = {"stem": conv(3, 8), "norm": nn.BatchNorm2d(8), "head": nn.Linear(8, 5, bias=False)}
    net = Written(lambda net, x: net.head(pooled(torch.relu(net.norm(net.stem(x))))), **parts)
    model = explorer.live_weights(net, IMAGE)
    graph = explorer.trace(model, IMAGE)
    inputs = inputs_like(IMAGE, 4)
    (group,) = graph.prunable
    chain = Chain(group.id, 8, 1, 1, np.full(7, 50.0))
    gates, supernet = Gates(graph, [chain]), supernet_of(model, graph, [chain])
    whole = gates.retention()
    with torch.no_grad():
        full, first = supernet.gated(inputs, gates, whole), supernet.gated(inputs, gates, 0 * whole)
        half = supernet.gated(inputs, gates, 0.5 * whole)
        before = supernet.full(inputs)
        supernet.model.get_parameter("stem.weight").mul_(0.5)  # what a gate before batch norm would be
        after = supernet.full(inputs)
    torch.testing.assert_close(half, (full + first) / 2)
    assert (half - full).abs().max() > 0.1 * full.abs().max()
    torch.testing.assert_close(after, before, rtol=1e-3, atol=1e-3)


options = st.integers(0, 11)
specs = st.builds(
    Spec,
    dims=st.sampled_from((1, 2)),
    steps=st.lists(
        st.tuples(st.sampled_from([*BLOCKS, *MOVES]), options, options), min_size=1, max_size=4
    ).map(tuple),
    head=st.tuples(st.sampled_from(sorted(HEADS)), options),
    seed=st.integers(0, 9),
)


@examples(40)
@given(spec=specs, seed=st.integers(0, 9))
def test_random_networks_run_at_random_widths(spec: Spec, seed: int) -> None:
    model = explorer.live_weights(spec.build(), spec.example)
    graph = explorer.trace(model, spec.example)
    chains = chains_of(graph)
    if not chains:
        return
    random = np.random.default_rng(seed)
    widths = np.array([random.integers(1, chain.size + 1) for chain in chains])
    plan = prefix_plan(graph, {chain.group: int(w) for chain, w in zip(chains, widths, strict=True)})
    (inputs,) = spec.batch(4, seed)
    small = explorer.shrink(model, graph, plan)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        expected = small.train()(inputs)
        if expected.dim() != 2:
            return
        supernet = Supernet(model, graph, chains)
        torch.manual_seed(seed)
        found = supernet.at(inputs, widths)
    scale = max(1.0, float(expected.abs().max()))
    assert float((found - expected).abs().max()) <= 2e-3 * scale


def test_the_model_is_not_touched_and_another_one_is_refused() -> None:
    model, graph = untrained("vgg"), graph_of("vgg")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    chains = chains_of(graph)
    supernet = supernet_of(model, graph, chains)
    supernet.at(
        inputs_like(torch.zeros(1, 1, 28, 28), 2), np.array([c.least for c in chains])
    ).sum().backward()
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    with pytest.raises(explorer.BadInput, match="is not the one that was traced"):
        Supernet(untrained("resnet20"), graph, chains)
