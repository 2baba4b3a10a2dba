"""How good a network's outputs are, batch by batch: for classes accuracy, else what the images' task counts.

Without targets: how far its outputs agree with the dense network's; for classes also how far its probabilities diverge.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from explorer.data import DataSource, Images, as_images, identity
from explorer.data.batches import fitting, split_evenly
from explorer.data.fitting import first_not_finite, require_logits, taking
from explorer.data.images import Split
from explorer.data.picking import Pick
from explorer.data.tasks import Own, Task, guess
from explorer.errors import BadInput, Interrupted
from explorer.graph.inputs import Batch, call_model
from explorer.values import Bools, Classes, Counts, Estimate, Floats, read_only
from explorer.zoo.network import Network

FIRST_BATCH = 100  # images before the first estimate; later batches may be larger
REMEMBERED = 2**28  # bytes of the dense network's outputs that are kept; others are worked out again
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


def forward(model: nn.Module, inputs: Batch) -> Any:
    """What a network answers to inputs (N, ...); raises BadInput where it cannot take them."""
    hint = "Check that the images have the size and channels that the network was made for."
    with taking(type(model).__name__, inputs, hint):
        return call_model(model, inputs)


def class_logits(model: nn.Module, inputs: Batch) -> Tensor:
    """Logits (N, classes) of inputs (N, ...); raises BadInput where the network cannot take or give that."""
    return require_logits(type(model).__name__, forward(model, inputs), len(inputs))


def not_finite(model: nn.Module) -> str:
    """Where NaN or infinity may come from, in words: the first weights tensor that holds any."""
    if bad := first_not_finite(model):
        return f"{bad}: load sound weights."
    return "all weights are finite, so they overflow on the way: check the scale of inputs and weights."


@dataclass(frozen=True, eq=False)
class Judged:
    """How good the outputs for the images seen so far are, (seen,) each, and the estimate that it comes to.

    `scores` are float32, 0 or 1 for classes. Where every image has one right class, `predicted` are the top-1 classes
    and `truth` the right ones; else None.
    """

    estimate: Estimate
    scores: Floats
    predicted: Classes | None = None
    truth: NDArray[np.int64] | None = None

    @property
    def right(self) -> Bools:
        """Where the two agree."""
        return read_only(self.scores > 0.5)


class Judge:
    """Holds networks against the targets of images or, where these have none, against what `dense` says of them.

    `dense` is asked once for every batch, when that is first needed, and must not be changed meanwhile. It agrees
    with itself by definition. Where it is given, batches are as large as memory holds of it.
    Raises BadInput for images without targets if there is no dense network.
    """

    def __init__(self, images: Images, dense: nn.Module | None = None) -> None:
        if not images.labelled and dense is None:
            raise BadInput(
                "These images have no labels, so accuracy cannot be counted. How well a smaller network agrees "
                "with the dense one can: pass the dense network, as in evaluate(small, data, dense=net.model)."
            )
        self.dense = None if images.labelled else dense
        self._largest = dense
        self._images = images
        self._told: tuple[Task, Any] | None = None  # the task, and targets as it takes them
        self._answers: dict[int, Any] = {}  # the dense network's outputs, by the first image of a batch
        self._kept = 0  # bytes of them
        self._lock = threading.Lock()

    def judge(
        self, model: nn.Module, state_key: str, batch: int = 125, check: Check = nothing
    ) -> Iterator[Judged]:
        """What the network says of the images, after each batch; the last time it is of all.

        The first batch has at most FIRST_BATCH images, the others at most `batch`, or fewer that fit memory. `check`
        is called before every batch and may raise. The network runs in eval and inference mode and is
        left as found between batches. Raises BadInput for inputs, targets or weights that cannot be evaluated.
        """
        images, of = self._images, len(self._images)
        itself = model is self.dense
        counts: Counts = "accuracy" if images.labelled else "itself" if itself else "agreement"
        scores = np.empty(of, dtype=np.float32)
        predicted, truth = np.empty(of, dtype=np.int16), np.empty(of, dtype=np.int64)
        total = divergence = 0.0
        largest = model if self._largest is None else self._largest
        with eval_mode(largest), torch.inference_mode():
            batch = fitting(largest, images.inputs(slice(0, 1)), batch)
        for rows in _batches(of, batch):
            check()
            dense = None if images.labelled else self._dense_outputs(rows)
            answer = None if itself else _answer(model, images, rows)
            task, targets = self._task(model, answer, dense, rows)
            outputs: Any = dense if itself else _outputs(task, model, answer, rows)
            with torch.inference_mode():
                if dense is None:
                    expected = targets[rows]
                else:
                    expected = task.as_targets(dense)
                    divergence += _apart(task, dense, outputs)
                scores[rows] = task.scores(outputs, expected).float().numpy()
            seen = rows.stop
            if not np.isfinite(scores[rows]).all():
                raise BadInput(
                    f"The {task.measure} of {type(model).__name__} is not finite; {not_finite(model)}"
                )
            here = read_only(scores[:seen])
            apart = None if dense is None or not task.classifies else divergence / seen
            measure = task.measure if images.labelled else task.agreement
            if task.classifies:
                predicted[rows], truth[rows] = outputs.argmax(1).numpy(), expected.numpy()
                right = int(np.count_nonzero(here))
                estimate = Estimate(state_key, right, seen, of, counts, apart, measure)
                yield Judged(estimate, here, read_only(predicted[:seen]), read_only(truth[:seen]))
            else:
                exact = here.astype(np.float64)
                total, squares = float(exact.sum()), float(np.square(exact).sum())
                yield Judged(Estimate(state_key, total, seen, of, counts, None, measure, squares), here)

    def _task(self, model: nn.Module, answer: Any, dense: Any, rows: slice) -> tuple[Task, Any]:
        """The task of the images, told or guessed at the first batch, and their targets as it takes them."""
        with self._lock:
            if self._told is None:
                name, task, targets = type(model).__name__, self._images.task, self._images.labels
                if dense is not None:
                    task = _without_targets(task, name, dense)
                    self._told = task.relative_to(dense), None
                else:
                    task = task or guess(name, answer, targets)
                    assert targets is not None
                    targets = task.matched(targets, task.outputs(name, answer, rows.stop - rows.start))
                    self._told = task.relative_to(targets), targets
            return self._told

    def _dense_outputs(self, rows: slice) -> Any:
        with self._lock:
            known = self._answers.get(rows.start)
        if known is not None:
            return known
        assert self.dense is not None
        answer = _answer(self.dense, self._images, rows)
        task = _without_targets(self._images.task, type(self.dense).__name__, answer)
        outputs = _outputs(task, self.dense, answer, rows)
        with self._lock:
            if self._kept + outputs.nbytes <= REMEMBERED and rows.start not in self._answers:
                self._answers[rows.start] = outputs
                self._kept += outputs.nbytes
        return outputs


def divergences(dense: Tensor, now: Tensor) -> Tensor:
    """KL(dense || now) of the softmax of logits (N, classes), in nats: float64 (N,), 0 or more.

    Kullback & Leibler 1951. Raises BadInput for different numbers of classes.
    """
    if dense.shape != now.shape:
        raise _other_outputs(tuple(dense.shape[1:]), tuple(now.shape[1:]))
    ours, theirs = now.double().log_softmax(1), dense.double().log_softmax(1)
    return (theirs.exp() * (theirs - ours)).sum(1).clamp(min=0)


def _batches(count: int, batch: int) -> Iterator[slice]:
    """A small first one, then as few as possible of equal sizes."""
    first = min(FIRST_BATCH, batch)
    rows = torch.arange(count)
    for part in (*split_evenly(rows[:first], first), *split_evenly(rows[first:], batch)):
        yield slice(int(part[0]), int(part[-1]) + 1)


def _without_targets(task: Task | None, name: str, answer: Any) -> Task:
    """The task by which outputs are held against the dense network's: a user's own functions need targets."""
    return guess(name, answer, None) if task is None or isinstance(task, Own) else task


def _apart(task: Task, dense: Tensor, now: Tensor) -> float:
    """Sum of the divergences of a batch of classifications; 0 for other tasks. Raises BadInput for other shapes."""
    if dense.shape != now.shape:
        raise _other_outputs(tuple(dense.shape[1:]), tuple(now.shape[1:]))
    return float(divergences(dense, now).sum()) if task.classifies else 0.0


def _other_outputs(dense: tuple[int, ...], now: tuple[int, ...]) -> BadInput:
    one, other = (
        f"{shape[0]} logits" if len(shape) == 1 else f"outputs of shape {shape}" for shape in (dense, now)
    )
    return BadInput(
        f"The dense network answers with {one} and this one with {other}: they do not "
        "tell the same things apart. Pass the network that this one was cut from."
    )


def _answer(model: nn.Module, images: Images, rows: slice) -> Any:
    with eval_mode(model), torch.inference_mode():
        return forward(model, images.inputs(rows))


def _outputs(task: Task, model: nn.Module, answer: Any, rows: slice) -> Any:
    """What the task judges of an answer, finite. Raises BadInput."""
    outputs = task.outputs(type(model).__name__, answer, rows.stop - rows.start)
    if isinstance(outputs, Tensor) and not torch.isfinite(outputs).all():
        raise BadInput(f"The outputs of {type(model).__name__} are not finite; {not_finite(model)}")
    return outputs


def evaluate(
    model: nn.Module | Network,
    data: DataSource | None = None,
    split: Split = "explore",
    dense: nn.Module | Network | None = None,
    pick: Pick | None = None,
) -> Estimate:
    """Accuracy of a network, or what else their task counts, on all images of a split ("train", "explore" or "final").

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
        if estimate.squares is not None:
            so_far = f": {estimate}"
        raise Interrupted(
            f"Evaluation stopped after {estimate.seen} of {estimate.of} images{so_far}."
        ) from None
    return estimate
