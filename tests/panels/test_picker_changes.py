"""Changes of the network: back, forward, one at a time, and what they leave behind when they fail or are stopped."""

import threading

import pytest

from explorer.panels.picker.changes import Changes
from explorer.panels.picker.choice import Choice
from explorer.session.history import History
from explorer.values import Request

WAIT = 60


class Screen:
    """Shows choices by their source; `calls` are (source, share that its history stands at)."""

    def __init__(self):
        self.calls = []
        self.now = History(Request())
        self.go_on = None  # what a change waits for, if anything
        self.begun = threading.Event()

    def show(self, choice, history, stage, check):
        stage("frame_network")
        self.begun.set()
        if self.go_on is not None:
            assert self.go_on.wait(WAIT)
        check()
        if choice.source == "broken":
            raise ValueError("broken")
        self.now = history or History(Request())
        self.calls.append((choice.source, self.now.now.keep))
        return self.now


@pytest.fixture
def screen():
    return Screen()


@pytest.fixture
def changes(screen):
    changes = Changes(screen.show)
    changes.begin(Choice("first"), screen.now)
    yield changes
    changes.close()
    assert changes.idle(WAIT)


def test_back_and_forward_go_through_the_networks_with_what_was_asked_of_each(changes, screen):
    screen.now.record(Request(keep=0.5), "")
    changes.make(Choice("second"))
    screen.now.record(Request(keep=0.8), "")
    changes.make(Choice("third"))
    assert changes.can_go_back
    assert not changes.can_go_forward
    for move in ("back", "back", "back", "forward", "forward", "forward"):
        changes.make(move)
    expected = [
        ("second", 1.0),
        ("third", 1.0),
        ("second", 0.8),
        ("first", 0.5),
        ("second", 0.8),
        ("third", 1.0),
    ]
    assert screen.calls == expected
    assert changes.choice.source == "third"


def test_a_pointer_that_is_down_when_the_network_leaves_is_let_go(changes, screen):
    first = screen.now
    first.press()
    changes.make(Choice("second"))
    changes.make("back")
    first.record(Request(keep=0.5), "")
    first.record(Request(keep=0.4), "")
    assert first.undo().keep == 0.5


def test_forward_is_gone_once_something_else_is_asked(changes, screen):
    changes.make(Choice("second"))
    changes.make("back")
    assert changes.can_go_forward
    screen.now.record(Request(keep=0.5), "")
    assert not changes.can_go_forward
    screen.now.undo()
    assert not changes.can_go_forward


def test_what_fails_is_told_and_changes_nothing(changes, screen, caplog):
    changes.make(Choice("second"))
    with pytest.raises(ValueError, match="broken"):
        changes.make(Choice("broken"))
    changes.start(Choice("broken"))
    assert changes.idle(WAIT)
    assert "broken" in changes.error
    assert changes.stage == ""
    assert changes.choice.source == "second"
    changes.start("back")
    assert changes.idle(WAIT)
    assert changes.error == ""
    assert changes.choice.source == "first"


def test_the_latest_wins_and_a_stopped_one_shows_nothing(changes, screen):
    screen.go_on = threading.Event()
    changes.start(Choice("second"))
    assert screen.begun.wait(WAIT)
    changes.start(Choice("third"))
    screen.go_on.set()
    assert changes.idle(WAIT)
    assert screen.calls == [("third", 1.0)]
    screen.go_on, screen.begun = threading.Event(), threading.Event()
    changes.start(Choice("fourth"))
    assert screen.begun.wait(WAIT)
    changes.stop()
    assert changes.stage == ""
    screen.go_on.set()
    assert changes.idle(WAIT)
    assert changes.choice.source == "third"
