"""Changes of the network: one at a time, and what undo goes through between networks."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from traitlets import HasTraits, Instance, Unicode

from explorer.panels.picker.choice import Choice

if TYPE_CHECKING:
    from explorer.evaluate.worker import LatestWins
    from explorer.session.history import History

Move = Choice | Literal["back", "forward"]
Stage = Callable[[str], None]
Check = Callable[[], None]
Show = Callable[[Choice, "History | None", Stage, Check], "History"]


@dataclass(frozen=True, eq=False)
class Stop:
    """A network that was explored: how to load it, and what was asked of it. Only one that a choice has ready is kept
    in memory.
    """

    choice: Choice
    history: History


class Changes(HasTraits):
    """Shows another network, and goes back and forward between networks.

    `show(choice, history, stage, check)` loads a choice, takes up its history (None: it has none), puts it in
    place of what is shown, and returns the history that it goes on with. It calls `stage` with keys of the
    strings and `check` before what cannot be taken back; if it raises, what was shown must stay.

    `choice` is what is shown, `stage` "" while nothing is loaded by `start`; `error` says why the last `start`
    failed.
    """

    choice = Instance(Choice, allow_none=True)
    stage = Unicode()
    error = Unicode()

    def __init__(self, show: Show) -> None:
        super().__init__()
        self._show = show
        self._lock = threading.Lock()
        self._past: list[Stop] = []
        self._now: Stop | None = None
        self._future: list[Stop] = []
        self._recorded = 0  # by the history now, when we arrived
        self._worker: LatestWins[Move, str] | None = None

    def begin(self, choice: Choice, history: History) -> None:
        """Tell what is shown first."""
        self._arrive(Stop(choice, history))

    @property
    def can_go_back(self) -> bool:
        """Whether another network was shown before this one."""
        return bool(self._past)

    @property
    def can_go_forward(self) -> bool:
        """Whether one was left by going back, and nothing new was asked for since."""
        now = self._now
        return (
            bool(self._future)
            and now is not None
            and not now.history.can_redo
            and now.history.recorded == self._recorded
        )

    def make(self, move: Move, stage: Stage = lambda _key: None, check: Check = lambda: None) -> None:
        """Make a change in the calling thread. Raises what loading raises; then nothing has changed.

        Going where nothing is does nothing.
        """
        with self._lock:
            if isinstance(move, Choice):
                history = self._show(move, None, stage, check)
                self._future.clear()
                self._leave(self._past)
                if self._past:
                    self._past[-1].history.branch()
                self._arrive(Stop(move, history))
            elif self.can_go_back if move == "back" else self.can_go_forward:
                there, behind = (self._past, self._future) if move == "back" else (self._future, self._past)
                stop = there[-1]
                history = self._show(stop.choice, stop.history, stage, check)
                there.pop()
                self._leave(behind)
                self._arrive(Stop(stop.choice, history))

    def start(self, move: Move) -> None:
        """Make a change on a worker thread; the latest one asked for wins. Returns at once."""
        from explorer.evaluate.worker import LatestWins  # loads torch

        if self._worker is None:
            self._worker = LatestWins(self._work, lambda _move, key: self._tell(key), self._failed)
        self.error, self.stage = "", "picker_stage_load"
        self._worker.submit(move)

    def stop(self) -> None:
        """Give up what `start` began; what is shown stays."""
        if self._worker is not None:
            self._worker.cancel()
        self.stage = ""

    def idle(self, timeout: float | None = None) -> bool:
        """Wait until nothing is loaded; False if that took longer than `timeout` seconds."""
        return self._worker is None or self._worker.idle(timeout)

    def close(self) -> None:
        """End the thread, and forget all networks; uploads are deleted with them."""
        if self._worker is not None:
            self._worker.close()
        self._past.clear()
        self._future.clear()
        self.unobserve_all()
        self._now = self.choice = None

    def _leave(self, stops: list[Stop]) -> None:
        if self._now is not None:
            self._now.history.release()  # a pointer that was down when the network left
            stops.append(self._now)

    def _arrive(self, stop: Stop) -> None:
        self._now, self._recorded = stop, stop.history.recorded
        self.choice = stop.choice

    # ---- the worker thread ------------------------------------------------------------------------------

    def _work(self, move: Move, publish: Stage, check: Check) -> None:
        self.make(move, publish, check)
        self._tell("")

    def _tell(self, key: str) -> None:
        self.stage = key

    def _failed(self, _move: Any, error: BaseException) -> None:
        from explorer.session import in_words

        with self.hold_trait_notifications():
            self.error, self.stage = in_words(error), ""
