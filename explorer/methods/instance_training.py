"""Training a dynamic network on the training road: what ManiDP and FBS have in common.

All layers run dense and dropped channels are zeroed, so that a step costs what one of the dense network does. How much
every image keeps falls along a cosine and is at its goal after 60 % of the steps: the rest is trained with what is used
afterwards.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from explorer.costs import totals
from explorer.data.batches import split_evenly
from explorer.data.fitting import require_labels
from explorer.dynamic.counting import macs
from explorer.dynamic.evaluating import require_traced_size
from explorer.dynamic.network import Dynamic, Passed
from explorer.errors import BadInput
from explorer.evaluate.recovery import class_labels, share_of_peak
from explorer.graph.randomness import own_torch_numbers
from explorer.instances import InstanceRun
from explorer.methods.repeatable import copied, require_alike, rows_of, seed_of
from explorer.methods.road import BrokeDown, Subject, Told, require_finite_loss
from explorer.records import TrainingCost

MOMENTUM = 0.9
CLIP = 5.0  # total norm of all gradients
RISE = 0.05  # share of the steps in which the rate rises
PHASES = 10  # how often the level, and ManiDP's thresholds, are set anew
RAMP = 0.6  # share of the phases after which the level is what was asked for
CALIBRATION = 1000  # training images that thresholds are taken from
CALIBRATION_BATCH = 125


class InstanceTraining(ABC):
    """A run on the training road (`road.Run`). What is drawn at a step depends on the seed and its number alone.

    `settings` has epochs, batch, rate, weight_decay and seed; `goal` is the level at the end.
    """

    method: str

    def __init__(self, subject: Subject, settings: Any, dynamic: Dynamic, goal: float) -> None:
        self._subject, self._settings, self._dynamic, self._goal = subject, settings, dynamic, goal
        self._labels = class_labels(subject.images)
        _require_images(subject, settings.batch)
        graph = subject.graph
        parameters = dynamic.model.parameters()
        trained = [p for p in parameters if p.requires_grad]
        if not trained:
            raise BadInput(
                f"No parameter of {subject.network.name} requires gradients, so there is nothing to train: call "
                "model.requires_grad_(True) before loading it."
            )
        own = [*dynamic.heads.parameters(), *dynamic.shifts.parameters()]
        groups = [
            {"params": [p for p in trained if p.dim() > 1], "weight_decay": settings.weight_decay},
            {"params": [p for p in trained if p.dim() <= 1] + own, "weight_decay": 0.0},
        ]
        self._trained = trained + own
        self._sgd = torch.optim.SGD(groups, lr=settings.rate, momentum=MOMENTUM, nesterov=True)
        rows = torch.arange(len(subject.images))
        self._rows = rows
        self.per_epoch = len(split_evenly(rows, settings.batch))
        self.of = settings.epochs * self.per_epoch
        self._dense = int(totals(graph, graph.sizes, "macs"))
        self.epoch_macs = self._dense * len(rows)
        self._task = torch.zeros(2, dtype=torch.float64)  # sum of this epoch's losses, and their number
        self._mean_task = torch.full((), math.nan, dtype=torch.float64)  # mean loss of the epoch before
        self._keep: Tensor | None = None
        self._looked = 0  # images that a step ran beside its own
        self._frames: list[tuple[int, float, float, dict[str, float]]] = []

    # ---- what methods differ in ---------------------------------------------------------------------------

    @abstractmethod
    def _terms(self, passed: Passed, losses: Tensor) -> dict[str, tuple[float, Tensor]]:
        """The terms beside the cross-entropy, by name: (factor, tensor ()). `losses` (B,) is that of every image."""

    @abstractmethod
    def _calibrate(self) -> None:
        """Take what channels are chosen by from training images, where the method does."""

    # ---- one step -----------------------------------------------------------------------------------------

    def step(self, number: int) -> Told:
        rows = rows_of(self._settings.seed, number, self.per_epoch, self._rows, self._settings.batch)
        seed = seed_of(self._settings.seed, number, 0)
        self._looked = 0
        with own_torch_numbers(seed), torch.inference_mode(False), torch.enable_grad():
            if number == 0:
                self._mean_task = self._first_task()
            if self._begins_phase(number):
                self._calibrate()
            told = self._step(number, rows)
            if number + 1 == self.of:
                self._calibrate()
        if (number + 1) % self.per_epoch == 0:
            self._mean_task, self._task = self._task[0] / self._task[1], torch.zeros_like(self._task)
        ran = len(rows) + self._looked
        return Told("train", told, (self._dense + self._dynamic.module_macs) * ran)

    def _step(self, number: int, rows: Tensor) -> dict[str, float]:
        self._dynamic.train()
        inputs, labels = self._subject.images.inputs(rows), self._labels[rows]
        for group in self._sgd.param_groups:
            group["lr"] = self._settings.rate * share_of_peak(number, self.of, RISE)
        self._sgd.zero_grad()
        passed = self._dynamic.passed(inputs, self._level(number))
        require_labels(labels, passed.logits)
        losses = cross_entropy(passed.logits, labels, reduction="none")
        task = losses.mean()
        told = {"task": require_finite_loss("the images", task.item())}
        loss = task
        for name, (factor, term) in self._terms(passed, losses.detach()).items():
            told[name] = require_finite_loss(f"the term {name}", term.item())
            if factor:
                loss = loss + factor * term
        try:
            loss.backward()
        except RuntimeError as error:
            raise BadInput(
                f"{self._subject.network.name} cannot be trained with channels chosen by image ({error}). Where it "
                "computes parts of its forward anew in the backward pass (checkpointing), switch that off."
            ) from error
        nn.utils.clip_grad_norm_(self._trained, CLIP)
        self._sgd.step()
        self._task += torch.tensor([float(losses.detach().sum()), len(rows)], dtype=torch.float64)
        self._keep = passed.keep
        return told

    def _phase(self, number: int) -> int:
        return number * PHASES // self.of

    def _begins_phase(self, number: int) -> bool:
        return number > 0 and self._phase(number) != self._phase(number - 1)

    def _level(self, number: int) -> float:
        """1 in the first phase, then falling along half a cosine to the goal."""
        done = min(1.0, self._phase(number) / (RAMP * PHASES))
        return (1 + self._goal) / 2 + (1 - self._goal) / 2 * math.cos(math.pi * done)

    def _first_task(self) -> Tensor:
        """Mean cross-entropy before the first step: what images count as easy by in the first epoch."""
        images = self._subject.images.mixed(CALIBRATION)
        assert images.labels is not None
        total = 0.0
        self._dynamic.eval()
        with torch.no_grad():
            for rows in split_evenly(torch.arange(len(images)), CALIBRATION_BATCH):
                logits = self._dynamic.passed(images.inputs(rows), 1.0).logits
                self._looked += len(rows)
                require_labels(images.labels[rows], logits)
                total += float(cross_entropy(logits, images.labels[rows], reduction="sum"))
        return torch.tensor(total / len(images), dtype=torch.float64)

    # ---- what the road asks -------------------------------------------------------------------------------

    def planned(self, done: int) -> float:
        return float(done)

    def content(self) -> dict[str, Any]:
        tensors = {name: each.detach().clone() for name, each in self._dynamic.state_dict().items()}
        weights = (each for name, each in tensors.items() if each.is_floating_point() and name != "quantiles")
        if not all(bool(torch.isfinite(each).all()) for each in weights):
            raise BrokeDown("the weights are no longer finite numbers.")
        return {
            "tensors": tensors,
            "sgd": copied(self._sgd.state_dict()),
            "task": self._task.clone(),
            "mean_task": self._mean_task.clone(),
            "frames": [list(frame) for frame in self._frames],
        }

    def restore(self, content: Mapping[str, Any]) -> None:
        own = self._dynamic.state_dict()
        try:
            require_alike(own, content["tensors"])
            self._dynamic.load_state_dict(content["tensors"])
            self._sgd.load_state_dict(copied(content["sgd"]))
            self._task, self._mean_task = content["task"].clone(), content["mean_task"].clone()
            self._frames = [
                (int(step), float(share), float(level), dict(told))
                for step, share, level, told in content["frames"]
            ]
        except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise BadInput(
                f"This snapshot does not fit the training ({error}): it is of another version. Begin anew without it."
            ) from error

    def look(self, done: int, losses: Mapping[str, float], training: TrainingCost) -> InstanceRun:
        share = math.nan
        if self._keep is not None:
            kept = self._keep.numpy()
            share = float(
                np.mean(macs(self._subject.graph, self._dynamic.sites, kept, self._dynamic.module_macs))
            )
            share /= self._dense
        self._frames.append((done, share, self._level(max(0, done - 1)), dict(losses)))
        return self._run(training, ended=False)

    def finish(self, training: TrainingCost) -> tuple[InstanceRun, None, nn.Module]:
        self._sgd.zero_grad()
        self._dynamic.level = self._goal
        return self._run(training, ended=True), None, self._dynamic.eval()

    def _run(self, training: TrainingCost, ended: bool) -> InstanceRun:
        names = ("task", "sparsity", "similarity")
        frames = self._frames
        return InstanceRun(
            network=self._subject.network.name,
            graph_key=self._subject.graph.key,
            method=self.method,
            of=self.of,
            per_epoch=self.per_epoch,
            steps=np.array([frame[0] for frame in frames], dtype=np.int32),
            shares=np.array([frame[1] for frame in frames]),
            levels=np.array([frame[2] for frame in frames]),
            losses={name: np.array([frame[3].get(name, math.nan) for frame in frames]) for name in names},
            settings=asdict(self._settings),
            training=training,
            ended=ended,
        )


def planned_epochs(method: str, epochs: int, images: int) -> float:
    """About as many epochs of training the dense network as a training costs: what it looks at besides counts too."""
    looks = 1 + (PHASES if method == "manidp" else 0)  # losses before the first step, then thresholds
    return epochs + looks * min(CALIBRATION, images) / max(images, 1)


def _require_images(subject: Subject, batch: int) -> None:
    images = subject.images
    if len(images) < batch:
        raise BadInput(
            f"A batch has {batch} images, and there are {len(images)} training images. Pass a smaller batch, such "
            f"as batch={max(4, len(images) // 4)}, or more images."
        )
    require_traced_size(subject.graph, images)
    labels = class_labels(images)
    if bool((labels == labels[0]).all()):
        raise BadInput(
            f"All training images are of one class ({int(labels[0])}), so there is nothing to tell apart and no image "
            "is harder than another. Pass images of several classes."
        )
