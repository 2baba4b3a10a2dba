"""The training road: what every method that trains runs on. Events with snapshots, stop and resume, one cost.

A method says how one step is done (`Run.step`); the road takes the time, notices what breaks down, keeps snapshots
and tells how far it is. Same settings and seed, same result, however often it was stopped between.
"""

import ctypes
import math
import os
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

import torch
from torch import nn

from explorer.chains import ChainRun
from explorer.data import Images
from explorer.errors import BadInput, ExplorerError
from explorer.instances import InstanceRun
from explorer.records import TrainingCost
from explorer.values import ChannelGraph, Plan
from explorer.zoo.files import require_sums
from explorer.zoo.network import Network

FORMAT = 1  # of a snapshot's file
NO_SNAPSHOT = (
    "{path} is not a snapshot of a search, or is damaged or of another version: delete it, or name another."
)
FRAMES = 120  # how often a view of a run is told, at most: steps of a replay


Seen = ChainRun | InstanceRun  # what a run saw so far, by its method's kind


class BrokeDown(ExplorerError):
    """Training came to numbers that are not finite. `snapshot` is the last sound one, None if there is none."""

    def __init__(self, message: str, snapshot: "Snapshot | None" = None) -> None:
        super().__init__(message)
        self.snapshot = snapshot


@dataclass(frozen=True)
class Told:
    """What one step has to tell: its phase, its losses by name, and the MACs of its forward passes."""

    phase: str
    losses: Mapping[str, float]
    macs: int


@dataclass(frozen=True, eq=False)
class Subject:
    """What a method works on: a network (never changed), its graph, training images with labels."""

    network: Network
    graph: ChannelGraph
    images: Images


class Run(Protocol):
    """A method at work. `of` steps; an epoch is `per_epoch` of them; `epoch_macs` as in TrainingCost."""

    of: int
    per_epoch: int
    epoch_macs: int

    def step(self, number: int) -> Told:
        """Do step `number` (from 0). Raises ExplorerError when a loss is not finite."""
        ...

    def planned(self, done: int) -> float:
        """About how many MACs the first `done` steps take together: only their proportion matters."""
        ...

    def content(self) -> dict[str, Any]:
        """All that changes from step to step: tensors, numbers, strings, lists and dicts of them; copies."""
        ...

    def restore(self, content: Mapping[str, Any]) -> None:
        """Go on from a content."""
        ...

    def look(self, done: int, losses: Mapping[str, float], training: TrainingCost) -> Seen:
        """Note a frame after `done` steps, and return what was seen so far."""
        ...

    def finish(self, training: TrainingCost) -> tuple[Seen, Plan | None, nn.Module]:
        """After the last step: the whole run, its plan, if it came to one, and the trained network in eval mode."""
        ...


class Method(Protocol):
    """A procedure that trains. One per file, listed in `METHODS`.

    `kind`: it comes to "widths", a plan for all images, or to "instances", a subnetwork for each. `label` is for
    people, `about` one sentence with the source; `settings` a dataclass of declared settings.
    """

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def label(self) -> str: ...
    @property
    def about(self) -> str: ...
    @property
    def settings(self) -> type: ...

    def begin(self, subject: Subject, settings: Any) -> Run:
        """A run at its first step. Raises ExplorerError for what cannot be searched, before any work is done."""
        ...


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A run between two steps: all that is needed to go on. `key` says of what (see `search_key`)."""

    method: str
    key: str
    step: int
    of: int
    seconds: float
    macs: int
    content: Mapping[str, Any] = field(repr=False)

    def __post_init__(self) -> None:
        for name, kind in _FIELDS.items():
            if not isinstance(getattr(self, name), kind):
                raise BadInput(f"A snapshot's {name} is a {kind.__name__}, not {getattr(self, name)!r}.")
        object.__setattr__(self, "content", MappingProxyType(dict(self.content)))

    def save(self, path: str | Path) -> None:
        """Write it to a file, whole or not at all. Raises ExplorerError if the file cannot be written."""
        path = Path(path)
        try:
            handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
            try:
                with os.fdopen(handle, "wb") as file:
                    fields = {name: getattr(self, name) for name in _FIELDS}
                    torch.save({**fields, "content": dict(self.content), "format": FORMAT}, file)
                Path(name).replace(path)
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise
        except (OSError, RuntimeError) as error:  # torch raises the latter, such as for a disk that is full
            raise ExplorerError(
                f"The snapshot cannot be written to {path} ({error}): name another file."
            ) from error

    @classmethod
    def load(cls, path: str | Path) -> "Snapshot":
        """Read a snapshot; no code in the file is run. Raises BadInput for a file that is no such one."""
        try:
            with Path(path).open("rb") as file, zipfile.ZipFile(file) as archive:
                require_sums(archive)  # torch itself does not look at them
                file.seek(0)
                found = torch.load(file, weights_only=True)
        except OSError as error:
            raise BadInput(f"The snapshot {path} cannot be read ({error.strerror or error}).") from error
        except Exception as error:  # what torch raises for a damaged file is not documented
            raise BadInput(NO_SNAPSHOT.format(path=path)) from error
        if not isinstance(found, dict) or set(found) != {*_FIELDS, "format"} or found.pop("format") != FORMAT:
            raise BadInput(NO_SNAPSHOT.format(path=path))
        return cls(**found)


_FIELDS = {
    "method": str,
    "key": str,
    "step": int,
    "of": int,
    "seconds": float,
    "macs": int,
    "content": Mapping,
}


@dataclass(frozen=True, eq=False)
class Found:
    """What a method came to, and the trained `network` in eval mode.

    Of kind "widths": the plan, and the full-width supernet whose first channels it keeps. Of kind "instances": no plan,
    and a `dynamic.network.Dynamic`.
    """

    method: str
    run: Seen
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
    run: Seen | None = None
    snapshot: Snapshot | None = None
    found: Found | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "losses", MappingProxyType(dict(self.losses)))


def never() -> bool:
    """The stop that never comes."""
    return False


def steps(
    method: str,
    run: Run,
    key: str,
    done: int,
    seconds: float,
    macs: int,
    stop: Callable[[], bool],
    last: Snapshot | None,
) -> Iterator[Event]:
    """All events of a run from step `done` on, which `seconds` and `macs` were spent on; `key` goes into snapshots.

    Raises BrokeDown with the snapshot `last`, or a later one.
    """
    losses: Mapping[str, float] = {}
    every = max(1, math.ceil(run.of / FRAMES))
    whole = run.planned(run.of)
    phase = ""

    def taken() -> TrainingCost:
        return TrainingCost(seconds, macs, run.epoch_macs)

    def snapshot() -> Snapshot:
        return Snapshot(method, key, done, run.of, seconds, macs, run.content())

    if not done and last is None:
        yield Event(0, run.of, phase, losses, taken(), None, run=run.look(0, losses, taken()))
    while done < run.of:
        started = time.perf_counter()
        try:
            if stop():
                yield Event(done, run.of, phase, losses, taken(), None, snapshot=snapshot())
                return
            told = run.step(done)
            done, macs, phase, losses = done + 1, macs + told.macs, told.phase, told.losses
            look = run.look(done, losses, taken()) if done % every == 0 or done == run.of else None
            seconds += time.perf_counter() - started
            kept = snapshot() if done % run.per_epoch == 0 else None
            give_back()
        except BrokeDown as error:
            raise BrokeDown(_told_where(str(error), done, run.of, last), last) from error
        last = kept or last
        left = seconds * (whole / run.planned(done) - 1)
        yield Event(done, run.of, phase, losses, taken(), left, look, kept)
    seen, plan, network = run.finish(taken())
    found = Found(method, seen, plan, network, taken())
    yield Event(done, run.of, phase, losses, taken(), 0.0, run=seen, found=found)


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


def require_finite_loss(name: str, value: float) -> float:
    """The value; raises BrokeDown if it is NaN or infinite."""
    if not math.isfinite(value):
        raise BrokeDown(f"the loss of {name} is {value}.")
    return value
