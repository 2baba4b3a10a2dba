"""Evaluations of instance subnetworks that go on when a test lets them, and networks to evaluate."""

import threading
from collections.abc import Callable, Iterator

from numpy.typing import NDArray

from explorer.data import Images
from explorer.dynamic.evaluating import instances
from explorer.dynamic.network import Dynamic, most_active
from explorer.instances import Instances
from explorer.session import Session
from explorer.values import Estimate

WAIT = 300


class HeldEvaluation:
    """In place of `dynamic.evaluating.instances`: it stands before every batch until `let` allows it.

    `begun` are the levels of all evaluations. While `fails` is set they raise it before their first batch.
    """

    def __init__(self) -> None:
        self.begun: list[float] = []
        self.fails: Exception | None = None
        self._allowed, self._changed = 0, threading.Condition()

    def let(self, batches: int = 10**6) -> None:
        """Allow more batches."""
        with self._changed:
            self._allowed += batches
            self._changed.notify_all()

    def until(self, count: int) -> None:
        """Wait until so many evaluations have begun."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.begun) >= count, WAIT)

    def __call__(
        self, dynamic: Dynamic, images: Images, rows: NDArray, level: float, check: Callable[[], None]
    ) -> Iterator[tuple[Estimate, Instances | None]]:
        with self._changed:
            self.begun.append(level)
            self._changed.notify_all()
        if self.fails is not None:
            raise self.fails

        def held() -> None:
            check()
            with self._changed:
                assert self._changed.wait_for(lambda: self._allowed, WAIT)
                self._allowed -= 1

        yield from instances(dynamic, images, rows, level, held)


def trained(session: Session, level: float = 0.75) -> Dynamic:
    """What stands for the network that a training came to: another one than that of source "active"."""
    made = most_active(session.network, session.graph)
    made.level = level
    return made
