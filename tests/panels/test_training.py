import pytest

from explorer.panels.training import TrainingStrip
from explorer.records import Training
from explorer.strings import Strings
from explorer.values import Request
from tests.panels.fake_session import FakeSession

STRINGS = Strings("en")


@pytest.fixture
def session():
    return FakeSession()


def visible(panel):
    names = ("epochs", "start", "progress", "use", "stop")
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
