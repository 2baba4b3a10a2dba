"""The order of images in views of instance subnetworks: by class, by MACs, or by what they keep of one layer."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from explorer.errors import require_name
from explorer.instances import Instances, Site
from explorer.values import Floats

ORDERS = ("class", "macs", "similarity")
ROUNDS = 60  # of the search for the second eigenvector


def class_name(classes: Sequence[str], label: int) -> str:
    """The name of a class, or its number where there is none."""
    return classes[label] if label < len(classes) else f"{label}"


def ordered(instances: Instances, site: Site, by: str) -> NDArray[np.int64]:
    """Rows of all images, int64 (N,), in the order `by`; raises UnknownName for none of `ORDERS`.

    "class": by label, and within a class from the fewest MACs to the most. "macs": from the fewest to the most.
    "similarity": images that need the same channels of the site lie together: the order of the second eigenvector of
    the normalised cosines (spectral seriation, Atkins et al. 1998); images that need none come first. O(N x channels).
    """
    require_name("order", by, ORDERS)
    if by == "class":
        return np.lexsort((instances.macs, instances.labels))
    if by == "macs":
        return instances.order
    return np.argsort(_seriation(subnetworks(instances, site), instances.macs), kind="stable")


def subnetworks(instances: Instances, site: Site) -> Floats:
    """What images are alike in, float32 (N, channels of the site): saliencies; of the source "active" what is kept."""
    table = instances.keep if instances.source == "active" else instances.saliency
    return table[:, site.columns].astype(np.float32)


def _seriation(table: Floats, macs: NDArray[np.int64]) -> NDArray[np.float64]:
    """A place for every row, float64 (N,): rows of a small angle are near, and those of few MACs come first.

    Power iteration on D^-1/2 C D^-1/2, where C are the cosines and D their sums, without its first eigenvector.
    """
    rows = table.astype(np.float64)
    norms = np.linalg.norm(rows, axis=1)
    some = norms > 0
    unit = rows[some] / norms[some, None]
    sums = unit @ unit.sum(axis=0)
    unit /= np.sqrt(sums)[:, None]
    first = np.sqrt(sums / sums.sum())
    vector = np.random.default_rng(0).standard_normal(len(unit))
    for _round in range(ROUNDS):
        vector -= first * (first @ vector)
        vector = unit @ (unit.T @ vector)
        size = np.linalg.norm(vector)
        if size < 1e-9:  # all are alike
            vector = np.zeros(len(unit))
            break
        vector /= size
    places = np.full(len(table), -np.inf)
    found = np.round(vector / np.sqrt(sums), 9)
    turned = found @ (macs[some] - macs[some].mean()) if some.any() else 0.0
    places[some] = -found if turned < 0 else found
    return places
