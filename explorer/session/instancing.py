"""Instance subnetworks beside the explorer: evaluated on a thread of their own, what was asked last first."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from explorer.data import Data
from explorer.dynamic.evaluating import instances, rows_for
from explorer.dynamic.network import Dynamic
from explorer.evaluate.worker import LatestWins
from explorer.instances import Instances
from explorer.values import Estimate

GRACE = 0.15  # seconds in which a slider that is dragged asks for another level, before one is evaluated
KEPT_BYTES = 256 * 2**20  # of the tables that are remembered
Result: TypeAlias = tuple[Estimate, Instances | None]


@dataclass(frozen=True, eq=False)
class Asked:
    """What is to be shown: the subnetworks that `dynamic` chooses at `level`; `source` as in the session."""

    source: str
    level: float
    dynamic: Dynamic


@dataclass(frozen=True, eq=False)
class Answered:
    """What was asked, evaluated to the end."""

    asked: Asked
    estimate: Estimate
    instances: Instances


class InstanceDesk:
    """Evaluates the subnetworks of one source at one level at a time; what is asked next takes its place.

    `tell(estimate, answered)` gets the accuracy so far, batch by batch, and with the last one the answer;
    `failed(error)` what went wrong. Both run on the desk's thread under `state`, the lock that all else is called
    under, and only for what was asked last. The networks of the sources are remembered, and the latest answers, as
    many as fit into KEPT_BYTES, but one at least.
    """

    def __init__(
        self,
        data: Data,
        tell: Callable[[Estimate, Answered | None], object],
        failed: Callable[[BaseException], object],
        state: threading.RLock,
    ) -> None:
        self._images, self._tell, self._report, self._state = data.explore, tell, failed, state
        self.networks: dict[str, Dynamic] = {}  # of the sources that were looked for
        self.asked: Asked | None = None
        self.answered = False  # what was asked last
        self._answers: list[Answered] = []  # oldest first
        self._worker: LatestWins[Asked, Result] = LatestWins(self._work, self._done, self._failed, GRACE)

    def ask(self, asked: Asked) -> Answered | None:
        """The answer, if it is remembered; else it is worked out. Raises ExplorerError after `close`."""
        known = next((each for each in self._answers if _same(each.asked, asked)), None)
        if known is not None:
            self.settle(known)
        else:
            self._worker.submit(asked)
            self.asked, self.answered = asked, False
        return known

    def works_out(self, asked: Asked) -> bool:
        """Whether this very thing is being evaluated."""
        return self.asked is not None and not self.answered and _same(self.asked, asked)

    def settle(self, answer: Answered) -> None:
        """Have this answer in place of what is evaluated."""
        self._worker.cancel()
        self._remember(answer)
        self.asked, self.answered = answer.asked, True

    def latest(self, dynamic: Dynamic) -> Instances | None:
        """The latest answer of a network at any level."""
        found = (each.instances for each in reversed(self._answers) if each.asked.dynamic is dynamic)
        return next(found, None)

    def stop(self) -> None:
        """Give up what is evaluated; nothing is asked any more."""
        self._worker.cancel()
        self.asked, self.answered = None, False

    def forget(self, source: str) -> None:
        """Forget the network of a source, and its answers."""
        gone = self.networks.pop(source, None)
        self._answers = [each for each in self._answers if each.asked.dynamic is not gone]

    def idle(self, timeout: float | None = None) -> bool:
        """Wait until nothing is evaluated; False if that took longer than `timeout` seconds."""
        return self._worker.idle(timeout)

    def close(self) -> None:
        """Stop, and end the thread."""
        with self._state:
            self.stop()
            self._worker.close()

    def _remember(self, answer: Answered) -> None:
        kept = [each for each in self._answers if not _same(each.asked, answer.asked)]
        kept.append(answer)
        while len(kept) > 1 and sum(_bytes(each.instances) for each in kept) > KEPT_BYTES:
            del kept[0]
        self._answers = kept

    # ---- the desk's thread ------------------------------------------------------------------------------

    def _work(self, asked: Asked, publish: Callable[[Result], None], check: Callable[[], None]) -> None:
        rows = rows_for(asked.dynamic, self._images)
        for result in instances(asked.dynamic, self._images, rows, asked.level, check):
            publish(result)

    def _done(self, asked: Asked, result: Result) -> None:
        estimate, found = result
        answer = None if found is None else Answered(asked, estimate, found)
        with self._state:
            if answer is not None and self.networks.get(asked.source) is asked.dynamic:
                self._remember(answer)
            if asked is self.asked:
                self.answered = answer is not None
                self._tell(estimate, answer)

    def _failed(self, asked: Asked, error: BaseException) -> None:
        with self._state:
            if asked is self.asked:
                self._report(error)


def _same(one: Asked, other: Asked) -> bool:
    return one.dynamic is other.dynamic and one.level == other.level


def _bytes(found: Instances) -> int:
    """Of the tables over all channels; the rest is small beside them."""
    return found.saliency.nbytes + found.features.nbytes + found.keep.nbytes
