"""The coverage tab: what can be pruned, layer by layer, why the rest cannot, and how small the network can get."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from bokeh.events import Tap
from ipywidgets import HTML, Dropdown, HBox, VBox

from explorer.figures import coverage as coverage_map
from explorer.figures.palette import theme_script
from explorer.figures.view import update
from explorer.panels.kit.binding import Binding
from explorer.panels.kit.bokeh_document import BokehDocument
from explorer.panels.kit.page import keys_script
from explorer.panels.kit.summaries import section
from explorer.panels.kit.words import tag

if TYPE_CHECKING:
    from explorer.records import Hindrance
    from explorer.session import Session
    from explorer.strings import Strings

INSIDE = 293.0  # pixels: height of the pane within its padding
TEXT = 54.0  # three lines
CAUSE = 24.0  # one row with the space below it
CAUSES = 5  # rows


class CoveragePane(VBox):
    """A map of all layers with the causes below it. A tap on a box, or a cause's list, selects a layer."""

    def __init__(self, session: Session, strings: Strings, scale: float = 1.0) -> None:
        from explorer.coverage import coverage  # loads torch, which a session has loaded

        self._session, self._strings = session, strings
        self._found = coverage(session.graph)
        self.causes = self._make_causes()
        height = INSIDE - TEXT - CAUSE * len(self.causes) - 8.0
        self._lines = coverage_map.lay_out(self._found.layers, height)
        self._view = coverage_map.build(height, scale)
        self.binding = binding = Binding(session)
        self._view.root.on_event(Tap, lambda event: binding.act(self._tap, event))
        scripts = theme_script(self._view.root), keys_script(strings, [self._view.root])
        self.map = BokehDocument(self._view.root, scripts)
        self.documents = (self.map,)
        for row in self.causes:
            for chooser in row.children[1:]:
                binding.gesture(chooser, "value", self._choose)
        binding.render(self._render, "layer")
        sentences = coverage_map.describe(self._lines, self._found, strings)
        self.summary = HTML(section(strings("coverage_summary"), sentences)).add_class("pe-hidden")
        below = VBox(self.causes).add_class("pe-coverage-causes")
        super().__init__([self._make_text(), self.map, below, self.summary])
        self.add_class("pe-coverage")

    def _make_text(self) -> HTML:
        """How much, how small, and what the boxes mean."""
        say, found = self._strings, self._found
        about = "coverage_least_removed_help" if found.removed else "coverage_least_help"
        lines = (
            tag("pe-strong", coverage_map.share_words(found, say), say("coverage_share_help")),
            tag("", coverage_map.least_words(found, say), say(about, count=len(found.removed))),
            tag("pe-soft", say("coverage_key"))
            + self._key("solid", "prunable")
            + self._key("stays", "stays"),
        )
        return HTML("".join(f"<p>{line}</p>" for line in lines))

    def _key(self, form: str, word: str) -> str:
        return f'<span class="pe-coverage-key pe-{form}"></span>' + tag(
            "pe-soft", self._strings(f"coverage_key_{word}")
        )

    def _make_causes(self) -> list[HBox]:
        """A row for every cause; those that have no room share the last one."""
        say, found = self._strings, self._found
        fixed = coverage_map.fixed_words(found, say)
        room = CAUSES - bool(fixed)
        causes = found.hindrances
        rows = [self._cause(each.words(say), [each]) for each in causes]
        if len(rows) > room:
            words = say("coverage_more", count=len(causes) - room + 1)
            rows = [*rows[: room - 1], self._cause(words, causes[room - 1 :])]
        if fixed:
            rows.append(HBox([HTML(f"<p>{tag('', fixed, fixed)}</p>")]).add_class("pe-coverage-cause"))
        return rows

    def _cause(self, words: str, held: tuple[Hindrance, ...] | list[Hindrance]) -> HBox:
        names = [name for each in held for name in each.layers]
        chooser = Dropdown(
            options=[
                (self._strings("coverage_layers", count=f"{len(names):,}"), ""),
                *((n, n) for n in names),
            ],
            tooltip=self._strings("coverage_choose_help"),
        )
        reasons = "; ".join(each.words(self._strings) for each in held)
        text = HTML(f'<p title="{escape(reasons)}">{escape(words)}</p>')
        return HBox([text, chooser]).add_class("pe-coverage-cause")

    def _render(self) -> None:
        layer = self._session.layer
        tables = coverage_map.columns(self._lines, self._found, layer, self._strings)
        with self.map.batch():
            update(self._view, tables)
        for row in self.causes:
            for chooser in row.children[1:]:
                known = any(layer == name for _label, name in chooser.options)
                chooser.value = layer if known else ""

    def _tap(self, event: Tap) -> None:
        """Select the box's layer; of several, the one after the selected one."""
        if event.x is None or event.y is None:
            return
        box = coverage_map.box_at(self._lines, event.x, event.y)
        if box is None:
            return
        names = [self._found.layers[place].name for place in box.layers]
        at = names.index(self._session.layer) + 1 if self._session.layer in names else 0
        self._choose(names[at % len(names)])

    def _choose(self, name: str) -> None:
        layer = next((each for each in self._found.layers if each.name == name), None)
        if layer is not None:
            self._session.select(layer.group, layer.name)
