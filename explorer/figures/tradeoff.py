"""Accuracy against cost: every visited state, how one came from another, and what plans without insight give.

Geometry is pixels upwards (at scale 1) and, along the axis, parts of the plot from 0 to 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan

from bokeh.models import ColumnDataSource, HoverTool
from bokeh.plotting import figure

from explorer.figures.label_places import Labels
from explorer.figures.palette import paint
from explorer.figures.trade_axes import (
    BASE,
    HEIGHT,
    LEFT,
    NONE,
    PLOT_PIXELS,
    RIGHT,
    Axes,
    axes_of,
    cost_share,
    share_of,
)
from explorer.figures.trade_bands import Curve, curves
from explorer.figures.view import Columns, View, canvas, empty, sources
from explorer.records import SweepPoint, Visit, recovered
from explorer.strings import Strings
from explorer.values import Cost, Estimate, Recovery

REACH = 16.0  # pixels from a point that a tap may miss it by, at the narrowest
_MARKERS = {"none": "circle", "bn": "circle", "merge": "triangle", "refit": "diamond", "trained": "square"}
_SIGNS = {"none": "○", "bn": "●", "merge": "▲", "refit": "◆", "trained": "■"}
_AROUND = ("right", "left", "above right", "below right", "above left", "below left", "above", "below")
_ABOVE = ("above right", "above left", "above")  # at the foot, where the axis has its numbers
_BESIDE_BAND = {
    "uniform": ("above left", "left", "above"),
    "random": ("below right", "right", "below"),
    "drawn": ("above", "right", "above left"),
}


@dataclass(frozen=True)
class Shown:
    """What the chart shows. `x` is "macs", "params" or "latency"; `at` and `chosen` are numbers of visits."""

    visits: tuple[Visit, ...]
    dense: Cost
    x: str = "macs"
    at: int | None = None
    chosen: int | None = None
    reference: Estimate | None = None
    reference_cost: Cost | None = None
    reference_is_dense: bool = True
    bands: tuple[SweepPoint, ...] = ()

    @property
    def placed(self) -> tuple[Visit, ...]:
        """The visits that have a place along the axis."""
        return tuple(visit for visit in self.visits if share_of(visit, self.x, self.dense) is not None)


def recovery_short(visit: Visit, strings: Strings) -> str:
    """The same in a word, as in the key of the chart; "" where nothing was cut."""
    return "" if uncut(visit) else strings(f"tradeoff_key_{visit.recovery.kind}")


def recovery_words(visit: Visit, strings: Strings) -> str:
    """What was done to the weights of a visit, as people read it."""
    if visit.recovery.repair != "none":
        return strings.say(recovered(visit.recovery))
    key = "uncut" if uncut(visit) else visit.recovery.kind
    return strings(f"tradeoff_after_{key}", epochs=visit.recovery.epochs)


def uncut(visit: Visit) -> bool:
    """Whether a visit is the dense network as it was loaded."""
    return visit.recovery == Recovery() and all(kept.all() for kept in visit.plan.keep.values())


def title(visit: Visit, strings: Strings) -> str:
    """A visit's name; where it has none, "dense network" or its number in words."""
    return visit.name or strings("tradeoff_uncut" if uncut(visit) else "tradeoff_state", number=visit.number)


def columns(shown: Shown, strings: Strings, message: str = "") -> dict[str, Columns]:
    """The tables of the view. `message` stands in the middle of a chart that has little to show yet."""
    tables = empty(_COLUMNS)
    axes = _axes(shown)
    _ticks(tables, axes, shown, strings)
    labels = Labels(PLOT_PIXELS)
    spots = {visit.number: _spot(visit, shown, axes) for visit in shown.placed}
    for x, y in spots.values():
        labels.avoid(x, y, 9)
    for y in tables["grid"]["y"]:
        labels.avoid_line(y)
    labels.avoid_text(LEFT, HEIGHT - 8, strings("tradeoff_y"), "left")
    _key(tables, shown, labels, strings)
    bands = curves(shown.bands, shown.x, shown.dense, axes) if shown.x != "latency" else []
    for band in bands:
        _band(tables, band, labels)
    _path(tables, shown, spots, labels)
    for visit in shown.placed:
        _point(tables, visit, spots[visit.number], shown, axes, strings)
    for table, number in (("current", shown.at), ("chosen", shown.chosen)):
        if number in spots:
            _append(tables[table], {"x": spots[number][0], "y": spots[number][1]})
    _reference(tables, shown, axes, labels, strings)
    for visit in shown.placed:
        if words := _name(visit, shown, axes, strings):
            around = _ABOVE if axes.below(visit.estimate.value) else _AROUND
            place = labels.beside([spots[visit.number]], words, around, gap=12)
            _text(tables, *place, "ink")
    for band in bands:
        after = _after(band.recovery, strings)
        words = strings(f"tradeoff_band_{band.kind}", seeds=band.seeds, after=after)
        _text(tables, *labels.beside(band.spots, words, _BESIDE_BAND[band.kind], gap=5), "soft")
    if message:
        _text(tables, 0.5, BASE + 40, message, "center", "soft")
    return tables


def hit(shown: Shown, x: float, y: float) -> int | None:
    """The number of the visit nearest to a tap at (x, y) of the chart, None if none is near."""
    axes = _axes(shown)
    found: tuple[float, int] | None = None
    for visit in shown.placed:
        at_x, at_y = _spot(visit, shown, axes)
        distance = ((x - at_x) * PLOT_PIXELS) ** 2 + (y - at_y) ** 2
        if distance <= REACH**2 and (found is None or distance <= found[0]):
            found = distance, visit.number
    return found[1] if found else None


def _axes(shown: Shown) -> Axes:
    intervals = [(v.estimate.low, v.estimate.value, v.estimate.high) for v in shown.placed]
    if shown.reference is not None and shown.reference.seen:
        intervals.append((shown.reference.low, shown.reference.value, shown.reference.high))
    shares = [share for visit in shown.visits if (share := share_of(visit, shown.x, shown.dense)) is not None]
    bands = () if shown.x == "latency" else shown.bands
    uniform = [
        (cost_share(point.cost, shown.dense, shown.x), point.estimate.value)
        for point in bands
        if point.kind == "uniform"
    ]
    return axes_of(shares, intervals, uniform, all(visit.estimate.percent for visit in shown.placed))


def _spot(visit: Visit, shown: Shown, axes: Axes) -> tuple[float, float]:
    share = share_of(visit, shown.x, shown.dense)
    assert share is not None
    return axes.x(share), axes.y(visit.estimate.value)


def _ticks(tables: dict[str, Columns], axes: Axes, shown: Shown, strings: Strings) -> None:
    for tick in axes.accuracies:
        y = axes.y(tick / axes.unit)
        _append(tables["grid"], {"y": y})
        _text(tables, -0.012, y, f"{tick:g}", "right", "soft")
    for percent in axes.shares:
        x = axes.x(percent / 100)
        _append(tables["ticks"], {"x": x, "y0": BASE, "y1": BASE - 4})
        _text(tables, x, BASE - 12, f"{percent:g}", "center", "soft")
    _text(tables, LEFT, HEIGHT - 8, strings("tradeoff_y"), "left", "soft")
    _text(tables, 1.0, 9, strings(f"tradeoff_axis_{shown.x}"), "right", "soft")
    if shown.x == "latency":
        timed = strings("tradeoff_timed", count=len(shown.placed), of=len(shown.visits))
        _text(tables, LEFT, 9, timed, "left", "soft")
    elif shown.bands:
        images = f"{shown.bands[0].estimate.of:,}"
        _text(tables, LEFT, 9, strings("tradeoff_band_images", images=images), "left", "soft")


def _path(
    tables: dict[str, Columns], shown: Shown, spots: dict[int, tuple[float, float]], labels: Labels
) -> None:
    for visit in shown.placed:
        if visit.parent in spots:
            (x0, y0), (x1, y1) = spots[visit.parent], spots[visit.number]
            _append(tables["path"], {"x0": x0, "y0": y0, "x1": x1, "y1": y1})
            for step in range(1, 10):
                labels.avoid(x0 + (x1 - x0) * step / 10, y0 + (y1 - y0) * step / 10, 2)


def _point(
    tables: dict[str, Columns],
    visit: Visit,
    spot: tuple[float, float],
    shown: Shown,
    axes: Axes,
    strings: Strings,
) -> None:
    estimate, below = visit.estimate, axes.below(visit.estimate.value)
    after = visit.recovery.kind
    entry = {
        "x": spot[0],
        "y": spot[1],
        "low": NONE if below else axes.y(estimate.low),
        "high": NONE if below else axes.y(estimate.high),
        "marker": "inverted_triangle" if below else _MARKERS[after],
        "fill": 0.0 if after == "none" else 1.0,
        "title": title(visit, strings),
        "accuracy": strings("tradeoff_hover_accuracy", **accuracy_values(estimate)),
        "cost": _absolute(visit, shown, strings),
        "after": recovery_words(visit, strings),
        "hint": strings("tradeoff_here" if visit.number == shown.at else "tradeoff_click"),
    }
    _append(tables["points"], entry)


def accuracy_values(estimate: Estimate) -> dict[str, object]:
    """An estimate as texts have it: accuracy, low, high in percent, and the images seen."""
    return {
        "accuracy": estimate.digits(estimate.value),
        "low": estimate.digits(estimate.low),
        "high": estimate.digits(estimate.high),
        "seen": f"{estimate.seen:,}",
    }


def _absolute(visit: Visit, shown: Shown, strings: Strings) -> str:
    """The cost along the axis, in percent and absolutely."""
    share = share_of(visit, shown.x, shown.dense) or 0.0
    percent = f"{100 * share:.1f}"
    if shown.x == "latency":
        dense, now = (f"{1000 * latency.median:.2f}" for latency in visit.latency[-2:])
        return strings("tradeoff_hover_latency", percent=percent, now=now, dense=dense)
    now, dense = (f"{getattr(cost, shown.x):,}" for cost in (visit.cost, shown.dense))
    return strings(f"tradeoff_hover_{shown.x}", percent=percent, now=now, dense=dense)


def _reference(
    tables: dict[str, Columns], shown: Shown, axes: Axes, labels: Labels, strings: Strings
) -> None:
    reference = shown.reference
    if reference is None or not reference.seen or axes.below(reference.value):
        return
    y = axes.y(reference.value)
    _append(tables["reference"], {"y": y})
    for visit in shown.placed:
        if not axes.below(visit.estimate.value):
            at = _spot(visit, shown, axes)[0]
            labels.avoid_span(at, axes.y(visit.estimate.low), axes.y(visit.estimate.high), 3)
    if shown.x == "latency":
        x = axes.x(1.0) if shown.reference_is_dense else None
    else:
        cost = shown.reference_cost or shown.dense
        x = axes.x(cost_share(cost, shown.dense, shown.x))
    if x is not None:
        _append(tables["diamond"], {"x": x, "y": y})
        labels.avoid(x, y, 11)
    name = "tradeoff_dense" if shown.reference_is_dense else "tradeoff_reference"
    words = strings(name, accuracy=reference.digits(reference.value))
    along = [(place / 8, y) for place in range(8)]
    place = labels.beside(along, words, ("above right", "below right"), gap=2)
    labels.avoid_line(y)
    _text(tables, *place, "ink")


def _name(visit: Visit, shown: Shown, axes: Axes, strings: Strings) -> str:
    """What is written beside a visit; "" for those that only a tap or the list names."""
    words = visit.name
    if not words and visit.number == shown.at:
        words = strings("tradeoff_now")
    elif not words and visit.number == shown.chosen and not uncut(visit):
        words = title(visit, strings)
    value = strings("tradeoff_percent", value=visit.estimate.digits(visit.estimate.value))
    below = value if axes.below(visit.estimate.value) else ""
    return " · ".join(filter(None, (words, below)))


def _band(tables: dict[str, Columns], band: Curve, labels: Labels) -> None:
    for x, y, low, high in zip(band.x, band.middle, band.low, band.high, strict=True):
        _append(tables[band.kind], {"x": x, "y": y, "low": low, "high": high})
        if not isnan(y):
            labels.avoid(x, y, 4)


def _after(recovery: Recovery, strings: Strings) -> str:
    """What was done to the weights of plans that are compared with, in short."""
    if recovery.repair != "none":
        return strings.say(recovered(recovery))
    return strings("tradeoff_after_bn" if recovery.bn else "tradeoff_key_none")


def _key(tables: dict[str, Columns], shown: Shown, labels: Labels, strings: Strings) -> None:
    """What the marks mean, at the top right, where they differ."""
    kinds = {visit.recovery.kind for visit in shown.placed if not uncut(visit)}
    if len(kinds) > 1:
        words = "   ".join(
            f"{sign} {strings(f'tradeoff_key_{k}')}" for k, sign in _SIGNS.items() if k in kinds
        )
        labels.avoid_text(1.0, HEIGHT - 8, words, "right")
        _text(tables, 1.0, HEIGHT - 8, words, "right", "soft")


def _text(tables: dict[str, Columns], x: float, y: float, text: str, align: str, role: str) -> None:
    entry = {"x": x, "y": y, "align": align, "soft": "", "ink": ""} | {role: text}
    _append(tables["labels"], entry)


def describe(shown: Shown, strings: Strings) -> list[str]:
    """The chart in sentences: the axes, every state, and what it is compared with."""
    if not shown.visits:
        return [strings("tradeoff_empty")]
    sentences = [strings("tradeoff_says_axis", axis=strings(f"tradeoff_axis_{shown.x}"))]
    for visit in shown.visits:
        share = share_of(visit, shown.x, shown.dense)
        key = "tradeoff_says_here" if visit.number == shown.at else "tradeoff_says_state"
        cost = strings("tradeoff_not_measured") if share is None else _absolute(visit, shown, strings)
        says = strings(
            key, name=title(visit, strings), cost=cost, after=recovery_words(visit, strings),
            **accuracy_values(visit.estimate),
        )  # fmt: skip
        sentences.append(says)
    if shown.x == "latency":
        return sentences
    for point in shown.bands:
        percent = f"{100 * cost_share(point.cost, shown.dense, shown.x):.1f}"
        says = strings(
            f"tradeoff_says_{point.kind}", percent=percent, after=_after(point.recovery, strings),
            **accuracy_values(point.estimate),
        )  # fmt: skip
        sentences.append(says)
    return sentences


def _append(table: Columns, entry: dict[str, object]) -> None:
    for key, value in entry.items():
        table[key].append(value)


_COLUMNS: dict[str, Sequence[str]] = {
    "grid": ("y",),
    "ticks": ("x", "y0", "y1"),
    "uniform": ("x", "y", "low", "high"),
    "random": ("x", "y", "low", "high"),
    "drawn": ("x", "y", "low", "high"),
    "reference": ("y",),
    "diamond": ("x", "y"),
    "path": ("x0", "y0", "x1", "y1"),
    "points": (
        *("x", "y", "low", "high", "marker", "fill"),
        *("title", "accuracy", "cost", "after", "hint"),
    ),
    "current": ("x", "y"),
    "chosen": ("x", "y"),
    "labels": ("x", "y", "soft", "ink", "align"),
}

_HOVER = """<div style="font: {size}px sans-serif; max-width: {wide}px; color: #1f2933">
<b>@title</b><br>@accuracy<br>@cost<br>@after<br><i>@hint</i></div>"""


def build(scale: float = 1.0) -> View:
    """An empty view. `scale` multiplies heights and fonts."""
    data = sources("tradeoff", empty(_COLUMNS))
    chart = canvas("tradeoff", HEIGHT, (LEFT, RIGHT), scale)
    _draw_frame(chart, data)
    for name, role, dash in (
        ("random", "fixed", [2, 3]),
        ("drawn", "lost", [1, 2]),
        ("uniform", "cut", [7, 3]),
    ):
        area = chart.varea(x="x", y1="low", y2="high", fill_alpha=0.22, source=data[name])
        paint(area.glyph, fill_color=role)
        line = chart.line(x="x", y="y", line_width=2, line_dash=dash, source=data[name])
        paint(line.glyph, line_color=role)
    _draw_points(chart, data, scale)
    place = {"x": "x", "y": "y", "text_align": "align", "text_baseline": "middle", "source": data["labels"]}
    for role in ("soft", "ink"):
        text = chart.text(text=role, text_font_size=f"{13 * scale}px", **place)
        paint(text.glyph, text_color=role)
    return View(chart, data)


def _draw_frame(chart: figure, data: dict[str, ColumnDataSource]) -> None:
    paint(chart.segment(x0=0, x1=1, y0="y", y1="y", source=data["grid"]).glyph, line_color="line")
    paint(chart.segment(x0="x", x1="x", y0="y0", y1="y1", source=data["ticks"]).glyph, line_color="soft")
    line = chart.segment(x0=0, x1=1, y0="y", y1="y", line_dash=[4, 3], source=data["reference"])
    paint(line.glyph, line_color="ink")


def _draw_points(chart: figure, data: dict[str, ColumnDataSource], scale: float) -> None:
    box = {"x0": "x0", "y0": "y0", "x1": "x1", "y1": "y1"}
    path = chart.segment(line_width=1.5, line_alpha=0.5, source=data["path"], **box)
    paint(path.glyph, line_color="kept")
    whisker = chart.segment(x0="x", x1="x", y0="low", y1="high", line_width=1.5, source=data["points"])
    paint(whisker.glyph, line_color="kept")
    for table, role, marker, size, width in (
        ("diamond", "ink", "diamond", 21, 1.5),
        ("chosen", "ink", "circle", 18, 1.5),
        ("current", "chosen", "circle", 18, 2.5),
    ):
        ring = chart.scatter(
            "x", "y", marker=marker, size=size * scale, fill_color=None, line_width=width, source=data[table]
        )
        paint(ring.glyph, line_color=role)
    marks = {"x": "x", "y": "y", "marker": "marker", "size": 9 * scale}
    points = chart.scatter(fill_alpha="fill", line_width=1.5, source=data["points"], **marks)
    paint(points.glyph, fill_color="kept", line_color="kept")
    here = chart.scatter("x", "y", size=9 * scale, source=data["current"])
    paint(here.glyph, fill_color="chosen", line_color="chosen")
    hover = _HOVER.format(size=round(13 * scale), wide=round(300 * scale))
    chart.add_tools(HoverTool(renderers=[points], tooltips=hover))
