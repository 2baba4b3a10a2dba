"""What the session says of itself, as messages: the words are in `explorer.strings`."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from explorer.errors import ExplorerError
from explorer.graph.checks import removable
from explorer.repair import Refitted
from explorer.strings import Message
from explorer.values import ChannelGraph, Plan, Recovery
from explorer.zoo import Network


@dataclass(frozen=True)
class RunWords:
    """The keys of what is said of a training: `stopped` and `resumed` have places for step and of, `not_kept` for the
    folder that cannot be written to, `stopped_not_kept` for all three."""

    ready: str
    stopping: str
    stopped: str
    resumed: str
    anew: str
    not_kept: str
    stopped_not_kept: str


RUNS = {
    "widths": RunWords(
        *("search_ready", "search_stopping", "search_stopped"),
        *("search_resumed", "search_anew", "search_not_kept", "search_stopped_not_kept"),
    ),
    "instances": RunWords(
        *("dynamic_ready", "dynamic_stopping", "dynamic_stopped"),
        *("dynamic_resumed", "dynamic_anew", "dynamic_not_kept", "dynamic_stopped_not_kept"),
    ),
}


def plan(graph: ChannelGraph, now: Plan, has_images: bool) -> Message:
    """How much a plan cuts; for the dense plan what to do first, and to watch."""
    units = sum(group.size for group in graph.prunable)
    kept = sum(now.widths.values())
    if not units:
        return Message("status_nothing_prunable")
    if kept == units:
        return Message("status_dense" if has_images else "status_dense_costs")
    narrowed = sum(now.widths[group.id] < group.size for group in graph.prunable)
    return Message.of(
        "status_cut", cut=f"{units - kept:,}", units=f"{units:,}", narrowed=narrowed, groups=len(now.widths)
    )


def dragged(graph: ChannelGraph, before: Plan, now: Plan, widths: Mapping[str, int]) -> Message:
    """What a drag moved: one group by name, several by their number."""
    if len(widths) > 1:
        return Message.of("status_dragged_many", groups=len(widths))
    (name,) = widths
    group = graph.group(name)
    if now.widths[name] == 0:
        return Message.of("status_removed", name=name)
    if now.widths[name] == 1 and not removable(graph)[name]:
        return Message.of("status_dragged_least", name=name, before=before.widths[name])
    values = {
        "name": name,
        "before": before.widths[name],
        "now": now.widths[name],
        "layers": len(group.layers),
    }
    return Message.of("status_dragged" if len(group.layers) == 1 else "status_dragged_sum", **values)


def widths_set(before: Plan, now: Plan, widths: Mapping[str, int], locked: Collection[str]) -> Message:
    """What came of widths that were given to groups at once: how many moved, and which did not come to theirs."""
    moved = sum(now.widths[name] != before.widths[name] for name in now.widths)
    held = [name for name in widths if name in locked]
    clipped = [name for name in widths if name not in locked and now.widths[name] != widths[name]]
    return joined(
        Message.of("search_widths", groups=moved),
        Message.of("search_widths_locked", names=", ".join(held)) if held else None,
        Message.of("search_widths_clipped", names=", ".join(clipped)) if clipped else None,
    )


def not_available(
    network: Network, asked: Recovery, possible: Recovery, no_refits: str = ""
) -> Message | None:
    """Why another recovery than the one asked for is done; None if it is the same. `no_refits`: why there are none."""
    if asked == possible or network.data is None:
        return None
    if network.data.train is None:
        return Message.of("status_no_train", data=network.data.name)
    if asked.repair != possible.repair:
        return Message.of("status_no_refit", why=no_refits.rstrip("."))
    return Message.of("status_no_bn", network=type(network.model).__name__)


def unrepaired(layers: Sequence[Refitted]) -> Message | None:
    """Which layers keep their weights, and why the first of them does."""
    if not layers:
        return None
    key = "status_unrepaired" if len(layers) == 1 else "status_unrepaired_many"
    return Message.of(key, count=len(layers), name=layers[0].layer, why=layers[0].reason)


def joined(*messages: Message | None) -> Message:
    """Independent statements, one after the other; None is left out. At least one is a message."""
    first, *rest = (message for message in messages if message is not None)
    for other in rest:
        first = Message.of("status_two", first=first, second=other)
    return first


def in_words(error: BaseException) -> str:
    """An exception as a sentence for the status line."""
    if isinstance(error, ExplorerError):
        return str(error)
    kind = type(error).__name__
    return f"{kind}: {error}. This is a fault of the explorer: please report it with what you did."
