"""What the training of a method saw so far, as one value: of one that runs, that was kept, or that ships."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from explorer.records import TrainingCost
from explorer.values import Floats, read_only


@dataclass(frozen=True, eq=False)
class Run:
    """Frames at some of the `of` steps of a training, in epochs of `per_epoch`.

    `steps` int32 (frames,): how many steps were done. `series` by name, (frames, ...): what a method notes at a frame.
    `losses` float32 (frames,) by name, NaN where there was none. `settings` are the method's, by name; `facts` what
    holds for all frames (texts, numbers, and lists of them). `widths` is the structure found, {group: width}, empty
    until the training `ended` and where a method finds none. Methods name their series by a subclass of their own.
    """

    network: str
    graph_key: str
    method: str
    of: int
    per_epoch: int
    steps: NDArray[np.int32]
    series: Mapping[str, NDArray[Any]]
    losses: Mapping[str, Floats]
    settings: Mapping[str, Any]
    training: TrainingCost
    widths: Mapping[str, int] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    ended: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", read_only(np.array(self.steps, dtype=np.int32)))
        series = {name: read_only(np.array(values)) for name, values in self.series.items()}
        losses = {name: read_only(np.array(values, np.float32)) for name, values in self.losses.items()}
        for name, values in {**series, **losses}.items():
            if len(values) != self.frames:
                raise ValueError(f"{name} is of {len(values)} frames where there are {self.frames} steps")
        for name, given in (("series", series), ("losses", losses)):
            object.__setattr__(self, name, MappingProxyType(given))
        for name in ("settings", "widths", "facts"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    @property
    def frames(self) -> int:
        return len(self.steps)


R = TypeVar("R", bound=Run)
E = TypeVar("E")


@dataclass(frozen=True, eq=False)
class Recorded(Generic[R, E]):
    """A run with what was measured after it, `evidence` of its method's own type (None: nothing).

    `command` made it; "" for a run of this session.
    """

    run: R
    evidence: E | None = None
    command: str = ""
