"""The figures, all in one Bokeh document, with the layer list beside them and their summaries for screen readers."""

from collections.abc import Mapping
from html import escape

from bokeh.events import Tap
from ipywidgets import HTML, Box, Dropdown, HBox, VBox

from explorer.figures import importance, width_bars
from explorer.figures.charts import side_by_side
from explorer.figures.palette import theme_script
from explorer.figures.rows import Row, layout
from explorer.figures.view import update
from explorer.panels.binding import Binding
from explorer.panels.bokeh_document import BokehDocument
from explorer.panels.page import keys_script
from explorer.panels.strings import STRINGS
from explorer.panels.words import tag
from explorer.session import Session
from explorer.values import Bools, Floats

ABOVE = 72.0  # pixels for the layer list above the histogram


class Charts(Box):
    """Width bars and the selected layer's histogram; a tap or the layer list selects."""

    def __init__(self, session: Session, criteria: Mapping[str, str], scale: float = 1.0) -> None:
        self._session = session
        self._criteria = criteria
        self._layout = layout(session.graph)
        self._bars = width_bars.build(self._layout.height, scale)
        self._importance = importance.build(scale)
        self._picked: Row | None = None  # what was tapped or listed last; the session knows its group alone
        self._binding = binding = Binding(session)
        self._bars.root.on_event(Tap, lambda event: binding.act(self._tap, event))
        root = side_by_side(self._bars, self._importance, ABOVE, scale)
        scripts = theme_script(root), keys_script([self._bars.root, self._importance.root])
        self.document = BokehDocument(root, scripts)
        rows = [(row.name, place) for place, row in enumerate(self._layout.rows) if row.group]
        self.layer = Dropdown(options=rows, description=STRINGS["layer"], tooltip=STRINGS["layer_help"])
        self.layer.add_class("pe-layer")
        self.details = HTML().add_class("pe-details")
        self.summary = HTML().add_class("pe-hidden")
        binding.render(self._render, "plan", "scores", "selection")
        binding.gesture(self.layer, "value", self._choose)
        chosen = VBox([HBox([self.layer]), self.details]).add_class("pe-chosen")
        super().__init__([self.document, chosen, self.summary])
        self.add_class("pe-charts")

    def _render(self) -> None:
        plan = self._session.plan
        row = self._selected()
        if row is not None:
            self.layer.value = self._layout.rows.index(row)
        scores, keep, message = self._histogram(row)
        with self.document.batch():
            update(self._bars, width_bars.columns(self._layout, plan, row.group if row else ""))
            update(self._importance, importance.columns(scores, keep, message))
        self.details.value = self._details(row)
        name = row.name if row else ""
        self.summary.value = _lists(
            (STRINGS["bars_summary"], width_bars.describe(self._layout, plan)),
            (STRINGS["importance_summary"], importance.describe(name, scores, keep, message)),
        )

    def _selected(self) -> Row | None:
        """The selected group's row: the one that was picked if it is of the group, else the group's first.

        Until somebody selects, the middle layer is shown: an empty panel would teach nothing.
        """
        rows = [row for row in self._layout.rows if row.group and row.group == self._session.selection]
        if not rows:
            own = [row for row in self._layout.rows if row.prunable and not row.thin]
            return own[len(own) // 2] if own else None
        return self._picked if self._picked in rows else rows[0]

    def _histogram(self, row: Row | None) -> tuple[Floats | None, Bools | None, str]:
        """Scores and kept units of the row's group, or why there are none to show."""
        scores = self._session.scores
        if row is None:
            return None, None, STRINGS["nothing_prunable"]
        if not row.prunable:
            return None, None, STRINGS["fixed"].format(reason=row.reason)
        if scores is None or row.group not in scores.by_group:
            return None, None, STRINGS["no_scores"]
        return scores.by_group[row.group], self._session.plan.keep[row.group], ""

    def _details(self, row: Row | None) -> str:
        session = self._session
        if row is None:
            return ""
        kept = STRINGS["kept_of"].format(kept=width_bars.kept(row, session.plan), size=row.size)
        soft = [row.words]
        if row.tied:
            soft.append(STRINGS["tied"].format(count=len(row.tied) + 1))
        first = tag("pe-strong", kept) + tag("pe-soft", " · ".join(soft))
        caption = ""
        if row.prunable and session.scores is not None:
            criterion = session.scores.criterion
            caption = STRINGS["importance"].format(criterion=self._criteria.get(criterion, criterion))
        return f'<div class="pe-line">{first}</div><div class="pe-line">{tag("pe-soft", caption)}</div>'

    def _choose(self, place: int | None) -> None:
        if place is not None:
            self._pick(self._layout.rows[place])

    def _tap(self, event: Tap) -> None:
        row = self._layout.row_at(event.y) if event.y is not None else None
        if row is not None and row.group:
            self._pick(row)

    def _pick(self, row: Row) -> None:
        self._picked, before = row, self._session.selection
        if row.group == before:
            self._binding.refresh()
        else:
            self._session.select(row.group)


def _lists(*summaries: tuple[str, list[str]]) -> str:
    return "".join(
        f"<h4>{escape(title)}</h4><ul>{''.join(f'<li>{escape(text)}</li>' for text in sentences)}</ul>"
        for title, sentences in summaries
    )
