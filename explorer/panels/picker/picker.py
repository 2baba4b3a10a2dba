"""The network's name at the beginning of the first line: a button that opens the choice of another one."""

from html import escape
from typing import TYPE_CHECKING

from ipywidgets import HTML, Button, VBox, Widget

from explorer.errors import ExplorerError
from explorer.panels.kit.bokeh_document import BokehDocument
from explorer.panels.kit.popover import Popover
from explorer.panels.kit.words import classed, shown
from explorer.panels.picker.changes import Changes
from explorer.panels.picker.choice import Choice
from explorer.panels.picker.found import Namespace, notebook_variables
from explorer.panels.picker.rows import ImagesRow, NetworkRow, WeightsRow
from explorer.strings import Strings

if TYPE_CHECKING:
    from explorer.zoo import Network


class Picker(Popover):
    """Chooses network, weights and images, and has `changes` load them; it stays when the network changes.

    While something is loaded, the stage stands beside the name, and the button that began it ends it.
    """

    children: tuple[Widget, ...]

    def __init__(self, strings: Strings, changes: Changes, variables: Namespace = notebook_variables) -> None:
        from explorer.zoo.networks import NETWORKS  # loads torch

        self._strings, self._changes = strings, changes
        self.network = NetworkRow(strings, tuple(NETWORKS), variables)
        self.weights = WeightsRow(strings)
        self.images = ImagesRow(strings, variables)
        self.load = Button(tooltip=strings("picker_load_help")).add_class("pe-primary")
        self.answer = HTML().add_class("pe-picker-answer")
        self.progress = HTML().add_class("pe-picker-stage")
        title = HTML("<h4>" + escape(strings("picker")) + "</h4>")
        foot = VBox([self.load, self.answer]).add_class("pe-picker-foot")
        rows = [self.network, self.weights, self.images]
        super().__init__("", strings("picker_help"), [title, *rows, foot])
        self.children = (*self.children, self.progress)
        self.add_class("pe-picker")
        self.load.on_click(lambda _button: self._press())
        for chosen in (self.network.kind, self.network.bundled):
            chosen.observe(lambda _change: self._network_changed(), "value")
        self.opener.observe(lambda change: self._refresh() if change["new"] else None, "value")
        changes.observe(lambda _change: self._render(), ["stage", "error"])
        self._render()

    @property
    def documents(self) -> tuple[BokehDocument, ...]:
        """What talks to the page about files."""
        return (*self.network.documents, *self.weights.documents)

    @property
    def opened(self) -> bool:
        """Whether a person sees the choice."""
        return self.opener.value

    def follow(self, choice: Choice, network: "Network") -> None:
        """Another network is shown: it is named, and the choice shows where it came from and what was adapted."""
        self.opener.description = network.name
        self.network.follow(choice)
        self.weights.offer_for(self.network.kind.value)
        self.weights.follow(choice)
        self.images.follow(choice)
        self._say("\n".join(network.notes))
        self.opener.value = False

    def choice(self) -> Choice:
        """What the rows say. Raises BadInput in words while something is missing."""
        source = self.network.source()
        return Choice(source, weights=self.weights.weights(), **self.images.given(source))

    def _refresh(self) -> None:
        """Look again for what the notebook has by now."""
        for row in (self.network, self.images):
            row.render()

    def _network_changed(self) -> None:
        """A bundled network comes with its own weights and images; others have no use for bundled images."""
        kind = self.network.kind.value
        self.weights.offer_for(kind)
        if kind == "bundled":
            self.weights.kind.value, self.images.kind.value = "default", "bundled"
        elif self.images.kind.value == "bundled":
            self.images.kind.value = "none"

    def _press(self) -> None:
        if self._changes.stage:
            self._changes.stop()
            self._say("")
            return
        try:
            choice = self.choice()
        except ExplorerError as error:
            self._say(str(error), "alert")
        else:
            self._say("")
            self._changes.start(choice)

    def _render(self) -> None:
        stage, strings = self._changes.stage, self._strings
        self.load.description = strings("picker_stop" if stage else "picker_load")
        classed(self.load, "pe-primary", not stage)
        shown(self.progress, bool(stage))
        words = escape(strings(stage)) if stage else ""
        self.progress.value = f'<div role="status" aria-live="polite" class="pe-line"><i></i>{words}</div>'
        if self._changes.error:
            self._say(self._changes.error, "alert")
        elif stage:
            self._say(strings(stage))

    def _say(self, sentence: str, role: str = "") -> None:
        """In the panel; what is being done is announced by the line beside the name, an error from here."""
        said = f' role="{role}"' if role else ""
        self.answer.value = f"<p{said}>{escape(sentence)}</p>" if sentence else ""
