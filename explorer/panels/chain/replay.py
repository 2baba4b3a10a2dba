"""Where the replay of a search stands: which run, which of its frames, what a person changed there; and its player."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType
from typing import Literal

import numpy as np

from explorer.chains import Chain, ChainRun, chain_facts, chain_of
from explorer.records import TrainingCost
from explorer.values import ChannelGraph

Kind = Literal["untrained", "recorded", "session"]
SECONDS = 5.0  # of a replay from the first frame to the last
TICK = 0.05  # seconds between two frames of it
BEGIN = 0.3  # seconds before it begins: the page tells of a released pointer later than of the click


@dataclass(frozen=True, eq=False)
class Replay:
    """A run at one of its frames. `kind` says whose run it is.

    `held`: a person chose the frame, which new ones then do not move. `changed` are the chains, by group, that
    a person changed at this frame; while there are some, new frames do not move it either.
    """

    kind: Kind
    run: ChainRun
    frame: int
    held: bool = False
    changed: Mapping[str, Chain] = field(default_factory=lambda: MappingProxyType({}))

    @classmethod
    def of(cls, kind: Kind, run: ChainRun) -> "Replay":
        """At the newest frame."""
        return cls(kind, run, run.frames - 1)

    @property
    def last(self) -> int:
        return self.run.frames - 1

    @property
    def step(self) -> int:
        """How many steps of the search were done."""
        return int(self.run.steps[self.frame])

    @cached_property
    def chains(self) -> tuple[Chain, ...]:
        """The chains at the frame, with what was changed by hand."""
        return tuple(self.changed.get(chain.group, chain) for chain in self.run.at(self.frame))

    @cached_property
    def first(self) -> tuple[Chain, ...]:
        """The chains that the search began with."""
        return self.run.at(0)

    def place(self, group: str) -> int | None:
        """Number of a group's chain; None for a group without one."""
        return next((place for place, chain in enumerate(self.first) if chain.group == group), None)

    def share(self, graph: ChannelGraph) -> float:
        """Expected cost as a share of the dense network's."""
        if not self.changed:
            return float(self.run.shares[self.frame])
        return expected_share(graph, self.chains, self.run.cost)

    def widths(self) -> dict[str, int]:
        """The expected widths, rounded: {group: width}."""
        return {chain.group: round(chain.expected) for chain in self.chains}

    # ---- what follows --------------------------------------------------------------------------------------

    def goes_on_as(self, run: ChainRun) -> bool:
        """Whether a run is this one, farther."""
        return run.frames >= self.run.frames and dict(run.settings) == dict(self.run.settings)

    def grown(self, run: ChainRun) -> "Replay":
        """The same search, farther: at its newest frame, unless a person holds this one."""
        if self.held or self.changed:
            return replace(self, run=run, frame=min(self.frame, run.frames - 1))
        return Replay.of(self.kind, run)

    def to(self, frame: int) -> "Replay":
        """At another frame, where nothing is changed; the newest one is not held."""
        frame = min(max(frame, 0), self.last)
        return Replay(self.kind, self.run, frame, held=frame < self.last)

    def with_transition(self, group: str, place: int, probability: float) -> "Replay":
        """With p of a step changed by hand. Raises BadInput for what is no probability or no step."""
        at = self.place(group)
        assert at is not None
        chain = self.chains[at].with_transition(place, probability)
        return replace(self, changed=MappingProxyType({**self.changed, group: chain}))

    def reset(self, group: str) -> "Replay":
        """With the group's chain as the search has it: at its newest frame, unless other chains are still changed
        or a person chose this frame.
        """
        rest = {name: chain for name, chain in self.changed.items() if name != group}
        frame = self.frame if rest or self.held else self.last
        return replace(self, frame=frame, changed=MappingProxyType(rest))


def expected_share(graph: ChannelGraph, chains: tuple[Chain, ...], cost: str) -> float:
    """Expected cost of independent chains as a share of the dense one: that of the expected widths."""
    from explorer.costs import totals  # loads torch, which a session has loaded

    widths = graph.sizes.astype(np.float64)
    for chain in chains:
        widths[graph.index[chain.group]] = chain.expected
    return float(totals(graph, widths, cost) / totals(graph, graph.sizes, cost))


def untrained(name: str, graph: ChannelGraph, alpha: float, divisions: int, target: float) -> ChainRun:
    """The chains that a search would begin with, as a run of one frame and no steps."""
    every = [chain_of(group, alpha, divisions) for group in graph.prunable]
    chains = tuple(chain for chain in every if chain.states)
    return ChainRun(
        network=name,
        graph_key=graph.key,
        method="dmcp",
        of=0,
        per_epoch=0,
        steps=np.zeros(1, dtype=np.int32),
        series={
            "alphas": np.concatenate([np.zeros(0), *(each.alphas for each in chains)])[None].astype(
                np.float32
            ),
            "shares": np.array([expected_share(graph, chains, "macs")]),
        },
        losses={},
        settings={"cost": "macs", "target": target, "warm_up": 0},
        training=TrainingCost(),
        facts=chain_facts(chains),
    )


class Player:
    """Plays on a thread of its own: calls `show(share of the time that is over)` until it answers False.

    `ended()` is called when it came to an end by itself. It looks every `tick` seconds, the first time after
    `begin`; `clock` tells seconds.
    """

    def __init__(
        self,
        show: Callable[[float], bool],
        ended: Callable[[], None],
        tick: float = TICK,
        begin: float = BEGIN,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._show, self._ended, self._clock = show, ended, clock
        self._tick, self._begin = tick, begin
        self._halt: threading.Event | None = None
        self._thread: threading.Thread | None = None

    @property
    def playing(self) -> bool:
        return self._halt is not None

    def start(self) -> None:
        """Play from the beginning of the time; what plays already goes on."""
        if self._halt is None:
            self._halt = threading.Event()
            self._thread = threading.Thread(
                target=self._play, args=(self._halt,), name="explorer-replay", daemon=True
            )
            self._thread.start()

    def stop(self) -> None:
        """Show no more frames; returns at once."""
        halt, self._halt = self._halt, None
        if halt is not None:
            halt.set()

    def idle(self, timeout: float | None = None) -> bool:
        """Wait until nothing is played; False if that took longer than `timeout` seconds."""
        if self._thread is not None:
            self._thread.join(timeout)
        return self._thread is None or not self._thread.is_alive()

    def _play(self, halt: threading.Event) -> None:
        halt.wait(self._begin)
        begun = self._clock()
        while not halt.wait(self._tick):
            if not self._show((self._clock() - begun) / SECONDS):
                break
        if not halt.is_set():
            self._halt = None
            self._ended()
