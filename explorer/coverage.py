"""What of a network can be pruned, why the rest cannot, and how small it can get."""

import re

import numpy as np
from numpy.typing import NDArray

from explorer.costs import cost, cost_of_widths, totals
from explorer.graph.checks import check_graph, removable, without_unread
from explorer.graph.paths import paths_of
from explorer.records import Coverage, LayerCoverage
from explorer.values import ChannelGraph, ChannelGroup, Ints, Layer

# The graph's reasons name an operator and its place; a cause is what they have in common. The first that fits counts.
CAUSES: dict[str, re.Pattern[str]] = {
    "outputs": re.compile(r"the network's outputs"),
    "product": re.compile(r"multiplies two activations"),
    "hooked": re.compile(r"has a forward hook"),
    "parametrised": re.compile(r"from others|no parameter itself|has a hook"),
    "heads": re.compile(r"into heads"),
    "single": re.compile(r"single unit"),
    "unread": re.compile(r"no layer reads"),
    "no_rule": re.compile(r"^no rule for"),
    "image": re.compile(r"the network's input\b"),
    "tied": re.compile(r"^tied to|\bstay\b"),
    "moved": re.compile(r"splits or fixes|splits the channels|takes channels|reads (?:places|groups)"),
    "written": re.compile(r"written as a number"),
    "width": re.compile(r"reads its width|are counted|of fixed length"),
    "mixes": re.compile(r"\bmixes\b"),
}
NAMING = (
    "product",
    "parametrised",
    "heads",
    "no_rule",
    "moved",
    "written",
    "mixes",
)  # told with their operator
PLACE = re.compile(r" (?:at|in) [\w.@#]+(?: \([^()]*:\d+\))?")


def coverage(graph: ChannelGraph) -> Coverage:
    """What can be pruned of a graph's network: one row per layer, and the smallest network that a plan reaches.

    Raises BadInput for what is no graph.
    """
    check_graph(graph)
    dense = cost(graph)
    prunable = np.array([group.prunable for group in graph.groups] + [False])  # the last: no group (-1)
    least = np.where(prunable[:-1], 1, graph.sizes)
    bare, removed = _without_removable(graph, least)
    smallest, barest = cost_of_widths(graph, least), cost_of_widths(graph, bare)
    costs = zip(graph.layers, dense.layer_macs, dense.layer_params, strict=True)
    return Coverage(
        layers=tuple(_layer(graph, layer, prunable, macs, params) for layer, macs, params in costs),
        fixed=graph.fixed,
        macs=dense.macs,
        params=dense.params,
        least_macs=smallest.macs,
        least_params=smallest.params,
        removed=removed,
        bare_macs=barest.macs,
        bare_params=barest.params,
    )


def cause_of(reason: str) -> tuple[str, str]:
    """A reason of the graph as (cause, operator): "mean at head (net.py:8) mixes the channels" -> ("mixes", "mean").

    What fits no cause is ("other", the reason without its places).
    """
    for cause, pattern in CAUSES.items():
        if pattern.search(reason):
            operator = re.search(r"(\w+) at ", reason)
            return cause, operator[1] if operator and cause in NAMING else ""
    return "other", PLACE.sub("", reason)


def _layer(
    graph: ChannelGraph, layer: Layer, prunable: NDArray[np.bool_], macs: int, params: int
) -> LayerCoverage:
    outputs, inputs = layer.out_units[:, 0], layer.in_units[:, 0]
    free = prunable[outputs]
    main = _main_group(graph, outputs)
    cause = operator = reason = ""
    if not free.all():
        staying = _main_group(graph, outputs[~free])
        reason = staying.reason if staying else ""
        cause, operator = cause_of(reason) if reason else ("no_group", "")
    return LayerCoverage(
        name=layer.name,
        kind=layer.kind,
        group=main.id if main else "",
        outputs=len(outputs),
        prunable=int(free.sum()),
        inputs=len(inputs),
        shrinkable=int(prunable[inputs].sum()),
        macs=macs,
        params=params,
        cause=cause,
        operator=operator,
        reason=reason,
    )


def _main_group(graph: ChannelGraph, indices: Ints) -> ChannelGroup | None:
    """The group of most channels; None if they are in none."""
    known = indices[indices >= 0]
    return graph.groups[int(np.bincount(known).argmax())] if len(known) else None


def _without_removable(
    graph: ChannelGraph, least: NDArray[np.int64]
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Widths without the groups that can go whole, and their ids: greedily, while all outputs are reached."""
    candidates = [graph.index[name] for name, hindered in removable(graph).items() if not hindered]
    if not candidates:
        return least, ()
    without = np.repeat(least[None], len(candidates), axis=0)
    without[np.arange(len(candidates)), candidates] = 0
    order = np.lexsort((totals(graph, without, "params"), totals(graph, without, "macs")))
    paths, gone = paths_of(graph), list[int]()
    for place in (candidates[index] for index in order):
        if paths.open([*gone, place]):
            gone.append(place)
    removed = without_unread(graph, [graph.groups[place].id for place in gone])
    widths = least.copy()
    widths[[graph.index[name] for name in removed]] = 0
    return widths, tuple(sorted(removed, key=graph.index.__getitem__))
