"""From scores and a budget to a plan: how a cut is shared between groups.

The budget is an upper bound that is never exceeded: for MACs and parameters a share of the whole network,
for channels a share of the units of prunable groups.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from explorer.costs import COSTS, totals, widths_of
from explorer.errors import BadInput, NotReachable, require_name, require_whole
from explorer.graph.checks import check_graph
from explorer.values import ChannelGraph, ChannelGroup, Plan, Scores, full_plan

ALLOCATIONS = {"global": "by global ranking", "uniform": "uniformly"}


@dataclass(frozen=True, eq=False)
class Curve:
    """Every plan that one ranking can give, from the smallest to the dense one, and what each costs.

    `widths` int64 (steps, groups); `share` float64 (steps,), ascending: cost as a share of the dense one.
    A slider looks its plan up here, which takes microseconds.
    """

    graph: ChannelGraph
    scores: Scores
    widths: NDArray[np.int64]
    share: NDArray[np.float64]

    @property
    def lowest(self) -> float:
        """The smallest share that can be reached."""
        return float(self.share[0])

    def plan(self, keep: float) -> Plan:
        """The largest plan that costs at most `keep`. Raises NotReachable below `lowest`."""
        step = int(np.searchsorted(self.share, keep * (1 + 1e-12), side="right")) - 1
        if step < 0 and not self.graph.prunable:
            raise NotReachable(
                f"keep={keep:g} is out of reach: nothing can be pruned in this network, only keep=1 is left. The "
                "reason of each of graph.groups says why."
            )
        if step < 0:
            raise NotReachable(
                f"keep={keep:g} is out of reach: with these minimum and pinned widths the network cannot get "
                f"below {math.ceil(self.lowest * 10_000) / 10_000:g} (its minimum). Ask for more, or lower the widths."
            )
        return plan_of_widths(self.graph, self.scores, self.widths[step])


def order_of(values: NDArray[np.float32]) -> NDArray[np.int64]:
    """Units from the most important one down; ties in channel order, int64 (units,)."""
    return np.argsort(-values, kind="stable")


def plan_of_widths(graph: ChannelGraph, scores: Scores, widths: NDArray[np.int64]) -> Plan:
    """The plan that keeps the `widths[g]` most important units of every group."""
    keep = {}
    for group in graph.prunable:
        kept = np.zeros(group.size, dtype=bool)
        kept[order_of(scores.by_group[group.id])[: widths[graph.index[group.id]]]] = True
        keep[group.id] = kept
    return Plan(graph.key, keep)


def _check_scores(graph: ChannelGraph, scores: Scores) -> None:
    check_graph(graph)
    if not isinstance(scores, Scores):
        raise BadInput(
            f"Expected scores from explorer.score(model, graph, criterion), not {type(scores).__name__}."
        )
    expected = {group.id: (group.size,) for group in graph.prunable}
    given = {name: values.shape for name, values in scores.by_group.items()}
    if given != expected:
        raise BadInput(
            "The scores are not of this graph: their groups or sizes differ. Make them with "
            "explorer.score(model, graph, criterion)."
        )
    for name, values in scores.by_group.items():
        if not np.isfinite(values).all():
            raise BadInput(f"The scores of {name} are not all finite numbers, so they rank nothing.")


def _check_widths(graph: ChannelGraph, widths: Mapping[str, int]) -> None:
    if not isinstance(widths, Mapping):
        raise BadInput(
            f"widths must be a mapping of groups to widths, such as {{group.id: 8}}, not {widths!r}."
        )
    for name, width in widths.items():
        group = graph.group(name)
        if not group.prunable:
            raise BadInput(f"The width of {name} cannot be set: {group.reason}.")
        if isinstance(width, bool) or not isinstance(width, int | np.integer):
            raise BadInput(f"The width of {name} must be a whole number, not {width!r}.")
        if not 1 <= width <= group.size:
            raise BadInput(f"Width {width} of {name} is out of range: 1 to {group.size}.")


def curve(
    graph: ChannelGraph,
    scores: Scores,
    cost: str = "macs",
    allocation: str = "global",
    widths: Mapping[str, int] | None = None,
    minimum: int = 1,
) -> Curve:
    """All plans of one ranking: `widths` pins groups at a width, `minimum` is the least width of the others.

    *global* ranks the units of all groups together (magnitude scores divided by their group's mean, since
    their scale differs from layer to layer; comparable scores raw) and adds them one by one. *uniform* keeps
    the same share of every group, rounded down. Raises UnknownName and BadInput.
    """
    require_name("allocation", allocation, ALLOCATIONS)
    require_name("cost", cost, COSTS)
    require_whole("minimum, a number of channels,", minimum, 1)
    widths = {} if widths is None else widths
    _check_scores(graph, scores)
    _check_widths(graph, widths)
    start = graph.sizes.copy()
    free = [group for group in graph.prunable if group.id not in widths]
    for group in free:
        start[graph.index[group.id]] = min(minimum, group.size)
    for name, width in widths.items():
        start[graph.index[name]] = width
    steps = (
        _global_steps(graph, scores, free, start)
        if allocation == "global"
        else _uniform_steps(graph, free, start)
    )
    dense = int(totals(graph, widths_of(graph, full_plan(graph)), cost))
    # A wider network never costs less, so the costs ascend. What costs nothing (no channels can be pruned, no
    # layer multiplies) has the dense cost whatever is cut.
    share = totals(graph, steps, cost) / dense if dense else np.ones(len(steps))
    return Curve(graph, scores, steps, share)


def _global_steps(
    graph: ChannelGraph, scores: Scores, free: list[ChannelGroup], start: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Widths after adding units one at a time, best first, to the minimum widths."""
    importance, owner = [], []
    for group in free:
        place = graph.index[group.id]
        values = scores.by_group[group.id].astype(np.float64)
        if not scores.comparable:
            mean = np.abs(values).mean()
            values = values / mean if mean > 0 else values
        rest = values[order_of(scores.by_group[group.id])][start[place] :]
        importance.append(rest)
        owner.append(np.full(len(rest), place))
    if not free:
        return start[None, :]
    owners = np.concatenate(owner)[np.argsort(-np.concatenate(importance), kind="stable")]
    steps = np.zeros((len(owners) + 1, len(graph.groups)), dtype=np.int64)
    steps[np.arange(1, len(owners) + 1), owners] = 1
    return start + steps.cumsum(axis=0)


def _uniform_steps(
    graph: ChannelGraph, free: list[ChannelGroup], start: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Widths at every rate where some group's share, rounded down, gains a unit."""
    rates = np.unique(
        np.concatenate([np.arange(group.size + 1) / group.size for group in free] or [np.ones(1)])
    )
    steps = np.repeat(start[None, :], len(rates), axis=0)
    for group in free:
        place = graph.index[group.id]
        # rates are quotients of small whole numbers: the nudge undoes their rounding error
        steps[:, place] = np.maximum(start[place], np.floor(rates * group.size + 1e-9).astype(np.int64))
    return steps


def allocate(
    graph: ChannelGraph,
    scores: Scores,
    keep: float = 0.5,
    cost: str = "macs",
    allocation: str = "global",
    widths: Mapping[str, int] | None = None,
    minimum: int = 1,
) -> Plan:
    """The largest plan that costs at most `keep`, a share in (0, 1], of the dense network.

    `cost` is "macs" or "params" (of the whole network) or "channels" (of the prunable units). `widths` sets
    groups to widths by hand ({group: width}); the budget then shares what is left among the others. 1 is the
    identity. Raises NotReachable, naming the minimum, when the budget is too small, BadInput for values out
    of range, UnknownName for names that do not exist.
    """
    if isinstance(keep, bool) or not isinstance(keep, int | float | np.number) or not 0 < keep <= 1:
        raise BadInput(f"keep must be a share above 0 and up to 1 (0.5 keeps half), not {keep!r}.")
    return curve(graph, scores, cost, allocation, widths, minimum).plan(float(keep))


def plan_widths(graph: ChannelGraph, scores: Scores, widths: Mapping[str, int]) -> Plan:
    """The plan with these widths ({group: width}); groups that are not named stay dense.

    Raises BadInput for unknown groups, groups that cannot be pruned and widths out of range.
    """
    _check_scores(graph, scores)
    _check_widths(graph, widths)
    array = graph.sizes.copy()
    for name, width in widths.items():
        array[graph.index[name]] = width
    return plan_of_widths(graph, scores, array)
