"""The rules of interaction: what a drag, Keep, a new ranking, undo and a training do to the rest."""

import numpy as np
import pytest

import explorer
from explorer.errors import BadInput
from explorer.records import recovered
from explorer.session import Session
from explorer.values import Recovery, Request
from tests.session.conftest import WAIT

REFIT = Recovery.parse("refit+bn")  # what a session with training images begins with


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
    session.propose(wait=True, criterion="l2")
    assert session.can_undo
    session.undo()
    assert (session.request.criterion, session.plan) == ("l1", dragged)
    session.undo()
    assert session.plan.widths["2.first"] == 12
    assert session.request == Request(recovery=REFIT)
    assert not session.can_undo
    session.redo()
    assert session.plan == dragged
    session.redo()
    assert session.request.criterion == "l2"
    assert not session.can_redo


def test_selecting_is_no_entry_of_undo(session):
    session.select("3.first")
    assert not session.can_undo


# 6. Training works on a copy; the explorer stays live, and a result that comes too late waits.


def test_the_explorer_stays_live_while_it_trains_and_a_late_result_waits(session, slow_training):
    session.propose(keep=0.6)
    trained_plan = session.plan
    session.train(1)
    session.propose(keep=0.5)
    assert session._worker.idle(WAIT)
    assert session.current
    assert session.estimate_label == recovered(REFIT)
    assert not session.training.ready
    slow_training.set()
    assert session._desk.idle(WAIT)
    assert session.training.ready
    assert session.request.keep == 0.5, "what is on the screen was not taken away"
    session.use_trained()
    assert session.wait(WAIT)
    assert session.plan == trained_plan
    assert session.request.recovery == Recovery.parse("refit+1")
    assert session.training is None
    session.undo()
    assert session.request.keep == 0.5


def test_a_result_is_shown_at_once_where_nothing_has_moved_and_is_one_entry(session):
    session.propose(keep=0.6)
    session.train(1)
    assert session.wait(WAIT)
    assert session.request == Request(keep=0.6, recovery=Recovery.parse("refit+1"))
    session.undo()
    assert session.request == Request(keep=0.6, recovery=REFIT)


def test_a_new_cut_of_a_trained_network_is_not_called_trained(session):
    session.propose(keep=0.6)
    session.train(1)
    assert session.wait(WAIT)
    session.propose(keep=0.5)
    assert session.request.recovery == REFIT
    assert session.training is None


def test_a_training_can_be_stopped(session, slow_training):
    session.propose(keep=0.6)
    session.train(3)
    session.stop_training()
    slow_training.set()
    assert session.wait(WAIT)
    assert session.training is None
    assert session.request.recovery == REFIT


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


def test_widths_in_multiples_are_a_gesture_within_the_budget_and_undone(session):
    session.propose(keep=0.7)
    before = session.plan
    session.propose(multiple=4)
    assert all(width % 4 == 0 for width in session.plan.widths.values())
    assert session.share <= session.request.keep <= 0.7
    session.undo()
    assert session.plan == before
    assert session.request.multiple == 1
    session.redo()
    assert session.request.multiple == 4


@pytest.mark.parametrize("hold", [False, True])
def test_a_drag_comes_to_the_nearest_multiple(session, hold):
    session.propose(keep=0.6, multiple=4, hold=hold)
    for asked, width in ((1, 4), (5, 4), (7, 8), (11, 12)):
        session.drag({"2.first": asked})
        assert session.plan.widths["2.first"] <= width if hold else session.plan.widths["2.first"] == width
        assert all(each % 4 == 0 for each in session.plan.widths.values())
        assert session.share <= 0.6 or not hold
    for wrong, words in ((99, "out of range"), (True, "whole number"), (2.5, "whole number")):
        with pytest.raises(BadInput, match=words):
            session.drag({"2.first": wrong})


def test_pins_go_down_to_the_multiple_and_locked_ones_refuse_it(session):
    session.drag({"2.first": 7})
    session.propose(multiple=4)
    assert dict(session.request.widths) == {"2.first": 4}
    session.propose(multiple=1)
    session.drag({"2.first": 7})
    session.lock("2.first")
    with pytest.raises(BadInput, match="locked at 7, which is no multiple of 4 channels"):
        session.propose(multiple=4)
    assert session.request.multiple == 1


@pytest.mark.parametrize("multiple", [0, True, 2.5, "8"])
def test_what_is_no_multiple_is_refused(session, multiple):
    with pytest.raises(BadInput, match="multiple"):
        session.propose(multiple=multiple)


def test_a_multiple_stops_keep_and_is_named(session):
    session.propose(multiple=8)
    session.move_keep(0.01)
    assert session.request.keep == pytest.approx(session.reach[0])
    assert session.status.key.startswith("status_keep_low")
    assert "status_keep_multiple" in str(session.status)


def test_widths_that_were_found_are_used_in_multiples_at_no_higher_cost(session):
    found = {"0": 6, "2.first": 7, "3.first": 11}
    session.use_widths(found)
    loose = session.cost.macs
    session.propose(multiple=4)
    session.use_widths(found)
    assert all(width % 4 == 0 for width in session.plan.widths.values())
    assert session.cost.macs <= loose
    assert session.custom
