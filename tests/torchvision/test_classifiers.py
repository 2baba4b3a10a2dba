"""Every classifier that torchvision registers: traced, costs counted, half of its channels cut and proven."""

import pytest
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

import explorer
from explorer.values import ChannelGraph, Plan
from tests.graph.properties import heard_noise, mutable_readers, readers, unnoticed_mutations, wrong_costs
from tests.networks import THOROUGH, inputs_like, random_plan
from tests.torchvision.classifiers import FAMILIES, GIANTS, NAMES, build, example_of

HERE = NAMES if THOROUGH > 1 else tuple(name for name in NAMES if name not in GIANTS)
FLOAT32 = 1e-4
AUXILIARY = {"googlenet": 3, "inception_v3": 2}  # how many logits they return while they train


def prepared(name: str) -> tuple[nn.Module, ChannelGraph, Plan, Tensor]:
    example = example_of(name)
    model = explorer.live_weights(build(name), example)
    graph = explorer.trace(model, example)
    return model, graph, random_plan(graph, 1, share=0.5), inputs_like(example, 2)


def test_every_registered_classifier_is_here() -> None:
    assert len(NAMES) >= 80
    assert set(NAMES) >= GIANTS | set(FAMILIES) - {"maxvit"}


@pytest.mark.slow
@pytest.mark.parametrize("name", HERE)
def test_half_of_the_channels_go_with_the_right_costs_and_a_conclusive_proof(name: str) -> None:
    model, graph, plan, images = prepared(name)
    assert len(graph.prunable) > 0
    assert all(0 < width < graph.group(group).size for group, width in plan.widths.items())
    assert explorer.prove(model, graph, plan, images).conclusive
    assert wrong_costs(graph, None, model, (images[:1],)) == []
    shrunk = explorer.shrink(model, graph, plan)
    assert wrong_costs(graph, plan, shrunk, (images[:1],)) == []
    assert counted_less(graph, plan)
    with torch.no_grad():
        logits = [leaf for leaf in tree_leaves(shrunk.train()(images)) if isinstance(leaf, Tensor)]
    assert [tuple(leaf.shape) for leaf in logits] == [(2, 1000)] * AUXILIARY.get(name, 1)


def counted_less(graph: ChannelGraph, plan: Plan) -> bool:
    dense, small = explorer.cost(graph), explorer.cost(graph, plan)
    return small.macs < dense.macs and small.params < dense.params


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_wrong_surgery_on_any_reader_would_be_noticed_and_removed_channels_are_not_heard(name: str) -> None:
    model, graph, plan, images = prepared(name)
    one = (images[:1],)
    assert heard_noise(graph, plan, model, one, 1e-6) == []
    assert set(mutable_readers(graph, plan)) == set(readers(graph))
    assert unnoticed_mutations(explorer.shrink(model, graph, plan), readers(graph), one, FLOAT32) == []
