"""All layers' Markov chains: a row for every channel group, as deep in colour as its channels are likely to be kept.

Rows go up from the bottom as in the bars; every row goes from the group's first channel to its last. A tick marks the
expected width. Where rows are many they get thinner, then every few are named; where they would be thinner than
`LOWEST_PITCH` they go on in a further column, and only the selected row is named, above.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from bokeh.models import ColumnDataSource, CustomJS, HoverTool, Range1d
from bokeh.plotting import figure

from explorer.chains import Chain
from explorer.figures.chain_words import numbers
from explorer.figures.names import shortened
from explorer.figures.palette import paint
from explorer.figures.text_lines import pixels_of
from explorer.figures.view import Columns, View, canvas, empty, sources
from explorer.strings import Strings

HEIGHT = 194.0
FOOT = 22.0  # the strip with the key, below the rows
PAD = 4.0  # above the rows
HEAD = 18.0  # the strip with the selected row's name, where rows have none
LINE = 13.0  # pixels that a line of text needs
LOWEST_PITCH = 4.0
HIGHEST_PITCH = 26.0
NAMES = 118.0  # pixels for the names
NAME_ROOM = 102.0
BESIDE = 8.0  # pixels from the rows' right end to the numbers
MARKER = 11.0  # pixels for the triangle beside the selected row
GUTTER = 0.05  # between columns, as a share of the width
MOST_CELLS = 24  # of a row; longer chains are drawn with means
KEY = (0.0, 0.25, 0.5, 0.75, 1.0)  # depths of the key's cells
KEY_CELL = 9.0
KEY_HIGH = 4.5


@dataclass(frozen=True, eq=False)
class Row:
    """A chain with the name of its layer."""

    name: str
    chain: Chain


@dataclass(frozen=True, eq=False)
class Shown:
    """What the map shows: rows, the first at the bottom; `selected` is a group, "" for none."""

    rows: tuple[Row, ...]
    selected: str = ""


@dataclass(frozen=True)
class _Box:
    """Where a row is: along x, 0 to 1 is the room of all columns; heights are pixels, `thick` the drawn part's."""

    left: float
    right: float
    bottom: float
    top: float
    thick: float

    @property
    def middle(self) -> float:
        return (self.bottom + self.top) / 2


def columns(
    shown: Shown | None, strings: Strings, message: str = "", height: float = HEIGHT
) -> dict[str, Columns]:
    """The tables of the view; without rows there is only the message. `height` is that of `build`."""
    tables = empty(_COLUMNS)
    if shown is None or not shown.rows:
        tables["margins"] = {"left": [0.0], "right": [0.0]}
        _append(tables["words"], x=0.5, y=height / 2, soft=message, ink="", align="center", shift=0.0)
        return tables
    boxes, several = _places(len(shown.rows), height)
    for row, box in zip(shown.rows, boxes, strict=True):
        _draw(tables, row, box, row.chain.group == shown.selected, strings)
    end = 0.0
    if several:
        _headline(tables, shown, height, strings)
    else:
        counts = [_count(row, strings) for row in shown.rows]
        _name(tables, shown, boxes, counts)
        end = BESIDE + max(map(pixels_of, [*counts, strings("chain_map_expected")])) + 4
    start = MARKER if several else NAMES
    tables["margins"] = {"left": [start], "right": [end]}
    _key(tables, start, several, strings)
    return tables


def _places(count: int, height: float) -> tuple[list[_Box], bool]:
    """The rows' places, and whether they are in several columns."""
    room = height - FOOT - PAD
    several = count * LOWEST_PITCH > room
    room -= HEAD if several else 0.0
    down = math.ceil(count / math.ceil(count / (room // LOWEST_PITCH)))
    across = math.ceil(count / down)
    pitch = min(room / down, HIGHEST_PITCH)
    thick = max(pitch - 3, pitch * 0.75) if pitch > 6 else pitch - 1
    wide = (1 - GUTTER * (across - 1)) / across
    foot = FOOT + (room - pitch * down) / 2
    boxes = []
    for place in range(count):
        column, line = divmod(place, down)
        left, bottom = column * (wide + GUTTER), foot + line * pitch
        boxes.append(_Box(left, left + wide, bottom, bottom + pitch, thick))
    return boxes, several


def _draw(tables: dict[str, Columns], row: Row, box: _Box, chosen: bool, strings: Strings) -> None:
    """A row's cells, its tick, and what is told of it under the pointer."""
    ends, depths = _cells(row.chain)
    wide, half = box.right - box.left, box.thick / 2
    low, high = box.middle - half, box.middle + half
    cells = tables["chosen" if chosen else "cells"]
    cells["left"] += [box.left + wide * end for end in ends[:-1]]
    cells["right"] += [box.left + wide * end for end in ends[1:]]
    cells["bottom"] += [low] * len(depths)
    cells["top"] += [high] * len(depths)
    cells["depth"] += depths
    x = box.left + wide * row.chain.expected / row.chain.size
    _append(tables["ticks"], x=x, bottom=low - 0.5, top=high + 0.5)
    if chosen:
        _append(tables["marker"], x=box.left, y=box.middle)
    _append(
        tables["rows"],
        left=box.left,
        right=box.right,
        bottom=box.bottom,
        top=box.top,
        low=low,
        high=high,
        group=row.chain.group,
        html=_html(row, strings),
    )


def _cells(chain: Chain) -> tuple[list[float], list[float]]:
    """Where cells begin and end, as shares of the group, and how likely their channels are to be kept."""
    if chain.states < MOST_CELLS:
        ends = np.concatenate([[0], chain.widths]) / chain.size
        return ends.tolist(), [1.0, *chain.retention.round(3).tolist()]
    bounds = np.linspace(0, chain.size, MOST_CELLS + 1)
    sums = np.interp(bounds, np.arange(chain.size + 1), np.concatenate([[0], chain.unit_retention.cumsum()]))
    means = np.diff(sums) / np.diff(bounds)
    return (bounds / chain.size).tolist(), means.round(3).tolist()


def _count(row: Row, strings: Strings) -> str:
    return strings("chain_map_count", expected=round(row.chain.expected), size=row.chain.size)


def _name(tables: dict[str, Columns], shown: Shown, boxes: Sequence[_Box], counts: Sequence[str]) -> None:
    """Names and expected widths beside the rows, as many as have room; the selected row's always."""
    chosen = [place for place, row in enumerate(shown.rows) if row.chain.group == shown.selected]
    taken: list[float] = []
    for place in [*chosen, *range(len(boxes))]:
        y = boxes[place].middle
        if all(abs(y - other) >= LINE for other in taken):
            taken.append(y)
            role = "ink" if place in chosen else "soft"
            name = {"ink": "", "soft": "", role: shortened(shown.rows[place].name, NAME_ROOM)}
            _append(tables["names"], y=y, **name)
            _word(tables, 1.0, y, counts[place], role=role, shift=BESIDE)


def _headline(tables: dict[str, Columns], shown: Shown, height: float, strings: Strings) -> None:
    """The selected row in words, above all rows."""
    y = height - HEAD / 2 - 1
    for row in shown.rows:
        if row.chain.group == shown.selected:
            _word(tables, 0.0, y, shortened(row.name, 2 * NAME_ROOM), role="ink")
            counts = {"expected": round(row.chain.expected), "size": row.chain.size}
            _word(tables, 1.0, y, strings("chain_map_selected", **counts), role="ink", align="right")


def _key(tables: dict[str, Columns], start: float, several: bool, strings: Strings) -> None:
    """What the depth of the colour says and, below the numbers where rows have them, what the tick says."""
    left, y = 2.0 - start, FOOT / 2 - 1
    for place, depth in enumerate(KEY):
        cell = {"left": left + place * KEY_CELL, "right": left + (place + 1) * KEY_CELL - 1}
        _append(tables["key"], bottom=y - KEY_HIGH, top=y + KEY_HIGH, depth=depth, **cell)
    tables["keyed"] = {"x": [left + len(KEY) * KEY_CELL + 5], "y": [y], "text": [strings("chain_map_key")]}
    where = {"align": "right"} if several else {"align": "left", "shift": -2.0}
    _word(tables, 1.0, y, strings("chain_map_expected"), **where)


def _word(
    tables: dict[str, Columns],
    x: float,
    y: float,
    text: str,
    role: str = "soft",
    align: str = "left",
    shift: float = 0.0,
) -> None:
    _append(
        tables["words"], **{"x": x, "y": y, "soft": "", "ink": "", role: text, "align": align, "shift": shift}
    )


def _html(row: Row, strings: Strings) -> str:
    chain = row.chain
    lines = [
        strings("chain_map_hover", size=chain.size, **numbers(chain)),
        strings("chain_map_least", least=chain.least),
    ]
    return "<br>".join([f"<b>{escape(row.name)}</b>", *map(escape, lines)])


def _append(table: Columns, **entry: object) -> None:
    for key, value in entry.items():
        table[key].append(value)


def describe(shown: Shown | None, strings: Strings, message: str = "") -> list[str]:
    """The map in sentences: the selected row, then every row from the first."""
    if shown is None or not shown.rows:
        return [message] if message else []
    chosen = [row.name for row in shown.rows if row.chain.group == shown.selected]
    return [
        *(strings("chain_map_say_selected", name=name) for name in chosen),
        *(
            strings("chain_map_say_row", name=row.name, size=row.chain.size, **numbers(row.chain))
            for row in shown.rows
        ),
    ]


_CELL = ("left", "right", "bottom", "top", "depth")
_COLUMNS = {
    "margins": ("left", "right"),
    "rows": ("left", "right", "bottom", "top", "low", "high", "group", "html"),
    "cells": _CELL,
    "chosen": _CELL,
    "ticks": ("x", "bottom", "top"),
    "marker": ("x", "y"),
    "names": ("y", "ink", "soft"),
    "words": ("x", "y", "ink", "soft", "align", "shift"),
    "key": _CELL,
    "keyed": ("x", "y", "text"),
}


def build(height: float = HEIGHT, scale: float = 1.0) -> View:
    """An empty view of that height, in pixels; `scale` multiplies it and the fonts."""
    data = sources("chain-map", empty(_COLUMNS))
    chart = canvas("chain-map", height, (-0.3, 1.2), scale)
    chart.extra_x_ranges = {"left": Range1d(-NAMES, 330)}
    _draw_rows(chart, data, scale)
    _draw_words(chart, data, scale)
    args = {"chart": chart, "margins": data["margins"], "left": chart.extra_x_ranges["left"], "scale": scale}
    script = CustomJS(args=args, code=_MARGINS)
    chart.js_on_change("inner_width", script)
    data["margins"].js_on_change("data", script)
    return View(chart, data)


# Keeps the margins' widths in pixels, whatever the width of the figure.
_MARGINS = """
export default ({chart, margins, left, scale}) => {
  if (margins.data.left.length == 0) return
  const start = margins.data.left[0], end = margins.data.right[0]
  const width = (chart.inner_width ?? 0) / scale, room = width - start - end
  if (!(room > 0)) return
  chart.x_range.setv({start: -start / room, end: 1 + end / room})
  left.setv({start: -start, end: width - start})
}
"""


def _draw_rows(chart: figure, data: dict[str, ColumnDataSource], scale: float) -> None:
    box = {"left": "left", "right": "right"}
    ground = chart.quad(bottom="low", top="high", line_color=None, source=data["rows"], **box)
    paint(ground.glyph, fill_color="pale")
    for table, role in (("cells", "kept"), ("chosen", "chosen")):
        cells = chart.quad(
            bottom="bottom", top="top", fill_alpha="depth", line_color=None, source=data[table], **box
        )
        paint(cells.glyph, fill_color=role)
    for role, width in (("paper", 4), ("ink", 2)):
        tick = chart.segment(
            x0="x", x1="x", y0="bottom", y1="top", line_width=width * scale, source=data["ticks"]
        )
        paint(tick.glyph, line_color=role)
    marker = chart.scatter(
        x="x",
        y="y",
        marker="@beside",
        size=8 * scale,
        defs={"@beside": CustomJS(code=_MARKER)},
        source=data["marker"],
    )
    paint(marker.glyph, fill_color="chosen", line_color="chosen")
    whole = chart.quad(bottom="bottom", top="top", fill_alpha=0, line_alpha=0, source=data["rows"], **box)
    style = f"font: {round(13 * scale)}px sans-serif; max-width: {round(300 * scale)}px; color: #1f2933"
    tooltip = f'<div style="{style}">@html{{safe}}</div>'
    chart.add_tools(HoverTool(renderers=[whole], tooltips=tooltip, point_policy="follow_mouse"))


# A triangle that points at the row's left end from outside (r = 4 pixels at scale 1).
_MARKER = """
export default (_args, _glyph, {r}) => {
  const path = new Path2D(), u = r / 4
  path.moveTo(-3 * u, 0)
  path.lineTo(-9 * u, -4 * u)
  path.lineTo(-9 * u, 4 * u)
  path.closePath()
  return path
}
"""


def _draw_words(chart: figure, data: dict[str, ColumnDataSource], scale: float) -> None:
    size = {"text_font_size": f"{13 * scale}px", "text_baseline": "middle"}
    for role, style in (("ink", "bold"), ("soft", "normal")):
        name = chart.text(
            x=2 - NAMES,
            y="y",
            text=role,
            text_font_style=style,
            x_range_name="left",
            source=data["names"],
            **size,
        )
        words = chart.text(
            x="x", y="y", text=role, text_font_style=style, text_align="align", x_offset="shift",
            source=data["words"], **size,
        )  # fmt: skip
        for text in (name, words):
            paint(text.glyph, text_color=role)
    cell = {"left": "left", "right": "right", "bottom": "bottom", "top": "top", "x_range_name": "left"}
    for role, depth in (("pale", 1.0), ("kept", "depth")):
        cells = chart.quad(fill_alpha=depth, line_color=None, source=data["key"], **cell)
        paint(cells.glyph, fill_color=role)
    key = chart.text(x="x", y="y", text="text", x_range_name="left", source=data["keyed"], **size)
    paint(key.glyph, text_color="soft")


def make_tappable(view: View) -> ColumnDataSource:
    """Let rows of a view of `build` be tapped; returns the source "tapped": one row with the `number` of the tap
    and the `group`."""
    tapped = ColumnDataSource({"number": [0], "group": [""]}, name="chain-map-tapped")
    args = {"rows": view.sources["rows"], "tapped": tapped}
    view.root.js_on_event("tap", CustomJS(args=args, code=_TAP))
    return tapped


# A row is meant by its name and its number too: the nearest column's.
_TAP = """
export default ({rows, tapped}, {x, y}) => {
  const {left, right, bottom, top, group} = rows.data
  let best = null, nearest = Infinity
  for (let i = 0; i < group.length; i++) {
    const away = Math.max(left[i] - x, x - right[i], 0)
    if (bottom[i] <= y && y < top[i] && away < nearest) {
      best = group[i]
      nearest = away
    }
  }
  if (best != null) tapped.data = {number: [Math.max(Date.now(), tapped.data.number[0] + 1)], group: [best]}
}
"""
