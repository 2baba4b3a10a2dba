"""Views by name, of which only those that were seen are built."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from explorer.panels.kit.closing import close_parts

if TYPE_CHECKING:
    from ipywidgets import Widget

    from explorer.panels.kit.bokeh_document import BokehDocument


class Shows(Protocol):
    """A view: its figure's document, and the widgets that stand on the page for it."""

    document: BokehDocument

    @property
    def widgets(self) -> Sequence[Widget]: ...


S = TypeVar("S", bound=Shows)


class BuiltWhenSeen(Generic[S]):
    """Views by name, each built by `builders[name]()` when it is first asked for."""

    def __init__(self, builders: Mapping[str, Callable[[], S]]) -> None:
        self._builders = builders
        self._built: dict[str, S] = {}

    def __getitem__(self, name: str) -> S:
        if name not in self._built:
            self._built[name] = self._builders[name]()
        return self._built[name]

    @property
    def documents(self) -> tuple[BokehDocument, ...]:
        """Those that were built so far."""
        return tuple(sight.document for sight in self._built.values())

    def close(self) -> None:
        """Take all views from the page, also those that are not shown now."""
        for sight in self._built.values():
            for widget in sight.widgets:
                widget.close()
                close_parts(widget)
