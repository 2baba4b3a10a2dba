"""What a network is for: how its outputs become a loss and a score of every example, with targets or without.

A task is told by `load`, or guessed from outputs and targets where that is safe (`guess`).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn import functional

from explorer.data.fitting import HALVES, chosen_output, require_labels, require_logits
from explorer.errors import BadInput, ExplorerError

IGNORED = 255  # the class number of pixels that do not count, where a network has no such class; below 0 too


@dataclass(frozen=True)
class Task(ABC):
    """Outputs and targets of N examples -> losses and scores, float (N,), of each; higher scores are better.

    `measure` is what the mean of the scores is called, and `agreement` what it is called where the dense network's
    outputs stand for the targets. `classifies`: every example has one right class, `targets` are their numbers, int64
    (N,), and scores are 0 or 1.
    """

    name: str
    measure: str
    agreement: str = "agreement"
    classifies: bool = False

    def outputs(self, name: str, answer: Any, count: int) -> Any:
        """What is judged of the answer of the network `name` to `count` inputs. Raises BadInput."""
        outputs = chosen_output(answer)[1]
        if outputs is None or not outputs.is_floating_point() or outputs.shape[:1] != (count,):
            raise BadInput(
                f"{name} answered {count} inputs with {_said(answer)}; for {self.name} expected a float tensor with "
                "one row per input. Wrap the network so that it returns it, or pass loss= and score= to load()."
            )
        return outputs.float() if outputs.dtype in HALVES else outputs

    def matched(self, targets: Tensor, outputs: Any) -> Tensor:  # noqa: ARG002
        """Targets as losses and scores take them, for outputs of as many or fewer examples. Raises BadInput."""
        return targets

    def relative_to(self, targets: Tensor) -> Self:  # noqa: ARG002
        """The task as scores of these targets are told in it: some are relative to how they vary."""
        return self

    @abstractmethod
    def losses(self, outputs: Any, targets: Any) -> Tensor:
        """Loss of every example, float (N,)."""

    @abstractmethod
    def scores(self, outputs: Any, targets: Any) -> Tensor:
        """Score of every example, float (N,)."""

    def as_targets(self, outputs: Tensor) -> Tensor:
        """What a network's outputs would be as targets: of the dense network, where there are none."""
        return outputs


@dataclass(frozen=True)
class Classification(Task):
    """Top-1 class against the right one; a single logit tells two classes apart by its sign. Cross-entropy."""

    name: str = "classification"
    measure: str = "accuracy"
    classifies: bool = True

    def outputs(self, name: str, answer: Any, count: int) -> Tensor:
        return require_logits(name, answer, count)

    def matched(self, targets: Tensor, outputs: Tensor) -> Tensor:
        if targets.dim() == 2 and targets.shape[1] > 1 and one_hot(targets):
            targets = targets.argmax(1)
        elif targets.dim() == 2 and targets.shape[1] == 1:
            targets = targets[:, 0]
        if targets.dim() != 1 or not _whole(targets):
            raise _unfit(self, targets, outputs, "class numbers, int64 (N,)")
        require_labels(targets.long(), outputs)
        return targets.long()

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return functional.cross_entropy(outputs, targets, reduction="none")

    def scores(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs.argmax(1) == targets).float()

    def as_targets(self, outputs: Tensor) -> Tensor:
        return outputs.argmax(1)


@dataclass(frozen=True)
class MultiLabel(Task):
    """K labels, each decided by the sign of its logit: share of the K that are right. Binary cross-entropy."""

    name: str = "multi-label"
    measure: str = "labels right"

    def matched(self, targets: Tensor, outputs: Tensor) -> Tensor:
        if targets.shape[1:] != outputs.shape[1:] or not _binary(targets):
            raise _unfit(self, targets, outputs, "0 or 1 for every output")
        return targets.float()

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        losses = functional.binary_cross_entropy_with_logits(
            outputs, targets.to(outputs.dtype), reduction="none"
        )
        return losses.flatten(1).mean(1)

    def scores(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return ((outputs > 0) == (targets > 0.5)).flatten(1).float().mean(1)

    def as_targets(self, outputs: Tensor) -> Tensor:
        return (outputs > 0).to(outputs.dtype)


@dataclass(frozen=True)
class Regression(Task):
    """Numbers against numbers: 1 - squared error / variance of the targets, whose mean over examples is R2.

    The variance is about the mean of every output over the examples of `relative_to`, pooled over outputs. Squared
    error.
    """

    name: str = "regression"
    measure: str = "R2"
    agreement: str = "1 - relative error"
    variance: float = 1.0

    def matched(self, targets: Tensor, outputs: Tensor) -> Tensor:
        if targets.shape[1:].numel() != outputs.shape[1:].numel() or targets.dim() > outputs.dim() + 1:
            raise _unfit(self, targets, outputs, "a number for every output")
        return targets.float().reshape(len(targets), *outputs.shape[1:])

    def relative_to(self, targets: Tensor) -> Self:
        centred = targets.double() - targets.double().mean(0, keepdim=True)
        variance = float(centred.square().mean())
        if not variance:  # one example, or all alike: relative to their size then
            variance = float(targets.double().square().mean())
        return replace(self, variance=variance or 1.0)

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs - targets.to(outputs.dtype)).square().flatten(1).mean(1)

    def scores(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return 1 - self.losses(outputs, targets) / self.variance


@dataclass(frozen=True)
class Segmentation(Task):
    """A class for every pixel: share of the pixels that are right or, with `overlap`, the mean over the classes that an
    image has, or is said to have, of their intersection over union. Cross-entropy. Pixels of a class number that the
    network does not have, 255 or below 0, do not count.
    """

    name: str = "segmentation"
    measure: str = "pixel accuracy"
    overlap: bool = False

    def outputs(self, name: str, answer: Any, count: int) -> Tensor:
        outputs: Tensor = super().outputs(name, answer, count)
        if outputs.dim() < 3:
            raise _unfit(
                self, outputs, outputs, "class logits for every pixel, (N, classes, H, W), from the network"
            )
        return torch.cat([torch.zeros_like(outputs), outputs], 1) if outputs.shape[1] == 1 else outputs

    def matched(self, targets: Tensor, outputs: Tensor) -> Tensor:
        if targets.dim() == outputs.dim() and targets.shape[1] == 1:
            targets = targets[:, 0]
        whole = not targets.is_floating_point() or _binary(targets)
        if (
            targets.shape[1:] != outputs.shape[:1] + outputs.shape[2:]
            and targets.shape[1:] != outputs.shape[2:]
        ):
            whole = False
        if not whole:
            raise _unfit(self, targets, outputs, "a class number for every pixel, int64 (N, H, W)")
        targets = targets.long()
        counted = self._counted(targets, outputs)
        if (most := int(targets[counted].max()) if counted.any() else 0) >= outputs.shape[1]:
            raise BadInput(
                f"Class {most} of a pixel is out of range: the network tells {outputs.shape[1]} classes apart. Number "
                f"them from 0, and pixels that do not count {IGNORED}."
            )
        if not (some := counted.flatten(1).any(1)).all():
            raise BadInput(f"Image {int((~some).nonzero()[0])} has no pixel that counts: leave it out.")
        return targets

    @staticmethod
    def _counted(targets: Tensor, outputs: Tensor) -> Tensor:
        return (targets >= 0) & ((targets != IGNORED) | (outputs.shape[1] > IGNORED))

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        counted = self._counted(targets, outputs)
        losses = functional.cross_entropy(outputs, targets.where(counted, 0), reduction="none") * counted
        return losses.flatten(1).sum(1) / counted.flatten(1).sum(1)

    def scores(self, outputs: Tensor, targets: Tensor) -> Tensor:
        counted = self._counted(targets, outputs).flatten(1)
        said, right = outputs.argmax(1).flatten(1), targets.flatten(1)
        if not self.overlap:
            return ((said == right) & counted).sum(1) / counted.sum(1)
        here = [((said == each) & counted, (right == each) & counted) for each in range(outputs.shape[1])]
        both = torch.stack([(one & other).sum(1) for one, other in here], 1)
        either = torch.stack([(one | other).sum(1) for one, other in here], 1)
        return (both / either.clamp(min=1)).sum(1) / (either > 0).sum(1)

    def as_targets(self, outputs: Tensor) -> Tensor:
        return outputs.argmax(1)


@dataclass(frozen=True)
class Own(Task):
    """The user's own loss f and score g of the network's answer as it is and of the targets of a batch."""

    name: str = "your own task"
    measure: str = "score"
    loss: Callable[[Any, Any], Tensor] | None = None
    score: Callable[[Any, Any], Tensor] | None = None

    def outputs(self, name: str, answer: Any, count: int) -> Any:  # noqa: ARG002
        return answer

    def losses(self, outputs: Any, targets: Any) -> Tensor:
        """The batch's loss, for each of its N examples alike: only its mean is known."""
        if self.loss is None:
            raise BadInput("This needs a loss, and load() was given a score only: pass loss=f too.")
        loss = _called("loss", self.loss, outputs, targets)
        if loss.numel() != 1:
            raise BadInput(
                f"loss answered a tensor of shape {tuple(loss.shape)}; expected a scalar, such as its mean."
            )
        return loss.reshape(1).expand(len(targets))

    def scores(self, outputs: Any, targets: Any) -> Tensor:
        assert self.score is not None
        scores = _called("score", self.score, outputs, targets)
        if scores.shape != (len(targets),):
            raise BadInput(
                f"score answered {len(targets)} examples with a tensor of shape {tuple(scores.shape)}; expected float "
                f"({len(targets)},): one score per example, higher = better."
            )
        return scores.float()


CLASSIFICATION, REGRESSION = Classification(), Regression()
TASKS: Mapping[str, Task] = {
    "classification": CLASSIFICATION,
    "binary": CLASSIFICATION,
    "multi-label": MultiLabel(),
    "regression": REGRESSION,
    "segmentation": Segmentation(),
    "segmentation (mean IoU)": Segmentation(measure="mean IoU", overlap=True),
}
"""The tasks that `load(task=...)` knows by name."""


def guess(name: str, answer: Any, targets: Tensor | None) -> Task:
    """The task of the network `name` that answers so, and of targets (N, ...) or none, where these tell it.

    Raises BadInput, with what may be passed, where they do not.
    """
    outputs = chosen_output(answer)[1]
    if outputs is None or not outputs.is_floating_point():
        raise BadInput(
            f"{name} answers with {_said(answer)}, of which no task can be guessed. Pass loss=f and score=g to load(), "
            "functions of outputs and targets, or wrap the network so that it returns one float tensor."
        )
    if targets is None:
        return CLASSIFICATION if outputs.dim() == 2 else REGRESSION
    shape, of = tuple(targets.shape[1:]), tuple(outputs.shape[1:])
    floating, binary = targets.is_floating_point(), _binary(targets)
    one_number = of in ((), (1,))
    if (
        len(of) <= 1
        and shape in ((), (1,))
        and (binary or not floating or (_whole(targets) and not one_number))
    ):
        if one_number and not binary:
            raise BadInput(
                f"The targets are whole numbers up to {int(targets.max())} and {name} answers with one number. If they "
                'are quantities, pass task="regression"; of two classes they are 0 and 1.'
            )
        return CLASSIFICATION
    if len(of) == 1 and shape == of and of != (1,):
        if binary:
            return CLASSIFICATION if one_hot(targets) else TASKS["multi-label"]
        if (
            floating
            and torch.allclose(targets.sum(1), torch.ones(()), atol=1e-3)
            and bool((targets >= 0).all())
        ):
            raise BadInput(
                "Every row of the targets adds up to 1, as the probabilities of classes do. Pass the class numbers, "
                'targets.argmax(1), or task="regression" if these numbers are to be met.'
            )
        return REGRESSION
    if len(of) > 1 and (shape == of[1:] or shape == (1, *of[1:])) and (binary or not floating):
        return TASKS["segmentation"]
    if torch.Size(shape).numel() == torch.Size(of).numel() and floating:
        return REGRESSION
    raise BadInput(
        f"Targets of shape {(len(targets), *shape)} ({targets.dtype}) and outputs of shape (N, "
        f"{', '.join(map(str, of))}) of {name} do not tell a task. Pass task=, one of "
        f"{', '.join(map(repr, TASKS))}, or loss=f and score=g, functions of outputs and targets."
    )


def as_task(task: object, loss: object, score: object) -> Task | None:
    """The task that `load` was told: by name or as a value, or of the user's own functions. None: to be guessed."""
    for what, given in (("loss", loss), ("score", score)):
        if given is not None and not callable(given):
            raise BadInput(f"{what} is a {type(given).__name__}; expected a function of outputs and targets.")
    if score is None and loss is not None:
        raise BadInput(
            "loss= alone does not say how good an output is: pass score=g too, a function of outputs and targets that "
            "answers float (N,), one number per example, higher = better."
        )
    if score is not None:
        if task is not None:
            raise BadInput("Pass either task=, or loss= and score= of your own.")
        return Own(loss=loss, score=score)  # type: ignore[arg-type]
    if task is None or isinstance(task, Task):
        return task
    if not isinstance(task, str) or task not in TASKS:
        raise BadInput(
            f"There is no task {task!r}. Known: {', '.join(map(repr, TASKS))}; or pass loss=f and score=g."
        )
    return TASKS[task]


def one_hot(targets: Tensor) -> bool:
    """Whether every row (N, K) has a single 1 among zeros."""
    return targets.dim() == 2 and _binary(targets) and bool((targets.sum(1) == 1).all())


def _binary(targets: Tensor) -> bool:
    return bool(((targets == 0) | (targets == 1)).all())


def _whole(targets: Tensor) -> bool:
    """Whether these are whole numbers from 0 on."""
    return not targets.is_floating_point() or bool(((targets >= 0) & (targets == targets.round())).all())


def _called(what: str, function: Callable[[Any, Any], Tensor], outputs: Any, targets: Any) -> Tensor:
    """What a user's function answers; raises BadInput for what it raises, or answers instead of a tensor."""
    try:
        answer = function(outputs, targets)
    except ExplorerError:
        raise
    except Exception as error:  # it may raise anything
        raise BadInput(
            f"{what} cannot take outputs ({_said(outputs)}) and targets ({_said(targets)}): {type(error).__name__}: "
            f"{error}."
        ) from error
    if not isinstance(answer, Tensor):
        raise BadInput(f"{what} answered with a {type(answer).__name__}; expected a tensor.")
    return answer


def _unfit(task: Task, targets: Tensor, outputs: Tensor, expected: str) -> BadInput:
    return BadInput(
        f"For {task.name} expected {expected}; got targets of shape {tuple(targets.shape)} ({targets.dtype}) for "
        f"outputs of shape {tuple(outputs.shape)}. Pass task= if this is another task."
    )


def _said(answer: Any) -> str:
    if isinstance(answer, Tensor):
        return f"shape {tuple(answer.shape)}, {answer.dtype}"
    if isinstance(answer, Mapping):
        return f"a {type(answer).__name__} of {', '.join(map(str, answer))}"
    if isinstance(answer, tuple | list):
        return f"a {type(answer).__name__} of {len(answer)}"
    return f"a {type(answer).__name__}"
