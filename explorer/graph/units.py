"""From labels to channel groups: classes of tied labels become units, units of one signature a group.

The *signature* of a unit is how many positions it has at every place where channels live (axes of tensors,
sizes of activations), and why it must stay. Units of equal signature are interchangeable for every cost, so
they form a group; a channel group's costs therefore need its width only.
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

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
    """A hash of (place, number of positions) over all places, per class of labels.

    Hashes of single places are summed, so that their order does not matter and one pass over all is enough.
    """
    signature = np.zeros(len(roots), dtype=np.uint64)
    for index, labels in enumerate(places):
        found, counts = np.unique(roots[labels[labels >= 0]], return_counts=True)
        place = np.full(len(found), index + 1, dtype=np.uint64)
        signature[found] += _mix(_mix(np.zeros_like(place), place), counts.astype(np.uint64))
    return signature


def find_units(walk: Walk, sizes: list[NDArray[np.int64]]) -> Units:
    """Group the walk's labels; `sizes` are the labels of activations' axes (flat, -1 for none).

    Groups come in the order of the layers that produce them, units in the order of their channels.
    """
    classes = walk.ties.settle()
    roots = classes.roots
    axes = list(walk.axes.values())
    places = [axis.labels.numpy().astype(np.int64) for axis in axes] + sizes
    signatures = _signatures(roots, places)

    group_of = np.full(len(roots), -1, dtype=np.int64)
    unit_of = np.full(len(roots), -1, dtype=np.int64)
    members: list[list[int]] = []  # roots of every group, in channel order
    producers: list[dict[str, None]] = []
    by_signature: dict[tuple[int, str], int] = {}
    for layer in walk.layers:
        labels = layer.out_labels.numpy()
        for root in dict.fromkeys(roots[labels[labels >= 0]].tolist()):
            place = int(group_of[root])
            if place < 0:
                key = (int(signatures[root]), classes.reason(root))
                place = by_signature.setdefault(key, len(members))
                if place == len(members):
                    members.append([])
                    producers.append({})
                group_of[root], unit_of[root] = place, len(members[place])
                members[place].append(root)
            producers[place][layer.name] = None
    units = Units(group_of[roots], unit_of[roots], ())
    slots = _slots(axes, units, len(members))
    names = _names([list(layers) for layers in producers])
    groups = tuple(
        _group(names[place], len(found), slots[place], list(producers[place]), classes.reason(found[0]))
        for place, found in enumerate(members)
    )
    return Units(units.group_of, units.unit_of, groups)


def _slots(axes: list[Axis], units: Units, groups: int) -> list[list[Slot]]:
    """Every group's places in tensors, in the order in which the walk met them."""
    slots: list[list[Slot]] = [[] for _ in range(groups)]
    for axis in axes:
        owner, unit = units.pairs(axis.labels).T
        present = np.unique(owner)
        for place in present[present >= 0].tolist():
            mine = unit if len(present) == 1 else np.where(owner == place, unit, -1)
            slots[place].append(Slot(axis.tensor, axis.dim, read_only(mine.astype(np.int32)), axis.reads))
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
