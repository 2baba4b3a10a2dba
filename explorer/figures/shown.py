"""What the bars show: two plans, the selection, and what is known of every layer and group."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from statistics import median

from explorer.figures.rows import Row, Section
from explorer.values import Bools, Plan


@dataclass(frozen=True)
class Shown:
    """What the bars show. `layer` and `selection` are the selected layer's name and its group's id; `macs` and
    `dense_macs` are per layer, in the graph's order, or empty; `lost` are points of accuracy per group;
    `removable` are the groups that may go whole; `snaps` are the units that a group's width goes in.
    `instances` are the channels that one or two picked images keep,
    one mask for each image, by layer: such a layer shows these and not the plan. They are no part of equality."""

    plan: Plan
    reference: Plan
    selection: str = ""
    layer: str = ""
    pinned: Collection[str] = ()
    locked: Collection[str] = ()
    macs: tuple[int, ...] = ()
    dense_macs: tuple[int, ...] = ()
    lost: Mapping[str, float] = field(default_factory=dict)
    removable: Collection[str] = ()
    snaps: Mapping[str, int] = field(default_factory=dict)
    instances: Mapping[str, tuple[Bools, ...]] = field(default_factory=dict, compare=False)

    def share(self, group: str) -> float:
        """Kept share of a prunable group's units."""
        return self.plan.widths[group] / len(self.plan.keep[group])


def kept(row: Row, plan: Plan) -> int:
    """How many of a layer's output channels the plan keeps."""
    count = row.fixed
    for group, units in row.parts:
        count += int(plan.keep[group][units].sum()) if group in plan.keep else len(units)
    return count


def picked_shares(layers: Collection[str], shown: Shown) -> list[float]:
    """The shares of channels that the picked images keep of these layers, one for each image and layer that has any."""
    return [float(mask.mean()) for name in layers for mask in shown.instances.get(name, ()) if len(mask)]


def shares(section: Section, layers: Collection[str], shown: Shown) -> tuple[float, float, float]:
    """Smallest, median and largest kept share of a folded block's groups; of its `layers` for picked images."""
    each = picked_shares(layers, shown) or [shown.share(group) for group in section.groups] or [1.0]
    return min(each), median(each), max(each)


def percents(section: Section, layers: Collection[str], shown: Shown) -> dict[str, int]:
    """The same in whole percent, by the names "low", "median" and "high"."""
    low, middle, high = shares(section, layers, shown)
    return {"low": round(100 * low), "median": round(100 * middle), "high": round(100 * high)}
