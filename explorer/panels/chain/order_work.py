"""Which channels carry the information of this session's supernet: measured on a worker thread, on request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from explorer.chains import ChainRun, OrderCurve
    from explorer.evaluate.worker import LatestWins
    from explorer.session import Session


@dataclass(frozen=True, eq=False)
class Measured:
    """The curves, () while they are measured: then `done` of `of` networks are."""

    curves: tuple[OrderCurve, ...] = ()
    done: int = 0
    of: int = 0


class OrderWork:
    """Measures order curves of the session's supernet. `told()` is called on the worker thread.

    `now` says how far it is while it works, else None.
    """

    def __init__(self, session: Session, told: Callable[[], None]) -> None:
        self._session, self._told = session, told
        self._worker: LatestWins[ChainRun, Measured] | None = None
        self._found: tuple[ChainRun, tuple[OrderCurve, ...]] | None = None
        self.now: Measured | None = None

    def curves(self, run: ChainRun) -> tuple[OrderCurve, ...]:
        """What was measured after that run; () for nothing yet."""
        return self._found[1] if self._found is not None and self._found[0] is run else ()

    def start(self, run: ChainRun) -> None:
        """Measure the supernet of the run; returns at once."""
        if self._worker is None:
            from explorer.evaluate.worker import LatestWins

            self._worker = LatestWins(self._work, self._done, self._failed)
        self.now = Measured()
        self._worker.submit(run)

    def idle(self, timeout: float | None = None) -> bool:
        """Wait until nothing is measured; False if that took longer than `timeout` seconds."""
        return self._worker is None or self._worker.idle(timeout)

    def close(self) -> None:
        """End the worker thread."""
        if self._worker is not None:
            self._worker.close()

    def _work(self, _run: ChainRun, publish: Callable[[Measured], None], check: Callable[[], None]) -> None:
        from explorer.methods.order_claim import order_curves

        session = self._session
        supernet, data = session.trained_network("dmcp"), session.network.data
        if supernet is not None and data is not None:
            before, after, graph = session.network, supernet.model, session.graph

            def progress(done: int, of: int) -> None:
                publish(Measured(done=done, of=of))

            publish(Measured(order_curves(before, after, graph, data, check=check, progress=progress)))

    def _done(self, run: ChainRun, result: Measured) -> None:
        if result.curves:
            self._found, self.now = (run, result.curves), None
        else:
            self.now = result
        self._told()

    def _failed(self, _run: ChainRun, error: BaseException) -> None:
        self.now = None
        self._session.report(error)
        self._told()
