"""Interrupts (Ctrl+C, the notebook's stop button) that wait: torch, numpy and Bokeh cannot be imported twice.

What an interrupt leaves half imported is broken until the kernel is restarted: their modules register things in C, or
in lists, that refuse a second registration.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def held_interrupts() -> Iterator[None]:
    """Let an interrupt wait until the end of the block, whatever it ends with; then the handler of before gets it.

    Only the main thread can, and needs to: no other thread is interrupted.
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before is None:  # None: not set by Python
        yield
        return
    came: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _frame: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if came:
            signal.raise_signal(signal.SIGINT)
