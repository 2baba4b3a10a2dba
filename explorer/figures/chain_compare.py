"""DMCP's structure beside a uniform one of equal cost: accuracies seed by seed, and the difference with its interval.

An estimation plot (Gardner & Altman 1986, BMJ 292): the difference stands below the accuracies on their own scale,
its zero at the uniform structure's mean.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bokeh.models import HoverTool

from explorer.chains import Comparison, Contender
from explorer.figures.class_changes import signed
from explorer.figures.palette import paint
from explorer.figures.text_lines import clipped, pixels_of
from explorer.figures.view import Columns, View, append_row, canvas, empty, sources
from explorer.paired import Paired, paired_difference
from explorer.records import percent_of
from explorer.strings import Strings

HEIGHT = 196.0
MOST = 2  # blocks that have room
PITCHES = {1: 23.0, 2: 15.0}  # of a block's lines, by the number of blocks
LINES = {1: 7, 2: 6}
NAME, SHARE, SHARED, STRIP, MEAN = 0.0, 0.235, 0.37, (0.42, 0.87), 1.0  # columns, in parts of the chart
EDGE = 0.012  # of a strip that holds no mark
PIXELS = 430.0
TALL = 4.5  # half the height of a mean's tick
DOT = 7.0  # pixels of a seed's mark


@dataclass(frozen=True)
class _Block:
    """A comparison, and what is worked out of it: the two that are compared and their paired difference."""

    comparison: Comparison
    dmcp: Contender
    uniform: Contender
    paired: Paired | None


def pages(comparisons: Sequence[Comparison]) -> tuple[tuple[Comparison, ...], ...]:
    """The comparisons as many at a time as the chart has room for, without those that lack DMCP or uniform."""
    fit = tuple(one for one in comparisons if {"dmcp", "uniform"} <= {c.name for c in one.contenders})
    return tuple(fit[start : start + MOST] for start in range(0, len(fit), MOST))


def columns(comparisons: Sequence[Comparison], strings: Strings, message: str = "") -> dict[str, Columns]:
    """The tables of the view for one of `pages`; `message` stands where there is none.

    "rules": a line between blocks; "seeds", "means", "zero" and "interval" are marks; "labels" are texts; "helps"
    are the places that explain themselves.
    """
    tables = empty(_COLUMNS)
    if not comparisons:
        _text(tables, 0.5, HEIGHT / 2, message, "center", "soft")
    count = min(len(comparisons), MOST)
    for place, comparison in enumerate(comparisons[:MOST]):
        pitch, lines = PITCHES[count], LINES[count]
        top = HEIGHT - place * HEIGHT / count
        if place:
            append_row(tables["rules"], {"y": top})
        top -= (HEIGHT / count - pitch * lines) / 2
        _draw(tables, _block(comparison), [top - pitch * (line + 0.5) for line in range(lines)], strings)
    return tables


def _block(comparison: Comparison) -> _Block:
    by_name = {contender.name: contender for contender in comparison.contenders}
    dmcp, uniform = by_name["dmcp"], by_name["uniform"]
    return _Block(comparison, dmcp, uniform, paired_difference(dmcp.retrained, uniform.retrained))


def _draw(tables: dict[str, Columns], block: _Block, y: Sequence[float], strings: Strings) -> None:
    """A block in lines of heights `y`: title, heads, DMCP, uniform, difference, verdict, and what else is known."""
    values = _values(block.comparison)
    retrained = len(block.dmcp.retrained)
    began = strings(f"chain_compare_with_{block.comparison.start}", **values) if retrained else ""
    room = (
        PIXELS
        - pixels_of(began)
        - 12
        - pixels_of(strings("chain_compare_title", **{**values, "network": ""}))
    )
    values["network"] = clipped(block.comparison.network, room)  # the target is never cut off
    _text(tables, NAME, y[0], strings("chain_compare_title", **values), "left", "bold")
    _text(tables, MEAN, y[0], began, "right", "soft")
    for x, key in ((SHARE, "macs"), (SHARED, "shared"), (MEAN, "mean")):
        if retrained or x != MEAN:
            _text(tables, x, y[1], strings(f"chain_compare_head_{key}"), "right", "soft")
    if retrained:
        seeds = strings("chain_compare_head_seeds", seeds=retrained)
        _text(tables, sum(STRIP) / 2, y[1], seeds, "center", "soft")
    low, high = _range(block)
    if retrained:
        _text(tables, STRIP[0], y[1], f"{100 * low:.1f}", "left", "soft")
        _text(tables, STRIP[1], y[1], f"{100 * high:.1f}", "right", "soft")
    pitch = y[0] - y[1]
    shared = {"left": SHARE, "right": SHARED, "bottom": y[4] - pitch / 2, "top": y[1] + pitch / 2}
    append_row(tables["helps"], {**shared, "hover": strings("chain_compare_shared_is")})
    for contender, height in ((block.dmcp, y[2]), (block.uniform, y[3])):
        _row(tables, contender, height, pitch, low, high, strings)
    _difference(tables, block, y[2:5], low, high, strings)
    _text(tables, NAME, y[5], verdict(block.comparison, strings), "left", "ink")
    if len(y) > 6:
        _text(tables, NAME, y[6], _context(block, strings), "left", "soft")


def _range(block: _Block) -> tuple[float, float]:
    """The accuracies at the strip's ends: every seed and the whole interval are within."""
    found = [*block.dmcp.retrained, *block.uniform.retrained]
    if not found:
        return 0.0, 1.0
    if block.paired is not None and block.paired.verdict != "unknown":
        zero = _mean(block.uniform)
        found += [zero + block.paired.low, zero + block.paired.high]
    low, high = min(found), max(found)
    missing = max(0.0, 0.004 - (high - low)) / 2
    return low - missing, high + missing


def _mean(contender: Contender) -> float:
    return sum(contender.retrained) / len(contender.retrained)


def _x(accuracy: float, low: float, high: float) -> float:
    start, end = STRIP[0] + EDGE, STRIP[1] - EDGE
    return start + (end - start) * (accuracy - low) / (high - low)


def _stacked(x: Sequence[float], pitch: float) -> list[float]:
    """How far each mark stands above its line: marks that would hide one another are stacked within the pitch."""
    off = [0.0] * len(x)
    order = sorted(range(len(x)), key=lambda place: x[place])
    stack: list[int] = []
    for place in order:
        if stack and (x[place] - x[stack[-1]]) * PIXELS >= DOT:
            stack = []
        stack.append(place)
        step = min(DOT, pitch / len(stack))
        for level, member in enumerate(stack):
            off[member] = step * (level - (len(stack) - 1) / 2)
    return off


def _row(
    tables: dict[str, Columns],
    who: Contender,
    y: float,
    pitch: float,
    low: float,
    high: float,
    strings: Strings,
) -> None:
    role = "kept" if who.name == "dmcp" else "ink"
    name = strings(f"chain_compare_{who.name}")
    _text(tables, NAME, y, name, "left", role)
    _text(tables, SHARE, y, percent_of(who.share), "right", "soft")
    _text(tables, SHARED, y, f"{100 * who.shared:.1f}", "right", "ink")
    if not who.retrained:
        return
    append_row(tables["lines"], {"y": y})
    mean = _mean(who)
    places = [_x(accuracy, low, high) for accuracy in who.retrained]
    above = _stacked(places, pitch)
    for seed, accuracy in enumerate(who.retrained, start=1):
        at = {"x": places[seed - 1], "y": y + above[seed - 1]}
        entry: dict[str, object] = {**at, "own": float(role == "kept")}
        entry["hover"] = strings(
            "chain_compare_hover", name=name, seed=seed, accuracy=f"{100 * accuracy:.2f}"
        )
        append_row(tables["seeds"], entry)
    x = _x(mean, low, high)
    if len(who.retrained) > 1:
        append_row(tables["means"], {"x": x, "low": y - TALL, "high": y + TALL})
    _text(tables, MEAN, y, f"{100 * mean:.2f}", "right", "ink")


def _difference(
    tables: dict[str, Columns], block: _Block, y: Sequence[float], low: float, high: float, strings: Strings
) -> None:
    _text(tables, NAME, y[2], strings("chain_compare_difference"), "left", "soft")
    shared = block.dmcp.shared - block.uniform.shared
    _text(tables, SHARED, y[2], signed(100 * shared), "right", "soft")
    if block.paired is None:
        return
    zero = _mean(block.uniform)
    pitch = y[0] - y[1]
    append_row(tables["zero"], {"x": _x(zero, low, high), "low": y[2] - pitch / 2, "high": y[0] + pitch / 2})
    sure = block.paired.verdict != "unknown"
    ends = (zero + block.paired.low, zero + block.paired.high) if sure else (math.nan, math.nan)
    hover = verdict(block.comparison, strings)
    entry: dict[str, object] = {"x": _x(zero + block.paired.difference, low, high), "y": y[2], "hover": hover}
    entry |= {"left": _x(ends[0], low, high), "right": _x(ends[1], low, high)}
    append_row(tables["interval"], entry)
    _text(tables, MEAN, y[2], _hundredths(100 * block.paired.difference), "right", "ink")


def _hundredths(points: float) -> str:
    """With its sign, as the means beside it, so that their difference adds up: "−0.01"."""
    text = f"{abs(points):.2f}"
    return text if not float(text) else f"{'+' if points > 0 else '−'}{text}"


def verdict(comparison: Comparison, strings: Strings) -> str:
    """Who is better after retraining, or that they are not told apart, from the 95 % interval of the difference."""
    paired = _block(comparison).paired
    if paired is None:
        return strings("chain_compare_untrained")
    values = {"points": signed(100 * paired.difference), "seeds": paired.seeds}
    if paired.verdict == "unknown":
        return strings("chain_compare_one_seed", **values)
    worse = paired.verdict == "worse"
    ends = (-paired.high, -paired.low) if worse else (paired.low, paired.high)
    values |= {"low": signed(100 * ends[0]), "high": signed(100 * ends[1])}
    if paired.verdict == "open":
        return strings("chain_compare_open", **values)
    values["points"] = f"{100 * abs(paired.difference):.1f}"
    return strings(f"chain_compare_{'uniform' if worse else 'dmcp'}_better", **values)


def _context(block: _Block, strings: Strings) -> str:
    """The images, and what the supernet's largest and smallest networks reach, where that was measured."""
    found = {one.name: f"{100 * one.shared:.1f}" for one in block.comparison.contenders}
    images = f"{block.comparison.images:,}"
    if not {"largest", "smallest"} <= found.keys():
        return strings("chain_compare_images", images=images)
    largest, smallest = found["largest"], found["smallest"]
    return strings("chain_compare_context", images=images, largest=largest, smallest=smallest)


def _values(comparison: Comparison) -> dict[str, object]:
    return {
        "network": comparison.network,
        "target": f"{100 * comparison.target:.0f}",
        "images": f"{comparison.images:,}",
        "epochs": comparison.epochs,
    }


def describe(comparisons: Sequence[Comparison], strings: Strings) -> list[str]:
    """Every comparison in sentences: what was compared, every contender, and the verdict."""
    sentences = []
    for comparison in comparisons:
        values = _values(comparison)
        sentences.append(strings("chain_compare_says", **values))
        began = strings(f"chain_compare_with_{comparison.start}", **values)
        sentences.append(strings("chain_compare_says_began", began=began))
        for who in comparison.contenders:
            known = {
                "name": strings(f"chain_compare_{who.name}"),
                "share": percent_of(who.share),
                "shared": f"{100 * who.shared:.1f}",
            }
            sentences.append(strings("chain_compare_says_shared", **known))
            if who.retrained:
                each = ", ".join(f"{100 * accuracy:.1f}" for accuracy in who.retrained)
                sentences.append(strings("chain_compare_says_retrained", name=known["name"], each=each))
        if {"dmcp", "uniform"} <= {who.name for who in comparison.contenders}:
            sentences.append(verdict(comparison, strings))
    return sentences


def _text(tables: dict[str, Columns], x: float, y: float, text: str, align: str, role: str) -> None:
    if text:
        entry = {"x": x, "y": y, "align": align, **dict.fromkeys(_ROLES, "")} | {role: text}
        append_row(tables["labels"], entry)


_ROLES = ("soft", "ink", "bold", "kept")
_COLUMNS: dict[str, Sequence[str]] = {
    "rules": ("y",),
    "lines": ("y",),
    "zero": ("x", "low", "high"),
    "seeds": ("x", "y", "own", "hover"),
    "means": ("x", "low", "high"),
    "interval": ("x", "y", "left", "right", "hover"),
    "helps": ("left", "right", "bottom", "top", "hover"),
    "labels": ("x", "y", "align", *_ROLES),
}
_HOVER = """<div style="font: {size}px sans-serif; max-width: {wide}px; color: #1f2933">@hover</div>"""


def build(scale: float = 1.0) -> View:
    """An empty view. `scale` multiplies heights and fonts."""
    data = sources("chain-compare", empty(_COLUMNS))
    chart = canvas("chain-compare", HEIGHT, (-0.005, 1.005), scale)
    rule = chart.segment(x0=0, x1=1, y0="y", y1="y", source=data["rules"])
    paint(rule.glyph, line_color="line")
    line = chart.segment(x0=STRIP[0], x1=STRIP[1], y0="y", y1="y", source=data["lines"])
    paint(line.glyph, line_color="line")
    zero = chart.segment(x0="x", x1="x", y0="low", y1="high", line_dash=[4, 3], source=data["zero"])
    paint(zero.glyph, line_color="soft")
    marks = {"x": "x", "y": "y", "source": data["seeds"]}
    seeds = chart.scatter(fill_alpha="own", size=DOT * scale, line_width=1.5, **marks)
    paint(seeds.glyph, fill_color="kept", line_color="kept")
    sides = {name: name for name in ("left", "right", "bottom", "top")}
    helps = chart.quad(fill_alpha=0, line_alpha=0, source=data["helps"], **sides)
    mean = chart.segment(x0="x", x1="x", y0="low", y1="high", line_width=2.5, source=data["means"])
    paint(mean.glyph, line_color="ink")
    whisker = chart.segment(x0="left", x1="right", y0="y", y1="y", line_width=2.5, source=data["interval"])
    paint(whisker.glyph, line_color="chosen")
    middle = chart.scatter(x="x", y="y", marker="diamond", size=13 * scale, source=data["interval"])
    paint(middle.glyph, fill_color="chosen", line_color="chosen")
    place = {"x": "x", "y": "y", "text_align": "align", "text_baseline": "middle", "source": data["labels"]}
    for role in _ROLES:
        bold = role in ("bold", "kept")
        text = chart.text(
            text=role, text_font_size=f"{13 * scale}px", text_font_style="bold" if bold else "normal", **place
        )
        paint(text.glyph, text_color="ink" if role == "bold" else role)
    hover = _HOVER.format(size=round(13 * scale), wide=round(260 * scale))
    chart.add_tools(HoverTool(renderers=[seeds, middle, helps], tooltips=hover))
    return View(chart, data)
