"""The session against the engine: what it publishes is what the engine says, and errors leave it as it was."""

import threading

import pytest
import torch

import explorer
from explorer.errors import BadInput, ExplorerError, Interrupted, NotReachable, UnknownName
from explorer.session import Session, in_words
from explorer.strings import Message
from explorer.values import Recovery
from tests.session.conftest import WAIT, tiny_model


@pytest.fixture
def session(tiny_session):
    return tiny_session


def test_it_starts_dense_and_measures_the_reference(session):
    assert session.wait(WAIT)
    dense = explorer.evaluate(session.network.model, session.network.data)
    assert session.reference.correct == session.estimate.correct == dense.correct
    assert session.cost == session.dense_cost == explorer.cost(session.graph)
    assert session.estimate_label == Message("label_nothing_cut")


def test_a_proposal_gives_what_the_engine_gives(session):
    assert session.wait(WAIT)
    session.propose(keep=0.5, recovery=Recovery(bn=True))
    plan = explorer.allocate(session.graph, session.scores, keep=0.5)
    assert session.plan == plan, "the plan answers before any evaluation"
    assert session.cost == explorer.cost(session.graph, plan)
    assert session.wait(WAIT)
    small = explorer.shrink(session.network.model, session.graph, plan)
    small = explorer.recover(small, session.network.data, bn=True)
    assert session.estimate.correct == explorer.evaluate(small, session.network.data).correct
    assert session.estimate_label == Message("label_bn")
    torch.testing.assert_close(session.pruned()(session.network.example), small(session.network.example))


def test_estimates_come_with_their_state_and_grow(session):
    session.wait(WAIT)
    seen = []
    session.observe(lambda change: seen.append((change.new.seen, session.current)), "estimate")
    session.propose(keep=0.6)
    assert not session.current, "the number on the screen belongs to the state before"
    assert session.wait(WAIT)
    counts = [count for count, _ in seen]
    assert counts == sorted(counts)
    assert counts[-1] == 150
    assert all(current for _, current in seen)


def test_an_unreachable_budget_is_refused_and_nothing_changes(session):
    session.wait(WAIT)
    before = session.request, session.plan, session.estimate
    with pytest.raises(NotReachable, match="minimum"):
        session.propose(keep=0.001)
    assert (session.request, session.plan, session.estimate) == before


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"criterion": "magic"}, UnknownName, "taylor"),
        ({"allocation": "fair"}, UnknownName, "uniform"),
        ({"cost": "money"}, UnknownName, "macs"),
        ({"keep": 1.5}, BadInput, "share"),
        ({"keep": float("nan")}, BadInput, "share"),
        ({"colour": "red"}, UnknownName, "criterion"),
        ({"widths": {"nowhere": 3}}, BadInput, "Known"),
        ({"widths": {"0": 0}}, BadInput, "cannot be removed"),
        ({"widths": {"0": -1}}, BadInput, "out of range"),
        ({"widths": 5}, BadInput, "group"),
        ({"criterion": ["l1"]}, UnknownName, "taylor"),
        ({"recovery": "bn"}, BadInput, "Recovery"),
        ({"seed": "a"}, BadInput, "seed"),
    ],
)
def test_bad_proposals_are_refused_in_words(session, changes, error, words):
    session.wait(WAIT)
    before = session.request
    with pytest.raises(error, match=words):
        session.propose(**changes)
    assert session.request == before


def test_widths_pin_groups_and_keep_shares_the_rest(session):
    session.wait(WAIT)
    session.propose(widths={"0": 2}, keep=1.0)
    assert session.plan.widths == {"0": 2, "3": 8}


def test_a_failing_ranking_leaves_the_last_good_state(session):
    session.wait(WAIT)
    session.propose(keep=0.7)
    session.wait(WAIT)
    before = session.request, session.plan
    session.propose(criterion="bn_gamma")  # group "3" has no batch norm
    session.wait(WAIT)
    assert "batch norm" in session.error
    assert (session.request, session.plan) == before
    session.propose(keep=0.8)
    assert session.wait(WAIT)
    assert session.error == ""
    assert session.request.criterion == "l1"


def test_a_failing_evaluation_goes_back_to_the_last_good_state(session, monkeypatch):
    session.wait(WAIT)
    before = session.request, session.plan

    def broken(*args, **keywords):
        raise RuntimeError("boom")

    monkeypatch.setattr(session._live, "estimates", broken)
    session.propose(keep=0.5)
    session.wait(WAIT)
    assert "boom" in session.error
    assert (session.request, session.plan) == before


def test_after_many_proposals_the_last_one_is_shown(session):
    for percent in range(95, 30, -5):
        session.propose(wait=True, keep=percent / 100)
    assert session.wait(WAIT)
    assert session.request.keep == 0.35
    assert session.cost.macs <= 0.35 * session.dense_cost.macs


def test_training_tells_its_progress_and_recovers(session):
    session.wait(WAIT)
    steps = []
    session.observe(lambda change: steps.append(change.new), "training")
    session.propose(keep=0.6, recovery=Recovery(bn=True, epochs=1))
    assert session.wait(WAIT)
    assert any(training is not None and 0 < training.step <= training.of for training in steps)
    assert session.training is None
    assert session.estimate_label == Message.of("label_trained", epochs=1)
    small = explorer.shrink(session.network.model, session.graph, session.plan)
    small = explorer.recover(small, session.network.data, bn=True, epochs=1)
    torch.testing.assert_close(session.pruned()(session.network.example), small(session.network.example))


def test_latency_is_measured_for_dense_and_now_and_forgotten_when_the_plan_changes(session):
    session.wait(WAIT)
    session.propose(keep=0.5)
    session.measure_latency()
    session.wait(WAIT)
    assert [measured.batch for measured in session.latency] == [1, 1, 64, 64]
    session.propose(keep=0.9)
    assert session.latency == ()


def test_selection_must_exist(session):
    session.select("3")
    assert session.selection == "3"
    with pytest.raises(BadInput, match="Known"):
        session.select("nowhere")
    session.select("")
    assert session.selection == ""


def test_a_network_without_images_can_be_cut_but_not_judged():
    session = Session(explorer.load(tiny_model(), example=torch.zeros(1, 1, 8, 8)))
    assert session.wait(WAIT)
    session.propose(keep=0.5)
    assert session.wait(WAIT)
    assert session.estimate is None
    assert session.cost.macs <= 0.5 * session.dense_cost.macs
    assert sum(p.numel() for p in session.pruned().parameters()) == session.cost.params
    with pytest.raises(BadInput, match="without data"):
        session.propose(criterion="taylor")
    session.propose(criterion="bn_gamma")
    session.wait(WAIT)
    assert "batch norm" in session.error
    assert session.request.keep == 0.5, "back at the last good state"
    session.close()


def test_an_interrupt_while_waiting_is_said_in_words(session, monkeypatch):
    session.wait(WAIT)

    def interrupted(timeout=None):
        raise KeyboardInterrupt

    def endless(plan, recovery, check, **_others):
        while True:
            check()
            yield explorer.Estimate("nobody's", 0, 1, 2)

    with monkeypatch.context() as patch:
        patch.setattr(session._live, "estimates", endless)
        patch.setattr(session._worker, "idle", interrupted)
        patch.setattr(session._desk, "idle", interrupted)
        session.propose(keep=0.5, recovery=Recovery(bn=True, epochs=200))
        assert session.training is not None
        with pytest.raises(Interrupted, match="Stopped"):
            session.wait()
    assert session.training is None
    assert session.request.keep == 1.0, "back at the last state that was known fully"
    assert session.plan.widths == {"0": 6, "3": 8}
    assert session.wait(WAIT)
    assert session.stage == Message("stage_ready")
    session.propose(keep=0.5)
    assert session.wait(WAIT)


def test_latency_that_was_asked_for_meanwhile_is_not_lost(session):
    session.propose(keep=0.9)
    session.measure_latency()
    session.propose(keep=0.5)
    assert session.wait(WAIT)
    assert session.request.keep == 0.5
    assert [measured.batch for measured in session.latency] == [1, 1, 64, 64]


def test_measuring_latency_keeps_what_was_asked_last(session):
    session.wait(WAIT)
    session.propose(criterion="apoz")
    session.propose(criterion="fpgm", keep=0.5)
    session.measure_latency()
    assert session.wait(WAIT)
    assert (session.request.criterion, session.request.keep) == ("fpgm", 0.5)


def test_a_known_ranking_answers_while_another_is_being_scored(session, monkeypatch):
    session.wait(WAIT)
    scoring, release = threading.Event(), threading.Event()

    def slow(*args, **keywords):
        scoring.set()
        assert release.wait(WAIT)
        return explorer.score(*args, **keywords)

    monkeypatch.setattr("explorer.session.choices.score", slow)
    session.propose(criterion="l2")
    assert scoring.wait(WAIT)
    session.propose(criterion="l1", keep=0.5)
    assert session.request.keep == 0.5
    release.set()
    assert session.wait(WAIT)
    assert session.request.criterion == "l1"


def test_proposals_from_two_threads_end_with_the_last_one(session):
    session.wait(WAIT)

    def many():
        for percent in range(90, 40, -1):
            session.propose(keep=percent / 100)
            assert session.request.keep in {keep / 100 for keep in range(30, 101)}

    threads = [threading.Thread(target=many) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)
    session.propose(keep=0.3)
    assert session.plan == explorer.allocate(session.graph, session.scores, keep=0.3)
    assert session.wait(WAIT)
    assert session.request.keep == 0.3


def test_a_closed_session_refuses_and_stays(session):
    session.wait(WAIT)
    before = session.request
    session.close()
    with pytest.raises(ExplorerError, match="closed"):
        session.propose(keep=0.5)
    assert session.request == before


def test_errors_are_told_in_words():
    assert in_words(ExplorerError("A sentence.")) == "A sentence."
    assert "fault of the explorer" in in_words(RuntimeError("boom"))


def test_now_is_all_of_one_state(session):
    assert session.wait(WAIT)
    found = []
    reader = threading.Thread(target=lambda: found.append(session.now()))
    with session._state:  # while the session goes from one state to the next, somebody else asks
        reader.start()
        session.propose(keep=0.5)
        assert found == []
    reader.join(WAIT)
    (now,) = found
    assert (now.request.keep, now.plan) == (0.5, session.plan)
    assert now.cost == explorer.cost(session.graph, now.plan)
    assert now.latency == ()
