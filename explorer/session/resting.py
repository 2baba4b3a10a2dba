"""What is worked out while nothing is asked: what refits need, the network at rest, what other recoveries give."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from explorer.evaluate.live import LiveEvaluation
from explorer.evaluate.worker import LatestWins
from explorer.values import Estimate, Plan, Recovery, Request

REST = 0.4  # seconds after an estimate is complete in which a person may go on moving
AT_REST = Recovery(repair="refit_sequential")
"""What takes the place of an instant refit when the slider rests. BN statistics are not measured again after it: the
layers are fitted to the dense network's, and at small budgets are much better so."""


@dataclass(frozen=True, eq=False)
class RestJob:
    """Recoveries of a request's plan that nothing is known of yet."""

    asked: Request
    plan: Plan
    recoveries: tuple[Recovery, ...]


class RestDesk:
    """Evaluates a cut after other recoveries than the one that is shown, when nothing has been asked for a while.

    `begun(job)` is called when it starts, `told(job, estimate)` after each recovery, with all explore images seen, and
    `failed(job, error)` gets what went wrong. They run on the desk's thread.
    """

    def __init__(
        self,
        live: LiveEvaluation,
        begun: Callable[[RestJob], object],
        told: Callable[[RestJob, Estimate], object],
        failed: Callable[[RestJob, BaseException], object],
    ) -> None:
        self._live, self._begun = live, begun
        self._worker: LatestWins[RestJob, Estimate] = LatestWins(self._work, told, failed, REST)

    def start(self, job: RestJob) -> None:
        """Work at this job when the time has come, in place of any other."""
        self._worker.submit(job)

    def stop(self) -> None:
        """Give up what is being worked at, at its next batch or layer."""
        self._worker.cancel()

    def close(self) -> None:
        self._worker.close()

    def idle(self, timeout: float | None = None) -> bool:
        """Wait until nothing is worked at; False if that took longer than `timeout` seconds."""
        return self._worker.idle(timeout)

    def _work(self, job: RestJob, publish: Callable[[Estimate], None], check: Callable[[], None]) -> None:
        check()
        self._begun(job)
        for recovery in job.recoveries:
            *_, last = self._live.estimates(
                job.plan, recovery, check, seed=job.asked.seed, remember=recovery == AT_REST
            )
            publish(last)


class PreparingDesk:
    """Gathers the moments that refits need, once. `progress(done, of)` gets the images; `ready()` and
    `failed(error)` the end. All run on the desk's thread.
    """

    def __init__(
        self,
        live: LiveEvaluation,
        progress: Callable[[int, int], object],
        ready: Callable[[], object],
        failed: Callable[[BaseException], object],
    ) -> None:
        self._live, self._progress = live, progress
        self._worker: LatestWins[bool, bool] = LatestWins(
            self._work, lambda _job, _done: ready(), lambda _job, error: failed(error)
        )
        self._go_on, self._at_work = threading.Event(), threading.Lock()
        self._go_on.set()

    def start(self) -> None:
        self._worker.submit(True)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Meanwhile nothing is gathered: the processor is needed for something that is timed."""
        self._go_on.clear()
        try:
            with self._at_work:
                yield
        finally:
            self._go_on.set()

    def close(self) -> None:
        self._worker.close()

    def idle(self, timeout: float | None = None) -> bool:
        """Wait until nothing is gathered; False if that took longer than `timeout` seconds."""
        return self._worker.idle(timeout)

    def _work(self, _job: bool, publish: Callable[[bool], None], check: Callable[[], None]) -> None:
        def between() -> None:
            if not self._go_on.is_set():
                self._at_work.release()
                self._go_on.wait()
                self._at_work.acquire()
            check()

        with self._at_work:
            self._live.observed(between, self._progress)
        publish(True)
