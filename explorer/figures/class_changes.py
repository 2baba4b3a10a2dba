"""What a cut does to every class: images broken to the left, mended to the right, and points of accuracy."""

import math
from collections.abc import Sequence
from typing import Protocol

from bokeh.models import HoverTool

from explorer.figures.palette import paint
from explorer.figures.view import Columns, View, canvas, empty, sources
from explorer.strings import Strings

WIDTH = 204
HEIGHT = 236
HEAD = 18
TALLEST_ROW = 22.0
MOST_ROWS = 11
LETTERS = 10  # of a class's name
NAME_END, BROKEN_END, MENDED_START = 66, 92, 144
BARS = (96, 140)
ZERO = 118  # of the words above the bars
NONE = float("nan")


class Change(Protocol):
    """What the chart reads of a class (see `explorer.observe.flips.ClassChange`)."""

    @property
    def label(self) -> int: ...

    @property
    def images(self) -> int: ...

    @property
    def right(self) -> int: ...

    @property
    def broken(self) -> int: ...

    @property
    def mended(self) -> int: ...

    @property
    def taken_for(self) -> int | None: ...

    @property
    def taken(self) -> int: ...

    @property
    def points(self) -> float: ...

    @property
    def interval(self) -> tuple[float, float]: ...

    @property
    def beyond_chance(self) -> bool: ...

    @property
    def remembered(self) -> float: ...


def shown(changes: Sequence[Change]) -> list[Change]:
    """The classes that have a row: all in their order or, of many, those with the most flips first."""
    if len(changes) <= MOST_ROWS:
        return list(changes)
    return sorted(changes, key=lambda change: -change.broken - change.mended)[: MOST_ROWS - 1]


def pitch(changes: Sequence[Change]) -> float:
    """Height of a row in pixels at scale 1."""
    rows = len(changes) if len(changes) <= MOST_ROWS else MOST_ROWS
    return min(TALLEST_ROW, (HEIGHT - HEAD) / max(rows, 1))


def class_at(y: float, changes: Sequence[Change]) -> int | None:
    """The label of the class whose row is at that height; None above and below all rows."""
    row, rows = int((HEIGHT - HEAD - y) // pitch(changes)), shown(changes)
    return rows[row].label if 0 <= row < len(rows) else None


def columns(
    changes: Sequence[Change], names: Sequence[str], strings: Strings, chosen: int | None = None
) -> dict[str, Columns]:
    """The tables of the view: "rows", "zero" and "labels"; all in pixels.

    `names` are those of the classes by label; `chosen` is the label of the class that is looked at.
    """
    tables = empty(_COLUMNS)
    if not changes:
        return tables
    rows, high = shown(changes), pitch(changes)
    left, right = max(row.broken for row in rows), max(row.mended for row in rows)
    unit = (BARS[1] - BARS[0]) / max(left + right, 1)
    zero = BARS[0] + unit * left if left + right else (BARS[0] + BARS[1]) / 2
    for place, change in enumerate(rows):
        top = HEIGHT - HEAD - place * high
        middle, half = top - high / 2, min(high * 0.34, 6.5)
        entry: dict[str, object] = {
            "low": top - high,
            "high": top,
            "bottom": middle - half,
            "top": middle + half,
            "middle": middle,
            "zero": zero,
            "broken": zero - unit * change.broken,
            "mended": zero + unit * change.mended,
            "chosen": WIDTH - 1 if change.label == chosen else NONE,
            "name": _short(_name(names, change.label)),
            "broken_text": str(change.broken),
            "mended_text": str(change.mended),
            "points": "" if change.beyond_chance else signed(change.points),
            "sure": signed(change.points) if change.beyond_chance else "",
        }
        for number, line in enumerate(_words(change, names, strings)):
            entry[f"line{number}"] = line
        _append(tables["rows"], entry)
    tables["zero"] = {"x": [zero], "y0": [HEIGHT - HEAD - len(rows) * high], "y1": [HEIGHT - HEAD]}
    counts = {change.images for change in changes}
    each = strings("images_each", images=f"{counts.pop():,}") if len(counts) == 1 else ""
    for x, text, align in (
        (NAME_END, each, "right"),
        (ZERO - 2, strings("images_broken"), "right"),
        (ZERO + 2, strings("images_mended"), "left"),
        (WIDTH - 2, strings("images_points"), "right"),
    ):
        _append(tables["labels"], {"x": x, "y": HEIGHT - HEAD / 2, "text": text, "align": align})
    if len(rows) < len(changes):
        more = strings("images_more_classes", count=len(changes) - len(rows))
        y = HEIGHT - HEAD - (len(rows) + 0.5) * high
        _append(tables["labels"], {"x": 0, "y": y, "text": more, "align": "left"})
    return tables


def describe(changes: Sequence[Change], names: Sequence[str], strings: Strings) -> list[str]:
    """Every class in a sentence or two, in the order of the labels."""
    sentences = []
    for change in changes:
        values = _values(change, names)
        known = not math.isnan(change.remembered)
        sentences.append(strings("images_class_says" if known else "images_class_says_none_right", **values))
        if change.taken_for is not None:
            other = _name(names, change.taken_for)
            taken = strings("images_taken_says", name=values["name"], count=change.taken, other=other)
            sentences.append(taken)
    return sentences


def _words(change: Change, names: Sequence[str], strings: Strings) -> list[str]:
    """Name, counts, change with its interval, what is remembered, and what the broken ones are taken for."""
    values = _values(change, names)
    known = not math.isnan(change.remembered)
    lines = [
        str(values["name"]),
        strings("images_counts", **values),
        strings("images_change", **values),
        strings("images_remembered" if known else "images_nothing_known", **values),
    ]
    if change.taken_for is None:
        return [*lines, ""]
    other = _name(names, change.taken_for)
    return [*lines, strings("images_taken_for", name=other, count=change.taken)]


def _values(change: Change, names: Sequence[str]) -> dict[str, object]:
    """What the texts on a class say."""
    low, high = change.interval
    return {
        "name": _name(names, change.label),
        "broken": change.broken,
        "mended": change.mended,
        "images": change.images,
        "right": change.right,
        "points": signed(change.points),
        "low": signed(low),
        "high": signed(high),
        "share": "" if math.isnan(change.remembered) else f"{100 * change.remembered:.0f}",
    }


def _name(names: Sequence[str], label: int) -> str:
    return names[label] if label < len(names) else str(label)


def _short(name: str) -> str:
    return name if len(name) <= LETTERS else f"{name[: LETTERS - 1]}…"


def signed(value: float) -> str:
    """With its sign: "−12.0", "+0.5", "0.0"."""
    text = f"{abs(value):.1f}"
    return text if not float(text) else f"{'+' if value > 0 else '−'}{text}"


def _append(table: Columns, entry: dict[str, object]) -> None:
    for key, value in entry.items():
        table[key].append(value)


_COLUMNS = {
    "rows": (
        *("low", "high", "bottom", "top", "middle", "zero", "broken", "mended", "chosen", "name"),
        *("broken_text", "mended_text", "points", "sure", "line0", "line1", "line2", "line3", "line4"),
    ),
    "zero": ("x", "y0", "y1"),
    "labels": ("x", "y", "text", "align"),
}

_HOVER = """<div style="font: {size}px sans-serif; color: #1f2933; max-width: {wide}px">
<b>@line0</b><br>@line1<br>@line2<br>@line3<br>@line4</div>"""


def build(scale: float = 1.0) -> View:
    """An empty view of fixed size."""
    data = sources("class-changes", empty(_COLUMNS))
    chart = canvas("class-changes", HEIGHT, (0, WIDTH), scale)
    chart.sizing_mode, chart.width = "fixed", round(WIDTH * scale)
    rows = data["rows"]
    band = {"left": 0, "top": "high", "bottom": "low", "source": rows}
    chosen = chart.quad(right="chosen", line_width=2, **band)
    paint(chosen.glyph, fill_color="pale", line_color="chosen")
    for column, role in (("broken", "lost"), ("mended", "kept")):
        bar = chart.quad(left="zero", right=column, top="top", bottom="bottom", line_color=None, source=rows)
        paint(bar.glyph, fill_color=role)
    line = chart.segment(x0="x", x1="x", y0="y0", y1="y1", source=data["zero"])
    paint(line.glyph, line_color="soft")
    size = {"text_font_size": f"{13 * scale}px", "text_baseline": "middle"}
    for x, column, align, role, style in (
        (NAME_END, "name", "right", "ink", "normal"),
        (BROKEN_END, "broken_text", "right", "soft", "normal"),
        (MENDED_START, "mended_text", "left", "soft", "normal"),
        (WIDTH - 2, "points", "right", "soft", "normal"),
        (WIDTH - 2, "sure", "right", "ink", "bold"),
    ):
        text = chart.text(
            x=x, y="middle", text=column, text_align=align, text_font_style=style, source=rows, **size
        )
        paint(text.glyph, text_color=role)
    size["text_font_size"] = f"{12 * scale}px"
    head = chart.text(x="x", y="y", text="text", text_align="align", source=data["labels"], **size)
    paint(head.glyph, text_color="soft")
    whole = chart.quad(right=WIDTH, fill_alpha=0, line_alpha=0, **band)
    hover = _HOVER.format(size=13 * scale, wide=320 * scale)
    chart.add_tools(HoverTool(renderers=[whole], tooltips=hover, point_policy="follow_mouse"))
    return View(chart, data)
