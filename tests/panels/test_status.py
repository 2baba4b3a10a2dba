from explorer.panels.header.status import Status
from explorer.panels.overview.training import TrainingStrip
from explorer.strings import Message, Strings
from tests.panels.fake_session import FakeSession

STRINGS = Strings("en")


def status(session):
    return Status(session, STRINGS, TrainingStrip(session, STRINGS))


def test_status_shows_the_error_before_all_else():
    session = FakeSession()
    panel = status(session)
    session.stage, session.status = Message("stage_evaluating"), Message("status_stopped")
    assert ">evaluating<" in panel.line.value
    assert "Stopped. Move Keep to go on." in panel.line.value
    assert 'role="status"' in panel.line.value
    session.error = "keep is <7>"
    assert 'role="alert"' in panel.line.value
    assert "Error:" in panel.line.value
    assert "&lt;7&gt;" in panel.line.value
    assert "Stopped" not in panel.line.value


def test_while_nothing_is_done_the_dot_is_full_and_no_stage_is_named():
    panel = status(FakeSession())
    assert "pe-busy" not in panel.line.value
    assert "ready" not in panel.line.value


def test_pins_can_be_cleared_while_there_are_some():
    session = FakeSession()
    panel = status(session)
    assert "pe-shut" in panel.clear._dom_classes
    session.drag({"sum1": 8})
    assert "pe-shut" not in panel.clear._dom_classes
    panel.clear.click()
    assert session.called[-1] == ("clear_pins",)
