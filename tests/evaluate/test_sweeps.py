"""Sweeps against networks small enough to know what every cut does to them."""

import pytest
import torch
from torch import Tensor, nn

import explorer
from explorer.allocate import plan_widths
from explorer.data import Data, Images, identity
from explorer.errors import BadInput, Interrupted
from explorer.evaluate import evaluate, recover
from explorer.evaluate.sweeps import KEEPS, SEEDS, bands, sensitivity
from explorer.repair import gather
from explorer.surgery import shrink
from explorer.values import ChannelGraph, Recovery, Scores
from tests.evaluate.toys import Toy, fingerprint, images_of, livened


class Signs(nn.Module):
    """(N, 1, 2, 2) -> (N, 2): class 1 if the image is positive, told by unit 0 of `sign` alone.

    `sign` has units relu(x), 0, 0, 0 and feeds the first logit; `idle` has four units with weight 0 downstream.
    """

    def __init__(self) -> None:
        super().__init__()
        self.sign, self.idle = nn.Conv2d(1, 4, 1), nn.Conv2d(1, 4, 1)
        self.use_sign, self.use_idle = nn.Conv2d(4, 2, 1), nn.Conv2d(4, 2, 1)
        for weights in self.parameters():
            nn.init.zeros_(weights)
        with torch.no_grad():
            self.sign.weight[0] = 1.0
            self.idle.weight += 1.0
            self.use_sign.weight[1, 0] = 1.0
            self.use_sign.bias[0] = 0.1  # with nothing read, class 0

    def forward(self, x: Tensor) -> Tensor:
        used = self.use_sign(torch.relu(self.sign(x))) + self.use_idle(torch.relu(self.idle(x)))
        return used.mean((2, 3))


EXAMPLE = torch.zeros(1, 1, 2, 2)
KEEPS_SIGN = {"sign": [4.0, 3.0, 2.0, 1.0], "idle": [4.0, 3.0, 2.0, 1.0]}
CUTS_SIGN = {"sign": [1.0, 2.0, 3.0, 4.0], "idle": [4.0, 3.0, 2.0, 1.0]}


def signs_data() -> Data:
    """Ten images: 6 positive ones, then 4 negative ones."""
    values = torch.tensor([1.0] * 6 + [-1.0] * 4)
    images = Images(values.view(-1, 1, 1, 1).expand(-1, 1, 2, 2).contiguous(), (values > 0).long(), identity)
    return Data("signs", ("negative", "positive"), None, images, None)


def scored(graph: ChannelGraph, by_layer: dict[str, list[float]]) -> Scores:
    names = {group.id: group.layers[0] for group in graph.prunable}
    return Scores("hand", {name: by_layer[layer] for name, layer in names.items()}, comparable=False)


def lost_by_layer(by_layer: dict[str, list[float]], **options: int) -> dict[str, float]:
    model = Signs().eval()
    graph = explorer.trace(model, EXAMPLE)
    found = dict(sensitivity(model, graph, signs_data(), scored(graph, by_layer), **options))
    return {graph.group(name).layers[0]: lost for name, lost in found.items()}


def test_a_group_that_nothing_depends_on_loses_nothing() -> None:
    assert lost_by_layer(KEEPS_SIGN) == {"sign": 0.0, "idle": 0.0}


def test_a_group_that_loses_its_only_useful_unit_loses_what_that_unit_told() -> None:
    # Without unit 0 of `sign` every image is class 0: the 6 positive of 10 images are lost.
    assert lost_by_layer(CUTS_SIGN) == pytest.approx({"sign": 60.0, "idle": 0.0})


def test_only_the_first_images_are_looked_at() -> None:
    # The first six images are all positive, so all of them are lost.
    assert lost_by_layer(CUTS_SIGN, images=6) == pytest.approx({"sign": 100.0, "idle": 0.0})


def test_a_cut_that_helps_has_lost_less_than_nothing() -> None:
    model = Signs().eval()
    graph = explorer.trace(model, EXAMPLE)
    with torch.no_grad():
        model.use_idle.weight[0] = 10.0  # `idle` shouts class 0 at every positive image
    scores = scored(graph, {"sign": KEEPS_SIGN["sign"], "idle": [1.0, 1.0, 1.0, 1.0]})
    with torch.no_grad():
        model.idle.weight[:2] = 0.0  # its first half is silent, and ties keep the first
    lost = dict(sensitivity(model, graph, signs_data(), scores))
    idle = next(group.id for group in graph.prunable if group.layers == ("idle",))
    assert lost[idle] == pytest.approx(-60.0)


@pytest.fixture
def toy(model: nn.Module) -> tuple[nn.Module, ChannelGraph, Scores]:
    graph = explorer.trace(model, torch.zeros(1, 1, 6, 6))
    return model, graph, explorer.score(model, graph, "l1")


def test_sensitivity_is_the_road_walked_by_hand_cheapest_first(toy, data: Data) -> None:
    model, graph, scores = toy
    before = fingerprint(model)
    found = list(sensitivity(model, graph, data, scores))
    assert fingerprint(model) == before
    dense = evaluate(model, data).accuracy
    costs = []
    for name, lost in found:
        plan = plan_widths(graph, scores, {name: graph.group(name).size // 2})
        cut = recover(shrink(model, graph, plan), data)
        assert lost == pytest.approx(100 * (dense - evaluate(cut, data).accuracy))
        costs.append(explorer.cost(graph, plan).macs)
    assert {name for name, _lost in found} == {group.id for group in graph.prunable}
    assert costs == sorted(costs)


@pytest.mark.parametrize("budget", ["macs", "params"])
def test_no_point_of_a_band_costs_more_than_its_share(toy, data: Data, budget: str) -> None:
    model, graph, scores = toy
    dense = explorer.cost(graph)
    points = list(bands(model, graph, data, scores, budget, images=40))
    assert points
    for point in points:
        assert getattr(point.cost, budget) <= point.keep * getattr(dense, budget)
        assert (point.estimate.seen, point.estimate.of) == (40, 40)


def test_uniform_first_then_each_seed_at_the_same_widths(toy, data: Data) -> None:
    model, graph, scores = toy
    points = list(bands(model, graph, data, scores, images=40))
    reachable = [point.keep for point in points if point.kind == "uniform"]
    assert reachable == list(KEEPS[: len(reachable)])
    assert [(p.kind, p.keep) for p in points] == [
        (kind, keep)
        for kind in ("uniform", *["random"] * len(SEEDS), *["drawn"] * len(SEEDS))
        for keep in reachable
    ]
    own = {keep: explorer.cost(graph, explorer.allocate(graph, scores, keep)).macs for keep in reachable}
    costs = {point.keep: point.cost.macs for point in points if point.kind == "uniform"}
    assert all(point.cost.macs == costs[point.keep] for point in points if point.kind != "drawn")
    assert all(point.cost.macs == own[point.keep] for point in points if point.kind == "drawn")
    for kinds in (("uniform", "random"), ("drawn",)):  # as many different choices of channels
        keys = {point.estimate.state_key for point in points if point.keep == 0.6 and point.kind in kinds}
        assert len(keys) == len(SEEDS) + (len(kinds) == 2)


@pytest.mark.parametrize(("asked", "done"), [("none", "none"), ("bn", "bn"), ("3", "bn")])
def test_a_band_recovers_as_asked_but_never_trains(toy, data: Data, asked: str, done: str) -> None:
    model, graph, scores = toy
    point = next(bands(model, graph, data, scores, recovery=Recovery.parse(asked)))
    plan = explorer.allocate(graph, scores, point.keep, allocation="uniform")
    cut = recover(shrink(model, graph, plan), data, bn=done == "bn")
    assert point.estimate.correct == evaluate(cut, data).correct
    assert point.recovery == Recovery.parse(done)


def test_a_sweep_repairs_as_asked_with_moments_that_are_known(toy, data: Data) -> None:
    model, graph, scores = toy
    observed = gather(model, graph, data.train)
    refit = Recovery.parse("refit+bn")
    point = next(bands(model, graph, data, scores, recovery=refit, observed=observed))
    plan = explorer.allocate(graph, scores, point.keep, allocation="uniform")
    cut = recover(model, data, repair="refit", graph=graph, plan=plan)
    assert point.estimate.correct == evaluate(cut, data).correct
    assert point.recovery == refit
    known = dict(sensitivity(model, graph, data, scores, refit, observed=observed))
    assert known == dict(sensitivity(model, graph, data, scores, refit))


def test_without_training_images_nothing_is_re_estimated(toy) -> None:
    model, graph, scores = toy
    data = Data("toys", ("a", "b", "c", "d"), None, images_of(100), None)
    point = next(bands(model, graph, data, scores))
    plan = explorer.allocate(graph, scores, point.keep, allocation="uniform")
    assert point.estimate.correct == evaluate(shrink(model, graph, plan), data).correct
    assert point.recovery == Recovery()


def test_shares_below_the_smallest_network_are_left_out() -> None:
    class Two(nn.Module):  # two channels: half of them is the least there is
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Conv2d(1, 2, 1), nn.Conv2d(2, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.first(x)).mean((2, 3))

    model = Two().eval()
    graph = explorer.trace(model, torch.zeros(1, 1, 6, 6))
    data = Data("toys", ("a", "b", "c", "d"), None, images_of(20), None)
    points = list(bands(model, graph, data, explorer.score(model, graph, "l1")))
    assert {point.keep for point in points} == {0.9, 0.75, 0.6, 0.5}
    assert {point.cost.macs / explorer.cost(graph).macs for point in points} == {0.5}


def test_the_check_ends_a_sweep(toy, data: Data) -> None:
    model, graph, scores = toy
    calls = 0

    def check() -> None:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise Interrupted("enough")

    with pytest.raises(Interrupted):
        list(bands(model, graph, data, scores, check=check))
    assert calls == 4


def test_what_is_no_data_is_refused_in_words(toy) -> None:
    model, graph, scores = toy
    with pytest.raises(BadInput, match="load the network"):
        next(sensitivity(model, graph, None, scores))


def test_a_band_of_a_livened_network_is_the_same_twice(data: Data) -> None:
    model = livened(Toy(), seed=3).eval()
    graph = explorer.trace(model, torch.zeros(1, 1, 6, 6))
    scores = explorer.score(model, graph, "l1")
    first, second = ([p.estimate for p in bands(model, graph, data, scores, images=30)] for _ in range(2))
    assert first == second


def test_bands_of_a_network_without_batch_norm_say_that_nothing_was_done() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
    )
    images = Images(torch.rand(12, 1, 6, 6), torch.arange(12) % 3, identity)
    data = Data("noise", ("a", "b", "c"), images, images, None)
    graph = explorer.trace(model, images.pixels[:1])
    points = list(bands(model, graph, data, explorer.score(model, graph, "l1")))
    assert points
    assert {point.recovery for point in points} == {Recovery()}
