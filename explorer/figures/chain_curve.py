"""One layer's Markov chain: which channels are kept with which probability, and which width that makes.

Above, the retention probability of every channel as steps, with a knob on a track for the transition probability of
every step. Below, on the same axis of channels, the probability of every width. The line through both is the
expected width. `make_draggable` lets the knobs be dragged.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

import numpy as np
from bokeh.models import ColumnDataSource, CustomJS, HoverTool, LinearInterpolator
from bokeh.plotting import figure

from explorer.chains import Chain
from explorer.figures.chain_drag import DRAG
from explorer.figures.chain_words import channels, digits, facts, numbers, sentences, spread
from explorer.figures.label_places import Labels
from explorer.figures.palette import paint
from explorer.figures.text_lines import pixels_of
from explorer.figures.view import Columns, View, canvas, empty, sources
from explorer.strings import Strings

HEIGHT = 182.0
LOW, TALL = 22.0, 32.0  # the bars of the widths: their foot, and how high the highest is
FOOT, TOP = 78.0, 160.0  # where the probabilities 0 and 1 are
GAP = 64.0  # the middle of the text between the bars and the curve
HEAD = 174.0  # the middle of the text above the curve
AXIS = 8.0  # the middle of the numbers below the bars
LEFT, RIGHT = -0.06, 1.03
PIXELS = 394  # from the first channel to the last in a figure 430 pixels wide
KNOB = 11.0  # diameter in pixels; smaller where steps lie closer
SMALLEST_KNOB = 3.0
BAR = 7.0  # half a bar's width in pixels, at most
DENSE = 5.0  # pixels of a step below which bars touch and tracks are left out
LETTER = 6.6  # pixels of an average letter, some of them wide
BESIDE = 6.0  # pixels from a line to its text
REACH = 14  # pixels from a knob in which it is caught
MOST_ZONES = 128  # steps that the pointer tells apart
SAMPLES = 16  # parts of the curve that labels keep away from
MOST_KNOBS = 16  # that labels keep away from
SPOTS = 8  # steps that labels may stand at


@dataclass(frozen=True, eq=False)
class Shown:
    """What the figure shows: a chain, the same group's chain at the `first` frame of the run, which is drawn pale, and
    the `width` that the group has in the bars now (None: neither)."""

    chain: Chain
    first: Chain | None = None
    width: int | None = None


def columns(shown: Shown | None, strings: Strings, message: str = "") -> dict[str, Columns]:
    """The tables of the view; times O(states of the chain). None = nothing to draw but the message.

    Along x, 1 is the group's size; heights are pixels.
    """
    tables = empty(_COLUMNS)
    if shown is None:
        _append(tables["labels"], x=0.5, y=(FOOT + TOP) / 2, kept="", soft=message, align="center")
        return tables
    chain = shown.chain
    ends = chain.widths / chain.size
    tables["grid"] = {"y": [LOW, FOOT, (FOOT + TOP) / 2, TOP], "text": ["", "0", "½", "1"]}
    tables["curve"] = _steps(chain)
    tables["always"] = {"right": [float(ends[0])]}
    if shown.first is not None and not np.allclose(shown.first.retention, chain.retention, atol=0.005):
        tables["first"] = _steps(shown.first)
    tables["bars"] = _bars(chain)
    tables["knobs"] = _knobs(chain)
    tables["expected"] = _expected(chain, strings)
    tables["likely"] = _likely(chain, strings)
    _axis(tables, shown, strings)
    _labels(tables, shown, strings)
    _explain(tables["hover"], chain, strings)
    tables["chain"] = {
        "group": [chain.group],
        "size": [chain.size],
        "least": [chain.least],
        "step": [chain.step],
        "digits": [digits(chain)],
        "expected": [strings("chain_curve_expected", expected="{e}", spread="{s}", size=chain.size)],
        "likely": [strings("chain_curve_likely", width="{w}", probability="{p}")],
    }
    return tables


def _height(probability: float) -> float:
    return FOOT + (TOP - FOOT) * probability


def _steps(chain: Chain) -> Columns:
    """The retention probability over the channels, both ends of every step."""
    ends = np.concatenate([[0], chain.widths]) / chain.size
    heights = FOOT + (TOP - FOOT) * np.concatenate([[1.0], chain.retention])
    return {"x": np.repeat(ends, 2)[1:-1].tolist(), "y": np.repeat(heights, 2).tolist()}


def _bars(chain: Chain) -> Columns:
    step = chain.step / chain.size
    half = min(0.36 * step, BAR / PIXELS) if step * PIXELS >= DENSE else 0.5 * step
    places, probabilities = chain.widths / chain.size, chain.probabilities
    return {
        "left": (places - half).tolist(),
        "right": (places + half).tolist(),
        "top": (LOW + TALL * probabilities / probabilities.max()).tolist(),
    }


def _knobs(chain: Chain) -> Columns:
    step = chain.step / chain.size
    size = min(max(0.8 * step * PIXELS, SMALLEST_KNOB), KNOB)
    track = TOP if step * PIXELS >= DENSE else FOOT
    return {
        "x": (chain.widths[1:] / chain.size - step / 2).tolist(),
        "y": (FOOT + (TOP - FOOT) * chain.transitions).tolist(),
        "p": chain.transitions.tolist(),
        "size": [size] * chain.states,
        "track": [track] * chain.states,
    }


def _expected(chain: Chain, strings: Strings) -> Columns:
    """The line at the expected width, the band of one standard deviation to both sides, and its text."""
    x, away = chain.expected / chain.size, spread(chain) / chain.size
    row = {
        "x": x,
        "left": max(x - away, 0.0),
        "right": min(x + away, 1.0),
        "text": strings("chain_curve_expected", size=chain.size, **numbers(chain)),
        "align": "left" if x < 0.5 else "right",
        "shift": BESIDE if x < 0.5 else -BESIDE,
    }
    return {key: [value] for key, value in row.items()}


def _likely(chain: Chain, strings: Strings) -> Columns:
    """The text at the highest bar, on a side that the line of the expected width does not cross."""
    place = int(chain.probabilities.argmax())
    text = strings(
        "chain_curve_likely",
        width=int(chain.widths[place]),
        probability=f"{chain.probabilities[place]:.2g}",
    )
    x, align = _beside(
        float(chain.widths[place]) / chain.size, chain.expected / chain.size, LETTER * len(text) / PIXELS
    )
    return {"x": [x], "text": [text], "align": [align]}


def _beside(bar: float, line: float, room: float) -> tuple[float, str]:
    """Where a text of that width begins ("left") or ends ("right"): at the bar, else at the line.

    It is in the figure and not crossed by the line if it can be. The same as `beside` in chain_drag.
    """
    gap = BESIDE / PIXELS

    def cost(spot: tuple[float, str]) -> float:
        low = spot[0] - (room if spot[1] == "right" else 0.0)
        crossed = low < line + gap / 2 and line - gap / 2 < low + room
        return max(LEFT - low, low + room - RIGHT, 0.0) + crossed

    return min(
        ((bar - gap, "left"), (bar + gap, "right"), (line + gap, "left"), (line - gap, "right")), key=cost
    )


def _axis(tables: dict[str, Columns], shown: Shown, strings: Strings) -> None:
    """Numbers of channels: none, those that always stay and all, but where the width of the bars is told."""
    chain, taken = shown.chain, []
    if shown.width is not None:
        x = shown.width / chain.size
        text = strings("chain_curve_now", width=shown.width)
        half = pixels_of(text) / PIXELS / 2
        align = "left" if x < half else "right" if x > 1 - half else "center"
        tables["now"] = {"x": [x], "text": [text], "align": [align], "shift": [_shift(align)]}
        low = x - {"left": 0.0, "center": half, "right": 2 * half}[align]
        taken.append((low, low + 2 * half))
    for count, align, text in (
        (chain.size, "right", strings("chain_curve_size", size=chain.size)),
        (0, "center", "0"),
        (chain.least, "center", str(chain.least)),
    ):
        x, wide = count / chain.size, pixels_of(text) / PIXELS
        low = x - (wide if align == "right" else wide / 2)
        gap = 2 * BESIDE / PIXELS
        if all(low + wide + gap < start or end + gap < low for start, end in taken):
            taken.append((low, low + wide))
            _append(tables["axis"], x=x, text=text, align=align)


def _shift(align: str) -> float:
    return {"left": -4.0, "center": 0.0, "right": 4.0}[align]


def _labels(tables: dict[str, Columns], shown: Shown, strings: Strings) -> None:
    """Names beside the curve, a knob and the first frame's curve, where there is most room."""
    labels, chain = Labels(PIXELS), shown.chain
    _block(labels, tables, chain.least / chain.size)
    few = range(0, chain.states, math.ceil(chain.states / SPOTS) or 1)
    knobs = [(tables["knobs"]["x"][step], tables["knobs"]["y"][step]) for step in few]

    def put(
        key: str, role: str, spots: Sequence[tuple[float, float]], sides: Sequence[str], gap: float
    ) -> None:
        text = strings(key)
        room = "m" * math.ceil(pixels_of(text) / Labels.LETTER)
        x, y, _text, align = labels.beside(spots, room, sides, gap)
        _append(tables["labels"], **{"x": x, "y": y, "align": align, "kept": "", "soft": "", role: text})

    if not chain.states:
        return
    least = chain.least / chain.size
    spots = [(least, _height(height)) for height in (0.8, 0.7, 0.3, 0.15)]
    spots += [(knob[0], _height(float(chain.retention[step]))) for knob, step in zip(knobs, few, strict=True)]
    put(
        "chain_curve_retention",
        "kept",
        spots,
        ("right", "below right", "above right", "below", "above"),
        BESIDE,
    )
    sides = ("above", "below", "above right", "below right", "above left", "below left", "right", "left")
    put("chain_curve_transition", "soft", knobs, sides, KNOB / 2 + 2)
    if tables["first"]["x"] and shown.first is not None:
        heights = [_height(float(shown.first.retention[step])) for step in few]
        spots = [(knob[0], height) for knob, height in zip(knobs, heights, strict=True)]
        put("chain_curve_first", "soft", spots, ("above right", "above", "below", "below left"), 3)


def _block(labels: Labels, tables: dict[str, Columns], least: float) -> None:
    """Keep labels off knobs, curves, channels that always stay, the expected width, and all below the curve."""
    for name in ("curve", "first"):
        curve = tables[name]
        for left in np.arange(SAMPLES if curve["x"] else 0) / SAMPLES:
            heights = np.interp([left, left + 1 / SAMPLES], curve["x"], curve["y"])
            half = 0.5 * PIXELS / SAMPLES
            labels.avoid_span(left + 0.5 / SAMPLES, heights.min() - 2, heights.max() + 2, half)
    knobs = tables["knobs"]
    for x, y in list(zip(knobs["x"], knobs["y"], strict=True))[
        :: math.ceil(len(knobs["x"]) / MOST_KNOBS) or 1
    ]:
        labels.avoid(x, y, KNOB / 2 + 1)
    labels.avoid_span(least / 2, FOOT, TOP, least * PIXELS / 2)
    labels.avoid_span(0.5, 0.0, FOOT + 2, PIXELS)
    labels.avoid_span(0.5, (FOOT + TOP) / 2 - 1, (FOOT + TOP) / 2 + 1, PIXELS / 2)
    expected = {name: column[0] for name, column in tables["expected"].items()}
    labels.avoid_span(expected["x"], FOOT, TOP, 8)
    labels.avoid_text(expected["x"], HEAD, expected["text"], expected["align"])


def _append(table: Columns, **entry: object) -> None:
    for key, value in entry.items():
        table[key].append(value)


def _explain(hover: Columns, chain: Chain, strings: Strings) -> None:
    """What is under the pointer: above a step's channels, and below at the width that ends with them.

    Of very many steps some, evenly chosen, speak for their neighbours.
    """
    said = np.unique(np.linspace(0, chain.states, min(chain.states + 1, MOST_ZONES)).astype(int)).tolist()
    ends = (chain.widths[said] / chain.size).tolist()
    borders = [0.0, *((one + other) / 2 for one, other in pairwise(ends)), RIGHT]
    for place, step in enumerate(said):
        title, *lines = map(escape, [channels(chain, step, strings), *facts(chain, step, strings)])
        html = "<br>".join([f"<b>{title}</b>", *lines])
        start = ends[place - 1] if place else 0.0
        _append(hover, left=start, right=ends[place], bottom=FOOT, top=HEIGHT, html=html)
        _append(hover, left=borders[place], right=borders[place + 1], bottom=0.0, top=FOOT, html=html)


def describe(name: str, shown: Shown | None, strings: Strings, message: str = "") -> list[str]:
    """The figure in sentences; `name` is the layer's."""
    if shown is None:
        return [message] if message else []
    return sentences(name, shown.chain, shown.width, strings)


_COLUMNS = {
    "grid": ("y", "text"),
    "curve": ("x", "y"),
    "always": ("right",),
    "first": ("x", "y"),
    "bars": ("left", "right", "top"),
    "knobs": ("x", "y", "p", "size", "track"),
    "expected": ("x", "left", "right", "text", "align", "shift"),
    "likely": ("x", "text", "align"),
    "now": ("x", "text", "align", "shift"),
    "axis": ("x", "text", "align"),
    "labels": ("x", "y", "kept", "soft", "align"),
    "hover": ("left", "right", "bottom", "top", "html"),
    "chain": ("group", "size", "least", "step", "digits", "expected", "likely"),
}


def build(scale: float = 1.0) -> View:
    """An empty view. `scale` multiplies heights and fonts."""
    data = sources("chain-curve", empty(_COLUMNS))
    chart = canvas("chain-curve", HEIGHT, (LEFT, RIGHT), scale)
    _draw_widths(chart, data, scale)
    _draw_curve(chart, data, scale)
    _draw_words(chart, data, scale)
    zone = chart.quad(
        left="left",
        right="right",
        bottom="bottom",
        top="top",
        fill_alpha=0,
        line_alpha=0,
        source=data["hover"],
    )
    style = f"font: {round(13 * scale)}px sans-serif; max-width: {round(300 * scale)}px; color: #1f2933"
    tooltip = f'<div style="{style}">@html{{safe}}</div>'
    chart.add_tools(HoverTool(renderers=[zone], tooltips=tooltip, point_policy="follow_mouse"))
    return View(chart, data)


def _draw_widths(chart: figure, data: dict[str, ColumnDataSource], scale: float) -> None:
    """The bars, and behind them how far the width strays from the expected one."""
    expected = data["expected"]
    band = chart.quad(
        left="left", right="right", bottom=LOW, top=LOW + TALL, line_color=None, source=expected
    )
    paint(band.glyph, fill_color="pale")
    bars = chart.quad(left="left", right="right", bottom=LOW, top="top", line_color=None, source=data["bars"])
    paint(bars.glyph, fill_color="kept")
    tick = chart.segment(x0="x", x1="x", y0=LOW - 6, y1=LOW + 4, line_width=3 * scale, source=data["now"])
    paint(tick.glyph, line_color="chosen")


def _draw_curve(chart: figure, data: dict[str, ColumnDataSource], scale: float) -> None:
    grid = chart.segment(x0=0, x1=1, y0="y", y1="y", source=data["grid"])
    paint(grid.glyph, line_color="line")
    always = chart.quad(left=0, right="right", bottom=FOOT, top=TOP, line_color=None, source=data["always"])
    always.glyph.fill_alpha = 0.5
    paint(always.glyph, fill_color="kept")
    area = chart.varea(x="x", y1=FOOT, y2="y", fill_alpha=0.2, source=data["curve"])
    paint(area.glyph, fill_color="kept")
    tracks = chart.segment(x0="x", x1="x", y0=FOOT, y1="track", source=data["knobs"])
    paint(tracks.glyph, line_color="line")
    first = chart.line(x="x", y="y", line_width=1.5, line_dash=[3, 2], source=data["first"])
    paint(first.glyph, line_color="cut")
    curve = chart.line(x="x", y="y", line_width=2, source=data["curve"])
    paint(curve.glyph, line_color="kept")
    expected = chart.segment(x0="x", x1="x", y0=LOW, y1=HEAD + 6, line_width=1.5, source=data["expected"])
    paint(expected.glyph, line_color="ink")
    scaled = {"field": "size", "transform": LinearInterpolator(x=[0, KNOB], y=[0, KNOB * scale])}
    knobs = chart.scatter(x="x", y="y", size=scaled, line_width=2, source=data["knobs"])
    paint(knobs.glyph, fill_color="paper", line_color="kept")


def _draw_words(chart: figure, data: dict[str, ColumnDataSource], scale: float) -> None:
    size = {"text_font_size": f"{13 * scale}px", "text_baseline": "middle"}
    for table, y, role, style in (
        ("expected", HEAD, "ink", "bold"),
        ("likely", GAP, "soft", "normal"),
        ("now", AXIS, "ink", "normal"),
        ("axis", AXIS, "soft", "normal"),
    ):
        shift = {"x_offset": "shift"} if table in ("expected", "now") else {}
        text = chart.text(
            x="x",
            y=y,
            text="text",
            text_align="align",
            text_font_style=style,
            source=data[table],
            **shift,
            **size,
        )
        paint(text.glyph, text_color=role)
    numbers = chart.text(
        x=0, y="y", text="text", text_align="right", x_offset=-6, source=data["grid"], **size
    )
    paint(numbers.glyph, text_color="soft")
    for role, style in (("kept", "bold"), ("soft", "normal")):
        text = chart.text(
            x="x", y="y", text=role, text_align="align", text_font_style=style, source=data["labels"], **size
        )
        paint(text.glyph, text_color=role)


def make_draggable(view: View, scale: float = 1.0) -> tuple[ColumnDataSource, ColumnDataSource]:
    """Let the knobs of a view of `build` be dragged; returns the sources "ask" and "answer".

    The browser draws the chain that a drag makes at once, and puts one row into "ask": `number` of the request,
    `group`, `place` of the step (from 0), its transition `probability` and whether the drag has `ended`. Python puts
    the number into "answer" once the view's columns say what became of it; until then the browser draws its own wish
    over anything older that arrives. The latest request wins.
    """
    row = {"number": [0], "group": [""], "place": [0], "probability": [0.0], "ended": [False]}
    ask = ColumnDataSource(row, name="chain-curve-ask")
    answer = ColumnDataSource({"number": [0]}, name="chain-curve-answer")
    drawn = {name: view.sources[name] for name in ECHOED}
    heights = {"foot": FOOT, "top": TOP, "low": LOW, "tall": TALL}
    widths = {"left": LEFT, "right": RIGHT, "gap": BESIDE, "letter": LETTER, "pixels": PIXELS}
    args = {"chart": view.root, "ask": ask, "answer": answer, "chain": view.sources["chain"]}
    args |= {"hover": view.root.select_one(HoverTool), "reach": REACH * scale, "at": {**heights, **widths}}
    script = CustomJS(args={**args, **drawn}, code=DRAG)
    view.root.js_on_change("inner_width", script)
    for source in (*drawn.values(), answer):
        source.js_on_change("data", script)
    return ask, answer


ECHOED = ("curve", "bars", "knobs", "expected", "likely")
"""The tables that the browser changes in advance: they are sent again after a drag even where they are the same."""
