"""A search over widths beside the explorer: on a thread of its own, with snapshots that outlive the kernel."""

import atexit
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace

from explorer.errors import ExplorerError
from explorer.evaluate.worker import LatestWins, Superseded
from explorer.methods import events
from explorer.methods.road import BrokeDown, Event, Found, Snapshot
from explorer.records import Search, TrainingCost
from explorer.session import wording
from explorer.session.search_files import SearchFiles
from explorer.strings import Message
from explorer.values import ChannelGraph
from explorer.zoo import Network

APART = 0.33  # seconds between two reports: more often than the eye asks, each costs a redraw
EXIT = 10.0  # seconds that the end of the program waits for a snapshot, and for torch to be left in peace
Report = tuple[Search, Message | None]
Publish = Callable[[Report], None]


class _Job:
    """One search as it was asked for. `told` is its latest report."""

    def __init__(self, key: str, method: str, settings: Mapping[str, object]) -> None:
        self.key, self.method, self.settings = key, method, settings
        self.ended = threading.Event()  # it is to stop, and keeps a snapshot
        self.forgotten = False  # and keeps none
        self.told = starting(method, settings)


def starting(method: str, settings: Mapping[str, object]) -> Search:
    """The report of a search that has not made a step."""
    return Search(method, settings, "running", 0, 0, "", {}, None, TrainingCost(), None)


class SearchDesk:
    """Runs one search at a time.

    `tell(search, message)` gets reports, at most every APART seconds of `clock`, at every snapshot and at the end; a
    message says what else happened. It runs on the search's thread, under `state`, the lock that `start` and
    `forget` are called under: nothing is told of a search that was forgotten. The last sound snapshot is remembered,
    and written to `files`: starting the same search again goes on from it, also in another process.
    """

    def __init__(
        self,
        network: Network,
        graph: ChannelGraph,
        tell: Callable[[Search, Message | None], object],
        state: threading.RLock,
        files: SearchFiles | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._network, self._graph, self._tell, self._state = network, graph, tell, state
        self._files, self._clock = files or SearchFiles(), clock
        self._lock = (
            threading.Lock()
        )  # a snapshot is kept, or its search forgotten; writing holds up nothing else
        self._job: _Job | None = None
        self._snapshot: Snapshot | None = None
        self._warned = False
        self.found: Found | None = None
        self._worker: LatestWins[_Job, Report] = LatestWins(self._work, self._report, self._failed)

    def start(self, key: str, method: str, settings: Mapping[str, object]) -> None:
        """Begin the search of this `methods.search_key`, or go on with it; returns at once."""
        self.found = None
        self._job = _Job(key, method, settings)
        self._worker.submit(self._job)

    def take(self, found: Found | None, snapshot: Snapshot | None) -> None:
        """Have what another desk came to."""
        self.found, self._snapshot = found, snapshot

    @property
    def snapshot(self) -> Snapshot | None:
        """The last sound one of a search that has not ended."""
        return self._snapshot

    def stop(self) -> None:
        """End at the next step; a snapshot is kept."""
        if self._job is not None:
            self._job.ended.set()

    def forget(self) -> None:
        """End at the next step; neither a snapshot nor what was found is kept."""
        with self._lock:
            job, self._job, self._snapshot, self.found = self._job, None, None, None
            if job is not None:
                job.forgotten = True
                job.ended.set()
                self._files.remove(job.key)

    def idle(self, timeout: float | None = None) -> bool:
        """Wait until nothing is searched; False if that took longer than `timeout` seconds."""
        return self._worker.idle(timeout)

    def close(self) -> None:
        """Stop, with a snapshot, and end the thread."""
        self.stop()
        self._worker.close()

    # ---- the search's thread ----------------------------------------------------------------------------

    def _work(self, job: _Job, publish: Publish, _check: Callable[[], None]) -> None:
        def at_exit() -> None:
            job.ended.set()
            self._worker.idle(EXIT)

        atexit.register(at_exit)
        try:
            self._search(job, publish)
        finally:
            atexit.unregister(at_exit)

    def _search(self, job: _Job, publish: Publish) -> None:
        def report(search: Search, message: Message | None = None) -> None:
            job.told = search
            with suppress(Superseded):  # closed: nobody listens, but the snapshot is still to come
                publish((search, message))

        resume, last = self._last_snapshot(job), float("-inf")
        if resume is not None:
            goes_on = Message.of("search_resumed", step=resume.step, of=resume.of)
            report(replace(job.told, step=resume.step, of=resume.of), goes_on)
        for event in events(
            self._network, self._graph, job.method, resume, job.ended.is_set, **dict(job.settings)
        ):
            search = after(job.told, event)
            if event.found is not None:
                self._end(job, event.found)
                report(replace(search, state="ready"), Message("search_ready"))
            elif event.snapshot is not None or self._clock() - last >= APART:
                last = self._clock()
                report(search, self._keep(job, event.snapshot))
            else:
                job.told = search
        if self.found is None:
            stopped = replace(job.told, state="stopped", seconds_left=None, resumable=True)
            report(stopped, Message.of("search_stopped", step=stopped.step, of=stopped.of))

    def _last_snapshot(self, job: _Job) -> Snapshot | None:
        """The farthest that is known of a search: that in the file may be of a session that ended since."""
        with self._lock:
            known = self._snapshot, self._files.load(job.key)
        fitting = [each for each in known if each is not None and each.key == job.key]
        return max(fitting, key=lambda each: each.step, default=None)

    def _keep(self, job: _Job, snapshot: Snapshot | None) -> Message | None:
        """Remember a snapshot and write it; the message says, once, that it cannot be written."""
        with self._lock:
            if snapshot is None or job.forgotten:
                return None
            self._snapshot = snapshot
            try:
                self._files.save(snapshot)
            except ExplorerError:
                if not self._warned:
                    self._warned = True
                    return Message.of("search_not_kept", folder=str(self._files.folder))
        return None

    def _end(self, job: _Job, found: Found) -> None:
        with self._lock:
            if not job.forgotten:
                self.found, self._snapshot = found, None
                self._files.remove(job.key)

    def _report(self, job: _Job, report: Report) -> None:
        with self._state:
            if job is self._job:
                self._tell(*report)

    def _failed(self, job: _Job, error: BaseException) -> None:
        if isinstance(error, BrokeDown):
            self._keep(job, error.snapshot)
        kept = self._last_snapshot(job) is not None
        said = wording.in_words(error)
        failed = replace(job.told, state="failed", seconds_left=None, error=said, resumable=kept)
        self._report(job, (failed, None))


def after(told: Search, event: Event) -> Search:
    """The report after an event; what it does not tell stays as it was."""
    return replace(
        told,
        step=event.step,
        of=event.of,
        phase=event.phase,
        losses=event.losses,
        seconds_left=event.seconds_left,
        training=event.training,
        run=event.run or told.run,
    )
