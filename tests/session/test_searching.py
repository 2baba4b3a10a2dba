"""A search beside the explorer: what is told, what is kept, and what goes on in another session."""

import os
import subprocess
import sys
import threading
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch

import explorer
from explorer.errors import BadInput, ExplorerError, Interrupted, UnknownName
from explorer.methods import events
from explorer.methods.snapshots import Snapshot
from explorer.records import Progress, TrainingCost
from explorer.session import Session
from explorer.session.run_files import RunFiles
from explorer.session.runs import RunDesk
from explorer.strings import Message
from explorer.values import Recovery
from tests.session.conftest import WAIT, residual, tiny_data, until
from tests.session.fake_search import FakeRoad

REAL = {"warm_up": 1, "epochs": 1, "batch": 32, "target": 0.6}


def running_at(step):
    return lambda search: search is not None and search.step == step


# ---- what is told -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("clock", "steps"),
    [(lambda: 0.0, [1, 2, 4, 6]), (count().__next__, [1, 2, 3, 4, 5, 6, 6])],
    ids=["no time passes: the first step, snapshots and the end", "a second between steps"],
)
def test_reports_come_at_intervals_with_snapshots_and_at_the_end(session, monkeypatch, clock, steps):
    monkeypatch.setattr("explorer.session.runs.events", FakeRoad().let_all())
    told = []
    desk = RunDesk(
        session.network, session.graph, lambda *report: told.append(report), threading.RLock(), clock=clock
    )
    desk.start("key", "dmcp", {})
    assert desk.idle(WAIT)
    desk.close()
    assert [search.step for search, _message in told] == steps
    assert [search.state for search, _message in told] == ["running"] * (len(steps) - 1) + ["ready"]
    last, message = told[-1]
    assert message.key == "search_ready"
    assert last.run.ended
    assert last.losses == {"full": 1 / 7}
    assert desk.found("dmcp").run is last.run


def test_a_search_leaves_the_explorer_live(session, road):
    session.start_search(target=0.5)
    assert session.runs.progress.get("dmcp").state == "running"
    assert session.runs.progress.get("dmcp").settings["target"] == 0.5
    assert session.runs.progress.get("dmcp").settings["epochs"] == 4, "those that were not given too"
    road.let(1)
    until(session, running_at(1))
    session.propose(keep=0.6)
    session.drag({"2.first": 3})
    assert session._worker.idle(WAIT)
    assert session.current
    assert session.estimate.done
    assert session.runs.progress.get("dmcp").state == "running"
    road.let()
    assert session.wait(WAIT)
    assert session.runs.progress.get("dmcp").state == "ready"
    assert session.request.widths == (("2.first", 3),)


def test_a_real_search_comes_to_what_the_road_comes_to_however_it_was_stopped(session):
    *_, last = events(session.network, session.graph, **REAL)
    straight = last.found
    session.start_search(**REAL)
    until(session, lambda search: search.step >= 1)
    session.stop_search()
    assert session._run_desk.idle(WAIT)
    assert session.runs.progress.get("dmcp").state == "stopped", session.runs.progress.get("dmcp").error
    assert 1 <= session.runs.progress.get("dmcp").step < session.runs.progress.get("dmcp").of
    again = Session(explorer.load(residual(), data=tiny_data()))
    again.start_search(**REAL)
    assert again.wait(WAIT)
    run = again.runs.progress.get("dmcp").run
    assert np.array_equal(run.alphas, straight.run.alphas)
    assert run.widths == straight.run.widths
    ours, theirs = again.trained_network().model.state_dict(), straight.network.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    again.close()


def test_a_report_cannot_be_changed():
    losses = {"full": 1.0}
    search = Progress("dmcp", {"seed": 0}, "running", 1, 6, "search", losses, None, TrainingCost(), None)
    losses["full"] = 2.0
    assert search.losses == {"full": 1.0}
    for mapping in (search.losses, search.settings):
        with pytest.raises(TypeError):
            mapping["seed"] = 1


def test_who_interrupts_a_start_finds_a_search_that_runs(session, road):
    def interrupt(_change):
        if threading.current_thread() is threading.main_thread():
            raise KeyboardInterrupt

    session.observe(interrupt, "runs")
    with pytest.raises(KeyboardInterrupt):
        session.start_search()
    session.unobserve(interrupt, "runs")
    assert session.runs.progress.get("dmcp").state == "running"
    road.let()
    assert session.wait(WAIT)
    assert session.runs.progress.get("dmcp").state == "ready"


# ---- stop, resume, drop -------------------------------------------------------------------------------------


def test_what_is_stopped_goes_on_and_its_file_goes_at_the_end(session, road, search_cache):
    session.start_search()
    road.let(3)
    until(session, running_at(3))
    session.stop_search()
    assert session.status.key == "search_stopping"
    road.let(1)
    assert session._run_desk.idle(WAIT)
    assert (
        session.runs.progress.get("dmcp").state,
        session.runs.progress.get("dmcp").step,
        session.runs.progress.get("dmcp").resumable,
    ) == ("stopped", 3, True)
    assert session.status.key == "search_stopped"
    assert len(list(search_cache.iterdir())) == 1
    session.resume_search()
    road.let(1)
    until(session, running_at(4))
    assert session.status.key == "search_resumed"
    road.let()
    assert session.wait(WAIT)
    assert [step for step, _settings in road.begun] == [0, 3]
    assert road.begun[0][1] == road.begun[1][1]
    assert session.runs.progress.get("dmcp").state == "ready"
    assert list(search_cache.iterdir()) == []


def test_a_search_that_is_stopped_before_its_next_step_tells_what_it_told_before(session, road):
    session.start_search()
    road.let(3)
    until(session, running_at(3))
    session.stop_search()
    road.let(1)
    assert session._run_desk.idle(WAIT)
    before = session.runs.progress.get("dmcp")
    session.resume_search()
    assert (session.runs.progress.get("dmcp").state, session.runs.progress.get("dmcp").resumable) == (
        "running",
        False,
    )
    session.stop_search()
    road.let(1)
    assert session._run_desk.idle(WAIT)
    search = session.runs.progress.get("dmcp")
    assert (search.state, search.step, search.phase) == ("stopped", 3, "search")
    assert search.losses == before.losses == {"full": 1 / 4}
    assert search.run is before.run


def test_a_new_session_goes_on_where_a_closed_one_was(session, road, search_cache):
    session.start_search(seed=3)
    road.let(3)
    until(session, running_at(3))
    handover = session.handover
    assert (handover.runs.progress.get("dmcp").state, handover.jobs.get("dmcp").snapshot.step) == (
        "stopped",
        2,
    )
    session.close()
    road.let(1)
    session._run_desk._worker._thread.join(WAIT)
    assert not session._run_desk._worker._thread.is_alive()
    assert len(list(search_cache.iterdir())) == 1
    again = Session(explorer.load(residual(), data=tiny_data()))
    again.start_search(seed=4)
    road.let()
    assert again.wait(WAIT)
    again.start_search(seed=3)
    assert again.wait(WAIT)
    assert [step for step, _settings in road.begun] == [0, 0, 3], "other settings are another search"
    again.close()


def test_a_session_goes_on_with_what_it_was_given_or_with_the_file_if_that_is_farther(session, road):
    session.start_search()
    road.let(3)
    until(session, running_at(3))
    handover = session.handover
    session.close()
    road.let(1)
    assert session._run_desk.idle(WAIT)
    road.let()
    RunFiles().save(replace(handover.jobs.get("dmcp").snapshot, step=5))
    for begun in (5, 3):
        again = Session(session.network, handover=handover)
        assert again.runs.progress.get("dmcp").state == "stopped"
        again.resume_search()
        assert again.wait(WAIT)
        assert road.begun[-1][0] == begun
        again.close()


def test_without_a_folder_to_write_to_it_goes_on_and_says_so_once(session, road, tmp_path):
    (tmp_path / "file").write_text("")
    session._run_desk._files = RunFiles(tmp_path / "file" / "searches")
    said = []
    session.observe(lambda change: said.append(change["new"].key), "status")
    session.start_search()
    road.let(5)
    until(session, running_at(5))
    assert said.count("search_not_kept") == 1
    session.stop_search()
    road.let(1)
    assert session._run_desk.idle(WAIT)
    folder = str(tmp_path / "file" / "searches")
    assert session.status == Message.of("search_stopped_not_kept", step=5, of=6, folder=folder)
    assert (session.runs.progress.get("dmcp").state, session.runs.progress.get("dmcp").not_kept) == (
        "stopped",
        folder,
    )
    session.resume_search()  # what is in memory is enough
    assert session.runs.progress.get("dmcp").not_kept == folder
    road.let()
    assert session.wait(WAIT)
    assert [step for step, _settings in road.begun] == [0, 5]
    assert session.runs.progress.get("dmcp").state == "ready"


def test_what_is_dropped_is_forgotten_and_says_nothing_more(session, road, search_cache):
    session.start_search()
    road.let(2)
    until(session, running_at(2))
    assert list(search_cache.iterdir())
    session.drop_search()
    assert session.runs.progress.get("dmcp") is None
    assert list(search_cache.iterdir()) == []
    session.start_search()
    road.let()
    assert session.wait(WAIT)
    assert [step for step, _settings in road.begun] == [0, 0]
    assert session.trained_network() is not None
    session.drop_search()
    assert session.trained_network() is None
    with pytest.raises(BadInput, match="no search to go on with"):
        session.resume_search()


ENDS = """
import threading
from explorer.session import Session
from tests.session.conftest import residual, tiny_data
import explorer

session = Session(explorer.load(residual(), data=tiny_data()))
begun = threading.Event()
session.observe(lambda change: begun.set() if change["new"].progress["dmcp"].step else None, "runs")
session.start_search(batch=32, warm_up=0, epochs=10_000)
begun.wait()
"""


def test_a_program_that_ends_keeps_a_snapshot(tmp_path):
    root = Path(explorer.__file__).parents[1]
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path), "PYTHONPATH": str(root)}
    done = subprocess.run(
        [sys.executable, "-c", ENDS],
        env=environment,
        capture_output=True,
        text=True,
        timeout=WAIT,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    (file,) = (tmp_path / "pruning-explorer" / "searches").iterdir()
    assert Snapshot.load(file).step >= 1


# ---- what goes wrong ----------------------------------------------------------------------------------------


def test_a_search_that_breaks_down_keeps_the_last_sound_snapshot(session, road):
    road.breaks = 4
    session.start_search()
    road.let()
    session._run_desk.idle(WAIT)
    search = session.runs.progress.get("dmcp")
    assert (search.state, search.step, search.resumable) == ("failed", 3, True)
    assert "nan" in search.error
    assert session.error == search.error
    road.breaks = 0
    session.resume_search()
    assert session.error == ""
    assert session.wait(WAIT)
    assert [step for step, _settings in road.begun] == [0, 2]


def test_a_search_that_breaks_down_at_once_cannot_be_resumed(session, road):
    road.breaks = 1
    session.start_search()
    road.let()
    session._run_desk.idle(WAIT)
    assert (session.runs.progress.get("dmcp").state, session.runs.progress.get("dmcp").resumable) == (
        "failed",
        False,
    )
    with pytest.raises(BadInput, match="no search to go on with"):
        session.resume_search()


def test_a_target_out_of_reach_is_told(session):
    session.start_search(**{**REAL, "target": 0.01})
    session._run_desk.idle(WAIT)
    assert session.runs.progress.get("dmcp").state == "failed"
    assert "out of reach" in session.error


def test_an_interrupt_stops_the_search_with_a_snapshot(session, road, monkeypatch):
    session.start_search()
    road.let(3)
    until(session, running_at(3))

    def interrupted(timeout=None):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(session._run_desk, "idle", interrupted)
        with pytest.raises(Interrupted):
            session.wait(WAIT)
    road.let(1)
    assert session._run_desk.idle(WAIT)
    assert (session.runs.progress.get("dmcp").state, session.runs.progress.get("dmcp").step) == ("stopped", 3)


def test_what_cannot_be_searched_is_refused_at_once(session, road):
    with pytest.raises(UnknownName, match="epoch"):
        session.start_search(epoch=3)
    with pytest.raises(BadInput, match="target"):
        session.start_search(target=40)
    with pytest.raises(UnknownName, match="method"):
        session.start_search("sorcery")
    assert session.runs.progress.get("dmcp") is None
    alone = Session(explorer.load(residual(), example=torch.zeros(1, 1, 8, 8)))
    with pytest.raises(BadInput, match="training images"):
        alone.start_search()
    alone.close()
    with pytest.raises(ExplorerError, match="closed"):
        alone.start_search()


# ---- one training at a time ---------------------------------------------------------------------------------


def test_no_search_begins_while_a_training_runs(session, slow_training, road):
    session.propose(keep=0.6)
    session.train(1)
    with pytest.raises(BadInput, match="being trained"):
        session.start_search()
    slow_training.set()
    assert session.wait(WAIT)
    session.start_search()
    road.let()
    assert session.wait(WAIT)


def test_no_training_begins_while_a_search_runs(session, road):
    session.propose(keep=0.6)
    session.train(1)
    assert session.wait(WAIT)
    number = session.at
    session.propose(keep=0.5)
    assert session.wait(WAIT)
    session._live._trained._values.clear()
    session.start_search()
    for ask in (
        lambda: session.train(1),
        lambda: session.propose(recovery=Recovery(bn=True, epochs=2)),
        lambda: session.start_search(),
    ):
        with pytest.raises(BadInput, match="search is running"):
            ask()
    session.restore(number)
    assert session.training is None
    assert "search_untrained" in str(session._said)
    assert session.request.recovery == Recovery.parse("refit+bn")
    road.let()
    assert session.wait(WAIT)
