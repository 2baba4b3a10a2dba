"""Two states side by side: the widths of every group in which they differ, as pairs of bars."""

import math
from dataclasses import dataclass

from explorer.figures.palette import paint
from explorer.figures.view import Columns, View, canvas, empty, sources
from explorer.strings import Strings
from explorer.values import ChannelGraph, ChannelGroup, Plan

HEIGHT = 172.0
LINES = 12  # rows of a column
HIGHEST_PITCH = 18.0
BAR = 4.5  # height of one of the two bars
NAME = {1: 0.36, 2: 0.40}  # part of a column for the group's name, by number of columns
NUMBERS = {1: 0.2, 2: 0.29}
LETTERS = {1: 21, 2: 11}  # of a name
GUTTER = 0.02  # between two columns


@dataclass(frozen=True)
class Difference:
    """A group whose widths differ: of one state and the other, of `size` channels."""

    group: str
    name: str
    size: int
    one: int
    other: int


def differences(graph: ChannelGraph, one: Plan, other: Plan) -> list[Difference]:
    """The groups whose widths differ, those that differ by the largest share first."""
    found = [
        Difference(group.id, _name(group), group.size, one.widths[group.id], other.widths[group.id])
        for group in graph.prunable
        if one.widths[group.id] != other.widths[group.id]
    ]
    return sorted(found, key=lambda row: -abs(row.one - row.other) / row.size)


def _name(group: ChannelGroup) -> str:
    """The layer that makes the channels; where several do, the first and how many more."""
    return group.layers[0] if len(group.layers) == 1 else f"{group.layers[0]} +{len(group.layers) - 1}"


def columns(rows: list[Difference], strings: Strings, message: str = "") -> dict[str, Columns]:
    """The tables of the view: "pairs" (bars, in parts of the chart's width) and "labels".

    Where there are no rows, `message` stands instead, or that the widths are the same.
    """
    tables = empty(_COLUMNS)
    across = 1 if len(rows) <= LINES else 2
    room = across * LINES
    shown = rows if len(rows) <= room else rows[: room - 1]
    down = min(LINES, math.ceil(len(rows) / across))
    pitch = min(HIGHEST_PITCH, HEIGHT / max(down, 1))
    for place, row in enumerate(shown):
        column, line = divmod(place, down)
        start = column * (0.5 + GUTTER / 2)
        _pair(tables, row, start, HEIGHT - (line + 0.5) * pitch, across)
    if len(shown) < len(rows):
        more = strings("tradeoff_more", count=len(rows) - len(shown))
        _text(tables, 0.5 + GUTTER / 2, HEIGHT - (down - 0.5) * pitch, more, "left", "soft")
    if not rows:
        _text(tables, 0.5, HEIGHT / 2, message or strings("tradeoff_same_widths"), "center", "soft")
    return tables


def _pair(tables: dict[str, Columns], row: Difference, start: float, middle: float, across: int) -> None:
    width = 1.0 if across == 1 else 0.5 - GUTTER / 2
    left, full = start + NAME[across] * width, (1 - NAME[across] - NUMBERS[across]) * width
    entry: dict[str, object] = {
        "left": left,
        "end": left + full,
        "one": left + full * row.one / row.size,
        "other": left + full * row.other / row.size,
        "high": middle + BAR + 0.5,
        "middle_high": middle + 0.5,
        "middle_low": middle - 0.5,
        "low": middle - BAR - 0.5,
    }
    _append(tables["pairs"], entry)
    _text(tables, start, middle, _shorten(row.name, LETTERS[across]), "left", "ink")
    _text(tables, start + width, middle, f"{row.one} → {row.other}", "right", "ink")


def _shorten(name: str, letters: int) -> str:
    """The end of a long name: what stands before it is the same for many layers."""
    return name if len(name) <= letters else "…" + name[1 - letters :]


def _text(tables: dict[str, Columns], x: float, y: float, text: str, align: str, role: str) -> None:
    _append(tables["labels"], {"x": x, "y": y, "align": align, "soft": "", "ink": ""} | {role: text})


def _append(table: Columns, entry: dict[str, object]) -> None:
    for key, value in entry.items():
        table[key].append(value)


def describe(rows: list[Difference], strings: Strings) -> list[str]:
    """All differences in sentences, also those that the chart has no room for."""
    if not rows:
        return [strings("tradeoff_same_widths")]
    return [
        strings("tradeoff_says_widths", name=row.name, one=row.one, other=row.other, size=row.size)
        for row in rows
    ]


_COLUMNS = {
    "pairs": ("left", "end", "one", "other", "high", "middle_high", "middle_low", "low"),
    "labels": ("x", "y", "soft", "ink", "align"),
}


def build(scale: float = 1.0) -> View:
    """An empty view: the upper bar of a pair is the one state's (outlined), the lower the other's (solid)."""
    data = sources("two-states", empty(_COLUMNS))
    chart = canvas("two-states", HEIGHT, (-0.005, 1.005), scale)
    pairs = data["pairs"]
    room = chart.quad(left="left", right="end", bottom="low", top="high", line_color=None, source=pairs)
    paint(room.glyph, fill_color="pale")
    one = chart.quad(
        left="left",
        right="one",
        bottom="middle_high",
        top="high",
        fill_color=None,
        line_dash=[3, 2],
        source=pairs,
    )
    paint(one.glyph, line_color="ink")
    other = chart.quad(left="left", right="other", bottom="low", top="middle_low", source=pairs)
    paint(other.glyph, fill_color="kept", line_color="kept")
    place = {"x": "x", "y": "y", "text_align": "align", "text_baseline": "middle", "source": data["labels"]}
    for role in ("soft", "ink"):
        text = chart.text(text=role, text_font_size=f"{13 * scale}px", **place)
        paint(text.glyph, text_color=role)
    return View(chart, data)
