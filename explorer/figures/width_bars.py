"""Width bars: every layer as a bar as long as its channels, the image at the bottom, removed ones as an outline."""

from collections.abc import Mapping

from bokeh.models import ColumnDataSource, HoverTool, Scatter
from bokeh.plotting import figure

from explorer.figures.palette import paint
from explorer.figures.rows import HEIGHT, LABEL_PITCH, Layout, Row, Section
from explorer.figures.view import Columns, View, canvas, empty, sources
from explorer.values import Plan

LEFT = -0.37  # of the longest bar: room for the sections' names
RIGHT = 1.15
NAMES_AT = -0.33
PADDING = 0.016  # of a band around its bars
THICKEST = 20.0
NONE = float("nan")


def kept(row: Row, plan: Plan) -> int:
    """How many of a layer's output channels the plan keeps."""
    count = row.fixed
    for group, units in row.parts:
        count += int(plan.keep[group][units].sum()) if group in plan.keep else len(units)
    return count


def columns(layout: Layout, plan: Plan, selection: str = "") -> dict[str, Columns]:
    """The tables of the view: "rows", "bands" and "labels". `selection` is a group's id, "" = none.

    Lengths are in parts of the longest dense bar; NaN where nothing is drawn.
    """
    tables = empty(_COLUMNS)
    _append(tables["rows"], _image(layout))
    for row in layout.rows:
        _append(tables["rows"], _row(layout, row, plan, selection))
    for band in layout.bands:
        width = layout.length(plan.widths.get(band.group, band.size), band.size)
        dense = layout.length(band.size, band.size)
        chosen = band.group == selection
        entry = {
            "bottom": band.bottom + 1,
            "top": band.top - 1,
            "dense": dense + PADDING,
            "kept": width + PADDING,
            "edge": NONE if chosen else width + PADDING,
            "chosen": width + PADDING if chosen else NONE,
        }
        _append(tables["bands"], entry)
    for label in _labels(layout, plan):
        _append(tables["labels"], label)
    return tables


def _row(layout: Layout, row: Row, plan: Plan, selection: str) -> dict[str, object]:
    count = kept(row, plan)
    length = layout.length(count, row.size)
    chosen = bool(selection) and row.group == selection
    pitch = row.top - row.bottom
    half = min(5.0, pitch * 0.4) / 2 if row.thin else min(pitch - 3.0, THICKEST) / 2
    outlined = row.prunable and not row.banded
    numbered = row.prunable and not row.thin and (layout.numbered or chosen)
    return {
        "low": row.bottom,
        "high": row.top,
        "bottom": row.middle - half,
        "top": row.middle + half,
        "middle": row.middle,
        "kept": length if row.prunable and not chosen else NONE,
        "chosen": length if chosen and row.prunable else NONE,
        "fixed": NONE if row.prunable else length,
        "dense": layout.length(row.size, row.size) if outlined else NONE,
        "reference": layout.length(row.size, row.size) if outlined and not row.thin else NONE,
        "marker": -3.2 * PADDING if chosen else NONE,
        "number": str(count) if numbered else "",
        "number_at": layout.length(row.size, row.size) + 2 * PADDING,
        "name": row.name,
        "count": f"{count} of {row.size} channels kept",
        "words": row.words,
        "note": _note(row),
    }


def _image(layout: Layout) -> dict[str, object]:
    channels = layout.image_channels
    return {
        "low": 0.0,
        "high": layout.image_top,
        "bottom": 3.0,
        "top": layout.image_top - 3.0,
        "middle": layout.image_top / 2,
        "kept": NONE,
        "chosen": NONE,
        "fixed": layout.length(channels, channels),
        "dense": NONE,
        "reference": NONE,
        "marker": NONE,
        "number": "",
        "number_at": 0.0,
        "name": "image",
        "count": f"{channels} channel{'s' * (channels != 1)}",
        "words": "",
        "note": "",
    }


def _note(row: Row) -> str:
    if not row.prunable:
        return f"Cannot be pruned: {row.reason}"
    if row.tied:
        return f"Kept together with {_short_list(row.tied)}"
    return ""


def _short_list(names: tuple[str, ...]) -> str:
    return ", ".join(names) if len(names) <= 4 else f"{', '.join(names[:3])} and {len(names) - 3} more"


def _labels(layout: Layout, plan: Plan) -> list[dict[str, object]]:
    """Names of the sections with their channels below, of the image and the scale; no room, no label."""
    scale = "each bar's end: 100 %" if layout.percent else f"{layout.longest} channels"
    labels = [
        _label(1.0, layout.height - 7, "", scale, "right"),
        _label(NAMES_AT, layout.image_top / 2, "", "image", "left"),
    ]
    last = layout.image_top / 2
    for section in layout.sections:
        rows = layout.rows[slice(*section.rows)]
        middle, space = (rows[0].bottom + rows[-1].top) / 2, rows[-1].top - rows[0].bottom
        below = _section_count(layout, section, plan) if space >= 2.3 * LABEL_PITCH else ""
        name_at = middle + (0.6 * LABEL_PITCH if below else 0.0)
        lowest = name_at - (1.2 * LABEL_PITCH if below else 0.0)
        if lowest - last < 0.85 * LABEL_PITCH:
            continue
        labels.append(_label(NAMES_AT, name_at, _shorten(section.name), "", "left"))
        if below:
            labels.append(_label(NAMES_AT, lowest, "", below, "left"))
        last = name_at
    return labels


def _label(x: float, y: float, bold: str, plain: str, align: str) -> dict[str, object]:
    return {"x": x, "y": y, "bold": bold, "plain": plain, "align": align}


def _shorten(name: str) -> str:
    return name if len(name) <= 12 else name[:11] + "…"


def _section_count(layout: Layout, section: Section, plan: Plan) -> str:
    """Width of the band that ties most of the section's layers, else of all its groups together."""
    rows = [row for row in layout.rows[slice(*section.rows)] if row.prunable]
    banded = [row.group for row in rows if row.banded]
    groups = {max(sorted(set(banded)), key=banded.count)} if banded else {row.group for row in rows}
    if not groups:
        return ""
    return f"{sum(plan.widths[g] for g in groups)} of {sum(len(plan.keep[g]) for g in groups)}"


def describe(layout: Layout, plan: Plan) -> list[str]:
    """The chart in sentences, bottom to top."""
    sentences = [f"The image has {layout.image_channels} channel{'s' * (layout.image_channels != 1)}."]
    for row in layout.rows:
        if row.prunable:
            tied = f", together with {_short_list(row.tied)}" if row.tied else ""
            sentences.append(f"{row.name} keeps {kept(row, plan)} of {row.size} channels{tied}.")
        else:
            sentences.append(f"{row.name} keeps all {row.size} channels; it cannot be pruned: {row.reason}.")
    return sentences


def _append(table: Columns, entry: Mapping[str, object]) -> None:
    for key, value in entry.items():
        table[key].append(value)


_COLUMNS = {
    "rows": (
        *(
            "low",
            "high",
            "bottom",
            "top",
            "middle",
            "kept",
            "chosen",
            "fixed",
            "dense",
            "reference",
            "marker",
        ),
        *("number", "number_at", "name", "count", "words", "note"),
    ),
    "bands": ("bottom", "top", "dense", "kept", "edge", "chosen"),
    "labels": ("x", "y", "bold", "plain", "align"),
}

_HOVER = """<div style="font: {size}px sans-serif; max-width: {wide}px; color: #1f2933">
<b>@name</b> &nbsp; @words<br>@count<br>@note</div>"""


def build(height: float = HEIGHT, scale: float = 1.0) -> View:
    """An empty view of the layout's height, in pixels; `scale` multiplies it and the fonts."""
    data = sources("bars", empty(_COLUMNS))
    chart = canvas("bars", height, (LEFT, RIGHT), scale)
    _draw_bands(chart, data["bands"])
    _draw_rows(chart, data["rows"], scale)
    _draw_labels(chart, data["labels"], scale)
    return View(chart, data)


def _draw_bands(chart: figure, source: ColumnDataSource) -> None:
    box = {"left": -PADDING, "bottom": "bottom", "top": "top", "source": source}
    dense = chart.quad(right="dense", line_dash=[3, 2], line_alpha=0.5, **box)
    paint(dense.glyph, fill_color="pale", line_color="cut")
    width = chart.quad(right="kept", fill_color=None, **box)
    paint(width.glyph, line_color="cut")
    for column, role in (("edge", "kept"), ("chosen", "chosen")):
        edge = chart.segment(x0=column, x1=column, y0="bottom", y1="top", line_width=3, source=source)
        paint(edge.glyph, line_color=role)


def _draw_rows(chart: figure, source: ColumnDataSource, scale: float) -> None:
    box = {"left": 0, "bottom": "bottom", "top": "top", "source": source}
    dense = chart.quad(right="dense", fill_color=None, line_dash=[3, 2], **box)
    paint(dense.glyph, line_color="cut")
    for column, role in (("fixed", "fixed"), ("kept", "kept"), ("chosen", "chosen")):
        bar = chart.quad(right=column, **box)
        paint(bar.glyph, fill_color=role, line_color=role)
    tick = chart.segment(x0="reference", x1="reference", y0="bottom", y1="top", line_width=1.5, source=source)
    paint(tick.glyph, line_color="ink")
    marker = chart.add_glyph(
        source, Scatter(x="marker", y="middle", marker="triangle", angle=-1.5708, size=8 * scale)
    )
    paint(marker.glyph, fill_color="chosen", line_color="chosen")
    number = chart.text(
        x="number_at",
        y="middle",
        text="number",
        text_font_size=f"{13 * scale}px",
        text_baseline="middle",
        source=source,
    )
    paint(number.glyph, text_color="ink")
    ears = chart.quad(
        left=LEFT, right=RIGHT, bottom="low", top="high", fill_alpha=0, line_alpha=0, source=source
    )
    hover = _HOVER.format(size=round(13 * scale), wide=round(300 * scale))
    chart.add_tools(HoverTool(renderers=[ears], tooltips=hover, point_policy="follow_mouse"))


def _draw_labels(chart: figure, source: ColumnDataSource, scale: float) -> None:
    place = {"x": "x", "y": "y", "text_align": "align", "text_baseline": "middle", "source": source}
    for column, role, style in (("bold", "ink", "bold"), ("plain", "soft", "normal")):
        text = chart.text(text=column, text_font_size=f"{13 * scale}px", text_font_style=style, **place)
        paint(text.glyph, text_color=role)
