"""The last line: what is going on, in words; an error is marked by a sign and the word, not by colour alone."""

from typing import TYPE_CHECKING

from ipywidgets import HTML, Button, HBox

from explorer.panels.kit.binding import Binding
from explorer.panels.kit.words import shown, tag
from explorer.panels.overview.training import TrainingStrip
from explorer.strings import Strings

if TYPE_CHECKING:
    from explorer.session import Session


class Status(HBox):
    """Shows the session's error, else its stage and status; frees pinned widths; at its end the training."""

    def __init__(self, session: "Session", strings: Strings, training: TrainingStrip) -> None:
        self._session, self._strings = session, strings
        self.line = HTML().add_class("pe-status-line")
        self.clear = Button(description=strings("clear_pins"), tooltip=strings("clear_pins_help"))
        self.clear.add_class("pe-clear-pins")
        super().__init__([self.line, self.clear, training])
        self.add_class("pe-status")
        binding = Binding(session)
        binding.render(self._render, "status", "error", "stage", "preparing", "request")
        self.clear.on_click(lambda _button: binding.act(session.clear_pins))

    def _render(self) -> None:
        session, strings = self._session, self._strings
        shown(self.clear, bool(session.request.widths))
        doing = session.preparing if session.stage.key == "stage_ready" else session.stage
        busy = "" if doing is None else strings.say(doing)
        self.line.value = status_html(strings, busy, strings.say(session.status), session.error)


def status_html(strings: Strings, busy: str, status: str, error: str) -> str:
    """One line, announced to screen readers; `busy` says what is being done, empty if nothing is."""
    if error:
        body = tag("pe-error", strings("error_mark")) + tag("pe-text", error, error)
        return f'<div role="alert" class="pe-line">{body}</div>'
    dot = f'<span class="pe-dot{" pe-busy" if busy else ""}" aria-hidden="true"></span>'
    texts = (tag("pe-stage", busy) if busy else "") + tag("pe-text", status, status)
    return f'<div role="status" aria-live="polite" class="pe-line">{dot}{texts}</div>'
