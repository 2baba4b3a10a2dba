"""A limit on the time that reading a network may take: user code runs while it is traced, and could run for ever."""

import ctypes
import sys
import threading
from types import TracebackType
from typing import Self

from explorer.errors import CannotTrace

LIMIT = 60.0  # seconds; most networks take less than one, and torch.export some to load
AGAIN = 0.2  # seconds until the next interruption: user code may have swallowed the one before
STEPS = 100_000  # of Python, within which an interruption that was asked for comes


class _TimeOver(BaseException):
    """Raised inside what takes too long; no `except Exception` of a user's code may swallow it."""


class Deadline:
    """Ends what runs inside the context after so many seconds, with CannotTrace.

    The thread is interrupted between two steps of Python, wherever it is: also in a loop that never calls torch, and
    again until the context is left.
    """

    def __init__(self, name: str, seconds: float = LIMIT) -> None:
        self._name, self._seconds = name, seconds
        self._thread = threading.get_ident()
        self._lock = threading.Lock()
        self._left = threading.Event()
        self._over = False
        self._unraisable = sys.unraisablehook

    def __enter__(self) -> Self:
        threading.Thread(target=self._watch, name="deadline", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        try:
            with self._lock:
                self._left.set()
            if self._over and not isinstance(error, _TimeOver):
                for _step in range(STEPS):  # what was asked for comes here, not later
                    pass
        except _TimeOver:
            pass
        if sys.unraisablehook == self._quiet:
            sys.unraisablehook = self._unraisable
        if self._over:
            raise CannotTrace(
                f"Reading {self._name} took longer than {self._seconds:g} s and was stopped. Pass a smaller example "
                "input, or the part of the network that is a plain CNN; loops with many steps are unrolled."
            ) from None

    def _watch(self) -> None:
        wait = self._seconds
        while not self._left.wait(wait):
            self._interrupt()
            wait = AGAIN

    def _interrupt(self) -> None:
        with self._lock:
            if not self._left.is_set():
                if not self._over:
                    self._unraisable, sys.unraisablehook = sys.unraisablehook, self._quiet
                self._over = True
                # Only ever to raise: with NULL, to take back, CPython would look for signals for ever.
                ctypes.pythonapi.PyThreadState_SetAsyncExc(
                    ctypes.c_ulong(self._thread), ctypes.py_object(_TimeOver)
                )

    def _quiet(self, lost: "sys.UnraisableHookArgs") -> None:
        """An interruption inside a finaliser or a callback of the garbage collector is lost: the next one counts."""
        if lost.exc_type is not _TimeOver:
            self._unraisable(lost)
