"""Networks of two inputs, and networks of other types than float32, from images to a recovered smaller network."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import explorer
from explorer.capture import gate_gradients
from explorer.data import Data, Images, identity
from explorer.evaluate.live import LiveEvaluation
from explorer.values import Recovery

torch.manual_seed(0)
A, B = torch.randn(120, 3, 12, 12), torch.randn(120, 3, 12, 12)
Y = torch.arange(120) % 3
FORM = {"before": 0, "after": 1}


class Pair(nn.Module):
    """Tells the classes apart by how both pictures differ."""

    def __init__(self) -> None:
        super().__init__()
        self.c, self.n = nn.Conv2d(3, 8, 3, 1, 1), nn.BatchNorm2d(8)
        self.d, self.m = nn.Conv2d(16, 12, 3, 2, 1), nn.BatchNorm2d(12)
        self.f = nn.Linear(12, 3)

    def features(self, x: Tensor) -> Tensor:
        return torch.relu(self.n(self.c(x)))

    def both(self, x: Tensor, y: Tensor) -> Tensor:
        z = torch.cat([self.features(x), self.features(y)], 1)
        return self.f(torch.relu(self.m(self.d(z))).mean((2, 3)))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.both(x, y)


class InDict(Pair):
    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        return self.both(batch["before"], batch["after"])


class Named(Pair):
    def forward(self, *, before: Tensor, after: Tensor) -> Tensor:
        return self.both(before, after)


CALLS: dict[type[Pair], Any] = {
    Pair: lambda m, a, b: m(a, b),
    InDict: lambda m, a, b: m({"before": a, "after": b}),
    Named: lambda m, a, b: m(before=a, after=b),
}


def loaded(kind: type[Pair]) -> explorer.Network:
    torch.manual_seed(1)
    form = None if kind is Pair else FORM
    train, explore = (
        Images(A[rows], Y[rows], identity, more=(B[rows],), form=form)
        for rows in (slice(0, 60), slice(60, 120))
    )
    return explorer.load(kind(), data=Data("two", ("a", "b", "c"), train, explore, None))


@pytest.mark.parametrize("kind", CALLS)
def test_accuracy_is_that_of_calling_by_hand(kind: type[Pair]) -> None:
    net = loaded(kind)
    with torch.no_grad():
        right = CALLS[kind](net.model, A[60:], B[60:]).argmax(1) == Y[60:]
    found = explorer.evaluate(net.model, net.data)
    assert (found.correct, found.of) == (int(right.sum()), 60)


@pytest.mark.parametrize("kind", CALLS)
def test_gate_gradients_are_the_slopes_of_the_loss_by_each_channel(kind: type[Pair]) -> None:
    net = loaded(kind)
    graph = explorer.trace(net.model, net.example)
    assert net.data is not None
    assert net.data.train is not None
    found = gate_gradients(net.model, graph, net.data.train.inputs(), Y[:60])["d"]
    gate = torch.ones(60, 12, 1, 1, requires_grad=True)

    def gated(_m: nn.Module, _given: Any, z: Tensor) -> Tensor:
        return z * gate

    net.model.m.register_forward_hook(gated)
    loss = cross_entropy(CALLS[kind](net.model, A[:60], B[:60]), Y[:60], reduction="sum")
    (slope,) = torch.autograd.grad(loss, gate)
    torch.testing.assert_close(found, slope.flatten(1), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", CALLS)
@pytest.mark.parametrize("how", ["merge", "refit", "refit_sequential"])
def test_repairs_take_two_inputs(kind: type[Pair], how: Any) -> None:
    net = loaded(kind)
    graph = explorer.trace(net.model, net.example)
    plan = explorer.allocate(graph, explorer.score(net, graph, "mean_activation"), keep=0.6)
    bare = explorer.shrink(net.model, graph, plan)
    healed = explorer.repair(net.model, graph, plan, how=how, images=net.data)
    assert type(healed) is kind
    with torch.no_grad():
        dense, cut, now = (CALLS[kind](model, A[:60], B[:60]) for model in (net.model, bare, healed))
    if how != "merge":  # which needs channels that are alike
        assert float((now - dense).square().mean()) < float((cut - dense).square().mean())


@pytest.mark.parametrize("kind", CALLS)
def test_recovery_trains_on_two_inputs(kind: type[Pair]) -> None:
    net = loaded(kind)
    losses = []
    explorer.recover(net.model, net.data, epochs=12, progress=lambda step: losses.append(step.loss))
    assert np.mean(losses[-2:]) < np.mean(losses[:2])


def test_the_live_evaluation_counts_two_inputs() -> None:
    net = loaded(InDict)
    graph = explorer.trace(net.model, net.example)
    plan = explorer.allocate(graph, explorer.score(net, graph, "l1"), keep=0.5)
    assert net.data is not None
    *_, last = LiveEvaluation(net, graph, net.data).estimates(plan, Recovery())
    small = explorer.shrink(net.model, graph, plan)
    assert (last.correct, last.seen) == (explorer.evaluate(small, net.data).correct, 60)


@pytest.mark.parametrize("method", ["dmcp", "manidp"])
def test_methods_train_on_two_inputs(method: str) -> None:
    net = loaded(InDict)
    found = explorer.search(net, method, epochs=1, batch=15)
    assert found.network is not None


def network(dtype: torch.dtype) -> nn.Module:
    torch.manual_seed(0)
    first = [nn.Conv2d(3, 8, 3, 1, 1), nn.BatchNorm2d(8), nn.ReLU()]
    second = [nn.Conv2d(8, 12, 3, 1, 1), nn.BatchNorm2d(12), nn.ReLU()]
    model = nn.Sequential(*first, *second, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 3))
    for norm in (model[1], model[4]):
        nn.init.uniform_(norm.weight, 0.5, 1.5)
    return model.to(dtype)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("pixels", [A, A.double(), A.half(), (A * 40 + 128).clamp(0, 255).to(torch.uint8)])
def test_networks_get_images_in_their_type(dtype: torch.dtype, pixels: Tensor) -> None:
    net = explorer.load(network(dtype), data=(pixels, Y))
    assert net.example.dtype == dtype
    assert net.data is not None
    assert net.data.explore.pixels.dtype == (torch.uint8 if pixels.dtype == torch.uint8 else torch.float32)
    inputs = pixels.float() / 255 if pixels.dtype == torch.uint8 else pixels.float()
    with torch.no_grad():
        right = net.model(inputs.to(dtype)).argmax(1) == Y
    assert abs(explorer.evaluate(net.model, net.data).correct - int(right.sum())) <= 1  # of equal halves


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("criterion", ["l1", "l2", "fpgm", "bn_gamma", "taylor", "mean_activation", "obs"])
def test_networks_of_any_float_are_ranked_as_in_float32(dtype: torch.dtype, criterion: str) -> None:
    scores = {}
    for kind in (torch.float32, dtype):
        net = explorer.load(network(kind), data=(A, Y))
        graph = explorer.trace(net.model, net.example)
        scores[kind] = explorer.score(net, graph, criterion).by_group
        assert all(found.dtype == np.float32 for found in scores[kind].values())
    for group in scores[dtype]:
        one, other = (each[group] for each in scores.values())
        assert np.corrcoef(one, other)[0, 1] > 0.95


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_networks_of_any_float_are_cut_repaired_and_trained(dtype: torch.dtype) -> None:
    net = explorer.load(network(dtype), data=(A, Y))
    graph = explorer.trace(net.model, net.example)
    plan = explorer.allocate(graph, explorer.score(net, graph, "l1"), keep=0.6)
    assert explorer.prove(net.model, graph, plan, A[:4]).ok
    healed = explorer.repair(net.model, graph, plan, how="refit", images=(A, Y))
    trained = explorer.recover(healed, (A, Y), bn=True, epochs=1)
    assert {each.dtype for each in trained.parameters()} == {dtype}
    assert explorer.evaluate(trained, net.data).of == 120
    assert explorer.measure_latency(trained, A[:1], 2, runs=1).batch == 2


@dataclass
class Scores:
    scores: Tensor
    note: str = ""


class Answers(Pair):
    def __init__(self, wrap: Any) -> None:
        super().__init__()
        self.wrap = wrap

    def forward(self, x: Tensor, y: Tensor) -> Any:
        return self.wrap(self.both(x, y))


@pytest.mark.parametrize("wrap", [Scores, lambda z: {"scores": z}, lambda z: {"logits": z, "note": ""}])
def test_outputs_that_hold_one_tensor_are_judged_by_it(wrap: Any) -> None:
    torch.manual_seed(1)
    net = explorer.load(Answers(wrap), data=((A, B), Y))
    with torch.no_grad():
        right = int((net.model.both(A, B).argmax(1) == Y).sum())
    assert explorer.evaluate(net.model, net.data).correct == right
    graph = explorer.trace(net.model, net.example)
    assert "taylor" in explorer.score(net, graph, "taylor").criterion
