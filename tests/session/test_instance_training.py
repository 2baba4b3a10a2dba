"""Trainings of instance subnetworks beside the explorer: a desk of their own, and what they come to is shown."""

import pytest

import explorer
from explorer.errors import BadInput, ExplorerError, UnknownName
from explorer.session import Session
from tests.session.conftest import WAIT, residual, tiny_data, until
from tests.session.fake_instances import trained

REAL = {"epochs": 1, "batch": 32, "level": 0.6}


@pytest.fixture
def dynamic(session, road):
    """What the trainings of `road` come to."""
    road.supernet = trained(session)
    return road.supernet


def running_to(session, road, step, method="manidp", trait="instance_search"):
    session.start_search(method)
    road.let(step)
    until(session, lambda search: search is not None and search.step == step, trait)


def said(session):
    """Every message of the status line from now on."""
    keys = []
    session.observe(lambda change: keys.append(change["new"].key), "status")
    return keys


# ---- what is told -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["manidp", "fbs"])
def test_a_real_training_comes_to_subnetworks_of_their_own(session, method):
    settings = {**REAL, "density": 0.6} if method == "fbs" else REAL
    settings = {name: value for name, value in settings.items() if (name, method) != ("level", "fbs")}
    session.start_search(method, **settings)
    assert session.wait(WAIT)
    search = session.runs.progress.get(method)
    assert search.state == "ready", search.error
    assert search.run.ended
    assert search.run.method == method
    assert session.runs.progress.get("dmcp") is None, "the other desk is as it was"
    assert (session.instance_source, session.instance_level) == ("own", 0.6), "shown by itself"
    assert session.dynamic().source == method
    assert session.instances.source == method
    assert not session.instances.trial
    assert session.instance_estimate.done
    assert session.trained_network() is None, "nothing of it is a supernet"


def test_what_is_told_speaks_of_a_training(session, road, dynamic):
    keys = said(session)
    running_to(session, road, 3)
    assert session.runs.progress.get("dmcp") is None
    assert session.runs.progress.get("manidp").losses == {"task": 1 / 4}
    session.stop_search("manidp")
    road.let(1)
    assert session._run_desk.idle(WAIT)
    assert session.runs.progress.get("manidp").state == "stopped"
    session.resume_search("manidp")
    road.let()
    assert session.wait(WAIT)
    assert session.runs.progress.get("manidp").state == "ready"
    assert keys == ["dynamic_stopping", "dynamic_stopped", "dynamic_resumed", "dynamic_ready"]


def test_a_search_that_is_there_stays_beside_a_training(session, road, dynamic):
    session.start_search("dmcp")
    road.let(6)
    until(session, lambda search: search.state == "ready")
    found, supernet = session.runs.progress.get("dmcp"), session.trained_network()
    session.start_search("fbs")
    road.let()
    assert session.wait(WAIT)
    assert session.runs.progress.get("dmcp") is found
    assert session.trained_network().model is supernet.model
    session.drop_search("manidp")
    assert session.runs.progress.get("manidp") is None
    assert session.runs.progress.get("dmcp") is found


# ---- what is shown ----------------------------------------------------------------------------------------


def test_what_was_trained_takes_no_other_source_away(session, road, dynamic):
    session.show_instances("active", 0.5)
    assert session.wait(WAIT)
    found = session.instances
    session.start_search("manidp")
    road.let()
    assert session.wait(WAIT)
    assert (session.instance_source, session.instances) == ("active", found)
    session.show_instances("own")
    assert session.dynamic() is dynamic
    assert session.wait(WAIT)
    assert session.instances.level == dynamic.level == 0.75


def test_the_next_training_takes_the_place_of_the_last_once_it_is_ready(session, road, dynamic):
    session.start_search("manidp")
    road.let(6)
    assert session.wait(WAIT)
    first = session.instances
    road.supernet = later = trained(session, 0.5)
    running_to(session, road, 3, "fbs")
    assert (session.dynamic(), session.instances) == (dynamic, first)
    session.show_instances("own")
    assert session.instances is first, "it is there while the next one is trained"
    road.let()
    assert session.wait(WAIT)
    assert session.dynamic() is later
    assert session.instances.level == 0.5


def test_what_is_dropped_is_no_longer_shown(session, road, dynamic):
    session.start_search("manidp")
    road.let()
    assert session.wait(WAIT)
    session.pick(3)
    session.drop_search("manidp")
    assert session.runs.progress.get("manidp") is None
    assert (session.instance_source, session.instances, session.instance_estimate) == ("", None, None)
    assert session.picked == ()
    assert session.dynamic() is None
    with pytest.raises(BadInput, match="trained yet"):
        session.show_instances("own")


def test_dropping_a_search_over_widths_leaves_subnetworks_alone(session, road, dynamic):
    session.start_search("manidp")
    road.let()
    assert session.wait(WAIT)
    found = session.instances
    session.drop_search()
    assert (session.instance_source, session.instances) == ("own", found)


# ---- one at a time ----------------------------------------------------------------------------------------


def test_neither_search_nor_training_begins_while_subnetworks_are_trained(session, road, dynamic):
    running_to(session, road, 1)
    for ask in (lambda: session.start_search("dmcp"), lambda: session.start_search("fbs"), session.train):
        with pytest.raises(BadInput, match="training of ManiDP is running"):
            ask()
    assert session.runs.progress.get("dmcp") is None
    session.stop_search()
    assert session.runs.progress.get("manidp").state == "running", "that was the other kind"


def test_no_training_of_subnetworks_begins_while_a_search_or_a_training_runs(session, road):
    running_to(session, road, 1, "dmcp", "search")
    with pytest.raises(BadInput, match="search is running"):
        session.start_search("manidp")
    assert session.runs.progress.get("manidp") is None


def test_no_training_of_subnetworks_begins_while_the_network_is_trained(session, slow_training):
    session.propose(keep=0.6)
    session.train(1)
    with pytest.raises(BadInput, match="being trained"):
        session.start_search("manidp")
    assert session.runs.progress.get("manidp") is None


def test_a_training_of_subnetworks_leaves_the_explorer_live(session, road, dynamic):
    running_to(session, road, 1)
    session.propose(keep=0.6)
    session.show_instances("active", 0.5)
    assert session._worker.idle(WAIT)
    assert session._instance_desk.idle(WAIT)
    assert session.estimate.done
    assert session.instances.level == 0.5
    assert session.runs.progress.get("manidp").state == "running"


@pytest.mark.parametrize("gesture", ["stop_search", "resume_search", "drop_search"])
def test_an_unknown_kind_is_refused_with_the_known_ones(session, gesture):
    with pytest.raises(UnknownName, match="dmcp, manidp, fbs"):
        getattr(session, gesture)("instance")


def test_what_the_method_does_not_take_is_refused_at_once(session):
    with pytest.raises(BadInput, match="level"):
        session.start_search("manidp", level=2)
    with pytest.raises(UnknownName, match="density"):
        session.start_search("fbs", densty=0.5)
    for kind in ("dmcp", "manidp"):
        with pytest.raises(BadInput, match="no search to go on with"):
            session.resume_search(kind)
    assert session.runs.progress.get("manidp") is None


# ---- one session after another ----------------------------------------------------------------------------


def test_a_later_session_goes_on_with_a_training_and_shows_nothing_by_itself(session, road, dynamic):
    session.show_instances("active", 0.5)
    assert session.wait(WAIT)
    session.pick(3)
    running_to(session, road, 3)
    handover = session.handover
    assert (handover.runs.progress.get("manidp").state, handover.jobs.get("manidp").snapshot.step) == (
        "stopped",
        2,
    )
    assert handover.runs.progress.get("dmcp") is None
    session.close()
    road.let(1)
    assert session._run_desk.idle(WAIT)
    later = Session(session.network, handover=handover)
    assert later.runs.progress
    assert (later.instance_source, later.instances, later.picked) == ("", None, ())
    later.resume_search("manidp")
    road.let()
    assert later.wait(WAIT)
    assert [step for step, _settings in road.begun] == [0, 3]
    assert later.instance_source == "own"
    later.close()


def test_what_was_trained_can_be_shown_in_a_later_session_of_the_network(session, road, dynamic):
    session.start_search("manidp")
    road.let()
    assert session.wait(WAIT)
    later = Session(session.network, handover=session.handover)
    assert later.runs.progress.get("manidp").state == "ready"
    assert later.instance_source == ""
    later.show_instances("own")
    assert later.dynamic() is dynamic
    assert later.wait(WAIT)
    later.close()
    other = Session(explorer.load(residual(), data=tiny_data()))
    assert not other.runs.progress
    with pytest.raises(BadInput, match="trained yet"):
        other.show_instances("own")
    other.close()


def test_a_session_that_closes_while_a_training_ends_shows_nothing(session, road, dynamic):
    running_to(session, road, 5)
    session.close()
    road.let()
    assert session._run_desk.idle(WAIT)
    assert session.instance_source == ""
    with pytest.raises(ExplorerError, match="closed"):
        session.start_search("manidp")
