import contextlib
import json
import threading

import numpy as np
import pytest
from bokeh.models import ColumnDataSource, CustomJS
from bokeh.plotting import figure

from explorer.panels.kit.bokeh_document import BokehDocument


@pytest.fixture
def parts(monkeypatch):
    """(document, source, other source, patches()): each patch as the list of its events."""
    first, second = ColumnDataSource({"x": [1], "y": [1]}), ColumnDataSource({"x": [1], "y": [1]})
    chart = figure()
    chart.line("x", "y", source=first)
    chart.line("x", "y", source=second)
    document = BokehDocument(chart, (CustomJS(code="0"),), heard=[(first, "name")])
    sent = []
    monkeypatch.setattr(document, "send", lambda content, buffers=None: sent.append(content["payload"]))
    return document, first, second, lambda: [json.loads(text)["events"] for text in sent[::3]]


def from_browser(document, model, name, value):
    content = {
        "event": "jsevent",
        "kind": "ModelChanged",
        "model": {"id": model.id},
        "attr": name,
        "new": value,
    }
    document._sync_model(document, content, [])


def ready(document):
    data = {"type": "event", "name": "document_ready", "values": {"type": "map", "entries": []}}
    document._sync_model(
        document, {"event": "jsevent", "kind": "MessageSent", "msg_type": "bokeh_event", "msg_data": data}, []
    )


def test_a_batch_is_one_patch(parts):
    document, first, second, patches = parts
    with document.batch():
        first.data = {"x": [2], "y": [2]}
        with document.batch():
            second.data = {"x": [3], "y": [3]}
        assert patches() == []
    assert [len(events) for events in patches()] == [2]


def test_a_batch_ships_also_after_an_exception(parts):
    document, first, _second, patches = parts
    with contextlib.suppress(ZeroDivisionError), document.batch():
        first.data = {"x": [2], "y": [2]}
        1 / 0  # noqa: B018
    first.data = {"x": [3], "y": [3]}
    assert [len(events) for events in patches()] == [1, 1]


@pytest.mark.parametrize("missed", [1, 2, 3, 4])
def test_a_page_that_starts_to_listen_between_fragments_understands_all_later_patches(monkeypatch, missed):
    source = ColumnDataSource({"x": [0]})
    chart = figure()
    chart.scatter("x", "x", source=source)
    document = BokehDocument(chart)
    sent = []
    monkeypatch.setattr(document, "send", lambda content: sent.append(content["payload"]))
    for value in range(5):
        source.data = {"x": [value + 1]}
    heard = sent[missed:]
    # what Bokeh's receiver does: header, metadata, content, and again
    messages = list(zip(heard[0::3], heard[1::3], heard[2::3], strict=False))
    assert all(json.loads(header).get("num_buffers") is None for header, _metadata, _content in messages)
    values = [json.loads(content)["events"][0]["data"]["entries"][0][1] for *_others, content in messages]
    assert values == [[1], [2], [3], [4], [5]][5 - len(values) :]
    assert len(values) >= 3


def test_arrays_are_refused(parts):
    _document, first, _second, _patches = parts
    with pytest.raises(TypeError, match="lists"):
        first.data = {"x": np.array([1.0]), "y": np.array([1.0])}


def test_an_echo_of_the_browser_does_not_overwrite_newer_data(parts):
    document, first, _second, _patches = parts
    first.data = {"x": [2], "y": [2]}
    from_browser(document, first, "data", {"type": "map", "entries": [["x", [1]], ["y", [1]]]})
    assert first.data["x"] == [2]


def test_a_heard_property_calls_back_once_and_is_not_sent_back(parts):
    document, first, _second, patches = parts
    calls = []
    first.on_change("name", lambda _attr, _old, new: calls.append(new))
    from_browser(document, first, "name", "moved")
    assert calls == ["moved"]
    assert first.name == "moved"
    assert patches() == []


def test_a_page_gets_the_document_as_it_is_when_it_asks(parts):
    document, first, _second, _patches = parts
    first.data = {"x": [77], "y": [2]}
    assert "77" in str(document.get_state("render_bundle"))


def test_what_changed_while_a_page_was_drawing_is_sent_again_when_it_is_ready(parts):
    document, first, _second, patches = parts
    document.get_state("render_bundle")
    first.data = {"x": [2], "y": [2]}
    ready(document)
    lost, again = patches()
    assert [event["model"]["id"] for event in again] == [first.id]
    assert again[0]["new"] == lost[0]["data"]


def test_redisplay_sends_the_document_only_if_pages_have_an_older_one(parts, monkeypatch):
    document, first, _second, _patches = parts
    states = []
    monkeypatch.setattr(document, "send_state", states.append)
    document.redisplay()
    first.data = {"x": [2], "y": [2]}
    document.redisplay()
    assert states == ["render_bundle"]


def test_events_are_combined_while_the_kernel_is_busy(parts):
    assert parts[0].combine_events


def test_what_hears_of_the_browser_holds_no_lock_of_the_document(parts):
    document, first, _second, _patches = parts
    drawn = []

    def heard(_name, _old, _new):
        def draw():
            with document.batch():
                drawn.append(True)

        thread = threading.Thread(target=draw, daemon=True)
        thread.start()
        thread.join(20)

    first.on_change("name", heard)
    from_browser(document, first, "name", "moved")
    assert drawn, "another thread can draw while the browser's change is being answered"
