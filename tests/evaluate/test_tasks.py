"""Tasks beyond classes: scores, losses and intervals against numpy, from load to a trained network."""

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import explorer
from explorer.data.fitting import chosen_output
from explorer.data.tasks import TASKS, guess

GENERATOR = torch.Generator().manual_seed(0)
IMAGES = torch.randn(240, 3, 8, 8, generator=GENERATOR)
SOFT = torch.tensor([[0.3, 0.7], [0.5, 0.5]])


class Small(nn.Module):
    """A network of two prunable layers whose outputs are (N, outputs) or, `dense`, (N, outputs, H, W)."""

    def __init__(self, outputs: int, dense: bool = False, named: str = "") -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 3, 1, 1), nn.Conv2d(8, 8, 3, 1, 1)
        self.head = nn.Conv2d(8, outputs, 1) if dense else nn.Linear(8, outputs)
        self.dense, self.named = dense, named

    def forward(self, x: Tensor) -> Any:
        x = torch.relu(self.b(torch.relu(self.a(x))))
        out = self.head(x if self.dense else x.mean((2, 3)))
        return {"early": x, self.named: out} if self.named else out


def made(outputs: int, dense: bool = False, named: str = "") -> Small:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return Small(outputs, dense, named)


def answers(model: nn.Module) -> np.ndarray:
    with torch.inference_mode():
        return model.eval()(IMAGES).double().numpy()


TOLD = {
    "classes": (torch.zeros(1, 5), torch.tensor([0, 4]), "classification"),
    "classes as floats": (torch.zeros(1, 5), torch.tensor([0.0, 4.0]), "classification"),
    "one logit": (torch.zeros(1, 1), torch.tensor([0.0, 1.0]), "classification"),
    "one logit without an axis": (torch.zeros(1), torch.tensor([0, 1]), "classification"),
    "one-hot": (torch.zeros(1, 3), torch.eye(3), "classification"),
    "several labels": (torch.zeros(1, 3), torch.ones(2, 3), "multi-label"),
    "numbers": (torch.zeros(1, 2), torch.randn(4, 2), "regression"),
    "one number": (torch.zeros(1, 1), torch.randn(4), "regression"),
    "depth": (torch.zeros(1, 1, 8, 8), torch.randn(4, 1, 8, 8), "regression"),
    "pixels": (torch.zeros(1, 4, 8, 8), torch.ones(4, 8, 8, dtype=torch.int64), "segmentation"),
    "a mask": (torch.zeros(1, 1, 8, 8), torch.ones(4, 1, 8, 8), "segmentation"),
    "nothing, of classes": (torch.zeros(1, 4), None, "classification"),
    "nothing, of maps": (torch.zeros(1, 4, 8, 8), None, "regression"),
}
UNTOLD = {
    "ages": (torch.zeros(1, 1), torch.tensor([30, 41]), 'task="regression"'),
    "soft labels": (torch.zeros(1, 2), SOFT, r"targets\.argmax\(1\)"),
    "other shapes": (torch.zeros(1, 3), torch.randn(2, 7), "loss=f and score=g"),
    "boxes": ([{"boxes": 1}], torch.randn(2, 4), "loss=f and score=g"),
}


@pytest.mark.parametrize(("answer", "targets", "name"), TOLD.values(), ids=TOLD)
def test_outputs_and_targets_tell_the_task(answer: Tensor, targets: Tensor | None, name: str) -> None:
    assert guess("Net", answer, targets).name == name


@pytest.mark.parametrize(("answer", "targets", "way_out"), UNTOLD.values(), ids=UNTOLD)
def test_where_they_do_not_tell_it_the_way_out_is_said(answer: Any, targets: Tensor, way_out: str) -> None:
    with pytest.raises(explorer.BadInput, match=way_out):
        guess("Net", answer, targets)


def test_of_several_outputs_the_named_one_else_the_first_is_judged() -> None:
    @dataclasses.dataclass
    class Output:
        loss: object
        maps: Tensor

    first, second = torch.zeros(1, 2), torch.ones(1, 2)
    assert chosen_output({"early": first, "out": second}) == ("out", second)
    assert chosen_output((first, second)) == ("0", first)
    assert chosen_output(Output(None, second)) == ("maps", second)
    assert chosen_output(first) == ("", first)


def test_r2_is_one_less_the_share_of_the_variance_that_is_missed() -> None:
    model = made(2)
    targets = torch.from_numpy(answers(model)).float() + 0.05 * torch.randn(240, 2, generator=GENERATOR)
    network = explorer.load(model, data=(IMAGES, targets))
    found = explorer.evaluate(network)
    missed = (answers(model) - targets.double().numpy()) ** 2
    varied = (targets.double().numpy() - targets.double().numpy().mean(0)) ** 2
    scores = 1 - missed.mean(1) / varied.mean()
    half = 1.959964 * scores.std(ddof=1) / math.sqrt(240)
    assert found.measure == "R2"
    assert found.value == pytest.approx(1 - missed.sum() / varied.sum(), rel=1e-5)
    assert (found.low, found.high) == pytest.approx((scores.mean() - half, scores.mean() + half), rel=1e-4)
    with pytest.raises(explorer.BadInput, match="R2"):
        _ = found.accuracy


def test_without_targets_the_error_is_relative_to_how_the_dense_outputs_vary() -> None:
    model = made(3, dense=True)
    network = explorer.load(model, data=IMAGES)
    graph = explorer.trace(network.model, network.example)
    plan = explorer.allocate(graph, explorer.score(network, graph, "l1"), keep=0.6)
    small = explorer.shrink(network.model, graph, plan)
    found = explorer.evaluate(small, network.data, dense=network)
    dense, now = answers(model), answers(small)
    first = dense[:100]
    error = ((dense - now) ** 2).mean() / ((first - first.mean(0)) ** 2).mean()
    assert found.counts == "agreement"
    assert found.value == pytest.approx(1 - error, rel=1e-4)
    assert found.low < found.value < found.high
    assert explorer.evaluate(network, dense=network).counts == "itself"


def test_pixels_are_counted_and_overlaps_are_means_over_the_classes_there() -> None:
    model = made(4, dense=True)
    targets = torch.randint(4, (240, 8, 8), generator=GENERATOR)
    targets[:, :2] = 255
    said, right = answers(model).argmax(1), targets.numpy()
    counted = right != 255
    network = explorer.load(model, data=(IMAGES, targets))
    assert explorer.evaluate(network).value == pytest.approx((said == right)[counted].mean(), rel=1e-6)
    overlaps = []
    for s, r, c in zip(said, right, counted, strict=True):
        each = []
        for label in range(4):
            one, other = (s == label) & c, (r == label) & c
            if (one | other).any():
                each.append((one & other).sum() / (one | other).sum())
        overlaps.append(np.mean(each))
    mean = explorer.load(model, data=(IMAGES, targets), task="segmentation (mean IoU)")
    found = explorer.evaluate(mean)
    assert (found.measure, found.value) == ("mean IoU", pytest.approx(np.mean(overlaps), rel=1e-5))
    task = TASKS["segmentation"]
    outputs = torch.from_numpy(answers(model))
    losses = task.losses(outputs, task.matched(targets, outputs))
    expected = functional.cross_entropy(
        outputs, targets, ignore_index=255
    )  # all images have as many that count
    assert float(losses.mean()) == pytest.approx(float(expected))


def test_of_several_labels_the_share_that_is_right_is_told() -> None:
    model = made(5)
    targets = torch.rand(240, 5, generator=GENERATOR) > 0.5
    network = explorer.load(model, data=(IMAGES, targets))
    found = explorer.evaluate(network)
    assert found.measure == "labels right"
    assert found.value == pytest.approx(((answers(model) > 0) == targets.numpy()).mean())


def test_an_own_loss_and_score_are_those_of_the_user() -> None:
    model = made(2, named="heat")
    targets = torch.from_numpy(answers_named(model)).float()

    def loss(outputs: dict[str, Tensor], targets: Tensor) -> Tensor:
        return (outputs["heat"] - targets - 1).abs().mean()

    def score(outputs: dict[str, Tensor], targets: Tensor) -> Tensor:
        return -(outputs["heat"] - targets - 1).abs().mean(1)

    data = explorer.Data("mine", (), *(explorer.Images(IMAGES, targets, lambda x: x) for _ in range(2)), None)
    network = explorer.load(model, data=data, loss=loss, score=score)
    found = explorer.evaluate(network)
    assert (found.measure, found.value) == ("score", pytest.approx(-1, rel=1e-5))
    trained = explorer.recover(network, network.data, bn=False, epochs=2)
    assert explorer.evaluate(trained, network.data).value > found.value
    graph = explorer.trace(network.model, network.example)
    assert all(values.any() for values in explorer.score(network, graph, "taylor").by_group.values())


def answers_named(model: nn.Module) -> np.ndarray:
    with torch.inference_mode():
        return model.eval()(IMAGES)["heat"].double().numpy()


def test_own_functions_that_do_not_fit_are_refused_in_words() -> None:
    model, data = made(2), (IMAGES, torch.zeros(240, 2))
    with pytest.raises(explorer.BadInput, match="score=g too"):
        explorer.load(model, data=data, loss=lambda outputs, targets: outputs.sum())
    with pytest.raises(explorer.BadInput, match=r"\(240,\)|\(100,\)"):
        explorer.evaluate(explorer.load(model, data=data, score=lambda outputs, targets: outputs.sum()))
    with pytest.raises(explorer.BadInput, match="KeyError"):
        explorer.evaluate(explorer.load(model, data=data, score=lambda outputs, targets: {}["no"]))
    scored = explorer.load(model, data=data, score=lambda outputs, targets: -outputs[:, 0])
    with pytest.raises(explorer.BadInput, match="loss=f"):
        explorer.recover(scored.model, scored.data.explore, epochs=1)  # type: ignore[union-attr]
    with pytest.raises(explorer.BadInput, match="'regression'"):
        explorer.load(model, data=data, task="regresion")


@pytest.mark.parametrize("targets", [True, False])
def test_taylor_finds_the_channel_that_nothing_reads(targets: bool) -> None:
    """Also against the network's own numbers, whose squared error is nowhere steeper than flat."""
    model = made(2)
    with torch.no_grad():
        model.b.weight[:, 3] = 0
    data: Any = (IMAGES, torch.randn(240, 2, generator=GENERATOR)) if targets else IMAGES
    network = explorer.load(model, data=data, task="regression")
    graph = explorer.trace(network.model, network.example)
    found = explorer.score(network, graph, "taylor").by_group["a"]
    assert found[3] == 0
    assert (np.delete(found, 3) > 0).all()


def test_training_lowers_the_loss_of_the_task_and_methods_of_classes_refuse() -> None:
    model = made(1)
    targets = IMAGES[:, 0].mean((1, 2))
    images = explorer.Images(IMAGES, targets, lambda x: x)
    network = explorer.load(model, data=explorer.Data("mine", (), images, images, None))
    trained = explorer.recover(network, network.data, bn=False, epochs=5)
    assert explorer.evaluate(trained, network.data).value > explorer.evaluate(network).value
    with pytest.raises(explorer.BadInput, match="class labels"):
        explorer.search(network, "dmcp", epochs=1)
    with pytest.raises(explorer.BadInput, match="classes"):
        explorer.subnetworks(network)


def test_a_ranking_takes_the_task_from_all_targets_not_from_a_batch() -> None:
    """Of several labels, a batch may by chance have one in each row, and look like classes."""
    model = made(3)
    targets = torch.ones(128, 3)
    targets[:64] = torch.eye(3)[torch.arange(64) % 3]
    graph = explorer.trace(model.eval(), IMAGES[:1])
    told = explorer.Images(IMAGES[:128], targets, lambda x: x, task=TASKS["multi-label"])
    expected = explorer.score(model, graph, "taylor", data=told)
    assert explorer.score(model, graph, "taylor", data=(IMAGES[:128], targets)).key == expected.key
