"""One worker thread that does the latest job, after each job's first result.

A slider submits far more jobs than can be worked. Cancelling each at once would show nothing during a drag;
finishing each would lag behind. So a job is left alone until it has published one result, and then gives way.
"""

import atexit
import logging
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from explorer.errors import ExplorerError, Interrupted

Job = TypeVar("Job")
Result = TypeVar("Result")
log = logging.getLogger(__name__)
PARTING = 10.0  # seconds that a program's end waits for the work that is being done


class Superseded(Interrupted):
    """Raised by a job's check: a newer job waits, or the job was cancelled. The job ends without a word."""


class _Run:
    """What is known of the job that is being worked."""

    def __init__(self) -> None:
        self.published = False
        self.cancelled = False


class LatestWins(Generic[Job, Result]):
    """`work(job, publish, check)` on a daemon thread, the latest job first and all others forgotten.

    `publish(result)` hands a result on to `done(job, result)`; a report of progress is a result too.
    `check()` raises Superseded when the job is cancelled, or when a newer one waits and this one has
    published already: call it between pieces of work. Whatever else a job raises goes to `failed(job,
    exception)`. `done` and `failed` run on the worker thread. A job is begun after `grace` seconds, or the
    newest that came meanwhile.
    """

    def __init__(
        self,
        work: Callable[[Job, Callable[[Result], None], Callable[[], None]], object],
        done: Callable[[Job, Result], object],
        failed: Callable[[Job, BaseException], object],
        grace: float = 0.0,
    ) -> None:
        self._work, self._done, self._failed, self._grace = work, done, failed, grace
        self._changed = threading.Condition()
        self._waiting: tuple[Job] | None = None
        self._run: _Run | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._loop, name="explorer-worker", daemon=True)
        _alive.add(self)
        self._thread.start()

    def submit(self, job: Job) -> None:
        """Take the place of a waiting job; returns at once. Raises ExplorerError after close()."""
        with self._changed:
            if self._closed:
                raise ExplorerError("This explorer is closed and evaluates nothing more: make a new one.")
            try:
                self._waiting = (job,)
            finally:  # an interrupt of the submitting thread must not leave a job that nobody is told of
                self._changed.notify_all()

    def cancel(self) -> None:
        """Forget the waiting job and end the running one at its next check, also before its first result."""
        with self._changed:
            self._waiting = None
            if self._run is not None:
                self._run.cancelled = True
            self._changed.notify_all()

    def close(self) -> None:
        """Cancel all, then end the thread. Returns at once; `idle()` waits for the end."""
        with self._changed:
            self._closed = True
            self.cancel()

    def idle(self, timeout: float | None = None) -> bool:
        """Wait until no job waits or runs; False if that took longer than `timeout` seconds.

        Not to be called by a job, `done` or `failed`, which would wait for themselves.
        """
        with self._changed:
            return self._changed.wait_for(lambda: self._waiting is None and self._run is None, timeout)

    def _loop(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting is not None or self._closed)
                if self._grace:  # a newer job may still come, and is then begun instead
                    self._changed.wait_for(lambda: self._closed, self._grace)
                if self._closed:
                    return
                if self._waiting is None:
                    continue
                (job,), self._waiting = self._waiting, None
                run = self._run = _Run()
            self._attend(job, run)
            del job  # a sleeping thread keeps no network alive
            with self._changed:
                self._run = None
                self._changed.notify_all()

    def _attend(self, job: Job, run: _Run) -> None:
        def publish(result: Result) -> None:
            if run.cancelled:
                raise Superseded("The work was cancelled.")
            self._done(job, result)
            run.published = True

        def check() -> None:
            if run.cancelled or (run.published and self._waiting is not None):
                raise Superseded("A newer request took over.")

        try:
            self._work(job, publish, check)
        except Superseded:
            pass
        except BaseException as error:  # noqa: BLE001 (the thread outlives every job, whatever it raises)
            try:
                self._failed(job, error)
            except BaseException:
                log.exception("The handler of a failed job failed itself")


_alive: "weakref.WeakSet[LatestWins[Any, Any]]" = weakref.WeakSet()


@atexit.register
def _part() -> None:
    """End all threads with the program: one that is inside torch when Python goes would take the process down."""
    until = time.monotonic() + PARTING
    workers = list(_alive)
    for worker in workers:
        worker.close()
    for worker in workers:
        worker._thread.join(max(0.0, until - time.monotonic()))
