"""Where the image's signal still runs when whole channel groups are removed, and what is then read no more."""

from collections.abc import Collection
from functools import lru_cache

from explorer.values import ChannelGraph

FIXED = -1  # stands for channels in no group, which always stay
IMAGE = -1  # stands for the image among layers


class Paths:
    """The layers of a graph as a network of pipes. Groups are given by their places in `graph.groups`.

    All units of a group have the same places, so that a whole group opens or closes a pipe.
    """

    def __init__(self, graph: ChannelGraph) -> None:
        self._inputs = [frozenset(layer.in_units[:, 0].tolist()) for layer in graph.layers]
        self._outputs = [frozenset(layer.out_units[:, 0].tolist()) for layer in graph.layers]
        self._into: list[list[int]] = [[] for _ in graph.layers]
        for source, reader in graph.edges:
            self._into[reader].append(source)
        self._entries = frozenset(graph.entries)
        weights = {layer.weight for layer in graph.layers}
        # What the training forward alone reads (auxiliary heads) is no layer of the graph, but is read.
        self._kept = frozenset(
            place
            for place, group in enumerate(graph.groups)
            if not group.prunable or any(slot.reads and slot.tensor not in weights for slot in group.slots)
        )
        whole = self._alive(frozenset())
        self._exits = [alive for exits in graph.exits if (alive := whole.intersection(exits))]

    def open(self, emptied: Collection[int]) -> bool:
        """Whether the image still reaches every output that it reached in the dense network."""
        alive = self._alive(frozenset(emptied))
        return all(alive & exits for exits in self._exits)

    def unread(self, emptied: Collection[int]) -> frozenset[int]:
        """The emptied groups, and those whose every reader leads to nothing but emptied groups."""
        gone = frozenset(emptied)
        needed = self._kept - gone
        grows = True
        while grows:  # backwards, from what must stay, until nothing is added
            reach = {FIXED} | needed
            read = [i for i, o in zip(self._inputs, self._outputs, strict=True) if o & reach]
            more = needed.union(*read) - gone - {FIXED}
            grows, needed = more != needed, more
        everything = frozenset().union(*self._inputs, *self._outputs) - {FIXED}
        return gone | (everything - needed)

    def _alive(self, emptied: frozenset[int]) -> frozenset[int]:
        """The layers, and IMAGE, that the image's signal passes through."""
        alive = {IMAGE}
        for reader, sources in enumerate(self._into):  # in execution order, so one pass is enough
            if not (self._inputs[reader] - emptied and self._outputs[reader] - emptied):
                continue
            if reader in self._entries or any(
                source in alive and self._carries(source, reader, emptied) for source in sources
            ):
                alive.add(reader)
        return frozenset(alive)

    def _carries(self, source: int, reader: int, emptied: frozenset[int]) -> bool:
        """Whether channels are left between two layers; where they share none, what joins them is frozen."""
        shared = self._outputs[source] & self._inputs[reader]
        return not shared or bool(shared - emptied)


@lru_cache(maxsize=8)
def paths_of(graph: ChannelGraph) -> Paths:
    """The paths of a graph, made once."""
    return Paths(graph)
