"""A grid of small images: each with what it was taken for before and is taken for now, the label set bold."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from bokeh.models import CustomJS, HoverTool
from PIL import Image

from explorer.figures.palette import paint
from explorer.figures.pictures import Pixels, data_uri, sprite
from explorer.figures.view import Columns, View, canvas, empty, sources
from explorer.strings import Strings

SIDE = 39  # pixels at scale 1: the longer side of an image
CELL = (52, 67)  # an image with two lines of text below it
TITLE = 15
DOWN = 3
HEIGHT = TITLE + DOWN * CELL[1]
NARROWEST = 4 * CELL[0] - (CELL[0] - SIDE)
LINE = 12
LETTERS = 8  # of a class's name; one that is longer is cut shorter, or bold ones would touch
SHARPNESS = 2  # pixels of the sprite for one on the page, for screens of high density


@dataclass(frozen=True)
class Flip:
    """One image: the names of the classes that it was taken for, whether `before` (else `now`) is right."""

    name: str
    before: str
    now: str
    broken: bool


def across(width: float) -> int:
    """How many images stand side by side in a gallery of that width, in pixels at scale 1."""
    return max(1, int((width + CELL[0] - SIDE) // CELL[0]))


def place_at(x: float, y: float, columns: int, count: int) -> int | None:
    """The place, row by row, of the image at that point of a page of `count` images; None beside them."""
    column, row = int(x // CELL[0]), int((HEIGHT - TITLE - y) // CELL[1])
    place = row * columns + column
    return place if 0 <= column < columns and row >= 0 and place < count else None


def sheet(images: Sequence[Pixels], columns: int, side: int = SIDE, cell_size: tuple[int, int] = CELL) -> str:
    """The images of a page as one PNG, each where its cell is, as a data URI; "" without images."""
    if not images:
        return ""
    width, height = cell_size[0] * SHARPNESS, cell_size[1] * SHARPNESS
    cells = []
    for image in images:
        cell = np.zeros((height, width, 4), dtype=np.uint8)
        small = fitted(image, side * SHARPNESS)
        down, along = small.shape[:2]
        left = (side * SHARPNESS - along) // 2
        cell[:down, left : left + along] = small
        cells.append(cell)
    return data_uri(sprite(cells, columns, gap=0))


def fitted(pixels: Pixels, side: int) -> Pixels:
    """A picture as (H, W, 4) whose longer side is `side`: enlarged in squares, or reduced by averaging."""
    height, width = pixels.shape[:2]
    factor = side / max(height, width)
    size = max(1, round(width * factor)), max(1, round(height * factor))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX).convert("RGBA"))


def columns(flips: Sequence[Flip], width: float, picture: str, strings: Strings) -> dict[str, Columns]:
    """The tables of the view: "sheet" (one row: the sprite), "cells", "captions" and "title"; all in pixels.

    `picture` is the `sheet` of these flips in `across(width)` columns.
    """
    tables = empty(_COLUMNS)
    title = strings("images_gallery_title") if flips else strings("images_gallery_none")
    tables["title"] = {"x": [0.0], "y": [float(HEIGHT)], "text": [title]}
    if not flips:
        return tables
    beside = across(width)
    lines, widest = -(-len(flips) // beside), min(beside, len(flips))
    tables["sheet"] = {
        "url": [picture],
        "y": [float(HEIGHT - TITLE)],
        "w": [float(widest * CELL[0])],
        "h": [float(lines * CELL[1])],
    }
    for place, flip in enumerate(flips):
        left, top = place % beside * CELL[0], HEIGHT - TITLE - place // beside * CELL[1]
        cell = {"left": left, "right": left + SIDE, "top": top, "bottom": top - SIDE, "name": flip.name}
        cell |= {"before": strings("images_before", name=flip.before)}
        cell |= {"now": strings("images_now", name=flip.now)}
        _append(tables["cells"], cell)
        for line, (name, right) in enumerate(((flip.before, flip.broken), (flip.now, not flip.broken))):
            short = name if len(name) <= LETTERS else f"{name[: LETTERS - 2].rstrip()}…"
            y = top - SIDE - line * LINE
            caption = {"x": left, "y": y, "right": short if right else "", "wrong": "" if right else short}
            _append(tables["captions"], caption)
    return tables


def describe(flips: Sequence[Flip], strings: Strings) -> list[str]:
    """Every image of the page in a sentence."""
    return [
        strings("images_flip_sentence", name=flip.name, before=flip.before, now=flip.now) for flip in flips
    ]


def _append(table: Columns, entry: dict[str, object]) -> None:
    for key, value in entry.items():
        table[key].append(value)


_COLUMNS = {
    "sheet": ("url", "y", "w", "h"),
    "cells": ("left", "right", "top", "bottom", "name", "before", "now"),
    "captions": ("x", "y", "right", "wrong"),
    "title": ("x", "y", "text"),
}

_HOVER = """<div style="font: {size}px sans-serif; color: #1f2933"><b>@name</b><br>@before<br>@now</div>"""
MEASURE = "const width = Math.floor(cb_obj.inner_width / scale); if (width >= least) range.end = width"


def build(scale: float = 1.0) -> View:
    """An empty view. The browser sets `root.x_range.end` to the width that there is, in pixels at scale 1."""
    data = sources("gallery", empty(_COLUMNS))
    chart = canvas("gallery", HEIGHT, (0, NARROWEST), scale)
    arguments = {"range": chart.x_range, "scale": scale, "least": CELL[0]}
    chart.js_on_change("inner_width", CustomJS(args=arguments, code=MEASURE))
    chart.image_url(url="url", x=0, y="y", w="w", h="h", anchor="top_left", source=data["sheet"])
    box = {"left": "left", "right": "right", "top": "top", "bottom": "bottom"}
    frame = chart.quad(fill_alpha=0, hover_fill_alpha=0, hover_line_width=3, source=data["cells"], **box)
    paint(frame.glyph, line_color="cut")
    paint(frame.hover_glyph, line_color="chosen")
    hover = HoverTool(renderers=[frame], tooltips=_HOVER.format(size=13 * scale))
    chart.add_tools(hover)
    place = {"x": "x", "y": "y", "text_baseline": "top", "text_font_size": f"{LINE * scale}px"}
    for column, role, style in (("right", "ink", "bold"), ("wrong", "soft", "normal")):
        text = chart.text(text=column, text_font_style=style, source=data["captions"], **place)
        paint(text.glyph, text_color=role)
    paint(chart.text(text="text", source=data["title"], **place).glyph, text_color="soft")
    return View(chart, data)
