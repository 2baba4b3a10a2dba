import pytest

from explorer.panels.kit import frame
from explorer.panels.kit.frame import Frame
from explorer.strings import Strings

STRINGS = Strings("en")


class Shown:
    """Keeps what was displayed and what it was updated to."""

    def __init__(self):
        self.texts = []

    def __call__(self, data, display_id):
        assert display_id
        self.update(data)
        return self

    def update(self, data):
        self.texts.append(data.data)


@pytest.fixture
def shown(monkeypatch):
    result = Shown()
    monkeypatch.setattr(frame, "display", result)
    monkeypatch.setattr(frame, "get_ipython", lambda: type("Shell", (), {"kernel": object()})())
    return result


def test_the_frame_names_the_network_and_the_stages_and_goes(shown):
    with Frame(STRINGS, "<resnet20>", 1.25) as started:
        assert "&lt;resnet20&gt;" in shown.texts[0]
        assert "--pe:1.25" in shown.texts[0]
        started.stage("frame_torch")
    assert "loading PyTorch…" in shown.texts[1]
    assert shown.texts[2:] == [""]


def test_an_error_takes_the_frame_away_and_goes_on(shown):
    with pytest.raises(ZeroDivisionError), Frame(STRINGS, "x", 1.0):
        raise ZeroDivisionError
    assert shown.texts[-1] == ""


def test_outside_a_notebook_there_is_no_frame(shown, monkeypatch):
    monkeypatch.setattr(frame, "get_ipython", lambda: None)
    with Frame(STRINGS, "x", 1.0) as started:
        started.stage("frame_torch")
    assert shown.texts == []
