"""Networks that were once got wrong."""

import threading

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import explorer
from explorer.data import Data
from explorer.dynamic.gathering import Gathered, timed
from explorer.dynamic.heads import Predictor
from explorer.dynamic.network import most_active
from explorer.dynamic.sites import find_sites
from explorer.errors import BadInput
from explorer.methods import METHODS, events, search
from tests.dynamic.toys import gated, network_of
from tests.evaluate.toys import images_of

QUICK = {"epochs": 2, "batch": 16, "rate": 0.02}


def loaded(model: nn.Module) -> explorer.Network:
    return explorer.load(
        model.eval(), data=Data("toys", tuple("abcd"), images_of(64, 1), images_of(40, 2), None)
    )


class LaterNorm(nn.Module):
    """Between a site and its reader a batch norm that no convolution directly precedes, fresh: it maps 0 to 0."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = (nn.Conv2d(i, 6, 3, padding=1) for i in (1, 6, 6))
        self.norms = nn.ModuleList(nn.BatchNorm2d(6) for _ in range(3))
        self.later = nn.BatchNorm2d(6)
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norms[0](self.a(x)))
        x = functional.avg_pool2d(torch.relu(self.norms[1](self.b(x))), 2)
        x = torch.relu(self.later(x))
        return self.head(torch.relu(self.norms[2](self.c(x))).mean((2, 3)))


class ByKeyword(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 6, 3)
        self.norm = nn.BatchNorm2d(6)
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.a(input=x))
        return self.head(torch.relu(self.norm(input=self.b(input=x))).mean((2, 3)))


class BothWays(nn.Module):
    """A single 3 x 3 convolution beside a projection, and activations that are not what they look like."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.b, self.p = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 6, 3, padding=1), nn.Conv2d(4, 6, 1)
        self.one, self.two, self.last = (nn.BatchNorm2d(6) for _ in range(3))
        self.c = nn.Conv2d(6, 6, 3)
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.stem(x))
        x = torch.relu(self.one(self.b(x)) + self.two(self.p(x)))
        return self.head(functional.hardtanh(self.last(self.c(x))).mean((2, 3)))


def test_sites_hold_after_training_too() -> None:
    network = loaded(LaterNorm())
    dynamic = search(network, "manidp", **QUICK).network
    anew = find_sites(dynamic.model, dynamic.graph, network.example, normed=True)
    for now, then in zip(anew.inputs, dynamic.sites.inputs, strict=True):
        np.testing.assert_array_equal(now, then)
    inputs = network.data.explore.inputs()
    with torch.inference_mode():
        passed = dynamic.passed(inputs)
        gathered = Gathered(dynamic).run(inputs, passed)
    torch.testing.assert_close(gathered, passed.logits, rtol=1e-4, atol=1e-5)


def test_modules_may_be_called_by_keyword() -> None:
    network = loaded(ByKeyword())
    dynamic = most_active(network, explorer.trace(network.model, network.example))
    inputs = network.data.explore.inputs()
    with torch.inference_mode():
        passed = dynamic.passed(inputs, 0.5)
        torch.testing.assert_close(
            Gathered(dynamic, 0.5).run(inputs, passed), passed.logits, rtol=1e-4, atol=1e-5
        )


def test_a_projection_beside_one_convolution_is_a_shortcut_and_hardtanh_no_relu() -> None:
    network = loaded(BothWays())
    graph = explorer.trace(network.model, network.example)
    sites = find_sites(network.model, graph, network.example, normed=True)
    assert [(site.layer, site.rectified) for site in sites.every] == [("b", False), ("c", False)]


@pytest.mark.parametrize("method", ["manidp", "fbs"])
def test_networks_in_float64_train(method: str) -> None:
    model = network_of("residual").model.double()
    images = [
        explorer.Images(each.pixels, each.labels, lambda x: x.double())
        for each in (images_of(64, 1), images_of(40, 2))
    ]
    network = explorer.load(model, data=Data("double", tuple("abcd"), *images, None))
    found = search(network, method, **QUICK)
    assert next(found.network.heads.parameters()).dtype == torch.float64
    assert len(explorer.subnetworks(network, found.network)) == 40


def test_predictions_of_wide_layers_do_not_drown_in_noise() -> None:
    """The paper's standard deviation up to 64 inputs; beyond, as much noise as those have."""
    torch.manual_seed(0)
    for inputs, spread in ((16, 0.05), (64, 0.05), (1024, 0.0125)):
        weight = Predictor(inputs, 400).linear.weight
        assert float(weight.detach().std()) == pytest.approx(spread, rel=0.05)


def test_users_hooks_are_for_their_own_runs() -> None:
    network = network_of("residual")
    calls: list[int] = []
    network.model.one.a[0].register_forward_hook(lambda *_arguments: calls.append(1))
    found = explorer.subnetworks(network)
    assert len(found) == 40
    assert not calls


def test_what_a_training_cost_counts_the_images_that_thresholds_are_taken_from() -> None:
    network = network_of("residual")
    graph = explorer.trace(network.model, network.example)
    *_, last = events(network, graph, "manidp", **QUICK)
    dynamic = last.found.network
    one = explorer.cost(graph).macs + dynamic.module_macs
    phases = 7  # that begin within 8 steps after the first
    assert last.training.macs == one * 64 * (2 + 1 + phases + 1)
    assert METHODS["manidp"].epochs(graph, 10_000, {"epochs": 8}) == pytest.approx(9.1)
    assert METHODS["fbs"].epochs(graph, 500, {"epochs": 2}) == 3


def test_dynamic_networks_of_another_network_and_images_of_another_size_are_refused() -> None:
    network, other = network_of("residual"), network_of("chain")
    with pytest.raises(BadInput, match=r"expected what explorer\.search"):
        explorer.subnetworks(network, network.model)  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="whose layers are not those"):
        explorer.subnetworks(network, gated(other))
    wide = torch.zeros(4, 1, 9, 9), torch.arange(4)
    with pytest.raises(BadInput, match=r"inputs of shape \(1, 9, 9\).*traced for \(1, 6, 6\)"):
        explorer.subnetworks(network, data=wide)
    assert explorer.subnetworks(network, level=np.float32(0.5)).level == 0.5  # type: ignore[arg-type]


def test_a_network_that_trains_does_not_hold_up_another() -> None:
    """Each has a lock of its own: what one thread holds here, the other would wait for."""
    one, two = gated(network_of("residual")), gated(network_of("residual"))
    inputs = network_of("residual").data.explore.inputs(slice(0, 1))
    done = threading.Event()
    with one._running:
        thread = threading.Thread(target=lambda: (timed(two, inputs, runs=2), done.set()))
        thread.start()
        assert done.wait(60)
        thread.join()


def test_stopped_before_its_first_step_it_resumes_with_one_first_frame() -> None:
    network = network_of("residual")
    graph = explorer.trace(network.model, network.example)
    *_, halted = events(network, graph, "manidp", stop=lambda: True, **QUICK)
    *_, last = events(network, graph, "manidp", resume=halted.snapshot, **QUICK)
    assert last.run.steps.tolist() == list(range(9))
