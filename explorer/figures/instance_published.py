"""What was published on ManiDP and FBS: errors that methods add and MACs that they save, as dots and as tables."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby
from typing import TypeVar

from bokeh.models import HoverTool

from explorer.figures.palette import paint
from explorer.figures.view import Columns, View, append_row, canvas, empty, sources
from explorer.published_dynamic import (
    GATED,
    NOT_READ,
    PRUNED,
    SOURCES,
    Gated,
    Pruned,
    dense_of,
    gap,
    lost,
    misprinted,
    saved,
    undiminished,
)
from explorer.strings import Strings

HEIGHT = 112.0
CHARTED = (
    "fpgm",
    "hrank",
    "hinge",
    "cgnet",
    "fbs",
    "manidp",
    "manidp_a",
    "manidp_b",
)  # our choice; the table has all
PAGES = ("imagenet", "cifar", "fbs")
DATA = {"imagenet": "ImageNet", "cifar": "CIFAR-10", "fbs": "CIFAR-10"}
DENSITIES = (1.0, 0.9, 0.7, 0.5, 0.3)  # rows that have room
HEAD, FIRST, LAST, FOOT = 103.0, 86.0, 26.0, 8.0
NAMES, BETWEEN = 0.205, 0.035  # of the chart's width: the rows' names, and between panels
STRIP = {2: 0.7, 3: 0.56}  # of a panel's width, by the number of panels
INSET = 0.012  # from a strip's end to the dot that stands there
Row = TypeVar("Row", Pruned, Gated)
_MARKS = {"gap": "a", "density": "b", "unit": "c"}


@dataclass(frozen=True)
class _Cell:
    """A dot: points of error above the dense network, the share of MACs saved in percent, and the whole in words."""

    row: str
    points: float
    saved: float
    hover: str


@dataclass(frozen=True)
class _Panel:
    """A network: its name, and what the methods make of it."""

    title: str
    cells: tuple[_Cell, ...]


def columns(page: str, strings: Strings) -> dict[str, Columns]:
    """The tables of the view for one of `PAGES`: "strips", "zeros", "stems", "dots" and "labels"; x in parts of the
    chart, y in pixels upwards. Of static methods a few, chosen by us: the table has all. A
    method without a dot was not tried on that network."""
    tables = empty(_COLUMNS)
    panels = _panels(page, strings)
    rows = _rows(page)
    most = max(cell.points for panel in panels for cell in panel.cells)
    end = math.ceil(2 * most) / 2
    wide = (1 - NAMES - BETWEEN * (len(panels) - 1)) / len(panels)
    pitch = (FIRST - LAST) / (len(rows) - 1)
    heights = {row: FIRST - pitch * place for place, row in enumerate(rows)}
    _text(tables, 0.0, HEAD, DATA[page], "left", "soft")
    for row, y in heights.items():
        role = "kept" if row.startswith("manidp") else "ink"
        _text(tables, 0.0, y, _row_name(page, row, strings), "left", role)
    _text(tables, 0.0, FOOT, strings("instance_published_axis"), "left", "soft")
    for number, panel in enumerate(panels):
        left = NAMES + number * (wide + BETWEEN)
        right = left + wide * STRIP[len(panels)]
        _text(tables, left, HEAD, panel.title, "left", "bold")
        _text(tables, left, FOOT, "0", "left", "soft")
        _text(tables, right, FOOT, f"{end:g}", "right", "soft")
        _text(tables, left + wide, FOOT, strings("instance_published_macs"), "right", "soft")
        zero, unit = left + INSET, (right - left - 2 * INSET) / end
        append_row(tables["zeros"], {"x": zero, "low": LAST - 7, "high": FIRST + 7})
        for cell in panel.cells:
            y, own = heights[cell.row], cell.row.startswith("manidp")
            append_row(tables["strips"], {"left": left, "right": right, "y": y})
            x = zero + unit * cell.points
            dot = {
                "own": x if own else math.nan,
                "other": math.nan if own else x,
                "y": y,
                "hover": cell.hover,
            }
            append_row(tables["dots"], dot)
            append_row(tables["stems"], {"left": zero, "right": x, "y": y})
            _text(tables, left + wide, y, f"−{cell.saved:.0f} %", "right", "ink")
    return tables


def _rows(page: str) -> list[str]:
    """The lines of a page: methods in the order of the table, or densities."""
    if page == "fbs":
        return [f"{density:g}" for density in DENSITIES]
    found = dict.fromkeys(row.by for row in PRUNED if row.data == DATA[page] and row.by in CHARTED)
    return sorted(found, key=lambda by: by.startswith("manidp"))


def _row_name(page: str, row: str, strings: Strings) -> str:
    if page == "fbs":
        return strings("instance_published_density_of", density=row)
    return strings(f"instance_published_{row}")


def _panels(page: str, strings: Strings) -> tuple[_Panel, ...]:
    if page == "fbs":
        return tuple(_gated_panels(strings))
    found = [row for row in PRUNED if row.data == DATA[page]]
    return tuple(
        _Panel(
            network,
            tuple(
                _pruned_cell(row, strings) for row in found if row.network == network and row.by in CHARTED
            ),
        )
        for network in dict.fromkeys(row.network for row in found)
    )


def _pruned_cell(row: Pruned, strings: Strings) -> _Cell:
    words = _says(row, strings)
    if misprinted(row):
        words += " " + strings(
            "instance_published_caveat_gap_of", printed=row.printed_gap, gap=f"{gap(row):.2f}"
        )
    return _Cell(row.by, gap(row), row.saved or 0.0, words)


def _gated_panels(strings: Strings) -> Iterator[_Panel]:
    known = [row for row in GATED if row.density is not None and undiminished(row) is not None]
    for source, network in dict.fromkeys((row.source, row.network) for row in known):
        cells = tuple(
            _Cell(f"{row.density:g}", lost(row) or 0.0, saved(row) or 0.0, _gated_says(row, strings))
            for row in known
            if (row.source, row.network) == (source, network) and row.density in DENSITIES
        )
        yield _Panel(strings(f"instance_published_by_{source}", network=network), cells)


def describe(page: str, strings: Strings) -> list[str]:
    """Every network of a page, dense and pruned, in sentences."""
    if page == "fbs":
        return [_gated_says(row, strings) for row in GATED]
    return [_says(row, strings) for row in PRUNED if row.data == DATA[page]]


def _says(row: Pruned, strings: Strings) -> str:
    values = {"data": row.data, "network": row.network, "error": f"{row.error:.2f}"}
    if row.by == "dense":
        return strings("instance_published_says_dense", **values)
    values |= {"by": strings(f"instance_published_{row.by}"), "gap": f"{gap(row):.2f}"}
    return strings("instance_published_says", dense=f"{dense_of(row).error:.2f}", saved=row.saved, **values)


def _gated_says(row: Gated, strings: Strings) -> str:
    values = {"data": row.data, "network": row.network, "accuracy": f"{row.accuracy:.2f}"}
    if row.density is None:
        return strings("instance_published_says_without", **values)
    values |= {"density": f"{row.density:g}"}
    fewer = saved(row)
    if fewer is None:
        return strings("instance_published_says_alone", macs=f"{row.macs:,.0f}", **values)
    return strings("instance_published_says_gated", lost=f"{lost(row):.2f}", saved=f"{fewer:.0f}", **values)


# ---- tables -----------------------------------------------------------------------------------------------


def table_html(strings: Strings) -> str:
    """All numbers as two tables of HTML in a region of class "pe-papers" that scrolls; what is not known stays "–".

    Letters refer to the notes below the tables, where what could not be read and the sources stand as well.
    """
    words = {caveat: escape(strings(f"instance_published_caveat_{caveat}")) for caveat in _MARKS}
    marks = {caveat: f'<sup title="{words[caveat]}">{mark}</sup>' for caveat, mark in _MARKS.items()}
    notes = "; ".join(f"<sup>{mark}</sup> {words[caveat]}" for caveat, mark in _MARKS.items())
    missing = "; ".join(strings(f"instance_published_missing_{name}") for name in NOT_READ)
    named = "; ".join(strings(f"instance_published_source_{key}", address=SOURCES[key]) for key in SOURCES)
    pruned = _table(
        ("network", "by", "error", "top5_error", "gap", "saved"), _pruned_rows(strings, marks), strings
    )
    gated = _table(
        ("fbs", "density", "accuracy", "top5", "lost", "macs", "saved"), _gated_rows(strings, marks), strings
    )
    below = "".join(
        f"<p>{escape(strings(f'instance_published_{key}', **values))}</p>"
        for key, values in (("missing", {"tables": missing}), ("sources", {"sources": named}))
    )
    region = escape(strings("instance_published_region"))
    return (
        f'<div class="pe-papers" role="region" tabindex="0" aria-label="{region}">'
        f"{pruned}{gated}<p>{escape(strings('instance_published_mixed'))} {notes}.</p>{below}</div>"
    )


def _table(keys: Sequence[str], rows: Iterator[str], strings: Strings) -> str:
    head = "".join(
        f'<th scope="col">{escape(strings(f"instance_published_head_{key}"))}</th>' for key in keys
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _pruned_rows(strings: Strings, marks: dict[str, str]) -> Iterator[str]:
    for row, place, alone in _placed(PRUNED):
        method = escape(strings(f"instance_published_{row.by}"))
        dense = row.by == "dense"
        more = "–" if dense else f"{gap(row):.2f}{marks['gap'] if misprinted(row) else ''}"
        cells = (
            f"<b>{method}</b>" if row.by.startswith("manidp") else method,
            f"{row.error:.2f}",
            _number(row.top5_error),
            more,
            _number(row.saved, 1),
        )
        yield _line(_name(row.network, row.data, place, alone), cells, first=not place)


def _gated_rows(strings: Strings, marks: dict[str, str]) -> Iterator[str]:
    for row, place, alone in _placed(GATED):
        density = strings("instance_published_none") if row.density is None else f"{row.density:g}"
        whole = row.density is None
        macs = f"{row.macs:.2f}{marks['unit']}" if row.caveat == "unit" else f"{row.macs:,.0f}M"
        cells = (
            escape(density) + (marks["density"] if row.caveat == "density" else ""),
            f"{row.accuracy:.2f}",
            _number(row.top5),
            "–" if whole else _number(lost(row)),
            macs,
            "–" if whole else _number(saved(row), 1),
        )
        yield _line(_name(row.network, row.data, place, alone), cells, first=not place)


def _placed(rows: Sequence[Row]) -> Iterator[tuple[Row, int, bool]]:
    """Every row, its place among those of its network, and whether it is the only one."""
    for _network, group in groupby(rows, lambda row: row.network):
        found = list(group)
        yield from ((row, place, len(found) == 1) for place, row in enumerate(found))


def _name(network: str, data: str, place: int, alone: bool) -> str:
    """What a row begins with: a network's first with its name, the second (or an only one) with its data set."""
    below = f"<small>{escape(data)}</small>"
    return (escape(network) + (f"<br>{below}" if alone else "")) if not place else below if place == 1 else ""


def _line(name: str, cells: Sequence[str], first: bool) -> str:
    inner = "".join(f"<td>{cell}</td>" for cell in cells)
    return f'<tr{" class=pe-first" if first else ""}><th scope="row">{name}</th>{inner}</tr>'


def _number(value: float | None, decimals: int = 2) -> str:
    return "–" if value is None else f"{value:.{decimals}f}"


# ---- the chart --------------------------------------------------------------------------------------------


def _text(tables: dict[str, Columns], x: float, y: float, text: str, align: str, role: str) -> None:
    entry = {"x": x, "y": y, "align": align, **dict.fromkeys(_ROLES, "")} | {role: text}
    append_row(tables["labels"], entry)


_ROLES = ("soft", "ink", "bold", "kept")
_COLUMNS: dict[str, Sequence[str]] = {
    "strips": ("left", "right", "y"),
    "zeros": ("x", "low", "high"),
    "stems": ("left", "right", "y"),
    "dots": ("own", "other", "y", "hover"),
    "labels": ("x", "y", "align", *_ROLES),
}
_HOVER = """<div style="font: {size}px sans-serif; max-width: {wide}px; color: #1f2933">@hover</div>"""


def build(scale: float = 1.0) -> View:
    """An empty view. `scale` multiplies heights and fonts."""
    data = sources("instance-published", empty(_COLUMNS))
    chart = canvas("instance-published", HEIGHT, (-0.005, 1.005), scale)
    for table, role, width in (("strips", "line", 1.0), ("stems", "cut", 2.0)):
        ends = {"x0": "left", "x1": "right", "y0": "y", "y1": "y", "source": data[table]}
        paint(chart.segment(line_width=width, **ends).glyph, line_color=role)
    zero = chart.segment(x0="x", x1="x", y0="low", y1="high", source=data["zeros"])
    paint(zero.glyph, line_color="soft")
    dots = []
    for column, fill, role in (("other", "paper", "ink"), ("own", "kept", "kept")):
        dots.append(chart.scatter(x=column, y="y", size=8 * scale, line_width=1.5, source=data["dots"]))
        paint(dots[-1].glyph, fill_color=fill, line_color=role)
    place = {"x": "x", "y": "y", "text_align": "align", "text_baseline": "middle", "source": data["labels"]}
    for role in _ROLES:
        style = "bold" if role in ("bold", "kept") else "normal"
        text = chart.text(text=role, text_font_size=f"{13 * scale}px", text_font_style=style, **place)
        paint(text.glyph, text_color="ink" if role == "bold" else role)
    hover = _HOVER.format(size=round(13 * scale), wide=round(280 * scale))
    chart.add_tools(HoverTool(renderers=dots, tooltips=hover))
    return View(chart, data)
