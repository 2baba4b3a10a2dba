"""Snapshots of searches that are kept: files, what spoils them, and what forgets them."""

import os
import tempfile
import threading
from dataclasses import replace
from pathlib import Path

import pytest

import explorer
from explorer.errors import BadInput
from explorer.methods.snapshots import Snapshot
from explorer.session import Session
from explorer.session.run_files import KEPT, RunFiles
from tests.session.conftest import WAIT, residual, tiny_data, until


def snapshot(key: str, step: int = 2) -> Snapshot:
    return Snapshot("dmcp", key, step, 6, 1.0, 1, {"step": step})


def running_to(session, road, step):
    """A search that waits before the step after this one."""
    session.start_search()
    road.let(step)
    until(session, lambda search: search is not None and search.step == step)


def stopped_at(session, road, step):
    """A search that was stopped there."""
    running_to(session, road, step)
    session.stop_search()
    road.let(1)
    assert session._run_desk.idle(WAIT)


def said(session):
    """Every message of the status line from now on."""
    keys = []
    session.observe(lambda change: keys.append(change["new"].key), "status")
    return keys


@pytest.fixture
def again():
    """Another session over the same network."""
    made = Session(explorer.load(residual(), data=tiny_data()))
    assert made.wait(WAIT)
    yield made
    made.close()
    made._run_desk.idle(WAIT)


# ---- files --------------------------------------------------------------------------------------------------


def test_the_searches_written_to_last_are_kept(tmp_path):
    files = RunFiles(tmp_path / "new")
    for number in range(KEPT):
        files.save(snapshot(f"key{number}"))
        os.utime(tmp_path / "new" / f"key{number}.pt", (number, number))
    files.save(snapshot("key0", step=4))
    files.save(snapshot("one more"))
    assert files.load("key1") is None
    assert files.load("key0").step == 4
    assert len(list((tmp_path / "new").iterdir())) == KEPT
    files.remove("key0")
    files.remove("key0")
    assert files.load("key0") is None


def test_a_file_that_is_no_snapshot_or_another_search_is_none(tmp_path):
    files = RunFiles(tmp_path)
    files.save(snapshot("other"))
    (tmp_path / "other.pt").rename(tmp_path / "key.pt")
    assert files.load("key") is None
    (tmp_path / "key.pt").write_bytes(b"no snapshot")
    assert files.load("key") is None


def test_what_killed_programs_were_writing_is_tidied_away(tmp_path):
    left, written = tmp_path / ".key.pt-1a2b3c", tmp_path / ".key.pt-4d5e6f"
    for path in (left, written, tmp_path / "of somebody else"):
        path.write_bytes(b"half")
        os.utime(path, (0, 0))
    os.utime(written)  # now: another program may be about it
    RunFiles(tmp_path).save(snapshot("key"))
    assert {path.name for path in tmp_path.iterdir()} == {"key.pt", written.name, "of somebody else"}


def test_a_file_that_cannot_be_tidied_away_is_no_failure(tmp_path):
    files = RunFiles(tmp_path)
    for number in range(KEPT):
        (tmp_path / f"{number}.pt").mkdir()
        os.utime(tmp_path / f"{number}.pt", (number, number))
    files.save(snapshot("key"))
    assert files.load("key").step == 2
    assert files.load("0") is None


def test_without_a_home_directory_the_folder_is_a_temporary_one(monkeypatch, tmp_path):
    def nowhere():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.delenv("LOCALAPPDATA", raising=False)
    monkeypatch.setattr(Path, "home", nowhere)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    made = Session(explorer.load(residual(), data=tiny_data()))
    made.close()
    RunFiles().save(snapshot("key"))
    assert (tmp_path / "pruning-explorer" / "searches" / "key.pt").is_file()


# ---- what spoils them ---------------------------------------------------------------------------------------


def test_a_folder_that_cannot_be_looked_into_does_not_hold_up_a_search(session, road, tmp_path):
    session._run_desk._files = RunFiles(tmp_path / ("x" * 300))  # a name too long for any file system
    road.breaks = 4
    session.start_search()
    road.let()
    session._run_desk.idle(WAIT)
    assert (session.runs.progress.get("dmcp").state, session.runs.progress.get("dmcp").resumable) == (
        "failed",
        True,
    )
    road.breaks = 0
    session.resume_search()
    assert session.wait(WAIT)
    assert session.runs.progress.get("dmcp").state == "ready"
    assert [step for step, _settings in road.begun] == [0, 2]


def test_a_snapshot_that_does_not_fit_is_dropped_for_a_new_beginning(session, again, road, search_cache):
    stopped_at(session, road, 3)
    road.refuses = True
    keys = said(again)
    again.start_search()
    road.let(1)
    until(again, lambda search: search.step == 1)
    assert keys == ["search_anew"]
    assert list(search_cache.iterdir()) == []
    road.let()
    assert again.wait(WAIT)
    assert again.runs.progress.get("dmcp").state == "ready"
    assert [step for step, _settings in road.begun] == [0, 3, 0]


def test_no_resume_is_offered_that_cannot_work(session, road):
    stopped_at(session, road, 3)
    road.refuses, road.breaks = True, 1
    session.resume_search()
    road.let()
    session._run_desk.idle(WAIT)
    assert (session.runs.progress.get("dmcp").state, session.runs.progress.get("dmcp").resumable) == (
        "failed",
        False,
    )
    with pytest.raises(BadInput, match="no search to go on with"):
        session.resume_search()


def test_a_snapshot_without_what_the_method_needs_begins_anew(session, search_cache):
    asked = {"warm_up": 1, "epochs": 1, "batch": 32, "target": 0.6}
    session.start_search(**asked)
    until(session, lambda search: search.step >= 1)
    session.stop_search()
    assert session._run_desk.idle(WAIT)
    (file,) = search_cache.iterdir()
    replace(Snapshot.load(file), step=5, content={}).save(file)
    keys = said(session)
    session.resume_search()
    assert session.wait(WAIT)
    assert session.runs.progress.get("dmcp").state == "ready", session.runs.progress.get("dmcp").error
    assert "search_anew" in keys


def test_a_file_that_cannot_be_read_is_replaced_without_a_word(session, again, road, search_cache):
    stopped_at(session, road, 3)
    (file,) = search_cache.iterdir()
    file.write_bytes(b"no snapshot")
    keys = said(again)
    stopped_at(again, road, 2)
    assert [step for step, _settings in road.begun] == [0, 0]
    assert keys == ["search_stopping", "search_stopped"]
    assert Snapshot.load(file).step == 2


# ---- what forgets them --------------------------------------------------------------------------------------


def test_a_session_that_was_handed_a_search_can_drop_it(session, road, search_cache):
    stopped_at(session, road, 3)
    later = Session(session.network, handover=session.handover)
    assert len(list(search_cache.iterdir())) == 1
    later.drop_search()
    assert list(search_cache.iterdir()) == []
    assert later.runs.progress.get("dmcp") is None
    assert later.handover.jobs.get("dmcp") is None
    later.close()


def test_a_search_that_another_session_drops_while_it_stops_leaves_no_file(session, road, search_cache):
    running_to(session, road, 3)
    later = Session(session.network, handover=session.handover)
    session.close()
    later.drop_search()
    road.let(1)
    assert session._run_desk.idle(WAIT)
    assert list(search_cache.iterdir()) == []
    later.close()


def test_a_search_is_dropped_while_its_snapshot_is_written(session, road, search_cache, monkeypatch):
    writes, go_on, save, in_time = threading.Event(), threading.Event(), Snapshot.save, []

    def slow(self, path):
        writes.set()
        in_time.append(go_on.wait(WAIT))
        save(self, path)

    monkeypatch.setattr(Snapshot, "save", slow)
    session.start_search()
    road.let(2)
    assert writes.wait(WAIT)
    session.drop_search()
    assert session.runs.progress.get("dmcp") is None
    go_on.set()
    road.let(1)
    assert session._run_desk.idle(WAIT)
    assert in_time == [True], "dropping it waits for no disk"
    assert session.runs.progress.get("dmcp") is None
    assert list(search_cache.iterdir()) == []
