"""The picked images as lists on the last line of the instances pane, so that keys can pick too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from ipywidgets import Button, Dropdown, HBox

from explorer.panels.instances.words import option_words
from explorer.panels.kit.words import classed, shown

if TYPE_CHECKING:
    from explorer.instances import Instances
    from explorer.panels.kit.binding import Binding
    from explorer.strings import Strings

NONE = -1  # in a list: no image (of the value None a Dropdown shows no text)
LISTED = (
    40  # images in a list, evenly spread from easy to hard: all would be sent at every step of the slider
)


class PickFields(HBox):
    """Lists of images from the fewest MACs to the most. `pick(*images)` is called with none, one or two of them."""

    def __init__(self, strings: Strings, binding: Binding, pick: Callable[..., None]) -> None:
        self._strings, self._pick = strings, pick
        self.first, self.second = (
            Dropdown(tooltip=strings(f"instance_pick_{name}_help")) for name in ("first", "second")
        )
        self.clear = Button(description="×", tooltip=strings("instance_clear_help"))
        self.clear.add_class("pe-instance-clear")
        super().__init__([self.first, self.second, self.clear])
        self.add_class("pe-instance-picks")
        binding.gesture(self.first, "value", lambda _image: self._told())
        binding.gesture(self.second, "value", lambda _image: self._told())
        self.clear.on_click(lambda _button: binding.act(pick))

    def render(self, found: Instances, picked: Sequence[int], names: Sequence[str]) -> None:
        """Offer some images of all costs, and those that are picked."""
        listed = listed_rows(found, picked)
        options = [(option_words(self._strings, found, row, names), int(found.images[row])) for row in listed]
        now = [*picked, NONE, NONE][:2]
        for place, (name, widget) in enumerate((("first", self.first), ("second", self.second))):
            offered = [(self._strings(f"instance_pick_{name}"), NONE), *options]
            if list(widget.options) != offered:
                widget.options = offered
            widget.value = now[place] if now[place] in {image for _text, image in offered} else NONE
        shown(self.second, bool(picked))
        classed(self.second, "pe-instance-none", len(picked) < 2)
        shown(self.clear, bool(picked))

    def _told(self) -> None:
        chosen = [int(image) for image in (self.first.value, self.second.value) if image not in (NONE, None)]
        self._pick(*dict.fromkeys(chosen))


def listed_rows(found: Instances, picked: Sequence[int]) -> list[int]:
    """Rows from the fewest MACs to the most: `LISTED` evenly spread ones, and those of picked images."""
    places = np.unique(np.linspace(0, len(found) - 1, min(LISTED, len(found))).round().astype(int))
    rows = set(found.order[places].tolist())
    rows |= {row for row in map(found.row, picked) if row is not None}
    return [int(row) for row in found.order if int(row) in rows]
