"""Single images: all from the fewest MACs to the most, and two of them compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from html import escape
from typing import TYPE_CHECKING

from bokeh.events import Tap
from ipywidgets import HTML, HBox

from explorer.figures import instance_gallery, instance_pair
from explorer.figures.pictures import data_uri
from explorer.panels.instances.sight import HEIGHT, Seen, Sight
from explorer.panels.instances.work import Pictures

if TYPE_CHECKING:
    from explorer.figures.pictures import Pixels
    from explorer.figures.view import Columns
    from explorer.strings import Strings


class GallerySight(Sight):
    """Images from the fewest MACs to the most; `tap(image)` is called when one is tapped.

    The page that was drawn last stays until the pictures of another are there.
    """

    def __init__(
        self, strings: Strings, scale: float, tap: Callable[[int], None], changed: Callable[[], None]
    ) -> None:
        view = instance_gallery.build(scale)
        view.root.y_range.end = (
            instance_gallery.HEIGHT - instance_gallery.TITLE
        )  # the title stands below, beside the lists
        view.root.height = round(HEIGHT * scale)
        self._range = view.root.x_range
        self._tap = tap
        self._rows: tuple[int, ...] = ()
        self._images: tuple[int, ...] = ()
        self._drawn: tuple[tuple[Pixels, ...], int, str] = (
            (),
            0,
            "",
        )  # a page's pictures, columns, and their sheet
        view.root.on_event(Tap, self._tapped)
        super().__init__(view, strings, heard=[(self._range, "end")])
        self._range.on_change("end", lambda _name, _old, _new: changed())

    def _tapped(self, event: Tap) -> None:
        if event.x is None or event.y is None:
            return
        places = range(len(self._images))
        place = instance_gallery.row_at(event.x, event.y, self._across, places)
        if place is not None:
            self._tap(self._images[place])

    @property
    def _across(self) -> int:
        return instance_gallery.across(self._range.end)

    def pages(self, seen: Seen) -> int:
        size = instance_gallery.room(self._range.end)
        return 1 if seen.found is None else instance_gallery.pages(seen.found, size)

    def _tables(self, seen: Seen) -> Mapping[str, Columns]:
        found, say = seen.found, self._strings
        if found is None:
            return {}
        rows = self._page(seen)
        images = tuple(int(found.images[row]) for row in rows)
        pictures = seen.ask(Pictures(images))
        if pictures is not None:
            self._images = images
            if self._drawn[0] is not pictures or self._drawn[1] != self._across:
                self._drawn = pictures, self._across, instance_gallery.sheet(pictures, self._across)
        shown = [row for row in map(found.row, self._images) if row is not None]
        if not shown or len(shown) < len(self._images):
            return {}
        about = seen.names, seen.picked, self._range.end, self._drawn[2]
        return instance_gallery.columns(found, shown, *about, say)

    def sentences(self, seen: Seen) -> list[str]:
        return instance_gallery.describe(seen.found, self._page(seen), seen.names, seen.picked, self._strings)

    def _page(self, seen: Seen) -> list[int]:
        if seen.found is None:
            return []
        size = instance_gallery.room(self._range.end)
        number = seen.page % max(instance_gallery.pages(seen.found, size), 1)
        return [int(row) for row in instance_gallery.page(seen.found, size, number)]


class PairSight(Sight):
    """What the subnetworks of two images share, layer by layer, and the two images beside that."""

    def __init__(self, strings: Strings, scale: float) -> None:
        view = instance_pair.build(scale)
        view.root.height = round(HEIGHT * scale)
        super().__init__(view, strings)
        self.pictures = HTML().add_class("pe-instance-two")
        self.widgets = (HBox([self.document, self.pictures]).add_class("pe-instance-pair"),)

    def render(self, seen: Seen) -> None:
        super().render(seen)
        pictures = seen.ask(Pictures(seen.picked)) or ()
        names = [self._strings("images_image", image=image) for image in seen.picked]
        self.pictures.value = "".join(
            f'<img src="{data_uri(pixels)}" alt="{escape(name)}" title="{escape(name)}">'
            for pixels, name in zip(pictures, names, strict=False)
        )

    def _tables(self, seen: Seen) -> Mapping[str, Columns]:
        layer = "" if seen.site is None else seen.site.layer
        return instance_pair.columns(seen.found, seen.picked, self._strings, layer)

    def sentences(self, seen: Seen) -> list[str]:
        return instance_pair.describe(seen.found, seen.picked, self._strings)
