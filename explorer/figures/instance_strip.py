"""Which channels of one layer every image keeps: a strip of channels by images, as deep in colour as they are salient.

Every column is one image. Above it are the MACs of its subnetwork, below it is its class: the name where images lie by
class, else a row of dots for each class. Beyond `MOST` images some are drawn, evenly chosen from the
order; beyond `MOST_ROWS` channels a row is the mean of neighbours.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby

import numpy as np
from bokeh.models import ColumnDataSource, CustomJS, HoverTool
from bokeh.plotting import figure
from numpy.typing import NDArray

from explorer.figures.instance_order import class_name, ordered
from explorer.figures.names import shortened
from explorer.figures.palette import paint
from explorer.figures.pictures import Pixels, data_uri
from explorer.figures.text_lines import clipped, lines_of, pixels_of
from explorer.figures.view import Columns, View, append_row, canvas, empty, sources
from explorer.instances import Instances, Site
from explorer.strings import Strings
from explorer.values import Floats

MOST = 400  # images drawn
MOST_ROWS = 128  # rows drawn; more channels are drawn by means
HEIGHT = 210.0
HEAD = 201.0  # the middle of the text above all
CURVE = (157.0, 188.0)  # no MACs, and the most of any image
STRIP = (44.0, 151.0)
CLASSES = (20.0, 38.0)
AXIS = 8.0  # the middle of the names below
LEFT, RIGHT = -0.18, 1.01
PIXELS = 430 / (RIGHT - LEFT)  # of all images in a figure 430 pixels wide
FAINTEST = 0.25  # opacity of a kept channel that is hardly salient
TALL = 320  # pixels of the picture, at least; and how wide it is
WIDE = 720
NAMES = (31.0, 14.0)  # the middles of two lines of classes' names
LEAST_NAME = 50.0  # pixels that a name needs
BLUE = (26, 140, 205)  # of what is kept in pictures: between the role's colours in light and dark themes
LEVELS = 51  # of opacity
KEY = (0.0, FAINTEST, 0.5, 0.75, 1.0)
KEY_CELL = 9 / PIXELS


@dataclass(frozen=True, eq=False)
class Shown:
    """What the strip shows: the channels of `layer`, images in the order `by`; `picked` are up to two images
    (positions among the explore images), and `classes` are the names by label."""

    instances: Instances
    layer: str
    by: str = "class"
    picked: tuple[int, ...] = ()
    classes: tuple[str, ...] = ()


def columns(shown: Shown | None, strings: Strings, message: str = "") -> dict[str, Columns]:
    """The tables of the view; where there is nothing to be drawn there is only the message.

    Along x, 0 to 1 are all images drawn; heights are pixels.
    """
    tables = empty(_COLUMNS)
    site = None if shown is None else shown.instances.sites.by_layer.get(shown.layer)
    if shown is None or site is None or not len(shown.instances):
        middle = HEIGHT / 2 + 8
        for place, line in enumerate(lines_of(missing(shown, strings, message), 400)):
            _word(tables, (LEFT + RIGHT) / 2, middle - 17 * place, line, align="center")
        return tables
    found = shown.instances
    rows = drawn(found, ordered(found, site, shown.by), shown.picked)
    _append_picture(tables, _picture(found, site, rows), STRIP)
    low = STRIP[0]
    if shown.by != "class" or not _names(tables, shown, rows):
        _append_picture(tables, _raster(found.labels[rows]), CLASSES)
        _word(tables, -6 / PIXELS, sum(CLASSES) / 2, strings("instance_strip_class"), align="right")
        _below(tables, shown, rows, strings)
        low = CLASSES[0]
    _mark(tables, shown, rows, low - 3)
    _curve(tables, found, rows)
    _hover(tables, shown, site, rows, strings)
    tables["images"] = {"image": found.images[rows].tolist()}
    _head(tables, shown, site, strings)
    _margin(tables, found, site, rows, strings)
    return tables


def _append_picture(tables: dict[str, Columns], pixels: Pixels, place: tuple[float, float]) -> None:
    low, high = place
    append_row(tables["pictures"], {"url": data_uri(pixels), "low": low, "high": high, "height": high - low})


def missing(shown: Shown | None, strings: Strings, message: str = "") -> str:
    """Why there is no strip, in a sentence; "" where there is one."""
    if shown is None:
        return message
    if not len(shown.instances):
        return strings("instance_strip_no_images")
    if shown.layer not in shown.instances.sites.by_layer:
        return strings("instance_strip_no_site", layer=shown.layer)
    return ""


def drawn(instances: Instances, order: NDArray[np.int64], picked: Sequence[int]) -> NDArray[np.int64]:
    """The rows that are drawn: at most `MOST`, evenly chosen from the order, the picked images among them."""
    count = min(MOST, len(order))
    places = np.round(np.linspace(0, len(order) - 1, count)).astype(np.int64)
    taken: set[int] = set()
    for image in picked:
        row = instances.row(image)
        if row is not None:
            place = int(np.flatnonzero(order == row)[0])
            free = (each for each in np.argsort(np.abs(places - place), kind="stable") if each not in taken)
            nearest = next(free, None)
            if nearest is not None:
                places[nearest] = place
                taken.add(int(nearest))
    return order[np.sort(places)]


def intensities(instances: Instances, site: Site, rows: NDArray[np.int64]) -> Floats:
    """How deep every channel of a site is drawn for every image, (images, channels): 0 where it is dropped, else from
    `FAINTEST` to 1 in proportion to its saliency; 1 is the 99 % quantile of what the layer's kept channels have."""
    keep = instances.keep[:, site.columns]
    kept = instances.saliency[:, site.columns][keep]
    most = float(np.quantile(kept, 0.99)) if kept.size else 0.0
    saliency = instances.saliency[rows, site.columns]
    share = np.clip(saliency / most, 0, 1) if most > 0 else np.ones_like(saliency)
    return np.where(keep[rows], FAINTEST + (1 - FAINTEST) * share, 0).astype(np.float32)


def _picture(instances: Instances, site: Site, rows: NDArray[np.int64]) -> Pixels:
    """The strip, its first channel at the bottom, as in the bars."""
    depths = intensities(instances, site, rows).T
    count = min(len(depths), MOST_ROWS)
    starts = np.arange(count) * len(depths) // count
    sizes = np.diff([*starts, len(depths)])
    means = np.add.reduceat(depths, starts, axis=0) / sizes[:, None]
    return _blue(means[::-1])


def _raster(labels: NDArray[np.int64]) -> Pixels:
    """A row for every class, the first at the top: where its images are."""
    known = np.unique(labels)
    few = known[np.round(np.linspace(0, len(known) - 1, min(len(known), int(TALL / 2)))).astype(int)]
    return _blue((np.searchsorted(few, labels).clip(max=len(few) - 1) == np.arange(len(few))[:, None]) * 0.9)


def _blue(depths: NDArray[np.floating]) -> Pixels:
    """Depths (H, W) as a picture: enlarged in squares, so that a browser does not blur them."""
    high, wide = depths.shape
    large = depths.repeat(-(-TALL // high), axis=0).repeat(-(-WIDE // wide), axis=1)
    pixels = np.zeros((*large.shape, 4), dtype=np.uint8)
    pixels[..., :3] = BLUE
    pixels[..., 3] = np.round(LEVELS * large) * (255 / LEVELS)
    return pixels


def _curve(tables: dict[str, Columns], instances: Instances, rows: NDArray[np.int64]) -> None:
    """The MACs of every image, as steps from no MACs to the most."""
    low, high = CURVE
    top = low + (high - low) * instances.shares[rows] / max(float(instances.shares[rows].max()), 1e-9)
    ends = np.arange(len(rows) + 1) / len(rows)
    tables["curve"] = {
        "x": np.repeat(ends, 2)[1:-1].round(5).tolist(),
        "y": np.repeat(top, 2).round(1).tolist(),
    }


def _mark(tables: dict[str, Columns], shown: Shown, rows: NDArray[np.int64], low: float) -> None:
    """The picked images, whose lines go down to `low`."""
    for number, image in enumerate(shown.picked, 1):
        place = np.flatnonzero(shown.instances.images[rows] == image)
        if len(place):
            x = (float(place[0]) + 0.5) / len(rows)
            beside = {"align": "left", "shift": 4} if x < 0.95 else {"align": "right", "shift": -4}
            append_row(tables["picked"], {"x": x, "low": low, "text": f"{number}", **beside})


def _hover(
    tables: dict[str, Columns], shown: Shown, site: Site, rows: NDArray[np.int64], strings: Strings
) -> None:
    found = shown.instances
    kept = found.keep[:, site.columns].sum(axis=1)
    for place, row in enumerate(rows.tolist()):
        name = strings("images_image", image=int(found.images[row]))
        label, said = (class_name(shown.classes, int(each[row])) for each in (found.labels, found.predicted))
        what = "right" if found.right[row] else "wrong"
        lines = (
            strings(f"instance_strip_hover_{what}", label=label, said=said),
            strings(
                "instance_strip_hover", kept=int(kept[row]), of=site.size, share=_percent(found.shares[row])
            ),
        )
        html = "<br>".join([f"<b>{escape(name)}</b>", *map(escape, lines)])
        append_row(tables["hover"], {"x": (place + 0.5) / len(rows), "width": 1 / len(rows), "html": html})


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def _head(tables: dict[str, Columns], shown: Shown, site: Site, strings: Strings) -> None:
    """The layer and the mean of what it keeps; on the right what the depth of the colour says."""
    key = strings("instance_strip_key")
    right = 1 - len(KEY) * KEY_CELL
    for place, depth in enumerate(KEY):
        cell = {"left": right + place * KEY_CELL, "right": right + (place + 0.88) * KEY_CELL, "depth": depth}
        append_row(tables["key"], cell)
    _word(tables, right - 6 / PIXELS, HEAD, key, align="right")
    room = PIXELS * (right - LEFT) - pixels_of(key) - 22
    kept = shown.instances.keep[:, site.columns].sum(axis=1).mean()
    words = strings("instance_strip_kept", kept=f"{kept:.1f}", of=site.size)
    name = shortened(site.layer, max(room - pixels_of(words) - 6, 40))
    _word(tables, LEFT + 2 / PIXELS, HEAD, f"{name}: {words}", role="ink")


def _margin(
    tables: dict[str, Columns], instances: Instances, site: Site, rows: NDArray[np.int64], strings: Strings
) -> None:
    """What stands on the left of the curve, the strip and the classes."""
    least, most = instances.shares[rows].min(), instances.shares[rows].max()
    span = (
        f"{100 * least:.0f}–{100 * most:.0f} %"
        if round(100 * least) < round(100 * most)
        else f"{100 * most:.0f} %"
    )
    low, high = STRIP
    for y, text in (
        (CURVE[1] - 6, strings("macs")),
        (CURVE[0] + 8, span),
        (high - 8, f"{site.size - 1}"),
        ((low + high) / 2, strings("instance_strip_channel")),
        (low + 7, "0"),
    ):
        _word(tables, -6 / PIXELS, y, text, align="right")


def _below(tables: dict[str, Columns], shown: Shown, rows: NDArray[np.int64], strings: Strings) -> None:
    """What the order of the images is, and how many of them are drawn."""
    found = shown.instances
    count, of = len(rows), len(found)
    _word(tables, 0.0, AXIS, strings(f"instance_strip_by_{shown.by}"))
    many = (
        strings("instance_strip_some", drawn=count, of=f"{of:,}")
        if count < of
        else strings("instance_strip_all", of=of)
    )
    _word(tables, 1.0, AXIS, many, align="right")


def _names(tables: dict[str, Columns], shown: Shown, rows: NDArray[np.int64]) -> bool:
    """The names of all classes below their images, in two lines by turns; False, and nothing drawn, without room."""
    labels = shown.instances.labels[rows].tolist()
    spans = [(label, len(list(group))) for label, group in groupby(labels)]
    if 2 * PIXELS / len(spans) < LEAST_NAME:
        return False
    start = 0
    free = [LEFT * PIXELS, LEFT * PIXELS]  # where the last name of each line ends
    for place, (label, size) in enumerate(spans):
        middle = PIXELS * (start + size / 2) / len(rows)
        half = min(middle - free[place % 2], RIGHT * PIXELS - middle, PIXELS / len(spans)) - 2
        name = clipped(class_name(shown.classes, label), 2 * half)
        free[place % 2] = middle + pixels_of(name) / 2 + 3
        _word(tables, middle / PIXELS, NAMES[place % 2], name, align="center")
        if start:
            append_row(tables["ends"], {"x": start / len(rows)})
        start += size
    return True


def _word(
    tables: dict[str, Columns], x: float, y: float, text: str, role: str = "soft", align: str = "left"
) -> None:
    append_row(tables["words"], {"x": x, "y": y, "soft": "", "ink": "", role: text, "align": align})


def describe(shown: Shown | None, strings: Strings, message: str = "") -> list[str]:
    """The strip in sentences: the layer, the order, and what the images of every class keep of it."""
    why = missing(shown, strings, message)
    if shown is None or why:
        return [why] if why else []
    found, site = shown.instances, shown.instances.sites.by_layer[shown.layer]
    kept = found.keep[:, site.columns].sum(axis=1)
    count = min(MOST, len(found))
    says = [
        strings(
            "instance_strip_says",
            layer=site.layer,
            kept=f"{kept.mean():.1f}",
            of=site.size,
            images=f"{len(found):,}",
        ),
        strings("instance_strip_says_drawn", drawn=count, of=f"{len(found):,}"),
    ]
    always = found.keep[:, site.columns].mean(axis=0)
    says.append(
        strings(
            "instance_strip_says_channels", always=int((always == 1).sum()), never=int((always == 0).sum())
        )
    )
    for label in np.unique(found.labels).tolist():
        mine = found.labels == label
        values = {"kept": f"{kept[mine].mean():.1f}", "share": _percent(float(found.shares[mine].mean()))}
        says.append(strings("instance_strip_says_class", name=class_name(shown.classes, label), **values))
    return says


_COLUMNS = {
    "pictures": ("url", "low", "high", "height"),
    "curve": ("x", "y"),
    "ends": ("x",),
    "picked": ("x", "low", "text", "align", "shift"),
    "hover": ("x", "width", "html"),
    "images": ("image",),
    "key": ("left", "right", "depth"),
    "words": ("x", "y", "soft", "ink", "align"),
}


def build(scale: float = 1.0) -> View:
    """An empty view. `scale` multiplies heights and fonts."""
    data = sources("instance-strip", empty(_COLUMNS))
    chart = canvas("instance-strip", HEIGHT, (LEFT, RIGHT), scale)
    ground = chart.quad(left=0, right=1, bottom="low", top="high", line_color=None, source=data["pictures"])
    paint(ground.glyph, fill_color="pale")
    chart.image_url(url="url", x=0, y="high", w=1, h="height", anchor="top_left", source=data["pictures"])
    area = chart.varea(x="x", y1=CURVE[0], y2="y", fill_alpha=0.5, source=data["curve"])
    paint(area.glyph, fill_color="cut")
    ends = chart.segment(x0="x", x1="x", y0=STRIP[0] - 3, y1=CURVE[0], line_width=1, source=data["ends"])
    paint(ends.glyph, line_color="soft")
    key = chart.quad(
        left="left", right="right", bottom=HEAD - 5, top=HEAD + 5, fill_alpha="depth", source=data["key"]
    )
    key.glyph.fill_color = BLUE
    paint(key.glyph, line_color="line")
    size = {"text_font_size": f"{13 * scale}px", "text_baseline": "middle"}
    for role, style in (("ink", "bold"), ("soft", "normal")):
        words = chart.text(
            x="x", y="y", text=role, text_align="align", text_font_style=style, source=data["words"], **size
        )
        paint(words.glyph, text_color=role)
    _draw_picked(chart, data["picked"], size, scale)
    zone = chart.rect(
        x="x", y=(CLASSES[0] + CURVE[1]) / 2, width="width", height=CURVE[1] - CLASSES[0],
        fill_alpha=0, line_alpha=0, hover_fill_alpha=0.25, hover_line_alpha=0, source=data["hover"],
    )  # fmt: skip
    paint(zone.hover_glyph, fill_color="chosen")
    style = f"font: {round(13 * scale)}px sans-serif; max-width: {round(300 * scale)}px; color: #1f2933"
    tooltip = f'<div style="{style}">@html{{safe}}</div>'
    chart.add_tools(HoverTool(renderers=[zone], tooltips=tooltip, point_policy="follow_mouse", limit=1))
    return View(chart, data)


def _draw_picked(chart: figure, source: ColumnDataSource, size: dict[str, str], scale: float) -> None:
    """A line through a picked image and its number beside it."""
    for role, wide in (("paper", 5), ("chosen", 2.5)):
        line = chart.segment(
            x0="x", x1="x", y0="low", y1=CURVE[1] + 2, line_width=wide * scale, source=source
        )
        paint(line.glyph, line_color=role)
    number = chart.text(
        x="x", y=CURVE[1] - 6, text="text", text_align="align", x_offset="shift", text_font_style="bold",
        padding=2, border_radius=3, source=source, **size,
    )  # fmt: skip
    paint(number.glyph, text_color="ink", background_fill_color="paper")


def make_tappable(view: View) -> ColumnDataSource:
    """Let images of a view of `build` be tapped; returns the source "tapped": one row with the `number` of the tap
    and the `image`, a position among the explore images."""
    tapped = ColumnDataSource({"number": [0], "image": [-1]}, name="instance-strip-tapped")
    args = {"images": view.sources["images"], "tapped": tapped, "low": CLASSES[0], "high": CURVE[1]}
    view.root.js_on_event("tap", CustomJS(args=args, code=_TAP))
    return tapped


_TAP = """
export default ({images, tapped, low, high}, {x, y}) => {
  const {image} = images.data
  if (!(0 <= x && x < 1 && low <= y && y <= high) || image.length == 0) return
  const place = Math.floor(x * image.length)
  tapped.data = {number: [Math.max(Date.now(), tapped.data.number[0] + 1)], image: [image[place]]}
}
"""
