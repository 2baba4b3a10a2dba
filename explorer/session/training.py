"""Training beside the explorer: on a copy, on a thread of its own, while everything else stays live."""

import time
from collections.abc import Callable

from explorer.evaluate.live import LiveEvaluation
from explorer.evaluate.recovery import TrainingStep
from explorer.evaluate.worker import LatestWins
from explorer.records import Training
from explorer.values import Plan, Request

Job = tuple[Request, Plan]


class TrainingDesk:
    """Trains one state at a time; a new one takes the place of the last.

    `tell(training)` gets every step and, with `ready`, the end; `failed(error)` what went wrong. Both run on
    the training thread. The trained network is then remembered by `live`.
    """

    def __init__(
        self,
        live: LiveEvaluation,
        tell: Callable[[Training], object],
        failed: Callable[[BaseException], object],
    ) -> None:
        self._live = live
        self._worker: LatestWins[Job, Training] = LatestWins(
            self._work, lambda _job, training: tell(training), lambda _job, error: failed(error)
        )

    def start(self, asked: Request, plan: Plan) -> None:
        """Train the request's plan for the epochs of its recovery; what is being trained is given up."""
        self._worker.cancel()
        self._worker.submit((asked, plan))

    def stop(self) -> None:
        """Give up what is being trained, at its next step."""
        self._worker.cancel()

    def close(self) -> None:
        self._worker.close()

    def idle(self, timeout: float | None = None) -> bool:
        """Wait until nothing is trained; False if that took longer than `timeout` seconds."""
        return self._worker.idle(timeout)

    def _work(self, job: Job, publish: Callable[[Training], None], check: Callable[[], None]) -> None:
        asked, plan = job
        started = time.monotonic()
        last = TrainingStep(0, 0, 0.0)

        def progress(step: TrainingStep) -> None:
            nonlocal last
            last = step
            left = (time.monotonic() - started) / step.step * (step.of - step.step)
            publish(Training(asked, step.step, step.of, step.loss, left))

        self._live.train(plan, asked.recovery, check, progress, asked.seed)
        publish(Training(asked, last.step, last.of, last.loss, 0.0, ready=True))
