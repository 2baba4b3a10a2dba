import math

import numpy as np
import pytest
import torch
from torch import nn

import explorer
from explorer.observe import maps
from explorer.values import Plan
from tests.networks import Written, conv, graph_of, inputs_like, pooled, random_plan, untrained

EXAMPLE = torch.zeros(1, 1, 28, 28)


def number(graph, name):
    return next(place for place, layer in enumerate(graph.layers) if layer.name == name)


def test_nothing_cut_is_no_error():
    graph, model = graph_of("resnet20"), untrained("resnet20")
    inputs = inputs_like(EXAMPLE, 5)
    plan = explorer.values.full_plan(graph)
    small = explorer.shrink(model, graph, plan)
    found = maps.compare(model, [small], graph, plan, 8, inputs[:1], inputs)
    assert found.error == 0
    assert found.images == 5
    assert found.kept.all()
    np.testing.assert_array_equal(found.maps[0], found.maps[1])


@pytest.mark.parametrize("seed", range(3))
def test_the_error_is_that_of_hooks_on_both_networks(seed):
    graph, model = graph_of("resnet20"), untrained("resnet20")
    plan = random_plan(graph, seed)
    small = explorer.shrink(model, graph, plan)
    inputs = inputs_like(EXAMPLE, 3, seed)
    layer = number(graph, "stage2.1.conv1")
    found = maps.compare(model, [small], graph, plan, layer, inputs[:1], inputs)
    outputs = []
    for network in (model, small):
        handle = network.stage2[1].conv1.register_forward_hook(lambda _m, _args, out: outputs.append(out))
        with torch.inference_mode():
            network(inputs)
        handle.remove()
    kept = plan.keep[graph.groups[graph.layers[layer].out_units[0, 0]].id]
    before, after = outputs[0].numpy()[:, kept], outputs[1].numpy()
    for error, rows in ((found.error, slice(None)), (found.errors[0], slice(1))):
        sizes = np.linalg.norm(after[rows] - before[rows]), np.linalg.norm(before[rows])
        assert error == pytest.approx((sizes[0] / sizes[1]) ** 2, rel=1e-4)
    np.testing.assert_array_equal(found.kept, kept)
    np.testing.assert_allclose(found.maps[1][kept], after[0], rtol=1e-4, atol=1e-5)
    assert np.isnan(found.maps[1][~kept]).all()
    np.testing.assert_allclose(found.maps[0], outputs[0][0].numpy(), rtol=1e-4, atol=1e-5)


def test_a_cut_worked_by_hand():
    first, second = nn.Conv2d(1, 2, 1, bias=False), nn.Conv2d(2, 1, 1, bias=False)
    with torch.no_grad():
        first.weight.copy_(torch.tensor([3.0, 4.0]).view(2, 1, 1, 1))
        second.weight.fill_(1.0)
    model = Written(lambda m, x: pooled(m.second(m.first(x))), first=first, second=second).eval()
    graph = explorer.trace(model, torch.zeros(1, 1, 2, 2))
    keep = {group.id: np.ones(group.size, dtype=bool) for group in graph.prunable}
    keep["first"] = np.array([True, False])
    plan = Plan(graph.key, keep)
    ones = torch.ones(2, 1, 2, 2)
    found = maps.compare(model, [explorer.shrink(model, graph, plan)], graph, plan, 1, ones[:1], ones)
    assert found.maps[0].tolist() == [[[7.0, 7.0], [7.0, 7.0]]]
    assert found.maps[1].tolist() == [[[3.0, 3.0], [3.0, 3.0]]]
    assert found.error == pytest.approx((4 / 7) ** 2)


def test_several_networks_of_a_plan_are_compared_and_the_last_on_all_images():
    graph, model = graph_of("resnet20"), untrained("resnet20")
    plan = random_plan(graph, 1)
    small, inputs = explorer.shrink(model, graph, plan), inputs_like(EXAMPLE, 3)
    layer = number(graph, "stage2.1.conv1")
    repaired = explorer.repair(model, graph, plan, "refit", inputs_like(EXAMPLE, 64, 1))
    found = maps.compare(model, [small, repaired], graph, plan, layer, inputs[:1], inputs)
    for place, network in enumerate((small, repaired), start=1):
        alone = maps.compare(model, [network], graph, plan, layer, inputs[:1], inputs)
        np.testing.assert_array_equal(found.maps[place], alone.maps[1])
        assert found.errors[place - 1] == alone.errors[0]
    assert found.error == alone.error


def test_the_outputs_of_a_linear_layer_are_single_numbers():
    torch.manual_seed(0)
    model = Written(lambda m, x: m.head(pooled(m.a(x))), a=conv(1, 4), head=nn.Linear(4, 3)).eval()
    graph = explorer.trace(model, torch.zeros(1, 1, 6, 6))
    plan = random_plan(graph, 1, share=0.5)
    inputs = inputs_like(torch.zeros(1, 1, 6, 6), 2)
    assert maps.next_layer(graph, 0) == 1
    assert maps.next_layer(graph, 1) is None
    found = maps.compare(model, [explorer.shrink(model, graph, plan)], graph, plan, 1, inputs[:1], inputs)
    assert found.maps[0].shape == (3, 1, 1)
    with torch.inference_mode():
        np.testing.assert_allclose(found.maps[0][:, 0, 0], model(inputs[:1])[0], rtol=1e-5)


def test_a_layer_that_the_pruned_network_does_not_call_has_no_error():
    torch.manual_seed(0)
    model = Written(lambda m, x: pooled(m.b(m.a(x))), a=conv(1, 2), b=conv(2, 2)).eval()
    graph = explorer.trace(model, torch.zeros(1, 1, 6, 6))
    without = Written(lambda m, x: pooled(m.a(x)), a=model.a, b=model.b).eval()
    inputs = inputs_like(torch.zeros(1, 1, 6, 6), 2)
    found = maps.compare(model, [without], graph, explorer.values.full_plan(graph), 1, inputs[:1], inputs)
    assert math.isnan(found.error)
    assert np.isnan(found.maps[1]).all()


def test_channels_of_no_prunable_group_stay():
    graph = graph_of("resnet20")
    plan = random_plan(graph, 0)
    assert maps.kept_channels(graph, plan, number(graph, "classifier")).tolist() == [True] * 10
