"""What happens at rest: refits are prepared, done layer after layer, and every choice says what it gives."""

import threading
from dataclasses import replace

import numpy as np
import pytest
import torch

import explorer
from explorer.data import Data, Images
from explorer.errors import BadInput
from explorer.evaluate.live import LiveEvaluation
from explorer.session import Session
from explorer.session.choices import first_request
from explorer.session.jobs import Jobs
from explorer.session.resting import AT_REST, PreparingDesk, RestJob
from explorer.strings import Message
from explorer.values import Recovery
from tests.session.conftest import WAIT, opened, residual, tiny_data, tiny_model, until

REFIT = Recovery.parse("refit+bn")


def data_with(train: Images | None) -> Data:
    return replace(tiny_data(), train=train)


def rested(session: Session) -> None:
    """Wait until the choices are told too."""
    assert session.wait(WAIT)
    assert session._beside.idle(WAIT)


def words_of(session: Session) -> list[Message]:
    """The messages that the status line is put together from."""
    found, left = [], [session.status]
    while left:
        message = left.pop()
        if message.key == "status_two":
            left.extend(value for _name, value in message.values)
        else:
            found.append(message)
    return found


@pytest.fixture
def gathering(monkeypatch):
    """Holds the gathering of moments, after a first word of progress, until it is set."""
    go_on, work = threading.Event(), LiveEvaluation._gathered

    def held(live, check, progress):
        progress(100, 400)
        assert go_on.wait(WAIT)
        return work(live, check, progress)

    monkeypatch.setattr(LiveEvaluation, "_gathered", held)
    yield go_on
    go_on.set()


@pytest.fixture
def slow_rest(session, monkeypatch):
    """Holds the refit layer after layer, at a place where it gives way, until it is set."""
    go_on, began = threading.Event(), threading.Event()
    work = session._live.estimates

    def held(plan, recovery, check, **keywords):
        if recovery == AT_REST and session._live.outcome(plan, recovery) is None:
            began.set()
            while not go_on.wait(0.01):
                check()
        yield from work(plan, recovery, check, **keywords)

    monkeypatch.setattr(session._live, "estimates", held)
    yield go_on, began
    go_on.set()


# What a session begins with.


@pytest.mark.parametrize(("train", "code"), [(tiny_data().train, "refit+bn"), (None, "none")])
def test_a_session_begins_with_the_best_live_repair(train, code):
    network = explorer.load(tiny_model(), data=data_with(train))
    assert first_request(network).recovery.code == code


def test_without_images_nothing_is_done_and_a_merge_can_be():
    session = Session(explorer.load(residual(), example=torch.zeros(1, 1, 8, 8)))
    assert session.request.recovery == Recovery()
    session.propose(wait=True, keep=0.5, recovery=Recovery.parse("merge"))
    merged = explorer.repair(session.network.model, session.graph, session.plan, "merge")
    example = torch.rand(2, 1, 8, 8)
    torch.testing.assert_close(session.pruned()(example), merged(example))
    assert [recovery.code for recovery in session.offered] == ["none", "merge"]
    session.close()


def test_without_batch_norm_there_is_nothing_to_re_estimate():
    model = torch.nn.Sequential(
        *(torch.nn.Conv2d(1, 8, 3), torch.nn.ReLU(), torch.nn.Conv2d(8, 8, 3), torch.nn.ReLU()),
        *(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(8, 3)),
    )
    for session in opened(model):
        assert [recovery.code for recovery in session.offered] == ["none", "merge", "refit"]
        session.propose(keep=0.5)
        rested(session)
        assert set(session.given) == {"none", "merge", "refit"}
        assert session.recovery == AT_REST


# The refit layer after layer takes the place of the instant one.


def test_at_rest_the_refit_is_layer_after_layer_and_everything_is_of_it(session):
    labels = []
    session.observe(lambda change: labels.append(change.new.key), "estimate_label")
    session.propose(keep=0.5)
    assert session.wait(WAIT)
    network, graph = session.network, session.graph
    expected = explorer.repair(
        network.model, graph, session.plan, "refit_sequential", images=network.data.train
    )
    assert labels == ["label_two", "label_refit_sequential"]
    assert session.request.recovery == REFIT
    assert session.recovery == AT_REST
    assert session.estimate.correct == explorer.evaluate(expected, network.data).correct
    torch.testing.assert_close(session.pruned()(network.example), expected(network.example))
    assert [visit.recovery for visit in session.visits] == [Recovery(), AT_REST]
    assert [visit.estimate for visit in session.visits][-1] == session.estimate
    images = network.data.explore.inputs()
    assert (session.outcomes.now == expected(images).argmax(1).numpy()).mean() > 0.98
    assert session.now().recovery == AT_REST
    assert session.stage == Message("stage_ready")


def test_what_is_asked_next_supersedes_the_rest_at_once(session, slow_rest):
    go_on, began = slow_rest
    session.propose(keep=0.5)
    assert began.wait(WAIT)
    assert (session.recovery, session.stage) == (REFIT, Message("stage_resting"))
    session.propose(keep=0.7)
    assert session._worker.idle(WAIT)
    assert session.current
    assert session.request.keep == 0.7
    go_on.set()
    assert session.wait(WAIT)
    assert (session.request.keep, session.recovery) == (0.7, AT_REST)


def test_going_back_shows_at_once_what_it_was_at_rest(session):
    session.propose(wait=True, keep=0.5)
    assert session.wait(WAIT)
    found, number, output = session.estimate, session.at, session.pruned()(session.network.example)
    session.propose(wait=True, keep=0.7)
    assert session.wait(WAIT)
    session.undo()
    assert (session.recovery, session.at) == (AT_REST, number)
    assert session.wait(WAIT)
    assert session.estimate == found
    torch.testing.assert_close(session.pruned()(session.network.example), output)
    session.redo()
    assert session.wait(WAIT)
    session.restore(number)
    assert session.wait(WAIT)
    assert session.estimate == found
    assert len(session.visits) == 3


def test_a_final_check_and_a_reference_are_of_the_network_at_rest(session):
    session.propose(keep=0.5)
    session.check_final()
    assert session.wait(WAIT)
    assert session.final_checks[0].recovery == AT_REST
    assert (
        session.final_checks[0].now.correct
        == explorer.evaluate(session.pruned(), session.network.data, "final").correct
    )
    session.set_reference()
    session.propose(keep=0.7)
    assert session.wait(WAIT)
    assert session.reference == session.visits[1].estimate


def test_a_reference_that_is_what_is_shown_stays_so_at_rest(session, slow_rest):
    go_on, began = slow_rest
    session.propose(keep=0.5)
    assert began.wait(WAIT)
    session.set_reference()
    go_on.set()
    assert session.wait(WAIT)
    assert session.recovery == AT_REST
    assert session.reference == session.estimate
    assert (session.outcomes.reference == session.outcomes.now).all()


# Refits are prepared beside the explorer.


def test_until_refits_are_prepared_bn_is_re_estimated_and_it_says_so(gathering):
    for session in opened(residual()):
        session.propose(keep=0.5)
        until(session, lambda preparing: preparing is not None, "preparing")
        assert session.preparing == Message.of("stage_preparing", done=100, of=400)
        assert session._worker.idle(WAIT)
        assert session.current
        assert session.recovery == Recovery(bn=True)
        assert session.estimate_label == Message.of("label_preparing", now=Message("after_bn"))
        assert session.request.recovery == REFIT
        expected = explorer.shrink(session.network.model, session.graph, session.plan)
        expected = explorer.recover(expected, session.network.data)
        torch.testing.assert_close(
            session.pruned()(session.network.example), expected(session.network.example)
        )
        gathering.set()
        assert session.wait(WAIT)
        assert session.preparing is None
        assert session.recovery == AT_REST


def test_a_visit_from_before_refits_were_prepared_goes_back_to_bn(gathering):
    for session in opened(residual()):
        session.propose(keep=0.5)
        assert session._worker.idle(WAIT)
        number, found = session.at, session.estimate
        gathering.set()
        assert session.wait(WAIT)
        session.restore(number)
        assert session.wait(WAIT)
        assert (session.estimate, session.request.recovery) == (found, Recovery(bn=True))


def test_where_refits_cannot_be_prepared_it_is_said_and_all_else_goes_on(monkeypatch):
    def broken(*_arguments):
        raise BadInput("The training images are too small.")

    monkeypatch.setattr(LiveEvaluation, "_gathered", broken)
    for session in opened(residual()):
        assert session.wait(WAIT)
        assert session.error == "The training images are too small."
        session.propose(keep=0.5)
        rested(session)
        assert session.error == ""
        assert session.recovery == Recovery(bn=True)
        assert session.estimate_label == Message("label_bn")
        assert Message.of("status_no_refit", why="The training images are too small") in words_of(session)
        assert list(session.given) == ["none", "bn", "merge+bn"]
        session.check_final()
        assert session.wait(WAIT)
        assert session.final_checks[0].recovery == Recovery(bn=True)


def test_closing_ends_the_preparation(gathering):
    session = Session(explorer.load(residual(), data=tiny_data()))
    until(session, lambda preparing: preparing is not None, "preparing")
    session.close()
    gathering.set()
    assert session._preparing.idle(WAIT)
    assert not session._live.prepared


# What every choice gives.


def test_every_choice_says_what_it_gives_and_of_which_cut(session):
    session.propose(wait=True, keep=0.5)
    rested(session)
    assert list(session.given) == ["none", "bn", "merge+bn", "refit+bn"]
    assert all(given.current and given.estimate.done for given in session.given.values())
    network, graph, plan = session.network, session.graph, session.plan
    small = explorer.shrink(network.model, graph, plan)
    assert session.given["none"].estimate.correct == explorer.evaluate(small, network.data).correct
    merged = explorer.recover(network.model, network.data, repair="merge", graph=graph, plan=plan)
    assert session.given["merge+bn"].estimate.correct == explorer.evaluate(merged, network.data).correct
    assert session.given["refit+bn"].estimate == session.estimate
    before = session.given
    session.propose(wait=True, keep=0.7)
    assert {code: given.estimate for code, given in session.given.items()} == {
        code: given.estimate for code, given in before.items()
    }
    assert not any(given.current for given in session.given.values())
    session.undo()
    assert session.given == before
    session.propose(wait=True, keep=1.0)
    assert session.given == {}


def test_a_choice_whose_number_is_known_answers_at_once(session, monkeypatch):
    session.propose(keep=0.5)
    rested(session)

    def refused(*_arguments):
        raise AssertionError("nothing is cut again")

    monkeypatch.setattr(session._live, "_shrink", refused)
    for code in ("bn", "none", "merge+bn"):
        session.propose(recovery=Recovery.parse(code))
        assert session.wait(WAIT)
        assert session.estimate == session.given[code].estimate
        assert session.error == ""


def test_layers_that_keep_their_weights_are_said(session):
    session.drag({"0": 4})
    session.propose(recovery=Recovery(repair="merge"))
    assert session.wait(WAIT)
    found = session._live.refitted(session.plan, session.recovery)
    kept = [each for each in found if each.reason]
    assert kept
    (said,) = (dict(each.values) for each in words_of(session) if each.key == "status_unrepaired_many")
    assert said == {"count": len(kept), "name": kept[0].layer, "why": kept[0].reason}
    session.propose(recovery=Recovery())
    assert session._live.refitted(session.plan, session.recovery) is None


def test_sweeps_repair_as_is_asked_for_with_the_moments_that_are_known(session, monkeypatch):
    def refused(*_arguments):
        raise AssertionError("the moments are known")

    monkeypatch.setattr(LiveEvaluation, "_gathered", refused)
    session.sweep("sensitivity")
    assert session._sweeps.idle(WAIT)
    refitted = session.sensitivity
    assert set(refitted) == {group.id for group in session.graph.prunable}
    session.propose(recovery=Recovery(bn=True))
    assert session.sensitivity is None
    session.sweep("bands")
    assert session._sweeps.idle(WAIT)
    assert {point.recovery for point in session.bands} == {Recovery(bn=True)}
    session.propose(recovery=REFIT)
    assert session.bands == ()
    assert session.sensitivity == refitted
    session.sweep("bands")
    assert session._sweeps.idle(WAIT)
    assert {point.recovery for point in session.bands} == {REFIT}
    assert session.error == ""
    assert np.isfinite(list(refitted.values())).all()


def test_a_training_after_a_refit_begins_with_the_refitted_weights(session):
    session.propose(keep=0.5)
    session.train(1)
    assert session.wait(WAIT)
    trained = Recovery.parse("refit+1")
    assert (session.request.recovery, session.recovery) == (trained, trained)
    network, graph, plan = session.network, session.graph, session.plan
    expected = explorer.recover(network.model, network.data, epochs=1, repair="refit", graph=graph, plan=plan)
    torch.testing.assert_close(session.pruned()(network.example), expected(network.example))
    with pytest.raises(BadInput, match="epochs"):
        session.train(0)


# What runs beside the preparation.


def test_a_sweep_that_is_begun_while_refits_are_prepared_is_done_with_them(gathering):
    for session in opened(residual()):
        session.propose(keep=0.6)
        until(session, bool, "preparing")
        session.sweep("bands")
        until(session, lambda kind: kind == "bands", "sweeping")
        gathering.set()
        assert session._preparing.idle(WAIT)
        assert session.wait(WAIT)
        assert session._sweeps.idle(WAIT)
        assert session.bands
        assert {point.recovery.repair for point in session.bands} == {"refit"}


def test_nothing_is_gathered_while_time_is_measured(monkeypatch):
    began, wanted, gathering, timed = *(threading.Event() for _ in range(3)), []
    work, pause, measured = LiveEvaluation._gathered, PreparingDesk.paused, Jobs.latency

    def gathered(live, check, progress):
        def between():
            gathering.clear()
            check()
            gathering.set()

        gathering.set()
        began.set()
        assert wanted.wait(WAIT)
        assert timed == []
        found = work(live, between, progress)
        gathering.clear()
        return found

    def paused(desk):
        wanted.set()
        return pause(desk)

    def latency(jobs, plan):
        timed.append(gathering.is_set())
        return measured(jobs, plan)

    monkeypatch.setattr(LiveEvaluation, "_gathered", gathered)
    monkeypatch.setattr(PreparingDesk, "paused", paused)
    monkeypatch.setattr(Jobs, "latency", latency)
    for session in opened(residual()):
        session.propose(keep=0.6)
        assert began.wait(WAIT)
        session.measure_latency()
        until(session, bool, "latency")
        assert timed == [False]
        assert session._preparing.idle(WAIT)
        assert session._live.prepared


def test_a_fault_of_an_earlier_cut_leaves_a_final_check_wanted(session, slow_rest, monkeypatch):
    go_on, began = slow_rest
    session.propose(keep=0.5)
    assert began.wait(WAIT)
    job = RestJob(session.request, session.plan, (AT_REST,))
    session.propose(keep=0.7)
    session._final_wanted = True
    session._not_rested(job, RuntimeError("of before"))
    assert session._final_wanted
    assert session.error == ""
    go_on.set()
