"""What a chart shows, as values: axes, marks and the sentences that say the same. Nothing here draws."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

Numbers = Sequence[float]
ROLES = ("cut", "soft", "kept", "first", "lost", "chosen", "ink")
"""Of colours, as in figures.palette; of marks of one kind, those of later roles are drawn above."""


@dataclass(frozen=True)
class Axis:
    """From `low` to `high`; `ticks` {place: label}, or None for round numbers."""

    low: float
    high: float
    label: str = ""
    ticks: Mapping[float, str] | None = None


@dataclass(frozen=True)
class Line:
    """A line through points, NaN where it is broken; `says` is shown under the pointer."""

    x: Numbers
    y: Numbers
    role: str = "kept"
    width: float = 2.0
    says: str = ""


@dataclass(frozen=True)
class Bars:
    """Upright bars from 0 to `top`, each between `left` and `right`; `says` for each."""

    left: Numbers
    right: Numbers
    top: Numbers
    role: str = "kept"
    says: Sequence[str] = ()


@dataclass(frozen=True)
class Points:
    """Dots; `says` for each."""

    x: Numbers
    y: Numbers
    role: str = "kept"
    size: float = 7.0
    says: Sequence[str] = ()


@dataclass(frozen=True)
class Text:
    """Words at a place; `align` "left", "center" or "right" of them is there."""

    x: float
    y: float
    text: str
    role: str = "soft"
    align: str = "left"


Mark = Line | Bars | Points | Text


@dataclass(frozen=True)
class Chart:
    """Marks on two axes; `sentences` say what is to be seen."""

    x: Axis
    y: Axis
    marks: Sequence[Mark]
    sentences: Sequence[str] = field(default=())
