"""Curves of plans without insight, cut off where the axis ends: a line in the middle of an area."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from explorer.figures.trade_axes import BASE, NONE, TOP, Axes, cost_share
from explorer.records import SweepPoint
from explorer.values import Cost, Recovery

SAMPLES = 49  # points of a curve, so that it can end where it meets the foot of the plot


@dataclass(frozen=True)
class Curve:
    """A line and its area, in places of the plot. `seeds`: draws per share; `spots`: where its name may stand."""

    kind: str
    recovery: Recovery
    seeds: int
    x: list[float]
    middle: list[float]
    low: list[float]
    high: list[float]
    spots: list[tuple[float, float]]


def curves(points: Sequence[SweepPoint], x: str, dense: Cost, axes: Axes) -> list[Curve]:
    """One curve of each kind that has two points or more and is not wholly below the axis.

    Uniform: the accuracy within its 95 % interval. Random and drawn: the median of the draws between the worst and the
    best.
    """
    found = []
    for kind in ("drawn", "random", "uniform"):
        by_share: dict[float, list[SweepPoint]] = {}
        for point in points:
            if point.kind == kind:
                by_share.setdefault(cost_share(point.cost, dense, x), []).append(point)
        curve = _curve(kind, by_share, axes) if len(by_share) > 1 else None
        if curve is not None:
            found.append(curve)
    return found


def _curve(kind: str, by_share: dict[float, list[SweepPoint]], axes: Axes) -> Curve | None:
    shares = sorted(by_share)
    rows = np.array([_spread(kind, by_share[share]) for share in shares])
    dots = np.linspace(min(max(shares[0], axes.left), shares[-1]), shares[-1], SAMPLES)
    middle, low, high = (_heights(np.interp(dots, shares, rows[:, column]), axes) for column in range(3))
    seen = middle >= BASE
    if not seen.any():
        return None
    places = [axes.x(share) for share in dots.tolist()]
    visible = np.flatnonzero(seen)
    named = [int(visible[len(visible) * sixth // 6]) for sixth in (2, 1, 3, 4, 5)]
    return Curve(
        kind,
        by_share[shares[0]][0].recovery,
        max(map(len, by_share.values())),
        places,
        np.where(seen, middle, NONE).tolist(),
        low.clip(BASE, TOP).tolist(),
        high.clip(BASE, TOP).tolist(),
        [(places[place], float(middle[place])) for place in named],
    )


def _spread(kind: str, points: Sequence[SweepPoint]) -> tuple[float, float, float]:
    """Middle, low and high accuracy of the points at one share."""
    accuracies = [point.estimate.value for point in points]
    if kind == "uniform":
        return accuracies[0], points[0].estimate.low, points[0].estimate.high
    return float(np.median(accuracies)), min(accuracies), max(accuracies)


def _heights(accuracies: NDArray[np.float64], axes: Axes) -> NDArray[np.float64]:
    """Pixels upwards, also below the plot."""
    return BASE + (accuracies - axes.low) / (axes.high - axes.low) * (TOP - BASE)
