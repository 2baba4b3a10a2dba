"""Every wait here is for an event that must come; the limit is only reached by a failure."""

import logging
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest

from explorer.errors import ExplorerError
from explorer.evaluate.worker import LatestWins, Superseded

LIMIT = 30.0  # seconds until a test that hangs is called a failure

Publish = Callable[[str], None]
Check = Callable[[], None]


class Stage:
    """A worker whose jobs stop at gates that the test opens, and all that came of them."""

    def __init__(self) -> None:
        self.results: list[tuple[str, str]] = []
        self.failures: list[tuple[str, str]] = []
        self.ended: list[tuple[str, str]] = []
        self.reached: dict[str, threading.Event] = {}
        self.gates: dict[str, threading.Event] = {}
        self.worker: LatestWins[str, str] = LatestWins(
            self.work,
            lambda job, result: self.results.append((job, result)),
            lambda job, error: self.failures.append((job, str(error))),
        )

    def event(self, kind: dict[str, threading.Event], name: str) -> threading.Event:
        return kind.setdefault(name, threading.Event())

    def gate(self, name: str) -> None:
        self.event(self.reached, name).set()
        assert self.event(self.gates, name).wait(LIMIT)

    def await_gate(self, name: str) -> None:
        assert self.event(self.reached, name).wait(LIMIT)

    def open(self, *names: str) -> None:
        for name in names:
            self.event(self.gates, name).set()

    def work(self, job: str, publish: Publish, check: Check) -> None:
        try:
            for piece in ("first", "second"):
                self.gate(f"{job} {piece}")
                check()
                publish(piece)
            check()
            self.ended.append((job, "done"))
        except Superseded:
            self.ended.append((job, "superseded"))
            raise

    def finish(self) -> None:
        assert self.worker.idle(LIMIT)
        self.worker.close()


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_a_job_alone_publishes_everything(stage: Stage) -> None:
    stage.open("a first", "a second")
    stage.worker.submit("a")
    stage.finish()
    assert stage.results == [("a", "first"), ("a", "second")]
    assert stage.ended == [("a", "done")]
    assert stage.failures == []


def test_a_superseded_job_publishes_its_first_result_then_gives_way(stage: Stage) -> None:
    stage.worker.submit("a")
    stage.await_gate("a first")
    stage.worker.submit("b")  # before the first result of a
    stage.open("a first", "a second", "b first", "b second")
    stage.finish()
    assert stage.results == [("a", "first"), ("b", "first"), ("b", "second")]
    assert stage.ended == [("a", "superseded"), ("b", "done")]
    assert stage.failures == []


def test_a_job_that_has_published_gives_way_at_its_next_check(stage: Stage) -> None:
    stage.open("a first")
    stage.worker.submit("a")
    stage.await_gate("a second")
    stage.worker.submit("b")
    stage.open("a second", "b first", "b second")
    stage.finish()
    assert stage.results == [("a", "first"), ("b", "first"), ("b", "second")]


def test_only_the_latest_of_the_waiting_jobs_is_worked(stage: Stage) -> None:
    stage.worker.submit("a")
    stage.await_gate("a first")
    for job in ("b", "c", "d"):
        stage.worker.submit(job)
    stage.open("a first", "a second", "d first", "d second")
    stage.finish()
    assert [job for job, _ in stage.ended] == ["a", "d"]


def test_cancel_ends_a_job_before_its_first_result_and_forgets_the_waiting_one(stage: Stage) -> None:
    stage.worker.submit("a")
    stage.await_gate("a first")
    stage.worker.submit("b")
    stage.worker.cancel()
    stage.open("a first")
    assert stage.worker.idle(LIMIT)
    assert stage.results == []
    assert stage.ended == [("a", "superseded")]
    stage.open("c first", "c second")
    stage.worker.submit("c")
    stage.finish()
    assert stage.ended[-1] == ("c", "done")


def test_close_cancels_ends_the_thread_and_refuses_further_jobs(stage: Stage) -> None:
    before = set(threading.enumerate())
    other = Stage()
    (thread,) = set(threading.enumerate()) - before
    other.worker.submit("a")
    other.await_gate("a first")
    other.worker.close()
    other.open("a first")
    thread.join(LIMIT)
    assert not thread.is_alive()
    assert other.results == []
    assert other.worker.idle(0)
    with pytest.raises(ExplorerError, match="closed"):
        other.worker.submit("b")
    stage.worker.close()


def test_a_cancelled_job_that_never_checks_publishes_nothing() -> None:
    running, cancelled = threading.Event(), threading.Event()
    results: list[str] = []

    def work(job: str, publish: Publish, check: Check) -> None:
        running.set()
        assert cancelled.wait(LIMIT)
        publish("late")

    worker: LatestWins[str, str] = LatestWins(
        work, lambda job, result: results.append(result), lambda job, error: results.append(str(error))
    )
    worker.submit("a")
    assert running.wait(LIMIT)
    worker.cancel()
    cancelled.set()
    assert worker.idle(LIMIT)
    assert results == []
    worker.close()


def test_idle_says_no_while_a_job_runs(stage: Stage) -> None:
    assert stage.worker.idle(0)
    stage.worker.submit("a")
    assert not stage.worker.idle(0)
    stage.await_gate("a first")
    assert not stage.worker.idle(0)
    stage.open("a first", "a second")
    stage.finish()


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt("no"), SystemExit("no")])
def test_failures_are_handed_on_and_the_thread_lives(error: BaseException) -> None:
    results: list[object] = []
    failures: list[tuple[str, BaseException]] = []

    def work(job: str, publish: Publish, check: Check) -> None:
        if job == "bad":
            raise error
        publish(job)

    worker: LatestWins[str, str] = LatestWins(
        work, lambda job, result: results.append(result), lambda job, failure: failures.append((job, failure))
    )
    for job in ("bad", "good"):
        worker.submit(job)
        assert worker.idle(LIMIT)
    assert failures == [("bad", error)]
    assert results == ["good"]
    worker.close()


def test_a_failure_of_done_is_a_failure_of_the_job_and_one_of_failed_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    failures: list[str] = []

    def done(job: str, result: str) -> None:
        raise ValueError(f"cannot draw {result}")

    def failed(job: str, error: BaseException) -> None:
        failures.append(str(error))
        raise RuntimeError("cannot draw the error either")

    worker: LatestWins[str, str] = LatestWins(lambda job, publish, check: publish(job), done, failed)
    with caplog.at_level(logging.ERROR, logger="explorer"):
        for job in ("a", "b"):
            worker.submit(job)
            assert worker.idle(LIMIT)
    assert failures == ["cannot draw a", "cannot draw b"]
    assert len(caplog.records) == 2
    worker.close()


def test_in_the_grace_a_newer_job_takes_the_place_of_one_that_was_not_begun() -> None:
    begun: list[str] = []
    worker: LatestWins[str, str] = LatestWins(
        lambda job, publish, check: begun.append(job),
        lambda job, result: None,
        lambda job, error: begun.append(str(error)),
        grace=LIMIT / 100,
    )
    for job in "abc":
        worker.submit(job)
    assert not worker.idle(0), "what waits for its grace is work"
    assert worker.idle(LIMIT)
    assert begun == ["c"]
    worker.submit("d")
    worker.cancel()
    assert worker.idle(LIMIT)
    worker.submit("e")
    worker.close()
    assert worker.idle(LIMIT)
    assert begun == ["c"], "a job that was cancelled in its grace is never begun"


LEAVING = """
import threading, torch
from explorer.evaluate.worker import LatestWins

begun = threading.Event()

def work(job, publish, check):
    while True:
        check()
        torch.rand(600, 600) @ torch.rand(600, 600)
        begun.set()

worker = LatestWins(work, lambda *_: None, lambda *_: None)
worker.submit("work without end")
begun.wait()
"""


def test_a_program_that_ends_during_a_job_ends_well() -> None:
    done = subprocess.run([sys.executable, "-c", LEAVING], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
