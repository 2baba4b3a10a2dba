"""Images from the fewest MACs to the most, under each its share of the dense MACs.

Every page spans the whole range, from easy to hard: its images are evenly spaced in the order of MACs. All pages
together show every image once. An image that is not recognised has a dashed frame and a cross; picked ones have a
frame of their own colour, and a number.
"""

from collections.abc import Sequence

import numpy as np
from bokeh.models import CustomJS, HoverTool
from numpy.typing import NDArray

from explorer.figures import gallery
from explorer.figures.instance_order import class_name
from explorer.figures.palette import LIGHT, paint
from explorer.figures.pictures import Pixels
from explorer.figures.view import Columns, View, append_row, canvas, empty, sources
from explorer.instances import Instances
from explorer.strings import Strings

SIDE = 46  # pixels at scale 1: the longer side of an image
CELL = (53, 67)  # an image with its share below it
TITLE = 15
DOWN = 3
HEIGHT = TITLE + DOWN * CELL[1]
NARROWEST = 4 * CELL[0] - (CELL[0] - SIDE)
GAUGE = (1.0, 4.0)  # pixels below an image: its share of the MACs, the image's width being all of them
TEXT = 5.5  # pixels below an image
FONT = 13
BADGE = 8.0  # radius of a picked image's number
NONE = float("nan")


def across(width: float) -> int:
    """How many images stand side by side in a gallery of that width, in pixels at scale 1."""
    return max(1, int((width + CELL[0] - SIDE) // CELL[0]))


def sheet(images: Sequence[Pixels], columns: int) -> str:
    """The images of a page as one PNG, each where its cell is, as a data URI; "" without images."""
    return gallery.sheet(images, columns, SIDE, CELL)


def room(width: float) -> int:
    """How many images a page holds in a gallery of that width, in pixels at scale 1."""
    return DOWN * across(width)


def pages(instances: Instances, size: int) -> int:
    """How many pages of `size` images there are; raises ValueError for a size below 1."""
    if size < 1:
        raise ValueError(f"A page holds at least 1 image, not {size}.")
    return -(-len(instances) // size)


def page(instances: Instances, size: int, number: int = 0) -> NDArray[np.int64]:
    """The rows of page `number` (from 0), int64 (at most `size`,), from the fewest MACs to the most.

    The order of MACs is split into `size` parts and every page takes one image of each: the first page those at
    evenly spaced quantiles, the least and the most among them. The last may lack some.
    """
    parts = np.array_split(instances.order, min(size, max(len(instances), 1)))
    rows = []
    for place, part in enumerate(parts):
        if number < len(part):
            start = round(place / max(len(parts) - 1, 1) * (len(part) - 1))
            rows.append(part[(start + number) % len(part)])
    return np.array(rows, dtype=np.int64)


def row_at(x: float, y: float, columns: int, rows: Sequence[int] | NDArray[np.int64]) -> int | None:
    """The row of the instances whose image is at that point of a page, `columns` beside each other; None beside all."""
    column, line = int(x // CELL[0]), int((HEIGHT - TITLE - y) // CELL[1])
    place = line * columns + column
    return int(rows[place]) if 0 <= column < columns and line >= 0 and place < len(rows) else None


def columns(
    instances: Instances | None,
    rows: Sequence[int] | NDArray[np.int64],
    names: Sequence[str],
    picked: Sequence[int],
    width: float,
    picture: str,
    strings: Strings,
) -> dict[str, Columns]:
    """The tables of the view: "sheet" (one row: the sprite), "cells", "picked" and "title"; all in pixels.

    `rows` of the instances are shown; `picture` is the `sheet` of their images in `across(width)` columns.
    `names` are those of the classes, `picked` up to two images (positions among the explore images).
    """
    tables = empty(_COLUMNS)
    shown = instances is not None and len(rows) > 0
    title = strings("instance_gallery_title" if shown else "images_gallery_none")
    append_row(tables["title"], {"x": 0.0, "y": float(HEIGHT), "text": title})
    if instances is None or not shown:
        return tables
    beside = across(width)
    lines, widest = -(-len(rows) // beside), min(beside, len(rows))
    sprite = {"w": float(widest * CELL[0]), "h": float(lines * CELL[1])}
    append_row(tables["sheet"], {"url": picture, "y": float(HEIGHT - TITLE), **sprite})
    for place, row in enumerate(rows):
        left, top = float(place % beside * CELL[0]), float(HEIGHT - TITLE - place // beside * CELL[1])
        append_row(tables["cells"], _cell(instances, int(row), left, top, names, strings))
        image = int(instances.images[row])
        if image in picked:
            append_row(tables["picked"], _frame(list(picked).index(image), left, top))
    return tables


def _cell(
    instances: Instances, row: int, left: float, top: float, names: Sequence[str], strings: Strings
) -> dict[str, object]:
    share, right = float(instances.shares[row]), bool(instances.right[row])
    taken, bottom = class_name(names, int(instances.predicted[row])), top - SIDE
    key = "instance_gallery_right" if right else "instance_gallery_wrong"
    return {
        "left": left,
        "right": left + SIDE,
        "top": top,
        "bottom": bottom,
        "wrong_right": NONE if right else left + SIDE,
        "gauge": left + SIDE * min(share, 1.0),
        "gauge_top": bottom - GAUGE[0],
        "gauge_bottom": bottom - GAUGE[1],
        "share_at": bottom - TEXT,
        "share": f"{100 * share:.0f} %" if right else f"{100 * share:.0f} % ✗",
        "title": strings("images_image", image=int(instances.images[row])),
        "macs": strings("instance_gallery_macs", share=f"{100 * share:.1f}"),
        "label": strings("instance_gallery_label", name=class_name(names, int(instances.labels[row]))),
        "prediction": strings(key, name=taken),
        "loss": strings("instance_gallery_loss", loss=f"{instances.losses[row]:.2f}"),
    }


def _frame(place: int, left: float, top: float) -> dict[str, object]:
    """Around the first (place 0) or second picked image, with its number in the corner."""
    sides = {"left": left - 1.5, "bottom": top - SIDE + 0.5, "top": top + 1.5}
    ends = {"first": NONE, "second": NONE} | {("first", "second")[place]: left + SIDE + 1.5}
    corner = {"x": left + BADGE - 1.5, "y": top - BADGE + 1.5}
    badges = {f"{name}_x": NONE if end != end else corner["x"] for name, end in ends.items()}
    return {**sides, **ends, **corner, **badges, "number": str(place + 1)}


def describe(
    instances: Instances | None,
    rows: Sequence[int] | NDArray[np.int64],
    names: Sequence[str],
    picked: Sequence[int],
    strings: Strings,
) -> list[str]:
    """Every image of the page in a sentence, and which of them are picked."""
    if instances is None:
        return []
    sentences = []
    for row in rows:
        image = int(instances.images[row])
        key = "instance_gallery_says_right" if instances.right[row] else "instance_gallery_says_wrong"
        values = {
            "image": image,
            "share": f"{100 * instances.shares[row]:.1f}",
            "label": class_name(names, int(instances.labels[row])),
            "loss": f"{instances.losses[row]:.2f}",
        }
        sentences.append(strings(key, predicted=class_name(names, int(instances.predicted[row])), **values))
        if image in picked:
            sentences.append(strings("instance_gallery_says_picked", image=image))
    return sentences


_COLUMNS = {
    "sheet": ("url", "y", "w", "h"),
    "cells": (
        *("left", "right", "top", "bottom", "wrong_right", "gauge", "gauge_top", "gauge_bottom"),
        *("share_at", "share", "title", "macs", "label", "prediction", "loss"),
    ),
    "picked": ("left", "bottom", "top", "first", "second", "x", "y", "first_x", "second_x", "number"),
    "title": ("x", "y", "text"),
}
_HOVER = """<div style="font: {size}px sans-serif; color: #1f2933">
<b>@title</b><br>@macs<br>@label<br>@prediction<br>@loss</div>"""


def build(scale: float = 1.0) -> View:
    """An empty view. The browser sets `root.x_range.end` to the width that there is, in pixels at scale 1."""
    data = sources("instance-gallery", empty(_COLUMNS))
    chart = canvas("instance-gallery", HEIGHT, (0, NARROWEST), scale)
    arguments = {"range": chart.x_range, "scale": scale, "least": CELL[0]}
    chart.js_on_change("inner_width", CustomJS(args=arguments, code=gallery.MEASURE))
    chart.image_url(url="url", x=0, y="y", w="w", h="h", anchor="top_left", source=data["sheet"])
    cells = data["cells"]
    gauge = {
        "left": "left",
        "top": "gauge_top",
        "bottom": "gauge_bottom",
        "line_color": None,
        "source": cells,
    }
    paint(chart.quad(right="right", **gauge).glyph, fill_color="line")
    paint(chart.quad(right="gauge", **gauge).glyph, fill_color="kept")
    box = {"left": "left", "bottom": "bottom", "top": "top", "fill_alpha": 0}
    frame = chart.quad(right="right", hover_fill_alpha=0, hover_line_width=3, source=cells, **box)
    paint(frame.glyph, line_color="cut")
    paint(frame.hover_glyph, line_color="chosen")
    wrong = chart.quad(right="wrong_right", line_width=2, line_dash=[4, 3], source=cells, **box)
    paint(wrong.glyph, line_color="lost")
    place = {"x": "x", "y": "y", "text_font_size": f"{FONT * scale}px"}
    share = chart.text(
        text="share", text_baseline="top", source=cells, **place | {"x": "left", "y": "share_at"}
    )
    paint(share.glyph, text_color="ink")
    for role in ("first", "second"):
        ring = chart.quad(right=role, line_width=3, source=data["picked"], **box)
        paint(ring.glyph, line_color=role)
        badge = chart.scatter(
            x=f"{role}_x", y="y", size=2 * BADGE * scale, line_color=None, source=data["picked"]
        )
        paint(badge.glyph, fill_color=role)
    number = {"text_align": "center", "text_baseline": "middle", "text_font_style": "bold"}
    chart.text(text="number", text_color=LIGHT["ink"], source=data["picked"], **place, **number)
    title = chart.text(text="text", text_baseline="top", source=data["title"], **place)
    paint(title.glyph, text_color="soft")
    chart.add_tools(HoverTool(renderers=[frame], tooltips=_HOVER.format(size=13 * scale)))
    return View(chart, data)
