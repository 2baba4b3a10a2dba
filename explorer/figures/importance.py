"""Histogram of one group's scores: removed channels outlined left of the threshold, kept ones solid right of it."""

import numpy as np
from numpy.typing import NDArray

from explorer.figures.palette import paint
from explorer.figures.view import Columns, View, canvas, empty, sources
from explorer.values import Bools, Floats

HEIGHT = 240.0
BASE = 44.0  # pixels: the bars' foot, above two lines of text
TALLEST = 168.0
MOST_BINS = 24
FEWEST_BINS = 8
LOG_FROM = 100.0  # ratio of largest to median score from which a linear axis would show one heap

Numbers = NDArray[np.float64]
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def columns(scores: Floats | None, keep: Bools | None, message: str = "") -> dict[str, Columns]:
    """The tables of the view: "kept", "removed", "threshold", "base" (the axis) and "labels".

    `scores`, `keep`: of all units of one group; None = nothing to draw but the message. Along the axis 0 is
    the lowest score and 1 the highest; heights are pixels.
    """
    tables = empty(_COLUMNS)
    if scores is None or keep is None or not len(scores):
        _label(tables, 0.5, BASE + TALLEST / 2, message, "center")
        return tables
    tables["base"] = {"y": [BASE]}
    values, log = _axis(scores)
    low, high = float(values.min()), float(values.max())
    places = (values - low) / (high - low) if high > low else np.full(len(values), 0.5)
    threshold = _threshold(places, keep)
    most = _bars(tables, places, keep, threshold)
    removed, kept = int((~keep).sum()), int(keep.sum())
    if threshold is not None:
        head = BASE + TALLEST + 18
        tables["threshold"] = {"x": [threshold], "foot": [BASE - 6], "head": [head]}
        value = low + threshold * (high - low)
        words = f"cut below {_number(np.exp(value) if log else value)}"
        beside = 0.025 if threshold < 0.6 else -0.025
        _label(tables, threshold + beside, head, words, "left" if beside > 0 else "right")
    _label(tables, 0.0, BASE - 14, f"{removed} removed", "left")
    _label(tables, 1.0, BASE - 14, f"{kept} kept", "right", bold=True)
    ends = np.exp([low, high]) if log else np.array([low, high])
    if high > low:
        _label(tables, 0.0, 10, f"lowest {_number(ends[0])}", "left")
        _label(tables, 0.5, 10, "log scale" if log else "", "center")
    _label(tables, 1.0, 10, f"highest {_number(ends[1])}", "right")
    if most:
        _label(tables, *most, "center")
    return tables


def _axis(scores: Floats) -> tuple[Numbers, bool]:
    """The scores as they are placed along the axis, and whether that is by their logarithm."""
    values = np.asarray(scores, dtype=np.float64)
    if values.min() > 0 and values.max() > LOG_FROM * np.median(values):
        return np.log(values), True
    return values, False


def _threshold(places: Numbers, keep: Bools) -> float | None:
    """Middle between the highest removed and the lowest kept place; None if there is none or they are mixed."""
    if keep.all() or not keep.any():
        return None
    removed, kept = places[~keep].max(), places[keep].min()
    return float((removed + kept) / 2) if removed <= kept else None


def _bars(
    tables: dict[str, Columns], places: Numbers, keep: Bools, threshold: float | None
) -> tuple[float, float, str] | None:
    """Fill the bars, splitting the bin that the threshold crosses; returns the tallest bar's label and its place."""
    count = int(np.clip(len(places) // 2, FEWEST_BINS, MOST_BINS))
    edges = np.linspace(0.0, 1.0, count + 1)
    removed = np.histogram(places[~keep], edges)[0]
    kept = np.histogram(places[keep], edges)[0]
    whole = kept + removed if threshold is None else np.maximum(kept, removed)
    unit = TALLEST / max(int(whole.max()), 1)
    gap = 0.1 / count
    for place in range(count):
        left, right = float(edges[place]) + gap, float(edges[place + 1]) - gap
        cut = right if threshold is None else min(max(threshold, left), right)
        mixed = bool(kept[place] and removed[place])
        if kept[place]:
            start = cut if mixed and threshold is not None else left
            _bar(tables["kept"], start, right, BASE, BASE + unit * int(kept[place]))
        if removed[place]:
            foot = BASE + unit * int(kept[place]) if mixed and threshold is None else BASE
            _bar(tables["removed"], left, cut if mixed else right, foot, foot + unit * int(removed[place]))
    tallest = int(whole.argmax())
    middle = float(edges[tallest] + edges[tallest + 1]) / 2
    if threshold is not None:
        return None  # the threshold's label has the place
    number = int(whole[tallest])
    return min(max(middle, 0.08), 0.92), BASE + TALLEST + 9, f"{number} channel{'s' * (number != 1)}"


def _bar(table: Columns, left: float, right: float, bottom: float, top: float) -> None:
    for key, value in (("left", left), ("right", right), ("bottom", bottom), ("top", top)):
        table[key].append(value)


def _label(tables: dict[str, Columns], x: float, y: float, text: str, align: str, bold: bool = False) -> None:
    if text:
        entry = {"x": x, "y": y, "plain": "" if bold else text, "bold": text if bold else "", "align": align}
        for key, value in entry.items():
            tables["labels"][key].append(value)


def _number(value: float) -> str:
    """Three digits, or two and a power of ten: "0.0123", "3.2·10⁻⁶"."""
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        return f"{value:.3g}"
    digits, power = f"{value:.1e}".split("e")
    return f"{digits}·10{str(int(power)).translate(_SUPERSCRIPTS)}"


def describe(name: str, scores: Floats | None, keep: Bools | None, message: str = "") -> list[str]:
    """The chart in sentences; `name` is the layer's."""
    if scores is None or keep is None or not len(scores):
        return [message] if message else []
    sentences = [f"{name}: {int((~keep).sum())} channels removed, {int(keep.sum())} kept."]
    for label, part in (("removed", scores[~keep]), ("kept", scores[keep])):
        if len(part):
            sentences.append(
                f"Importance of {label} channels: {_number(part.min())} to {_number(part.max())}."
            )
    return sentences


_COLUMNS = {
    "kept": ("left", "right", "bottom", "top"),
    "removed": ("left", "right", "bottom", "top"),
    "threshold": ("x", "foot", "head"),
    "base": ("y",),
    "labels": ("x", "y", "plain", "bold", "align"),
}


def build(scale: float = 1.0) -> View:
    """An empty view. `scale` multiplies heights and fonts."""
    data = sources("importance", empty(_COLUMNS))
    chart = canvas("importance", HEIGHT, (-0.02, 1.02), scale)
    box = {"left": "left", "right": "right", "bottom": "bottom", "top": "top"}
    paint(chart.quad(line_color=None, source=data["kept"], **box).glyph, fill_color="kept")
    paint(
        chart.quad(fill_color=None, line_dash=[3, 2], source=data["removed"], **box).glyph, line_color="cut"
    )
    paint(chart.segment(x0=-0.02, x1=1.02, y0="y", y1="y", source=data["base"]).glyph, line_color="line")
    line = chart.segment(x0="x", x1="x", y0="foot", y1="head", line_width=2, source=data["threshold"])
    paint(line.glyph, line_color="chosen")
    head = chart.scatter(x="x", y="head", size=12 * scale, source=data["threshold"])
    paint(head.glyph, fill_color="chosen", line_color="chosen")
    place = {"x": "x", "y": "y", "text_align": "align", "text_baseline": "middle", "source": data["labels"]}
    for column, role, style in (("bold", "kept", "bold"), ("plain", "soft", "normal")):
        text = chart.text(text=column, text_font_size=f"{13 * scale}px", text_font_style=style, **place)
        paint(text.glyph, text_color=role)
    return View(chart, data)
