"""An interrupt while packages are imported waits, and nothing is left half imported."""

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from explorer.interrupts import held_interrupts


@pytest.fixture(autouse=True)
def heeded() -> Iterator[None]:
    """Interrupts are heeded, even where the tests were started with interrupts ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


INTERRUPTED = """
import signal, sys

signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever started the tests may ignore interrupts

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            sys.meta_path.remove(self)
            signal.raise_signal(signal.SIGINT)

sys.meta_path.insert(0, Interrupting())
import explorer
from explorer.app import Explorer
try:
    {use}
except KeyboardInterrupt:
    print("interrupted", end=" ")
assert {module!r} in sys.modules
assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
{use}
print("and explored")
"""


EXPLORER, LOAD = "Explorer('resnet20').close()", "explorer.load('resnet20')"


@pytest.mark.parametrize(
    ("module", "use"),
    [
        ("numpy.linalg", EXPLORER),
        ("torch.nn", EXPLORER),
        ("bokeh.models.tools", EXPLORER),
        ("torch.nn", LOAD),
        ("torchvision.ops", "explorer.load('resnet18', weights=None)"),
    ],
)
def test_an_interrupt_of_the_first_second_comes_when_all_is_imported(module: str, use: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED.format(module=module, use=use)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.returncode) == ("interrupted and explored\n", 0), done.stderr


def test_an_interrupt_comes_after_the_block_even_if_that_failed() -> None:
    ended = []

    def interrupted() -> None:
        with held_interrupts(), held_interrupts():
            signal.raise_signal(signal.SIGINT)
            ended.append("the block")
            raise ValueError

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert ended == ["the block"]
    assert signal.getsignal(signal.SIGINT) is before


def test_other_threads_leave_the_handler_alone() -> None:
    found, before = [], signal.getsignal(signal.SIGINT)

    def look() -> None:
        with held_interrupts():
            found.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert found == [before]
