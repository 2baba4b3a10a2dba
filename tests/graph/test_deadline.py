"""No network hangs the explorer: what takes too long is stopped in words, and nothing is left behind."""

import cProfile
from typing import Any

import pytest
from torch import Tensor, nn

import explorer
from explorer.graph import deadline
from tests.networks import IMAGE, Written, conv, pooled


def endless(m: Any, x: Tensor) -> Tensor:
    while True:
        try:
            m.count += 1
        except Exception:  # noqa: BLE001  # not even this keeps it
            m.count = 0


def test_what_ends_in_time_is_not_touched() -> None:
    with deadline.Deadline("Net", 60):
        pass


def swallowing(m: Any, x: Tensor) -> Tensor:
    for _ in range(3):
        try:
            while True:
                m.count += 1
        except BaseException:  # noqa: BLE001
            m.count = 0
    return m.c(x)


def turning(m: Any, x: Tensor) -> Tensor:
    try:
        while True:
            m.count += 1
    except BaseException as error:
        raise RuntimeError("mine") from error


class Lingering:
    def __del__(self) -> None:
        while True:
            pass


def finalising(m: Any, x: Tensor) -> Tensor:
    Lingering()  # Python cannot raise out of a finaliser: it would print what it ignored
    return endless(m, x)


@pytest.mark.parametrize("forward", [endless, swallowing, turning, finalising])
def test_an_endless_forward_is_stopped_whatever_it_catches(
    forward: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Written(forward, c=conv(3, 8))
    model.count = 0
    monkeypatch.setattr(deadline.Deadline.__init__, "__defaults__", (0.2,))
    with pytest.raises(explorer.CannotTrace, match=r"longer than 0\.2 s"):
        explorer.trace(model, IMAGE)


def over_at_once() -> None:
    with deadline.Deadline("Net", 60) as limit:
        limit._interrupt()


def test_time_that_is_over_at_the_very_end_still_raises_there() -> None:
    with pytest.raises(explorer.CannotTrace, match="Net"):
        over_at_once()


def test_an_error_of_the_users_passes() -> None:
    with pytest.raises(ValueError, match="mine"), deadline.Deadline("Net", 60):
        raise ValueError("mine")


def test_a_trace_returns_under_a_profiler() -> None:
    """Taking back an interruption that was never asked for made CPython look for signals for ever."""
    model = Written(lambda m, x: m.f(pooled(m.c(x))), c=conv(3, 8), f=nn.Linear(8, 4))
    explorer.trace(model, IMAGE)
    graph = cProfile.Profile().runcall(explorer.trace, model, IMAGE)
    assert len(graph.layers) == 2
