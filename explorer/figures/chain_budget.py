"""How a search comes to its budget: expected cost and losses over steps, and the costs of networks drawn now.

Above, the expected cost with its target; below, on the same steps, the losses. Up to the frame that is looked at
the curves are strong, after it pale, so that a replay reads as movement. Beside them, a histogram: the expectation
may be on target while the networks that are drawn scatter widely.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from bokeh.models import ColumnDataSource, HoverTool
from bokeh.plotting import figure
from numpy.typing import NDArray

from explorer.chains import ChainRun
from explorer.figures.palette import paint
from explorer.figures.text_lines import pixels_of
from explorer.figures.view import Columns, View, append_row, canvas, empty, sources
from explorer.records import percent_of
from explorer.strings import Strings

HEIGHT = 196.0
LEFT, RIGHT = -0.075, 1.015
PIXELS = 430 / (RIGHT - LEFT)  # from 0 to 1 at the narrowest
END = 0.45  # of the curves; their names follow
NAMES = END + 0.015
BASE, TOP = 96.0, 172.0  # of the expected cost
LOSS_BASE, LOSS_TOP = 24.0, 70.0
HEAD = HEIGHT - 8.0
FOOT = 9.0
BARS = (0.69, 1.0)
BAR_BASE, BAR_TOP = 62.0, 140.0
TARGET_FLAG, NOW_FLAG = 172.0, 155.0  # heights of words, each with a line down
BINS = 25
BAND = 0.02  # of the target
NEAR = 0.01
LINE = 15.0
STEPS = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 25.0, 50.0)
MOST_TICKS = 4
LOSSES = {"full": "ink", "sub": "kept", "chains": "soft"}  # role of each curve


@dataclass(frozen=True, eq=False)
class Shown:
    """What the chart shows: a frame of a run, `drawn` float64 (networks,), costs of networks drawn from its chains
    as shares of the dense one, and the expected share after a person moved transitions (None: nobody did)."""

    run: ChainRun
    frame: int
    drawn: NDArray[np.float64]
    edited: float | None = None

    @property
    def expected(self) -> float:
        """The expected share: as edited, else at the frame; NaN of a run without frames."""
        if self.edited is not None:
            return self.edited
        return float(self.run.shares[self.frame]) if self.run.frames else math.nan

    @property
    def spread(self) -> float:
        """Standard deviation of the drawn networks' costs, as a share of the target."""
        return float(self.drawn.std() / self.run.target)

    @property
    def near(self) -> float:
        """Share of the drawn networks whose cost is within 1 % of the target."""
        return float((np.abs(self.drawn / self.run.target - 1) <= NEAR * (1 + 1e-9)).mean())


def columns(shown: Shown, strings: Strings) -> dict[str, Columns]:
    """The tables of the view; x in parts of the chart, y in pixels upwards.

    "curve" and the losses have `y` up to the frame and `rest` from it on, NaN elsewhere.
    """
    tables = empty(_COLUMNS)
    run = shown.run
    low, high, step = _range(shown)
    for place in range(round(low / step), round(high / step) + 1):
        percent = step * place
        append_row(tables["grid"], {"y": _height(percent / 100, low, high)})
        _text(tables, -0.012, _height(percent / 100, low, high), f"{percent:g}", "right", "soft")
    warm_up = END * run.warm_up / max(run.of, 1)
    if run.warm_up:
        append_row(tables["warm_up"], {"x": warm_up})
        _text(tables, 0.0, FOOT, strings("chain_budget_warm_up"), "left", "soft")
    _text(tables, LEFT, HEAD, strings(f"chain_budget_y_{run.cost}"), "left", "soft")
    _text(tables, END, FOOT, strings("chain_budget_steps", steps=f"{run.of:,}"), "right", "soft")
    band = [_height(run.target * (1 + side * BAND), low, high) for side in (-1, 1)]
    target = _height(run.target, low, high)
    append_row(tables["band"], {"low": band[0], "high": band[1], "target": target})
    names = [(target, strings("chain_budget_target", percent=_percent(run.target)), "ink")]
    if run.frames:
        names += _expected(tables, shown, low, high, strings)
        _losses(tables, shown, strings)
    for y, text, role in _apart(names, BASE + 6, TOP):
        _text(tables, NAMES, y, text, "left", role)
    _histogram(tables, shown, strings)
    return tables


def _range(shown: Shown) -> tuple[float, float, float]:
    """Lowest and highest percent of the axis of costs and the step of its ticks."""
    found = [100 * shown.run.target * (1 + side * BAND) for side in (-1, 1)]
    found += (100 * shown.run.shares).tolist()
    found += [] if shown.edited is None else [100 * shown.edited]
    least, most = min(found), max(found)
    for step in STEPS:
        low, high = step * math.floor(least / step + 1e-9), step * math.ceil(most / step - 1e-9)
        if high - low <= MOST_TICKS * step:
            break
    return low, high, step


def _height(share: float, low: float, high: float) -> float:
    return BASE + (100 * share - low) / (high - low) * (TOP - BASE)


def _expected(
    tables: dict[str, Columns], shown: Shown, low: float, high: float, strings: Strings
) -> list[tuple[float, str, str]]:
    """Draws the expected cost and the frame; returns the names of what is there now."""
    run = shown.run
    heights = [_height(share, low, high) for share in run.shares.tolist()]
    frame = range(run.frames)[shown.frame]
    x = _curve(tables["curve"], run, heights, frame)
    for place, (step, share) in enumerate(zip(run.steps.tolist(), run.shares.tolist(), strict=True)):
        says = strings("chain_budget_at", step=f"{step:,}", of=f"{run.of:,}", percent=_percent(share))
        append_row(tables["points"], {"x": x[place], "y": heights[place], "hover": says})
    append_row(tables["frame"], {"x": x[frame], "y": heights[frame]})
    names = [(heights[frame], strings("chain_budget_now", percent=_percent(run.shares[frame])), "kept")]
    if shown.edited is not None:
        y = _height(shown.edited, low, high)
        append_row(tables["edited"], {"x": x[frame], "y": y})
        names.append((y, strings("chain_budget_edited", percent=_percent(shown.edited)), "ink"))
    return names


def _curve(table: Columns, run: ChainRun, heights: Sequence[float], frame: int) -> list[float]:
    x = (END * run.steps / max(run.of, 1)).tolist()
    for place, height in enumerate(heights):
        before, after = place <= frame, place >= frame
        append_row(table, {"x": x[place], "y": height if before else NONE, "rest": height if after else NONE})
    return list(x)


def _losses(tables: dict[str, Columns], shown: Shown, strings: Strings) -> None:
    run, frame = shown.run, range(shown.run.frames)[shown.frame]
    found = {name: run.losses[name].astype(np.float64) for name in LOSSES if name in run.losses}
    most = max(
        (float(np.nanmax(values)) for values in found.values() if np.isfinite(values).any()), default=0
    )
    if most <= 0:
        return
    names = []
    for name, values in found.items():
        heights = LOSS_BASE + (LOSS_TOP - LOSS_BASE) * values / most
        _curve(tables[name], run, heights.tolist(), frame)
        if np.isfinite(values[frame]):
            text = strings(f"chain_budget_loss_{name}", loss=f"{values[frame]:.2f}")
            names.append((float(heights[frame]), text, LOSSES[name]))
    append_row(tables["floor"], {"x0": 0.0, "x1": END, "y": LOSS_BASE})
    named = _apart(names, LOSS_BASE, LOSS_TOP + 4)
    for y, text, role in named:
        _text(tables, NAMES, y, text, "left", role)
    if named:
        _text(tables, NAMES, named[-1][0] + LINE, strings("chain_budget_losses"), "left", "soft")


def _apart(names: Sequence[tuple[float, str, str]], low: float, high: float) -> list[tuple[float, str, str]]:
    """Names (height, text, role) moved so that none covers another, in their order, within low to high."""
    ordered = sorted(names, key=lambda name: name[0])
    places: list[float] = []
    for y, *_rest in ordered:
        places.append(max(y, low, places[-1] + LINE if places else low))
    top = high
    for place in reversed(range(len(places))):
        places[place] = min(places[place], top)
        top = places[place] - LINE
    return [(y, text, role) for y, (_y, text, role) in zip(places, ordered, strict=True)]


def _histogram(tables: dict[str, Columns], shown: Shown, strings: Strings) -> None:
    """Bars from 0 to 100 % of the dense cost, as tall as their part of the fullest one."""
    left, right = BARS
    width = (right - left) / BINS
    append_row(tables["floor"], {"x0": left, "x1": right, "y": BAR_BASE})
    for share, align in ((0, "left"), (50, "center"), (100, "right")):
        _text(tables, left + (right - left) * share / 100, BAR_BASE - 11, f"{share}", align, "soft")
    if not len(shown.drawn):
        _text(tables, right, FOOT, strings("chain_budget_drawing"), "right", "soft")
    else:
        counts = np.histogram(shown.drawn.clip(0, 1), BINS, (0.0, 1.0))[0]
        for place in counts.nonzero()[0].tolist():
            top = BAR_BASE + (BAR_TOP - BAR_BASE) * int(counts[place]) / int(counts.max())
            start = left + width * place
            says = strings(
                "chain_budget_bar",
                low=f"{100 * place / BINS:.0f}", high=f"{100 * (place + 1) / BINS:.0f}", count=f"{counts[place]:,}",
            )  # fmt: skip
            bar = {"left": start + 0.12 * width, "right": start + 0.88 * width, "top": top, "hover": says}
            append_row(tables["bars"], bar)
        drawn = strings("chain_budget_drawn", count=f"{len(shown.drawn):,}")
        _text(tables, RIGHT, HEAD, drawn, "right", "soft")
        for line, text in enumerate(_scatter_words(shown, strings)):
            _text(tables, right, FOOT + 17 - 17 * line, text, "right", "ink")
    _flags(tables, shown, strings)


def _flags(tables: dict[str, Columns], shown: Shown, strings: Strings) -> None:
    """The target and what is expected now, each a line with its words; no line crosses the other's words."""
    left, right = BARS
    target, now = (left + (right - left) * share for share in (shown.run.target, shown.expected))
    text = strings("chain_budget_target", percent=_percent(shown.run.target))
    half = pixels_of(text) / PIXELS / 2
    _text(tables, min(max(target, left + half), RIGHT - half), TARGET_FLAG, text, "center", "ink")
    top = TARGET_FLAG - 7
    if not math.isnan(now):
        text = strings("chain_budget_now", percent=_percent(shown.expected))
        wide, gap = pixels_of(text) / PIXELS, 0.012
        roomy = left + wide + gap <= now <= RIGHT - wide - gap
        before = now < target if roomy else now > (left + right) / 2
        start = now - gap - wide if before else now + gap
        x, align = (start + wide, "right") if before else (start, "left")
        _text(tables, x, NOW_FLAG, text, align, "kept")
        append_row(tables["flag_now"], {"x": now, "y0": BAR_BASE, "y1": NOW_FLAG - 7})
        if start < target < start + wide:
            top = NOW_FLAG - 7
    append_row(tables["flag_target"], {"x": target, "y0": BAR_BASE, "y1": top})


def _scatter_words(shown: Shown, strings: Strings) -> tuple[str, str]:
    return (
        strings("chain_budget_spread", percent=f"{100 * shown.spread:.0f}"),
        strings("chain_budget_near", percent=percent_of(shown.near)),
    )


def _percent(share: float) -> str:
    text = f"{100 * share:.1f}"
    return text.removesuffix(".0")


def describe(shown: Shown, strings: Strings) -> list[str]:
    """The step, the expected cost and its target, the losses, and how the drawn networks scatter."""
    run = shown.run
    values = {"target": _percent(run.target), "of": f"{run.of:,}", "warm_up": f"{run.warm_up:,}"}
    sentences = [strings(f"chain_budget_says_target_{run.cost}", **values)]
    if run.frames:
        frame = range(run.frames)[shown.frame]
        step, share = f"{run.steps[frame]:,}", _percent(run.shares[frame])
        sentences.append(strings("chain_budget_says_at", step=step, of=values["of"], percent=share))
        for name in LOSSES:
            if name in run.losses and np.isfinite(run.losses[name][frame]):
                loss = f"{run.losses[name][frame]:.2f}"
                sentences.append(strings(f"chain_budget_says_loss_{name}", loss=loss))
    if shown.edited is not None:
        sentences.append(strings("chain_budget_says_edited", percent=_percent(shown.edited)))
    if len(shown.drawn):
        says = strings(
            "chain_budget_says_drawn",
            count=f"{len(shown.drawn):,}", spread=f"{100 * shown.spread:.0f}", near=percent_of(shown.near),
        )  # fmt: skip
        sentences.append(says)
    return sentences


def _text(tables: dict[str, Columns], x: float, y: float, text: str, align: str, role: str) -> None:
    entry = {"x": x, "y": y, "align": align, **dict.fromkeys(_ROLES, "")} | {role: text}
    append_row(tables["labels"], entry)


NONE = float("nan")
_ROLES = ("soft", "ink", "kept")
_COLUMNS: dict[str, Sequence[str]] = {
    "grid": ("y",),
    "floor": ("x0", "x1", "y"),
    "warm_up": ("x",),
    "band": ("low", "high", "target"),
    "curve": ("x", "y", "rest"),
    **dict.fromkeys(LOSSES, ("x", "y", "rest")),
    "points": ("x", "y", "hover"),
    "frame": ("x", "y"),
    "edited": ("x", "y"),
    "bars": ("left", "right", "top", "hover"),
    "flag_target": ("x", "y0", "y1"),
    "flag_now": ("x", "y0", "y1"),
    "labels": ("x", "y", "align", *_ROLES),
}
_HOVER = """<div style="font: {size}px sans-serif; max-width: {wide}px; color: #1f2933">@hover</div>"""


def build(scale: float = 1.0) -> View:
    """An empty view. `scale` multiplies heights and fonts."""
    data = sources("chain-budget", empty(_COLUMNS))
    chart = canvas("chain-budget", HEIGHT, (LEFT, RIGHT), scale)
    _draw_frame(chart, data)
    for name, role, width in (("curve", "kept", 2.5), *((name, role, 1.8) for name, role in LOSSES.items())):
        dash = [4, 3] if name == "chains" else "solid"
        for column, alpha in (("rest", 0.3), ("y", 1.0)):
            line = chart.line(
                x="x", y=column, line_width=width, line_dash=dash, line_alpha=alpha, source=data[name]
            )
            paint(line.glyph, line_color=role)
    bars = chart.quad(
        left="left", right="right", bottom=BAR_BASE, top="top", line_color=None, fill_alpha=0.55, source=data["bars"]
    )  # fmt: skip
    paint(bars.glyph, fill_color="kept")
    for name, role, dash in (("target", "ink", [4, 3]), ("now", "chosen", "solid")):
        flag = chart.segment(
            x0="x", x1="x", y0="y0", y1="y1", line_width=2, line_dash=dash, source=data[f"flag_{name}"]
        )
        paint(flag.glyph, line_color=role)
    dots = chart.scatter(x="x", y="y", size=8 * scale, fill_alpha=0, line_alpha=0, source=data["points"])
    here = chart.scatter(x="x", y="y", size=9 * scale, source=data["frame"])
    paint(here.glyph, fill_color="chosen", line_color="chosen")
    edited = chart.scatter(
        x="x", y="y", size=11 * scale, marker="diamond", line_width=2, source=data["edited"]
    )
    paint(edited.glyph, fill_color="paper", line_color="chosen")
    place = {"x": "x", "y": "y", "text_align": "align", "text_baseline": "middle", "source": data["labels"]}
    for role in _ROLES:
        style = "bold" if role == "kept" else "normal"
        text = chart.text(text=role, text_font_size=f"{13 * scale}px", text_font_style=style, **place)
        paint(text.glyph, text_color=role)
    hover = _HOVER.format(size=round(13 * scale), wide=round(260 * scale))
    chart.add_tools(HoverTool(renderers=[dots, bars], tooltips=hover))
    return View(chart, data)


def _draw_frame(chart: figure, data: dict[str, ColumnDataSource]) -> None:
    """What lies below the curves: warm-up, grid, band and target, and the line of the frame."""
    shade = chart.quad(left=0, right="x", bottom=LOSS_BASE, top=TOP, line_color=None, source=data["warm_up"])
    paint(shade.glyph, fill_color="pale")
    grid = chart.segment(x0=0, x1=END, y0="y", y1="y", source=data["grid"])
    paint(grid.glyph, line_color="line")
    floor = chart.segment(x0="x0", x1="x1", y0="y", y1="y", source=data["floor"])
    paint(floor.glyph, line_color="soft")
    band = chart.quad(
        left=0, right=END, bottom="low", top="high", line_color=None, fill_alpha=0.35, source=data["band"]
    )
    paint(band.glyph, fill_color="cut")
    target = chart.segment(x0=0, x1=END, y0="target", y1="target", line_dash=[4, 3], source=data["band"])
    paint(target.glyph, line_color="ink")
    frame = chart.segment(x0="x", x1="x", y0=LOSS_BASE, y1=TOP, line_width=1.5, source=data["frame"])
    paint(frame.glyph, line_color="chosen")
