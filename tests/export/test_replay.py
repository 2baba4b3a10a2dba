"""Replay scripts: run, they find what the explorer showed; another state's numbers they tell from it."""

import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import explorer
from explorer.data import Data, Images, identity
from explorer.data.named import NAMED
from explorer.errors import BadInput
from explorer.evaluate.live import LiveEvaluation
from explorer.export.replay import replay_script, replay_session
from explorer.records import Visit
from explorer.values import Plan, Recovery, Request, full_plan
from explorer.zoo.constructor import Constructor

BN = Recovery(bn=True)


class Bench:
    """A network, its ranking, and states of it as the explorer evaluates them."""

    def __init__(self, network: explorer.Network, criterion: str) -> None:
        self.network, self.criterion = network, criterion
        self.graph = explorer.trace(network.model, network.example)
        self.scores = explorer.score(network, self.graph, criterion)
        self.live = LiveEvaluation(network, self.graph, network.data)

    def estimate(self, plan: Plan, recovery: Recovery) -> explorer.Estimate:
        *_, last = self.live.estimates(plan, recovery)
        return last

    def by_hand(self) -> tuple[Request, Plan]:
        """One group pinned, the others standing where a budget had put them."""
        widths = dict(explorer.allocate(self.graph, self.scores, 0.7).widths)
        pinned = next(iter(widths))
        widths[pinned] -= 1
        stay = tuple((name, width) for name, width in widths.items() if name != pinned)
        request = Request(
            self.criterion, keep=0.5, widths=((pinned, widths[pinned]),), stay=stay, recovery=BN
        )
        return request, explorer.plan_widths(self.graph, self.scores, widths)


@pytest.fixture(scope="module")
def bench() -> Bench:
    return Bench(explorer.load("resnet20"), "l1")


def run(script: str, **places: object) -> dict[str, object]:
    """The script's names after running it, with `data = ...` and the like filled in."""
    for name in places:
        script, filled = re.subn(rf"^{name} = .*$", f"{name} = given[{name!r}]", script, flags=re.M)
        assert filled == 1
    namespace: dict[str, object] = {"given": places}
    exec(compile(script, "replay", "exec"), namespace)
    return namespace


def test_a_budget_is_found_again_with_the_live_accuracy(bench, capsys):
    plan = explorer.allocate(bench.graph, bench.scores, keep=0.6)
    live = bench.estimate(plan, BN)
    script = replay_script(bench.network, bench.graph, Request("l1", keep=0.6, recovery=BN), plan, BN, live)
    names = run(script)
    cost = explorer.cost(bench.graph, plan)
    assert names["found"] == {
        "plan": plan.key, "macs": cost.macs, "params": cost.params, "correct": live.correct,
    }  # fmt: skip
    assert names["shown"] == names["found"]
    assert "as the explorer showed" in capsys.readouterr().out


@pytest.mark.parametrize("code", ["merge", "merge+bn", "refit+bn", "refit_sequential", "refit+1"])
def test_a_repair_is_done_again(own, weights, code):
    _model, data, bench = own
    request = Request(keep=0.5, recovery=Recovery.parse(code))
    plan = explorer.allocate(bench.graph, bench.scores, 0.5)
    live = bench.estimate(plan, request.recovery)
    visit = Visit(0, None, request, plan, request.recovery, explorer.cost(bench.graph, plan), live)
    one = replay_script(bench.network, bench.graph, request, plan, request.recovery, live)
    names = run(one, data=data, weights=weights)
    assert names["found"] == names["shown"]
    every = run(replay_session(bench.network, bench.graph, [visit]), data=data, weights=weights)
    assert every["everything"] == [names["found"]]


def test_widths_set_by_hand_are_found_again(bench):
    request, plan = bench.by_hand()
    assert plan != explorer.allocate(bench.graph, bench.scores, request.keep)
    names = run(replay_script(bench.network, bench.graph, request, plan, Recovery(), None))
    assert names["found"] == names["shown"]
    assert names["plan"] == plan
    assert names["found"]["correct"] is None


def test_every_setting_reaches_the_plan(bench):
    pins = {"stem": 5}
    plan = explorer.allocate(bench.graph, bench.scores, 0.43, "params", "uniform", widths=pins, minimum=4)
    request = Request("l1", "uniform", "params", 0.43, tuple(pins.items()), Recovery(), minimum=4)
    assert run(replay_script(bench.network, bench.graph, request, plan, Recovery(), None))["plan"] == plan


def test_widths_in_multiples_are_found_again(bench):
    plan = explorer.allocate(bench.graph, bench.scores, 0.6, multiple=4)
    assert plan != explorer.allocate(bench.graph, bench.scores, 0.6)
    request = Request("l1", keep=0.6, recovery=Recovery(), multiple=4)
    script = replay_script(bench.network, bench.graph, request, plan, Recovery(), None)
    assert "multiple=4" in script
    assert run(script)["plan"] == plan


def test_all_groups_pinned_are_widths_by_hand(bench):
    widths = explorer.allocate(bench.graph, bench.scores, 0.5).widths
    plan = explorer.plan_widths(bench.graph, bench.scores, widths)
    request = Request("l1", keep=1e-9, widths=tuple(widths.items()), recovery=Recovery())
    assert run(replay_script(bench.network, bench.graph, request, plan, Recovery(), None))["plan"] == plan


def test_a_number_that_is_not_found_is_said(bench, capsys):
    plan = explorer.allocate(bench.graph, bench.scores, keep=0.6)
    names = run(replay_script(bench.network, bench.graph, Request("l1", keep=0.5), plan, Recovery(), None))
    assert names["found"] != names["shown"]
    assert f"but the explorer showed {names['shown']}" in capsys.readouterr().out


def small_images(count: int, seed: int) -> Images:
    draw = torch.Generator().manual_seed(seed)
    return Images(
        torch.randn(count, 2, 9, 9, generator=draw), torch.randint(3, (count,), generator=draw), identity
    )


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(2, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 8, 3), nn.ReLU()
        )
        self.head = nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(x).mean((2, 3)))


@pytest.fixture
def weights(own, tmp_path) -> Path:
    """The file of the weights that the explorer had."""
    save_file(own[0].state_dict(), tmp_path / "weights.safetensors")
    return tmp_path / "weights.safetensors"


@pytest.fixture(scope="module")
def own() -> tuple[nn.Module, Data, Bench]:
    with torch.random.fork_rng():
        torch.manual_seed(4)
        model = explorer.live_weights(Small(), torch.randn(4, 2, 9, 9))
    data = Data("my images", ("a", "b", "c"), small_images(64, 1), small_images(70, 2), None)
    return model, data, Bench(explorer.load(model, data), "l1")


def test_a_network_of_ones_own_is_made_again_and_its_weights_and_images_filled_in(own, weights):
    _model, data, bench = own
    request = Request(keep=0.5, recovery=Recovery(bn=True, epochs=1))
    plan = explorer.allocate(bench.graph, bench.scores, 0.5)
    live = bench.estimate(plan, request.recovery)
    script = replay_script(bench.network, bench.graph, request, plan, request.recovery, live)
    assert "64 train, 70 explore images of my images" in script
    assert "\nfrom tests.export.test_replay import Small\n" in script
    assert "\nmodel = Small()\n" in script
    names = run(script, data=data, weights=weights)
    assert names["found"] == names["shown"]
    assert names["found"]["correct"] == live.correct


def test_a_data_set_by_name_is_loaded_by_its_name(own):
    _model, data, bench = own
    network = replace(bench.network, data=replace(data, name=NAMED["stl10"].title))
    request, plan = bench.by_hand()
    script = replay_script(network, bench.graph, request, plan, BN, None)
    assert re.search(r"^data = (.*)$", script, re.M)[1] == '"stl10"'


def test_other_weights_are_noticed(own, capsys):
    _model, data, bench = own
    script = replay_script(bench.network, bench.graph, Request(), full_plan(bench.graph), Recovery(), None)
    run(script, data=data)
    said = "These are not the weights that the explorer had. Name the file that has them in `weights`."
    assert said in capsys.readouterr().out


def test_a_network_without_a_constructor_is_filled_in(own):
    model, data, bench = own
    network = replace(bench.network, constructor=None, no_constructor="Its class is in a notebook.")
    plan = explorer.allocate(bench.graph, bench.scores, 0.5)
    script = replay_script(network, bench.graph, Request(keep=0.5), plan, Recovery(), None)
    assert "model = ...  # fill in: your network" in script
    assert run(script, model=model, data=data)["plan"] == plan


def test_a_constructor_of_a_name_that_the_script_uses(own, weights, monkeypatch):
    _model, data, bench = own
    network = replace(bench.network, constructor=Constructor(__name__, "graph"))
    monkeypatch.setattr(sys.modules[__name__], "graph", Small, raising=False)
    plan = explorer.allocate(bench.graph, bench.scores, 0.5)
    script = replay_script(network, bench.graph, Request(keep=0.5), plan, Recovery(), None)
    assert run(script, data=data, weights=weights)["plan"] == plan


def test_a_network_of_torchvision_is_loaded_by_name():
    network = explorer.load("squeezenet1_1", example=torch.randn(1, 3, 64, 64), weights=None)
    graph = explorer.trace(network.model, network.example)
    plan = explorer.allocate(graph, explorer.score(network, graph, "l1"), 0.5)
    request = Request("l1", keep=0.5, recovery=Recovery())
    script = replay_script(network, graph, request, plan, Recovery(), None)
    assert 'net = explorer.load("squeezenet1_1", weights=None, example=torch.zeros(1, 3, 64, 64' in script
    names = run(script)
    assert names["plan"] == plan
    assert names["net"].weights_key == network.weights_key  # untrained, but always with the same numbers


def test_without_images_the_shape_of_the_input_is_enough(tmp_path):
    with torch.random.fork_rng():
        torch.manual_seed(4)
        model = Small()
    network = explorer.load(model, example=torch.randn(1, 2, 9, 9))
    graph = explorer.trace(network.model, network.example)
    plan = explorer.allocate(graph, explorer.score(network, graph, "l2"), 0.5)
    request = Request("l2", keep=0.5, recovery=Recovery())
    script = replay_script(network, graph, request, plan, Recovery(), None)
    save_file(model.state_dict(), tmp_path / "weights.safetensors")
    assert run(script, weights=tmp_path / "weights.safetensors")["plan"] == plan


def test_without_labels_the_agreement_with_the_dense_network_is_found_again(own, weights):
    _model, data, bench = own
    images = replace(data.explore, labels=None)
    unlabelled = Bench(replace(bench.network, data=replace(data, explore=images, train=None)), "l1")
    plan = explorer.allocate(unlabelled.graph, unlabelled.scores, 0.5)
    live = unlabelled.estimate(plan, Recovery())
    assert live.counts == "agreement"
    request = Request("l1", keep=0.5, recovery=Recovery())
    script = replay_script(unlabelled.network, unlabelled.graph, request, plan, Recovery(), live)
    names = run(script, data=unlabelled.network.data, weights=weights)
    assert names["found"] == names["shown"]
    assert names["found"]["correct"] == live.correct


def visits_of(bench: Bench) -> list[Visit]:
    by_hand, cut = bench.by_hand()
    half = Request(bench.criterion, keep=0.5, recovery=BN)
    states = [
        (Request(bench.criterion), full_plan(bench.graph), Recovery(), ""),
        (half, explorer.allocate(bench.graph, bench.scores, 0.5), BN, 'the "best"\\'),
        (by_hand, cut, BN, ""),
    ]
    return [
        Visit(number, number - 1 if number else None, request, plan, recovery,
              explorer.cost(bench.graph, plan), bench.estimate(plan, recovery), name)
        for number, (request, plan, recovery, name) in enumerate(states)
    ]  # fmt: skip


def test_all_visited_states_are_found_again_in_order(own, weights, capsys):
    _model, data, bench = own
    visits = visits_of(bench)
    names = run(replay_session(bench.network, bench.graph, visits), data=data, weights=weights)
    assert [found["plan"] for found in names["everything"]] == [visit.plan.key for visit in visits]
    assert [found["correct"] for found in names["everything"]] == [v.estimate.correct for v in visits]
    lines = capsys.readouterr().out.splitlines()
    assert [line.endswith("as the explorer showed") for line in lines] == [True] * 3
    assert lines[1].startswith('the "best"\\ {')


def test_without_visits_there_is_nothing_to_replay(own):
    _model, _data, bench = own
    with pytest.raises(BadInput, match="No state was visited yet"):
        replay_session(bench.network, bench.graph, [])
