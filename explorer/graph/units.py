"""From labels to channel groups: classes of tied labels become units, units of one signature a group.

The *signature* of a unit is how many positions it has at every place where channels live (axes of tensors,
sizes of activations), and why it must stay. Units of equal signature are interchangeable for every cost, so
they form a group; a channel group's costs therefore need its width only.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from explorer.graph.walk import Walk
from explorer.values import ChannelGroup, Slot, read_only


@dataclass(frozen=True, eq=False)
class Units:
    """The unit and group of every label: int64 (labels,), -1 for labels that no layer produces."""

    group_of: NDArray[np.int64]
    unit_of: NDArray[np.int64]
    groups: tuple[ChannelGroup, ...]

    def pairs(self, labels: Tensor) -> NDArray[np.int32]:
        """(group index, unit) of every label, int32 (length, 2); (-1, -1) for none."""
        flat = labels.reshape(-1).numpy().astype(np.int64)
        known = flat >= 0
        safe = np.where(known, flat, 0)
        group = np.where(known, self.group_of[safe], -1)
        unit = np.where(group >= 0, self.unit_of[safe], -1)
        return read_only(np.stack([group, unit], axis=1).astype(np.int32))


def _mix(state: NDArray[np.uint64], value: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """One round of a 64-bit hash (splitmix64's finaliser)."""
    state = (state ^ value) + np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


def _signatures(roots: NDArray[np.int64], places: list[NDArray[np.int64]]) -> NDArray[np.uint64]:
    """A hash of (place, number of positions) over all places, per class of labels."""
    signature = np.zeros(len(roots), dtype=np.uint64)
    for index, labels in enumerate(places):
        counts = np.bincount(roots[labels[labels >= 0]], minlength=len(roots)).astype(np.uint64)
        present = counts > 0
        mixed = _mix(signature, counts * np.uint64(1_000_003) + np.uint64(index + 1))
        signature = np.where(present, mixed, signature)
    return signature


def find_units(walk: Walk, sizes: list[NDArray[np.int64]]) -> Units:
    """Group the walk's labels; `sizes` are the labels of activations' axes (flat, -1 for none).

    Groups come in the order of the layers that produce them, units in the order of their channels.
    """
    roots = walk.ties.roots()
    axes = list(walk.axes.values())
    places = [axis.labels.numpy().astype(np.int64) for axis in axes] + sizes
    signatures = _signatures(roots, places)

    group_of = np.full(len(roots), -1, dtype=np.int64)
    unit_of = np.full(len(roots), -1, dtype=np.int64)
    members: list[list[int]] = []  # roots of every group, in channel order
    producers: list[list[str]] = []
    by_signature: dict[tuple[int, str], int] = {}
    seen: set[int] = set()
    for layer in walk.layers:
        labels = layer.out_labels.numpy().astype(np.int64)
        for root in dict.fromkeys(roots[labels[labels >= 0]].tolist()):
            key = (int(signatures[root]), walk.ties.reason(root))
            place = by_signature.setdefault(key, len(members))
            if place == len(members):
                members.append([])
                producers.append([])
            if root not in seen:
                seen.add(root)
                members[place].append(root)
            if layer.name not in producers[place]:
                producers[place].append(layer.name)
    for place, group_roots in enumerate(members):
        group_of[group_roots] = place
        unit_of[group_roots] = np.arange(len(group_roots))
    units = Units(group_of[roots], unit_of[roots], ())
    names = _names(producers)
    groups = tuple(
        _group(walk, units, place, names[place], members[place], producers[place])
        for place in range(len(members))
    )
    return Units(units.group_of, units.unit_of, groups)


def _names(producers: list[list[str]]) -> list[str]:
    """The first producing layer names a group; a second group of the same layer gets a number."""
    names: list[str] = []
    for layers in producers:
        number = sum(name.split("/")[0] == layers[0] for name in names)
        names.append(f"{layers[0]}/{number + 1}" if number else layers[0])
    return names


def _group(
    walk: Walk, units: Units, place: int, name: str, roots: list[int], producers: list[str]
) -> ChannelGroup:
    slots = []
    for axis in walk.axes.values():
        pairs = units.pairs(axis.labels)
        mine = pairs[:, 0] == place
        if mine.any():
            unit = read_only(np.where(mine, pairs[:, 1], -1).astype(np.int32))
            slots.append(Slot(axis.tensor, axis.dim, unit, axis.reads))
    reason = walk.ties.reason(roots[0])
    if not reason and len(roots) == 1:
        reason = "it is a single unit: all its channels go together or stay"
    if not reason and not any(slot.reads for slot in slots):
        reason = "no layer reads its channels, so that removing them changes nothing that is measured"
    return ChannelGroup(name, len(roots), tuple(slots), tuple(producers), not reason, reason)
