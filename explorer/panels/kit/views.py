"""The tabs beside the bars: one view at a time. A view is built when it is first opened, and idle while hidden."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

from ipywidgets import Box, ToggleButtons, VBox

from explorer.panels.kit.binding import Binding
from explorer.panels.kit.bokeh_document import BokehDocument
from explorer.panels.kit.words import shown
from explorer.strings import Strings

if TYPE_CHECKING:
    from explorer.session import Session


class Pane(Protocol):
    """What a view offers besides being a widget: its binding, and the documents that it draws."""

    binding: Binding
    documents: tuple[BokehDocument, ...]


class Views(VBox):
    """`builders` maps the tabs' names (keys `tab_...` of the strings) to what builds their panes."""

    def __init__(
        self, session: "Session", strings: Strings, builders: Mapping[str, Callable[[], Pane]]
    ) -> None:
        self._builders = builders
        self._panes: dict[str, Pane] = {}
        names = list(builders)
        self.tabs = ToggleButtons(
            options=[(strings(f"tab_{name}"), name) for name in names],
            value=names[0],
            tooltips=[strings(f"tab_{name}_help") for name in names],
        ).add_class("pe-tabs")
        self.holder = Box().add_class("pe-panes")
        super().__init__([self.holder, self.tabs])
        self.add_class("pe-views")
        self._open(names[0])
        Binding(session).gesture(self.tabs, "value", self._open)

    @property
    def documents(self) -> tuple[BokehDocument, ...]:
        """All documents that were drawn so far."""
        return tuple(document for pane in self._panes.values() for document in pane.documents)

    def _open(self, name: str) -> None:
        if name not in self._panes:
            pane = self._builders[name]()
            self._panes[name] = pane
            self.holder.children = (*self.holder.children, pane)
        for other, pane in self._panes.items():
            shown(pane, other == name)
            if pane.binding.active != (other == name):
                pane.binding.active = other == name
