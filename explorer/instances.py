"""Instance subnetworks as values: the channels that a dynamic method keeps for one image, and what came of it.

ManiDP (Tang et al. 2021, "Manifold Regularized Dynamic Network Pruning", CVPR) and FBS (Gao et al. 2019, "Dynamic
Channel Pruning: Feature Boosting and Suppression", ICLR). A *site* is a layer's output where channels are kept or
dropped, image by image; its *saliency* says how much an image needs each channel. A site drops its own branch's
term: the sum that a residual branch ends in stays whole.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from explorer.errors import BadInput
from explorer.runs import Run
from explorer.values import Bools, Classes, Floats, Ints, read_only

SOURCES = ("active", "manidp", "fbs")
"""Whose subnetworks: each image's most active channels (without training), ManiDP's or FBS's."""


@dataclass(frozen=True)
class Site:
    """A layer's output whose channels are kept or dropped image by image.

    `layer` is the layer's name and `place` its index in the graph; its channels are columns `start` to `start + size`
    of every table of all sites. `norm` is the batch norm behind it ("" without one), `rectified` says that a ReLU
    follows that. `ahead` names a layer that feeds nothing but this depthwise one, and so runs the same channels ("" if
    there is none).
    """

    layer: str
    place: int
    start: int
    size: int
    norm: str = ""
    rectified: bool = False
    ahead: str = ""

    @property
    def columns(self) -> slice:
        """Where this site's channels stand in a table of all sites."""
        return slice(self.start, self.start + self.size)


@dataclass(frozen=True, eq=False)
class Sites:
    """All sites of a network, and which of its layers run fewer channels because of them.

    `inputs` and `outputs`, one array for each layer of the graph: for every input (output) channel the column, in a
    table of all sites, that says whether it is computed, and -1 where it always is. An input has a column only where a
    dropped channel reaches the layer as zeros.
    """

    every: tuple[Site, ...]
    inputs: tuple[Ints, ...]
    outputs: tuple[Ints, ...]

    @property
    def channels(self) -> int:
        """Columns of a table of all sites."""
        return sum(site.size for site in self.every)

    @cached_property
    def by_layer(self) -> Mapping[str, Site]:
        return MappingProxyType({site.layer: site for site in self.every})


@dataclass(frozen=True, eq=False)
class Instances:
    """What a network keeps for each of N images, and what it then says of them.

    `images` int64 (N,): positions among the explore images, of which there are `of`. Tables over the channels of all
    sites: `saliency` float32 (N, channels), 0 or more; `features` float32 (N, channels), each channel's mean over
    positions behind batch norm (and ReLU), before it is weighted; `keep` bool (N, channels).
    `macs` int64 (N,), the saliency modules' own `module_macs` in each; `dense_macs` those of the dense network.
    `predicted` int16 (N,); `labels` int64 (N,), without labels what the dense network says; `losses` float32 (N,), the
    cross-entropy of them. `level` in (0, 1] is what was asked for: the share of channels above the threshold over
    all images (ManiDP), or of every image (the others). `trial` says that `keep` and `macs` follow from saliencies of
    another level, with all else as it was there: a quick answer until the images have run again.
    """

    network: str
    source: str
    level: float
    sites: Sites
    images: NDArray[np.int64]
    of: int
    saliency: Floats
    features: Floats
    keep: Bools
    macs: NDArray[np.int64]
    dense_macs: int
    module_macs: int
    predicted: Classes
    labels: NDArray[np.int64]
    losses: Floats
    trial: bool = False

    def __post_init__(self) -> None:
        for name in ("images", "saliency", "features", "keep", "macs", "predicted", "labels", "losses"):
            object.__setattr__(self, name, read_only(np.asarray(getattr(self, name))))
        shape = (len(self.images), self.sites.channels)
        if any(table.shape != shape for table in (self.saliency, self.features, self.keep)):
            raise BadInput(
                f"Tables of {shape[0]} images and {shape[1]} channels were expected, not of shapes "
                f"{self.saliency.shape}, {self.features.shape} and {self.keep.shape}."
            )

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        """In one line: the tables would fill pages."""
        about = "about " if self.trial else ""
        return (
            f"<Instances of {self.network} ({self.source}, level {self.level:.3g}): {len(self):,} of {self.of:,} "
            f"images, {about}{self.mean_share:.1%} of the MACs, {self.accuracy:.2%} right>"
        )

    @cached_property
    def shares(self) -> NDArray[np.float64]:
        """MACs of every image as a share of the dense network's, float64 (N,)."""
        return read_only(self.macs / max(self.dense_macs, 1))

    @property
    def mean_share(self) -> float:
        return float(self.shares.mean())

    @cached_property
    def right(self) -> Bools:
        return read_only(self.predicted == self.labels)

    @property
    def accuracy(self) -> float:
        return float(self.right.mean())

    @cached_property
    def order(self) -> NDArray[np.int64]:
        """Rows from the fewest MACs to the most, equal ones in the order of the images; int64 (N,)."""
        return read_only(np.argsort(self.macs, kind="stable"))

    @cached_property
    def correlation(self) -> float:
        """Spearman's rank correlation of MACs and loss over the images; NaN where either is the same for all."""
        return spearman(self.macs, self.losses)

    def kept(self, row: int) -> Mapping[str, Bools]:
        """One image's subnetwork: layer -> bool (size,), for every site."""
        return MappingProxyType({site.layer: self.keep[row, site.columns] for site in self.sites.every})

    def row(self, image: int) -> int | None:
        """The row of an image (a position among the explore images); None if it is not among these."""
        found = np.flatnonzero(self.images == image)
        return int(found[0]) if len(found) else None

    def emptied(self) -> Mapping[str, int]:
        """Layers of which some images keep no channel, and how many images: {layer: images}."""
        counts = {site.layer: int((~self.keep[:, site.columns].any(1)).sum()) for site in self.sites.every}
        return MappingProxyType({layer: count for layer, count in counts.items() if count})

    @property
    def by_quintile(self) -> tuple[float, float]:
        """Mean share of the MACs over the fifth of the images with the lowest losses, and with the highest."""
        return _fifths(self.shares, self.losses)


class InstanceRun(Run):
    """What the training of a dynamic method saw so far.

    Series, float64 (frames,): "shares", the mean share of the dense MACs over the step's batch (NaN before the first),
    and "levels", the share of channels that was aimed at.
    """

    @property
    def shares(self) -> NDArray[np.float64]:
        return self.series["shares"]

    @property
    def levels(self) -> NDArray[np.float64]:
        return self.series["levels"]


@dataclass(frozen=True, eq=False)
class Effect:
    """What one way of training came to on the explore images: `name` says which term was left out or changed.

    `macs` are every image's share of the dense MACs, float32 (N,); `losses` float32 and `right` bool (N,).
    `agreements` are, for every site, the off-diagonal correlation of the similarities of features and of
    saliencies; `apart` the mean over sites of ||T - R||_F^2 / N^2. `seed` of the training; `command` made it.
    """

    name: str
    settings: Mapping[str, object]
    seed: int
    macs: Floats
    losses: Floats
    right: Bools
    agreements: tuple[float, ...]
    apart: float
    command: str = ""

    def __post_init__(self) -> None:
        for name, kind in (("macs", np.float32), ("losses", np.float32), ("right", np.bool_)):
            object.__setattr__(self, name, read_only(np.array(getattr(self, name), dtype=kind)))
        object.__setattr__(self, "settings", MappingProxyType(dict(self.settings)))

    @property
    def mean_share(self) -> float:
        return float(self.macs.mean())

    @property
    def accuracy(self) -> float:
        return float(self.right.mean())

    @property
    def correlation(self) -> float:
        """Spearman's rank correlation of MACs and loss."""
        return spearman(self.macs, self.losses)

    @property
    def agreement(self) -> float:
        """Mean over the sites of `agreements`, without those that are NaN."""
        known = [each for each in self.agreements if not np.isnan(each)]
        return float(np.mean(known)) if known else float("nan")

    @property
    def by_quintile(self) -> tuple[float, float]:
        """Mean share of the MACs over the fifth of the images with the lowest losses, and with the highest."""
        return _fifths(self.macs, self.losses)


@dataclass(frozen=True)
class Rival:
    """A network to compare with: `name` is "dense", "longer" (the dense one trained for as many further epochs) or
    "static" (one pruned network for all images, of the same mean MACs, trained as long); share of the dense MACs and
    accuracy in [0, 1] over `images` images."""

    name: str
    share: float
    accuracy: float
    images: int


@dataclass(frozen=True, eq=False)
class InstanceEvidence:
    """What was measured after a training: the effects of its terms, and its rivals."""

    effects: tuple[Effect, ...] = ()
    rivals: tuple[Rival, ...] = ()


# ---- what is worked out from tables -----------------------------------------------------------------------


def spearman(one: ArrayLike, other: ArrayLike) -> float:
    """Spearman's rank correlation (1904), ties at their mean rank; NaN where all values of either are equal."""
    return _pearson(_ranks(np.asarray(one)), _ranks(np.asarray(other)))


def cosines(rows: ArrayLike) -> NDArray[np.float64]:
    """Cosine of every two rows of (N, channels): float64 (N, N), symmetric, 0 where a row is all zeros."""
    table = np.asarray(rows, dtype=np.float64)
    norms = np.linalg.norm(table, axis=1, keepdims=True)
    unit = np.divide(table, norms, out=np.zeros_like(table), where=norms > 0)
    return np.clip(unit @ unit.T, -1.0, 1.0)


def agreement(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Pearson's correlation of two (N, N) matrices off their diagonals; NaN where either is constant there."""
    upper = np.triu_indices(len(one), k=1)
    return _pearson(one[upper], other[upper])


def shared(one: Sequence[bool] | Bools, other: Sequence[bool] | Bools) -> tuple[int, int, int]:
    """(channels that both keep, that only the first keeps, that only the second keeps)."""
    first, second = np.asarray(one, dtype=bool), np.asarray(other, dtype=bool)
    return int((first & second).sum()), int((first & ~second).sum()), int((~first & second).sum())


def _fifths(shares: NDArray[np.floating[Any]], losses: Floats) -> tuple[float, float]:
    """Means of `shares` where `losses` are lowest and where they are highest, over a fifth of the images each."""
    order = np.argsort(losses, kind="stable")
    part = max(1, len(order) // 5)
    return float(shares[order[:part]].mean()), float(shares[order[-part:]].mean())


def _ranks(values: NDArray[np.generic]) -> NDArray[np.float64]:
    _found, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return (ends - (counts - 1) / 2)[place].astype(np.float64)


def _pearson(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    if len(one) < 2:
        return float("nan")
    a, b = one - one.mean(), other - other.mean()
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / size if size > 1e-12 else float("nan")
