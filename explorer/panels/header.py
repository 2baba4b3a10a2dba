"""The first line: which network on which images and how channels are ranked; at its right end, actions."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ipywidgets import HTML, Button, Dropdown, HBox

from explorer.panels.binding import Binding
from explorer.panels.export_menu import ExportMenu
from explorer.panels.final_check import FinalLook
from explorer.panels.words import shown, tag
from explorer.strings import Strings

if TYPE_CHECKING:
    from explorer.session import Session


class Header(HBox):
    """`criteria` maps names to the words that people see."""

    def __init__(self, session: "Session", strings: Strings, criteria: Mapping[str, str]) -> None:
        self._session = session
        self.title = HTML(_title(session, strings)).add_class("pe-title")
        self.rank = Dropdown(
            options=[(label, name) for name, label in criteria.items()],
            description=strings("rank"),
            tooltip=strings("rank_help"),
            style={"description_width": "initial"},
        ).add_class("pe-rank")
        binding = Binding(session)
        binding.render(self._render, "request")
        binding.gesture(self.rank, "value", lambda name: session.propose(criterion=name))
        super().__init__([self.title, self.rank])
        self.add_class("pe-header")

    def _render(self) -> None:
        self.rank.value = self._session.request.criterion


class Actions(HBox):
    """Undo, redo, the reference, the final check, export: last in the tab order, seen at the first line's end."""

    def __init__(self, session: "Session", strings: Strings) -> None:
        self._session = session
        self.undo = Button(description="↶", tooltip=strings("undo_help")).add_class("pe-undo")
        self.redo = Button(description="↷", tooltip=strings("redo_help")).add_class("pe-redo")
        self.set_reference = Button(
            description=strings("reference_set"), tooltip=strings("reference_set_help")
        ).add_class("pe-set-reference")
        self.dense_again = Button(
            description=strings("reference_dense"), tooltip=strings("reference_dense_help")
        ).add_class("pe-dense-again")
        self.final = FinalLook(session, strings)
        self.export = ExportMenu(session, strings)
        binding = Binding(session)
        binding.render(self._render, "can_undo", "can_redo", "reference_is_dense")
        self.undo.on_click(lambda _button: binding.act(session.undo))
        self.redo.on_click(lambda _button: binding.act(session.redo))
        self.set_reference.on_click(lambda _button: binding.act(session.set_reference))
        self.dense_again.on_click(lambda _button: binding.act(session.set_reference, None))
        super().__init__(
            [self.dense_again, self.undo, self.redo, self.set_reference, self.final, self.export]
        )
        self.add_class("pe-actions")

    def _render(self) -> None:
        session = self._session
        self.undo.disabled = not session.can_undo
        self.redo.disabled = not session.can_redo
        shown(self.dense_again, not session.reference_is_dense)


def _title(session: "Session", strings: Strings) -> str:
    data = session.network.data
    words = strings("title_data", data=data.name) if data else strings("title_no_data")
    return tag("pe-name", session.network.name) + tag("pe-soft", words, words)
