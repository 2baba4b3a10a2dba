"""From chains to widths: the expected structure, drawn ones, and the uniform one to compare with."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explorer.allocate import allowed_widths, curve, in_multiples
from explorer.chains import Chain, draws
from explorer.costs import totals
from explorer.errors import BadInput, NotReachable, require_name, require_whole
from explorer.values import ChannelGraph, Plan, Scores

TOLERANCE = 0.01  # share of the target that a drawn structure may be away from it (the released code's)
TRIES = 10_000
AT_ONCE = 1_000
KINDS = ("macs", "params")


def prefix_plan(graph: ChannelGraph, widths: Mapping[str, int]) -> Plan:
    """The plan that keeps the first units of every group; groups that are not named stay dense.

    Raises BadInput for groups that cannot be pruned and for widths below 1 or beyond the group's size.
    """
    keep = {group.id: np.ones(group.size, dtype=bool) for group in graph.prunable}
    for name, width in widths.items():
        group = graph.group(name)
        if not group.prunable:
            raise BadInput(f"The width of {name} cannot be set: {group.reason}.")
        require_whole(f"The width of {name}", width, 1)
        if width > group.size:
            raise BadInput(
                f"The width of {name} is {width}, but it has {group.size} units: pass 1 to {group.size}."
            )
        keep[name][width:] = False
    return Plan(graph.key, keep)


def all_widths(graph: ChannelGraph, chains: Sequence[Chain], widths: NDArray[Any]) -> NDArray[Any]:
    """Widths (..., chains) of the chains' groups -> (..., groups) of all groups, the others dense; same dtype."""
    full = np.broadcast_to(graph.sizes, (*widths.shape[:-1], len(graph.sizes))).astype(widths.dtype)
    full[..., [graph.index[chain.group] for chain in chains]] = widths
    return full


def reachable(graph: ChannelGraph, chains: Sequence[Chain], kind: str) -> float:
    """The smallest share of the dense cost: all chains at their least widths."""
    least = all_widths(graph, chains, np.array([chain.least for chain in chains], dtype=np.int64))
    return float(totals(graph, least, kind) / totals(graph, graph.sizes, kind))


def expected_structure(
    graph: ChannelGraph, chains: Sequence[Chain], target: float, kind: str = "macs", multiple: int = 1
) -> dict[str, int]:
    """Expected sampling: {group: E[width] rounded}, then repaired to `target`, a share of the dense cost.

    As in the released code widths are no multiples of the chain's step. Rounding can leave the budget by some
    per cent; `repaired` closes that. With `multiple` they are multiples of so many channels, or whole, and never
    above the target (`allocate.in_multiples`). Raises NotReachable below the least widths.
    """
    _check(graph, chains, target, kind)
    allowed = allowed_widths(graph, multiple)
    rounded = np.array([round(chain.expected - 1e-4) for chain in chains], dtype=np.int64)
    cost = target * float(totals(graph, graph.sizes, kind))
    found = _named(chains, repaired(graph, chains, rounded, cost, kind))
    if multiple == 1:
        return found
    fit = {}
    for chain in chains:
        widths = allowed[chain.group]
        fit[chain.group] = widths[widths >= chain.least]
    return in_multiples(graph, found, fit, cost, kind)


def repaired(
    graph: ChannelGraph, chains: Sequence[Chain], widths: NDArray[np.int64], cost: float, kind: str = "macs"
) -> NDArray[np.int64]:
    """Widths int64 (chains,) brought to `cost`, a unit at a time, each time where that comes nearest.

    Ends where no single unit comes nearer. Widths stay between a chain's least one and its size.
    """
    sizes = np.array([chain.size for chain in chains], dtype=np.int64)
    least = np.array([chain.least for chain in chains], dtype=np.int64)
    moves = np.concatenate([np.eye(len(chains), dtype=np.int64), -np.eye(len(chains), dtype=np.int64)])
    now = np.clip(widths, least, sizes)
    away = abs(float(totals(graph, all_widths(graph, chains, now), kind)) - cost)
    while True:
        tried = np.clip(now + moves, least, sizes)
        distances = np.abs(totals(graph, all_widths(graph, chains, tried), kind) - cost)
        best = int(distances.argmin())
        if distances[best] >= away:
            return now
        now, away = tried[best], float(distances[best])


def direct_sample(
    graph: ChannelGraph,
    chains: Sequence[Chain],
    target: float,
    kind: str = "macs",
    count: int = 1,
    tolerance: float = TOLERANCE,
    tries: int = TRIES,
    seed: int = 0,
) -> list[dict[str, int]]:
    """Direct sampling: up to `count` drawn structures whose cost is within `tolerance` of the target.

    `target` is a share of the dense cost. At most `tries` structures are drawn; same seed, same structures. Raises
    NotReachable, naming the nearest, if none of them fits.
    """
    _check(graph, chains, target, kind)
    require_whole("The number of structures", count, 1)
    require_whole("tries", tries, 1)
    dense = float(totals(graph, graph.sizes, kind))
    found: list[dict[str, int]] = []
    nearest = np.inf
    for block, start in enumerate(range(0, tries, AT_ONCE)):
        widths = draws(chains, min(AT_ONCE, tries - start), seed * 1_000_003 + block)
        shares = totals(graph, all_widths(graph, chains, widths), kind) / dense
        away = np.abs(shares / target - 1)
        found += [_named(chains, row) for row in widths[away <= tolerance]]
        if len(found) >= count:
            return found[:count]
        nearest = min(nearest, float(away.min()), key=abs)
    if found:
        return found
    raise NotReachable(
        f"None of {tries:,} drawn networks was within {100 * tolerance:g} % of the target; the nearest was "
        f"{100 * nearest:.1f} % away. Search longer so that the expected cost meets the target, draw more (tries=...), "
        "allow more (tolerance=...), or take the expected structure."
    )


def uniform(graph: ChannelGraph, like: Mapping[str, int], kind: str = "macs") -> dict[str, int]:
    """The uniform structure that costs as much as `like`: one multiplier for all groups of `like`.

    The multiplier next below or above that cost, whichever comes nearer with a unit more or less here and there: whole
    multiples of all groups leave gaps of several per cent.
    """
    require_name("cost", kind, KINDS)
    prefix_plan(graph, like)  # checks it
    pinned = {group.id: group.size for group in graph.prunable if group.id not in like}
    order = {group.id: np.arange(group.size, 0, -1, dtype=np.float32) for group in graph.prunable}
    steps = curve(graph, Scores("order", order, comparable=True), kind, "uniform", pinned)
    chains = [
        Chain(name, graph.group(name).size, 1, 1, np.zeros(graph.group(name).size - 1)) for name in like
    ]
    cost = float(
        totals(graph, all_widths(graph, chains, np.array(list(like.values()), dtype=np.int64)), kind)
    )
    places = [graph.index[name] for name in like]
    all_steps = np.stack([steps.widths_at(step) for step in range(steps.steps)])
    enough = int(np.argmax(totals(graph, all_steps, kind) >= cost))
    near = [
        repaired(graph, chains, all_steps[step][places], cost, kind) for step in {max(0, enough - 1), enough}
    ]
    away = [abs(float(totals(graph, all_widths(graph, chains, widths), kind)) - cost) for widths in near]
    return _named(chains, near[int(np.argmin(away))])


def _named(chains: Sequence[Chain], widths: NDArray[np.int64]) -> dict[str, int]:
    return {chain.group: int(width) for chain, width in zip(chains, widths, strict=True)}


def _check(graph: ChannelGraph, chains: Sequence[Chain], target: float, kind: str) -> None:
    require_name("cost", kind, KINDS)
    least = reachable(graph, chains, kind)
    if not least <= target <= 1:
        raise NotReachable(
            f"A target of {100 * target:.3g} % of the {kind} is out of reach: with every group at its least width "
            f"{100 * least:.3g} % are left, and the whole network has 100 %. Ask for something between."
        )
