"""The methods tab: which method, and its pane. Each pane is built when it is first shown, and idle while hidden."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ipywidgets import Box, Dropdown, VBox, Widget

from explorer.panels.chain.pane import ChainPane
from explorer.panels.kit.binding import Switched
from explorer.panels.kit.words import shown
from explorer.panels.methods.pane import MethodPane

if TYPE_CHECKING:
    from collections.abc import Callable

    from explorer.panels.kit.bokeh_document import BokehDocument
    from explorer.session import Session
    from explorer.strings import Strings

Pane = ChainPane | MethodPane


class MethodsTab(VBox):
    """One pane for every method. `open_trained(method)` explores the network that one trained in this one's place."""

    children: tuple[Widget, ...]

    def __init__(
        self, session: Session, strings: Strings, scale: float, open_trained: Callable[[str], None]
    ) -> None:
        from explorer.methods import METHODS  # loads torch, which a session has loaded

        self._session, self._strings, self._scale, self._open = session, strings, scale, open_trained
        self._panes: dict[str, Pane] = {}
        self.choice = Dropdown(
            options=[(method.label, name) for name, method in METHODS.items()],
            tooltip=strings("method_choice_help"),
        ).add_class("pe-method-choice")
        self._places: dict[str, Box] = {}  # where the choice stands in every pane
        super().__init__([])
        self.add_class("pe-methods-tab")
        self.binding = Switched(session, self.wake)
        self.turn_to(str(self.choice.value))
        self.binding.gesture(self.choice, "value", self.turn_to)

    @property
    def documents(self) -> tuple[BokehDocument, ...]:
        """Those that were drawn so far."""
        return tuple(document for pane in self._panes.values() for document in pane.documents)

    @property
    def panes(self) -> dict[str, Pane]:
        """Those that were opened so far, by method."""
        return dict(self._panes)

    def turn_to(self, name: str) -> None:
        """Show one method."""
        if self.choice.value != name:
            self.choice.value = name
        if name not in self._panes:
            self._places[name] = Box()
            self._panes[name] = self._made(name)
            self.children = (*self.children, self._panes[name])
        for other, pane in self._panes.items():
            shown(pane, other == name)
            self._places[other].children = (self.choice,) if other == name else ()
        self.wake()

    def _made(self, name: str) -> Pane:
        if name == "dmcp":  # its chains are dragged
            return ChainPane(
                self._session, self._strings, self._scale, lambda: self._open(name), self._places[name]
            )
        place = self._places[name]
        return MethodPane(self._session, self._strings, self._scale, name, place, lambda: self._open(name))

    def wake(self) -> None:
        """Let the pane that is seen follow the session, and no other."""
        for name, pane in self._panes.items():
            active = self.binding.active and name == self.choice.value
            if pane.binding.active != active:
                pane.binding.active = active
