"""Networks as people have them: at full level the dense answers, and gathered the masked ones."""

import numpy as np
import pytest
import torch
import torchvision

import explorer
from explorer.dynamic.counting import macs
from explorer.dynamic.gathering import Gathered
from explorer.dynamic.network import most_active

SITES = {
    "resnet18": 16,
    "mobilenet_v2": 35,  # 52 convolutions but the stem; 16 expansions run what their depthwise ones do
    "mobilenet_v3_small": 23,  # squeeze-and-excitation stays
    "shufflenet_v2_x1_0": 39,
    "densenet121": 58,  # only the bottlenecks have batch norm directly behind them
    "squeezenet1_1": 24,  # no batch norm: neither the stem nor what answers for the classes
    "regnet_y_400mf": 48,
}


@pytest.mark.parametrize("name", SITES)
def test_any_network_has_subnetworks_for_images(name: str) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = torchvision.models.get_model(name, weights=None)
        inputs = torch.randn(3, 3, 64, 64)
    network = explorer.load(explorer.live_weights(model.eval(), inputs[:1]), data=(inputs, torch.arange(3)))
    graph = explorer.trace(network.model, network.example)
    dynamic = most_active(network, graph)
    assert len(dynamic.sites.every) == SITES[name]
    with torch.inference_mode():
        full, dense = dynamic.passed(inputs, 1.0).logits, network.model(inputs)
        passed = dynamic.passed(inputs, 0.6)
        gathered = Gathered(dynamic, 0.6).run(inputs, passed)
    torch.testing.assert_close(full, dense, rtol=1e-4, atol=1e-4 * float(dense.abs().max()))
    torch.testing.assert_close(
        gathered, passed.logits, rtol=1e-3, atol=1e-3 * float(passed.logits.abs().max())
    )
    every = np.ones((1, dynamic.sites.channels), dtype=bool)
    assert macs(graph, dynamic.sites, every)[0] == explorer.cost(graph).macs
    assert (macs(graph, dynamic.sites, passed.keep.numpy()) < 0.8 * explorer.cost(graph).macs).all()
