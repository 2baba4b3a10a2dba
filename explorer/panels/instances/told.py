"""What was measured beforehand: the effects of the loss's terms in recorded trainings, and what papers report."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from bokeh.events import Tap
from ipywidgets import HTML

from explorer.figures import instance_effects, instance_published
from explorer.panels.instances.sight import HEIGHT, Seen, Sight

if TYPE_CHECKING:
    from explorer.figures.view import Columns
    from explorer.instances import InstanceEvidence
    from explorer.strings import Strings


class EffectsSight(Sight):
    """What the terms of the loss do, by recorded trainings; a row that is tapped gets its verdict."""

    def __init__(self, strings: Strings, scale: float, changed: Callable[[], None]) -> None:
        view = instance_effects.build(scale)
        self._changed, self._chosen = changed, ""
        self._now: tuple[InstanceEvidence | None, str] = None, ""
        view.root.on_event(Tap, self._tapped)
        view.root.height = round(HEIGHT * scale)
        super().__init__(view, strings)

    def _tapped(self, event: Tap) -> None:
        if event.y is not None:
            name = instance_effects.name_at(*self._now, event.y) or ""
            self._chosen = "" if name == self._chosen else name
            self._changed()

    def missing(self, seen: Seen) -> str:
        return "" if instance_effects.pages(seen.evidence) else self._strings("instance_no_effects")

    def pages(self, seen: Seen) -> int:
        return len(instance_effects.pages(seen.evidence))

    def _tables(self, seen: Seen) -> Mapping[str, Columns]:
        self._now = seen.evidence, self._page(seen)
        return instance_effects.columns(*self._now, self._strings, self._chosen)

    def sentences(self, seen: Seen) -> list[str]:
        return instance_effects.describe(seen.evidence, self._page(seen), self._strings)

    @staticmethod
    def _page(seen: Seen) -> str:
        pages = instance_effects.pages(seen.evidence)
        return pages[seen.page % len(pages)]


class PapersSight(Sight):
    """What was published: a page of dots, and below it all numbers."""

    def __init__(self, strings: Strings, scale: float) -> None:
        super().__init__(instance_published.build(scale), strings)
        self.widgets = (
            self.document,
            HTML(instance_published.table_html(strings)).add_class("pe-chain-papers"),
        )

    def missing(self, _seen: Seen) -> str:
        return ""

    def pages(self, _seen: Seen) -> int:
        return len(instance_published.PAGES)

    def _tables(self, seen: Seen) -> Mapping[str, Columns]:
        return instance_published.columns(self._page(seen), self._strings)

    def sentences(self, seen: Seen) -> list[str]:
        return instance_published.describe(self._page(seen), self._strings)

    @staticmethod
    def _page(seen: Seen) -> str:
        return instance_published.PAGES[seen.page % len(instance_published.PAGES)]
