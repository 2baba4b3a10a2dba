"""A search without training: its events come when a test lets them, as many steps at a time as it says."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace

from torch import nn

from explorer.chains import ChainRun
from explorer.errors import BadInput
from explorer.instances import InstanceRun
from explorer.methods import METHODS, search_key
from explorer.methods.loop import Event, Found
from explorer.methods.report import BrokeDown
from explorer.methods.snapshots import Snapshot
from explorer.methods.structure import prefix_plan
from explorer.records import TrainingCost
from explorer.values import ChannelGraph
from explorer.zoo import Network
from tests.chain_runs import example_run
from tests.instance_runs import example_instance_run

WAIT = 60


class FakeRoad:
    """In place of `explorer.methods.events`: `of` steps with a snapshot after every `epoch` of them.

    It stands before every step until `let` allows it, and only then looks whether it is to stop. At step `breaks`
    it breaks down; if it `refuses`, no snapshot fits. What it finds is `supernet`, for a method of instance
    subnetworks a Dynamic; None: the network itself.
    """

    def __init__(self, of: int = 6, epoch: int = 2, breaks: int = 0) -> None:
        self.of, self.epoch, self.breaks = of, epoch, breaks
        self.refuses = False
        self.supernet: nn.Module | None = None
        self.begun: list[tuple[int, dict[str, object]]] = []  # (first step, settings) of every start
        self._allowed, self._changed = 0, threading.Condition()

    def let(self, steps: int = 10**6) -> None:
        """Allow more steps."""
        with self._changed:
            self._allowed += steps
            self._changed.notify_all()

    def let_all(self) -> "FakeRoad":
        """The same, and nothing is waited for."""
        self.let()
        return self

    def __call__(
        self,
        network: Network,
        graph: ChannelGraph,
        method: str,
        resume: Snapshot | None,
        stop: Callable[[], bool],
        **settings: object,
    ) -> Iterator[Event]:
        self.begun.append((resume.step if resume else 0, settings))
        if resume is not None and self.refuses:
            raise BadInput("The snapshot does not fit.")
        key = search_key(network, graph, method, **settings)
        return self._steps(graph, method, key, network.model, resume, stop)

    def _steps(
        self,
        graph: ChannelGraph,
        method: str,
        key: str,
        model: nn.Module,
        last: Snapshot | None,
        stop: Callable[[], bool],
    ) -> Iterator[Event]:
        first = done = last.step if last else 0

        instances = METHODS[method].yields == "instances"
        phase, loss = ("train", "task") if instances else ("search", "full")

        def seen(ended: bool) -> ChainRun | InstanceRun:
            return example_instance_run(graph, ended=ended) if instances else example_run(graph, ended=ended)

        def event() -> Event:
            cost = TrainingCost(float(done), done)
            if done == first:  # as the road itself: there was no step to tell of
                return Event(done, self.of, "", {}, cost, None)
            return Event(done, self.of, phase, {loss: 1.0 / (1 + done)}, cost, 1.0, run=seen(False))

        def snapshot() -> Snapshot:
            return Snapshot(method, key, done, self.of, float(done), done, {"step": done})

        while done < self.of:
            if not self._leave(stop):
                yield replace(event(), snapshot=snapshot())
                return
            if done + 1 == self.breaks:
                raise BrokeDown("the loss is nan", last)
            done += 1
            if done % self.epoch == 0 and done < self.of:
                last = snapshot()
                yield replace(event(), snapshot=last)
            else:
                yield event()
        run = seen(True)
        plan = prefix_plan(graph, run.widths) if isinstance(run, ChainRun) else None
        found = Found(method, run, plan, self.supernet or model, run.training)
        yield replace(event(), run=run, found=found)

    def _leave(self, stop: Callable[[], bool]) -> bool:
        """Wait to be allowed a step; False if the search is to stop instead."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._allowed, WAIT)
            self._allowed -= 1
        return not stop()
