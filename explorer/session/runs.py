"""What a session does with methods that train: begins, stops, resumes and drops them, and uses what they come to."""

import atexit
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from explorer.errors import BadInput, ExplorerError, require_name
from explorer.evaluate.worker import LatestWins, Superseded
from explorer.methods import METHODS, events, search_key
from explorer.methods.loop import Event, Found
from explorer.methods.recording import read_network, read_recorded
from explorer.methods.settings import checked
from explorer.methods.snapshots import Snapshot
from explorer.records import Progress, Runs, TrainingCost
from explorer.runs import Recorded
from explorer.session import wording
from explorer.session.answering import Answering
from explorer.session.history import History
from explorer.session.run_files import RunFiles
from explorer.strings import Message
from explorer.values import ChannelGraph
from explorer.zoo import Network

APART = 0.33  # seconds between two reports: more often than the eye asks, each costs a redraw
Report = tuple[Progress, Message | None]
Publish = Callable[[Report], None]


class Job:
    """One training as it was asked for. `progress` is its latest report, `snapshot` its last sound one until it has
    ended, `found` what it came to.

    Only the training's thread changes these, and writes the file. It may go on for a step after it was forgotten.
    """

    def __init__(self, key: str, method: str, settings: Mapping[str, object]) -> None:
        self.key, self.method, self.settings = key, method, settings
        self.ended = threading.Event()  # it is to stop, and keeps a snapshot
        self.forgotten = False  # and keeps none
        self.progress = starting(method, settings)
        self.snapshot: Snapshot | None = None
        self.found: Found | None = None

    def again(self) -> "Job":
        """The same training, to go on from its snapshot; without one, from the beginning."""
        job = Job(self.key, self.method, self.settings)
        if self.snapshot is not None:
            job.snapshot = self.snapshot
            job.progress = replace(
                self.progress, state="running", seconds_left=None, error="", resumable=False
            )
        return job


def starting(method: str, settings: Mapping[str, object]) -> Progress:
    """The report of a training that has not made a step."""
    return Progress(method, settings, "running", 0, 0, "", {}, None, TrainingCost(), None)


class RunDesk:
    """Runs one training at a time, and keeps the latest job of every method.

    `tell(progress, message)` gets reports, at most every APART seconds of `clock`, at every snapshot and at the end; a
    message says what else happened. It runs on the training's thread, under `state`, the lock that all else is called
    under: nothing is told of a training that was forgotten, and nothing waits for a disk. The last sound snapshot is
    remembered, and written to `files`: starting the same training again goes on from it, also in another process.
    The thread begins with the first training.
    """

    def __init__(
        self,
        network: Network,
        graph: ChannelGraph,
        tell: Callable[[Progress, Message | None], object],
        state: threading.RLock,
        files: RunFiles | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._network, self._graph, self._tell, self._state = network, graph, tell, state
        self._files, self._clock = files or RunFiles(), clock
        self._warned = False
        self.jobs: dict[str, Job] = {}  # the latest of every method; another desk can be given them
        self._worker: LatestWins[Job, Report] | None = None

    def start(self, key: str, method: str, settings: Mapping[str, object]) -> Progress:
        """Begin the training of this `methods.search_key`, or go on with it; returns its first report at once."""
        last = self.jobs.get(method)
        job = last.again() if last is not None and last.key == key else Job(key, method, settings)
        self.jobs.pop(method, None)  # what was begun last stands last
        progress, self.jobs[method] = job.progress, job
        if self._worker is None:
            self._worker = LatestWins(self._work, self._report, self._failed)
        self._worker.submit(job)
        return progress

    def found(self, method: str) -> Found | None:
        """What the latest training of a method came to."""
        job = self.jobs.get(method)
        return None if job is None else job.found

    def stop(self) -> None:
        """End at the next step; a snapshot is kept."""
        for job in self.jobs.values():
            job.ended.set()

    def forget(self, method: str) -> None:
        """End the training of a method at its next step; neither a snapshot nor what was found is kept."""
        job = self.jobs.pop(method, None)
        if job is not None:
            job.forgotten = True  # what its thread is writing now, that deletes
            job.ended.set()
            self._files.remove(job.key)

    def idle(self, timeout: float | None = None) -> bool:
        """Wait until nothing is trained; False if that took longer than `timeout` seconds."""
        return self._worker is None or self._worker.idle(timeout)

    def close(self) -> None:
        """Stop, with a snapshot, and end the thread."""
        self.stop()
        if self._worker is not None:
            self._worker.close()

    # ---- the training's thread ---------------------------------------------------------------------------

    def _work(self, job: Job, publish: Publish, _check: Callable[[], None]) -> None:
        atexit.register(job.ended.set)  # the worker's end then waits for the snapshot
        try:
            self._train(job, publish)
        finally:
            if job.forgotten:
                self._files.remove(job.key)
            atexit.unregister(job.ended.set)

    def _train(self, job: Job, publish: Publish) -> None:
        def report(progress: Progress, message: Message | None = None) -> None:
            job.progress = progress
            with suppress(Superseded):  # closed: nobody listens, but the snapshot is still to come
                publish((progress, message))

        last, words = float("-inf"), wording.RUNS[METHODS[job.method].yields]
        for event in self._begun(job, report):
            progress = after(job.progress, event)
            if event.found is not None:
                job.found, job.snapshot = event.found, None
                self._files.remove(job.key)
                report(replace(progress, state="ready"), Message(words.ready))
            elif event.snapshot is not None or self._clock() - last >= APART:
                last = self._clock()
                not_kept, message = self._keep(job, event.snapshot)
                report(replace(progress, not_kept=not_kept), message)
            else:
                job.progress = progress
        if job.found is None:
            stopped = replace(job.progress, state="stopped", seconds_left=None, resumable=True)
            message = Message.of(words.stopped, step=stopped.step, of=stopped.of)
            report(stopped, _stopped_not_kept(stopped) or message)

    def _begun(self, job: Job, report: Callable[[Progress, Message | None], None]) -> Iterator[Event]:
        """The events of a training, from the farthest snapshot on: that in the file may be of a session that ended
        since. One that does not fit, such as of another version of the method, is dropped.
        """
        words = wording.RUNS[METHODS[job.method].yields]
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
            report(starting(job.method, job.settings), Message(words.anew))
            return begin(None)
        report(replace(job.progress, step=step, of=of), Message.of(words.resumed, step=step, of=of))
        return begun

    def _keep(self, job: Job, snapshot: Snapshot | None) -> tuple[str, Message | None]:
        """Remember a snapshot and write it: the folder, if it cannot be written to, and once a message of that."""
        if snapshot is None or job.forgotten:
            return job.progress.not_kept, None
        job.snapshot = snapshot
        try:
            self._files.save(snapshot)
        except ExplorerError:
            folder = str(self._files.folder)
            words = wording.RUNS[METHODS[job.method].yields]
            message = None if self._warned else Message.of(words.not_kept, folder=folder)
            self._warned = True
            return folder, message
        return "", None

    def _report(self, job: Job, report: Report) -> None:
        with self._state:
            if job is self.jobs.get(job.method):
                self._tell(*report)

    def _failed(self, job: Job, error: BaseException) -> None:
        said, kept = wording.in_words(error), job.snapshot is not None
        job.progress = replace(job.progress, state="failed", seconds_left=None, error=said, resumable=kept)
        self._report(job, (job.progress, _stopped_not_kept(job.progress)))


def after(progress: Progress, event: Event) -> Progress:
    """The report after an event; what it does not tell stays as it was."""
    return replace(
        progress,
        step=event.step,
        of=event.of,
        phase=event.phase or progress.phase,
        losses=event.losses or progress.losses,
        seconds_left=event.seconds_left,
        training=event.training,
        run=event.run or progress.run,
    )


def _stopped_not_kept(progress: Progress) -> Message | None:
    """That a training ends with its kernel, said where its end would otherwise hide it."""
    if not (progress.resumable and progress.not_kept):
        return None
    places = {"step": progress.step, "of": progress.of, "folder": progress.not_kept}
    return Message.of(wording.RUNS[METHODS[progress.method].yields].stopped_not_kept, **places)


@dataclass(frozen=True, eq=False)
class Handover:
    """What a session hands to a later one over the same network: its trainings, with what those found or can go on
    from, and the recorded runs.
    """

    runs: Runs = field(default_factory=Runs)
    jobs: Mapping[str, Job] = field(default_factory=dict)


class Running(Answering):
    """One training of a method at a time, and none while the network as it is shown is trained: both would take the
    same processor.
    """

    def __init__(
        self, network: Network, history: History | None = None, handover: Handover | None = None
    ) -> None:
        super().__init__(network, history)
        self._run_desk = RunDesk(network, self.graph, self._ran, self._state)
        if handover is not None:
            self._run_desk.jobs.update(handover.jobs)
            self.runs = handover.runs

    @property
    def handover(self) -> Handover:
        """What a later session over this network can be given; a training that runs is in it as a stopped one."""
        with self._state:
            progress = {name: _stopped(each) for name, each in self.runs.progress.items()}
            return Handover(replace(self.runs, progress=progress), dict(self._run_desk.jobs))

    def start_search(self, method: str = "dmcp", **settings: object) -> None:
        """Begin a search over widths ("dmcp", "slimming"), or a training of instance subnetworks ("manidp", "fbs"),
        beside the explorer; `runs.progress` tells how far it is.

        `settings` as the method declares them. What was begun before with the same weights, images and settings
        goes on from its last snapshot, also one of another session. Raises UnknownName and BadInput for what the
        method does not take, without training images with labels, and while another search or a training runs; a
        target out of reach is told by the trait and the status line.
        """
        self._require_open()
        key = search_key(self.network, self.graph, method, **settings)
        chosen = asdict(checked(method, METHODS[method].settings, settings))
        with self._state:
            self._require_open()
            if self.runs.running is not None:
                raise BadInput(f"{self._runs_now} is running. Stop it before another one begins.")
            if self.training is not None and not self.training.ready:
                raise BadInput(
                    "The network is being trained. Let it end, or stop it, before a search begins."
                )
            self.error = ""
            # Told once it runs, so that whoever interrupts an observer of it stops no more than that.
            progress = self._run_desk.start(key, method, chosen)
            self.runs = self.runs.without(method).having(progress)

    def stop_search(self, method: str = "dmcp") -> None:
        """End the training of a method after its current step; it can be resumed. Nothing happens if it does not run.

        Raises UnknownName for another method.
        """
        require_name("method", method, METHODS)
        with self._state:
            progress = self.runs.progress.get(method)
            if progress is not None and progress.state == "running":
                self._say(Message(wording.RUNS[METHODS[method].yields].stopping))
                self._run_desk.stop()

    def resume_search(self, method: str = "dmcp") -> None:
        """Go on with the training of a method that was stopped or failed. Raises BadInput if there is none."""
        require_name("method", method, METHODS)
        progress = self.runs.progress.get(method)
        if progress is None or not progress.resumable:
            raise BadInput("There is no search to go on with. Begin one with start_search().")
        self.start_search(method, **progress.settings)

    def drop_search(self, method: str = "dmcp") -> None:
        """Forget the training of a method and what it found."""
        require_name("method", method, METHODS)
        with self._state:
            try:
                self._run_desk.forget(method)
            finally:
                self.runs = self.runs.without(method)

    def use_widths(self, widths: Mapping[str, int]) -> None:
        """Give groups widths by hand, all at once and without pinning them: one entry of undo.

        The others stay, locked ones too; a width is clipped to what its group can have, and the status says so.
        Raises BadInput for unknown groups, those that cannot be pruned, and what is no whole number.
        """
        with self._state:
            if not self._choices.knows(self._latest):
                raise BadInput("The channels are being scored. Try again in a moment.")
            before = self._held_plan or self.plan
            asked = self._choices.with_widths(self._latest, self.plan, widths)
            self._ask(asked, "widths")
            said = wording.widths_set(before, self.plan, widths, asked.locked)
            self._say(wording.joined(said, self._untrained))

    def read_recorded(self, method: str = "dmcp") -> None:
        """Have `runs.recorded` hold the run of a method that ships for this network with these weights, if one does."""
        require_name("method", method, METHODS)
        if method not in self.runs.recorded:
            found = read_recorded(self.network, self.graph, method)
            if found is not None:
                with self._state:
                    self.runs = replace(self.runs, recorded={**self.runs.recorded, method: found})

    def ended_run(self, method: str = "dmcp") -> Recorded[Any, Any] | None:
        """The run that `trained_network` is of."""
        found = self._run_desk.found(method)
        if found is None:
            self.read_recorded(method)
            return self.runs.recorded.get(method)
        return Recorded(found.run)

    def trained_network(self, method: str = "dmcp") -> Network | None:
        """The network that a search over widths trained, else that of its recorded run, ready to be explored at full
        width; None if there is neither.
        """
        found = self._run_desk.found(method)
        model = read_network(self.network, self.graph, method) if found is None else found.network
        if model is None:
            return None
        name, known = self.network.name, METHODS[method]
        return replace(
            self.network,
            name=f"{name} {known.trained}",
            model=model,
            source=None,
            trained=True,
            notes=(known.trained_note.format(name=name),),
        )

    @property
    def _runs_now(self) -> str:
        """What runs, for a sentence that begins with it."""
        running = self.runs.running
        if running is None or METHODS[running.method].yields == "widths":
            return "A search"
        return f"A training of {METHODS[running.method].label}"

    def _require_no_search(self) -> None:
        if self.runs.running is not None:
            raise BadInput(
                f"{self._runs_now} is running. Let it end, or stop it, before the network is trained."
            )

    def _ran(self, progress: Progress, message: Message | None) -> None:
        """A report of a training's thread, under the state lock."""
        self.runs = self.runs.having(progress)
        if progress.error:
            self.error = progress.error
        if message is not None:
            self._say(message)


def _stopped(progress: Progress) -> Progress:
    """What can be told of a training whose session ends."""
    if progress.state != "running":
        return progress
    return replace(progress, state="stopped", seconds_left=None, resumable=True)
