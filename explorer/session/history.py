"""Undo and redo: one entry per gesture."""

import time
from collections.abc import Callable

from explorer.values import Request

KEYS_APART = 0.8  # seconds: key presses closer than that are one gesture


class History:
    """Requests that were asked for, with a cursor. To be called under the session's lock.

    What is recorded between `press` and `release` (a pointer that is held down) is one entry; so is what is
    recorded of one `kind` within KEYS_APART seconds. The empty kind stands alone. `clock` tells seconds.
    """

    def __init__(self, first: Request, clock: Callable[[], float] = time.monotonic) -> None:
        self._past: list[Request] = []
        self._now = first
        self._future: list[Request] = []
        self._clock = clock
        self._kind, self._at = "", 0.0
        self._held = self._held_entry = False
        self._recorded = 0

    @property
    def now(self) -> Request:
        """Where we are."""
        return self._now

    @property
    def recorded(self) -> int:
        """How often something new was asked for; going back and forth does not count."""
        return self._recorded

    @property
    def can_undo(self) -> bool:
        return bool(self._past)

    @property
    def can_redo(self) -> bool:
        return bool(self._future)

    def press(self) -> None:
        """A pointer gesture begins."""
        self._held, self._held_entry, self._kind = True, False, ""

    def release(self) -> None:
        """The pointer gesture ends."""
        self._held, self._kind = False, ""

    def record(self, asked: Request, kind: str) -> None:
        """The request that was just asked for; equal to the last one, it is no entry."""
        if asked == self._now:
            return
        self._recorded += 1
        now = self._clock()
        soon = bool(kind) and kind == self._kind and now - self._at <= KEYS_APART
        if not (soon or (self._held and self._held_entry)):
            self._past.append(self._now)
        elif self._past and self._past[-1] == asked:
            self._past.pop()  # back where the gesture began: nothing to undo
            self._kind, self._held_entry, self._now = "", False, asked
            return
        self._now, self._future = asked, []
        self._kind, self._at, self._held_entry = kind, now, self._held

    def amend(self, asked: Request) -> None:
        """What the last entry came to, once it was answered."""
        self._now = asked

    def undo(self) -> Request:
        """The request before; call only if `can_undo`."""
        self._future.append(self._now)
        self._now, self._kind = self._past.pop(), ""
        return self._now

    def redo(self) -> Request:
        """The request that was undone last; call only if `can_redo`."""
        self._past.append(self._now)
        self._now, self._kind = self._future.pop(), ""
        return self._now

    def branch(self) -> None:
        """Forget what was undone: something else follows, such as another network."""
        self._future.clear()

    def retreat(self, good: Request) -> None:
        """Go back to a request without an entry: what was asked since could not be answered."""
        if self._past and self._past[-1] == good:
            self._past.pop()
        self._now, self._kind = good, ""
