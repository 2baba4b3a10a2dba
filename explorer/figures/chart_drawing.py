"""Draws charts with Bokeh: one figure with Bokeh's own axes, whose marks are replaced as the chart changes."""

import math
from collections.abc import Iterable
from typing import Any

from bokeh.models import ColumnDataSource, FixedTicker, HoverTool, Range1d
from bokeh.plotting import figure

from explorer.charts.marks import ROLES, Axis, Bars, Chart, Line, Points, Text
from explorer.figures.palette import paint
from explorer.values import next_step

FONT = "13px"
COLUMNS = {
    "bars": ("left", "right", "top", "says"),
    "lines": ("xs", "ys", "width", "says"),
    "points": ("x", "y", "size", "says"),
    "texts": ("x", "y", "text", "align"),
}


class Drawing:
    """A figure that shows one chart after another. `root` is the figure, `sources` by kind of mark and role."""

    def __init__(self, name: str, height: float, scale: float = 1.0) -> None:
        self.root = figure(
            name=name,
            height=round(height * scale),
            sizing_mode="stretch_width",
            x_range=Range1d(0, 1),
            y_range=Range1d(0, 1),
            toolbar_location=None,
            tools="",
            min_border=4,
            outline_line_color=None,
            background_fill_color=None,
            border_fill_color=None,
        )
        self.root.grid.visible = False
        for axis in self.root.axis:
            size = f"{round(13 * scale)}px"
            axis.major_label_text_font_size = axis.axis_label_text_font_size = size
            axis.axis_label_text_font_style = "normal"
            axis.axis_label_standoff = axis.major_label_standoff = 4
            axis.minor_tick_line_color = None
            axis.ticker = FixedTicker(ticks=[])  # stays: a page that drew earlier would not know another one
            paint(axis, axis_line_color="line", major_tick_line_color="line")
            paint(axis, major_label_text_color="soft", axis_label_text_color="soft")
        self.sources = {
            (kind, role): ColumnDataSource({column: [] for column in columns}, name=f"{name}-{kind}-{role}")
            for kind, columns in COLUMNS.items()
            for role in ROLES
        }
        hovered = [self._glyph(kind, role, scale) for kind in COLUMNS for role in ROLES]
        tip = HoverTool(
            tooltips="@says", renderers=[each for each in hovered if each is not None], line_policy="nearest"
        )
        self.root.add_tools(tip)

    def _glyph(self, kind: str, role: str, scale: float) -> Any:
        """Adds what draws one kind of mark in one colour; returns it if it speaks under the pointer."""
        source, root = self.sources[kind, role], self.root
        if kind == "lines":
            drawn = root.multi_line("xs", "ys", line_width="width", line_join="round", source=source)
            paint(drawn.glyph, line_color=role)
        elif kind == "bars":
            drawn = root.quad("left", "right", "top", 0, source=source, line_width=0.5)
            paint(drawn.glyph, fill_color=role, line_color="paper")
        elif kind == "points":
            drawn = root.scatter("x", "y", size="size", source=source)
            paint(drawn.glyph, fill_color=role, line_color="paper")
        else:
            size = f"{round(13 * scale)}px"
            drawn = root.text(
                "x",
                "y",
                "text",
                text_align="align",
                text_baseline="middle",
                text_font_size=size,
                source=source,
            )
            paint(drawn.glyph, text_color=role)
            return None
        return drawn

    def show(self, chart: Chart) -> None:
        """Replace the chart. To be called inside `batch` of the document that the figure is in."""
        ranges = self.root.x_range, self.root.y_range
        for axis, range_, asked in zip(self.root.axis, ranges, (chart.x, chart.y), strict=True):
            _set_axis(axis, range_, asked)
        rows: dict[tuple[str, str], list[tuple[Any, ...]]] = {place: [] for place in self.sources}
        for mark in chart.marks:
            kind, found = _rows(mark)
            rows[kind, mark.role] += found
        for (kind, role), source in self.sources.items():
            columns = list(zip(*rows[kind, role], strict=True)) or [()] * len(COLUMNS[kind])
            data = {name: list(values) for name, values in zip(COLUMNS[kind], columns, strict=True)}
            if source.data != data:
                source.data = data


def _set_axis(axis: Any, range_: Any, asked: Axis) -> None:
    ticks = _round_ticks(asked.low, asked.high) if asked.ticks is None else dict(asked.ticks)
    if (range_.start, range_.end) != (asked.low, asked.high):
        range_.update(start=asked.low, end=asked.high)
    if axis.axis_label != asked.label:
        axis.axis_label = asked.label
    if axis.major_label_overrides != ticks:
        axis.ticker.ticks = list(ticks)
        axis.major_label_overrides = ticks


def _round_ticks(low: float, high: float) -> dict[float, str]:
    """Up to about five round numbers between two."""
    step = next_step(max(high - low, 1e-9) / 5)
    first = math.ceil(low / step - 1e-9)
    places = [step * place for place in range(first, math.floor(high / step + 1e-9) + 1)]
    return {place: f"{place:g}" for place in places}


def _rows(mark: Line | Bars | Points | Text) -> tuple[str, list[tuple[Any, ...]]]:
    if isinstance(mark, Line):
        return "lines", [(_plain(mark.x), _plain(mark.y), mark.width, mark.says)]
    if isinstance(mark, Bars):
        said = list(mark.says) or [""] * len(mark.left)
        return "bars", list(zip(_plain(mark.left), _plain(mark.right), _plain(mark.top), said, strict=True))
    if isinstance(mark, Points):
        said = list(mark.says) or [""] * len(mark.x)
        sizes = [mark.size] * len(mark.x)
        return "points", list(zip(_plain(mark.x), _plain(mark.y), sizes, said, strict=True))
    return "texts", [(mark.x, mark.y, mark.text, mark.align)]


def _plain(values: Iterable[float]) -> list[float]:
    """Python's own numbers: lists go into the page in one message."""
    return [float(value) for value in values]
