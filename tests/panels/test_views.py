from ipywidgets import HTML

from explorer.panels.kit.binding import Binding
from explorer.panels.kit.views import Views
from explorer.strings import Strings
from tests.panels.fake_session import FakeSession

STRINGS = Strings("en")


class Pane(HTML):
    def __init__(self, session, document):
        super().__init__()
        self.binding, self.documents, self.seen = Binding(session), (document,), []
        self.binding.render(lambda: self.seen.append(session.error), "error")


def views(session, **more):
    builders = {name: lambda name=name: Pane(session, name) for name in ("layer", "images")}
    return Views(session, STRINGS, {**builders, **more})


def test_a_view_is_built_when_it_is_first_opened_and_only_then():
    panel = views(FakeSession())
    assert panel.documents == ("layer",)
    panel.tabs.value = "images"
    panel.tabs.value = "layer"
    panel.tabs.value = "images"
    assert panel.documents == ("layer", "images")
    assert [label for label, _name in panel.tabs.options] == ["Layer", "Images"]


def test_a_hidden_view_is_idle_and_catches_up_when_it_is_shown():
    session = FakeSession()
    panel = views(session)
    (layer,) = panel.holder.children
    panel.tabs.value = "images"
    assert "pe-shut" in layer._dom_classes
    session.error = "while hidden"
    assert layer.seen == [""]
    panel.tabs.value = "layer"
    assert layer.seen == ["", "while hidden"]
    assert ["pe-shut" in pane._dom_classes for pane in panel.holder.children] == [False, True]


def test_a_view_that_cannot_be_built_says_so_and_the_others_stay(caplog):
    session = FakeSession()
    panel = views(session, tradeoff=lambda: 1 / 0)
    panel.tabs.value = "tradeoff"
    assert "ZeroDivisionError" in session.error
    panel.tabs.value = "images"
    assert panel.documents == ("layer", "images")
