"""The rules of interaction: what a drag, Keep, a new ranking, undo and a training do to the rest."""

import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import explorer
from explorer.errors import BadInput
from explorer.session import Session
from explorer.strings import Message
from explorer.values import Recovery, Request
from tests.session.conftest import WAIT, tiny_data


class Block(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, hidden, 3, padding=1)
        self.norm = nn.BatchNorm2d(hidden)
        self.second = nn.Conv2d(hidden, width, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.second(torch.relu(self.norm(self.first(x))))


def residual() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.ReLU(),
        Block(8, 12),
        Block(8, 16),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 3),
    )


@pytest.fixture
def session():
    made = Session(explorer.load(residual(), data=tiny_data()))
    assert made.wait(WAIT)
    yield made
    made.close()
    made._worker.idle(WAIT)
    made._desk.idle(WAIT)


def others(session: Session, *pinned: str) -> dict[str, int]:
    return {name: width for name, width in session.plan.widths.items() if name not in pinned}


# 1. A drag pins its group; the others stay, Keep follows and reads "custom".


def test_a_drag_pins_its_group_the_others_stay_and_keep_follows(session):
    session.propose(keep=0.6)
    before = others(session, "2.first")
    session.drag({"2.first": 3})
    assert session.plan.widths["2.first"] == 3
    assert others(session, "2.first") == before
    assert session.request.widths == (("2.first", 3),)
    assert session.custom
    counted = explorer.cost(session.graph, session.plan).macs / session.dense_cost.macs
    assert session.share == session.request.keep == pytest.approx(counted)


def test_a_second_drag_leaves_the_first(session):
    session.drag({"2.first": 3})
    session.drag({"3.first": 5})
    assert others(session, "0") == {"2.first": 3, "3.first": 5}


def test_hold_budget_makes_the_others_absorb_a_drag(session):
    session.propose(keep=0.6, hold=True)
    before = others(session, "2.first")
    for width in (3, 2, 1):  # a drag passes many widths: the budget must not shrink on the way
        session.drag({"2.first": width})
    assert session.plan.widths["2.first"] == 1
    assert sum(others(session, "2.first").values()) > sum(before.values())
    assert session.request.keep == 0.6
    assert not session.custom
    expected = explorer.allocate(session.graph, session.scores, keep=0.6, widths={"2.first": 1})
    assert session.plan == expected


def test_a_locked_group_refuses_a_drag_and_a_pinned_one_does_not(session):
    session.drag({"2.first": 3})
    session.lock("2.first")
    with pytest.raises(BadInput, match="locked"):
        session.drag({"2.first": 5})
    assert session.plan.widths["2.first"] == 3
    session.lock("2.first", on=False)
    session.drag({"2.first": 5})
    assert session.plan.widths["2.first"] == 5


def test_pinning_changes_no_width(session):
    session.propose(keep=0.5)
    before = session.plan
    session.pin("3.first")
    assert session.plan == before
    assert dict(session.request.widths) == {"3.first": before.widths["3.first"]}
    with pytest.raises(BadInput, match="cannot be pinned"):
        session.pin(next(group.id for group in session.graph.groups if not group.prunable))


# 2. Keep moves what is neither pinned nor locked; at its end the status names what stops it.


def test_keep_moves_the_unpinned_groups_only(session):
    session.drag({"2.first": 3})
    session.lock("3.first")
    session.move_keep(0.5)
    widths = session.plan.widths
    assert (widths["2.first"], widths["3.first"]) == (3, 16)
    assert not session.custom
    expected = explorer.allocate(session.graph, session.scores, 0.5, widths={"2.first": 3, "3.first": 16})
    assert session.plan == expected


@pytest.mark.parametrize(
    ("asked", "end", "key"), [(0.01, 0, "status_keep_low"), (1.0, 1, "status_keep_high")]
)
def test_at_the_end_of_the_reach_the_status_names_the_pins(session, asked, end, key):
    session.drag({"2.first": 6})
    session.pin("3.first")
    session.move_keep(asked)
    assert session.request.keep == pytest.approx(session.reach[end])
    assert session.status.key == key
    assert "2.first" in str(session.status)
    session.clear_pins()
    assert session.request.widths == ()
    session.move_keep(asked)
    assert session.request.keep == pytest.approx((session.reach[0], 1.0)[end])


def test_without_pins_the_minimum_width_stops_keep(session):
    session.propose(minimum=4)
    session.move_keep(0.01)
    assert set(session.plan.widths.values()) == {4}
    assert "minimum" in str(session.status)


def test_clear_pins_leaves_locked_groups(session):
    session.drag({"2.first": 3})
    session.drag({"3.first": 5})
    session.lock("3.first")
    session.clear_pins()
    assert session.request.widths == (("3.first", 5),)


# 3. A new ranking keeps pinned widths and chooses the channels anew.


def test_a_new_ranking_keeps_widths_set_by_hand_and_chooses_the_channels_anew(session):
    session.drag({"2.first": 5, "3.first": 7})
    widths = dict(session.plan.widths)
    session.propose(wait=True, criterion="random", seed=3)
    assert dict(session.plan.widths) == widths
    scores = session.scores.by_group["2.first"]
    assert set(np.flatnonzero(session.plan.keep["2.first"])) == set(np.argsort(-scores)[:5])


# 4. Only a deliberate drag to 0 removes a block, where the network allows it.


def test_a_block_with_a_skip_can_be_removed_and_a_trunk_cannot(session):
    with pytest.raises(explorer.ExplorerError, match="cannot be removed"):
        session.drag({"0": 0})
    assert session.plan.widths["0"] == 8
    session.drag({"2.first": 0})
    assert session.wait(WAIT)
    assert session.error == ""
    assert session.plan.widths["2.first"] == 0
    counted = sum(parameter.numel() for parameter in session.pruned().parameters())
    assert counted == session.cost.params


def test_what_went_with_a_removed_block_comes_back_with_it():
    made = Session(explorer.load("inception"))
    assert made.wait(WAIT)
    made.drag({"block2.tower3.2.0": 3})
    before = dict(made.plan.widths)
    made.drag({"block2.tower3.2.0": 0})
    assert made.plan.widths["block2.tower3.1.0"] == 0, "nothing else reads it"
    made.drag({"block2.tower3.2.0": 3})
    assert dict(made.plan.widths) == before
    made.lock("block2.tower3.1.0")
    with pytest.raises(BadInput, match="locked"):
        made.drag({"block2.tower3.2.0": 0})
    made.close()


def test_keep_never_removes_a_block(session):
    session.move_keep(1e-9)
    assert min(session.plan.widths.values()) == 1


# 5. One undo entry per gesture.


def test_undo_and_redo_go_back_over_drags_pins_and_rankings(session):
    session.press()
    for width in (6, 4, 3):
        session.drag({"2.first": width})
    session.release()
    dragged = session.plan
    session.propose(wait=True, criterion="l1")
    assert session.can_undo
    session.undo()
    assert (session.request.criterion, session.plan) == ("taylor", dragged)
    session.undo()
    assert session.plan.widths["2.first"] == 12
    assert session.request == Request()
    assert not session.can_undo
    session.redo()
    assert session.plan == dragged
    session.redo()
    assert session.request.criterion == "l1"
    assert not session.can_redo


def test_selecting_is_no_entry_of_undo(session):
    session.select("3.first")
    assert not session.can_undo


# 6. Training works on a copy; the explorer stays live, and a result that comes too late waits.


@pytest.fixture
def slow_training(session, monkeypatch):
    """Holds the training after its first step until it is set."""
    go_on = threading.Event()
    work = session._live.train

    def held(plan, recovery, check, progress, seed=0):
        def told(step):
            progress(step)
            assert go_on.wait(WAIT)

        work(plan, recovery, check, told, seed)

    monkeypatch.setattr(session._live, "train", held)
    yield go_on
    go_on.set()


def test_the_explorer_stays_live_while_it_trains_and_a_late_result_waits(session, slow_training):
    session.propose(keep=0.6)
    trained_plan = session.plan
    session.train(1)
    session.propose(keep=0.5)
    assert session._worker.idle(WAIT)
    assert session.current
    assert session.estimate_label == Message("label_bn")
    assert not session.training.ready
    slow_training.set()
    assert session._desk.idle(WAIT)
    assert session.training.ready
    assert session.request.keep == 0.5, "what is on the screen was not taken away"
    session.use_trained()
    assert session.wait(WAIT)
    assert session.plan == trained_plan
    assert session.request.recovery == Recovery(bn=True, epochs=1)
    assert session.training is None
    session.undo()
    assert session.request.keep == 0.5


def test_a_result_is_shown_at_once_where_nothing_has_moved_and_is_one_entry(session):
    session.propose(keep=0.6)
    session.train(1)
    assert session.wait(WAIT)
    assert session.request == replace(Request(keep=0.6), recovery=Recovery(bn=True, epochs=1))
    session.undo()
    assert session.request == Request(keep=0.6)


def test_a_new_cut_of_a_trained_network_is_not_called_trained(session):
    session.propose(keep=0.6)
    session.train(1)
    assert session.wait(WAIT)
    session.propose(keep=0.5)
    assert session.request.recovery == Recovery(bn=True)
    assert session.training is None


def test_a_training_can_be_stopped(session, slow_training):
    session.propose(keep=0.6)
    session.train(3)
    session.stop_training()
    slow_training.set()
    assert session.wait(WAIT)
    assert session.training is None
    assert session.request.recovery == Recovery(bn=True)


@pytest.mark.parametrize("epochs", [0, -1, 1.5, "many"])
def test_epochs_must_be_a_number_above_nothing(session, epochs):
    with pytest.raises(BadInput, match="epochs"):
        session.train(epochs)


# 9. Select a layer anywhere: it is selected everywhere.


def test_a_layer_is_selected_from_the_start_and_by_name(session):
    assert session.selection in {group.id for group in session.graph.prunable}
    session.select("0", "3.second")
    assert (session.selection, session.layer) == ("0", "3.second")
    with pytest.raises(BadInput, match="no layer"):
        session.select("0", "nowhere")


# Visits, reference, final check.


def test_visits_remember_where_they_came_from_and_can_be_restored(session):
    for keep in (0.8, 0.6):
        session.propose(keep=keep)
        assert session.wait(WAIT)
    session.restore(1)
    assert session.wait(WAIT)
    assert (session.request.keep, session.at) == (0.8, 1)
    session.propose(keep=0.4)
    assert session.wait(WAIT)
    assert [visit.parent for visit in session.visits] == [None, 0, 1, 1]
    assert [visit.request.keep for visit in session.visits] == [1.0, 0.8, 0.6, 0.4]
    session.name_visit(2, "narrow")
    assert session.visits[2].name == "narrow"
    with pytest.raises(BadInput, match="visited"):
        session.restore(9)


def test_outcomes_compare_with_the_reference_image_by_image(session):
    session.propose(keep=0.4)
    assert session.wait(WAIT)
    images = session.network.data.explore
    with torch.inference_mode():
        dense = session.network.model(images.inputs()).argmax(1).numpy()
        now = session.pruned()(images.inputs()).argmax(1).numpy()
    assert (session.outcomes.reference == dense).all()
    assert (session.outcomes.now == now).mean() > 0.98  # batch norm is folded in one of the two
    session.set_reference()
    assert session.wait(WAIT)
    assert session.reference == session.estimate
    assert not session.reference_is_dense
    assert session.reference_plan == session.plan
    assert (session.outcomes.reference == session.outcomes.now).all()
    session.set_reference(None)
    assert session.wait(WAIT)
    assert session.reference_is_dense
    assert session.reference.correct == session.visits[0].estimate.correct


def test_the_final_images_are_looked_at_when_asked_and_every_look_is_counted(session):
    session.propose(keep=0.5)
    assert session.wait(WAIT)
    assert session.final_checks == ()
    session.check_final()
    assert session.wait(WAIT)
    session.check_final()
    assert session.wait(WAIT)
    assert [look.number for look in session.final_checks] == [1, 2]
    look = session.final_checks[0]
    expected = explorer.evaluate(session.pruned(), session.network.data, "final")
    assert (look.now.correct, look.now.of) == (expected.correct, 30)
    dense = explorer.evaluate(session.network.model, session.network.data, "final")
    assert look.dense.correct == dense.correct


def test_the_status_says_what_a_drag_moved_and_how_many_images_it_broke(session):
    session.drag({"0": 2})
    assert session.wait(WAIT)
    first, second = (dict(session.status.values)[part] for part in ("first", "second"))
    assert dict(first.values) == {"name": "0", "before": 8, "now": 2, "layers": 3}
    outcomes = session.outcomes
    right = [predicted == outcomes.labels for predicted in (outcomes.reference, outcomes.now)]
    assert dict(second.values) == {"count": int((right[0] & ~right[1]).sum())}


def test_a_sweep_fills_the_heat_column_while_the_explorer_stays_live(session):
    session.sweep("sensitivity")
    assert session.sweeping == "sensitivity"
    session.propose(keep=0.6)
    assert session._worker.idle(WAIT)
    assert session.current
    assert session._sweeps.idle(WAIT)
    assert session.sweeping == ""
    assert set(session.sensitivity) == {group.id for group in session.graph.prunable}
    session.sweep("bands")
    session.sweep("")
    assert session._sweeps.idle(WAIT)
    assert session.sweeping == ""
    with pytest.raises(explorer.UnknownName, match="sensitivity"):
        session.sweep("everything")


# What must not go wrong between two threads, or between two requests.


@pytest.fixture
def slow_ranking(session, monkeypatch):
    """Holds every new ranking until it is set."""
    go_on = threading.Event()

    def held(*arguments, **keywords):
        assert go_on.wait(WAIT)
        return explorer.score(*arguments, **keywords)

    monkeypatch.setattr("explorer.session.choices.score", held)
    yield go_on
    go_on.set()


def test_a_training_that_ends_leaves_a_choice_that_is_being_scored(session, slow_training, slow_ranking):
    session.train(1)
    session.propose(criterion="l1")
    slow_training.set()
    assert session._desk.idle(WAIT)
    assert session.training.ready
    slow_ranking.set()
    assert session.wait(WAIT)
    assert session.request.criterion == "l1"


def test_nothing_waits_for_a_ranking_but_a_drag_which_is_refused(session, slow_ranking):
    session.drag({"2.first": 3})
    session.propose(criterion="l1")
    with pytest.raises(BadInput, match="being scored"):
        session.drag({"2.first": 5})
    session.pin("3.first")
    session.clear_pins()
    session.undo()
    session.redo()
    slow_ranking.set()
    assert session.wait(WAIT)
    assert session.request.criterion == "l1"
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
    session.propose(wait=True, criterion="l1")
    assert session.sensitivity is None


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
    assert session.request.recovery == Recovery(bn=True, epochs=1)


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
