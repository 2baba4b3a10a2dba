"""Scores of one group's channels, as a histogram or sorted: kept solid, removed outlined, a threshold between.

The threshold and the width are one thing: `ECHO` is what the browser does while either is dragged.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from explorer.figures.palette import paint
from explorer.figures.view import Columns, View, canvas, empty, sources
from explorer.strings import Strings
from explorer.values import Bools, Floats

HEIGHT = 76.0
BASE = 19.0  # pixels: the bars' foot, above a line of text
TALLEST = 40.0
HEAD = 67.0  # the middle of the threshold's knob
MOST_BINS = 24
FEWEST_BINS = 8
MOST_BARS = 128  # sorted channels that are drawn one by one; more become one area of as many steps
LOG_FROM = 100.0  # ratio of largest to median score from which a linear axis would show one heap
END = 0.008  # where the threshold stands beside the lowest or the highest score
MARGIN = 0.035
NONE = float("nan")

Numbers = NDArray[np.float64]
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True, eq=False)
class Importance:
    """What the chart shows: scores and kept units of one group. `chart` is "histogram" or "sorted".

    `channels`: number of the layer's channel for every unit, -1 where it has none.
    """

    scores: Floats
    keep: Bools
    chart: str = "histogram"
    channels: tuple[int, ...] = ()


def columns(shown: Importance | None, strings: Strings, message: str = "") -> dict[str, Columns]:
    """The tables of the view: "bars", "threshold", "base" (the axis), "labels" and "scale" (what a drag needs).

    None = nothing to draw but the message. The axis goes from 0 to 1: from the lowest to the highest score of
    a histogram, over all channels, the best first, where they are sorted. Heights are pixels.
    """
    tables = empty(_COLUMNS)
    if shown is None or not len(shown.scores):
        _label(tables, 0.5, BASE + TALLEST / 2, message, "center")
        return tables
    tables["base"] = {"y": [BASE]}
    places = np.sort(_places(shown.scores))
    size, width = len(shown.keep), int(shown.keep.sum())
    ordered = bool(shown.chart == "sorted")
    first = width if ordered else size - width
    split = _is_split(shown)
    x = first / size if ordered else _between(places, first)
    if ordered:
        _ranks(tables["bars"], places[::-1])
    else:
        _bins(tables["bars"], places)
    if split:
        _part(tables["bars"], first, x, ordered, len(places) > MOST_BARS)
        tables["threshold"] = {"x": [x], "foot": [BASE - 4], "head": [HEAD]}
    elif ordered:
        _mark(tables["bars"], shown)
    else:
        _stack(tables["bars"], shown)
    order = np.argsort(-shown.scores, kind="stable").tolist()
    tables["scale"] = {
        "size": [size],
        "ordered": [ordered],
        "places": [places.tolist()],
        "area": [len(places) > MOST_BARS],
        "channels": [[shown.channels[unit] for unit in order] if shown.channels else []],
    }
    _words(tables, shown, x if split else None, strings)
    return tables


def is_logarithmic(scores: Floats) -> bool:
    """Whether the scores are placed by their logarithm, because on a linear axis they would be one heap."""
    values = np.asarray(scores, dtype=np.float64)
    return bool(values.min() > 0 and values.max() > LOG_FROM * np.median(values))


def _places(scores: Floats) -> Numbers:
    """Every score's place from the lowest (0) to the highest (1)."""
    values = np.asarray(scores, dtype=np.float64)
    values = np.log(values) if is_logarithmic(scores) else values
    low, high = values.min(), values.max()
    return np.asarray((values - low) / (high - low) if high > low else np.full(len(values), 0.5))


def _is_split(shown: Importance) -> bool:
    """Whether every kept score is at least as high as every removed one."""
    if shown.keep.all() or not shown.keep.any():
        return True
    return bool(shown.scores[~shown.keep].max() <= shown.scores[shown.keep].min())


def _between(places: Numbers, removed: int) -> float:
    """The threshold's place that leaves `removed` of the ascending places below it."""
    if removed == 0:
        return -END
    if removed == len(places):
        return 1 + END
    return float((places[removed - 1] + places[removed]) / 2)


def _bins(bars: Columns, places: Numbers) -> None:
    count = int(np.clip(len(places) // 2, FEWEST_BINS, MOST_BINS))
    edges = np.linspace(0.0, 1.0, count + 1)
    counts = np.histogram(places, edges)[0]
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    unit, gap = TALLEST / max(int(counts.max()), 1), 0.1 / count
    for place in counts.nonzero()[0].tolist():
        left, right = float(edges[place]) + gap, float(edges[place + 1]) - gap
        _bar(bars, left, right, int(starts[place]), int(counts[place]), BASE + unit * int(counts[place]))


def _ranks(bars: Columns, places: Numbers) -> None:
    """One bar per channel, or steps of several neighbours, as high as their mean; the lowest is still seen."""
    size = len(places)
    steps = min(size, MOST_BARS)
    gap = 0.0 if size > MOST_BARS else 0.1 / size
    for ranks in np.array_split(np.arange(size), steps):
        top = BASE + 2 + (TALLEST - 2) * float(places[ranks].mean())
        left, right = float(ranks[0]) / size + gap, float(ranks[-1] + 1) / size - gap
        _bar(bars, left, right, int(ranks[0]), len(ranks), top)


def _bar(bars: Columns, left: float, right: float, start: int, count: int, top: float) -> None:
    entry = {"left": left, "right": right, "start": start, "count": count, "top": top, "foot": BASE}
    parts = (
        "kept_left",
        "kept_right",
        "removed_left",
        "removed_right",
        "kept_top",
        "removed_top",
        "step_top",
    )
    for key, value in {**entry, **dict.fromkeys(parts, NONE)}.items():
        bars[key].append(value)


def _part(bars: Columns, first: int, x: float, ordered: bool, area: bool) -> None:
    """Give every bar its kept and its removed part; the bar that the threshold crosses has both.

    `first` channels lie left of the threshold at `x`. The same as `part` in ECHO.
    """
    names = ("kept", "removed") if ordered else ("removed", "kept")
    for place, (left, right, start, count, top) in enumerate(
        zip(*(bars[key] for key in ("left", "right", "start", "count", "top")), strict=True)
    ):
        before = min(max(first - start, 0), count)
        cut = min(max(x, left), right)
        spans = {
            names[0]: (left, cut if before < count else right) if before else (NONE, NONE),
            names[1]: (cut if before else left, right) if before < count else (NONE, NONE),
        }
        for name, (begin, end) in spans.items():
            bars[f"{name}_left"][place], bars[f"{name}_right"][place] = begin, end
        bars["kept_top"][place] = top
        bars["step_top" if area and ordered else "removed_top"][place] = top


def _stack(bars: Columns, shown: Importance) -> None:
    """Kept and removed channels have the same scores: the removed ones of every bin stand upon the kept."""
    kept = shown.keep[np.argsort(_places(shown.scores), kind="stable")]
    for place, (left, right, start, count, top) in enumerate(
        zip(*(bars[key] for key in ("left", "right", "start", "count", "top")), strict=True)
    ):
        here = int(kept[start : start + count].sum())
        middle = BASE + (top - BASE) * here / count
        if here:
            bars["kept_left"][place], bars["kept_right"][place], bars["kept_top"][place] = left, right, middle
        if here < count:
            bars["removed_left"][place], bars["removed_right"][place] = left, right
            bars["foot"][place], bars["removed_top"][place] = middle, top


def _mark(bars: Columns, shown: Importance) -> None:
    """Kept and removed channels in any order: every bar is what most of its channels are."""
    kept = shown.keep[np.argsort(-shown.scores, kind="stable")]
    for place, (left, right, start, count, top) in enumerate(
        zip(*(bars[key] for key in ("left", "right", "start", "count", "top")), strict=True)
    ):
        name = "kept" if 2 * int(kept[start : start + count].sum()) >= count else "removed"
        bars[f"{name}_left"][place], bars[f"{name}_right"][place] = left, right
        bars[f"{name}_top"][place] = top


def _words(tables: dict[str, Columns], shown: Importance, x: float | None, strings: Strings) -> None:
    kept = int(shown.keep.sum())
    removed = len(shown.keep) - kept
    parts = (("layer_removed", removed, False), ("layer_kept", kept, True))
    ordered = shown.chart == "sorted"
    for (key, count, bold), right in zip(parts, (ordered, not ordered), strict=True):
        align, end = ("right", 1 + MARGIN) if right else ("left", -MARGIN)
        _label(tables, end, 8.0, strings(key, count=count), align, bold)
    if x is None:
        return
    beside = 0.022 if x < 0.6 else -0.022
    words = strings("layer_drag_threshold") if kept else ""
    if removed and kept:
        border = (float(shown.scores[~shown.keep].max()) + float(shown.scores[shown.keep].min())) / 2
        words = strings("layer_cut_below", score=number(border))
    _label(tables, x + beside, HEAD, words, "left" if beside > 0 else "right")


def _label(tables: dict[str, Columns], x: float, y: float, text: str, align: str, bold: bool = False) -> None:
    if text:
        entry = {"x": x, "y": y, "plain": "" if bold else text, "bold": text if bold else "", "align": align}
        for key, value in entry.items():
            tables["labels"][key].append(value)


def number(value: float) -> str:
    """Three digits, or two and a power of ten: "0.0123", "3.2·10⁻⁶"."""
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        return f"{value:.3g}"
    digits, power = f"{value:.1e}".split("e")
    return f"{digits}·10{str(int(power)).translate(_SUPERSCRIPTS)}"


def describe(name: str, shown: Importance | None, strings: Strings, message: str = "") -> list[str]:
    """The chart in sentences; `name` is the layer's."""
    if shown is None or not len(shown.scores):
        return [message] if message else []
    kept = int(shown.keep.sum())
    sentences = [strings("layer_say_counts", name=name, removed=len(shown.keep) - kept, kept=kept)]
    for key, part in (("removed", shown.scores[~shown.keep]), ("kept", shown.scores[shown.keep])):
        if len(part):
            low, high = number(float(part.min())), number(float(part.max()))
            sentences.append(strings(f"layer_say_scores_{key}", low=low, high=high))
    return sentences


_COLUMNS = {
    "bars": (
        *("left", "right", "start", "count", "top", "foot", "kept_left", "kept_right", "kept_top"),
        *("removed_left", "removed_right", "removed_top", "step_top"),
    ),
    "threshold": ("x", "foot", "head"),
    "base": ("y",),
    "labels": ("x", "y", "plain", "bold", "align"),
    "scale": ("size", "ordered", "places", "area", "channels"),
}


def build(scale: float = 1.0) -> View:
    """An empty view. `scale` multiplies heights and fonts."""
    data = sources("importance", empty(_COLUMNS))
    chart = canvas("importance", HEIGHT, (-MARGIN, 1 + MARGIN), scale)
    bars = data["bars"]
    kept = chart.quad(left="kept_left", right="kept_right", bottom=BASE, top="kept_top", source=bars)
    paint(kept.glyph, fill_color="kept").line_color = None
    span = {"left": "removed_left", "right": "removed_right", "bottom": "foot"}
    removed = chart.quad(top="removed_top", fill_color=None, line_dash=[3, 2], source=bars, **span)
    paint(removed.glyph, line_color="cut")
    steps = chart.segment(
        x0="removed_left", x1="removed_right", y0="step_top", y1="step_top", line_dash=[2, 2], source=bars
    )
    paint(steps.glyph, line_color="cut")
    paint(
        chart.segment(x0=-MARGIN, x1=1 + MARGIN, y0="y", y1="y", source=data["base"]).glyph, line_color="line"
    )
    line = chart.segment(x0="x", x1="x", y0="foot", y1="head", line_width=2, source=data["threshold"])
    paint(line.glyph, line_color="chosen")
    knob = chart.scatter(x="x", y="head", size=12 * scale, line_width=2, source=data["threshold"])
    paint(knob.glyph, fill_color="paper", line_color="chosen")
    place = {"x": "x", "y": "y", "text_align": "align", "text_baseline": "middle", "source": data["labels"]}
    for column, role, style in (("bold", "kept", "bold"), ("plain", "soft", "normal")):
        text = chart.text(text=column, text_font_size=f"{13 * scale}px", text_font_style=style, **place)
        paint(text.glyph, text_color=role)
    return View(chart, data)


# JavaScript: `widthAt(scale, x)` is the width that the threshold at x means; `show(bars, threshold, scale, width)`
# draws it, as _part and _between do in Python.
ECHO = f"""
const widthAt = (scale, x) => {{
  const size = scale.data.size[0]
  const width = scale.data.ordered[0] ? Math.round(x * size) : scale.data.places[0].filter((p) => p > x).length
  return Math.max(1, Math.min(size, width))
}}
const show = (bars, threshold, scale, width) => {{
  if (scale.data.size.length == 0) return
  const size = scale.data.size[0], ordered = scale.data.ordered[0], places = scale.data.places[0]
  const first = ordered ? width : size - width
  const x = ordered ? first / size : first == 0 ? {-END} : first == size ? {1 + END}
    : (places[first - 1] + places[first]) / 2
  const data = {{...bars.data}}
  const names = ordered ? ["kept", "removed"] : ["removed", "kept"]
  for (const name of names) for (const end of ["left", "right", "top"]) data[name + "_" + end] = []
  data.step_top = []
  data.foot = data.left.map(() => {BASE})
  for (let i = 0; i < data.left.length; i++) {{
    const before = Math.max(0, Math.min(data.count[i], first - data.start[i]))
    const after = data.count[i] - before
    const cut = Math.max(data.left[i], Math.min(data.right[i], x))
    data[names[0] + "_left"].push(before ? data.left[i] : NaN)
    data[names[0] + "_right"].push(before ? (after ? cut : data.right[i]) : NaN)
    data[names[1] + "_left"].push(after ? (before ? cut : data.left[i]) : NaN)
    data[names[1] + "_right"].push(after ? data.right[i] : NaN)
    const steps = scale.data.area[0] && ordered
    data.kept_top.push(data.top[i])
    data.removed_top.push(steps ? NaN : data.top[i])
    data.step_top.push(steps ? data.top[i] : NaN)
  }}
  bars.data = data
  threshold.data = {{x: [x], foot: [{BASE - 4}], head: [{HEAD}]}}
}}
"""
