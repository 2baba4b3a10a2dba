"""From labels to channel groups: classes of tied labels become units, units of one signature a group.

The *signature* of a unit is how many positions it has at every place where channels live (axes of tensors,
sizes of activations), and why it must stay. Units of equal signature are interchangeable for every cost, so
they form a group; a channel group's costs therefore need its width only.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from explorer.graph.labels import identity
from explorer.graph.walk import Axis, Walk
from explorer.values import ChannelGroup, Slot, read_only


@dataclass(frozen=True, eq=False)
class Units:
    """The unit and group of every label: int64 (labels,), -1 for labels that no layer produces."""

    group_of: NDArray[np.int64]
    unit_of: NDArray[np.int64]
    groups: tuple[ChannelGroup, ...]

    def pairs(self, labels: Tensor) -> NDArray[np.int32]:
        """(group index, unit) of every label, int32 (length, 2); (-1, -1) for none."""
        flat = labels.reshape(-1).numpy()
        pairs = np.full((len(flat), 2), -1, dtype=np.int32)
        known = flat >= 0
        if known.all():
            pairs[:, 0], pairs[:, 1] = self.group_of[flat], self.unit_of[flat]
        elif known.any():
            pairs[known, 0], pairs[known, 1] = self.group_of[flat[known]], self.unit_of[flat[known]]
        return read_only(pairs)


def _mix(state: NDArray[np.uint64], value: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """One round of a 64-bit hash (splitmix64's finaliser)."""
    state = (state ^ value) + np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


def _signatures(roots: NDArray[np.int64], places: list[Tensor]) -> NDArray[np.uint64]:
    """A hash of (place, number of positions) over all places, per class of labels.

    Hashes of single places are summed, so that their order does not matter and one pass over all is enough.
    Several places with the very same labels tell no more than one.
    """
    signature = np.zeros(len(roots), dtype=np.uint64)
    for index, labels in enumerate({identity(labels): labels for labels in places}.values()):
        known = labels.numpy()
        found, counts = np.unique(roots[known[known >= 0]], return_counts=True)
        place = np.full(len(found), index + 1, dtype=np.uint64)
        signature[found] += _mix(_mix(np.zeros_like(place), place), counts.astype(np.uint64))
    return signature


def _in_order(values: NDArray[Any]) -> NDArray[Any]:
    """Distinct values in the order in which they first come."""
    return values[np.sort(np.unique(values, return_index=True)[1])]


def find_units(walk: Walk, sizes: list[Tensor]) -> Units:
    """Group the walk's labels; `sizes` are the labels of activations' axes (flat, -1 for none).

    Groups come in the order of the layers that produce them, units in the order of their channels.
    """
    classes = walk.ties.settle()
    roots = classes.roots
    axes = list(walk.axes.values())
    signatures = _signatures(roots, [axis.labels for axis in axes] + sizes)
    keys = _mix(signatures, classes.code.astype(np.uint64))

    group_of = np.full(len(roots), -1, dtype=np.int64)
    unit_of = np.full(len(roots), -1, dtype=np.int64)
    sizes_of: list[int] = []
    reasons: list[str] = []
    producers: list[list[str]] = []
    by_key: dict[int, int] = {}
    for layer in walk.layers:
        labels = layer.out_labels.numpy()
        here = _in_order(roots[labels[labels >= 0]])
        new = here[group_of[here] < 0]
        for key in _in_order(keys[new]).tolist():
            mine = new[keys[new] == key]
            place = by_key.setdefault(key, len(sizes_of))
            if place == len(sizes_of):
                sizes_of.append(0)
                reasons.append(classes.reasons[classes.code[mine[0]]])
                producers.append([])
            group_of[mine] = place
            unit_of[mine] = np.arange(sizes_of[place], sizes_of[place] + len(mine))
            sizes_of[place] += len(mine)
        for place in _in_order(group_of[here]).tolist():
            producers[place].append(layer.name)
    units = Units(group_of[roots], unit_of[roots], ())
    slots = _slots(axes, units, len(sizes_of))
    parts = zip(_names(producers), sizes_of, slots, producers, reasons, strict=True)
    return Units(units.group_of, units.unit_of, tuple(_group(*part) for part in parts))


def _slots(axes: list[Axis], units: Units, groups: int) -> list[list[Slot]]:
    """Every group's places in tensors, in the order in which the walk met them."""
    slots: list[list[Slot]] = [[] for _ in range(groups)]
    known: dict[tuple[int, int, int], list[tuple[int, NDArray[np.int32]]]] = {}
    for axis in axes:
        key = identity(axis.labels)
        if key not in known:
            owner, unit = units.pairs(axis.labels).T
            present = np.unique(owner)
            known[key] = [
                (place, read_only(unit.copy() if len(present) == 1 else np.where(owner == place, unit, -1)))
                for place in present[present >= 0].tolist()
            ]
        for place, unit in known[key]:
            slots[place].append(Slot(axis.tensor, axis.dim, unit, axis.reads))
    return slots


def _names(producers: list[list[str]]) -> list[str]:
    """The first producing layer names a group; a second group of the same layer gets a number."""
    seen: Counter[str] = Counter()
    names = []
    for layers in producers:
        seen[layers[0]] += 1
        number = seen[layers[0]]
        names.append(f"{layers[0]}/{number}" if number > 1 else layers[0])
    return names


def _group(name: str, size: int, slots: list[Slot], producers: list[str], reason: str) -> ChannelGroup:
    if not reason and size == 1:
        reason = "it is a single unit: all its channels go together or stay"
    if not reason and not any(slot.reads for slot in slots):
        reason = "no layer reads its channels, so that removing them changes nothing that is measured"
    return ChannelGroup(name, size, tuple(slots), tuple(producers), not reason, reason)
