"""The bars: every layer's width, to be read and dragged, with its scale, its folding and its sensitivity."""

from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING, Any

from bokeh.events import Tap
from ipywidgets import HTML, Dropdown, HBox, ToggleButton, VBox

from explorer.figures import bar_drawing, bar_words, width_bars
from explorer.figures.drag import make_draggable
from explorer.figures.folding import Block, Span
from explorer.figures.palette import theme_script
from explorer.figures.rows import Geometry, Layout
from explorer.figures.shown import Shown
from explorer.figures.view import Columns, update
from explorer.panels.kit.binding import Binding
from explorer.panels.kit.bokeh_document import BokehDocument
from explorer.panels.kit.page import keys_script, press_script, press_source
from explorer.panels.kit.summaries import section
from explorer.strings import Strings
from explorer.values import Bools

if TYPE_CHECKING:
    from explorer.session import Session

ECHOED = "rows", "bands", "folds", "handles"  # sources that the browser changes by itself during a drag
FOLDED: Span = (0, 0)
INDENT = "\u2003"


class Bars(VBox):
    """Width bars. A drag of an end sets widths, a tap selects a layer, a name opens and folds its block."""

    def __init__(self, session: "Session", strings: Strings, scale: float = 1.0) -> None:
        self._session = session
        self._strings = strings
        self._geometry = Geometry(session.graph)
        self._opened: Span | None = None
        self._percent: bool | None = None
        self._lost_hidden = False
        self._removable = _removable(session)
        self._layer = ""  # the selected layer at the last render
        self._layout = self._geometry.layout()
        self._drawn: tuple[object, ...] = ()
        self._asked = self._answered = 0
        self.binding = binding = Binding(session)
        self._view = bar_drawing.build(scale=scale)
        self.document = self._make_document(scale)
        self.documents = (self.document,)
        self.figure = self._view.root
        self.opened, self.hint = self._make_chooser()
        self.percent = ToggleButton(
            value=self._layout.percent,
            description=strings("bars_percent"),
            tooltip=strings("bars_percent_help"),
        )
        self.sensitivity = ToggleButton(disabled=session.network.data is None)
        self.summary = HTML().add_class("pe-hidden")
        binding.render(
            self._render,
            *("plan", "cost", "request", "reference_plan", "selection", "layer", "sensitivity", "sweeping"),
            *("picked", "instances"),
        )
        binding.render(self._render_sensitivity, "sensitivity", "sweeping")
        binding.render(
            self._summarise,
            *("plan", "current", "request", "reference_plan", "sensitivity", "layer", "picked", "instances"),
        )
        binding.gesture(self.opened, "value", lambda span: self._open(None if span == FOLDED else span))
        binding.gesture(self.percent, "value", self._scale)
        binding.gesture(self.sensitivity, "value", self._sweep)
        strip = HBox([self.opened, self.hint, self.percent, self.sensitivity]).add_class("pe-bars-strip")
        super().__init__([strip, self.document, self.summary])
        self.add_class("pe-bars")

    def _make_document(self, scale: float) -> BokehDocument:
        root, pressed = self._view.root, press_source()
        self._ask, self._answer = make_draggable(root, self._view, scale)
        root.js_on_change("inner_width", press_script(root, pressed))
        root.on_event(Tap, lambda event: self.binding.act(self._tap, event))
        self._ask.on_change("data", lambda _name, _old, new: self._hear(new))
        pressed.on_change("data", lambda _name, _old, new: self.binding.act(self._press, new["down"][0]))
        scripts = theme_script(root), keys_script(self._strings, [root])
        return BokehDocument(root, scripts, heard=[(self._ask, "data"), (pressed, "data")])

    def _make_chooser(self) -> tuple[Dropdown, HTML]:
        """The list of blocks for the keyboard, or, where nothing is ever folded, a hint in its place."""
        strings = self._strings
        blocks = [
            (INDENT * depth + self._named(block), block.span) for depth, block in self._layout.root.walk()
        ]
        opened = Dropdown(
            options=[(strings("bars_open_none"), FOLDED), *blocks],
            tooltip=strings("bars_open_help"),
            layout={"display": "" if self._layout.foldable else "none"},
        )
        hint = HTML(f'<span class="pe-soft">{escape(strings("bars_hint"))}</span>')
        hint.layout.display = "none" if self._layout.foldable else ""
        return opened.add_class("pe-bars-open"), hint.add_class("pe-bars-hint")

    def _named(self, block: Block) -> str:
        """The block's name, and of how many it was put together."""
        if not block.several:
            return block.name
        return self._strings("bars_open_blocks", name=block.name, blocks=block.several)

    def _shown(self) -> Shown:
        session = self._session
        return Shown(
            plan=session.plan,
            reference=session.reference_plan,
            selection=session.selection,
            layer=session.layer,
            pinned=tuple(name for name, _width in session.request.widths),
            locked=session.request.locked,
            macs=session.cost.layer_macs,
            dense_macs=session.dense_cost.layer_macs,
            lost={} if self._lost_hidden else session.sensitivity or {},
            removable=self._removable,
            snaps=dict(zip(session.graph.index, session.graph.steps(session.request.multiple), strict=True)),
            instances=self._picked_masks(),
        )

    def _picked_masks(self) -> Mapping[str, tuple[Bools, ...]]:
        """What the picked images keep of every layer that has a choice; {} if there are none."""
        found, images = self._session.instances, self._session.picked
        if found is None or not images:
            return {}
        rows = [row for row in map(found.row, images) if row is not None]
        kept = [found.kept(row) for row in rows]
        return {name: tuple(each[name] for each in kept) for name in kept[0]} if kept else {}

    def _render(self) -> None:
        self._follow(self._session.layer)
        shown = self._shown()
        state = shown, self._layout, self._session.sweeping, self._session.picked, self._session.instances
        if state == self._drawn and self._answered == self._asked:
            return
        self._drawn = state
        tables = width_bars.columns(self._layout, shown, self._strings)
        with self.document.batch():
            self._reply(tables)
            update(self._view, tables)
        self.opened.value = self._opened_block()
        self.percent.value = self._layout.percent

    def _summarise(self) -> None:
        """The bars in sentences for screen readers, who are not read every step of a slider."""
        if self._session.current:
            sentences = bar_words.describe(self._layout, self._shown(), self._strings)
            self.summary.value = section(self._strings("bars_summary"), sentences)

    def _reply(self, tables: Mapping[str, Columns]) -> None:
        """Answer the last drag. What the browser drew in advance is sent again even where nothing changed here."""
        if self._answered == self._asked:
            return
        self._answered = self._asked
        self._answer.data = {"number": [self._answered]}
        for name in ECHOED:
            source = self._view.sources[name]
            if source.data == tables[name]:
                source.trigger("data", source.data, source.data)

    def _render_sensitivity(self) -> None:
        running = self._session.sweeping == "sensitivity"
        shown = bool(self._session.sensitivity) and not self._lost_hidden
        self.sensitivity.value = running or shown
        self.sensitivity.description = self._strings(
            "bars_sensitivity_stop" if running else "bars_sensitivity"
        )
        tooltip = "bars_sensitivity_hide_help" if shown else "bars_sensitivity_help"
        self.sensitivity.tooltip = self._strings("bars_sensitivity_stop_help" if running else tooltip)

    def _follow(self, layer: str) -> None:
        """A layer that was selected elsewhere is shown: its block is opened."""
        if layer == self._layer:
            return
        self._layer = layer
        place = self._layout.places.get(layer)
        if place is not None and all(row.place != place for row in self._layout.rows):
            self._opened = place, place + 1
            self._layout = self._lay_out()

    def _lay_out(self) -> Layout:
        return self._geometry.layout(self._opened, self._percent)

    def _opened_block(self) -> Span:
        """Which block the list names: the one whose layers are seen, else the one whose blocks are."""
        if not self._layout.foldable:
            return FOLDED
        opened = [s.block.span for s in self._layout.sections if s.opened and s.block.blocks]
        known = {span for _name, span in self.opened.options}
        candidates = [*opened, self._opened or FOLDED]
        return next((span for span in candidates if span in known), FOLDED)

    def _open(self, span: Span | None) -> None:
        self._opened = span
        self._layout = self._lay_out()
        self.binding.refresh()

    def _scale(self, percent: bool) -> None:
        self._percent = percent
        self._layout = self._lay_out()
        self.binding.refresh()

    def _tap(self, event: Tap) -> None:
        if event.x is None or event.y is None:
            return
        section = self._layout.section_at(event.y)
        row = self._layout.row_at(event.y)
        if section is not None and section.folded:
            self._open(section.block.span)
        elif section is not None and event.x < 0 and section.block.blocks and self._layout.foldable:
            parent = self._layout.root.around(section.block.span)
            self._open(parent.span if parent else None)
        elif row is not None:
            self._session.select(row.group, row.name)

    def _hear(self, asked: Mapping[str, list[Any]]) -> None:
        """The browser asks for widths: a drag. What is dragged is selected first, so that its view follows."""
        layer, groups = asked["layer"][0], asked["groups"][0]
        if layer and layer != self._session.layer:
            self.binding.act(self._session.select, groups[0], layer)
        self._asked = asked["number"][0]
        self.binding.act(self._drag, dict(zip(groups, asked["widths"][0], strict=True)))

    def _drag(self, widths: dict[str, int]) -> None:
        try:
            self._session.drag(widths)
        finally:
            if self._answered != self._asked:
                self.binding.refresh()

    def _press(self, down: bool) -> None:
        if down:
            self._session.press()
        else:
            self._session.release()

    def _sweep(self, on: bool) -> None:
        """Show the column of sensitivity, measured if it is not yet whole; or stop measuring, and hide it."""
        session = self._session
        self._lost_hidden = not on
        try:
            if session.sweeping == "sensitivity":
                session.sweep("")
            elif on and len(session.sensitivity or {}) < len(session.graph.prunable):
                session.sweep("sensitivity")
        finally:
            self.binding.refresh()


def _removable(session: "Session") -> frozenset[str]:
    """The groups that may go whole; of a graph they stay the same."""
    from explorer.graph.checks import removable  # loads torch, which a session has loaded

    return frozenset(group for group, reason in removable(session.graph).items() if not reason)
