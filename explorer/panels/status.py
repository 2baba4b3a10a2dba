"""The last line: what is going on, in words; an error is marked by a sign and the word, not by colour alone."""

from ipywidgets import HTML

from explorer.panels.binding import Binding
from explorer.panels.strings import STRINGS
from explorer.panels.words import tag
from explorer.session import Session


class Status(HTML):
    """Shows the session's error, else its stage and status."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.add_class("pe-status")
        self._session = session
        Binding(session).render(self._render, "status", "error", "stage")

    def _render(self) -> None:
        session = self._session
        self.value = status_html(session.stage, session.status, session.error)


def status_html(stage: str, status: str, error: str) -> str:
    """One line, announced to screen readers."""
    if error:
        body = tag("pe-error", f"▲ {STRINGS['error']}:") + tag("pe-text", error, error)
        return f'<div role="alert" class="pe-line">{body}</div>'
    dot = (
        '<span class="pe-dot" aria-hidden="true"></span>'
        if stage == "ready"
        else '<span class="pe-dot pe-busy" aria-hidden="true"></span>'
    )
    texts = tag("pe-stage", stage) + tag("pe-text", status, status)
    return f'<div role="status" aria-live="polite" class="pe-line">{dot}{texts}</div>'
