import pytest

from explorer.panels.header import Actions, Header
from explorer.strings import Strings
from tests.panels.fake_session import FakeSession

STRINGS = Strings("en")
CRITERIA = {"taylor": "effect on the loss", "l1": "filter size"}


@pytest.fixture
def session():
    return FakeSession()


def test_header_names_network_and_data_and_proposes(session):
    panel = Header(session, STRINGS, CRITERIA)
    assert "resnet20" in panel.title.value
    assert "on Fashion-MNIST" in panel.title.value
    panel.rank.value = "l1"
    assert session.request.criterion == "l1"
    assert "no images" in Header(FakeSession(data=False), STRINGS, CRITERIA).title.value


def test_a_fault_in_a_callback_reaches_the_error_in_words(session, monkeypatch, caplog):
    panel = Header(session, STRINGS, CRITERIA)
    monkeypatch.setattr(session, "propose", lambda **_changes: 1 / 0)
    panel.rank.value = "l1"
    assert "ZeroDivisionError" in session.error
    assert panel.rank.value == "taylor"
    assert "ZeroDivisionError" in caplog.text


def test_undo_and_redo_can_be_pressed_when_there_is_something_to_undo(session):
    panel = Actions(session, STRINGS)
    assert panel.undo.disabled
    assert panel.redo.disabled
    session.can_undo = True
    assert not panel.undo.disabled
    panel.undo.click()
    session.can_redo = True
    panel.redo.click()
    assert session.called == [("undo",), ("redo",)]
    assert "Ctrl+Shift+Z" in panel.redo.tooltip


def test_the_dense_reference_is_offered_only_where_it_is_another(session):
    panel = Actions(session, STRINGS)
    assert "pe-shut" in panel.dense_again._dom_classes
    panel.set_reference.click()
    session.reference_is_dense = False
    assert "pe-shut" not in panel.dense_again._dom_classes
    panel.dense_again.click()
    assert session.called == [("set_reference",), ("set_reference", None)]
