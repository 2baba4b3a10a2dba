"""What must not go wrong between two threads, or between a request and the ones before it."""

import pytest
import torch
from torch import nn

import explorer
from explorer.errors import BadInput
from explorer.session import Session
from explorer.values import Recovery
from tests.session.conftest import WAIT, Block, residual


def test_a_training_that_ends_leaves_a_choice_that_is_being_scored(session, slow_training, slow_ranking):
    session.train(1)
    session.propose(criterion="l2")
    slow_training.set()
    assert session._desk.idle(WAIT)
    assert session.training.ready
    slow_ranking.set()
    assert session.wait(WAIT)
    assert session.request.criterion == "l2"


def test_nothing_waits_for_a_ranking_but_a_drag_which_is_refused(session, slow_ranking):
    session.drag({"2.first": 3})
    session.propose(criterion="l2")
    with pytest.raises(BadInput, match="being scored"):
        session.drag({"2.first": 5})
    session.pin("3.first")
    session.clear_pins()
    session.undo()
    session.redo()
    slow_ranking.set()
    assert session.wait(WAIT)
    assert session.request.criterion == "l2"
    assert session.request.widths == ()


def test_with_hold_budget_a_drag_goes_as_far_as_the_others_can_give(session):
    session.propose(keep=0.06, hold=True)
    session.drag({"0": 8})
    width = session.plan.widths["0"]
    scores = session.scores
    assert explorer.allocate(session.graph, scores, 0.06, widths={"0": width}) == session.plan
    with pytest.raises(explorer.NotReachable):
        explorer.allocate(session.graph, scores, 0.06, widths={"0": width + 1})
    assert session.status.key == "status_hold_stops"


def test_another_minimum_or_cost_moves_keep_into_what_can_be_reached(session):
    session.move_keep(0.01)
    session.propose(minimum=4)
    assert set(session.plan.widths.values()) == {4}
    assert session.request.keep == pytest.approx(session.reach[0])


def test_a_locked_group_stays_whatever_pins_are_set(session):
    session.drag({"2.first": 3})
    session.lock("2.first")
    with pytest.raises(BadInput, match="locked at 3"):
        session.propose(widths={"2.first": 5})
    session.propose(widths={"3.first": 6})
    assert dict(session.request.widths) == {"2.first": 3, "3.first": 6}


def test_a_removed_block_can_be_unpinned(session):
    session.move_keep(0.01)
    session.drag({"2.first": 0})
    session.pin("2.first", on=False)
    assert session.plan.widths["2.first"] == 1


def test_a_block_that_the_forward_needs_is_refused_at_the_drag():
    class Pooled(Block):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            inner = nn.functional.max_pool2d(torch.relu(self.norm(self.first(x))), 3, 1, 1)
            return x + self.second(inner)

    model = residual()
    model[2] = Pooled(8, 12)
    made = Session(explorer.load(model, example=torch.zeros(1, 1, 8, 8)))
    made.wait(WAIT)
    with pytest.raises(explorer.NotReachable):
        made.drag({"2.first": 0})
    assert made.plan.widths["2.first"] == 12
    made.close()


def test_the_status_says_what_a_gesture_moved_not_its_last_step(session):
    session.press()
    for width in (6, 4, 3):
        session.drag({"2.first": width})
    session.release()
    assert dict(session._said.values)["before"] == 12
    session.drag({"2.first": 1})
    assert session._said.key == "status_dragged_least"
    session.drag({"2.first": 0})
    assert session._said.key == "status_removed"


def test_a_new_cut_of_a_trained_network_says_that_it_is_not_trained(session):
    session.propose(keep=0.6)
    session.train(1)
    assert session.wait(WAIT)
    session.drag({"2.first": 3})
    assert "status_untrained" in str(session._said)


def test_what_a_cut_broke_is_told_against_the_reference_that_is_set(session):
    session.drag({"0": 2})
    assert session.wait(WAIT)
    session.set_reference()
    assert session.wait(WAIT)
    assert "broken" not in str(session.status)
    session.drag({"0": 1})
    assert session.wait(WAIT)
    assert "status_broken_reference" in str(session.status)


def test_what_comes_after_a_restored_state_comes_from_it(session):
    for keep in (0.8, 0.6):
        session.propose(keep=keep)
        assert session.wait(WAIT)
    session.restore(0)
    session.propose(keep=0.7)  # before the restored state was evaluated again
    assert session.wait(WAIT)
    assert session.visits[-1].parent == 0
    session.undo()
    assert session.at == 0


def test_latency_comes_back_with_its_state(session):
    session.propose(wait=True, keep=0.6)
    session.measure_latency()
    assert session.wait(WAIT)
    measured = session.latency
    session.propose(wait=True, keep=0.5)
    assert session.latency == ()
    session.undo()
    assert session.latency == measured


def test_sweeps_of_another_ranking_are_no_longer_shown(session):
    session.sweep("sensitivity")
    assert session._sweeps.idle(WAIT)
    session.propose(keep=0.6)
    assert session.sensitivity
    found = session.sensitivity
    session.propose(wait=True, criterion="l2")
    assert session.sensitivity is None
    session.sweep("sensitivity")
    assert session._sweeps.idle(WAIT)
    session.undo()
    assert session.sensitivity == found, "what was computed comes back with its ranking"


def test_a_trained_network_that_is_forgotten_is_trained_again_beside_the_explorer(session, monkeypatch):
    session.propose(keep=0.6)
    session.train(1)
    assert session.wait(WAIT)
    number = session.at
    session.propose(keep=0.5)
    assert session.wait(WAIT)
    session._live._trained._values.clear()
    session.restore(number)
    assert session.training is not None
    assert session.wait(WAIT)
    assert session.request.recovery == Recovery.parse("refit+1")


def test_outcomes_of_two_visits_are_of_the_same_images(session):
    assert session.wait(WAIT)
    session.propose(keep=0.4)
    assert session.wait(WAIT)
    found = session.outcomes_of(1, 0)
    assert (found.reference == session.outcomes.now).all()
    assert (found.now == session.outcomes.reference).all()
    right = [(found.reference == found.labels).sum(), (found.now == found.labels).sum()]
    assert right == [session.visits[number].estimate.correct for number in (1, 0)]
    with pytest.raises(BadInput, match="visited"):
        session.outcomes_of(0, 9)


def test_outcomes_that_are_no_longer_remembered_are_none(session, monkeypatch):
    assert session.wait(WAIT)
    monkeypatch.setattr(session._live, "outcome", lambda *_state: None)
    assert session.outcomes_of(0, 0) is None
