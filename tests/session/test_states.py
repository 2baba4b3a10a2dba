"""States that were visited, references, looks at the final images, and what the status says of them."""

import pytest
import torch

import explorer
from explorer.errors import BadInput
from tests.session.conftest import WAIT


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
