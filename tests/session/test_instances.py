"""Instance subnetworks in a session: what is shown, which levels are evaluated, and what is refused."""

import math
import threading

import numpy as np
import pytest
import torch
from torch import nn

import explorer
from explorer.data import Data, Images, Normalize
from explorer.dynamic.network import LEVEL
from explorer.errors import BadInput, ExplorerError, Interrupted, UnknownName
from explorer.runs import Recorded
from explorer.session import Session, instancer, instancing, runs
from tests.session.conftest import WAIT, opened, residual, tiny_data, until
from tests.session.fake_instances import HeldEvaluation, trained

OF = 150  # explore images of `tiny_data`


@pytest.fixture
def held(monkeypatch):
    """Evaluations of 30 images at a time that go on when the test lets them."""
    made = HeldEvaluation()
    monkeypatch.setattr("explorer.dynamic.evaluating.BATCH", 30)
    monkeypatch.setattr(instancing, "instances", made)
    yield made
    made.let()


@pytest.fixture
def shown(session):
    """With the most active channels shown, to the end."""
    session.show_instances(level=0.5)
    assert session.wait(WAIT)
    return session


def kept(found):
    """How many channels each image keeps at every site: {layer: all counts}."""
    return {site.layer: set(found.keep[:, site.columns].sum(1).tolist()) for site in found.sites.every}


def expected(found, level):
    """Of the most active channels each image keeps the same number."""
    return {site.layer: {math.ceil(round(level * site.size, 6))} for site in found.sites.every}


# ---- what is shown ----------------------------------------------------------------------------------------


def test_at_first_nothing_is_shown(session):
    assert (session.instance_source, session.instances, session.instance_estimate) == ("", None, None)
    assert session.dynamic() is None
    assert session.picked == ()


def test_the_accuracy_grows_until_all_images_have_run(session, held):
    session.show_instances()
    assert (session.instance_source, session.instance_level) == ("active", LEVEL), "at once, at its own level"
    assert session.dynamic().source == "active"
    held.let(1)
    until(session, lambda estimate: estimate is not None, "instance_estimate")
    assert (session.instance_estimate.seen, session.instance_estimate.of) == (30, OF)
    assert session.instances is None
    held.let()
    assert session.wait(WAIT)
    found = session.instances
    assert session.instance_estimate.done
    assert session.instance_estimate.correct == int(found.right.sum())
    assert found.images.tolist() == list(range(OF))
    assert kept(found) == expected(found, LEVEL)
    assert (found.level, found.trial) == (LEVEL, False)


def test_a_plan_that_is_proposed_does_not_touch_them(shown):
    found = shown.instances
    shown.propose(keep=0.5)
    assert shown.wait(WAIT)
    assert shown.instances is found
    shown.undo()
    assert shown.instances is found


def test_another_level_is_tried_at_once_and_evaluated_afterwards(shown, held):
    before, estimate = shown.instances, shown.instance_estimate
    shown.set_instance_level(0.25)
    trial = shown.instances
    assert (trial.trial, trial.level, shown.instance_level) == (True, 0.25, 0.25)
    assert kept(trial) == expected(trial, 0.25)
    assert np.array_equal(trial.saliency, before.saliency)
    assert np.array_equal(trial.predicted, before.predicted)
    assert shown.instance_estimate is None, "that of the other level is no longer so"
    held.let()
    assert shown.wait(WAIT)
    assert (shown.instances.trial, shown.instances.level) == (False, 0.25)
    assert shown.instance_estimate.done
    assert not np.array_equal(shown.instances.saliency, before.saliency), "later layers read other channels"
    shown.set_instance_level(0.5)
    assert shown.instances is before, "it is remembered"
    assert shown.instance_estimate is estimate
    assert held.begun == [0.25]


def test_a_level_that_is_asked_for_again_changes_nothing(shown, held):
    found = shown.instances
    shown.set_instance_level(0.5)
    assert shown.instances is found
    assert shown._instance_desk.idle(WAIT)
    assert held.begun == []


def test_what_is_being_evaluated_is_not_begun_again(session, held):
    session.show_instances(level=0.5)
    held.let(1)
    until(session, lambda estimate: estimate is not None, "instance_estimate")
    session.show_instances(level=0.5)
    session.set_instance_level(0.5)
    assert session.instance_estimate.seen == 30
    held.let()
    assert session.wait(WAIT)
    assert held.begun == [0.5]


def test_of_many_levels_the_last_is_evaluated(shown, held):
    shown.set_instance_level(0.4)
    held.until(1)
    for level in (0.3, 0.2, 0.1):
        shown.set_instance_level(level)
        assert shown.instances.level == level
    held.let()
    assert shown.wait(WAIT)
    assert held.begun == [0.4, 0.1]
    assert (shown.instances.level, shown.instances.trial) == (0.1, False)


def test_nothing_is_told_of_a_level_that_was_left(shown, held):
    shown.set_instance_level(0.4)
    held.until(1)
    shown.set_instance_level(0.3)
    seen = []
    shown.observe(lambda change: seen.append(change["new"]), "instance_estimate")
    held.let()
    assert shown.wait(WAIT)
    assert len({estimate.state_key for estimate in seen}) == 1
    assert seen[-1].done


def test_a_trial_that_comes_late_does_not_replace_what_was_evaluated(shown, monkeypatch):
    def late(*asked):
        assert shown._instance_desk.idle(WAIT)
        return tried(*asked)

    tried = instancer.tried
    monkeypatch.setattr(instancer, "tried", late)
    shown.set_instance_level(0.25)
    assert (shown.instances.level, shown.instances.trial) == (0.25, False)


def test_while_the_first_level_is_evaluated_another_has_nothing_to_be_tried_from(session, held):
    session.show_instances(level=0.5)
    held.until(1)
    session.set_instance_level(0.25)
    assert (session.instances, session.instance_level) == (None, 0.25)
    held.let()
    assert session.wait(WAIT)
    assert session.instances.level == 0.25


def test_what_takes_too_much_memory_is_not_remembered(shown, held, monkeypatch):
    monkeypatch.setattr(instancing, "KEPT_BYTES", 1)
    held.let()
    for level in (0.25, 0.5, 0.25):
        shown.set_instance_level(level)
        assert shown.instances.trial
        assert shown.wait(WAIT)
        assert not shown.instances.trial
    assert held.begun == [0.25, 0.5, 0.25]


# ---- sources ------------------------------------------------------------------------------------------------


def test_what_ships_is_shown_if_there_is_any(shown, monkeypatch):
    before, made = shown.instances, trained(shown, 0.75)
    with pytest.raises(BadInput, match="ship"):
        shown.show_instances("recorded")
    assert (shown.instance_source, shown.instances) == ("active", before)
    monkeypatch.setattr(instancer, "read_network", lambda *_network: made)
    shown.show_instances("recorded")
    assert (shown.instance_source, shown.instance_level) == ("recorded", 0.75)
    assert shown.instances is None, "those of another source are not shown under its name"
    assert shown.dynamic() is made
    assert shown.wait(WAIT)
    assert kept(shown.instances) == expected(shown.instances, 0.75)
    shown.show_instances("active", 0.5)
    assert shown.instances is before


def test_the_recorded_run_is_read_once(session, monkeypatch):
    asked, found = [], Recorded(None)
    monkeypatch.setattr(runs, "read_recorded", lambda *words: asked.append(words) or found)
    for _time in range(2):
        session.read_recorded("manidp")
    assert session.runs.recorded["manidp"] is found
    assert asked == [(session.network, session.graph, "manidp")]


def test_images_without_labels_are_judged_by_the_dense_network():
    draw = torch.Generator().manual_seed(1)
    images = Images(torch.rand((40, 1, 8, 8), generator=draw), None, Normalize(0.5, 0.5))
    for session in opened(residual(), Data("own", ("a", "b", "c"), tiny_data().train, images, None)):
        session.show_instances(level=1.0)
        assert session.wait(WAIT)
        assert session.instance_estimate.counts == "agreement"
        assert session.instance_estimate.accuracy == 1.0, "all channels are the dense network"
        assert session.instances.right.all()


def test_a_network_without_batch_norm_has_most_active_channels_only():
    torch.manual_seed(0)
    plain = nn.Sequential(
        *(nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Conv2d(6, 8, 3), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)),
    )
    for session in opened(plain):
        session.show_instances(level=0.5)
        assert session.wait(WAIT)
        assert kept(session.instances) == {"2": {4}}
        session.start_search("manidp", batch=32)
        session.wait(WAIT)
        assert session.runs.progress.get("manidp").state == "failed"
        assert "batch norm" in session.error
        assert session.instances is not None, "nothing is lost"


def test_images_of_one_class_are_shown_and_cannot_be_trained_on():
    made = tiny_data()
    same = Images(made.train.pixels, torch.zeros(96, dtype=torch.int64), made.train.normalize)
    for session in opened(residual(), Data("same", ("a", "b", "c"), same, same, None)):
        session.show_instances()
        assert session.wait(WAIT)
        assert set(session.instances.labels.tolist()) == {0}
        session.start_search("manidp", batch=32)
        session.wait(WAIT)
        assert session.runs.progress.get("manidp").state == "failed"
        assert "class" in session.error


# ---- picks --------------------------------------------------------------------------------------------------


def test_up_to_two_images_are_picked_and_stay_picked_at_other_levels(shown):
    shown.pick(7)
    assert shown.picked == (7,)
    shown.pick(np.int64(7), 149)
    shown.set_instance_level(0.25)
    assert shown.wait(WAIT)
    assert shown.picked == (7, 149)
    shown.pick()
    assert shown.picked == ()


@pytest.mark.parametrize(
    ("images", "said"),
    [
        ((1, 2, 3), "one or two"),
        ((4, 4), "different"),
        ((OF,), "not among the 150"),
        ((-1,), "not among"),
        ((True,), "not among"),
        ((2.0,), "not among"),
        (([1, 2],), "not among"),
    ],
)
def test_other_images_are_refused(shown, images, said):
    shown.pick(5)
    with pytest.raises(BadInput, match=said):
        shown.pick(*images)
    assert shown.picked == (5,)


def test_before_anything_is_known_there_is_nothing_to_pick(session):
    session.pick()
    with pytest.raises(BadInput, match="no image to pick"):
        session.pick(0)


def test_an_image_that_another_source_leaves_out_is_no_longer_picked(shown, monkeypatch):
    shown.pick(7, 8)
    monkeypatch.setattr(instancer, "read_network", lambda *_network: trained(shown))
    monkeypatch.setattr(instancing, "rows_for", lambda _dynamic, images: np.arange(0, len(images), 2))
    shown.show_instances("recorded")
    assert shown.wait(WAIT)
    assert len(shown.instances) == OF // 2
    assert shown.picked == (8,)


# ---- what is refused ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [0, -0.5, 1.01, float("nan"), True, "half", None])
def test_a_level_that_is_no_share_is_refused(shown, level):
    found = shown.instances
    with pytest.raises(BadInput, match="share"):
        shown.set_instance_level(level)
    if level is not None:
        with pytest.raises(BadInput, match="share"):
            shown.show_instances("active", level)
    assert (shown.instances, shown.instance_level) == (found, 0.5)


def test_what_cannot_be_shown_is_refused_in_words(session):
    with pytest.raises(BadInput, match="show_instances"):
        session.set_instance_level(0.5)
    with pytest.raises(UnknownName, match="active"):
        session.show_instances("actve")
    with pytest.raises(BadInput, match="manidp"):
        session.show_instances("own")
    assert session.instance_source == ""


def test_without_images_there_are_none():
    alone = Session(explorer.load(residual(), example=torch.zeros(1, 1, 8, 8)))
    with pytest.raises(BadInput, match="without images"):
        alone.show_instances()
    with pytest.raises(BadInput, match="No instance subnetworks"):
        alone.set_instance_level(0.5)
    assert alone.dynamic() is None
    alone.drop_search("manidp")
    assert alone.wait(WAIT)
    alone.close()


def test_a_network_without_a_layer_to_choose_in_is_refused():
    only_stem = nn.Sequential(
        nn.Conv2d(1, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3)
    )
    for session in opened(only_stem):
        with pytest.raises(BadInput):
            session.show_instances()
        assert session.instance_source == ""


def test_what_fails_brings_back_what_was_shown_last(shown, held):
    before, estimate = shown.instances, shown.instance_estimate
    held.fails = RuntimeError("out of memory")
    shown.set_instance_level(0.25)
    shown._instance_desk.idle(WAIT)
    assert "out of memory" in shown.error
    assert (shown.instances, shown.instance_level, shown.instance_estimate) == (before, 0.5, estimate)
    held.fails = None
    held.let()
    shown.set_instance_level(0.25)
    assert shown.error == ""
    assert shown.wait(WAIT)
    assert (shown.instances.level, shown.instances.trial) == (0.25, False)


def test_what_fails_at_first_leaves_nothing_shown(session, held):
    held.fails = BadInput("These images are of another size.")
    session.show_instances()
    session._instance_desk.idle(WAIT)
    assert session.error == "These images are of another size."
    assert (session.instance_source, session.instances, session.dynamic()) == ("", None, None)


# ---- threads ------------------------------------------------------------------------------------------------


def test_nothing_holds_up_a_proposal_while_images_run(session, held):
    session.show_instances()
    held.let(1)
    until(session, lambda estimate: estimate is not None, "instance_estimate")
    session.propose(keep=0.6)
    assert session._worker.idle(WAIT)
    assert session.current
    assert session.estimate.done
    assert session.instances is None, "they run still"


@pytest.mark.parametrize("slow", ["tried", "most_active"])
def test_nothing_holds_up_a_proposal_while_a_person_waits(shown, monkeypatch, slow):
    begins, go_on, work, in_time = threading.Event(), threading.Event(), getattr(instancer, slow), []

    def held(*asked):
        begins.set()
        in_time.append(go_on.wait(WAIT))
        return work(*asked)

    monkeypatch.setattr(instancer, slow, held)
    shown._instance_desk.networks.clear()
    ask = {"tried": lambda: shown.set_instance_level(0.25), "most_active": shown.show_instances}[slow]
    person = threading.Thread(target=ask, daemon=True)
    person.start()
    assert begins.wait(WAIT)
    shown.propose(keep=0.6)
    assert shown._worker.idle(WAIT)
    assert shown.request.keep == 0.6
    go_on.set()
    person.join(WAIT)
    assert in_time == [True]
    assert shown.wait(WAIT)


def test_levels_from_two_threads_end_at_one_of_them(shown):
    def drag(levels):
        for level in levels:
            shown.set_instance_level(level)

    threads = [
        threading.Thread(target=drag, args=([0.01 * place for place in range(first, 60, 2)],), daemon=True)
        for first in (1, 2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)
    assert shown.wait(WAIT)
    assert shown.instance_level in (0.59, 0.58)
    assert (shown.instances.level, shown.instances.trial) == (shown.instance_level, False)
    assert kept(shown.instances) == expected(shown.instances, shown.instance_level)


def test_an_interrupt_goes_back_to_what_was_known(shown, held, monkeypatch):
    before = shown.instances
    shown.set_instance_level(0.25)
    held.until(1)

    def interrupted(timeout=None):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shown._instance_desk, "idle", interrupted)
        with pytest.raises(Interrupted):
            shown.wait(WAIT)
    assert (shown.instances, shown.instance_level) == (before, 0.5)
    held.let()
    assert shown.wait(WAIT)
    assert shown.instances is before


def test_a_closed_session_evaluates_nothing_more(session, held):
    session.show_instances()
    held.until(1)
    session.close()
    held.let()
    session._instance_desk._worker._thread.join(WAIT)
    assert not session._instance_desk._worker._thread.is_alive()
    assert session.instances is None
    for ask in (session.show_instances, lambda: session.set_instance_level(0.5)):
        with pytest.raises(ExplorerError, match="closed"):
            ask()
