"""How differently images excite channels: each channel's largest activation over images, and a channel's extremes.

After figure 1 of Gao et al. 2019, "Dynamic Channel Pruning: Feature Boosting and Suppression" (ICLR): boxes are the
quartiles over the images, whiskers go from the 5th to the 95th percentile; below stand the images that excite one
channel most and least.
"""

from collections.abc import Hashable, Mapping, Sequence
from functools import lru_cache
from typing import Protocol

import numpy as np
from bokeh.models import HoverTool
from numpy.typing import NDArray

from explorer.figures.gallery import fitted
from explorer.figures.importance import number
from explorer.figures.names import shortened
from explorer.figures.palette import paint
from explorer.figures.pictures import Pixels, data_uri
from explorer.figures.text_lines import pixels_of
from explorer.figures.view import Columns, View, append_row, canvas, empty, sources
from explorer.strings import Strings
from explorer.values import Floats

HEIGHT = 210.0
PIXELS = 430.0
MOST = 64  # channels of a page: each has 6 pixels or more
EACH = 5  # images that excite a channel most, and as many that do least
SIDE = 38.0  # pixels of a picture
SHARPNESS = 2  # pixels of a picture for one on the page, for screens of high density
LEFT, RIGHT = -0.005, 1.005
BASE, TOP = 100.0, 184.0  # of the boxes' axis
HEAD, FOOT, SAYS, MIDDLE, MAXIMA = 200.0, 90.0, 70.0, 39.0, 8.0  # heights of lines
THINNEST = 1.5  # pixels: a box whose quartiles are equal is still seen
STEP = 0.093  # from one picture's middle to the next, in parts of the chart
PERCENTILES = (5, 25, 50, 75, 95)


class Peaks(Hashable, Protocol):
    """What the chart reads: largest activations of a layer's channels, over positions, image by image.

    `images` int64 (N,), positions among the explore images; `values` float32 (N, channels). Hashable by what it is:
    percentiles are remembered.
    """

    @property
    def layer(self) -> str: ...

    @property
    def images(self) -> NDArray[np.int64]: ...

    @property
    def values(self) -> Floats: ...


def pages(peaks: Peaks) -> tuple[tuple[int, ...], ...]:
    """The channels in as many pages as they need: up to 64 in their order; more by their spread, widest first.

    The spread is the distance of the quartiles over the images.
    """
    order = list(range(peaks.values.shape[1]))
    if len(order) > MOST:
        order = np.argsort(-_spread(peaks), kind="stable").tolist()
    return tuple(tuple(order[start : start + MOST]) for start in range(0, len(order), MOST))


def widest(peaks: Peaks) -> int:
    """The channel whose quartiles are farthest apart: which to show where none was chosen."""
    return int(np.argmax(_spread(peaks)))


def _spread(peaks: Peaks) -> NDArray[np.float64]:
    """The distance of every channel's quartiles."""
    levels = _levels(peaks)
    return levels[3] - levels[1]


@lru_cache(maxsize=2)
def _levels(peaks: Peaks) -> NDArray[np.float64]:
    """The percentiles of every channel over the images, float64 (5, channels): those of a wide layer take 50 ms."""
    return np.percentile(np.ascontiguousarray(peaks.values.T), PERCENTILES, axis=1).astype(np.float64)


def extremes(peaks: Peaks, channel: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Rows of the images that excite a channel most and least, five each or half of them, falling in both.

    Of equal ones the first in the order of the images count as the more excited.
    """
    order = np.argsort(-peaks.values[:, channel], kind="stable").tolist()
    each = min(EACH, len(order) // 2)
    return tuple(order[:each]), tuple(order[len(order) - each :])


def pictures(images: Sequence[Pixels]) -> tuple[str, ...]:
    """Images, in the order of `extremes`, as data URIs of the size at which they are shown, on clear squares."""
    side = round(SIDE) * SHARPNESS
    found = []
    for image in images:
        small, square = fitted(image, side), np.zeros((side, side, 4), dtype=np.uint8)
        top, left = (side - small.shape[0]) // 2, (side - small.shape[1]) // 2
        square[top : top + small.shape[0], left : left + small.shape[1]] = small
        found.append(data_uri(square))
    return tuple(found)


def channel_at(peaks: Peaks, page: int, x: float, y: float) -> int | None:
    """The channel at a point of the chart; None beside the boxes."""
    shown = _page(peaks, page)
    place = int(x * len(shown)) if 0 <= x < 1 else len(shown)
    return shown[place] if FOOT - 8 <= y <= TOP + 4 and place < len(shown) else None


def image_at(peaks: Peaks, channel: int, x: float, y: float) -> int | None:
    """The image (its position among the explore images) whose picture is at a point of the chart; None beside them."""
    if abs(y - MIDDLE) > SIDE / 2:
        return None
    rows = [row for part in extremes(peaks, channel) for row in part]
    near = [row for row, middle in zip(rows, _middles(len(rows)), strict=True) if abs(x - middle) <= STEP / 2]
    return int(peaks.images[near[0]]) if near else None


def columns(
    peaks: Peaks | None,
    strings: Strings,
    channel: int | None = None,
    page: int = 0,
    shown: Sequence[str] = (),
    names: Mapping[int, str] | None = None,
    message: str = "",
) -> dict[str, Columns]:
    """The tables of the view: "boxes", "chosen", "axis", "pictures", "frames" and "labels".

    `channel` (default: the `widest`) is looked into; `shown` are the `pictures` of its `extremes`, and `names` says
    what images of them are, by their position among the explore images. `message` stands where there are no peaks.
    x is in parts of the chart, y in pixels upwards. A page beyond the last is the last.
    """
    tables = empty(_COLUMNS)
    if peaks is None or not peaks.values.size:
        _text(tables, 0.5, HEIGHT / 2, message, "center", "soft")
        return tables
    chosen = widest(peaks) if channel is None else channel
    here = _page(peaks, page)
    _boxes(tables, peaks, here, chosen, strings)
    sorted_by_spread = peaks.values.shape[1] > MOST
    key = "instance_channel_by_spread" if sorted_by_spread else "instance_channel_in_order"
    _text(tables, 0.5, FOOT, strings(key), "center", "soft")
    _text(tables, 0.0, FOOT, strings("instance_channel_number", channel=here[0]), "left", "soft")
    _text(tables, 1.0, FOOT, f"{here[-1]}", "right", "soft")
    most, _least = extremes(peaks, chosen)
    if not most:
        return tables
    _text(tables, 0.0, SAYS, strings("instance_channel_most", channel=chosen), "left", "bold")
    _text(tables, 1.0, SAYS, strings("instance_channel_least"), "right", "bold")
    _pictures(tables, peaks, chosen, shown, names or {}, strings)
    return tables


def _page(peaks: Peaks, page: int) -> tuple[int, ...]:
    found = pages(peaks)
    return found[min(max(page, 0), len(found) - 1)]


def _boxes(
    tables: dict[str, Columns], peaks: Peaks, here: Sequence[int], chosen: int, strings: Strings
) -> None:
    """Title, scale and a box with whiskers for every channel of the page; zero is always on the scale."""
    table = _levels(peaks)[:, list(here)]
    low, high = min(0.0, float(table[0].min())), max(float(table[-1].max()), 1e-12)
    unit = (TOP - BASE) / (high - low)
    heights = (BASE + unit * (table - low)).T.tolist()
    gap = 0.16 / len(here)
    for place, (each, levels) in enumerate(zip(here, heights, strict=True)):
        least, lower, middle, upper, most = levels
        quartiles = [number(float(value)) for value in table[1:4, place]]
        hover = strings(
            "instance_channel_hover",
            channel=each, lower=quartiles[0], median=quartiles[1], upper=quartiles[2],
        )  # fmt: skip
        start, end = place / len(here), (place + 1) / len(here)
        ends = {"start": start, "end": end, "left": start + gap, "right": end - gap}
        entry = {**ends, "x": (place + 0.5) / len(here), "least": least, "most": most, "lower": lower}
        entry |= {"upper": max(upper, lower + THINNEST), "median": middle, "hover": hover}
        append_row(tables["boxes"], entry)
        if each == chosen:
            append_row(tables["chosen"], {"left": start, "right": end})
    append_row(tables["axis"], {"y": BASE - unit * low})
    values = {"images": f"{len(peaks.images):,}"}
    top = strings("instance_channel_top", value=number(high))
    room = PIXELS - pixels_of(strings("instance_channel_title", layer="", **values)) - pixels_of(top) - 12
    title = strings("instance_channel_title", layer=shortened(peaks.layer, room), **values)
    _text(tables, 0.0, HEAD, title, "left", "ink")
    _text(tables, 1.0, HEAD, top, "right", "soft")


def _middles(count: int) -> list[float]:
    """Where pictures stand: the first half from the left, the second to the right."""
    half = count // 2
    left = [STEP * (place + 0.5) - 0.002 for place in range(half)]
    return [*left, *(1 - x for x in reversed(left))]


def _pictures(
    tables: dict[str, Columns],
    peaks: Peaks,
    channel: int,
    shown: Sequence[str],
    names: Mapping[int, str],
    strings: Strings,
) -> None:
    rows = [row for part in extremes(peaks, channel) for row in part]
    middles = _middles(len(rows))
    for row, x in zip(rows, middles, strict=True):
        image, value = int(peaks.images[row]), float(peaks.values[row, channel])
        name = names.get(image, strings("images_image", image=image))
        hover = strings("instance_channel_image", name=name, value=number(value))
        append_row(tables["frames"], {"x": x, "hover": hover})
        _text(tables, x, MAXIMA, _short(value), "center", "ink")
    for url, x in zip(shown, middles, strict=False):
        append_row(tables["pictures"], {"x": x, "url": url})


def _short(value: float) -> str:
    """An activation in the room below a picture: three digits at most, two decimals at most."""
    decimals = 2 if abs(value) < 9.995 else 1 if abs(value) < 99.95 else 0
    return "0" if abs(value) < 0.005 else f"{value:.{decimals}f}".replace("-", "−")


def describe(
    peaks: Peaks | None, strings: Strings, channel: int | None = None, message: str = ""
) -> list[str]:
    """The channel whose activations differ most, the chosen one's quartiles, and its extremes."""
    if peaks is None or not peaks.values.size:
        return [message] if message else []
    sentences = [strings("instance_channel_says", layer=peaks.layer, images=f"{len(peaks.images):,}")]
    wide = widest(peaks)
    for each in dict.fromkeys((wide, wide if channel is None else channel)):
        lower, median, upper = (number(float(value)) for value in _levels(peaks)[1:4, each])
        key = "instance_channel_says_widest" if each == wide else "instance_channel_hover"
        sentences.append(strings(key, channel=each, lower=lower, median=median, upper=upper))
    chosen = wide if channel is None else channel
    for key, rows in zip(("most", "least"), extremes(peaks, chosen), strict=True):
        found = [
            strings(
                "instance_channel_image",
                name=strings("images_image", image=int(peaks.images[row])),
                value=number(float(peaks.values[row, chosen])),
            )
            for row in rows
        ]
        if found:
            sentences.append(strings(f"instance_channel_says_{key}", channel=chosen, images="; ".join(found)))
    return sentences


def _text(tables: dict[str, Columns], x: float, y: float, text: str, align: str, role: str) -> None:
    if text:
        entry = {"x": x, "y": y, "align": align, **dict.fromkeys(_ROLES, "")} | {role: text}
        append_row(tables["labels"], entry)


_ROLES = ("soft", "ink", "bold")
_COLUMNS: dict[str, Sequence[str]] = {
    "boxes": ("start", "end", "left", "right", "x", "least", "most", "lower", "upper", "median", "hover"),
    "chosen": ("left", "right"),
    "axis": ("y",),
    "pictures": ("x", "url"),
    "frames": ("x", "hover"),
    "labels": ("x", "y", "align", *_ROLES),
}
_HOVER = """<div style="font: {size}px sans-serif; max-width: {wide}px; color: #1f2933">@hover</div>"""


def build(scale: float = 1.0) -> View:
    """An empty view. `scale` multiplies heights, fonts and pictures."""
    data = sources("instance-channel", empty(_COLUMNS))
    chart = canvas("instance-channel", HEIGHT, (LEFT, RIGHT), scale)
    chosen = chart.quad(left="left", right="right", bottom=BASE - 4, top=TOP + 4, source=data["chosen"])
    paint(chosen.glyph, fill_color="pale", line_color="chosen")
    axis = chart.segment(x0=0, x1=1, y0="y", y1="y", source=data["axis"])
    paint(axis.glyph, line_color="line")
    boxes = data["boxes"]
    whisker = chart.segment(x0="x", x1="x", y0="least", y1="most", source=boxes)
    paint(whisker.glyph, line_color="kept")
    box = chart.quad(left="left", right="right", bottom="lower", top="upper", line_color=None, source=boxes)
    paint(box.glyph, fill_color="kept")
    median = chart.segment(x0="left", x1="right", y0="median", y1="median", line_width=2, source=boxes)
    paint(median.glyph, line_color="paper")
    sides = {"left": "start", "right": "end", "bottom": BASE, "top": TOP, "source": boxes}
    room = chart.quad(fill_alpha=0, line_alpha=0, **sides)
    size = SIDE * scale
    chart.image_url(
        url="url", x="x", y=MIDDLE, w={"value": size, "units": "screen"}, h={"value": size, "units": "screen"},
        anchor="center", source=data["pictures"],
    )  # fmt: skip
    frames = chart.scatter(
        x="x", y=MIDDLE, marker="square", size=size, fill_alpha=0, hover_line_width=3, source=data["frames"]
    )
    paint(frames.glyph, line_color="line")
    paint(frames.hover_glyph, line_color="chosen")
    frames.hover_glyph.fill_alpha = 0
    place = {"x": "x", "y": "y", "text_align": "align", "text_baseline": "middle", "source": data["labels"]}
    for role in _ROLES:
        style = "bold" if role == "bold" else "normal"
        text = chart.text(text=role, text_font_size=f"{13 * scale}px", text_font_style=style, **place)
        paint(text.glyph, text_color="ink" if role == "bold" else role)
    hover = _HOVER.format(size=round(13 * scale), wide=round(260 * scale))
    chart.add_tools(HoverTool(renderers=[room, frames], tooltips=hover, point_policy="follow_mouse"))
    return View(chart, data)
