"""Which images two states judge differently: broken, mended, and what that does to each class."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from explorer.errors import BadInput
from explorer.records import Outcomes, Scored

Positions = NDArray[np.int64]
NOISE = 1e-5  # relative: what rounding may change a score by
Z = 1.959964  # 95 % of the normal distribution


def paired_interval(images: int, broken: int, mended: int) -> tuple[float, float]:
    """95 % interval of the difference of two accuracies on the same images, in percentage points.

    Half an image more in each of the four cells of before x now (Agresti & Min 2005, Statistics in Medicine 24,
    729-740).
    """
    count = images + 2
    lost, won = broken + 0.5, mended + 0.5
    middle = (won - lost) / count
    half = Z * math.sqrt(lost + won - (won - lost) ** 2 / count) / count
    return 100 * max(-1.0, middle - half), 100 * min(1.0, middle + half)


@dataclass(frozen=True)
class ClassChange:
    """What became of the images of one class: counts, all of the same `images`.

    `right` were right in the reference state; `broken` of them no longer are, and `mended` ones now are.
    `taken_for` is the class that most of the broken ones are taken for now, `taken` how many; None and 0 if
    none broke.
    """

    label: int
    images: int
    right: int
    broken: int
    mended: int
    taken_for: int | None
    taken: int

    @property
    def points(self) -> float:
        """Change of the class's accuracy in percentage points."""
        return 100 * (self.mended - self.broken) / self.images

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of `points`, as `paired_interval` gives it."""
        return paired_interval(self.images, self.broken, self.mended)

    @property
    def beyond_chance(self) -> bool:
        """Whether the interval leaves out zero."""
        low, high = self.interval
        return low > 0 or high < 0

    @property
    def remembered(self) -> float:
        """Share of the images right before that are still right, in [0, 1]; NaN if none were right."""
        return (self.right - self.broken) / self.right if self.right else math.nan


@dataclass(frozen=True, eq=False)
class Flips:
    """Positions of the images that are `broken` (right -> wrong) and `mended` (wrong -> right) among `images`.

    Both int64, ordered by class and then by position. `classes` are those that have images, by label.
    """

    broken: Positions
    mended: Positions
    images: int
    classes: tuple[ClassChange, ...]

    @property
    def points(self) -> float:
        """Change of the accuracy on all images in percentage points."""
        return 100 * (len(self.mended) - len(self.broken)) / self.images

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of `points`, as `paired_interval` gives it."""
        return paired_interval(self.images, len(self.broken), len(self.mended))


def flips(outcomes: Outcomes) -> Flips:
    """Compare what two states say of the same images. Raises BadInput if their numbers differ."""
    labels = outcomes.labels
    if not len(outcomes.reference) == len(outcomes.now) == len(labels):
        raise BadInput(
            "Outcomes are of the same images: got predictions of "
            f"{len(outcomes.reference)} and {len(outcomes.now)} images and {len(labels)} labels."
        )
    before, now = outcomes.reference == labels, outcomes.now == labels
    broken, mended = before & ~now, ~before & now
    classes = []
    for label in np.unique(labels).tolist():
        own = labels == label
        taken = np.bincount(outcomes.now[own & broken])
        classes.append(
            ClassChange(
                label=label,
                images=int(own.sum()),
                right=int((own & before).sum()),
                broken=int((own & broken).sum()),
                mended=int((own & mended).sum()),
                taken_for=int(taken.argmax()) if len(taken) else None,
                taken=int(taken.max()) if len(taken) else 0,
            )
        )
    return Flips(_by_class(broken, labels), _by_class(mended, labels), len(labels), tuple(classes))


def score_changes(scored: Scored) -> Flips:
    """`flips` where images have scores and no classes: `broken` are those whose score fell, `mended` those whose rose,
    most changed first.
    """
    change = scored.now.astype(np.float64) - scored.reference
    change[np.abs(change) <= NOISE * np.maximum(1, np.abs(scored.reference))] = 0
    order = np.argsort(change, kind="stable")
    rising = order[::-1]
    return Flips(order[change[order] < 0], rising[change[rising] > 0], len(change), ())


def of_class(positions: Positions, outcomes: Outcomes, label: int | None) -> Positions:
    """Those positions whose label is the given one; all of them for None."""
    return positions if label is None else positions[outcomes.labels[positions] == label]


def _by_class(chosen: NDArray[np.bool_], labels: NDArray[np.int64]) -> Positions:
    positions = np.flatnonzero(chosen)
    return positions[np.argsort(labels[positions], kind="stable")]
