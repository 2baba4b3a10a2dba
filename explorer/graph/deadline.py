"""A limit on the time that reading a network may take: user code runs while it is traced, and could run for ever."""

import ctypes
import threading
import time
from types import TracebackType
from typing import Self

from explorer.errors import CannotTrace

LIMIT = 60.0  # seconds; most networks take less than one, and torch.export some to load


class _TimeOver(BaseException):
    """Raised inside what takes too long; no `except Exception` of a user's code may swallow it."""


class Deadline:
    """Ends what runs inside the context after so many seconds, with CannotTrace.

    The thread is interrupted between two steps of Python, wherever it is: also in a loop that never calls torch.
    """

    def __init__(self, name: str, seconds: float = LIMIT) -> None:
        self._name, self._seconds = name, seconds
        self._thread = threading.get_ident()
        self._lock = threading.Lock()
        self._open, self._asked = True, False
        self._timer = threading.Timer(seconds, self._interrupt)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        over = kind is not None and issubclass(kind, _TimeOver)
        try:
            with self._lock:
                self._open = False
            self._timer.cancel()
            while self._asked and not over:  # it was asked for and must come here, not later
                time.sleep(0)
        except _TimeOver:
            over = True
        if over:
            raise CannotTrace(
                f"Reading {self._name} took longer than {self._seconds:g} s and was stopped. Pass a smaller example "
                "input, or the part of the network that is a plain CNN; loops with many steps are unrolled."
            ) from None

    def _interrupt(self) -> None:
        with self._lock:
            if self._open:
                self._asked = True
                _raise_in(self._thread, _TimeOver)


def _raise_in(thread: int, kind: type[BaseException]) -> None:
    """Have a thread raise an exception at its next step."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(kind))
