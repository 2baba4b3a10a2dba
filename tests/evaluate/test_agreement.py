"""Images without labels: agreement with the dense network, and divergence from its probabilities."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from explorer.criteria import score
from explorer.data import Data, Images, batches, identity
from explorer.errors import BadInput, Interrupted
from explorer.evaluate import evaluate, recover
from explorer.evaluate.estimates import FIRST_BATCH, Judge, divergences
from explorer.evaluate.live import LiveEvaluation
from explorer.evaluate.recovery import train
from explorer.evaluate.sweeps import bands, sensitivity
from explorer.graph import trace
from explorer.surgery import shrink
from explorer.values import ChannelGraph, Estimate, Plan, Recovery, full_plan
from tests.evaluate.toys import Toy, fingerprint, images_of

NOTHING, BN, EPOCH = Recovery(), Recovery(bn=True), Recovery(bn=True, epochs=1)


@pytest.fixture
def model(model: nn.Module, images: Images) -> nn.Module:
    """It tells all classes apart: its logits are centred and spread."""
    with torch.no_grad():
        model.classifier.weight.mul_(20)
        model.classifier.bias.sub_(model(images.inputs()).mean(0))
        assert len(model(images.inputs()).argmax(1).unique()) == 4
    return model


@pytest.fixture
def bare(images: Images) -> Images:
    """The same images without their labels."""
    return Images(images.pixels, None, images.normalize)


@pytest.fixture
def bare_data(bare: Images) -> Data:
    """Nothing in it has a label."""
    return Data("bare toys", (), Images(images_of(300, seed=1).pixels, None, identity), bare, None)


@pytest.fixture
def graph(model: nn.Module) -> ChannelGraph:
    return trace(model, torch.zeros(1, 1, 6, 6))


def narrowed(graph: ChannelGraph) -> Plan:
    return Plan(graph.key, {group.id: np.arange(group.size) % 4 != 1 for group in graph.prunable})


def by_hand(dense: nn.Module, now: nn.Module, images: Images) -> tuple[int, float]:
    """Agreements and mean divergence, in numpy, from the definitions."""
    with torch.inference_mode():
        p, q = (np.exp(m(images.inputs()).double().numpy()) for m in (dense.eval(), now.eval()))
    p, q = p / p.sum(1, keepdims=True), q / q.sum(1, keepdims=True)
    return int((p.argmax(1) == q.argmax(1)).sum()), float((p * np.log(p / q)).sum(1).mean())


def test_the_divergence_of_two_coins() -> None:
    dense, now = torch.tensor([[0.0, math.log(3)]]), torch.tensor([[5.0, 5.0]])
    assert divergences(dense, now).tolist() == pytest.approx([0.25 * math.log(0.5) + 0.75 * math.log(1.5)])
    assert divergences(now, dense).tolist() == pytest.approx([0.5 * math.log(2) + 0.5 * math.log(2 / 3)])
    assert divergences(dense, dense + 7).tolist() == pytest.approx([0.0], abs=1e-12)


def test_the_divergence_of_logits_far_apart_is_finite_and_never_negative() -> None:
    far = divergences(torch.tensor([[500.0, 0.0]]), torch.tensor([[0.0, 500.0]]))
    assert far.tolist() == pytest.approx([500.0])
    close = torch.randn(1000, 10, generator=torch.Generator().manual_seed(0))
    assert divergences(close, close * (1 + 1e-9)).min() >= 0


def test_other_classes_are_refused() -> None:
    with pytest.raises(BadInput, match="10 logits and this one with 9"):
        divergences(torch.zeros(2, 10), torch.zeros(2, 9))


def test_agreement_and_divergence_are_those_of_numpy(
    model: nn.Module, graph: ChannelGraph, bare: Images
) -> None:
    small = shrink(model, graph, narrowed(graph))
    estimate = evaluate(small, bare, dense=model)
    correct, divergence = by_hand(model, small, bare)
    assert 0 < correct < len(bare)
    assert (estimate.counts, estimate.correct, estimate.seen, estimate.of) == ("agreement", correct, 330, 330)
    assert estimate.divergence == pytest.approx(divergence, rel=1e-5)
    assert estimate.low < estimate.accuracy < estimate.high


def test_every_estimate_on_the_way_is_of_the_images_so_far(
    model: nn.Module, graph: ChannelGraph, bare: Images
) -> None:
    small = shrink(model, graph, narrowed(graph))
    for judged in Judge(bare, model).judge(small, "state", batch=120):
        estimate = judged.estimate
        correct, divergence = by_hand(model, small, bare.subset(estimate.seen))
        assert estimate.correct == correct == int(judged.right.sum())
        assert estimate.divergence == pytest.approx(divergence, rel=1e-5)
        assert (judged.right == (judged.predicted == judged.truth)).all()
    with torch.inference_mode():
        assert judged.truth.tolist() == model(bare.inputs()).argmax(1).tolist()


def test_the_dense_network_agrees_with_itself_by_definition(model: nn.Module, bare: Images) -> None:
    estimate = evaluate(model, bare, dense=model)
    assert (estimate.counts, estimate.correct, estimate.divergence) == ("itself", 330, 0.0)
    assert (estimate.low, estimate.high) == (1.0, 1.0)
    assert str(estimate) == "the dense network itself, 100 % by definition, 330 of 330 images"
    twin = evaluate(copy.deepcopy(model), bare, dense=model)  # measured: it could be another network
    assert (twin.counts, twin.correct, twin.divergence) == ("agreement", 330, 0.0)
    assert twin.low < 1


def test_the_dense_network_is_asked_once_for_every_image(model: nn.Module, bare: Images) -> None:
    asked: list[int] = []

    class Counted(Toy):
        def forward(self, x: Tensor) -> Tensor:
            asked.append(len(x))
            return super().forward(x)

    dense = Counted()
    judge = Judge(bare, dense)
    for _ in range(3):
        list(judge.judge(model, ""))
    list(judge.judge(dense, ""))
    assert sum(asked) == len(bare)


def test_labels_are_counted_even_if_a_dense_network_is_given(model: nn.Module, images: Images) -> None:
    assert evaluate(model, images, dense=Toy()) == evaluate(model, images)


def test_without_labels_and_dense_network_it_says_what_to_do(model: nn.Module, bare: Images) -> None:
    with pytest.raises(BadInput, match=r"no labels.*evaluate\(small, data, dense=net\.model\)"):
        evaluate(model, bare)
    with pytest.raises(BadInput, match="got str"):
        evaluate(model, bare, dense="resnet20")  # type: ignore[arg-type]


def test_an_interrupt_says_how_often_it_agreed(bare: Images) -> None:
    class Impatient(Toy):
        def forward(self, x: Tensor) -> Tensor:
            if len(x) != FIRST_BATCH:
                raise KeyboardInterrupt
            return super().forward(x)

    network = Impatient()
    with pytest.raises(Interrupted, match=f"{FIRST_BATCH} of them as the dense network says"):
        evaluate(copy.deepcopy(network), bare, dense=network)


def test_an_estimate_says_what_it_counts() -> None:
    estimate = Estimate("k", 971, 1000, 2000, "agreement", 0.03127)
    assert str(estimate) == (
        "97.1 % (95.9 to 98.0) agreement with the dense network, divergence 0.0313 nats, 1,000 of 2,000 images"
    )
    assert str(Estimate("k", 0, 0, 2000, "agreement")) == "unknown, 0 of 2,000 images"
    assert str(Estimate("k", 971, 1000, 2000)) == "97.1 % (95.9 to 98.0), 1,000 of 2,000 images"


# ---- live ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("recovery", [NOTHING, BN])
def test_a_live_estimate_is_the_road_walked_by_hand(
    model: nn.Module, graph: ChannelGraph, bare_data: Data, recovery: Recovery
) -> None:
    live, plan = LiveEvaluation(model, graph, bare_data), narrowed(graph)
    found = fingerprint(model)
    *_, last = live.estimates(plan, recovery)
    assert fingerprint(model) == found
    small = recover(shrink(model, graph, plan), bare_data, bn=recovery.bn)
    correct, divergence = by_hand(model, small, bare_data.explore)
    assert (last.counts, last.correct, last.done) == ("agreement", correct, True)
    assert last.divergence == pytest.approx(divergence, rel=1e-3)
    outcome = live.outcome(plan, recovery)
    assert outcome is not None
    with torch.inference_mode():
        assert outcome.truth.tolist() == model(bare_data.explore.inputs()).argmax(1).tolist()


def test_the_live_dense_state_is_100_percent_by_definition(
    model: nn.Module, graph: ChannelGraph, bare_data: Data
) -> None:
    live, dense = LiveEvaluation(model, graph, bare_data), full_plan(graph)
    *_, last = live.estimates(dense, NOTHING)
    assert (last.counts, last.correct, last.divergence) == ("itself", 330, 0.0)
    *_, other = live.estimates(dense, BN)  # other statistics: another network
    assert other.counts == "agreement"
    assert other.divergence is not None
    assert other.divergence > 0


def test_without_labels_no_network_is_trained_and_bn_still_reestimated(
    model: nn.Module, graph: ChannelGraph, bare_data: Data
) -> None:
    recovery, words = LiveEvaluation(model, graph, bare_data).available(EPOCH)
    assert recovery == BN
    assert "training images of bare toys have no labels" in words
    assert bare_data.train is not None
    with pytest.raises(BadInput, match=r"Training needs labels.*batch norm, which needs images alone"):
        next(train(model, bare_data.train, 1))
    with pytest.raises(BadInput, match="Training needs labels"):
        recover(model, bare_data, epochs=1)
    assert fingerprint(recover(model, bare_data, bn=True))[0] != fingerprint(model)[0]


def test_sweeps_compare_agreements(model: nn.Module, graph: ChannelGraph, bare_data: Data) -> None:
    scores = score(model, graph, "l1")
    lost = dict(sensitivity(model, graph, bare_data, scores, images=60))
    assert set(lost) == {group.id for group in graph.prunable}
    assert min(lost.values()) >= 0  # nothing agrees more than the dense network itself
    point = next(bands(model, graph, bare_data, scores, images=60))
    assert point.estimate.counts == "agreement"


def test_a_smaller_network_is_judged_in_the_batches_that_the_dense_one_was_remembered_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Large images: the dense network takes more memory each than a smaller one, and so gets smaller batches."""
    dense, small = (
        nn.Sequential(
            nn.Conv2d(1, width, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 4)
        ).eval()
        for width in (32, 1)
    )
    images = Images(torch.rand(20, 1, 130, 130), None, identity)
    judge = Judge(images, dense)
    monkeypatch.setattr(batches, "BUDGET", 3 * 2 * 33 * 4 * 130 * 130)
    for network in (dense, small, dense):
        told = [judged.estimate.seen for judged in judge.judge(network, "key")]
        assert len(told) >= 5
        assert told[-1] == 20
