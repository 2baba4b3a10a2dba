"""A network of one logit is a binary classifier: judged by the logit's sign, scored and trained by the binary loss.

The oracles are sigmoids, Bernoulli divergences and gradients written out by hand.
"""

import copy
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

import explorer
from explorer.app import Explorer
from explorer.criteria import CRITERIA
from explorer.data import Images, identity
from explorer.evaluate.estimates import Judge
from explorer.evaluate.recovery import train
from explorer.observe.answers import top_classes
from explorer.zoo.networks.vgg import VGG
from tests.evaluate.toys import livened

INPUTS = torch.randn(40, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def small(norm: bool = False) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        norms = [nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 6, 3), nn.BatchNorm2d(6)] if norm else []
        net = nn.Sequential(
            nn.Conv2d(1, 6, 3), *norms, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 1)
        )
        with torch.no_grad():
            net[-1].bias -= net.eval()(INPUTS).median()  # both answers occur
    return livened(net).eval() if norm else net.eval()


def logit(model: nn.Module) -> Tensor:
    with torch.inference_mode():
        return model(INPUTS)[:, 0].double()


LABELS = (INPUTS.mean((1, 2, 3)) > 0).long()


def cut(model: nn.Module) -> nn.Module:
    graph = explorer.trace(model, INPUTS[:1])
    return explorer.shrink(
        model, graph, explorer.plan_widths(graph, explorer.score(model, graph, "l1"), {"0": 2})
    )


@pytest.mark.parametrize("labels", [LABELS, LABELS[:, None], LABELS.float(), LABELS.double()[:, None]])
def test_accuracy_is_counted_by_the_sign(labels: Tensor) -> None:
    model = small()
    right = int(((logit(model) > 0).long() == LABELS).sum())
    assert 0 < right < len(LABELS)
    assert explorer.evaluate(model, (INPUTS, labels)).correct == right
    network = explorer.load(model, data=(INPUTS, labels))
    assert network.data.classes == ("0", "1")
    assert explorer.evaluate(network).correct == right


def test_without_labels_signs_are_compared_and_bernoulli_distributions() -> None:
    model = small()
    shrunk = cut(model)
    p, q = torch.sigmoid(logit(model)), torch.sigmoid(logit(shrunk))
    apart = (p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()).mean()
    found = explorer.evaluate(shrunk, INPUTS, dense=model)
    assert found.correct == int(((p > 0.5) == (q > 0.5)).sum())
    assert 0 < found.correct < len(INPUTS)
    assert found.divergence == pytest.approx(float(apart), rel=1e-5)
    (judged,) = Judge(Images(INPUTS, None, identity), model).judge(shrunk, "")
    assert judged.predicted.tolist() == (q > 0.5).long().tolist()


@pytest.mark.parametrize("labels", [None, LABELS])
def test_taylor_takes_the_binary_loss(labels: Tensor | None) -> None:
    model = small()
    graph = explorer.trace(model, INPUTS[:1])
    features = model[:-1](INPUTS).detach()
    truth = (logit(model) > 0).long() if labels is None else labels
    error = torch.sigmoid(logit(model)) - truth  # dL/dz of the binary cross-entropy
    expected = (error[:, None] * features * model[-1].weight.detach()).mean(0).square()
    found = explorer.score(model, graph, "taylor", data=INPUTS if labels is None else (INPUTS, labels))
    np.testing.assert_allclose(found.by_group["0"], expected.numpy(), rtol=1e-4)
    assert (found.by_group["0"] > 0).any()


def test_training_minimises_the_binary_cross_entropy() -> None:
    model = small()
    expected = binary_cross_entropy_with_logits(logit(model), LABELS.double())
    trained = copy.deepcopy(model)
    losses = [step.loss for step in train(trained, Images(INPUTS, LABELS.float(), identity), epochs=20)]
    assert losses[0] == pytest.approx(float(expected), rel=1e-5)
    assert binary_cross_entropy_with_logits(logit(trained), LABELS.double()) < expected


def test_probabilities_of_both_answers_are_told() -> None:
    model = small()
    share = torch.sigmoid(logit(model)[0]).item()
    assert dict(top_classes(model, INPUTS[:1])[0]) == pytest.approx({0: 1 - share, 1: share})


@pytest.mark.parametrize("criterion", CRITERIA)
def test_every_criterion_scores_it(criterion: str) -> None:
    model = small(norm=True)
    graph = explorer.trace(model, INPUTS[:1])
    scores = explorer.score(model, graph, criterion, data=(INPUTS, LABELS)).by_group["0"]
    assert np.isfinite(scores).all()
    assert len(set(scores.tolist())) > 1


@pytest.mark.parametrize("labels", [None, LABELS.float()])
def test_the_dashboard_judges_it_by_the_sign(labels: Tensor | None) -> None:
    model = small(norm=True)
    app = Explorer(model, data=INPUTS if labels is None else (INPUTS, labels))
    try:
        app.set(widths={"0": 2})
        app.wait(60)
        said = logit(app.network()) > 0
        truth = logit(model) > 0 if labels is None else LABELS == 1
        assert app.estimate.correct == int((said == truth).sum())
    finally:
        app.close()


def test_the_dashboard_trains_sweeps_and_looks_at_final_images() -> None:
    images = Images(INPUTS, LABELS, identity)
    app = Explorer(small(norm=True), data=explorer.Data("mine", ("no", "yes"), images, images, images))
    try:
        app.set(widths={"0": 2})
        app.session.check_final()
        app.wait(60)
        app.session.train(1)
        app.wait(60)
        app.session.sweep("sensitivity")
        app.wait(60)
        (check,) = app.session.final_checks
        assert check.dense.correct == int(((logit(small(norm=True)) > 0).long() == LABELS).sum())
        assert app.session.request.recovery.epochs == 1
        assert app.session.sensitivity is not None
    finally:
        app.close()


def test_an_exported_script_says_what_its_logit_means(tmp_path: Path) -> None:
    data = (torch.rand(4, 1, 28, 28), torch.tensor([0, 1, 1, 0]))
    app = Explorer(VGG(classes=1), data=data, constructor=partial(VGG, classes=1))
    try:
        app.wait(60)
        (script,) = (path for path in app.export(tmp_path) if path.suffix == ".py")
    finally:
        app.close()
    said = " ".join(script.read_text().split())
    assert "Outputs: one logit, above 0 for the second of the classes 0, 1." in said


@pytest.mark.parametrize("method", ["dmcp", "fbs"])
def test_methods_train_it(method: str) -> None:
    images = Images(INPUTS, LABELS.float(), identity)
    data = explorer.Data("mine", ("no", "yes"), images, images, None)
    network = explorer.load(small(norm=True), data=data)
    found = explorer.search(network, method, epochs=2, batch=20)
    assert found is not None


REFUSED = {
    "label 2 of one logit": (LABELS * 2, 'task="regression"; of two classes they are 0 and 1'),
    "several labels": (torch.ones(40, 3), r"shape \(40, 3\).*one of 'classification'"),
}


@pytest.mark.parametrize(("labels", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_label_of_two_classes_is_refused_in_words(labels: Tensor, message: str) -> None:
    with pytest.raises(explorer.BadInput, match=message):
        explorer.load(small(), data=(INPUTS, labels))
