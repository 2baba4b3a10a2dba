"""Do images that are alike get subnetworks that are alike? The similarities of both at one layer, side by side.

On the left the cosines of every two images' features (R of ManiDP, Tang et al. 2021), on the right those of their
saliencies (T), or of what they keep where no saliency module decides. Images lie by class from the top and from the
left; each matrix is as deep in colour as its cosines are large, from its own least to its own largest.
"""

from dataclasses import dataclass
from html import escape
from math import isnan

import numpy as np
from bokeh.models import ColumnDataSource, CustomJS, HoverTool
from bokeh.plotting import figure
from numpy.typing import NDArray

from explorer.figures.instance_order import class_name, ordered, subnetworks
from explorer.figures.instance_strip import BLUE, LEVELS
from explorer.figures.palette import paint
from explorer.figures.pictures import Pixels, data_uri
from explorer.figures.text_lines import clipped, lines_of
from explorer.figures.view import Columns, View, append_row, canvas, empty, sources
from explorer.instances import Instances, Site, agreement, cosines
from explorer.strings import Strings
from explorer.values import read_only

HEIGHT = 212.0
WIDTH = 430.0  # pixels of all that is drawn; a wider figure has it in the middle
SIDE = 140.0  # pixels of a matrix
BLOCKS = 140  # rows and columns that are drawn; more images are drawn by means
FOOT = 20.0
TITLE = FOOT + SIDE + 9  # the middle of the text above a matrix
KEY = 8.0  # the middle of what stands below it
KEY_CELL = 9.0
DEPTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
HEAD = 203.0  # the middle of the first line of all
LINE = 17.0
STARTS = (92.0, 268.0)  # where the matrices begin
LEAST = 15.0  # pixels between two names of classes
MOST_CLASSES = 20  # that are told of pair by pair
KINDS = ((0.7, "strong"), (0.3, "some"), (float("-inf"), "weak"))  # correlations from there are worded so
ENDS = (0.01, 0.99)  # quantiles of the cosines that are drawn empty and full


@dataclass(frozen=True, eq=False)
class Similarities:
    """How alike n images are at one layer. Made by `similarities`.

    `rows` int64 (n,): which rows of the instances, by class; `images` their positions among the explore images,
    `labels` their classes, both int64 (n,); `of` is how many images there were. `features` and `subnetworks` float64
    (n, n): cosines of every two. `correlation` is Pearson's of both off the diagonal (NaN where either is constant
    there), `apart` ||T - R||_F^2 / n^2. `masks` says that `subnetworks` compares what is kept, not saliencies.
    """

    layer: str
    of: int
    rows: NDArray[np.int64]
    images: NDArray[np.int64]
    labels: NDArray[np.int64]
    features: NDArray[np.float64]
    subnetworks: NDArray[np.float64]
    correlation: float
    apart: float
    masks: bool

    def __post_init__(self) -> None:
        for name in ("rows", "images", "labels", "features", "subnetworks"):
            object.__setattr__(self, name, read_only(np.asarray(getattr(self, name))))


def similarities(instances: Instances, site: Site, most: int = 1000) -> Similarities:
    """The similarities at a site of at most `most` images, evenly chosen from every class.

    Takes O(n^2 x channels) time and 16 n^2 bytes. Where there are no images, all tables are empty.
    """
    order = ordered(instances, site, "class")
    count = min(most, len(order))
    rows = order[np.round(np.linspace(0, len(order) - 1, count)).astype(np.int64)]
    features = cosines(instances.features[rows, site.columns])
    needs = cosines(subnetworks(instances, site)[rows])
    return Similarities(
        layer=site.layer,
        of=len(instances),
        rows=rows,
        images=instances.images[rows],
        labels=instances.labels[rows],
        features=features,
        subnetworks=needs,
        correlation=agreement(features, needs),
        apart=float(((needs - features) ** 2).mean()) if count else float("nan"),
        masks=instances.source == "active",
    )


@dataclass(frozen=True, eq=False)
class Shown:
    """What the view shows: `classes` are the names by label; `picked` are up to two images (positions among the
    explore images)."""

    found: Similarities
    picked: tuple[int, ...] = ()
    classes: tuple[str, ...] = ()


def columns(shown: Shown | None, strings: Strings, message: str = "") -> dict[str, Columns]:
    """The tables of the view, in pixels; where there is nothing to be drawn there is only the message."""
    tables = empty(_COLUMNS)
    if shown is None or len(shown.found.rows) < 2:
        words = message if shown is None else strings("instance_similarity_too_few")
        for place, line in enumerate(lines_of(words, 400)):
            _word(tables, WIDTH / 2, HEIGHT / 2 + 8 - LINE * place, line, align="center")
        return tables
    found = shown.found
    for place, line in enumerate(_verdict(found, strings)):
        _word(tables, 4.0, HEAD - LINE * place, line, role="soft" if place else "ink")
    titles = (
        strings("instance_similarity_features"),
        strings("instance_similarity_masks" if found.masks else "instance_similarity_saliencies"),
    )
    for start, title, matrix in zip(STARTS, titles, (found.features, found.subnetworks), strict=True):
        means = block_means(matrix)
        low, high = _ends(means)
        url = data_uri(picture(means, low, high))
        append_row(tables["matrices"], {"left": start, "right": start + SIDE, "url": url})
        _word(tables, start, TITLE, title, role="bold")
        _key(tables, start + SIDE / 2, low, high)
    _classes(tables, shown, strings)
    _mark(tables, shown)
    blocks = min(BLOCKS, len(found.rows))
    middles = (_starts(len(found.rows), blocks) + _starts(len(found.rows), blocks, last=True)) // 2
    tables["images"] = {"image": found.images[middles].tolist()}
    return tables


def _verdict(found: Similarities, strings: Strings) -> tuple[str, str]:
    """What the correlation says; the correlation, how far the matrices are apart, and how many images were compared."""
    values = {"count": f"{len(found.rows):,}", "of": f"{found.of:,}", "apart": f"{found.apart:.3f}"}
    if isnan(found.correlation):
        return strings("instance_similarity_same"), strings("instance_similarity_apart", **values)
    kind = next(kind for least, kind in KINDS if found.correlation >= least)
    numbers = strings("instance_similarity_numbers", correlation=_number(found.correlation), **values)
    return strings(f"instance_similarity_{kind}"), numbers


def _key(tables: dict[str, Columns], middle: float, low: float, high: float) -> None:
    """What the depth of a matrix says, below it."""
    left = middle - KEY_CELL * len(DEPTHS) / 2
    for place, depth in enumerate(DEPTHS):
        cell = {"left": left + place * KEY_CELL, "right": left + (place + 1) * KEY_CELL - 1, "depth": depth}
        append_row(tables["key"], cell)
    _word(tables, left - 5, KEY, _number(low), align="right")
    _word(tables, 2 * middle - left + 4, KEY, _number(high))


def _number(value: float) -> str:
    return f"{value:.2f}".replace("-", "−")


def _ends(means: NDArray[np.float64]) -> tuple[float, float]:
    """The cosines that are drawn empty and full: quantiles of those off the diagonal."""
    low, high = np.quantile(means[np.triu_indices(len(means), k=1)], ENDS)
    return float(low), float(high)


def _starts(count: int, blocks: int, last: bool = False) -> NDArray[np.int64]:
    """Where each of the blocks that share out `count` rows begins, or its last row."""
    bounds = np.arange(blocks + 1, dtype=np.int64) * count // blocks
    return bounds[1:] - 1 if last else bounds[:-1]


def block_means(matrix: NDArray[np.float64], most: int = BLOCKS) -> NDArray[np.float64]:
    """Means over at most `most` x `most` blocks of nearly equal size: (blocks, blocks)."""
    count = len(matrix)
    starts = _starts(count, min(most, count))
    sizes = np.diff([*starts, count])
    sums = np.add.reduceat(np.add.reduceat(matrix, starts, axis=0), starts, axis=1)
    return np.asarray(sums / np.outer(sizes, sizes))


def picture(means: NDArray[np.float64], low: float, high: float) -> Pixels:
    """Block means as a picture, transparent at `low` and full at `high`; of a middle depth where these are equal."""
    depths = np.clip((means - low) / (high - low), 0, 1) if high - low > 1e-9 else np.full(means.shape, 0.5)
    times = -(-2 * BLOCKS // len(depths))
    large = np.round(LEVELS * depths).repeat(times, axis=0).repeat(times, axis=1)
    pixels = np.zeros((*large.shape, 4), dtype=np.uint8)
    pixels[..., :3] = BLUE
    pixels[..., 3] = large * (255 / LEVELS)
    return pixels


def _spans(labels: NDArray[np.int64]) -> list[tuple[int, int, int]]:
    """(label, first place, place behind the last) of every class."""
    starts = np.flatnonzero(np.diff(labels, prepend=labels[0] - 1))
    ends = [*starts[1:].tolist(), len(labels)]
    return [(int(labels[start]), int(start), int(end)) for start, end in zip(starts, ends, strict=True)]


def _classes(tables: dict[str, Columns], shown: Shown, strings: Strings) -> None:
    """Names beside the first matrix, as many as have room; ends of the classes; what is told of every two classes."""
    found, count = shown.found, len(shown.found.rows)
    spans = _spans(found.labels)
    last = np.inf
    for label, start, end in spans:
        y = FOOT + SIDE * (1 - (start + end) / 2 / count)
        if last - y >= LEAST:
            name = clipped(class_name(shown.classes, label), STARTS[0] - 10)
            _word(tables, STARTS[0] - 6, y, name, align="right")
            last = y
    if len(spans) > MOST_CLASSES:
        return
    for left in STARTS:
        for _label, start, _end in spans[1:]:
            along = SIDE * start / count
            line = {"left": left, "right": left + SIDE, "x": left + along, "y": FOOT + SIDE - along}
            append_row(tables["ends"], line)
    for one, start, end in spans:
        for other, begin, stop in spans:
            html = _html(shown, (one, other), (slice(start, end), slice(begin, stop)), strings)
            for left in STARTS:
                box = {
                    "left": left + SIDE * begin / count,
                    "right": left + SIDE * stop / count,
                    "bottom": FOOT + SIDE * (1 - end / count),
                    "top": FOOT + SIDE * (1 - start / count),
                }
                append_row(tables["hover"], box | {"html": html})


def _html(shown: Shown, labels: tuple[int, int], place: tuple[slice, slice], strings: Strings) -> str:
    one, other = (class_name(shown.classes, label) for label in labels)
    title = one if one == other else strings("instance_similarity_pair", one=one, other=other)
    means = (
        _number(float(matrix[place].mean())) for matrix in (shown.found.features, shown.found.subnetworks)
    )
    said = strings("instance_similarity_hover", **dict(zip(("features", "subnetworks"), means, strict=True)))
    return f"<b>{escape(title)}</b><br>{escape(said)}"


def _mark(tables: dict[str, Columns], shown: Shown) -> None:
    """Where the picked images are: above and on the left of the matrices."""
    for number, image in enumerate(shown.picked, 1):
        place = np.flatnonzero(shown.found.images == image)
        if len(place):
            along = SIDE * (float(place[0]) + 0.5) / len(shown.found.rows)
            for left in STARTS:
                ends = {"left": left, "right": left + SIDE, "y": FOOT + SIDE - along, "x": left + along}
                append_row(tables["picked"], ends | {"text": f"{number}"})


def _word(
    tables: dict[str, Columns], x: float, y: float, text: str, role: str = "soft", align: str = "left"
) -> None:
    append_row(tables["words"], {"x": x, "y": y, "align": align, **dict.fromkeys(ROLES, ""), role: text})


def describe(shown: Shown | None, strings: Strings, message: str = "") -> list[str]:
    """The matrices in sentences: the correlation, and how alike every class is to itself and to the others."""
    if shown is None or len(shown.found.rows) < 2:
        words = message if shown is None else strings("instance_similarity_too_few")
        return [words] if words else []
    found = shown.found
    says = [*_verdict(found, strings)]
    for label, start, end in _spans(found.labels):
        mine = np.zeros(len(found.rows), dtype=bool)
        mine[start:end] = True
        if mine.all():
            break
        values = {
            f"{what}_{with_whom}": _number(float(matrix[mine][:, others].mean()))
            for what, matrix in (("features", found.features), ("subnetworks", found.subnetworks))
            for with_whom, others in (("own", mine), ("others", ~mine))
        }
        says.append(
            strings("instance_similarity_says_class", name=class_name(shown.classes, label), **values)
        )
    return says


ROLES = ("soft", "ink", "bold")
_COLUMNS = {
    "matrices": ("left", "right", "url"),
    "key": ("left", "right", "depth"),
    "ends": ("left", "right", "x", "y"),
    "picked": ("left", "right", "y", "x", "text"),
    "hover": ("left", "right", "bottom", "top", "html"),
    "images": ("image",),
    "words": ("x", "y", "align", *ROLES),
}

# Keeps the matrices square, in the middle of whatever width there is.
_MEASURE = """
const beside = (cb_obj.inner_width / scale - width) / 2
range.setv({start: -beside, end: width + beside})
"""


def build(scale: float = 1.0) -> View:
    """An empty view. `scale` multiplies sizes and fonts."""
    data = sources("instance-similarity", empty(_COLUMNS))
    chart = canvas("instance-similarity", HEIGHT, (0, WIDTH), scale)
    arguments = {"range": chart.x_range, "scale": scale, "width": WIDTH}
    chart.js_on_change("inner_width", CustomJS(args=arguments, code=_MEASURE))
    side = {"left": "left", "right": "right"}
    ground = chart.quad(bottom=FOOT, top=FOOT + SIDE, line_color=None, source=data["matrices"], **side)
    paint(ground.glyph, fill_color="pale")
    chart.image_url(
        url="url", x="left", y=FOOT + SIDE, w=SIDE, h=SIDE, anchor="top_left", source=data["matrices"]
    )
    key = chart.quad(bottom=KEY - 4.5, top=KEY + 4.5, fill_alpha="depth", source=data["key"], **side)
    key.glyph.fill_color = BLUE
    paint(key.glyph, line_color="line")
    ends = chart.segment(x0="left", x1="right", y0="y", y1="y", line_alpha=0.7, source=data["ends"])
    upright = chart.segment(x0="x", x1="x", y0=FOOT, y1=FOOT + SIDE, line_alpha=0.7, source=data["ends"])
    for line in (ends, upright):
        paint(line.glyph, line_color="paper")
    _draw_picked(chart, data["picked"], scale)
    size = {"text_font_size": f"{13 * scale}px", "text_baseline": "middle"}
    for role in ROLES:
        style = "bold" if role == "bold" else "normal"
        words = chart.text(
            x="x", y="y", text=role, text_align="align", text_font_style=style, source=data["words"], **size
        )
        paint(words.glyph, text_color="soft" if role == "soft" else "ink")
    zone = chart.quad(
        bottom="bottom", top="top", fill_alpha=0, line_alpha=0, hover_fill_alpha=0, hover_line_width=2 * scale,
        source=data["hover"], **side,
    )  # fmt: skip
    paint(zone.hover_glyph, line_color="chosen")
    style = f"font: {round(13 * scale)}px sans-serif; max-width: {round(300 * scale)}px; color: #1f2933"
    tooltip = f'<div style="{style}">@html{{safe}}</div>'
    chart.add_tools(HoverTool(renderers=[zone], tooltips=tooltip, point_policy="follow_mouse"))
    return View(chart, data)


def _draw_picked(chart: figure, source: ColumnDataSource, scale: float) -> None:
    """A picked image's row and column, and its number beside the row."""
    style = {"line_width": 1.5 * scale, "source": source}
    across = chart.segment(x0="left", x1="right", y0="y", y1="y", **style)
    along = chart.segment(x0="x", x1="x", y0=FOOT, y1=FOOT + SIDE, **style)
    for line in (across, along):
        paint(line.glyph, line_color="chosen")
    number = chart.text(
        x="right", y="y", text="text", x_offset=4, text_font_style="bold", text_baseline="middle",
        text_font_size=f"{13 * scale}px", source=source,
    )  # fmt: skip
    paint(number.glyph, text_color="ink")


def make_tappable(view: View) -> ColumnDataSource:
    """Let the matrices of a view of `build` be tapped; returns the source "tapped": one row with the `number` of the
    tap and two images (positions among the explore images), the row's `image` and the column's `other`."""
    tapped = ColumnDataSource(
        {"number": [0], "image": [-1], "other": [-1]}, name="instance-similarity-tapped"
    )
    args = {"images": view.sources["images"], "tapped": tapped, "starts": STARTS, "side": SIDE, "foot": FOOT}
    view.root.js_on_event("tap", CustomJS(args=args, code=_TAP))
    return tapped


_TAP = """
export default ({images, tapped, starts, side, foot}, {x, y}) => {
  const {image} = images.data, down = (foot + side - y) / side
  for (const start of starts) {
    const along = (x - start) / side
    if (!(0 <= along && along < 1 && 0 <= down && down < 1) || image.length == 0) continue
    const [row, column] = [down, along].map((part) => image[Math.floor(part * image.length)])
    tapped.data = {number: [Math.max(Date.now(), tapped.data.number[0] + 1)], image: [row], other: [column]}
  }
}
"""
