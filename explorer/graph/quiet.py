"""torch's exporters, one at a time and without a word: they patch, log and print for the whole process."""

import io
import logging
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import TextIO

_TURN = threading.RLock()  # two exports at once break each other, and would not give the streams back


@contextmanager
def quiet() -> Iterator[None]:
    """Without what torch's exporters warn, log and print of their own doings, which nobody here can change."""
    with _TURN:
        before = logging.root.manager.disable
        logging.disable(logging.CRITICAL)
        try:
            with (
                warnings.catch_warnings(),
                redirect_stderr(_OtherThreads(sys.stderr)),
                redirect_stdout(_OtherThreads(sys.stdout)),
            ):
                for module in (r"torch\.", r"onnxscript", r"onnx_ir", r"copyreg"):
                    warnings.filterwarnings("ignore", module=module)
                yield
        finally:
            logging.disable(before)


class _OtherThreads(io.TextIOBase):
    """A stream that passes on what other threads write, and drops what this one does."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream, self._thread = stream, threading.get_ident()

    def write(self, text: str, /) -> int:
        return len(text) if threading.get_ident() == self._thread else self._stream.write(text)
