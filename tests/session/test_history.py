"""One entry of undo for each gesture: what was pressed and released, and keys within 0.8 s."""

from explorer.session.history import History
from explorer.values import Request


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def keeps(history: History) -> list[float]:
    """What undo goes through, from the last state back to the first."""
    found = []
    while history.can_undo:
        found.append(history.undo().keep)
    return found


def record(history: History, *keeps_: float, kind: str = "keep") -> None:
    for keep in keeps_:
        history.record(Request(keep=keep), kind)


def test_what_a_pointer_moves_between_press_and_release_is_one_entry():
    clock = Clock()
    history = History(Request(), clock)
    history.press()
    for keep in (0.9, 0.7, 0.6):
        clock.now += 5  # a slow hand
        record(history, keep)
    history.release()
    history.press()
    record(history, 0.5, 0.4)
    history.release()
    assert keeps(history) == [0.6, 1.0]


def test_keys_within_eight_tenths_of_a_second_are_one_entry():
    clock = Clock()
    history = History(Request(), clock)
    for keep, pause in ((0.9, 0.0), (0.8, 0.7), (0.7, 0.79), (0.6, 0.9), (0.5, 0.1)):
        clock.now += pause
        record(history, keep)
    assert keeps(history) == [0.7, 1.0]


def test_gestures_of_different_kinds_and_calls_from_python_stand_alone():
    history = History(Request(), Clock())
    record(history, 0.9, kind="keep")
    record(history, 0.8, kind="cost keep")
    record(history, 0.7, 0.6, kind="")
    assert keeps(history) == [0.7, 0.8, 0.9, 1.0]


def test_nothing_new_is_no_entry_and_a_gesture_that_returns_is_none():
    history = History(Request(), Clock())
    record(history, 1.0)
    assert not history.can_undo
    history.press()
    record(history, 0.5, 1.0)
    history.release()
    assert not history.can_undo
    history.press()
    record(history, 0.5, 1.0, 0.4)
    history.release()
    assert keeps(history) == [1.0]


def test_redo_goes_forward_until_something_else_is_asked():
    history = History(Request(), Clock())
    record(history, 0.8, 0.6, kind="")
    assert history.undo().keep == 0.8
    assert history.undo().keep == 1.0
    assert history.redo().keep == 0.8
    record(history, 0.3, kind="")
    assert not history.can_redo
    assert keeps(history) == [0.8, 1.0]


def test_what_could_not_be_answered_leaves_no_entry():
    history = History(Request(), Clock())
    record(history, 0.8, 0.1, kind="")
    history.retreat(Request(keep=0.8))
    assert keeps(history) == [1.0]
