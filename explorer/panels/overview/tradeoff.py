"""The trade-off tab: every state that was visited, what uniform and random cuts give, two states side by side."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from bokeh.events import Tap
from ipywidgets import HTML, Button, Dropdown, HBox, Text, ToggleButton, VBox

from explorer.figures import tradeoff, two_states
from explorer.figures.class_changes import signed
from explorer.figures.palette import theme_script
from explorer.figures.trade_axes import cost_share
from explorer.figures.view import update
from explorer.panels.kit.binding import Binding
from explorer.panels.kit.bokeh_document import BokehDocument
from explorer.panels.kit.page import keys_script
from explorer.panels.kit.summaries import section
from explorer.panels.kit.words import tag

if TYPE_CHECKING:
    from explorer.records import Visit
    from explorer.session import Session
    from explorer.strings import Strings

AXES = ("macs", "params", "latency")


class TradeoffPane(VBox):
    """Shows the session's visits; a tap or the list goes back to one, names it, or compares it with now."""

    def __init__(self, session: Session, strings: Strings, scale: float = 1.0) -> None:
        self._session, self._strings = session, strings
        self._chosen: int | None = None
        self._tradeoff, self._pairs = tradeoff.build(scale), two_states.build(scale)
        self.binding = binding = Binding(session)
        self._tradeoff.root.on_event(Tap, lambda event: binding.act(self._tap, event))
        self.chart, self.bars = (
            BokehDocument(view.root, (theme_script(view.root), keys_script(strings, [view.root])))
            for view in (self._tradeoff, self._pairs)
        )
        self.documents = (self.chart, self.bars)
        self._make_widgets()
        self.top = HBox([self.axis, self.progress, self.sweep]).add_class("pe-tradeoff-row")
        binding.render(
            self._render, "visits", "at", "reference", "reference_cost", "reference_is_dense", "bands"
        )
        binding.render(self._render_sweep, "sweeping", "bands", "scores")
        binding.gesture(self.axis, "value", lambda _x: self._render())
        binding.gesture(self.visit, "value", self._choose)
        binding.gesture(self.name, "value", self._rename)
        binding.gesture(self.compare, "value", lambda _on: self._render())
        self.sweep.on_click(lambda _button: binding.act(self._sweep))
        self.restore.on_click(lambda _button: binding.act(self._restore))
        bottom = HBox([self.visit, self.restore, self.name, self.compare]).add_class("pe-tradeoff-row")
        super().__init__([self.top, self.chart, self.verdict, self.bars, bottom, self.summary])
        self.add_class("pe-tradeoff")

    def _make_widgets(self) -> None:
        strings = self._strings
        self.axis = Dropdown(
            options=[(strings(f"tradeoff_x_{name}"), name) for name in AXES],
            tooltip=strings("tradeoff_x_help"),
        ).add_class("pe-tradeoff-axis")
        self.sweep = Button()
        self.progress = HTML().add_class("pe-tradeoff-progress")
        self.visit = Dropdown(
            description=strings("tradeoff_visit"), tooltip=strings("tradeoff_visit_help")
        ).add_class("pe-tradeoff-visit")
        self.restore = Button(
            description=strings("tradeoff_restore"), tooltip=strings("tradeoff_restore_help")
        )
        self.name = Text(
            placeholder=strings("tradeoff_name"),
            tooltip=strings("tradeoff_name_help"),
            continuous_update=False,
        ).add_class("pe-tradeoff-name")
        self.compare = ToggleButton(
            description=strings("tradeoff_compare"), tooltip=strings("tradeoff_compare_help")
        )
        self.verdict = HTML().add_class("pe-tradeoff-verdict")
        self.summary = HTML().add_class("pe-hidden")

    # ---- renders ----------------------------------------------------------------------------------------

    def _render(self) -> None:
        visits = {visit.number: visit for visit in self._session.visits}
        if self._chosen not in visits:
            self._chosen = next(iter(visits), None)
        chosen = visits.get(self._chosen) if self._chosen is not None else None
        now = visits.get(self._session.at) if self._session.at is not None else None
        self._render_choice(chosen)
        shown = self._shown()
        with self.chart.batch():
            update(self._tradeoff, tradeoff.columns(shown, self._strings, self._message(shown)))
        says = [(self._strings("tradeoff_summary"), tradeoff.describe(shown, self._strings))]
        comparing = bool(self.compare.value) and chosen is not None
        for widget in (self.chart, self.top):
            widget.layout.display = "none" if comparing else ""
        for widget in (self.verdict, self.bars):
            widget.layout.display = "" if comparing else "none"
        if comparing and chosen is not None:
            if chosen is now and now.parent is not None:
                chosen = visits[
                    now.parent
                ]  # with itself it need not be compared, but with where it came from
            rows = self._render_pair(chosen, now)
            title = self._strings("tradeoff_compare_summary")
            says.append((title, two_states.describe(rows, self._strings)))
        self.summary.value = "".join(section(title, sentences) for title, sentences in says)

    def _render_choice(self, chosen: Visit | None) -> None:
        """The list of visits and what can be done with the chosen one."""
        options = [(self._option(visit), visit.number) for visit in self._session.visits]
        options = options or [(self._strings("tradeoff_visit_none"), None)]
        if list(self.visit.options) != options:
            self.visit.options = options
        self.visit.value = chosen.number if chosen else None
        self.name.value = chosen.name if chosen else ""
        self.restore.disabled = chosen is None or chosen.number == self._session.at
        self.visit.disabled = self.name.disabled = self.compare.disabled = chosen is None

    def _render_pair(self, chosen: Visit, now: Visit | None) -> list[two_states.Difference]:
        """Both states' numbers and widths, or why there is nothing to compare; the widths that differ."""
        rows, message = [], ""
        if now is None:
            message = self._strings("tradeoff_compare_wait")
        elif now.number == chosen.number:
            message = self._strings("tradeoff_compare_itself")
        else:
            rows = two_states.differences(self._session.graph, chosen.plan, now.plan)
        self.verdict.value = self._verdict(chosen, now) if now is not None and not message else ""
        with self.bars.batch():
            update(self._pairs, two_states.columns(rows, self._strings, message))
        return rows

    def _render_sweep(self) -> None:
        session, strings = self._session, self._strings
        running = session.sweeping == "bands"
        self.sweep.description = strings("tradeoff_sweep_stop" if running else "tradeoff_sweep")
        self.sweep.tooltip = strings("tradeoff_sweep_help")
        self.sweep.disabled = session.network.data is None or session.scores is None
        self.progress.value = ""
        if running:
            from explorer.evaluate.sweeps import KEEPS, SEEDS  # loads torch, which runs by now

            planned = len(KEEPS) * (1 + len(SEEDS))
            progress = strings("tradeoff_sweep_progress", done=len(session.bands), of=planned)
            self.progress.value = tag("pe-soft", progress)

    def _shown(self) -> tradeoff.Shown:
        session = self._session
        return tradeoff.Shown(
            visits=session.visits,
            dense=session.dense_cost,
            x=self.axis.value,
            at=session.at,
            chosen=self._chosen,
            reference=session.reference,
            reference_cost=session.reference_cost,
            reference_is_dense=session.reference_is_dense,
            bands=session.bands,
        )

    def _message(self, shown: tradeoff.Shown) -> str:
        """What to do next, while there is little to see."""
        if self._session.network.data is None:
            return self._strings("tradeoff_no_data")
        if shown.x == "latency" and shown.visits and not shown.placed:
            return self._strings("tradeoff_no_latency")
        if len(shown.visits) > 1 or (shown.bands and shown.x != "latency"):
            return ""  # there is something to see, and it needs the room
        return self._strings("tradeoff_first" if shown.visits else "tradeoff_empty")

    def _option(self, visit: Visit) -> str:
        share = cost_share(visit.cost, self._session.dense_cost, "macs")
        return self._strings(
            "tradeoff_visit_option",
            name=tradeoff.title(visit, self._strings),
            accuracy=visit.estimate.digits(visit.estimate.value),
            share=f"{100 * share:.0f}",
        )

    def _verdict(self, chosen: Visit, now: Visit) -> str:
        """Both states' numbers, one under the other, and which of them is better."""
        strings = self._strings
        here = strings("tradeoff_row_now", name=tradeoff.title(now, strings))
        cells = [
            self._row("┄", strings("tradeoff_outlined"), tradeoff.title(chosen, strings), chosen),
            self._row("■", strings("tradeoff_solid"), here, now),
        ]
        return f"<table>{''.join(cells)}</table>{self._better(chosen, now)}"

    def _better(self, chosen: Visit, now: Visit) -> str:
        """Which is better: judged image by image, or, where that is forgotten, by the two intervals."""
        strings = self._strings
        outcomes = self._session.outcomes_of(chosen.number, now.number)
        if outcomes is not None:
            from explorer.observe.flips import flips

            found = flips(outcomes)
            low, high = found.interval
            key = "tradeoff_better" if low > 0 else "tradeoff_worse" if high < 0 else "tradeoff_not_apart"
            points, low_words, high_words = (signed(value) for value in (found.points, low, high))
            answer = strings(key, points=points, low=low_words, high=high_words)
            broken, mended = len(found.broken), len(found.mended)
            counts = strings(
                "tradeoff_flips", images=f"{found.images:,}", broken=f"{broken:,}", mended=f"{mended:,}"
            )
            return tag("pe-strong", answer) + "<br>" + tag("pe-soft", counts)
        key = "tradeoff_overlap"
        if chosen.estimate.low > now.estimate.high:
            key = "tradeoff_apart_other"
        elif now.estimate.low > chosen.estimate.high:
            key = "tradeoff_apart_now"
        return tag("pe-strong", strings(key))

    def _row(self, sign: str, form: str, name: str, visit: Visit) -> str:
        strings, dense, estimate = self._strings, self._session.dense_cost, visit.estimate
        texts = [name, strings("tradeoff_row_accuracy", **tradeoff.accuracy_values(estimate))]
        for kind in ("macs", "params"):
            percent = f"{100 * cost_share(visit.cost, dense, kind):.0f}"
            texts.append(strings(f"tradeoff_row_{kind}", percent=percent))
        texts.append(tradeoff.recovery_short(visit, strings))
        mark = f'<td><span role="img" aria-label="{escape(form)}" title="{escape(form)}">{sign}</span></td>'
        return f"<tr>{mark}{''.join(f'<td>{escape(text)}</td>' for text in texts)}</tr>"

    # ---- gestures ---------------------------------------------------------------------------------------

    def _tap(self, event: Tap) -> None:
        if event.x is None or event.y is None:
            return
        number = tradeoff.hit(self._shown(), event.x, event.y)
        if number is None:
            return
        self._choose(number)
        if number != self._session.at:
            self._session.restore(number)

    def _choose(self, number: int | None) -> None:
        self._chosen = number
        self.binding.refresh()

    def _rename(self, name: str) -> None:
        if self._chosen is not None:
            self._session.name_visit(self._chosen, name)

    def _restore(self) -> None:
        if self._chosen is not None:
            self._session.restore(self._chosen)

    def _sweep(self) -> None:
        self._session.sweep("" if self._session.sweeping == "bands" else "bands")
