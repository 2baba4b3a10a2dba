"""The training loop: what every method that trains runs on. Events with snapshots, stop and resume, frames, one cost.

An algorithm says which parameters are updated at a step, and by which gradients (`base.Algorithm`); the loop owns the
order of a step, rates, clipping, random numbers, frames, snapshots and the time. Same settings and seed, same result,
however often it was stopped between.
"""

import ctypes
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from explorer.errors import BadInput
from explorer.graph.randomness import own_torch_numbers
from explorer.methods.base import CLIP, Algorithm, Method, Subject
from explorer.methods.repeatable import copied, require_alike
from explorer.methods.report import BrokeDown, Report
from explorer.methods.snapshots import Snapshot
from explorer.records import TrainingCost
from explorer.runs import Run
from explorer.values import Plan

FRAMES = 120  # how often a frame is noted, at most: steps of a replay


@dataclass(frozen=True, eq=False)
class Found:
    """What a method came to, and the trained `network` in eval mode.

    Of a method that yields widths: the plan, and the full-width network whose channels it keeps. Of one that yields
    instance subnetworks: no plan, and a `dynamic.network.Dynamic`.
    """

    method: str
    run: Run
    plan: Plan | None
    network: nn.Module
    training: TrainingCost


@dataclass(frozen=True, eq=False)
class Event:
    """After `step` of `of` steps. `losses` are those of the step before.

    `run` is there on about FRAMES of the events, `snapshot` at the end of every epoch and when it was stopped, `found`
    at the very end.
    """

    step: int
    of: int
    phase: str
    losses: Mapping[str, float]
    training: TrainingCost
    seconds_left: float | None
    run: Run | None = None
    snapshot: Snapshot | None = None
    found: Found | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "losses", MappingProxyType(dict(self.losses)))


def never() -> bool:
    """The stop that never comes."""
    return False


class Training:
    """An algorithm with its frames, between two steps."""

    def __init__(self, method: Method, subject: Subject, algorithm: Algorithm) -> None:
        self.method, self.algorithm, self._subject = method, algorithm, subject
        self._frames: list[tuple[int, dict[str, float], dict[str, float | Tensor]]] = []

    def step(self, number: int) -> Report:
        """Do step `number` (from 0). Raises ExplorerError when a loss is not finite."""
        algorithm, report = self.algorithm, Report()
        with (
            own_torch_numbers(algorithm.seed(number, 0)),
            torch.inference_mode(False),
            torch.enable_grad(),
        ):
            algorithm.before(number, report)
            for turn in algorithm.turns.values():
                if number < turn.begins:
                    continue
                for group in turn.optimiser.param_groups:
                    group["lr"] = turn.rate(number)
                turn.optimiser.zero_grad()
                turn.gradients(number, report)
                if turn.clipped:
                    nn.utils.clip_grad_norm_(turn.clipped, CLIP)
                turn.optimiser.step()
            algorithm.after(number, report)
        return report

    def content(self) -> dict[str, Any]:
        """All that changes from step to step: copies. Raises BrokeDown for weights that are not finite."""
        algorithm = self.algorithm
        tensors = {name: each.detach().clone() for name, each in algorithm.tensors.items()}
        bounded = (
            each
            for name, each in tensors.items()
            if each.is_floating_point() and name not in algorithm.unbounded
        )
        if not all(bool(torch.isfinite(each).all()) for each in bounded):
            raise BrokeDown("the weights are no longer finite numbers.")
        return {
            "tensors": tensors,
            "optimisers": {
                name: copied(turn.optimiser.state_dict()) for name, turn in algorithm.turns.items()
            },
            "frames": [list(frame) for frame in self._frames],
        }

    def restore(self, content: Mapping[str, Any]) -> None:
        """Go on from a content. Raises BadInput for one that does not fit."""
        algorithm = self.algorithm
        try:
            require_alike(algorithm.tensors, content["tensors"])
            with torch.no_grad():
                for name, tensor in algorithm.tensors.items():
                    tensor.copy_(content["tensors"][name])
            for name, turn in algorithm.turns.items():
                turn.optimiser.load_state_dict(copied(content["optimisers"][name]))
            self._frames = [
                (int(step), dict(losses), dict(frame)) for step, losses, frame in content["frames"]
            ]
        except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise BadInput(
                f"This snapshot does not fit the training ({error}): it is of another version. Begin anew without it."
            ) from error

    def look(self, done: int, losses: Mapping[str, float], training: TrainingCost) -> Run:
        """Note a frame after `done` steps, and return what was seen so far."""
        with torch.no_grad():
            self._frames.append((done, dict(losses), dict(self.algorithm.frame(done))))
        return self._run(training)

    def finish(self, training: TrainingCost) -> Found:
        """After the last step."""
        result = self.algorithm.result()
        run = self._run(training, result.widths or {}, ended=True)
        return Found(self.method.name, run, result.plan, result.network, training)

    def _run(
        self, training: TrainingCost, widths: Mapping[str, int] = MappingProxyType({}), ended: bool = False
    ) -> Run:
        algorithm, subject, frames = self.algorithm, self._subject, self._frames
        return self.method.run(
            network=subject.network.name,
            graph_key=subject.graph.key,
            method=self.method.name,
            of=algorithm.of,
            per_epoch=algorithm.per_epoch,
            steps=np.array([step for step, *_ in frames], dtype=np.int32),
            series={name: _series([frame[name] for *_, frame in frames]) for name in frames[0][2]},
            losses={
                name: np.array([losses.get(name, math.nan) for _, losses, _ in frames])
                for name in self.method.losses
            },
            settings=asdict(algorithm.settings),
            training=training,
            widths=widths,
            facts=algorithm.facts,
            ended=ended,
        )


def _series(frames: list[Any]) -> np.ndarray[Any, Any]:
    if isinstance(frames[0], Tensor):
        return torch.stack(frames).numpy()
    return np.array(frames, dtype=np.float64)


def steps(
    training: Training,
    key: str,
    last: Snapshot | None = None,
    stop: Callable[[], bool] = never,
) -> Iterator[Event]:
    """All events of a training, from the snapshot `last` on, which it was restored from; `key` goes into snapshots.

    Raises BrokeDown with the snapshot `last`, or a later one.
    """
    algorithm, method = training.algorithm, training.method
    done, seconds, macs = (0, 0.0, 0) if last is None else (last.step, last.seconds, last.macs)
    of, losses, phase = algorithm.of, MappingProxyType[str, float]({}), ""
    every = max(1, math.ceil(of / FRAMES))

    def taken() -> TrainingCost:
        return TrainingCost(seconds, macs, algorithm.epoch_macs)

    def snapshot() -> Snapshot:
        return Snapshot(method.name, key, done, of, seconds, macs, training.content())

    if last is None:
        yield Event(0, of, phase, losses, taken(), None, run=training.look(0, losses, taken()))
    while done < of:
        started = time.perf_counter()
        try:
            if stop():
                yield Event(done, of, phase, losses, taken(), None, snapshot=snapshot())
                return
            phase, report = algorithm.phase(done), training.step(done)
            done, macs, losses = done + 1, macs + report.macs, MappingProxyType(report.losses)
            look = training.look(done, losses, taken()) if done % every == 0 or done == of else None
            seconds += time.perf_counter() - started
            kept = snapshot() if done % algorithm.per_epoch == 0 else None
            give_back()
        except BrokeDown as error:
            raise BrokeDown(_told_where(str(error), done, of, last), last) from error
        last = kept or last
        left = seconds * (algorithm.planned(of) / algorithm.planned(done) - 1)
        yield Event(done, of, phase, losses, taken(), left, look, kept)
    found = training.finish(taken())
    yield Event(done, of, phase, losses, taken(), 0.0, run=found.run, found=found)


def give_back() -> None:
    """Have the C library return freed memory to the system, where it can (glibc).

    Subnetworks have tensors of ever other sizes, which leave its heap full of holes: without this a search of
    resnet20 grows from 1.0 to 1.8 GB in 140 steps, with nothing left to free.
    """
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def _told_where(what: str, done: int, of: int, last: Snapshot | None) -> str:
    kept = f"Its first {last.step} steps are kept. " if last else ""
    return f"The training broke down after step {done} of {of}: {what} {kept}Try a lower rate."
