"""What an exploration leaves behind: the frozen values in which a session tells what it saw and did."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from explorer.values import Classes, Cost, Estimate, Latency, Plan, Recovery, Request


class Moment(NamedTuple):
    """A session's state at one moment. `estimate` may be of an earlier state; its key says of which.

    `latency` are pairs (dense, now) of every batch size that was timed of `plan`; empty if none was.
    """

    request: Request
    plan: Plan
    cost: Cost
    estimate: Estimate | None
    latency: tuple[Latency, ...]


@dataclass(frozen=True)
class Visit:
    """A state that was seen to the end: a point of the trade-off. `parent` is the visit that it came from."""

    number: int
    parent: int | None
    request: Request
    plan: Plan
    recovery: Recovery
    cost: Cost
    estimate: Estimate
    name: str = ""
    latency: tuple[Latency, ...] = ()


@dataclass(frozen=True)
class Training:
    """How far a training beside the explorer is; `ready`: it ended, and waits to be used."""

    request: Request
    step: int
    of: int
    loss: float
    seconds_left: float | None
    ready: bool = False


@dataclass(frozen=True)
class FinalCheck:
    """One look at the final images: accuracy of a state and of the dense network. `number` counts the looks."""

    number: int
    recovery: Recovery
    cost: Cost
    now: Estimate
    dense: Estimate


@dataclass(frozen=True, eq=False)
class Outcomes:
    """What two states say of the explore images: predicted classes, int16 (N,), and the labels, int64 (N,)."""

    reference: Classes
    now: Classes
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class SweepPoint:
    """A plan that was evaluated for comparison: `kind` is "uniform" or "random"; accuracy after `recovery`, which
    never trains."""

    kind: str
    keep: float
    cost: Cost
    estimate: Estimate
    recovery: Recovery
