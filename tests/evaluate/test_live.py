import copy
import sys
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import explorer
from explorer.data import Data
from explorer.errors import BadInput, Interrupted
from explorer.evaluate.estimates import Judge, evaluate
from explorer.evaluate.live import TRAINED, LiveEvaluation
from explorer.evaluate.recovery import TrainingStep, recover
from explorer.graph import trace
from explorer.repair import Observed
from explorer.surgery import shrink
from explorer.values import ChannelGraph, Plan, Recovery, full_plan
from tests.evaluate.toys import FOLDS, Toy, fingerprint, images_of, livened

GRAPH = cast(ChannelGraph, SimpleNamespace(folds=FOLDS))
NOTHING, BN, EPOCH = Recovery(), Recovery(bn=True), Recovery(bn=True, epochs=1)


def plan_without(*units: int) -> Plan:
    kept = np.ones(8, dtype=bool)
    kept[list(units)] = False
    return Plan("toy", {"conv2": kept})


class Cutter:
    """Stands in for surgery: removes units of conv2, and counts how often it is asked to."""

    def __init__(self) -> None:
        self.cuts = 0

    def __call__(self, model: nn.Module, graph: ChannelGraph, plan: Plan) -> nn.Module:
        self.cuts += 1
        cut: Any = copy.deepcopy(model).eval()
        kept = torch.from_numpy(plan.keep["conv2"].copy())
        for module in (cut.conv2, cut.bn2):
            module.weight = nn.Parameter(module.weight[kept])
            module.bias = nn.Parameter(module.bias[kept])
        cut.bn2.running_mean, cut.bn2.running_var = cut.bn2.running_mean[kept], cut.bn2.running_var[kept]
        cut.conv2.out_channels = cut.bn2.num_features = cut.classifier.in_features = int(kept.sum())
        cut.classifier.weight = nn.Parameter(cut.classifier.weight[:, kept])
        return cut


@pytest.fixture
def cutter() -> Cutter:
    return Cutter()


@pytest.fixture
def live(model: nn.Module, data: Data, cutter: Cutter) -> LiveEvaluation:
    return LiveEvaluation(model, GRAPH, data, shrink=cutter)


@pytest.mark.parametrize("recovery", [NOTHING, BN, EPOCH])
def test_the_last_estimate_equals_the_road_walked_by_hand(
    live: LiveEvaluation, model: nn.Module, data: Data, recovery: Recovery
) -> None:
    plan = plan_without(0, 3, 5)
    found = fingerprint(model)
    estimates = list(live.estimates(plan, recovery, seed=2))
    assert fingerprint(model) == found
    by_hand = recover(Cutter()(model, GRAPH, plan), data, bn=recovery.bn, epochs=recovery.epochs, seed=2)
    assert [e.seen for e in estimates] == [100, 215, 330]
    assert estimates[-1].correct == evaluate(by_hand, data).correct
    assert {e.state_key for e in estimates} == {live.state(plan, recovery, seed=2).key}
    outcome = live.outcome(plan, recovery, seed=2)
    assert outcome is not None
    assert outcome.estimate == estimates[-1]
    *_, last = Judge(data.explore).judge(by_hand, "")
    assert outcome.right.tolist() == last.right.tolist()
    with torch.inference_mode():
        logits = by_hand.eval()(data.explore.inputs())
    assert outcome.predicted.dtype == np.int16
    assert outcome.predicted.tolist() == logits.argmax(1).tolist()
    with pytest.raises(ValueError, match="read-only"):
        outcome.right[0] = True


def test_a_finished_state_is_remembered_and_others_are_not_mistaken_for_it(
    live: LiveEvaluation, cutter: Cutter
) -> None:
    plan = plan_without(1)
    last = list(live.estimates(plan, BN))[-1]
    assert list(live.estimates(plan_without(1), BN)) == [last]
    assert cutter.cuts == 1
    for other, recovery, seed in ((plan_without(2), BN, 0), (plan, NOTHING, 0), (plan, BN, 1)):
        assert live.outcome(other, recovery, seed) is None
        assert len(list(live.estimates(other, recovery, seed=seed))) == 3
    assert cutter.cuts == 4


def test_an_estimate_given_up_half_way_is_not_remembered(live: LiveEvaluation) -> None:
    plan = plan_without(1)
    assert not next(live.estimates(plan, NOTHING)).done
    assert live.outcome(plan, NOTHING) is None
    assert list(live.estimates(plan, NOTHING))[-1].done


def test_training_is_not_repeated_when_only_the_counting_was_given_up(
    live: LiveEvaluation, cutter: Cutter
) -> None:
    plan, steps = plan_without(1), list[TrainingStep]()
    next(live.estimates(plan, EPOCH, progress=steps.append))
    assert len(steps) == 3
    list(live.estimates(plan, EPOCH, progress=steps.append))
    live.network(plan, EPOCH, progress=steps.append)
    assert len(steps) == 3
    assert cutter.cuts == 1


def test_few_trained_networks_are_kept(live: LiveEvaluation) -> None:
    steps: list[TrainingStep] = []
    for unit in range(TRAINED + 1):
        live.network(plan_without(unit), EPOCH)
    live.network(plan_without(TRAINED), EPOCH, progress=steps.append)
    assert steps == []
    live.network(plan_without(0), EPOCH, progress=steps.append)
    assert len(steps) == 3


def test_the_check_stops_training_and_counting(live: LiveEvaluation) -> None:
    steps: list[TrainingStep] = []

    def check() -> None:
        if len(steps) == 2:
            raise Interrupted("enough")

    with pytest.raises(Interrupted):
        list(live.estimates(plan_without(1), EPOCH, check=check, progress=steps.append))
    assert len(steps) == 2
    assert live.outcome(plan_without(1), EPOCH) is None
    estimates = live.estimates(plan_without(1), NOTHING, check=check)
    with pytest.raises(Interrupted):
        next(estimates)


def test_the_network_is_the_callers_unfolded_and_of_the_estimates_accuracy(
    live: LiveEvaluation, data: Data
) -> None:
    plan = plan_without(0, 1)
    last = list(live.estimates(plan, EPOCH))[-1]
    network = live.network(plan, EPOCH)
    assert isinstance(network.get_submodule("bn2"), nn.BatchNorm2d)
    assert not network.training
    assert evaluate(network, data).correct == last.correct
    with torch.no_grad():
        network.get_parameter("classifier.weight").zero_()
    assert evaluate(live.network(plan, EPOCH), data).correct == last.correct


def test_without_training_images_nothing_is_recovered_and_said(model: nn.Module, cutter: Cutter) -> None:
    data = Data("mine", ("a", "b", "c", "d"), None, images_of(330), None)
    live = LiveEvaluation(model, GRAPH, data, shrink=cutter)
    recovery, words = live.available(BN)
    assert recovery == NOTHING
    assert words == (
        "mine has no training images, so nothing is done to the weights after cutting "
        "(asked for: re-estimated BN)."
    )
    plan = plan_without(2)
    assert list(live.estimates(plan, EPOCH))[-1].state_key == live.state(plan, NOTHING).key
    assert live.available(NOTHING) == (NOTHING, "")


def test_where_nothing_is_cut_nothing_is_reestimated(model: nn.Module, data: Data) -> None:
    graph = trace(model, data.explore.inputs(slice(0, 1)))
    live, dense = LiveEvaluation(model, graph, data), full_plan(graph)
    cut = Plan(graph.key, {name: np.arange(len(kept)) > 0 for name, kept in dense.keep.items()})
    done = [live.recovery_done(plan, recovery) for plan in (dense, cut) for recovery in (NOTHING, BN, EPOCH)]
    assert done == [NOTHING, NOTHING, EPOCH, NOTHING, BN, EPOCH]
    trainless = LiveEvaluation(model, graph, Data("toys", data.classes, None, data.explore, None))
    assert trainless.recovery_done(cut, EPOCH) == NOTHING


def test_with_training_images_every_recovery_is_available(live: LiveEvaluation) -> None:
    assert live.available(EPOCH) == (EPOCH, "")


def test_a_worker_in_inference_mode_gets_the_same_estimates(
    live: LiveEvaluation, model: nn.Module, data: Data
) -> None:
    expected = list(live.estimates(plan_without(4), EPOCH))
    with torch.inference_mode():
        got = list(LiveEvaluation(model, GRAPH, data, shrink=Cutter()).estimates(plan_without(4), EPOCH))
    assert got == expected


def test_real_surgery_on_a_traced_network_gives_the_same_road(model: nn.Module, data: Data) -> None:
    graph = trace(model, torch.zeros(1, 1, 6, 6))
    assert set(graph.folds) == set(FOLDS)
    live = LiveEvaluation(model, graph, data)
    plan = Plan(graph.key, {g.id: np.arange(g.size) >= 2 for g in graph.prunable})
    for recovery in (NOTHING, BN, EPOCH):
        last = list(live.estimates(plan, recovery))[-1]
        by_hand = recover(shrink(model, graph, plan), data, bn=recovery.bn, epochs=recovery.epochs)
        assert last.done
        assert last.correct == evaluate(by_hand, data).correct


class Plain(nn.Module):
    """No batch norm, or one without running statistics."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.conv, self.norm, self.classifier = nn.Conv2d(1, 8, 3), norm, nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(torch.relu(self.norm(self.conv(x))).mean((2, 3)))


@pytest.mark.parametrize("norm", [nn.Identity(), nn.BatchNorm2d(8, track_running_stats=False)])
def test_without_running_statistics_nothing_is_reestimated_and_said(norm: nn.Module, data: Data) -> None:
    model = Plain(norm).eval()
    graph = trace(model, torch.zeros(1, 1, 6, 6)) if isinstance(norm, nn.Identity) else GRAPH
    live = LiveEvaluation(model, graph, data)
    recovery, words = live.available(BN)
    assert recovery == NOTHING
    assert words == (
        "Plain has no batch norm with running statistics, so none are re-estimated after cutting "
        "(asked for: re-estimated BN)."
    )
    recovery, words = live.available(EPOCH)
    assert recovery == Recovery(bn=False, epochs=1)
    assert "none are re-estimated" in words
    assert live.available(recovery) == (recovery, "")
    found = fingerprint(model)
    assert fingerprint(recover(model, data, bn=True)) == found


def test_the_state_of_a_network_without_batch_norm_is_that_of_what_was_done(data: Data) -> None:
    model = Plain(nn.Identity()).eval()
    graph = trace(model, torch.zeros(1, 1, 6, 6))
    live = LiveEvaluation(model, graph, data)
    plan = Plan(graph.key, {g.id: np.arange(g.size) >= 2 for g in graph.prunable})
    last = list(live.estimates(plan, BN))[-1]
    assert last.state_key == live.state(plan, NOTHING).key
    assert live.outcome(plan, NOTHING) is live.outcome(plan, BN)


def test_batches_of_large_images_are_measured_once_and_not_for_every_plan(
    model: nn.Module, data: Data, cutter: Cutter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("explorer.data.batches.SMALL", 0)
    ran: list[int] = []
    model.register_forward_hook(lambda module, inputs, output: ran.append(len(output)))
    live = LiveEvaluation(model, GRAPH, data, shrink=cutter)
    for units in ((), (1,), (1, 2), (3, 4, 5)):
        list(live.estimates(plan_without(*units), NOTHING))
    assert ran.count(1) == 1
    assert sum(ran) == 1 + 4 * len(data.explore)


def test_what_a_repair_came_to_is_told_layer_by_layer(data: Data) -> None:
    model = livened(Toy()).eval()
    graph = explorer.trace(model, torch.zeros(1, 1, 6, 6))
    live, refit = LiveEvaluation(model, graph, data), Recovery.parse("refit")
    plan = explorer.allocate(graph, explorer.score(model, graph, "l1"), 0.5)
    assert live.refitted(plan, refit) is None
    progress: list[tuple[int, int]] = []
    live.observed(progress=lambda done, of: progress.append((done, of)))
    assert live.prepared
    assert progress[-1][0] == progress[-1][1]
    list(live.estimates(plan, refit, remember=False))
    layers = {layer.name for layer in graph.layers}
    refitted = live.refitted(plan, refit)
    assert refitted
    assert {each.layer for each in refitted} <= layers


def test_once_moments_cannot_be_gathered_there_are_no_refits(data: Data, monkeypatch) -> None:
    model = livened(Toy()).eval()
    graph = explorer.trace(model, torch.zeros(1, 1, 6, 6))
    live = LiveEvaluation(model, graph, data)

    def unfit(*_arguments, **_keywords):
        return Observed({}, {}, {"a": "what a reads is not finite"}, 40)

    monkeypatch.setattr(sys.modules[LiveEvaluation.__module__], "gather", unfit)
    with pytest.raises(BadInput, match="No layer can be refitted: what a reads is not finite"):
        live.observed()
    recovery, words = live.available(Recovery.parse("refit+bn"))
    assert recovery == live.available(BN)[0]
    assert "cannot be refitted" in words
    assert live.available(Recovery.parse("merge")) == (Recovery.parse("merge"), "")


def test_the_mode_of_the_users_network_is_never_changed_not_even_for_a_moment(data: Data) -> None:
    """Another thread may be running it."""
    told: list[int] = []

    class Watched(Toy):
        def train(self, mode: bool = True) -> "Watched":
            told.append(id(self))
            return super().train(mode)

    model = Watched()
    live = LiveEvaluation(model, GRAPH, data, Cutter())
    for recovery in (NOTHING, BN):
        list(live.estimates(plan_without(0), recovery))
    assert told, "copies are set to eval mode"
    assert id(model) not in told
    assert model.training
