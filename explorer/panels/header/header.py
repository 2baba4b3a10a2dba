"""The first line: after the picker, which images and how channels are ranked; at its right end, actions."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ipywidgets import HTML, Button, Dropdown, HBox

from explorer.panels.header.export_menu import ExportMenu
from explorer.panels.header.final_check import FinalLook
from explorer.panels.kit.binding import Binding
from explorer.panels.kit.words import shown, tag
from explorer.panels.picker.changes import Changes
from explorer.strings import Strings

if TYPE_CHECKING:
    from explorer.session import Session


class Heading(HBox):
    """What one network is judged on and ranked by. `criteria` maps names to the words that people see."""

    def __init__(self, session: "Session", strings: Strings, criteria: Mapping[str, str]) -> None:
        self._session, self._strings = session, strings
        self.images = HTML(_images(session, strings)).add_class("pe-title")
        self.rank = Dropdown(
            options=[(label, name) for name, label in criteria.items()],
            description=strings("rank"),
            tooltip=strings("rank_help"),
            style={"description_width": "initial"},
        ).add_class("pe-rank")
        binding = Binding(session)
        binding.render(self._render, "request")
        binding.gesture(self.rank, "value", lambda name: session.propose(criterion=name))
        super().__init__([self.images, self.rank])
        self.add_class("pe-heading")

    def _render(self) -> None:
        from explorer.criteria import CRITERIA

        self.rank.value = chosen = self._session.request.criterion
        about = self._strings.named("criterion_about", chosen, CRITERIA[chosen].about)
        self.rank.tooltip = f"{self._strings('rank_help')}. {about}"


class Actions(HBox):
    """Undo, redo, the reference, the final check, export: last in the tab order, seen at the first line's end.

    Undo and redo that have nothing left in this network go on to the one before or after, of `changes`.
    """

    def __init__(self, session: "Session", strings: Strings, changes: Changes) -> None:
        self._session, self._changes = session, changes
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
        self.binding = binding = Binding(session)
        binding.render(self._render, "can_undo", "can_redo", "reference_is_dense", "request")
        self.undo.on_click(lambda _button: binding.act(self._undo))
        self.redo.on_click(lambda _button: binding.act(self._redo))
        self.set_reference.on_click(lambda _button: binding.act(session.set_reference))
        self.dense_again.on_click(lambda _button: binding.act(session.set_reference, None))
        super().__init__(
            [self.dense_again, self.undo, self.redo, self.set_reference, self.final, self.export]
        )
        self.add_class("pe-actions")

    def _undo(self) -> None:
        if self._session.can_undo:
            self._session.undo()
        else:
            self._changes.start("back")

    def _redo(self) -> None:
        if self._session.can_redo:
            self._session.redo()
        else:
            self._changes.start("forward")

    def _render(self) -> None:
        session, changes = self._session, self._changes
        self.undo.disabled = not (session.can_undo or changes.can_go_back)
        self.redo.disabled = not (session.can_redo or changes.can_go_forward)
        shown(self.dense_again, not session.reference_is_dense)


def _images(session: "Session", strings: Strings) -> str:
    """On which images; that the weights are random comes first. What loading adapted is in the tooltip."""
    network = session.network
    if network.data is None:
        words, more = strings("title_no_data"), (strings("title_no_data_help"), *network.notes)
    else:
        words, more = strings("title_data", data=network.data.name), network.notes
    if not network.trained:
        words = strings("title_untrained", images=words)
    return tag("pe-soft", words, "\n".join((words, *more)))
