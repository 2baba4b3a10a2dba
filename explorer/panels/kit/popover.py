"""A button that opens a small surface beside it; the page's script closes it on Escape and on a click elsewhere."""

from collections.abc import Sequence

from ipywidgets import Box, ToggleButton, VBox, Widget


class Popover(Box):
    """`opener` is the button, `surface` what it opens; the surface holds `children`."""

    def __init__(self, label: str, help_text: str, children: Sequence[Widget]) -> None:
        self.opener = ToggleButton(description=label, tooltip=help_text).add_class("pe-opener")
        self.surface = VBox(list(children)).add_class("pe-popover").add_class("pe-shut")
        self.opener.observe(self._show, "value")
        super().__init__([self.opener, self.surface])
        self.add_class("pe-pop")

    def _show(self, change: dict[str, bool]) -> None:
        if change["new"]:
            self.surface.remove_class("pe-shut")
        else:
            self.surface.add_class("pe-shut")
