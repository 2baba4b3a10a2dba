"""From scores and a budget to a plan: how a cut is shared between groups.

The budget is an upper bound that is never exceeded: for MACs and parameters a share of the whole network,
for channels a share of the units of prunable groups.
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from explorer.costs import COSTS, totals, widths_of
from explorer.errors import BadInput, NotReachable, require_name, require_whole
from explorer.graph.checks import check_graph, require_paths, without_unread
from explorer.values import ChannelGraph, ChannelGroup, Plan, Request, Scores, full_plan, order_of

ALLOCATIONS = {
    "global": "by global ranking",
    "uniform": "uniformly",
    "error": "by what each layer can lose",
}


@dataclass(frozen=True, eq=False)
class Curve:
    """Every plan that one ranking can give, from the smallest to the widest one, and what each costs.

    `widths_at(step)` gives the widths int64 (groups,) of plan number 0 ... `steps` - 1; a wider network never
    costs less, so a slider finds its plan by bisection.
    """

    graph: ChannelGraph
    scores: Scores
    cost: str
    steps: int
    widths_at: Callable[[int], NDArray[np.int64]]
    multiple: int = 1

    def share_at(self, step: int) -> float:
        """Cost of a plan as a share of the dense one's.

        What costs nothing (no channels can be pruned, no layer multiplies) has the dense cost whatever is cut.
        """
        return (
            float(totals(self.graph, self.widths_at(step), self.cost)) / self._dense if self._dense else 1.0
        )

    @cached_property
    def _dense(self) -> int:
        return int(totals(self.graph, widths_of(self.graph, full_plan(self.graph)), self.cost))

    @cached_property
    def lowest(self) -> float:
        """The smallest share that can be reached."""
        return self.share_at(0)

    @cached_property
    def highest(self) -> float:
        """The largest share: 1, unless groups are pinned below their size."""
        return self.share_at(self.steps - 1)

    def plan(self, keep: float) -> Plan:
        """The largest plan that costs at most `keep`. Raises NotReachable below `lowest`."""
        step = bisect_right(range(self.steps), keep * (1 + 1e-12), key=self.share_at) - 1
        if step < 0 and not self.graph.prunable:
            raise NotReachable(
                f"keep={keep:g} is out of reach: nothing can be pruned in this network, only keep=1 is left. The "
                "reason of each of graph.groups says why."
            )
        if step < 0:
            steps = "" if self.multiple == 1 else f", in multiples of {self.multiple} channels,"
            raise NotReachable(
                f"keep={keep:g} is out of reach: with these minimum and pinned widths{steps} the network cannot get "
                f"below {math.ceil(self.lowest * 10_000) / 10_000:g} (its minimum). Ask for more, or lower the "
                f"{'multiple' if steps else 'widths'}."
            )
        return plan_of_widths(self.graph, self.scores, self.widths_at(step))


def plan_of_widths(graph: ChannelGraph, scores: Scores, widths: NDArray[np.int64]) -> Plan:
    """The plan that keeps the `widths[g]` most important units of every group."""
    keep = {}
    for group in graph.prunable:
        kept = np.zeros(group.size, dtype=bool)
        kept[order_of(scores.by_group[group.id])[: widths[graph.index[group.id]]]] = True
        keep[group.id] = kept
    return Plan(graph.key, keep)


def allowed_widths(graph: ChannelGraph, multiple: int = 1, minimum: int = 1) -> dict[str, NDArray[np.int64]]:
    """The widths that every prunable group can have, int64 ascending, in units: those of at least `minimum` units
    that are multiples of `multiple` channels, and always the whole group. So 12 channels in multiples of 8 can be
    8 or 12, and 6 stay 6. Raises BadInput for numbers below 1.
    """
    require_whole("multiple, a number of channels,", multiple, 1)
    require_whole("minimum, a number of channels,", minimum, 1)
    steps, found = graph.steps(int(multiple)), {}
    for group in graph.prunable:
        step = steps[graph.index[group.id]]
        least = -(-min(minimum, group.size) // step) * step
        found[group.id] = np.append(np.arange(least, group.size, step, dtype=np.int64), group.size)
    return found


def nearest_width(allowed: NDArray[np.int64], width: int) -> int:
    """The allowed width next to `width`; of two equally near ones the smaller."""
    return int(allowed[np.abs(allowed - width).argmin()])


def in_multiples(
    graph: ChannelGraph,
    widths: Mapping[str, int],
    allowed: Mapping[str, NDArray[np.int64]],
    most: float | None = None,
    cost: str = "macs",
) -> dict[str, int]:
    """Widths that were found otherwise, those of the groups in `allowed` brought to allowed ones, at a cost of at
    most `most` (in units of `cost`, no share; None: what the widths cost). Groups that `widths` does not name are
    dense.

    Each takes the nearest allowed width; while that costs too much, that group goes a step down which thereby is
    least below its width, as a share of its size. Raises NotReachable if the least allowed widths cost more.
    """
    found, now = dict(widths), graph.sizes.copy()
    now[[graph.index[name] for name in found]] = list(found.values())
    most = float(totals(graph, now, cost)) if most is None else most
    for name, each in allowed.items():
        found[name] = now[graph.index[name]] = nearest_width(each, widths[name])
    while totals(graph, now, cost) > most * (1 + 1e-12):
        below = {
            name: int(each[each < found[name]][-1]) for name, each in allowed.items() if each[0] < found[name]
        }
        if not below:
            raise NotReachable(
                f"Widths in these multiples cost {int(totals(graph, now, cost)):,} {COSTS[cost]} at least, more than "
                f"{most:,.0f}. Choose a smaller multiple, or larger widths."
            )
        name = min(below, key=lambda name: (widths[name] - below[name]) / graph.group(name).size)
        found[name] = now[graph.index[name]] = below[name]
    return found


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
    for name, values in (*scores.by_group.items(), *scores.gains.items()):
        if not np.isfinite(values).all():
            raise BadInput(f"The scores of {name} are not all finite numbers, so they rank nothing.")
    if scores.gains and {name: values.shape for name, values in scores.gains.items()} != expected:
        raise BadInput(
            "The gains in the scores are not of this graph. Make them with explorer.score(..., errors=True)."
        )


def _checked_widths(graph: ChannelGraph, widths: Mapping[str, int], multiple: int = 1) -> dict[str, int]:
    """The widths, with 0 also for what nothing reads any more once the groups at 0 are gone."""
    if not isinstance(widths, Mapping):
        raise BadInput(
            f"widths must be a mapping of groups to widths, such as {{group.id: 8}}, not {widths!r}."
        )
    allowed = allowed_widths(graph, multiple)
    for name, width in widths.items():
        group = graph.group(name)
        if not group.prunable:
            raise BadInput(f"The width of {name} cannot be set: {group.reason}.")
        if isinstance(width, bool) or not isinstance(width, int | np.integer):
            raise BadInput(f"The width of {name} must be a whole number, not {width!r}.")
        if not 0 <= width <= group.size:
            raise BadInput(
                f"Width {width} of {name} is out of range: 1 to {group.size}, or 0 to remove it where another path "
                "leads past it."
            )
        if width and width not in allowed[name]:
            raise BadInput(
                f"Width {width} of {name} is no multiple of {multiple} channels. Pass "
                f"{nearest_width(allowed[name], width)} (it goes in steps of "
                f"{graph.steps(multiple)[graph.index[name]]} up to {group.size}), or another multiple."
            )
    emptied = [name for name, width in widths.items() if width == 0]
    require_paths(graph, emptied)
    return {**widths, **dict.fromkeys(without_unread(graph, emptied), 0)}


def curve(
    graph: ChannelGraph,
    scores: Scores,
    cost: str = "macs",
    allocation: str = "global",
    widths: Mapping[str, int] | None = None,
    minimum: int = 1,
    multiple: int = 1,
) -> Curve:
    """All plans of one ranking: `widths` pins groups at a width, `minimum` is the least width of the others, and
    all are multiples of `multiple` channels or whole (see `allowed_widths`).

    A group pinned at 0 is removed, and with it, whatever its width, what nothing else reads.

    *global* ranks the units of all groups together (magnitude scores divided by their group's mean, since
    their scale differs from layer to layer; comparable scores raw) and adds them one by one, with a
    `multiple` as many as make a step, ranked by their mean. *error* does the same by `Scores.gains`, divided by their
    group's mean: channels are chosen by the criterion, widths by what the next layers would lose. *uniform* keeps the
    same share of every group, rounded down. Raises UnknownName and BadInput; NotReachable where the image
    would no longer reach the outputs (see `removable`).
    """
    require_name("allocation", allocation, ALLOCATIONS)
    require_name("cost", cost, COSTS)
    _check_scores(graph, scores)
    if allocation == "error" and graph.prunable and not scores.gains:
        raise BadInput(
            "Sharing a cut by what each layer can lose needs that measured on training images: make the scores with "
            "explorer.score(network, graph, criterion, errors=True)."
        )
    allowed = allowed_widths(graph, multiple, minimum)
    widths = _checked_widths(graph, {} if widths is None else widths, multiple)
    start = graph.sizes.copy()
    free = [group for group in graph.prunable if group.id not in widths]
    for group in free:
        start[graph.index[group.id]] = allowed[group.id][0]
    for name, width in widths.items():
        start[graph.index[name]] = width
    if allocation != "uniform":
        owners, ends = _next_widened(graph, scores, free, allowed, by_gain=allocation == "error")

        def widths_at(step: int) -> NDArray[np.int64]:
            return start + np.bincount(owners[: ends[step]], minlength=len(start))

        return Curve(graph, scores, cost, len(ends), widths_at, multiple)
    steps = _uniform_steps(graph, free, start, allowed)
    return Curve(graph, scores, cost, len(steps), steps.__getitem__, multiple)


def _next_widened(
    graph: ChannelGraph,
    scores: Scores,
    free: list[ChannelGroup],
    allowed: Mapping[str, NDArray[np.int64]],
    by_gain: bool,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Index of the group of each unit that is added to the least widths, best first, int64 (units,); and how many of
    them every plan has, int64 (steps + 1,): units that make a step come together.
    """
    importance, owner, units = [], [], []
    for group in free:
        place = graph.index[group.id]
        values = scores.by_group[group.id].astype(np.float64)
        ranked = order_of(scores.by_group[group.id])
        if by_gain:
            values, ranked = scores.gains[group.id].astype(np.float64), np.arange(group.size)
        if by_gain or not scores.comparable:
            mean = np.abs(values).mean()
            values = values / mean if mean > 0 else values
        ends = allowed[group.id]
        added = np.diff(ends)
        means = np.add.reduceat(values[ranked], ends[:-1]) / added
        importance.append(
            np.minimum.accumulate(means)
        )  # equal scores: rounding must not swap a group's steps
        owner.append(np.full(len(added), place))
        units.append(added)
    if not free:
        return np.zeros(0, dtype=np.int64), np.zeros(1, dtype=np.int64)
    order = np.argsort(-np.concatenate(importance), kind="stable")
    added = np.concatenate(units)[order]
    return np.repeat(np.concatenate(owner)[order], added), np.concatenate([[0], np.cumsum(added)])


def _uniform_steps(
    graph: ChannelGraph,
    free: list[ChannelGroup],
    start: NDArray[np.int64],
    allowed: Mapping[str, NDArray[np.int64]],
) -> NDArray[np.int64]:
    """Widths at every rate where some group's share, rounded down, gains a unit."""
    rates = np.unique(
        np.concatenate([np.arange(group.size + 1) / group.size for group in free] or [np.ones(1)])
    )
    steps = np.repeat(start[None, :], len(rates), axis=0)
    for group in free:
        place = graph.index[group.id]
        # rates are quotients of small whole numbers: the nudge undoes their rounding error
        shares = np.floor(rates * group.size + 1e-9)
        below = np.searchsorted(allowed[group.id], shares, side="right") - 1
        steps[:, place] = allowed[group.id][np.maximum(below, 0)]
    return steps


def allocate(
    graph: ChannelGraph,
    scores: Scores,
    keep: float = 0.5,
    cost: str = "macs",
    allocation: str = "global",
    widths: Mapping[str, int] | None = None,
    minimum: int = 1,
    multiple: int = 1,
) -> Plan:
    """The largest plan that costs at most `keep`, a share in (0, 1], of the dense network.

    `cost` is "macs" or "params" (of the whole network) or "channels" (of the prunable units). `widths` sets
    groups to widths by hand ({group: width}; 0 removes a block, see `removable`); the budget then shares what
    is left among the others. keep=1 is the identity.

    With `multiple` (8 for phones, 32 for tensor cores) every group's width is a multiple of so many channels in all
    its layers, or the whole group: 12 channels in multiples of 8 become 8 or stay, and what is narrower than the
    multiple stays. The budget holds all the same, and a width in `widths` that is no multiple is refused.

    Raises NotReachable, naming the minimum, when the budget is too small, or where the image would not reach the
    outputs; BadInput for values out of range, UnknownName for names that do not exist.
    """
    if isinstance(keep, bool) or not isinstance(keep, int | float | np.number) or not 0 < keep <= 1:
        raise BadInput(f"keep must be a share above 0 and up to 1 (0.5 keeps half), not {keep!r}.")
    return curve(graph, scores, cost, allocation, widths, minimum, multiple).plan(float(keep))


def by_hand(graph: ChannelGraph, request: Request) -> bool:
    """Whether a request sets all widths by hand, so that its `keep` only says what they come to."""
    return bool(request.stay) or 0 < len(graph.prunable) == len(request.widths)


def plan_widths(graph: ChannelGraph, scores: Scores, widths: Mapping[str, int]) -> Plan:
    """The plan with these widths ({group: width}); groups that are not named stay dense.

    Width 0 removes a group, and what nothing reads without it. Raises BadInput for unknown groups, groups
    that cannot be pruned and widths out of range, NotReachable where the image would not reach the outputs.
    """
    _check_scores(graph, scores)
    array = graph.sizes.copy()
    for name, width in _checked_widths(graph, widths).items():
        array[graph.index[name]] = width
    return plan_of_widths(graph, scores, array)
