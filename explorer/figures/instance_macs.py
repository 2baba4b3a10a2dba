"""How many MACs images need, and whether it is the hard ones that need more.

On the left the histogram of the shares of the dense MACs, images that are wrong hatched on top of those that are
right. On the right every image's loss against its share; diamonds are the fifths of the images with the lowest and
the highest losses. Of very many images some points are drawn, evenly chosen from all losses; every number is of all.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from bokeh.models import ColumnDataSource, CustomJS, GlyphRenderer, HoverTool
from bokeh.plotting import figure

from explorer.figures.instance_macs_axes import (
    BARS,
    BASE,
    HEIGHT,
    LEFT,
    LOWEST,
    PIXELS,
    POINTS,
    RIGHT,
    TOP,
    Axes,
    axes_of,
    bins,
    finite,
    points,
)
from explorer.figures.instance_order import class_name
from explorer.figures.label_places import Labels
from explorer.figures.palette import paint
from explorer.figures.text_lines import lines_of, pixels_of
from explorer.figures.view import Columns, View, append_row, canvas, empty, sources
from explorer.instances import Instances
from explorer.strings import Strings

TICKS = 26.0  # the middle of the numbers below
AXIS = 9.0  # the middle of what the axes are
TITLE = 165.0
KEY = 185.0
HEAD = 203.0
LINE = 16.0
COUNTS = (1, 2, 5, 10, 20, 25, 50, 100, 200, 250, 500, 1000, 2000, 5000, 10000)
REACH = 12  # pixels from a point in which it is caught
_AROUND = ("right", "left", "above", "below", "above left", "above right", "below right", "below left")


@dataclass(frozen=True, eq=False)
class Shown:
    """What the view shows: `picked` are up to two images (positions among the explore images), and `classes` are the
    names by label."""

    instances: Instances
    picked: tuple[int, ...] = ()
    classes: tuple[str, ...] = ()


def columns(shown: Shown | None, strings: Strings, message: str = "") -> dict[str, Columns]:
    """The tables of the view; where there is nothing to be drawn there is only the message.

    x is in parts of the figure, two plots beside each other; y is pixels upwards.
    """
    tables = empty(_COLUMNS)
    if shown is None or not len(shown.instances):
        words = message if shown is None else strings("instance_macs_no_images")
        for place, line in enumerate(lines_of(words, 400)):
            _word(tables, (LEFT + RIGHT) / 2, HEIGHT / 2 + 8 - LINE * place, line, align="center")
        return tables
    found = shown.instances
    axes = axes_of(found)
    note = "instance_macs_perfect" if found.source == "active" else "instance_macs_theoretical"
    _word(tables, LEFT + 4 / PIXELS, HEAD, strings(note))
    _key(tables, strings)
    _shares(tables, axes, strings)
    _bars(tables, found, axes, strings)
    _points(tables, shown, axes, strings)
    return tables


def _key(tables: dict[str, Columns], strings: Strings) -> None:
    """What is right and what is wrong, above both plots; and the diamonds."""
    right, wrong = strings("instance_macs_right"), strings("instance_macs_wrong")
    x = BARS[0]
    for name, middle in ((right, KEY + 5), (wrong, KEY - 5)):
        box = {"left": x, "right": x + 10 / PIXELS, "bottom": KEY - 5, "middle": middle, "top": KEY + 5}
        append_row(tables["key_bars"], box)
        _word(tables, x + 14 / PIXELS, KEY, name)
        x += (pixels_of(name) + 26) / PIXELS
    names = {"right": right, "wrong": wrong, "fifths": strings("instance_macs_fifths")}
    x = RIGHT - (sum(pixels_of(name) + 20 for name in names.values()) - 10) / PIXELS
    for table, name in names.items():
        append_row(tables[f"key_{table}"], {"x": x, "y": KEY})
        _word(tables, x + 8 / PIXELS, KEY, name)
        x += (pixels_of(name) + 20) / PIXELS


def _shares(tables: dict[str, Columns], axes: Axes, strings: Strings) -> None:
    """The axis of MACs, below both plots."""
    step = 0.1 if axes.high - axes.low < 0.45 else 0.2
    first = math.ceil(axes.low / step - 1e-9)
    ticks = [place * step for place in range(first, math.floor(axes.high / step + 1e-9) + 1)]
    for plot in (BARS, POINTS):
        append_row(tables["axes"], {"x0": plot[0], "x1": plot[1], "y0": BASE, "y1": BASE})
        for share in ticks:
            x = axes.x(share, plot)
            append_row(tables["axes"], {"x0": x, "x1": x, "y0": BASE, "y1": BASE - 4})
            _word(tables, x, TICKS, f"{100 * share:.0f}", align="center")
        _word(tables, sum(plot) / 2, AXIS, strings("instance_macs_axis"), align="center")


def _bars(tables: dict[str, Columns], found: Instances, axes: Axes, strings: Strings) -> None:
    bars = bins(found.shares, found.right, axes.high - axes.low)
    highest = max(right + wrong for *_ends, right, wrong in bars)
    step = next((step for step in COUNTS if highest <= 4 * step), COUNTS[-1])
    room = (TOP - BASE) / max(highest, 1)
    for count in range(0, highest + 1, step):
        _word(tables, -5 / PIXELS, BASE + room * count, f"{count}", align="right")
        if count:
            y = BASE + room * count
            append_row(tables["grid"], {"x0": BARS[0], "x1": BARS[1], "y": y})
    for low, high, right, wrong in bars:
        entry = {
            "left": axes.x(low, BARS) + 0.5 / PIXELS,
            "right": axes.x(high, BARS) - 0.5 / PIXELS,
            "bottom": BASE,
            "middle": BASE + room * right,
            "top": BASE + room * (right + wrong),
            "html": escape(
                strings(
                    "instance_macs_bin",
                    low=f"{100 * low:.0f}",
                    high=f"{100 * high:.0f}",
                    images=right + wrong,
                    wrong=wrong,
                )
            ),
        }
        append_row(tables["bars"], entry)
    _marks(tables, found, axes, strings)


def _marks(tables: dict[str, Columns], found: Instances, axes: Axes, strings: Strings) -> None:
    """The mean of all images and the dense network, as lines through the histogram, named above."""
    mean, dense = axes.x(found.mean_share, BARS), axes.x(1.0, BARS)
    tables["mean"], tables["dense"] = {"x": [mean]}, {"x": [dense]}
    images, name = strings("instance_macs_images"), strings("instance_macs_dense")
    words = strings("instance_macs_mean", share=_percent(found.mean_share))
    _word(tables, LEFT + 4 / PIXELS, TITLE, images)
    _word(tables, BARS[1], TITLE, name, align="right")
    half = pixels_of(words) / 2
    least = LEFT * PIXELS + pixels_of(images) + 12 + half
    most = BARS[1] * PIXELS - pixels_of(name) - 8 - half
    _word(tables, max(min(mean * PIXELS, most), least) / PIXELS, TITLE, words, role="bold", align="center")


def _percent(share: float) -> str:
    return f"{100 * share:.0f}"


def _points(tables: dict[str, Columns], shown: Shown, axes: Axes, strings: Strings) -> None:
    found = shown.instances
    losses = finite(found.losses)
    for power in range(round(math.log10(LOWEST)), round(math.log10(axes.most)) + 1):
        y = axes.y(10.0**power)
        text = f"{10.0**power:g}"
        lowest = power == round(math.log10(LOWEST))
        _word(tables, POINTS[0] - 5 / PIXELS, y, f"≤{text}" if lowest else text, align="right")
        if not lowest:
            append_row(tables["grid"], {"x0": POINTS[0], "x1": POINTS[1], "y": y})
    labels = Labels(PIXELS)
    rows = points(found, shown.picked)
    for row in rows.tolist():
        x, y = axes.x(float(found.shares[row]), POINTS), axes.y(float(losses[row]))
        entry = {"x": x, "y": y, "image": int(found.images[row]), "html": _html(shown, row, strings)}
        append_row(tables["right" if found.right[row] else "wrong"], entry)
        if found.images[row] in shown.picked:
            number = f"{shown.picked.index(int(found.images[row])) + 1}"
            append_row(tables["picked"], {"x": x, "y": y, "text": number})
            labels.avoid(x, y, 12)
    correlation = found.correlation
    title = (
        strings("instance_macs_no_correlation")
        if math.isnan(correlation)
        else strings("instance_macs_correlation", value=f"{correlation:.2f}".replace("-", "−"))
    )
    _word(tables, POINTS[1], TITLE, title, role="bold", align="right")
    _word(tables, POINTS[0] - 30 / PIXELS, TITLE, strings("instance_macs_loss"))
    if len(found) >= 5 and not math.isnan(correlation):
        _fifths(tables, found, axes, labels, strings)


def _html(shown: Shown, row: int, strings: Strings) -> str:
    found = shown.instances
    label, said = (class_name(shown.classes, int(each[row])) for each in (found.labels, found.predicted))
    what = "right" if found.right[row] else "wrong"
    lines = (
        strings(f"instance_strip_hover_{what}", label=label, said=said),
        strings(
            "instance_macs_hover", share=f"{100 * found.shares[row]:.1f}", loss=f"{found.losses[row]:.3g}"
        ),
    )
    name = strings("images_image", image=int(found.images[row]))
    return "<br>".join([f"<b>{escape(name)}</b>", *map(escape, lines)])


def _fifths(
    tables: dict[str, Columns], found: Instances, axes: Axes, labels: Labels, strings: Strings
) -> None:
    """The easiest and the hardest fifth: mean share and median loss, and the share in words beside it."""
    order = np.argsort(found.losses, kind="stable")
    part = max(1, len(order) // 5)
    losses = finite(found.losses)
    spots = [
        (axes.x(share, POINTS), axes.y(float(np.median(losses[rows]))))
        for share, rows in zip(found.by_quintile, (order[:part], order[-part:]), strict=True)
    ]
    labels.avoid_span(POINTS[0], 0, HEIGHT, 3)  # names stay in their plot
    labels.avoid_span(POINTS[1], 0, HEIGHT, 3)
    labels.avoid_line(TOP + 6)
    labels.avoid_line(BASE - 4)
    for x, y in spots:
        append_row(tables["fifths"], {"x": x, "y": y})
        labels.avoid(x, y, 7)
    for kind, spot, share in zip(("easiest", "hardest"), spots, found.by_quintile, strict=True):
        text = strings(f"instance_macs_{kind}", share=_percent(share))
        x, y, words, align = labels.beside([spot], text, _AROUND, gap=9)
        append_row(tables["names"], {"x": x, "y": y, "text": words, "align": align})


def _word(
    tables: dict[str, Columns], x: float, y: float, text: str, role: str = "soft", align: str = "left"
) -> None:
    append_row(tables["words"], {"x": x, "y": y, "soft": "", "bold": "", role: text, "align": align})


def describe(shown: Shown | None, strings: Strings, message: str = "") -> list[str]:
    """The figure in sentences: shares of all images, of right and of wrong ones, the correlation and the fifths."""
    if shown is None or not len(shown.instances):
        words = message if shown is None else strings("instance_macs_no_images")
        return [words] if words else []
    found = shown.instances
    note = "instance_macs_perfect" if found.source == "active" else "instance_macs_theoretical"
    extent = {"low": _percent(found.shares.min()), "high": _percent(found.shares.max())}
    says = [
        strings(f"{note}_says"),
        strings("instance_macs_says", images=f"{len(found):,}", mean=_percent(found.mean_share), **extent),
    ]
    wrong = int((~found.right).sum())
    if 0 < wrong < len(found):
        means = {"right": found.shares[found.right].mean(), "wrong": found.shares[~found.right].mean()}
        values = {name: _percent(mean) for name, mean in means.items()}
        says.append(strings("instance_macs_says_wrong", count=f"{wrong:,}", **values))
    else:
        says.append(strings("instance_macs_says_all_wrong" if wrong else "instance_macs_says_none_wrong"))
    if math.isnan(found.correlation):
        return [*says, strings("instance_macs_says_same")]
    easiest, hardest = map(_percent, found.by_quintile)
    value = f"{found.correlation:.2f}".replace("-", "−")
    return [*says, strings("instance_macs_says_correlation", value=value, easiest=easiest, hardest=hardest)]


_POINT = ("x", "y", "image", "html")
_COLUMNS: dict[str, Sequence[str]] = {
    "axes": ("x0", "x1", "y0", "y1"),
    "grid": ("x0", "x1", "y"),
    "bars": ("left", "right", "bottom", "middle", "top", "html"),
    "key_bars": ("left", "right", "bottom", "middle", "top"),
    "mean": ("x",),
    "dense": ("x",),
    "right": _POINT,
    "wrong": _POINT,
    "fifths": ("x", "y"),
    **dict.fromkeys(("key_right", "key_wrong", "key_fifths"), ("x", "y")),
    "picked": ("x", "y", "text"),
    "names": ("x", "y", "text", "align"),
    "words": ("x", "y", "soft", "bold", "align"),
}


def build(scale: float = 1.0) -> View:
    """An empty view. `scale` multiplies heights and fonts."""
    data = sources("instance-macs", empty(_COLUMNS))
    chart = canvas("instance-macs", HEIGHT, (LEFT, RIGHT), scale)
    grid = chart.segment(x0="x0", x1="x1", y0="y", y1="y", source=data["grid"])
    paint(grid.glyph, line_color="line")
    told = [*_draw_bars(chart, data["bars"]), *_draw_points(chart, data, "", scale)]
    _draw_bars(chart, data["key_bars"])
    _draw_points(chart, data, "key_", scale)
    axes = chart.segment(x0="x0", x1="x1", y0="y0", y1="y1", source=data["axes"])
    paint(axes.glyph, line_color="soft")
    for table, role, dash in (("dense", "soft", [4, 3]), ("mean", "ink", "solid")):
        mark = chart.segment(
            x0="x", x1="x", y0=BASE, y1=TOP + 5, line_width=2 * scale, line_dash=dash, source=data[table]
        )
        paint(mark.glyph, line_color=role)
    size = {"text_font_size": f"{13 * scale}px", "text_baseline": "middle"}
    names = chart.text(
        x="x", y="y", text="text", text_align="align", text_font_style="bold", padding=1, border_radius=3,
        background_fill_alpha=0.85, source=data["names"], **size,
    )  # fmt: skip
    paint(names.glyph, text_color="ink", background_fill_color="paper")
    for role, style in (("soft", "normal"), ("bold", "bold")):
        words = chart.text(
            x="x", y="y", text=role, text_align="align", text_font_style=style, source=data["words"], **size
        )
        paint(words.glyph, text_color="ink" if role == "bold" else role)
    _draw_picked(chart, data["picked"], scale)
    style = f"font: {round(13 * scale)}px sans-serif; max-width: {round(300 * scale)}px; color: #1f2933"
    tooltip = f'<div style="{style}">@html{{safe}}</div>'
    chart.add_tools(HoverTool(renderers=told, tooltips=tooltip, point_policy="follow_mouse", limit=2))
    return View(chart, data)


def _draw_bars(chart: figure, source: ColumnDataSource) -> list[GlyphRenderer]:
    side = {"left": "left", "right": "right", "source": source}
    right = chart.quad(bottom="bottom", top="middle", line_color=None, **side)
    paint(right.glyph, fill_color="kept")
    wrong = chart.quad(
        bottom="middle", top="top", hatch_pattern="right_diagonal_line", hatch_scale=5, hatch_weight=1.5,
        line_color=None, fill_alpha=0.25, **side,
    )  # fmt: skip
    paint(wrong.glyph, fill_color="lost", hatch_color="lost")
    return [right, wrong]


def _draw_points(
    chart: figure, data: dict[str, ColumnDataSource], key: str, scale: float
) -> list[GlyphRenderer]:
    """The points, or those of the key."""
    place = {"x": "x", "y": "y"}
    right = chart.scatter(
        marker="circle", size=5 * scale, line_color=None, fill_alpha=0.5, source=data[f"{key}right"], **place
    )
    paint(right.glyph, fill_color="kept")
    wrong = chart.scatter(
        marker="x", size=6.5 * scale, line_width=1.8 * scale, source=data[f"{key}wrong"], **place
    )
    paint(wrong.glyph, line_color="lost")
    fifths = chart.scatter(
        marker="diamond", size=13 * scale, line_width=1.5 * scale, source=data[f"{key}fifths"], **place
    )
    paint(fifths.glyph, fill_color="ink", line_color="paper")
    return [right, wrong]


def _draw_picked(chart: figure, source: ColumnDataSource, scale: float) -> None:
    """A ring around a picked image's point and its number beside it."""
    for role, wide in (("paper", 5), ("chosen", 2.5)):
        ring = chart.scatter(
            x="x", y="y", size=13 * scale, line_width=wide * scale, fill_alpha=0, source=source
        )
        paint(ring.glyph, line_color=role)
    number = chart.text(
        x="x", y="y", text="text", x_offset=9, y_offset=-9, text_font_style="bold", text_baseline="middle",
        text_font_size=f"{13 * scale}px", padding=1, border_radius=3, source=source,
    )  # fmt: skip
    paint(number.glyph, text_color="ink", background_fill_color="paper")


def make_tappable(view: View, scale: float = 1.0) -> ColumnDataSource:
    """Let points of a view of `build` be tapped; returns the source "tapped": one row with the `number` of the tap and
    the `image`, a position among the explore images: the nearest point's, within `REACH` pixels."""
    tapped = ColumnDataSource({"number": [0], "image": [-1]}, name="instance-macs-tapped")
    args = {
        "chart": view.root, "right": view.sources["right"], "wrong": view.sources["wrong"], "tapped": tapped,
        "reach": REACH * scale, "scale": scale, "width": RIGHT - LEFT,
    }  # fmt: skip
    view.root.js_on_event("tap", CustomJS(args=args, code=_TAP))
    return tapped


_TAP = """
export default ({chart, right, wrong, tapped, reach, scale, width}, {x, y}) => {
  const across = chart.inner_width / width
  let best = null, nearest = reach
  for (const {data} of [wrong, right]) {
    for (let i = 0; i < data.image.length; i++) {
      const away = Math.hypot((data.x[i] - x) * across, (data.y[i] - y) * scale)
      if (away < nearest) {
        best = data.image[i]
        nearest = away
      }
    }
  }
  if (best != null) tapped.data = {number: [Math.max(Date.now(), tapped.data.number[0] + 1)], image: [best]}
}
"""
