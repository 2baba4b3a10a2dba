"""Do the first channels carry the information? Accuracy against the share kept, before a search and after it.

Three curves each: the first channels of every group kept, the last, and channels drawn at random.
"""

import math
from collections.abc import Sequence

from bokeh.models import HoverTool

from explorer.chains import OrderCurve
from explorer.figures.class_changes import signed
from explorer.figures.label_places import Labels
from explorer.figures.palette import paint
from explorer.figures.text_lines import lines_of
from explorer.figures.view import Columns, View, append_row, canvas, empty, sources
from explorer.strings import Strings

HEIGHT = 196.0
LEFT, RIGHT = -0.075, 1.01
PIXELS = 430 / (RIGHT - LEFT)  # from 0 to 1 at the narrowest
PANELS = {"before": (0.0, 0.47), "after": (0.53, 1.0)}
BASE, TOP = 36.0, 134.0  # of the accuracies
HEAD = 148.0
LINE = 16.0
STEPS = (5.0, 10.0, 20.0, 25.0)
MOST_TICKS = 5
KINDS = {"first": "kept", "random": "soft", "last": "ink"}  # role of each curve's name
_AROUND = ("above left", "above right", "below right", "below left", "above", "below", "right", "left")


def columns(curves: Sequence[OrderCurve], strings: Strings) -> dict[str, Columns]:
    """The tables of the view: "grid", "ticks", a table of points for each kind of curve, and "labels".

    x is in parts of the chart, two plots beside each other; y is pixels upwards.
    """
    tables = empty(_COLUMNS)
    low, high, step = _range(curves)
    ticks = [step * place for place in range(round(low / step), round(high / step) + 1)]
    for percent in ticks:
        append_row(tables["grid"], {"y": _height(percent, low, high)})
        _text(tables, -0.012, _height(percent, low, high), f"{percent:g}", "right", "soft")
    for line, text in enumerate(lines_of(sentence(curves, strings), PIXELS * (RIGHT - LEFT) - 12)[:2]):
        _text(tables, LEFT, HEIGHT - 10 - LINE * line, text, "left", "ink")
    for when, (left, right) in PANELS.items():
        _axis(tables, left, right, strings)
        _text(tables, left, HEAD, strings(f"chain_order_{when}"), "left", "bold")
        here = [curve for curve in curves if curve.when == when]
        if here:
            _curves(tables, here, (left, right), (low, high), strings)
        else:
            middle = (left + right) / 2
            _text(tables, middle, (BASE + TOP) / 2, strings("chain_order_none"), "center", "soft")
    _text(tables, PANELS["after"][1], HEAD, strings("chain_order_y"), "right", "soft")
    return tables


def _range(curves: Sequence[OrderCurve]) -> tuple[float, float, float]:
    """Lowest and highest percent of the axis and the step of its ticks."""
    values = [100 * accuracy for curve in curves for accuracy in curve.accuracy] or [0.0, 100.0]
    low, high = min(values), max(values)
    step = next((step for step in STEPS if high - low <= (MOST_TICKS - 1) * step), STEPS[-1])
    return step * math.floor(low / step), step * max(math.ceil(high / step), math.floor(low / step) + 1), step


def _height(percent: float, low: float, high: float) -> float:
    return BASE + (percent - low) / (high - low) * (TOP - BASE)


def _axis(tables: dict[str, Columns], left: float, right: float, strings: Strings) -> None:
    for share, align in ((0, "left"), (50, "center"), (100, "right")):
        x = left + (right - left) * share / 100
        append_row(tables["ticks"], {"x": x, "y0": BASE, "y1": BASE - 4})
        _text(tables, x, BASE - 12, f"{share}", align, "soft")
    append_row(tables["floor"], {"x0": left, "x1": right, "y": BASE})
    _text(tables, (left + right) / 2, 8.0, strings("chain_order_x"), "center", "soft")


def _curves(
    tables: dict[str, Columns],
    curves: Sequence[OrderCurve],
    span: tuple[float, float],
    percents: tuple[float, float],
    strings: Strings,
) -> None:
    labels = Labels(PIXELS)
    labels.avoid_span(span[0], 0, HEIGHT, 3)  # a label stays in its own plot
    labels.avoid_span(span[1], 0, HEIGHT, 3)
    labels.avoid_line(TOP + 9)
    labels.avoid_line(BASE - 4)
    spots: dict[str, list[tuple[float, float]]] = {}
    for curve in curves:
        table = tables[curve.which]
        if table["x"]:
            append_row(table, dict.fromkeys(("x", "y"), math.nan) | {"hover": ""})
        places = sorted(zip(curve.shares, curve.accuracy, strict=True))
        spots[curve.which] = []
        for share, accuracy in places:
            x = span[0] + (span[1] - span[0]) * share
            y = _height(100 * accuracy, *percents)
            spots[curve.which].append((x, y))
            hover = strings(
                f"chain_order_hover_{curve.which}",
                share=f"{100 * share:.0f}", accuracy=f"{100 * accuracy:.1f}", images=f"{curve.images:,}",
            )  # fmt: skip
            append_row(table, {"x": x, "y": y, "hover": hover})
        for (x0, y0), (x1, y1) in zip(spots[curve.which], spots[curve.which][1:], strict=False):
            for part in range(9):
                labels.avoid(x0 + (x1 - x0) * part / 8, y0 + (y1 - y0) * part / 8, 4)
    for which, role in KINDS.items():
        inner = spots.get(which, [])
        if inner:
            middle = sorted(inner[:-1] or inner, key=lambda spot: abs(spot[0] - sum(span) / 2))
            _text(tables, *labels.beside(middle, strings(f"chain_order_{which}"), _AROUND, gap=4), role)


def sentence(curves: Sequence[OrderCurve], strings: Strings) -> str:
    """What the curves say at the share nearest to a half: first minus last, after and before, and whether the
    change is beyond chance (1.96 standard errors of four independent shares: the images are the same ones, so
    that the true error is smaller). "" where first and last were not measured on common shares."""
    gaps = {when: _gap(curves, when) for when in PANELS}
    before, after = gaps["before"], gaps["after"]
    if after is None:
        return ""
    share, gap, variance = after
    values = {"share": f"{100 * share:.0f}", "after": signed(100 * gap)}
    if before is None or before[0] != share:
        return strings("chain_order_says_after", **values)
    values["before"] = signed(100 * before[1])
    change, chance = gap - before[1], 1.96 * math.sqrt(variance + before[2])
    kind = "came" if change > chance else "went" if change < -chance else "same"
    return strings(f"chain_order_says_{kind}", **values)


def _gap(curves: Sequence[OrderCurve], when: str) -> tuple[float, float, float] | None:
    """(share, accuracy of first minus last there, its variance) at the common share nearest to a half."""
    found = {curve.which: curve for curve in curves if curve.when == when and curve.which != "random"}
    if len(found) < 2:
        return None
    first, last = (dict(zip(found[w].shares, found[w].accuracy, strict=True)) for w in ("first", "last"))
    common = sorted(first.keys() & last.keys(), key=lambda share: (abs(share - 0.5), share))
    if not common:
        return None
    a, b = first[common[0]], last[common[0]]
    return common[0], a - b, a * (1 - a) / found["first"].images + b * (1 - b) / found["last"].images


def describe(curves: Sequence[OrderCurve], strings: Strings) -> list[str]:
    """What one should see, then every curve in a sentence."""
    said = sentence(curves, strings)
    sentences = [said] if said else []
    for curve in curves:
        points = [
            strings("chain_order_point", share=f"{100 * share:.0f}", accuracy=f"{100 * accuracy:.1f}")
            for share, accuracy in zip(curve.shares, curve.accuracy, strict=True)
        ]
        says = strings(
            f"chain_order_says_{curve.which}",
            when=strings(f"chain_order_{curve.when}"), points=", ".join(points), images=f"{curve.images:,}",
        )  # fmt: skip
        sentences.append(says)
    return sentences or [strings("chain_order_none")]


def _text(tables: dict[str, Columns], x: float, y: float, text: str, align: str, role: str) -> None:
    if text:
        entry = {"x": x, "y": y, "align": align, **dict.fromkeys(_ROLES, "")} | {role: text}
        append_row(tables["labels"], entry)


_ROLES = ("soft", "ink", "bold", "kept")
_COLUMNS: dict[str, Sequence[str]] = {
    "grid": ("y",),
    "floor": ("x0", "x1", "y"),
    "ticks": ("x", "y0", "y1"),
    **dict.fromkeys(KINDS, ("x", "y", "hover")),
    "labels": ("x", "y", "align", *_ROLES),
}
_HOVER = """<div style="font: {size}px sans-serif; max-width: {wide}px; color: #1f2933">@hover</div>"""


def build(scale: float = 1.0) -> View:
    """An empty view. `scale` multiplies heights and fonts."""
    data = sources("chain-order", empty(_COLUMNS))
    chart = canvas("chain-order", HEIGHT, (LEFT, RIGHT), scale)
    for left, right in PANELS.values():
        grid = chart.segment(x0=left, x1=right, y0="y", y1="y", source=data["grid"])
        paint(grid.glyph, line_color="line")
    floor = chart.segment(x0="x0", x1="x1", y0="y", y1="y", source=data["floor"])
    paint(floor.glyph, line_color="soft")
    ticks = chart.segment(x0="x", x1="x", y0="y0", y1="y1", source=data["ticks"])
    paint(ticks.glyph, line_color="soft")
    dots = []
    for kind, role in (("last", "lost"), ("random", "soft"), ("first", "kept")):
        dash = [4, 3] if kind == "random" else "solid"
        line = chart.line(x="x", y="y", line_width=2, line_dash=dash, source=data[kind])
        paint(line.glyph, line_color=role)
        marker = "square" if kind == "last" else "circle"
        dots.append(chart.scatter(x="x", y="y", marker=marker, size=6 * scale, source=data[kind]))
        paint(dots[-1].glyph, fill_color=role, line_color=role)
    place = {"x": "x", "y": "y", "text_align": "align", "text_baseline": "middle", "source": data["labels"]}
    for role in _ROLES:
        bold = role in ("bold", "kept")
        text = chart.text(
            text=role, text_font_size=f"{13 * scale}px", text_font_style="bold" if bold else "normal", **place
        )
        paint(text.glyph, text_color="ink" if role == "bold" else role)
    hover = _HOVER.format(size=round(13 * scale), wide=round(260 * scale))
    chart.add_tools(HoverTool(renderers=dots, tooltips=hover))
    return View(chart, data)
