"""One layer's width on its own scale: the kept part solid up to a handle, the rest outlined, the reference a tick."""

from explorer.figures.palette import paint
from explorer.figures.view import Columns, View, canvas, empty, sources
from explorer.strings import Strings

HEIGHT = 28.0
LOW, HIGH = 6.0, 22.0


def columns(size: int, width: int, reference: int) -> dict[str, Columns]:
    """The table "bar": shares of the dense width `size`; a layer of size 0 has no bar."""
    if not size:
        return empty(_COLUMNS)
    row = {"size": size, "width": width / size, "dense": 1.0, "reference": reference / size}
    return {"bar": {key: [value] for key, value in row.items()}}


def describe(size: int, width: int, reference: int, strings: Strings) -> list[str]:
    """The bar in sentences."""
    return [strings("layer_say_width", width=width, size=size, reference=reference)] if size else []


_COLUMNS = {"bar": ("size", "width", "dense", "reference")}


def build(scale: float = 1.0) -> View:
    """An empty view. `scale` multiplies its height."""
    data = sources("lens", empty(_COLUMNS))
    chart = canvas("lens", HEIGHT, (-0.03, 1.03), scale)
    box = {"left": 0, "bottom": LOW, "top": HIGH, "source": data["bar"]}
    rest = chart.quad(right="dense", fill_color=None, line_dash=[3, 2], **box)
    paint(rest.glyph, line_color="cut")
    kept = chart.quad(right="width", **box)
    paint(kept.glyph, fill_color="chosen", line_color="chosen")
    tick = chart.segment(
        x0="reference", x1="reference", y0=LOW - 3, y1=HIGH + 3, line_width=2, source=data["bar"]
    )
    paint(tick.glyph, line_color="ink")
    handle = chart.rect(
        x="width", y=(LOW + HIGH) / 2, width=8 * scale, width_units="screen", height=HIGH - LOW + 4,
        border_radius=3, line_width=2, source=data["bar"],
    )  # fmt: skip
    paint(handle.glyph, fill_color="paper", line_color="chosen")
    return View(chart, data)


# JavaScript: `lensTo(bar, width)` draws a width.
ECHO = """
const lensTo = (bar, width) => {
  if (bar.data.size.length) bar.data = {...bar.data, width: [width / bar.data.size[0]]}
}
"""
