"""Width bars: every layer as a bar as long as its channels, the image at the bottom, removed ones as an outline.

Where images are picked, the layers that they keep channels of show which, cell by cell, in place of the plan's widths.
What is not drawn is NaN in its column. Lengths are in parts of the longest dense bar, distances from the bars'
left end in pixels.
"""

from collections.abc import Iterator, Mapping
from statistics import median

from explorer.figures import picked
from explorer.figures.bar_words import fold_hover, hover, labels, legend_hover, most_lost, names_in
from explorer.figures.rows import Band, Layout, Row, Section
from explorer.figures.shown import Shown, kept, percents, shares
from explorer.figures.view import Columns, empty
from explorer.strings import Strings

LEFT = 106.0  # margin for names
NAMES_AT = -98.0
MARKER_AT = -8.0
THICKEST = 40.0
THIN = 5.0
NONE = float("nan")


def columns(layout: Layout, shown: Shown, strings: Strings) -> dict[str, Columns]:
    """The tables of the view: "margins", "rows", "cells", "key", "bands", "folds", "handles", "heat", "hover",
    "labels" and "scale", one entry for each thing that is drawn; times O(rows on the screen)."""
    tables = empty(TABLES)
    numbered = _numbers_at(layout)
    for row in layout.rows:
        _append(tables["rows"], _row(layout, row, shown, numbered.get(row.group, 0.0)))
        for cell in _cells(layout, row, shown):
            _append(tables["cells"], cell)
        _append(tables["hover"], hover(row, shown, strings))
        if row.prunable and not row.thin and row.group not in shown.locked:
            _append(tables["handles"], _row_handle(layout, row, shown))
    for band in layout.bands:
        _append(tables["bands"], _band(layout, band, shown))
        if band.row.prunable and band.group not in shown.locked:
            _append(tables["handles"], _band_handle(layout, band, shown))
    for section in layout.sections:
        if section.folded:
            _append(tables["folds"], _fold(layout, section, shown, strings))
            _append(tables["hover"], fold_hover(layout, section, shown, strings))
            if free := [group for group in section.groups if group not in shown.locked]:
                _append(tables["handles"], _fold_handle(layout, section, shown, free))
    for entry in _heat(layout, shown):
        _append(tables["heat"], entry)
    if shown.lost:
        _append(tables["hover"], legend_hover(layout, shown, strings))
    for label in labels(layout, shown.plan, strings):
        _append(tables["labels"], label)
    _append(tables["scale"], _scale(layout, shown, strings))
    for swatch in picked.key(shown, _right(layout, shown) - 4.0, strings):
        _append(tables["key"], _swatch(layout, swatch))
    _append(tables["margins"], {"left": LEFT, "right": _right(layout, shown)})
    return tables


def _right(layout: Layout, shown: Shown) -> float:
    """The margin for numbers, wider if blocks are folded or images picked, and for the column of sensitivity."""
    return (68.0 if layout.foldable or shown.instances else 44.0) + (20.0 if shown.lost else 0.0)


def _append(table: Columns, entry: Mapping[str, object]) -> None:
    for key, value in entry.items():
        table[key].append(value)


def _numbers_at(layout: Layout) -> dict[str, float]:
    """For groups inside a band: where the band ends, so that numbers stand to the right of it."""
    ends: dict[str, float] = {}
    for band in layout.bands:
        end = layout.length(band.row.size, band.row.size)
        for row in layout.rows:
            if band.bottom <= row.middle < band.top:
                ends[row.group] = max(ends.get(row.group, 0.0), end)
    return ends


def _thickness(row: Row, shown: Shown) -> float:
    """A thin row is as thick as it can be where its bar has cells."""
    pitch = row.top - row.bottom
    if row.thin and row.name in shown.instances:
        return pitch - 2.0
    return min(THIN, pitch * 0.5) if row.thin else min(pitch - 3.0, pitch * 0.4 + 5.0, THICKEST)


def _cells(layout: Layout, row: Row, shown: Shown) -> Iterator[dict[str, object]]:
    """Which channels the picked images keep, at their places in the bar."""
    masks = shown.instances.get(row.name)
    if masks is None:
        return
    half = _thickness(row, shown) / 2
    for whose, start, end, share in picked.cells(masks):
        right = layout.length(end, row.size)
        yield {
            "left": layout.length(start, row.size),
            "bottom": row.middle - (0.0 if whose == "first" else half),
            "top": row.middle + (0.0 if whose == "second" else half),
            "alpha": share,
            **{each: right if each == whose else NONE for each in picked.ROLES},
        }


def _swatch(layout: Layout, swatch: dict[str, object]) -> dict[str, object]:
    """An entry of the key, beside the image's bar; its swatch shows the place in a bar, too."""
    middle, half = layout.image_top / 2, picked.SWATCH / 2
    whose, right = swatch["whose"], swatch["right"]
    return {
        **{name: swatch[name] for name in ("left", "x", "text")},
        "middle": middle,
        "low": middle - half,
        "high": middle + half,
        "outline": right,
        "bottom": middle - (0.0 if whose == "first" else half),
        "top": middle + (0.0 if whose == "second" else half),
        **{each: right if each == whose else NONE for each in picked.ROLES},
    }


def _row(layout: Layout, row: Row, shown: Shown, band_end: float) -> dict[str, object]:
    count = kept(row, shown.plan)
    length = layout.length(count, row.size)
    dense = layout.length(row.size, row.size)
    chosen = row.prunable and bool(shown.selection) and row.group == shown.selection
    half = _thickness(row, shown) / 2
    outlined = row.prunable and not row.banded
    masks = shown.instances.get(row.name)
    width = shown.plan.widths.get(row.group)
    own = outlined and not row.thin
    mark = "@lock" if row.group in shown.locked else "@pin" if row.group in shown.pinned else ""
    gripped = any(band.group == row.group and band.grip == row.middle for band in layout.bands)
    marked = bool(mark) and (own or gripped)
    solid = row.prunable and masks is None
    return {
        "bottom": row.middle - half,
        "top": row.middle + half,
        "middle": row.middle,
        "group": row.group,
        "base": count - (width * row.step if width is not None else 0),
        "step": row.step,
        "unit": layout.length(1, row.size),
        "kept": length if solid and not chosen else NONE,
        "chosen": length if solid and chosen else NONE,
        "fixed": NONE if row.prunable or masks is not None else length,
        "dense": dense if outlined or masks is not None else NONE,
        "reference": layout.length(kept(row, shown.reference), row.size) if own else NONE,
        "crossed": dense if own and width == 0 else NONE,
        "marker": MARKER_AT if row.name == shown.layer else NONE,
        "number": "" if row.thin or not (own or masks) else picked.number(masks) if masks else str(count),
        "number_at": max(dense, band_end),
        "number_shift": 21.0 if marked else 8.0,
        "mark": mark or "@pin",
        "mark_at": max(dense, band_end) if marked else NONE,
    }


def _band(layout: Layout, band: Band, shown: Shown) -> dict[str, object]:
    row = band.row
    width = layout.length(kept(row, shown.plan), row.size)
    before = kept(row, shown.reference)
    chosen = band.group == shown.selection
    return {
        "bottom": band.bottom + 1,
        "top": band.top - 1,
        "group": band.group,
        "dense": layout.length(row.size, row.size),
        "reference": layout.length(before, row.size) if before < row.size else NONE,
        "width": width,
        "kept": NONE if chosen else width,
        "chosen": width if chosen else NONE,
    }


def _fold(layout: Layout, section: Section, shown: Shown, strings: Strings) -> dict[str, object]:
    whole = layout.length(section.size, section.size)
    layers = names_in(layout, section)
    low, middle, high = (share * whole for share in shares(section, layers, shown))
    drawn = bool(section.groups) or any(name in shown.instances for name in layers)
    place = layout.places.get(shown.layer, -1)
    texts = percents(section, layers, shown)
    same = texts["low"] == texts["high"]
    half = min(section.top - section.bottom - 3.0, (section.top - section.bottom) * 0.4 + 5.0, THICKEST) / 2
    number = (
        strings("bars_share", share=texts["low"])
        if same
        else strings("bars_range", low=texts["low"], high=texts["high"])
    )
    return {
        "bottom": section.middle - half,
        "top": section.middle + half,
        "middle": section.middle,
        "start": section.block.first,
        "dense": whole if drawn else NONE,
        "fixed": NONE if drawn else whole,
        "low": low if drawn else NONE,
        "median": middle if drawn else NONE,
        "high": high if drawn else NONE,
        "marker": MARKER_AT if section.block.holds((place, place + 1)) else NONE,
        "number": number if drawn else "",
    }


def _handle(low: float, high: float, grip: float, height: float, x: float, chosen: bool) -> dict[str, object]:
    return {
        "low": low,
        "high": high,
        "y": grip,
        "height": height,
        "x": x,
        "kept": NONE if chosen else x,
        "chosen": x if chosen else NONE,
    }


def _row_handle(layout: Layout, row: Row, shown: Shown) -> dict[str, object]:
    count = kept(row, shown.plan)
    x, chosen = layout.length(count, row.size), row.group == shown.selection
    return {
        **_handle(row.bottom, row.top, row.middle, _thickness(row, shown) + 2, x, chosen),
        "group": row.group,
        "layer": row.name,
        "groups": [row.group],
        "sizes": [len(shown.plan.keep[row.group])],
        "snaps": [shown.snaps.get(row.group, 1)],
        "base": count - shown.plan.widths[row.group] * row.step,
        "step": row.step,
        "unit": layout.length(1, row.size),
        "fold": -1,
    }


def _band_handle(layout: Layout, band: Band, shown: Shown) -> dict[str, object]:
    handle = _row_handle(layout, band.row, shown)
    return {**handle, "low": band.bottom, "high": band.top, "y": band.grip, "height": 13.0}


def _fold_handle(layout: Layout, section: Section, shown: Shown, free: list[str]) -> dict[str, object]:
    whole = layout.length(section.size, section.size)
    x = median(shown.share(group) for group in free) * whole
    return {
        **_handle(section.bottom, section.top, section.middle, section.top - section.bottom - 2, x, False),
        "height": min(section.top - section.bottom - 1.0, THICKEST),
        "group": "",
        "layer": "",
        "groups": free,
        "sizes": [len(shown.plan.keep[group]) for group in free],
        "snaps": [shown.snaps.get(group, 1) for group in free],
        "base": 0,
        "step": 1,
        "unit": whole,
        "fold": section.block.first,
    }


def _heat(layout: Layout, shown: Shown) -> list[dict[str, object]]:
    """Accuracy lost per group as opacity, the largest loss being opaque; a folded block shows its largest."""
    most = max(shown.lost.values(), default=0.0)
    right = _right(layout, shown)
    cells = [(row.bottom, row.top, [row.group]) for row in layout.rows if row.group in shown.lost]
    cells += [(s.bottom, s.top, list(s.groups)) for s in layout.sections if s.folded]
    heat: list[dict[str, object]] = []
    for bottom, top, groups in cells:
        losses = [shown.lost[group] for group in groups if group in shown.lost]
        if losses:
            share = min(max(max(losses) / most, 0.0), 1.0) if most > 0 else 0.0
            cell = {"left": right - 17.0, "right": right - 4.0, "bottom": bottom + 0.5, "top": top - 0.5}
            heat.append({**cell, "heat": round(0.06 + 0.94 * share, 3)})
    return heat


def _scale(layout: Layout, shown: Shown, strings: Strings) -> dict[str, object]:
    if shown.lost or shown.instances:  # their legends need the room; every bar has its number
        text = ""
    elif layout.percent:
        text = strings("bars_scale_percent")
    else:
        text = strings("bars_scale", channels=f"{layout.longest:,}")
    return {
        "y": layout.image_top / 2,
        "bottom": 3.0,
        "top": layout.image_top - 3.0,
        "image": layout.image_channels / layout.longest,
        "right": _right(layout, shown) - 4.0,
        "text": text,
        "heat": strings("bars_lost_scale", points=most_lost(shown))
        if shown.lost and not shown.instances
        else "",
    }


_ROW = ("bottom", "top", "middle", "group", "base", "step", "unit", "kept", "chosen", "fixed", "dense")
_HANDLE = (
    "low",
    "high",
    "y",
    "height",
    "x",
    "kept",
    "chosen",
    "group",
    "groups",
    "sizes",
    "snaps",
    "base",
    "step",
)
TABLES = {
    "margins": ("left", "right"),
    "rows": (
        *_ROW,
        *("reference", "crossed", "marker", "number", "number_at", "number_shift", "mark", "mark_at"),
    ),
    "cells": ("left", "bottom", "top", "alpha", *picked.ROLES),
    "key": ("left", "outline", "low", "high", "bottom", "top", *picked.ROLES, "x", "middle", "text"),
    "bands": ("bottom", "top", "group", "dense", "reference", "width", "kept", "chosen"),
    "folds": (
        *("bottom", "top", "middle", "start", "dense", "fixed", "low", "median", "high", "marker", "number"),
    ),
    "handles": (*_HANDLE, "unit", "fold", "layer"),
    "heat": ("left", "right", "bottom", "top", "heat"),
    "hover": ("low", "high", "html"),
    "labels": ("y", "bold", "plain"),
    "scale": ("y", "bottom", "top", "image", "right", "text", "heat"),
}
