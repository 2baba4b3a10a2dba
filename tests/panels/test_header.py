import pytest

from explorer.panels.header.header import Actions, Heading
from explorer.panels.picker.changes import Changes
from explorer.strings import Strings
from tests.panels.fake_session import FakeSession

STRINGS = Strings("en")
CRITERIA = {"taylor": "effect on the loss", "l1": "filter size"}


@pytest.fixture
def session():
    return FakeSession()


class OtherNetworks(Changes):
    """A network before this one and one after it; what is asked for is only noted."""

    can_go_back = can_go_forward = True

    def __init__(self):
        super().__init__(lambda *_arguments: None)
        self.started = []

    def start(self, move):
        self.started.append(move)


def actions(session, changes=None):
    return Actions(session, STRINGS, changes or Changes(lambda *_arguments: None))


def test_the_heading_names_the_images_and_proposes(session):
    panel = Heading(session, STRINGS, CRITERIA)
    assert ">on Fashion-MNIST<" in panel.images.value
    panel.rank.value = "l1"
    assert session.request.criterion == "l1"


def test_no_images_random_weights_and_what_was_adapted_are_said():
    session = FakeSession(data=False)
    assert ">no images<" in Heading(session, STRINGS, CRITERIA).images.value
    session.network.trained, session.network.notes = False, ("The <head> is new.",)
    said = Heading(session, STRINGS, CRITERIA).images.value
    assert ">untrained, no images<" in said
    assert "The &lt;head&gt; is new." in said


def test_a_fault_in_a_callback_reaches_the_error_in_words(session, monkeypatch, caplog):
    panel = Heading(session, STRINGS, CRITERIA)
    monkeypatch.setattr(session, "propose", lambda **_changes: 1 / 0)
    panel.rank.value = "l1"
    assert "ZeroDivisionError" in session.error
    assert panel.rank.value == "taylor"
    assert "ZeroDivisionError" in caplog.text


def test_undo_and_redo_can_be_pressed_when_there_is_something_to_undo(session):
    panel = actions(session)
    assert panel.undo.disabled
    assert panel.redo.disabled
    session.can_undo = True
    assert not panel.undo.disabled
    panel.undo.click()
    session.can_redo = True
    panel.redo.click()
    assert session.called == [("undo",), ("redo",)]
    assert "Ctrl+Shift+Z" in panel.redo.tooltip


def test_undo_and_redo_go_on_to_other_networks_when_this_one_has_nothing_left(session):
    networks = OtherNetworks()
    panel = actions(session, networks)
    assert not panel.undo.disabled
    assert not panel.redo.disabled
    panel.undo.click()
    panel.redo.click()
    assert networks.started == ["back", "forward"]
    session.can_undo = session.can_redo = True
    panel.undo.click()
    panel.redo.click()
    assert session.called == [("undo",), ("redo",)]
    assert networks.started == ["back", "forward"]


def test_the_dense_reference_is_offered_only_where_it_is_another(session):
    panel = actions(session)
    assert "pe-shut" in panel.dense_again._dom_classes
    panel.set_reference.click()
    session.reference_is_dense = False
    assert "pe-shut" not in panel.dense_again._dom_classes
    panel.dense_again.click()
    assert session.called == [("set_reference",), ("set_reference", None)]
