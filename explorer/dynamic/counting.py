"""Multiply-adds of instance subnetworks: what each image would cost if only its own channels were computed.

The definition is that of `explorer.costs`: multiply-adds of convolutions, transposed convolutions, linear layers and
matrix products, padding taps counted. A layer computes its kept outputs from its kept inputs, so that a site counts
twice: as outputs of its own layer and as inputs of those that read it. This is a count, not a measured saving:
`gathering` really runs a subnetwork.
"""

import math

import numpy as np
from numpy.typing import NDArray

from explorer.errors import BadInput
from explorer.instances import Sites
from explorer.values import Bools, ChannelGraph, Ints, Layer

ALWAYS = -1


def macs(graph: ChannelGraph, sites: Sites, keep: Bools, module_macs: int = 0) -> NDArray[np.int64]:
    """Multiply-adds of every image, int64 (N,), of `keep` bool (N, channels of all sites).

    With all channels kept these are the dense network's, plus `module_macs`, the saliency modules' own, which every
    image pays whole. Raises BadInput for a table that is not of these sites.
    """
    keep = np.asarray(keep)
    if keep.dtype != np.bool_ or keep.ndim != 2 or keep.shape[1] != sites.channels:
        raise BadInput(
            f"`keep` is {keep.dtype} of shape {keep.shape}; expected a table of True and False with one row for each "
            f"image and {sites.channels} columns, the channels of all sites."
        )
    kept = _Kept(sites, np.ascontiguousarray(keep))
    total = np.full(len(keep), graph.terms.other_macs + module_macs, dtype=np.int64)
    sides = zip(graph.layers, sites.inputs, sites.outputs, graph.terms.positions.tolist(), strict=True)
    for layer, inputs, outputs, positions in sides:
        shape = graph.shapes[layer.weight]
        pairs = _pairs(kept, inputs, outputs, conv_groups(layer, shape))
        total += pairs * (math.prod(shape[2:]) * positions)
    return total


def conv_groups(layer: Layer, shape: tuple[int, ...]) -> int:
    """The conv groups of a layer whose weight has this shape; 1 for a linear layer."""
    if layer.kind == "transposed conv":  # (inputs, outputs / groups, ...)
        return len(layer.out_units) // shape[1]
    return len(layer.in_units) // shape[1]


def _pairs(kept: "_Kept", inputs: Ints, outputs: Ints, groups: int) -> NDArray[np.int64] | int:
    """Kept outputs times kept inputs of every image, added up over the conv groups."""
    if groups == 1:
        return kept.count(inputs) * kept.count(outputs)
    per_in, per_out = len(inputs) // groups, len(outputs) // groups
    if (inputs == ALWAYS).all():
        return per_in * kept.count(outputs)
    if (outputs == ALWAYS).all():
        return per_out * kept.count(inputs)
    if per_in == 1:
        given = np.repeat(inputs, per_out)
        if ((given == ALWAYS) | (outputs == ALWAYS) | (given == outputs)).all():
            return kept.count(np.where(given == ALWAYS, outputs, given))
    return (kept.by_group(inputs, groups) * kept.by_group(outputs, groups)).sum(1)


class _Kept:
    """Counts of kept channels, image by image, from one count for each site."""

    def __init__(self, sites: Sites, keep: Bools) -> None:
        self._sites, self._keep = sites.every, keep
        self._owner = np.repeat(np.arange(len(sites.every)), [site.size for site in sites.every])
        # Sums of bytes into a wider type are many times faster than sums of booleans.
        self._counts = [
            keep[:, site.columns].view(np.uint8).sum(1, dtype=np.uint32).astype(np.int64)
            for site in sites.every
        ]

    def count(self, columns: Ints) -> NDArray[np.int64] | int:
        """How many of the channels at `columns` each image keeps, (N,); a number where it is the same for all."""
        chosen = columns[columns != ALWAYS]
        found: NDArray[np.int64] | int = len(columns) - len(chosen)
        for number in np.unique(self._owner[chosen]).tolist():
            site = self._sites[number]
            here = chosen[self._owner[chosen] == number] - site.start
            times = np.bincount(here, minlength=site.size)
            if (times == times[0]).all():
                found = found + int(times[0]) * self._counts[number]
            else:
                found = found + self._keep[:, site.columns] @ times
        return found

    def by_group(self, columns: Ints, groups: int) -> NDArray[np.int64]:
        """How many of each conv group's channels every image keeps, (N, groups)."""
        there = self._keep[:, np.maximum(columns, 0)] | (columns == ALWAYS)
        return there.reshape(len(there), groups, -1).sum(2, dtype=np.int64)
