"""One Bokeh document as an ipywidget: the only module that knows what jupyter_bokeh 4.1 gets wrong.

Covered here: every change was sent by itself and without a lock (`batch`); the browser sent every patch back
as a change of its own, which could overwrite newer data, and `on_change` callbacks ran twice (`heard`); a page
saw the document as it was at construction, also after a reload or a second display (`render_bundle`), missed
what changed before it had drawn (`_catch_up`) and, if it began to listen in the middle of a patch, understood
none that followed (`_ship`); events of the browser queued while the kernel was busy (`combine_events`); a second
close raised (`close`).
Relies on private names: the release is pinned.
"""

import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import bokeh
from bokeh.core.json_encoder import serialize_json
from bokeh.core.serialization import Deserializer, Serialized
from bokeh.document import Document
from bokeh.document.events import DocumentPatchedEvent
from bokeh.events import DocumentReady
from bokeh.model import Model
from bokeh.models import CustomJS, LayoutDOM
from bokeh.protocol import Protocol
from IPython.display import publish_display_data
from jupyter_bokeh import BokehModel
from traitlets import Dict

_SCRIPT = "application/javascript"  # run by every front end; Bokeh's own type is known to JupyterLab only


def publish_bokehjs() -> None:
    """Send BokehJS into the current cell's output, inline: no network access. A page that has it skips it."""
    path = Path(bokeh.__file__).parent / "server" / "static" / "js" / "bokeh.min.js"
    known = f"window.Bokeh?.version === {bokeh.__version__!r}"
    script = f"(function () {{ if ({known}) return\n{path.read_text('utf-8')}\n}}).call(window)"
    publish_display_data({_SCRIPT: script, "text/plain": ""})


class BokehDocument(BokehModel):
    """Shows one root. Change its models inside `with document.batch():` and the browser gets one patch.

    `ready` are scripts for the browser, run whenever a page has drawn the document. `heard` are the properties,
    as (model, name), that the browser may change; everything else is Python's to say. Register event callbacks
    on the models before they come here.
    """

    render_bundle = Dict().tag(
        sync=True, to_json=lambda _bundle, widget: serialize_json(widget.fresh_bundle())
    )

    def __init__(
        self,
        root: LayoutDOM,
        ready: tuple[CustomJS, ...] = (),
        heard: Collection[tuple[Model, str]] = (),
    ) -> None:
        self._heard = {(model.id, name) for model, name in heard}
        self._patch_lock = threading.RLock()
        self._held: list[DocumentPatchedEvent] | None = None
        self._changed_since_bundle: set[tuple[Model, str]] = set()
        document = Document()
        document.add_root(root)
        for script in ready:
            document.js_on_event(DocumentReady, script)
        document.on_event(DocumentReady, lambda _event: self._catch_up())
        super().__init__(root, combine_events=True)

    def when_ready(self, script: CustomJS) -> None:
        """One more script for whenever a page has drawn the document; to be called before it is displayed."""
        self._document.js_on_event(DocumentReady, script)
        self.send_state("render_bundle")  # what a page starts from was made at construction

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Hold the document's lock; ship all changes made inside as one patch. May be nested."""
        with self._patch_lock:
            if self._held is not None:
                yield
                return
            self._held = []
            try:
                yield
            finally:
                held, self._held = self._held, None
                if held:
                    self._ship(held)

    def redisplay(self) -> None:
        """Before another display: give pages the document as it is now, if theirs is older."""
        if self._changed_since_bundle:
            self.send_state("render_bundle")

    def close(self) -> None:
        """Leave the page; a second time nothing happens (jupyter_bokeh's own would raise, from its destructor)."""
        if self.comm is not None:
            super().close()

    def fresh_bundle(self) -> dict[str, Any]:
        """The whole document as a page needs it to start."""
        with self._patch_lock:
            self._changed_since_bundle.clear()
            return dict(self._model_to_traits(self._model))

    def _catch_up(self) -> None:
        """Send again what changed after the page's copy was made and before the page could hear patches."""
        with self.batch():
            for model, name in list(self._changed_since_bundle):
                value = getattr(model, name)
                model.trigger(name, value, value)

    def _ship(self, events: list[DocumentPatchedEvent]) -> None:
        """Send one patch, as three equal fragments where Bokeh's protocol has header, metadata and content.

        A page that starts to listen between two fragments would count from there and misread all that
        follows. Of three equal ones each third is the content, wherever the page began.
        """
        for event in events:
            if hasattr(event, "attr"):
                self._changed_since_bundle.add((event.model, event.attr))
        message = Protocol().create("PATCH-DOC", events)
        if message.buffers:
            raise TypeError("Columns of the dashboard's figures are lists; an array cannot be sent.")
        for _fragment in range(3):
            self.send({"msg": "patch", "payload": message.content_json})

    def _document_patched(self, event: DocumentPatchedEvent) -> None:
        if event.setter is self:
            return
        with self._patch_lock:
            if self._held is None:
                self._ship([event])
            else:
                self._held.append(event)

    def _sync_model(self, widget: BokehModel, content: dict[str, Any], buffers: list[Any]) -> None:
        if content.get("event") != "jsevent" or content.get("kind") != "ModelChanged":
            super()._sync_model(widget, content, buffers)
        elif (content["model"]["id"], content["attr"]) in self._heard:
            change = {key: value for key, value in content.items() if key != "event"}
            with self._patch_lock:
                known = Deserializer(list(self._document.models), setter=self)
                event = known.deserialize(Serialized(content=change, buffers=[]))
            # Without the lock: what hears of it asks the session, whose lock comes before ours everywhere else.
            event["model"].set_from_json(event["attr"], event["new"], setter=self)
