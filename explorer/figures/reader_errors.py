"""What the layers that read a group lose, for every width of it: cut only dashed, refitted solid, the width now marked.

The axis goes from 0 to 1 over the group's width, as that of sorted scores does, so that a drag means the same on both.
"""

from dataclasses import dataclass

import numpy as np

from explorer.figures.importance import BASE, HEAD, HEIGHT, MARGIN
from explorer.figures.palette import paint
from explorer.figures.text_lines import pixels_of
from explorer.figures.view import Columns, View, append_row, canvas, empty, sources
from explorer.strings import Strings
from explorer.values import Floats

TOP = 56.0  # pixels: the largest error
GAP = 10.0  # pixels between the marker and its numbers, and between those
WIDEST = 1.3  # as wide as Helvetica's a bold text can be: DejaVu Sans


@dataclass(frozen=True, eq=False)
class ReaderErrors:
    """What the chart shows: float32 `cut` and `refitted` (size + 1,), shares by width, and the width now."""

    cut: Floats
    refitted: Floats
    width: int

    @property
    def size(self) -> int:
        return len(self.cut) - 1


def columns(
    shown: ReaderErrors | None, strings: Strings, message: str = "", scale: float = 1.0
) -> dict[str, Columns]:
    """The tables of the view: "curves", "marker", "base" (the axis) and "labels".

    None = nothing to draw but the message. Curves begin at width 1; the largest error is as high as the plot. A group
    that is removed whole has no marker. Heights are pixels.
    """
    tables = empty(_COLUMNS)
    if shown is None:
        _label(tables, 0.5, (BASE + TOP) / 2, message, "center")
        return tables
    tables["base"] = {"y": [BASE]}
    both = np.stack([shown.cut, shown.refitted]).astype(np.float64)
    top = float(np.nanmax(both[:, 1:])) or 1.0
    heights = (BASE + (TOP - BASE) * both / top).tolist()
    places = (np.arange(1, shown.size + 1) / shown.size).tolist()
    tables["curves"] = {"x": places, "cut": heights[0][1:], "refitted": heights[1][1:]}
    _label(tables, -MARGIN, 8.0, strings("layer_error_least", error=percent(float(shown.cut[1]))), "left")
    _label(tables, 1 + MARGIN, 8.0, strings("layer_error_most", size=shown.size), "right")
    if shown.width:
        x = shown.width / shown.size
        cut, refitted = (heights[part][shown.width] for part in range(2))
        tables["marker"] = {
            "x": [x],
            "foot": [BASE - 4],
            "head": [HEAD],
            "cut": [cut],
            "refitted": [refitted],
        }
        _numbers(tables, shown, x, strings, scale)
    return tables


def _numbers(
    tables: dict[str, Columns], shown: ReaderErrors, x: float, strings: Strings, scale: float
) -> None:
    """Both numbers beside the marker's head, above the curves, on the side where there is room."""
    side = 1 if x < 0.5 else -1
    align, shift = "left" if side > 0 else "right", GAP
    texts = (("layer_error_cut", shown.cut, False), ("layer_error_refitted", shown.refitted, True))
    for key, errors, bold in texts[::side]:
        text = strings(key, error=percent(float(errors[shown.width])))
        _label(tables, x, HEAD, text, align, bold, side * shift * scale)
        shift += pixels_of(text) * (WIDEST if bold else 1 + (WIDEST - 1) / 2) + GAP


def percent(share: float) -> str:
    """Two digits and no more: "46", "8.1", "0.3"; "–" where it is not known."""
    if np.isnan(share):
        return "–"
    return f"{100 * share:.1f}" if share < 0.0995 else f"{100 * share:.0f}"


def describe(name: str, shown: ReaderErrors | None, strings: Strings, message: str = "") -> list[str]:
    """The chart in sentences; `name` says which layers read the group. The width now, then quarters of the size."""
    if shown is None:
        return [message] if message else []
    quarters = {max(1, shown.size * part // 4) for part in (1, 2, 3)}
    widths = [shown.width, *sorted(quarters - {shown.width})]
    return [
        strings(
            "layer_say_errors",
            name=name,
            width=width,
            size=shown.size,
            cut=percent(float(shown.cut[width])),
            refitted=percent(float(shown.refitted[width])),
        )
        for width in widths
    ]


def _label(
    tables: dict[str, Columns],
    x: float,
    y: float,
    text: str,
    align: str,
    bold: bool = False,
    shift: float = 0.0,
) -> None:
    parts = {"plain": "" if bold else text, "bold": text if bold else ""}
    if text:
        append_row(tables["labels"], {"x": x, "y": y, **parts, "align": align, "shift": shift})


_COLUMNS = {
    "curves": ("x", "cut", "refitted"),
    "marker": ("x", "foot", "head", "cut", "refitted"),
    "base": ("y",),
    "labels": ("x", "y", "plain", "bold", "align", "shift"),
}


def build(scale: float = 1.0) -> View:
    """An empty view, which is not shown. `scale` multiplies heights and fonts."""
    data = sources("errors", empty(_COLUMNS))
    chart = canvas("errors", HEIGHT, (-MARGIN, 1 + MARGIN), scale)
    chart.visible = False
    base = chart.segment(x0=-MARGIN, x1=1 + MARGIN, y0="y", y1="y", source=data["base"])
    paint(base.glyph, line_color="line")
    curve = {"x": "x", "line_width": 2, "source": data["curves"]}
    paint(chart.line(y="cut", line_dash=[4, 3], **curve).glyph, line_color="cut")
    paint(chart.line(y="refitted", **curve).glyph, line_color="kept")
    marker = data["marker"]
    line = chart.segment(x0="x", x1="x", y0="foot", y1="head", line_width=2, source=marker)
    paint(line.glyph, line_color="chosen")
    dot = {"x": "x", "size": 7 * scale, "line_width": 2, "source": marker}
    paint(chart.scatter(y="cut", **dot).glyph, fill_color="paper", line_color="cut")
    paint(chart.scatter(y="refitted", **dot).glyph, fill_color="kept", line_color="kept")
    knob = chart.scatter(x="x", y="head", size=12 * scale, line_width=2, source=marker)
    paint(knob.glyph, fill_color="paper", line_color="chosen")
    place = {"x": "x", "y": "y", "text_align": "align", "text_baseline": "middle", "x_offset": "shift"}
    for column, role, style in (("bold", "kept", "bold"), ("plain", "soft", "normal")):
        text = chart.text(
            text=column,
            text_font_size=f"{13 * scale}px",
            text_font_style=style,
            source=data["labels"],
            **place,
        )
        paint(text.glyph, text_color=role)
    return View(chart, data)
