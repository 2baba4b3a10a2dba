"""A method that searches or trains beside the explorer: on its own thread, with snapshots that outlive the kernel."""

import atexit
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace

from explorer.errors import BadInput, ExplorerError
from explorer.evaluate.worker import LatestWins, Superseded
from explorer.methods import events
from explorer.methods.road import Event, Found, Snapshot
from explorer.records import Search, TrainingCost
from explorer.session import wording
from explorer.session.search_files import SearchFiles
from explorer.session.wording import SearchWords
from explorer.strings import Message
from explorer.values import ChannelGraph
from explorer.zoo import Network

APART = 0.33  # seconds between two reports: more often than the eye asks, each costs a redraw
Report = tuple[Search, Message | None]
Publish = Callable[[Report], None]


class Job:
    """One search as it was asked for. `told` is its latest report, `snapshot` its last sound one until it has ended,
    `found` what it came to.

    Only the search's thread changes these, and writes the file. It may go on for a step after it was forgotten.
    """

    def __init__(self, key: str, method: str, settings: Mapping[str, object]) -> None:
        self.key, self.method, self.settings = key, method, settings
        self.ended = threading.Event()  # it is to stop, and keeps a snapshot
        self.forgotten = False  # and keeps none
        self.told = starting(method, settings)
        self.snapshot: Snapshot | None = None
        self.found: Found | None = None

    def again(self) -> "Job":
        """The same search, to go on from its snapshot; without one, from the beginning."""
        job = Job(self.key, self.method, self.settings)
        if self.snapshot is not None:
            job.snapshot = self.snapshot
            job.told = replace(self.told, state="running", seconds_left=None, error="", resumable=False)
        return job


def starting(method: str, settings: Mapping[str, object]) -> Search:
    """The report of a search that has not made a step."""
    return Search(method, settings, "running", 0, 0, "", {}, None, TrainingCost(), None)


class SearchDesk:
    """Runs one search at a time.

    `tell(search, message)` gets reports, at most every APART seconds of `clock`, at every snapshot and at the end; a
    message, one of `words`, says what else happened. It runs on the search's thread, under `state`, the lock that all
    else is called under: nothing is told of a search that was forgotten, and nothing waits for a disk. The last sound
    snapshot is remembered, and written to `files`: starting the same search again goes on from it, also in another
    process.
    """

    def __init__(
        self,
        network: Network,
        graph: ChannelGraph,
        tell: Callable[[Search, Message | None], object],
        state: threading.RLock,
        words: SearchWords = wording.SEARCHES["widths"],
        files: SearchFiles | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._network, self._graph, self._tell, self._state = network, graph, tell, state
        self.words, self._files, self._clock = words, files or SearchFiles(), clock
        self._warned = False
        self.job: Job | None = None  # the latest search; another desk can be given it
        self._worker: LatestWins[Job, Report] = LatestWins(self._work, self._report, self._failed)

    def start(self, key: str, method: str, settings: Mapping[str, object]) -> Search:
        """Begin the search of this `methods.search_key`, or go on with it; returns its first report at once."""
        last = self.job
        job = last.again() if last is not None and last.key == key else Job(key, method, settings)
        told, self.job = job.told, job
        self._worker.submit(job)
        return told

    @property
    def found(self) -> Found | None:
        """What the latest search came to."""
        return None if self.job is None else self.job.found

    def stop(self) -> None:
        """End at the next step; a snapshot is kept."""
        if self.job is not None:
            self.job.ended.set()

    def forget(self) -> None:
        """End at the next step; neither a snapshot nor what was found is kept."""
        job, self.job = self.job, None
        if job is not None:
            job.forgotten = True  # what its thread is writing now, that deletes
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

    def _work(self, job: Job, publish: Publish, _check: Callable[[], None]) -> None:
        atexit.register(job.ended.set)  # the worker's end then waits for the snapshot
        try:
            self._search(job, publish)
        finally:
            if job.forgotten:
                self._files.remove(job.key)
            atexit.unregister(job.ended.set)

    def _search(self, job: Job, publish: Publish) -> None:
        def report(search: Search, message: Message | None = None) -> None:
            job.told = search
            with suppress(Superseded):  # closed: nobody listens, but the snapshot is still to come
                publish((search, message))

        last = float("-inf")
        for event in self._begun(job, report):
            search = after(job.told, event)
            if event.found is not None:
                job.found, job.snapshot = event.found, None
                self._files.remove(job.key)
                report(replace(search, state="ready"), Message(self.words.ready))
            elif event.snapshot is not None or self._clock() - last >= APART:
                last = self._clock()
                not_kept, message = self._keep(job, event.snapshot)
                report(replace(search, not_kept=not_kept), message)
            else:
                job.told = search
        if job.found is None:
            stopped = replace(job.told, state="stopped", seconds_left=None, resumable=True)
            message = Message.of(self.words.stopped, step=stopped.step, of=stopped.of)
            report(stopped, self._stopped_not_kept(stopped) or message)

    def _begun(self, job: Job, report: Callable[[Search, Message | None], None]) -> Iterator[Event]:
        """The events of a search, from the farthest snapshot on: that in the file may be of a session that ended
        since. One that does not fit, such as of another version of the method, is dropped.
        """
        known = job.snapshot, self._files.load(job.key)
        job.snapshot = max(
            (each for each in known if each is not None), key=lambda each: each.step, default=None
        )

        def begin(resume: Snapshot | None) -> Iterator[Event]:
            stop, settings = job.ended.is_set, dict(job.settings)
            return events(self._network, self._graph, job.method, resume, stop, **settings)

        if job.snapshot is None:
            return begin(None)
        step, of = job.snapshot.step, job.snapshot.of
        try:
            begun = begin(job.snapshot)
        except BadInput:
            job.snapshot = None
            self._files.remove(job.key)
            report(starting(job.method, job.settings), Message(self.words.anew))
            return begin(None)
        report(replace(job.told, step=step, of=of), Message.of(self.words.resumed, step=step, of=of))
        return begun

    def _keep(self, job: Job, snapshot: Snapshot | None) -> tuple[str, Message | None]:
        """Remember a snapshot and write it: the folder, if it cannot be written to, and once a message of that."""
        if snapshot is None or job.forgotten:
            return job.told.not_kept, None
        job.snapshot = snapshot
        try:
            self._files.save(snapshot)
        except ExplorerError:
            folder = str(self._files.folder)
            message = None if self._warned else Message.of(self.words.not_kept, folder=folder)
            self._warned = True
            return folder, message
        return "", None

    def _report(self, job: Job, report: Report) -> None:
        with self._state:
            if job is self.job:
                self._tell(*report)

    def _failed(self, job: Job, error: BaseException) -> None:
        said, kept = wording.in_words(error), job.snapshot is not None
        job.told = replace(job.told, state="failed", seconds_left=None, error=said, resumable=kept)
        self._report(job, (job.told, self._stopped_not_kept(job.told)))

    def _stopped_not_kept(self, search: Search) -> Message | None:
        """That a search ends with its kernel, said where its end would otherwise hide it."""
        if not (search.resumable and search.not_kept):
            return None
        places = {"step": search.step, "of": search.of, "folder": search.not_kept}
        return Message.of(self.words.stopped_not_kept, **places)


def after(told: Search, event: Event) -> Search:
    """The report after an event; what it does not tell stays as it was."""
    return replace(
        told,
        step=event.step,
        of=event.of,
        phase=event.phase or told.phase,
        losses=event.losses or told.losses,
        seconds_left=event.seconds_left,
        training=event.training,
        run=event.run or told.run,
    )
