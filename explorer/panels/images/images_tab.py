"""The images tab: what the cut breaks, and behind a switch the subnetwork that every image gets for itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ipywidgets import Box, HBox, ToggleButtons, VBox

from explorer.panels.images.pane import ImagesPane
from explorer.panels.instances.pane import InstancesPane
from explorer.panels.kit.binding import Switched
from explorer.panels.kit.closing import close_parts
from explorer.panels.kit.words import shown

if TYPE_CHECKING:
    from explorer.panels.kit.bokeh_document import BokehDocument
    from explorer.session import Session
    from explorer.strings import Strings

PARTS = ("broken", "instances")


class ImagesTab(VBox):
    """One of two panes. Each is built when it is first shown, and idle while it is hidden.

    What a pane offers as `aside` stands beside the switch while the pane is shown.
    """

    def __init__(self, session: Session, strings: Strings, scale: float = 1.0) -> None:
        self._builders: dict[str, Callable[[], ImagesPane | InstancesPane]] = {
            "broken": lambda: ImagesPane(session, strings, scale),
            "instances": lambda: InstancesPane(session, strings, scale),
        }
        self._panes: dict[str, ImagesPane | InstancesPane] = {}
        self.part = ToggleButtons(
            options=[(strings(f"instance_part_{name}"), name) for name in PARTS],
            tooltips=[strings(f"instance_part_{name}_help") for name in PARTS],
        ).add_class("pe-segments")
        self.aside = Box().add_class("pe-images-aside")
        self.holder = Box().add_class("pe-panes")
        super().__init__([HBox([self.part, self.aside]).add_class("pe-images-parts"), self.holder])
        self.add_class("pe-images-tab")
        self.binding = Switched(session, self.wake)
        self.turn_to(PARTS[0])
        self.binding.gesture(self.part, "value", self.turn_to)

    @property
    def documents(self) -> tuple[BokehDocument, ...]:
        """Those that were drawn so far."""
        return tuple(document for pane in self._panes.values() for document in pane.documents)

    @property
    def panes(self) -> dict[str, ImagesPane | InstancesPane]:
        """Those that were opened so far, by the part's name."""
        return dict(self._panes)

    def turn_to(self, name: str) -> None:
        """Show one part."""
        if name not in self._panes:
            self._panes[name] = pane = self._builders[name]()
            self.holder.children = (*self.holder.children, pane)
        for other, pane in self._panes.items():
            shown(pane, other == name)
        aside = getattr(self._panes[name], "aside", None)
        self.aside.children = () if aside is None else (aside,)
        self.wake()

    def wake(self) -> None:
        """Let the pane that is seen follow the session, and no other."""
        for name, pane in self._panes.items():
            active = self.binding.active and name == self.part.value
            if pane.binding.active != active:
                pane.binding.active = active

    def close(self) -> None:
        """Close what stands in this tab only while its pane is shown."""
        for pane in vars(self).get("_panes", {}).values():  # ipywidgets closes also what failed to be built
            aside = getattr(pane, "aside", None)
            if aside is not None:
                aside.close()
                close_parts(aside)
        super().close()
