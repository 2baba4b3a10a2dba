"""A session that goes on where an earlier one over the same network stood."""

import threading

import pytest

import explorer
from explorer.errors import ExplorerError
from explorer.session import Session
from explorer.session.history import History
from explorer.values import Request
from tests.session.conftest import WAIT, opened, tiny_data, tiny_model


def test_it_stands_where_the_other_stood_and_undo_goes_on(tiny_session):
    tiny_session.propose(wait=True, keep=0.7)
    tiny_session.propose(wait=True, keep=0.5)
    tiny_session.close()
    again = Session(explorer.load(tiny_model(), data=tiny_data()), tiny_session.history)
    assert again.plan == tiny_session.plan  # at once, not when the worker comes to it
    assert again.request.keep == 0.5
    assert again.can_undo
    assert again.wait(WAIT)
    assert again.estimate.state_key == again._state_of(again.plan, again.request).key
    again.undo()
    assert again.request.keep == 0.7
    again.close()


def test_what_cannot_be_answered_is_refused_before_there_are_threads():
    (fresh,) = opened(tiny_model())
    threads = set(threading.enumerate())
    history = History(Request(widths=(("no such group", 3),)))
    with pytest.raises(ExplorerError, match="no such group"):
        Session(fresh.network, history)
    # A watcher of `graph.deadline` ends by itself, a moment after what it watched.
    assert {each.name for each in set(threading.enumerate()) - threads} <= {"deadline"}


def test_a_history_counts_what_was_asked_anew_and_forgets_what_was_undone():
    history = History(Request())
    history.record(Request(keep=0.5), "")
    history.record(Request(keep=0.5), "")
    history.undo()
    history.redo()
    assert history.recorded == 1
    assert history.now.keep == 0.5
    history.undo()
    history.branch()
    assert not history.can_redo
