"""Random networks of all operators and random plans: whatever the rules freeze, surgery and costs are right."""

import copy

import pytest
import torch
from hypothesis import event, given
from hypothesis import strategies as st
from torch import Tensor, nn

import explorer
from tests.evaluate.toys import fingerprint
from tests.graph.blocks import BLOCKS
from tests.graph.composer import Spec
from tests.graph.heads import HEADS, OUTPUTS, TOKENS
from tests.graph.movers import MOVES
from tests.graph.properties import (
    PRECISE,
    as_images,
    double,
    heard_noise,
    mutable_readers,
    unnoticed_mutations,
    visible,
    wrong_costs,
    wrong_widths,
)
from tests.networks import examples, random_plan, seeds

ALL_BLOCKS = [*BLOCKS, *MOVES, *TOKENS]
options = st.integers(0, 11)
specs = st.builds(
    Spec,
    dims=st.sampled_from((2, 2, 2, 1, 3)),
    steps=st.lists(st.tuples(st.sampled_from(ALL_BLOCKS), options, options), min_size=1, max_size=6).map(
        tuple
    ),
    head=st.tuples(st.sampled_from(sorted(HEADS)), options),
    output=st.sampled_from(("tensor", *sorted(set(OUTPUTS) - {"tensor"}))),
    seed=st.integers(0, 9),
    two_inputs=st.sampled_from((False, False, False, True)),
)


def check(spec: Spec, seed: int) -> bool:
    """Every property of one random network under one random plan; whether the plan cut anything visible."""
    model = explorer.live_weights(spec.build(), spec.example, spec.seed).train()
    before = fingerprint(model)
    graph = explorer.trace(model, spec.example)
    plan = random_plan(graph, seed)
    one, few = spec.batch(1, seed), spec.batch(4, seed + 1)
    assert all(group.reason for group in graph.groups if not group.prunable)
    assert not any(group.reason for group in graph.prunable)
    assert wrong_costs(graph, None, copy.deepcopy(model).eval(), one) == []

    shrunk = explorer.shrink(model, graph, plan)
    assert wrong_costs(graph, plan, shrunk, one) == []
    assert wrong_widths(graph, plan, explorer.trace(shrunk, spec.example)) == []
    precise = copy.deepcopy(model).double()
    proof = explorer.prove(precise, graph, plan, as_images(double(few)))
    assert proof.ok, proof
    seen = visible(graph, plan, precise.eval(), double(few))
    assert proof.conclusive or not seen, proof
    assert fingerprint(model) == before

    if seen:
        small = explorer.shrink(precise, graph, plan)
        assert heard_noise(graph, plan, precise, double(few), PRECISE) == []
        assert unnoticed_mutations(small, mutable_readers(graph, plan)[:4], double(few), PRECISE) == []
    if trains(
        copy.deepcopy(model), few
    ):  # an operator in place may spoil what another needs for its gradient
        assert trains(shrunk, few)
        assert all(p.grad is None or p.grad.shape == p.shape for p in shrunk.parameters())
    return seen


def trains(model: nn.Module, inputs: tuple[Tensor, ...]) -> bool:
    """Whether one step backward from all outputs works."""
    outputs = model.train()(*inputs)
    try:
        sum(leaf.square().mean() for leaf in torch.utils._pytree.tree_leaves(outputs)).backward()
    except RuntimeError:
        return False
    return True


@examples(400)
@given(spec=specs, seed=seeds)
def test_any_network_and_any_plan(spec: Spec, seed: int) -> None:
    event("conclusive" if check(spec, seed) else "nothing visible was cut")


@pytest.mark.parametrize("block", ALL_BLOCKS)
def test_every_block_between_two_convolutions(block: str) -> None:
    for option in range(3):
        step = (block, option, option)
        check(Spec(2, (("plain", 2, 0), step, ("plain", 1, 1)), ("linear_head", option)), option)
