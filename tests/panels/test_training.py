from dataclasses import replace

import pytest
import torch

import explorer
from explorer.panels.overview.training import TrainingStrip
from explorer.records import Progress, Training, TrainingCost
from explorer.strings import Strings
from explorer.values import Request
from tests.chain_runs import example_run
from tests.panels.fake_session import FakeSession
from tests.session.conftest import tiny_model

STRINGS = Strings("en")


@pytest.fixture
def session():
    return FakeSession()


RUNNING = Progress(
    "dmcp", {"target": 0.4}, "running", 117, 468, "warm-up", {"full": 0.4137}, 31.4, TrainingCost(), None
)


@pytest.fixture(scope="module")
def run():
    """Of a network with a graph that is real: chains need its costs."""
    return example_run(explorer.trace(tiny_model(), torch.zeros(1, 1, 8, 8)))


def visible(panel):
    names = (
        *("epochs", "start", "progress", "use", "stop"),
        *("use_widths", "show_own", "resume", "stop_search", "drop"),
    )
    return {name for name in names if "pe-shut" not in getattr(panel, name)._dom_classes}


def test_the_strip_opens_with_its_button_and_starts_a_training(session):
    panel = TrainingStrip(session, STRINGS)
    assert "pe-shut" in panel._dom_classes
    panel.opener.value = True
    assert "pe-shut" not in panel._dom_classes
    assert visible(panel) == {"epochs", "start"}
    panel.epochs.value = 99
    assert panel.epochs.value == 50
    panel.epochs.value = 3
    panel.start.click()
    assert session.called == [("train", 3)]


def test_a_training_shows_how_far_it_is_and_can_be_stopped(session):
    panel = TrainingStrip(session, STRINGS)
    session.training = Training(Request(), 0, 0, 0.0, None)
    assert "pe-shut" not in panel._dom_classes
    assert "training…" in panel.progress.value
    session.training = Training(Request(), 20, 80, 0.4137, 31.4)
    assert visible(panel) == {"progress", "stop"}
    assert 'aria-valuenow="25"' in panel.progress.value
    assert "loss 0.41 · 31 s left" in panel.progress.value
    session.training = Training(Request(), 20, 80, 0.4137, 245.0)
    assert "loss 0.41 · 4 min left" in panel.progress.value
    panel.stop.click()
    assert session.called == [("stop_training",)]
    session.training = None
    assert "pe-shut" in panel._dom_classes


def test_what_is_ready_is_used_or_dropped(session):
    panel = TrainingStrip(session, STRINGS)
    session.training = Training(Request(), 80, 80, 0.3, 0.0, ready=True)
    assert visible(panel) == {"progress", "use", "stop"}
    assert panel.stop.description == "Drop"
    assert "ready" in panel.progress.value
    panel.use.click()
    assert session.called == [("use_trained",)]


def test_a_search_shows_its_phase_losses_and_time_and_can_be_stopped(session):
    panel = TrainingStrip(session, STRINGS)
    session.search = replace(RUNNING, step=0, of=0, phase="", losses={}, seconds_left=None)
    assert "pe-shut" not in panel._dom_classes
    assert "search…" in panel.progress.value
    session.search = RUNNING
    assert visible(panel) == {"progress", "stop_search"}
    assert 'aria-valuenow="25"' in panel.progress.value
    assert "25 % of the search done" in panel.progress.value
    assert "warm-up · loss 0.414 · 31 s left" in panel.progress.value
    assert "full network 0.414, drawn ones –, chains –, cost –" in panel.progress.value
    losses = {"full": 0.5, "sub": 0.25, "chains": 0.625, "cost": 0.01}
    for seconds, left in ((245.0, "4 min left"), (7000.0, "2 h left"), (None, "…")):
        session.search = replace(RUNNING, phase="search", losses=losses, seconds_left=seconds)
        assert f"search · loss 0.5 · {left}" in panel.progress.value
    assert "drawn ones 0.25, chains 0.625, cost 0.01" in panel.progress.value
    panel.stop_search.click()
    assert session.called == [("stop_search", "dmcp")]


def test_a_stopped_search_is_resumed_or_dropped(session):
    panel = TrainingStrip(session, STRINGS)
    session.search = replace(RUNNING, state="stopped", resumable=True)
    assert visible(panel) == {"progress", "resume", "drop"}
    assert "search stopped" in panel.progress.value
    panel.resume.click()
    panel.drop.click()
    assert session.called == [("resume_search", "dmcp"), ("drop_search", "dmcp")]
    session.search = None
    assert "pe-shut" in panel._dom_classes


def test_a_stopped_search_that_is_not_kept_says_so_for_as_long_as_it_is_stopped(session):
    panel = TrainingStrip(session, STRINGS)
    session.search = replace(RUNNING, state="stopped", resumable=True, not_kept="/<full>")
    assert "only until the kernel ends: /&lt;full&gt; cannot be written to" in panel.progress.value


def test_a_failed_search_says_why_and_goes_on_only_from_a_snapshot(session):
    panel = TrainingStrip(session, STRINGS)
    session.search = replace(RUNNING, state="failed", error="The loss is <nan>.")
    assert visible(panel) == {"progress", "drop"}
    assert 'title="The loss is &lt;nan&gt;."' in panel.progress.value
    session.search = replace(session.search, resumable=True)
    assert visible(panel) == {"progress", "resume", "drop"}


def test_the_widths_that_were_found_are_used_once(session, run):
    panel = TrainingStrip(session, STRINGS)
    session.search = replace(RUNNING, state="ready", run=run)
    assert visible(panel) == {"progress", "use_widths", "drop"}
    assert "structure found" in panel.progress.value
    panel.use_widths.click()
    assert session.called == [("use_widths", run.widths)]
    assert "pe-shut" in panel._dom_classes
    assert session.search is not None, "it is only put aside"


def test_a_search_that_waits_makes_room_for_a_training(session):
    panel = TrainingStrip(session, STRINGS)
    session.search = RUNNING
    panel.opener.value = True
    assert visible(panel) == {"progress", "stop_search"}, "not while it runs"
    panel.opener.value = False
    session.search = replace(RUNNING, state="stopped", resumable=True)
    panel.opener.value = True
    assert visible(panel) == {"epochs", "start"}
    session.training = Training(Request(), 20, 80, 0.4137, 31.4)
    assert visible(panel) == {"progress", "stop"}
    session.training = None
    panel.opener.value = False
    assert "pe-shut" in panel._dom_classes
    session.search = RUNNING
    assert visible(panel) == {"progress", "stop_search"}, "it goes on, and is seen again"


# ---- a training of instance subnetworks ---------------------------------------------------------------------

SUBNETWORKS = Progress(
    "manidp", {"level": 0.75}, "running", 234, 468, "train", {"task": 0.4137}, 31.4, TrainingCost(), None
)


def test_a_training_of_subnetworks_shows_its_loss_and_time_and_can_be_stopped(session):
    panel = TrainingStrip(session, STRINGS)
    session.instance_search = replace(SUBNETWORKS, step=0, losses={}, seconds_left=None)
    assert "subnetworks…" in panel.progress.value
    session.instance_search = SUBNETWORKS
    assert visible(panel) == {"progress", "stop_search"}
    assert 'aria-valuenow="50"' in panel.progress.value
    assert "50 % of the training done" in panel.progress.value
    assert "subnetworks · loss 0.414 · 31 s left" in panel.progress.value
    assert "images 0.414, sparsity –, similarity –" in panel.progress.value
    assert "training" in panel.stop_search.tooltip
    assert panel.opener.disabled
    panel.stop_search.click()
    session.instance_search = replace(SUBNETWORKS, state="stopped", resumable=True)
    assert visible(panel) == {"progress", "resume", "drop"}
    panel.resume.click()
    panel.drop.click()
    assert session.called == [
        (gesture, "manidp") for gesture in ("stop_search", "resume_search", "drop_search")
    ]


def test_the_subnetworks_that_were_trained_are_shown_once(session):
    panel = TrainingStrip(session, STRINGS)
    session.instance_search = replace(SUBNETWORKS, state="ready")
    assert visible(panel) == {"progress", "show_own", "drop"}
    panel.show_own.click()
    assert session.instance_source == "own"
    assert "pe-shut" in panel._dom_classes
    assert session.instance_search is not None, "it is only put aside"


def test_of_two_the_one_that_runs_is_told_of_and_then_the_other(session, run):
    panel = TrainingStrip(session, STRINGS)
    session.search = replace(RUNNING, state="ready", run=run)
    session.instance_search = SUBNETWORKS
    assert visible(panel) == {"progress", "stop_search"}
    assert "50 % of the training done" in panel.progress.value
    session.instance_search = replace(SUBNETWORKS, state="ready")
    assert visible(panel) == {"progress", "show_own", "drop"}, "what was begun last"
    panel.show_own.click()
    assert visible(panel) == {"progress", "use_widths", "drop"}
    panel.opener.value = True
    assert visible(panel) == {"epochs", "start"}, "both are put aside"
    session.search = replace(RUNNING, state="stopped", resumable=True)
    assert visible(panel) == {"progress", "resume", "drop"}, "a new one is seen"
