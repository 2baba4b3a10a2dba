"""Training a dynamic network: what ManiDP and FBS have in common.

All layers run dense and dropped channels are zeroed, so that a step costs what one of the dense network does. How much
every image keeps falls along a cosine and is at its goal after 60 % of the steps: the rest is trained with what is used
afterwards.
"""

import math
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from explorer.charts.curves import over_steps
from explorer.charts.marks import Chart
from explorer.data.batches import split_evenly
from explorer.data.fitting import require_labels
from explorer.dynamic.counting import macs
from explorer.dynamic.evaluating import require_traced_size
from explorer.dynamic.network import Dynamic, Passed
from explorer.errors import BadInput
from explorer.evaluate.recovery import share_of_peak
from explorer.instances import InstanceRun
from explorer.methods.base import LOSSES, Algorithm, Method, Result, Seen, Subject, Turn, View
from explorer.methods.report import Report
from explorer.values import ChannelGraph

RISE = 0.05  # share of the steps in which the rate rises
PHASES = 10  # how often the level, and ManiDP's thresholds, are set anew
RAMP = 0.6  # share of the phases after which the level is what was asked for
CALIBRATION = 1000  # training images that thresholds are taken from
CALIBRATION_BATCH = 125


def shares_view(seen: Seen) -> Chart:
    """The mean share of the MACs of a step's images, and the share of channels that is aimed at."""
    run, frame, say = seen.run, seen.frame, seen.say
    curves = {say("share_macs"): run.series["shares"], say("share_channels"): run.series["levels"]}
    sentences = [
        say(
            "share_says",
            name=name,
            percent=f"{100 * values[frame]:.0f}" if values[frame] == values[frame] else "–",
        )
        for name, values in curves.items()
    ]
    ticks = {0.0: "0", 0.5: "50 %", 1.0: "100 %"}
    return over_steps(run, frame, curves, say, "", (0.0, 1.05), sentences, ticks)


class InstanceMethod(Method):
    """A method that yields a subnetwork for every image."""

    views = (View("view_shares", shares_view), LOSSES)
    yields = "instances"
    run = InstanceRun
    calibrated: ClassVar[int] = 0  # how often the training images of CALIBRATION are looked at besides

    def refusal(self, graph: ChannelGraph) -> str:
        return "" if graph.folds else "instance_no_norm"

    def epochs(self, graph: ChannelGraph, images: int, settings: Mapping[str, Any]) -> float:  # noqa: ARG002
        """About as many epochs of training the dense network as a training costs: what it looks at besides counts."""
        return settings["epochs"] + (1 + self.calibrated) * min(CALIBRATION, images) / max(images, 1)


class InstanceTraining(Algorithm):
    """`settings` has epochs, batch, rate, weight_decay and seed; `goal` is the level at the end."""

    unbounded = ("quantiles", "mean_task")

    def __init__(self, subject: Subject, settings: Any, dynamic: Dynamic, goal: float) -> None:
        super().__init__(subject, settings, settings.epochs)
        self._dynamic, self._goal = dynamic, goal
        require_traced_size(subject.graph, subject.images)
        if bool((self.labels == self.labels[0]).all()):
            raise BadInput(
                f"All training images are of one class ({int(self.labels[0])}), so there is nothing to tell apart and "
                "no image is harder than another. Pass images of several classes."
            )
        own = [*dynamic.heads.parameters(), *dynamic.shifts.parameters()]
        sgd, trained = self.sgd(dynamic.model.parameters(), own)
        self.turns = {"weights": Turn(sgd, self._rate, self._gradients, clipped=trained)}
        self._task = torch.zeros(2, dtype=torch.float64)  # sum of this epoch's losses, and their number
        self._mean_task = torch.full((), math.nan, dtype=torch.float64)  # mean loss of the epoch before
        self.tensors = {**dynamic.state_dict(), "task": self._task, "mean_task": self._mean_task}
        self._keep: Tensor | None = None
        self._ran = self.dense + dynamic.module_macs

    # ---- what methods differ in ---------------------------------------------------------------------------

    @abstractmethod
    def _terms(self, passed: Passed, losses: Tensor) -> dict[str, tuple[float, Tensor]]:
        """The terms beside the cross-entropy, by name: (factor, tensor ()). `losses` (B,) is that of every image."""

    def _calibrate(self) -> int:
        """Take what channels are chosen by from training images, where the method does; and from how many."""
        return 0

    # ---- one step -----------------------------------------------------------------------------------------

    def before(self, number: int, report: Report) -> None:
        if number == 0:
            self._mean_task.copy_(self._first_task(report))
        if number > 0 and self._phase(number) != self._phase(number - 1):
            report.ran(self._calibrate(), self._ran)

    def after(self, number: int, report: Report) -> None:
        if number + 1 == self.of:
            report.ran(self._calibrate(), self._ran)
        if (number + 1) % self.per_epoch == 0:
            self._mean_task.copy_(self._task[0] / self._task[1])
            self._task.zero_()

    def _rate(self, number: int) -> float:
        return self.settings.rate * share_of_peak(number, self.of, RISE)

    def _gradients(self, number: int, report: Report) -> None:
        self._dynamic.train()
        rows = self.batch(number)
        inputs, labels = self.subject.images.inputs(rows), self.labels[rows]
        passed = self._dynamic.passed(inputs, self._level(number))
        require_labels(labels, passed.logits)
        losses = cross_entropy(passed.logits, labels, reduction="none")
        loss = losses.mean()
        report.loss("task", loss, "the images")
        for name, (factor, term) in self._terms(passed, losses.detach()).items():
            report.loss(name, term)
            if factor:
                loss = loss + factor * term
        try:
            loss.backward()
        except RuntimeError as error:
            raise BadInput(
                f"{self.subject.network.name} cannot be trained with channels chosen by image ({error}). Where it "
                "computes parts of its forward anew in the backward pass (checkpointing), switch that off."
            ) from error
        self._task += torch.tensor([float(losses.detach().sum()), len(rows)], dtype=torch.float64)
        self._keep = passed.keep
        report.ran(len(rows), self._ran)

    def _phase(self, number: int) -> int:
        return number * PHASES // self.of

    def _level(self, number: int) -> float:
        """1 in the first phase, then falling along half a cosine to the goal."""
        done = min(1.0, self._phase(number) / (RAMP * PHASES))
        return (1 + self._goal) / 2 + (1 - self._goal) / 2 * math.cos(math.pi * done)

    def _first_task(self, report: Report) -> Tensor:
        """Mean cross-entropy before the first step: what images count as easy by in the first epoch."""
        images = self.subject.images.mixed(CALIBRATION)
        assert images.labels is not None
        total = 0.0
        self._dynamic.eval()
        with torch.no_grad():
            for rows in split_evenly(torch.arange(len(images)), CALIBRATION_BATCH):
                logits = self._dynamic.passed(images.inputs(rows), 1.0).logits
                require_labels(images.labels[rows], logits)
                total += float(cross_entropy(logits, images.labels[rows], reduction="sum"))
        report.ran(len(images), self._ran)
        return torch.tensor(total / len(images), dtype=torch.float64)

    # ---- what the loop asks -------------------------------------------------------------------------------

    def frame(self, done: int) -> Mapping[str, float | Tensor]:
        share = math.nan
        if self._keep is not None:
            dynamic = self._dynamic
            kept = macs(self.subject.graph, dynamic.sites, self._keep.numpy(), dynamic.module_macs)
            share = float(np.mean(kept)) / self.dense
        return {"shares": share, "levels": self._level(max(0, done - 1))}

    def result(self) -> Result:
        for turn in self.turns.values():
            turn.optimiser.zero_grad()
        self._dynamic.level = self._goal
        return Result(self._dynamic.eval())
