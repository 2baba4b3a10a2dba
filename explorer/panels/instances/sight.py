"""What every view of instance subnetworks has in common, and what it is given to show."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from explorer.figures.palette import theme_script
from explorer.figures.view import Columns, View, update
from explorer.panels.kit.bokeh_document import BokehDocument
from explorer.panels.kit.page import keys_script

if TYPE_CHECKING:
    from bokeh.model import Model
    from ipywidgets import Widget

    from explorer.instances import InstanceEvidence, Instances, Site
    from explorer.panels.instances.work import Job
    from explorer.strings import Strings

HEIGHT = 203  # pixels at scale 1 of what is drawn
Options = list[tuple[str, Any]]


@dataclass(frozen=True, eq=False)
class Seen:
    """What there is to be seen: what the images keep, None while it is not known, and `site`, the layer looked at.

    `names` are the classes'; `picked` none, one or two images (positions among the explore images). `ask` gives what
    came of a job of the worker, None while it is not done. `order` is the strip's, `channel` the one looked into, -1
    for none.
    """

    found: Instances | None
    site: Site | None
    names: tuple[str, ...]
    picked: tuple[int, ...]
    evidence: InstanceEvidence | None
    ask: Callable[[Job], Any]
    order: str = "class"
    channel: int = -1
    page: int = 0


class Sight(ABC):
    """One figure. `render` shows what there is; `sentences` say it."""

    def __init__(self, view: View, strings: Strings, heard: Sequence[tuple[Model, str]] = ()) -> None:
        self.view, self._strings = view, strings
        scripts = theme_script(view.root), keys_script(strings, [view.root])
        self.document = BokehDocument(view.root, scripts, heard)
        self.widgets: tuple[Widget, ...] = (self.document,)

    def pages(self, _seen: Seen) -> int:
        """How many pages there are to be turned."""
        return 1

    def options(self, _seen: Seen) -> Options:
        """What can be chosen beside the picked images, as (words, value)."""
        return []

    def missing(self, seen: Seen) -> str:
        """Why there is nothing to be seen; "" where there is."""
        return self._strings("instance_waiting") if seen.found is None else ""

    def render(self, seen: Seen) -> None:
        tables = self._tables(seen)
        with self.document.batch():
            update(self.view, tables)

    @abstractmethod
    def sentences(self, seen: Seen) -> list[str]:
        """The view in words, for screen readers."""

    @abstractmethod
    def _tables(self, seen: Seen) -> Mapping[str, Columns]:
        """The figure's columns; none where what is drawn stays until the worker is done."""
