"""Accuracy, batch by batch: what a network says of images, and which it gets right.

Without labels: how often it agrees with the dense network, and how far its probabilities diverge from that one's.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from explorer.data import DataSource, Images, as_images, identity
from explorer.data.batches import fitting, split_evenly
from explorer.data.fitting import first_not_finite, require_labels, require_logits, taking
from explorer.data.images import Split
from explorer.data.picking import Pick
from explorer.errors import BadInput, Interrupted
from explorer.graph.inputs import Batch, call_model
from explorer.values import Bools, Classes, Counts, Estimate, read_only
from explorer.zoo.network import Network

FIRST_BATCH = 100  # images before the first estimate; later batches may be larger
Check = Callable[[], object]


def nothing() -> None:
    """The check that never stops anything."""


def as_module(source: nn.Module | Network) -> nn.Module:
    """The network itself, or the `.model` of a loaded one; raises BadInput for anything else."""
    module = source if isinstance(source, nn.Module) else getattr(source, "model", None)
    if not isinstance(module, nn.Module):
        raise BadInput(
            "Expected a torch network (nn.Module) or what explorer.load() returns, "
            f"got {type(source).__name__}."
        )
    return module


def weights_key(source: nn.Module | Network) -> str:
    """Content key of the state dict, as a loaded network's `.weights_key`."""
    if not isinstance(source, Network):  # one definition of the key for both
        source = Network("", source, torch.empty(0), None, identity, None)
    return source.weights_key


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Every module in eval mode; afterwards each in the mode that it was found in."""
    found = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        yield
    finally:
        for module, training in found:
            module.training = training


def forward(model: nn.Module, inputs: Batch) -> Tensor:
    """Logits (N, classes) of inputs (N, ...); raises BadInput where the network cannot take or give that."""
    name = type(model).__name__
    hint = "Check that the images have the size and channels that the network was made for."
    with taking(name, inputs, hint):
        answer = call_model(model, inputs)
    return require_logits(name, answer, len(inputs))


def not_finite(model: nn.Module) -> str:
    """Where NaN or infinity may come from, in words: the first weights tensor that holds any."""
    if bad := first_not_finite(model):
        return f"{bad}: load sound weights."
    return "all weights are finite, so they overflow on the way: check the scale of inputs and weights."


@dataclass(frozen=True, eq=False)
class Judged:
    """What a network says of the images seen so far, (seen,) each, and the estimate that it comes to.

    `predicted` are its top-1 classes, `truth` the right ones, and `right` says where the two agree.
    """

    estimate: Estimate
    right: Bools
    predicted: Classes
    truth: NDArray[np.int64]


class Judge:
    """Holds networks against the labels of images or, where these have none, against what `dense` says of them.

    `dense` is asked once for every batch, when that is first needed, and must not be changed meanwhile. It agrees
    with itself by definition. Where it is given, batches are as large as memory holds of it. For one thread at a time.
    Raises BadInput for images without labels if there is no dense network.
    """

    def __init__(self, images: Images, dense: nn.Module | None = None) -> None:
        if not images.labelled and dense is None:
            raise BadInput(
                "These images have no labels, so accuracy cannot be counted. How often a smaller network agrees "
                "with the dense one can: pass the dense network, as in evaluate(small, data, dense=net.model)."
            )
        self.dense = None if images.labelled else dense
        self._largest = dense
        self._images = images
        self._answers: dict[int, Tensor] = {}  # the dense network's logits, by the first image of a batch

    def judge(
        self, model: nn.Module, state_key: str, batch: int = 125, check: Check = nothing
    ) -> Iterator[Judged]:
        """What the network says of the images, after each batch; the last time it is of all.

        The first batch has at most FIRST_BATCH images, the others at most `batch`, or fewer that fit memory. `check`
        is called before every batch and may raise. The network runs in eval and inference mode and is
        left as found between batches. Raises BadInput for inputs, labels or weights that cannot be evaluated.
        """
        images, labels, of = self._images, self._images.labels, len(self._images)
        itself = model is self.dense
        counts: Counts = "accuracy" if labels is not None else "itself" if itself else "agreement"
        predicted, truth = np.empty(of, dtype=np.int16), np.empty(of, dtype=np.int64)
        total = 0.0
        largest = model if self._largest is None else self._largest
        with eval_mode(largest), torch.inference_mode():
            batch = fitting(largest, images.inputs(slice(0, 1)), batch)
        for rows in _batches(of, batch):
            check()
            if labels is not None:
                logits, expected = _logits(model, images, rows), labels[rows]
                require_labels(expected, logits)
            else:
                dense = self._dense_logits(rows)
                logits, expected = dense if itself else _logits(model, images, rows), dense.argmax(1)
                total += float(divergences(dense, logits).sum())
            seen = rows.stop
            predicted[rows], truth[rows] = logits.argmax(1).numpy(), expected.numpy()
            right = predicted[:seen] == truth[:seen]
            correct, divergence = int(np.count_nonzero(right)), None if labels is not None else total / seen
            estimate = Estimate(state_key, correct, seen, of, counts, divergence)
            yield Judged(estimate, read_only(right), read_only(predicted[:seen]), read_only(truth[:seen]))

    def _dense_logits(self, rows: slice) -> Tensor:
        if rows.start not in self._answers:
            assert self.dense is not None
            self._answers[rows.start] = _logits(self.dense, self._images, rows)
        return self._answers[rows.start]


def divergences(dense: Tensor, now: Tensor) -> Tensor:
    """KL(dense || now) of the softmax of logits (N, classes), in nats: float64 (N,), 0 or more.

    Kullback & Leibler 1951. Raises BadInput for different numbers of classes.
    """
    if dense.shape != now.shape:
        raise BadInput(
            f"The dense network answers with {dense.shape[1]} logits and this one with {now.shape[1]}: they do not "
            "tell the same classes apart. Pass the network that this one was cut from."
        )
    ours, theirs = now.double().log_softmax(1), dense.double().log_softmax(1)
    return (theirs.exp() * (theirs - ours)).sum(1).clamp(min=0)


def _batches(count: int, batch: int) -> Iterator[slice]:
    """A small first one, then as few as possible of equal sizes."""
    first = min(FIRST_BATCH, batch)
    rows = torch.arange(count)
    for part in (*split_evenly(rows[:first], first), *split_evenly(rows[first:], batch)):
        yield slice(int(part[0]), int(part[-1]) + 1)


def _logits(model: nn.Module, images: Images, rows: slice) -> Tensor:
    """Finite logits (n, classes) of some images. Raises BadInput."""
    with eval_mode(model), torch.inference_mode():
        logits = forward(model, images.inputs(rows))
    if not torch.isfinite(logits).all():
        raise BadInput(f"The logits of {type(model).__name__} are not finite; {not_finite(model)}")
    return logits


def evaluate(
    model: nn.Module | Network,
    data: DataSource | None = None,
    split: Split = "explore",
    dense: nn.Module | Network | None = None,
    pick: Pick | None = None,
) -> Estimate:
    """Accuracy of a network on all images of a split ("train", "explore" or "final") of the data.

    `data` is anything that holds images (Data, Images, tensors, a Dataset or DataLoader, a folder); by default
    the loaded network's own; `pick` says what of an item is image and what target. Without labels,
    agreement with the network `dense` is counted instead, and the
    divergence from its probabilities; with labels `dense` does not matter. The estimate's `state_key` is the
    content key of the weights as they are (a loaded network's `weights_key`), equal for equal weights however
    they came about; a live estimate's is that of a `State` (weights, plan and recovery) and never equals it.

    Raises UnknownName for a split that does not exist, BadInput for what cannot be evaluated, and Interrupted,
    with the accuracy so far, when the user interrupts.
    """
    module = as_module(model)
    if data is None and isinstance(model, Network):
        data = model.data
    if data is None:
        raise BadInput("No images to evaluate on: pass data, for example a pair of tensors (inputs, labels).")
    images = as_images(data, split, pick)
    judge = Judge(images, None if dense is None else as_module(dense))
    estimate = Estimate(weights_key(model), 0, 0, len(images))
    try:
        for judged in judge.judge(module, estimate.state_key):
            estimate = judged.estimate
    except KeyboardInterrupt:
        counted = "right" if images.labelled else "as the dense network says"
        so_far = f", {estimate.correct} of them {counted}" if estimate.seen else ""
        raise Interrupted(
            f"Evaluation stopped after {estimate.seen} of {estimate.of} images{so_far}."
        ) from None
    return estimate
