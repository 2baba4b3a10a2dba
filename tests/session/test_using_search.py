"""What a search found, put to use: widths for all groups at once, the supernet, the run that ships."""

from dataclasses import replace

import pytest
import torch

import explorer
from explorer.errors import BadInput
from explorer.methods import recording
from explorer.runs import Recorded
from explorer.session import Session
from tests.chain_runs import example_run
from tests.session.conftest import WAIT, residual, tiny_data

ALL = {"0": 6, "2.first": 5, "3.first": 7}


def test_widths_are_set_without_pins_and_taken_back_as_one(session):
    session.use_widths(ALL)
    assert session.plan.widths == ALL
    assert session.custom
    assert session.request.widths == ()
    assert session.request.keep == pytest.approx(session.share)
    assert session.status.key == "search_widths"
    assert session.wait(WAIT)
    assert session.current, "it is evaluated as any other state"
    session.undo()
    assert session.plan.widths == {"0": 8, "2.first": 12, "3.first": 16}
    assert not session.can_undo
    session.redo()
    assert session.plan.widths == ALL
    session.move_keep(0.5)
    assert not session.custom, "Keep moves all of them again"


def test_while_a_pointer_is_held_down_all_widths_are_one_entry(session):
    session.press()
    for width in (7, 6, 5):
        session.use_widths({**ALL, "0": width})
    session.release()
    session.use_widths({**ALL, "0": 3})
    session.undo()
    assert session.plan.widths["0"] == 5
    session.undo()
    assert session.plan.widths["0"] == 8
    assert not session.can_undo


def test_groups_that_are_not_named_stay_as_they_are(session):
    session.use_widths({"0": 4})
    session.use_widths({"2.first": 9})
    assert session.plan.widths == {"0": 4, "2.first": 9, "3.first": 16}


def test_locked_groups_stay_and_pinned_ones_take_it_as_their_pin(session):
    session.drag({"2.first": 3})
    session.lock("2.first")
    session.drag({"3.first": 9})
    session.use_widths(ALL)
    assert session.plan.widths == {"0": 6, "2.first": 3, "3.first": 7}
    assert dict(session.request.widths) == {"2.first": 3, "3.first": 7}
    assert "search_widths_locked" in str(session.status)
    session.clear_pins()
    session.use_widths({"2.first": 5})
    assert session.plan.widths["2.first"] == 3


def test_widths_are_clipped_to_what_groups_can_have(session):
    session.propose(minimum=3)
    session.use_widths({"0": 1, "2.first": 99, "3.first": 0})
    assert session.plan.widths == {"0": 3, "2.first": 12, "3.first": 3}
    assert "0, 2.first, 3.first" in str(session.status)


def test_a_removed_block_comes_back(session):
    session.move_keep(0.01)
    session.drag({"2.first": 0})
    session.use_widths(ALL)
    assert session.plan.widths == ALL


def test_what_no_group_can_take_is_refused_and_changes_nothing(session):
    before = session.plan
    for wrong in ({"no such": 3}, {"0": 2.5}, {"0": -1}):
        with pytest.raises(BadInput):
            session.use_widths(wrong)
    assert session.plan is before
    assert not session.can_undo


def test_nothing_is_set_while_the_channels_are_scored(session, slow_ranking):
    session.propose(criterion="l2")
    with pytest.raises(BadInput, match="being scored"):
        session.use_widths(ALL)


def test_the_supernet_is_a_network_ready_to_be_explored(session, road):
    assert session.trained_network() is None
    session.start_search()
    road.let()
    assert session.wait(WAIT)
    made = session.trained_network()
    assert made.name == "Sequential supernet"
    assert made.data is session.network.data
    assert made.normalize is session.network.normalize
    assert not made.model.training


def test_the_recorded_run_and_its_supernet_are_there_for_its_weights_only(session, tmp_path, monkeypatch):
    session.read_recorded()
    assert session.runs.recorded.get("dmcp") is None
    assert session.trained_network() is None
    supernet = residual()
    with torch.no_grad():
        for parameter in supernet.parameters():
            parameter.fill_(0.25)
    run = replace(example_run(session.graph), network=session.network.name)
    key = session.network.weights_key
    recording.write_recorded(tmp_path / "recorded", Recorded(run, command="made it"), key, supernet)
    monkeypatch.setattr(recording, "files", lambda _package: tmp_path)
    session.read_recorded()
    assert session.runs.recorded.get("dmcp").command == "made it"
    assert session.trained_network().model[0].weight.unique().tolist() == [0.25]
    first = session.runs.recorded.get("dmcp")
    session.read_recorded()
    assert session.runs.recorded.get("dmcp") is first
    other = Session(explorer.load(supernet, data=tiny_data()))
    other.read_recorded()
    assert not other.runs.recorded
    assert other.trained_network() is None
    other.close()
