"""The axes of accuracy against cost: ranges that show differences, with ends that are labelled.

A bare cut of a trained network falls off a cliff. A few states down there would press all others into one line,
so they are set aside: they are drawn at the foot of the plot, with their value.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from explorer.records import Visit
from explorer.values import Cost, next_step

HEIGHT = 226.0
BASE = 36.0  # pixels: the lowest accuracy, above the labels of the other axis
TOP = HEIGHT - 24.0
LEFT = -0.085
RIGHT = 1.035
PLOT_PIXELS = 424 / (RIGHT - LEFT)  # from 0 to 1 at the narrowest dashboard
FOOT = BASE + 6.0  # where states are drawn that are below the axis
NONE = float("nan")

CLIFF = 0.5  # part of all accuracies' range that is empty above a cliff's foot
CLIFF_LEAST = 0.25
NARROWEST = 0.06  # accuracies closer than that are not spread over the whole height
STRETCH = 1.2  # times the range of the states: so far a comparison may stretch the axis
STRETCH_LEAST = 0.25
STEPS = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 25.0)
MOST_TICKS = 5


@dataclass(frozen=True)
class Axes:
    """Accuracies from `low` to `high` and shares of the dense cost from `left` to `right`; ticks in percent.

    `unit` is what an accuracy of 1 reads on its axis: 100, or 1 of scores that are no shares.
    """

    low: float
    high: float
    left: float
    right: float
    accuracies: tuple[float, ...]
    shares: tuple[float, ...]
    unit: float = 100.0

    def x(self, share: float) -> float:
        """Place along the axis, 0 to 1."""
        return (share - self.left) / (self.right - self.left)

    def y(self, accuracy: float) -> float:
        """Pixels upwards; FOOT for what is below the axis."""
        if self.below(accuracy):
            return FOOT
        return BASE + (accuracy - self.low) / (self.high - self.low) * (TOP - BASE)

    def below(self, accuracy: float) -> bool:
        """Whether an accuracy is lower than the axis reaches."""
        return accuracy < self.low - 1e-9


def share_of(visit: Visit, x: str, dense: Cost) -> float | None:
    """Cost of a visit as a share of the dense network's: of "macs", "params", or "latency" of the largest batch
    measured; None where no latency was."""
    if x == "latency":
        if len(visit.latency) < 2:
            return None
        whole, now = visit.latency[-2:]
        return now.median / whole.median
    return cost_share(visit.cost, dense, x)


def cost_share(cost: Cost, dense: Cost, x: str) -> float:
    """ "macs" or "params" as a share of the dense network's; what costs nothing costs all of it."""
    whole = getattr(dense, x)
    return float(getattr(cost, x) / whole) if whole else 1.0


def axes_of(
    shares: Sequence[float],
    intervals: Sequence[tuple[float, float, float]],
    uniform: Sequence[tuple[float, float]] = (),
    percent: bool = True,
) -> Axes:
    """Axes for states of these shares and (low, accuracy, high), compared with these (share, accuracy).

    Without `percent` these are scores of any size.
    """
    if percent:
        low, high = _range(intervals, [accuracy for _share, accuracy in uniform])
        step, unit = next((s for s in STEPS if 100 * (high - low) <= MOST_TICKS * s), STEPS[-1]), 100.0
        high = min(high, 1.0)
    else:
        ends = [end for each in intervals for end in each if math.isfinite(end)] or [0.0, 1.0]
        low, high, unit = min(ends), max(ends), 1.0
        step = next_step(max(high - low, 1e-3 * abs(high), 1e-12) / MOST_TICKS)
    shares = [*shares, *(share for share, accuracy in uniform if accuracy >= low)]
    bottom, top = math.floor(unit * low / step + 1e-9), math.ceil(unit * high / step - 1e-9)
    accuracies = tuple(place * step for place in range(bottom, max(top, bottom + 1) + 1))
    left, right = 100 * min([*shares, 0.5]), 100 * max([*shares, 1.0])
    wide = 20 if right - left > 60 else 10
    start, end = math.floor(left / wide + 1e-9), math.ceil(right / wide - 1e-9)
    return Axes(
        accuracies[0] / unit,
        accuracies[-1] / unit,
        start * wide / 100,
        end * wide / 100,
        accuracies,
        tuple(float(place * wide) for place in range(start, end + 1)),
        unit,
    )


def _range(intervals: Sequence[tuple[float, float, float]], uniform: Sequence[float]) -> tuple[float, float]:
    if not intervals:
        return 0.0, 1.0
    floor = _floor([accuracy for _low, accuracy, _high in intervals])
    low = min(low for low, accuracy, _high in intervals if accuracy >= floor)
    high = max(high for _low, _accuracy, high in intervals)
    if uniform:
        low = min(low, max(min(uniform), high - max(STRETCH * (high - low), STRETCH_LEAST)))
    missing = max(0.0, NARROWEST - (high - low))
    return max(0.0, low - missing), high


def _floor(accuracies: Sequence[float]) -> float:
    """The lowest accuracy that the axis must show: of all, or of the states above a cliff."""
    ordered = sorted(accuracies, reverse=True)
    whole = ordered[0] - ordered[-1]
    for count in range(max(3, math.ceil(len(ordered) / 2)), len(ordered)):
        gap = ordered[count - 1] - ordered[count]
        if gap > CLIFF_LEAST and gap > CLIFF * whole:
            return ordered[count - 1]
    return ordered[-1]
