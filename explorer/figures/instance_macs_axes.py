"""The axes of MACs per image: shares of the dense MACs in bins, and losses by their logarithm."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from explorer.instances import Instances
from explorer.values import Bools

HEIGHT = 212.0
LEFT, RIGHT = -0.09, 1.015
PIXELS = 430 / (RIGHT - LEFT)  # from 0 to 1 in a figure 430 pixels wide
BARS = (0.0, 0.43)  # the histogram
POINTS = (0.585, 0.985)  # losses against MACs
BASE, TOP = 36.0, 152.0
FLOOR = 5.0  # pixels from the axis to the lowest losses
LOWEST = 1e-3  # losses below are drawn there
MOST = 600  # points
STEPS = (0.01, 0.02, 0.05, 0.1)  # widths of a bin
MOST_BINS = 34  # from one end of the axis to the other


@dataclass(frozen=True)
class Axes:
    """Shares of the MACs from `low` to `high`, the same in both plots, and losses up to `most`."""

    low: float
    high: float
    most: float

    def x(self, share: float, plot: tuple[float, float]) -> float:
        return plot[0] + (plot[1] - plot[0]) * (share - self.low) / (self.high - self.low)

    def y(self, loss: float) -> float:
        """Pixels upwards, in proportion to the loss's logarithm."""
        part = math.log(max(loss, LOWEST) / LOWEST) / math.log(self.most / LOWEST)
        return BASE + FLOOR + (TOP - BASE - FLOOR) * min(part, 1.0)


def axes_of(found: Instances) -> Axes:
    """Axes for all images, the dense network and the end of the last bin."""
    low = math.floor(10 * min(float(found.shares.min()), 0.9) + 1e-9) / 10
    high = max(1.0, math.floor(20 * float(found.shares.max()) + 1e-9) / 20 + 0.05)
    power = math.ceil(math.log10(max(float(finite(found.losses).max()), LOWEST)) - 1e-9)
    return Axes(low, high, max(10.0**power, 10 * LOWEST))


def finite(losses: NDArray[np.floating]) -> NDArray[np.float64]:
    """Losses as they are drawn: one that is no number or infinite at an end."""
    return np.nan_to_num(losses.astype(np.float64), nan=LOWEST, posinf=1e6).clip(0, 1e6)


def bins(shares: NDArray[np.float64], right: Bools, span: float) -> list[tuple[float, float, int, int]]:
    """The histogram: (from, to, images that are right, images that are wrong) of every bin with images.

    Bins end at multiples of the least of `STEPS` of which at most `MOST_BINS` are in `span`, the length of the axis; an
    image at an end belongs to the bin above it.
    """
    step = next((step for step in STEPS if span <= step * MOST_BINS), STEPS[-1])
    places, where = np.unique(np.floor(shares / step + 1e-9).astype(int), return_inverse=True)
    good, bad = (np.bincount(where, each, len(places)).astype(int).tolist() for each in (right, ~right))
    return [
        (k * step, (k + 1) * step, *counts) for k, *counts in zip(places.tolist(), good, bad, strict=True)
    ]


def points(found: Instances, picked: Sequence[int] = ()) -> NDArray[np.int64]:
    """The rows that are drawn as points: at most `MOST`, evenly chosen from the lowest loss to the highest, and the
    picked images besides."""
    order = np.argsort(found.losses, kind="stable")
    rows = order[np.round(np.linspace(0, len(order) - 1, min(MOST, len(order)))).astype(np.int64)]
    extra = [row for image in picked if (row := found.row(image)) is not None and row not in rows]
    return np.concatenate([rows, np.array(extra, dtype=np.int64)])
