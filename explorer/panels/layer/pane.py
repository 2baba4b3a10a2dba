"""The layer tab: the selected layer's width, the importance of its channels, what they answer, what comes after."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from bokeh.models import Column, Row, Spacer
from ipywidgets import HTML, BoundedIntText, Button, Dropdown, HBox, ToggleButton, VBox

from explorer.figures import importance, lens
from explorer.figures.importance import Importance
from explorer.figures.palette import theme_script
from explorer.figures.rows import main_group, words
from explorer.figures.view import update
from explorer.panels.kit.binding import Binding
from explorer.panels.kit.bokeh_document import BokehDocument
from explorer.panels.kit.page import keys_script
from explorer.panels.kit.summaries import section
from explorer.panels.kit.words import shown as visible
from explorer.panels.kit.words import tag
from explorer.panels.layer.drag import Gestures
from explorer.panels.layer.errors import ErrorCurve
from explorer.panels.layer.lower import Lower, choice_of
from explorer.strings import Strings
from explorer.values import ChannelGroup

if TYPE_CHECKING:
    from explorer.session import Session

TITLE, CAPTION, BELOW = 27.0, 21.0, 25.0  # pixels: lines of widgets above the charts
LENS_RIGHT = 282.0  # pixels: fields beside the lens


class LayerPane(VBox):
    """One layer: lens, importance or what its readers lose, and below them its channels or the next layer."""

    def __init__(self, session: "Session", strings: Strings, scale: float = 1.0) -> None:
        self._session, self._strings = session, strings
        self._names = [layer.name for layer in session.graph.layers]
        self._gesture: int | None = None  # the drag that the browser shows before we do
        self._staying: Mapping[str, str] | None = (
            None  # why groups cannot be removed whole, "" where they can
        )
        self._lens, self._importance = lens.build(scale), importance.build(scale)
        self.lower = Lower(session, strings, self._told, scale)
        self.errors = ErrorCurve(session, strings, self._told, scale)
        views = self._lens, self._importance, self.errors.view, self.lower.view
        self._drag = Gestures(*views, self._moved, self._hovered)
        figures = [view.root for view in views]
        root = _arranged(figures, scale)
        scripts = theme_script(root), keys_script(strings, figures)
        self.document = BokehDocument(root, scripts, self._drag.heard)
        self.documents = (self.document,)
        self._make_widgets()
        self.binding = binding = Binding(session)
        binding.render(self._render, "plan", "request", "scores", "selection", "layer", "reference_plan")
        binding.render(self._render_lower, "plan", "request", "layer", "current", "estimate")
        binding.render(self._summarise, "plan", "scores", "layer", "current", "estimate", "reference_plan")
        for widget, act in self._gestures():
            binding.gesture(widget, "value", act)
        self.removal.on_click(lambda _button: binding.act(self._remove_or_bring_back))
        title = HBox([self.layer, self.shape]).add_class("pe-layer-title")
        width = HBox([self.width, self.size, self.removal, self.pin, self.lock]).add_class("pe-layer-lens")
        caption = HBox([self.caption, self.chart]).add_class("pe-layer-caption")
        lower = self.lower.choice, self.lower.strip, self.lower.next
        super().__init__([self.document, title, width, self.reason, caption, *lower, self.summary])
        self.add_class("pe-layer-pane")

    def _make_widgets(self) -> None:
        say = self._strings
        options = [(name, place) for place, name in enumerate(self._names)]
        self.layer = Dropdown(options=options, tooltip=say("layer_choose_help")).add_class("pe-layer-name")
        self.shape = HTML().add_class("pe-layer-shape")
        self.width = BoundedIntText(min=1, max=1, tooltip=say("layer_width_help"))
        self.size = HTML().add_class("pe-layer-of")
        self.removal = Button().add_class("pe-layer-removal")
        self.pin = ToggleButton(description=say("layer_pin"), tooltip=say("layer_pin_help"))
        self.lock = ToggleButton(description=say("layer_lock"), tooltip=say("layer_lock_help"))
        self.reason = HTML().add_class("pe-layer-reason")
        self.caption = HTML().add_class("pe-layer-ranking")
        self.chart = choice_of(
            {
                "histogram": (say("layer_chart_histogram"), say("layer_chart_histogram_help")),
                "sorted": (say("layer_chart_sorted"), say("layer_chart_sorted_help")),
                "error": (say("layer_chart_error"), say("layer_chart_error_help")),
            }
        )
        self.summary = HTML().add_class("pe-hidden")

    def _gestures(self) -> tuple[tuple[Any, Callable[[Any], None]], ...]:
        session, lower = self._session, self.lower
        own = self.chart, lower.below, lower.channel, lower.image
        return (
            (self.layer, self._choose),
            (self.width, self._set_width),
            (self.pin, lambda on: session.pin(self._prunable.id, on)),
            (self.lock, lambda on: session.lock(self._prunable.id, on)),
            *((widget, lambda _value: self.binding.refresh()) for widget in own),
        )

    # ---- what the session says ---------------------------------------------------------------------------

    @property
    def _place(self) -> int:
        """The selected layer's number; the first one while none is selected."""
        return self._names.index(self._session.layer) if self._session.layer in self._names else 0

    @property
    def _group(self) -> ChannelGroup | None:
        graph = self._session.graph
        return main_group(graph, graph.layers[self._place])

    @property
    def _shows_errors(self) -> bool:
        """Whether what the next layers lose stands in the place of the importance."""
        return bool(self.chart.value == "error")

    @property
    def _prunable(self) -> ChannelGroup:
        """The selected layer's group, while there are widgets that change its width."""
        group = self._group
        assert group is not None
        return group

    def _choose(self, place: int) -> None:
        group = main_group(self._session.graph, self._session.graph.layers[place])
        self._session.select(group.id if group else "", self._names[place])

    def _render(self) -> None:
        session, say, group = self._session, self._strings, self._group
        layer = session.graph.layers[self._place]
        self.layer.value = self._place
        self.shape.value = tag("pe-soft", words(layer))
        prunable = group is not None and group.prunable
        size = group.size if prunable and group else 0
        width = session.plan.widths[group.id] if prunable and group else 0
        reference = session.reference_plan.widths[group.id] if prunable and group else 0
        self._render_width(group, size, width)
        shown, message = self._importance_of(group)
        with self.document.batch():
            tables = importance.columns(shown, say, message)
            self._importance.root.visible = not self._shows_errors
            self.errors.view.root.visible = self._shows_errors
            if self._shows_errors:
                self.errors.render(group)
            if self._gesture is None:
                update(self._lens, lens.columns(size, width, reference))
                update(self._importance, tables)
            else:  # the browser draws the rest of a drag itself, ahead of us
                update(self._importance, {"labels": tables["labels"]})
            row = {"group": group.id, "size": size, "snap": self._snaps(group)} if size and group else {}
            here = {name: [row[name]] if row else [] for name in self._drag.target.data}
            if self._drag.target.data != here:
                self._drag.target.data = here
        self.caption.value = self.errors.caption() if self._shows_errors else self._ranking(shown)

    def _render_width(self, group: ChannelGroup | None, size: int, width: int) -> None:
        request, say = self._session.request, self._strings
        for widget in (self.width, self.size, self.pin, self.lock):
            visible(widget, bool(size))
        visible(self.reason, not size)
        if not size or group is None:
            visible(self.removal, on=False)
            reason = group.reason if group else say("layer_no_group")
            self.reason.value = tag("pe-soft", say("layer_fixed", reason=reason), reason)
            return
        # Nobody steps from 1 to a removed block: that is the button's.
        self.width.min, self.width.max = 0, max(self.width.value, size)
        self.width.value = width
        self.width.step = self._snaps(group)  # the browser counts steps from the least width
        self.width.min, self.width.max = min(width, self.width.step), size
        self.width.disabled = not width
        by_hand = dict(request.widths).get(group.id)
        visible(self.removal, self._is_removable(group) and (width > 0 or by_hand == 0))
        self.removal.description = say("layer_remove" if width else "layer_bring_back")
        self.removal.tooltip = say("layer_remove_help" if width else "layer_bring_back_help")
        tied = len(group.layers)
        of = tag("", say("layer_of", size=size))
        moves = tag("pe-soft pe-tiny", say("layer_tied", count=tied), ", ".join(group.layers))
        self.size.value = f'<div class="pe-line">{of}{moves if tied > 1 else ""}</div>'
        self.pin.value = group.id in dict(request.widths)
        self.lock.value = group.id in request.locked

    def _set_width(self, width: int) -> None:
        self._session.drag({self._prunable.id: width})
        self.binding.refresh()  # what came of it may be the width that was there, and the field shows another

    def _snaps(self, group: ChannelGroup) -> int:
        """The units that the group's width goes in."""
        graph = self._session.graph
        return graph.steps(self._session.request.multiple)[graph.index[group.id]]

    def _is_removable(self, group: ChannelGroup) -> bool:
        if self._staying is None:
            from explorer.graph.checks import removable

            self._staying = removable(self._session.graph)
        return not self._staying[group.id]

    def _remove_or_bring_back(self) -> None:
        group = self._prunable
        self._session.drag({group.id: 0 if self._session.plan.widths[group.id] else group.size})

    def _importance_of(self, group: ChannelGroup | None) -> tuple[Importance | None, str]:
        """What the chart shows, or why it shows nothing."""
        scores, say = self._session.scores, self._strings
        if group is None or not group.prunable:
            return None, say("layer_all_stay")
        if scores is None or group.id not in scores.by_group:
            return None, say("layer_no_scores")
        layer, index = self._session.graph.layers[self._place], self._session.graph.index[group.id]
        own = np.flatnonzero(layer.out_units[:, 0] == index)[::-1]  # backwards: a unit's first channel stays
        channels = np.full(group.size, -1)
        channels[layer.out_units[own, 1]] = own
        keep = self._session.plan.keep[group.id]
        return Importance(scores.by_group[group.id], keep, self.chart.value, tuple(channels.tolist())), ""

    def _ranking(self, shown: Importance | None) -> str:
        """Which scores these are, their range in the tooltip."""
        scores, say = self._session.scores, self._strings
        if shown is None or scores is None:
            return tag("pe-soft", say("layer_importance_none"))
        label = say.named("criterion", scores.criterion, scores.criterion)
        low, high = importance.number(float(shown.scores.min())), importance.number(float(shown.scores.max()))
        key = "layer_range_log" if importance.is_logarithmic(shown.scores) else "layer_range"
        return tag(
            "pe-soft pe-cut-off", say("layer_importance", criterion=label), say(key, low=low, high=high)
        )

    # ---- what the browser and the worker say -------------------------------------------------------------

    def _moved(self, gesture: int, group: str, width: int, ended: bool) -> None:
        self.binding.act(self._drag_to, gesture, group, width, ended)

    def _drag_to(self, gesture: int, group: str, width: int, ended: bool) -> None:
        self._gesture = gesture
        try:
            if self._session.plan.widths[group] != width:
                self._session.drag({group: width})
        finally:
            if ended:
                self._gesture = None
                self._snap()

    def _snap(self) -> None:
        """Show what the session answered, also where our own copy of what the browser draws did not change."""
        self.binding.refresh()
        with self.document.batch():
            for source in self._drag.echoed:
                source.trigger("data", source.data, source.data)

    def _hovered(self, channel: int) -> None:
        self.lower.channel.value = channel

    def _told(self) -> None:
        if self.binding.active:
            self.binding.refresh()

    def _render_lower(self) -> None:
        self.lower.render(self.document, self._place)

    def _summarise(self) -> None:
        """The view in sentences for screen readers, who are not read every step of a slider."""
        if not self._session.current:
            return
        session, say, group = self._session, self._strings, self._group
        name = self._names[self._place]
        shown, message = self._importance_of(group)
        sentences = importance.describe(name, shown, say, message)
        if self._shows_errors:
            sentences += self.errors.sentences(group)
        if group is not None and group.prunable:
            now, before = (plan.widths[group.id] for plan in (session.plan, session.reference_plan))
            sentences = [*lens.describe(group.size, now, before, say), *sentences]
        sentences += self.lower.sentences(self._place)
        self.summary.value = section(say("layer_summary"), sentences)

    def close(self) -> None:
        """End the worker thread and remove the widgets."""
        for part in ("lower", "errors"):
            if part in vars(self):  # ipywidgets closes also what failed to be built
                vars(self)[part].close()
        super().close()


def _arranged(figures: list[Any], scale: float) -> Column:
    """Width, importance, errors and answers below one another, with room for the widgets that lie above them."""

    def space(height: float) -> Spacer:
        return Spacer(height=round(height * scale))

    width, scores, errors, answers = figures
    right = Spacer(width=round(LENS_RIGHT * scale), height=round(lens.HEIGHT * scale))
    middle = Row(children=[width, right], sizing_mode="stretch_width")
    lines = [space(TITLE), middle, space(CAPTION), scores, errors, space(BELOW), answers]
    return Column(children=lines, sizing_mode="stretch_width", name="layer")
