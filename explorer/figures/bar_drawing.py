"""The Bokeh models of the width bars: how the tables of `width_bars.columns` are drawn.

Along x there are three scales: lengths of bars (0 to 1, the figure's own), pixels from the bars' left end
("left", for names and marks) and pixels from the longest bar's end ("right", for the column of sensitivity). A
script in the browser keeps them together when the figure's width changes.
"""

from typing import Any

from bokeh.models import (
    CDSView,
    ColumnDataSource,
    CustomJS,
    Glyph,
    GlyphRenderer,
    HoverTool,
    Quad,
    Range1d,
    Rect,
    Scatter,
    Segment,
    Text,
)
from bokeh.plotting import figure

from explorer.figures import picked
from explorer.figures.palette import paint
from explorer.figures.rows import HEIGHT
from explorer.figures.view import View, canvas, empty, sources
from explorer.figures.width_bars import NAMES_AT, TABLES

DASHES = [3, 2]


def build(height: float = HEIGHT, scale: float = 1.0) -> View:
    """An empty view of that height, in pixels; `scale` multiplies it and the fonts."""
    data = sources("bars", empty(TABLES))
    chart = canvas("bars", height, (-0.42, 1.18), scale)
    chart.extra_x_ranges = {"left": Range1d(-106, 300), "right": Range1d(-300, 44)}
    pens = {name: _Pen(chart, source, scale) for name, source in data.items()}
    _draw_bands(pens["bands"])
    _draw_rows(pens["rows"], scale)
    _draw_cells(pens["cells"])
    _draw_folds(pens["folds"], scale)
    _draw_scale(pens["scale"])
    _draw_key(pens["key"])
    _draw_heat(pens["heat"])
    _draw_handles(pens["handles"], scale)
    _draw_labels(pens["labels"])
    _explain(chart, pens["hover"], scale)
    script = _margins_script(chart, data["margins"], scale)
    chart.js_on_change("inner_width", script)
    data["margins"].js_on_change("data", script)
    return View(chart, data)


def _margins_script(chart: figure, margins: ColumnDataSource, scale: float) -> CustomJS:
    """Keeps the margins' widths in pixels, whatever the width of the figure."""
    args = {"chart": chart, "margins": margins, "scale": scale, "ranges": chart.extra_x_ranges}
    return CustomJS(args=args, code=_MARGINS)


_MARGINS = """
export default ({chart, margins, scale, ranges}) => {
  const {left: [left], right: [right]} = margins.data
  const width = (chart.inner_width ?? 0) / scale, bars = width - left - right
  if (!(bars > 0)) return
  const get = (name) => ranges instanceof Map ? ranges.get(name) : ranges[name]
  chart.x_range.setv({start: -left / bars, end: 1 + right / bars})
  get("left").setv({start: -left, end: width - left})
  get("right").setv({start: right - width, end: right})
}
"""


class _Pen:
    """Draws one source. Glyphs are added as models and share a view: a figure's own methods make three times as
    many models, which a page would wait for."""

    def __init__(self, chart: figure, source: ColumnDataSource, scale: float) -> None:
        self._chart, self._source, self._view, self._scale = chart, source, CDSView(), scale

    def draw(self, glyph: Glyph, x: str = "default", **roles: str) -> GlyphRenderer:
        """Add a glyph with colours by role; `x` is the scale that it is placed on."""
        paint(glyph, **roles)
        return self._chart.add_glyph(self._source, glyph, view=self._view, x_range_name=x)

    def bar(self, right: str, corner: int = 2, **options: Any) -> Quad:
        return Quad(left=0, right=right, bottom="bottom", top="top", border_radius=corner, **options)

    def tick(self, x: str, width: float) -> Segment:
        return Segment(x0=x, x1=x, y0="bottom", y1="top", line_width=width)

    def text(self, x: str | float, y: str, text: str, **options: Any) -> Text:
        size = f"{13 * self._scale}px"
        return Text(x=x, y=y, text=text, text_baseline="middle", text_font_size=size, **options)

    def marker(self) -> None:
        """A triangle beside the selected layer."""
        triangle = Scatter(x="marker", y="middle", marker="triangle", angle=-1.5708, size=8 * self._scale)
        self.draw(triangle, "left", fill_color="chosen", line_color="chosen")


def _draw_bands(pen: _Pen) -> None:
    pen.draw(pen.bar("dense", 3, line_color=None), fill_color="pale")
    pen.draw(pen.bar("width", 3, fill_color=None), line_color="cut")
    pen.draw(pen.tick("reference", 1.5), line_color="ink")
    for role in ("kept", "chosen"):
        pen.draw(pen.tick(role, 3), line_color=role)


def _draw_rows(pen: _Pen, scale: float) -> None:
    pen.draw(pen.bar("dense", fill_color=None, line_dash=DASHES), line_color="cut")
    _draw_fixed(pen, scale)
    for role in ("kept", "chosen"):
        pen.draw(pen.bar(role, line_color=None), fill_color=role)
    pen.draw(pen.tick("reference", 1.5), line_color="ink")
    for start, end in (("bottom", "top"), ("top", "bottom")):
        pen.draw(Segment(x0=0, x1="crossed", y0=start, y1=end), line_color="cut")
    pen.marker()
    mark = Scatter(x="mark_at", y="middle", marker="mark", size=20 * scale, defs=_marks(), line_width=1.3)
    pen.draw(mark, fill_color="soft", line_color="soft")
    pen.draw(pen.text("number_at", "middle", "number", x_offset="number_shift"), text_color="soft")


def _draw_fixed(pen: _Pen, scale: float) -> None:
    """What stays is hatched, so that it does not look like what is kept."""
    size, weight = 7 * scale, 1.5 * scale
    bar = pen.bar("fixed", hatch_pattern="/", hatch_scale=size, hatch_weight=weight)
    pen.draw(bar, fill_color="pale", line_color="fixed", hatch_color="fixed")


def _marks() -> dict[str, CustomJS]:
    """A pin and a lock, drawn to the right of their point (r = 10 pixels at scale 1)."""
    return {"@pin": CustomJS(code=_PIN), "@lock": CustomJS(code=_LOCK)}


_PIN = """
export default (_args, _glyph, {r}) => {
  const path = new Path2D(), u = r / 10
  path.arc(12 * u, -2.5 * u, 2.6 * u, 0, 2 * Math.PI)
  path.moveTo(12 * u, 0)
  path.lineTo(12 * u, 5.5 * u)
  return path
}
"""
_LOCK = """
export default (_args, _glyph, {r}) => {
  const path = new Path2D(), u = r / 10
  path.rect(8.5 * u, -1 * u, 7 * u, 5.5 * u)
  path.moveTo(9.9 * u, -1 * u)
  path.arc(12 * u, -2.2 * u, 2.1 * u, Math.PI, 2 * Math.PI)
  path.lineTo(14.1 * u, -1 * u)
  return path
}
"""


def _draw_cells(pen: _Pen) -> None:
    """The channels that picked images keep. An edge of the same colour would hide gaps of one channel."""
    for whose, role in picked.ROLES.items():
        sides = {"left": "left", "right": whose, "bottom": "bottom", "top": "top"}
        pen.draw(Quad(**sides, fill_alpha="alpha", line_color=None), fill_color=role)


def _draw_key(pen: _Pen) -> None:
    whole = Quad(left="left", right="outline", bottom="low", top="high", fill_color=None)
    pen.draw(whole, "right", line_color="cut")
    for whose, role in picked.ROLES.items():
        swatch = Quad(left="left", right=whose, bottom="bottom", top="top", line_color=None)
        pen.draw(swatch, "right", fill_color=role)
    pen.draw(pen.text("x", "middle", "text"), "right", text_color="ink")


def _draw_folds(pen: _Pen, scale: float) -> None:
    """From the smallest to the largest kept share of a folded block: what all keep is solid, what some do pale."""
    pen.draw(pen.bar("dense", fill_color=None, line_dash=DASHES), line_color="cut")
    _draw_fixed(pen, scale)
    pen.draw(pen.bar("high", fill_alpha=0.35), fill_color="kept", line_color="kept")
    pen.draw(pen.bar("low", line_color=None), fill_color="kept")
    pen.marker()
    pen.draw(pen.text("dense", "middle", "number", x_offset=8.0), text_color="soft")


def _draw_handles(pen: _Pen, scale: float) -> None:
    width = {"value": 7 * scale, "units": "screen"}
    for role in ("kept", "chosen"):
        grip = Rect(x=role, y="y", width=width, height="height", border_radius=3, line_width=1.5)
        pen.draw(grip, fill_color="paper", line_color=role)


def _draw_heat(pen: _Pen) -> None:
    cell = Quad(left="left", right="right", bottom="bottom", top="top", fill_alpha="heat", line_color=None)
    pen.draw(cell, "right", fill_color="lost")


def _draw_scale(pen: _Pen) -> None:
    pen.draw(pen.bar("image", line_color=None), fill_color="fixed")
    pen.draw(pen.text(1, "y", "text", text_align="right"), text_color="soft")
    pen.draw(pen.text("right", "y", "heat", text_align="right"), "right", text_color="soft")


def _draw_labels(pen: _Pen) -> None:
    for column, role, style in (("bold", "ink", "bold"), ("plain", "soft", "normal")):
        pen.draw(pen.text(NAMES_AT, "y", column, text_font_style=style), "left", text_color=role)


def _explain(chart: figure, pen: _Pen, scale: float) -> None:
    """What is under the pointer, anywhere in a row."""
    row = Quad(left=-10_000, right=10_000, bottom="low", top="high", fill_alpha=0, line_alpha=0)
    style = f"font: {round(13 * scale)}px sans-serif; max-width: {round(300 * scale)}px; color: #1f2933"
    tooltip = f'<div style="{style}">@html{{safe}}</div>'
    renderers = [pen.draw(row, "left")]
    chart.add_tools(HoverTool(renderers=renderers, tooltips=tooltip, point_policy="follow_mouse"))
