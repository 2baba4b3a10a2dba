"""Sweeps beside the explorer: many plans evaluated in the background, whenever nothing else is."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TypeAlias

from explorer.errors import BadInput, require_name
from explorer.evaluate.sweeps import bands, sensitivity
from explorer.evaluate.worker import LatestWins
from explorer.records import SweepPoint
from explorer.repair import Observed
from explorer.values import ChannelGraph, Recovery, Scores
from explorer.zoo import Network

SWEEPS = ("sensitivity", "bands")
Found: TypeAlias = dict[str, float] | tuple[SweepPoint, ...]


@dataclass(frozen=True, eq=False)
class _Job:
    kind: str
    scores: Scores
    cost: str
    recovery: Recovery
    observed: Observed | None
    allocation: str


class SweepDesk:
    """Runs one sweep at a time; a new one takes the place of the last.

    `tell(kind, found, running)` gets all that was found so far: for "sensitivity" {group id: points lost}, for
    "bands" the sweep points. `running` is False the last time, also after `stop`. It is called with `lock` held
    (reentrant; the session's own), so that nothing of a sweep is told after it was stopped or replaced.
    `failed(error)` gets what went wrong. `pause()` is called between batches and returns when there is nothing
    better to do: a sweep never competes with what a person waits for.
    """

    def __init__(
        self,
        network: Network,
        graph: ChannelGraph,
        tell: Callable[[str, Found, bool], object],
        failed: Callable[[BaseException], object],
        pause: Callable[[], object],
        lock: AbstractContextManager[object],
    ) -> None:
        self._network, self._graph = network, graph
        self._tell, self._report, self._pause, self._lock = tell, failed, pause, lock
        self._job: _Job | None = None
        self._found: Found = ()
        self._worker: LatestWins[_Job, Found] = LatestWins(self._work, self._publish, self._failed)

    def start(
        self,
        kind: str,
        scores: Scores,
        cost: str,
        recovery: Recovery,
        observed: Observed | None = None,
        allocation: str = "global",
    ) -> None:
        """Begin a sweep of a kind of SWEEPS; see `evaluate.sweeps` for what all but the first do in it.

        Raises UnknownName for another kind, BadInput for a network without images, ExplorerError after `close`.
        """
        require_name("sweep", kind, SWEEPS)
        if self._network.data is None:
            raise BadInput("A sweep compares answers to images: load the network with data.")
        with self._lock:
            self.stop()
            job = _Job(kind, scores, cost, recovery, observed, allocation)
            self._worker.submit(job)
            self._job, self._found = job, {} if kind == "sensitivity" else ()
            self._tell(kind, self._found, True)

    def stop(self) -> None:
        """Give up the sweep at its next batch; what it has found is told once more."""
        with self._lock:
            self._worker.cancel()
            self._end()

    def close(self) -> None:
        """Stop, and take no more sweeps."""
        with self._lock:
            self._worker.close()
            self._end()

    def idle(self, timeout: float | None = None) -> bool:
        """Wait until nothing runs; False if that took longer than `timeout` seconds. Not with `lock` held."""
        return self._worker.idle(timeout)

    def _end(self) -> None:
        job, self._job = self._job, None
        if job is not None:
            self._tell(job.kind, self._found, False)

    # ---- the worker thread ------------------------------------------------------------------------------

    def _work(self, job: _Job, publish: Callable[[Found], None], check: Callable[[], None]) -> None:
        def between() -> None:
            self._pause()
            check()

        network, graph = self._network, self._graph
        assert network.data is not None
        if job.kind == "sensitivity":
            lost: dict[str, float] = {}
            for group, points in sensitivity(
                *(network, graph, network.data, job.scores, job.recovery),
                check=between,
                observed=job.observed,
            ):
                lost = {**lost, group: points}
                publish(lost)
        else:
            seen: tuple[SweepPoint, ...] = ()
            for point in bands(
                *(network, graph, network.data, job.scores, job.cost, job.recovery),
                check=between,
                observed=job.observed,
                allocation=job.allocation,
            ):
                seen = (*seen, point)
                publish(seen)
        with self._lock:
            if self._job is job:
                self._end()

    def _publish(self, job: _Job, found: Found) -> None:
        with self._lock:
            if self._job is job:
                self._found = found
                self._tell(job.kind, found, True)

    def _failed(self, job: _Job, error: BaseException) -> None:
        with self._lock:
            if self._job is job:
                self._end()
        self._report(error)
