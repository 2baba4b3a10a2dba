"""How every channel answered images: quartiles and median, kept ones solid, removed ones outlined, zeros below."""

from dataclasses import dataclass

import numpy as np

from explorer.figures.importance import MARGIN, number
from explorer.figures.palette import paint
from explorer.figures.view import Columns, View, canvas, empty, sources
from explorer.strings import Strings
from explorer.values import Bools, Floats

HEIGHT = 60.0
BASE = 13.0  # pixels: the boxes' lowest foot, above the bars that hang for zeros
TOP = 42.0
TEXT_AT = 52.0
THINNEST = 1.5  # pixels: a box whose quartiles are equal is still seen
MOST_BOXES = 64
HANGING = 11.0
ZEROS = 10.0  # pixels: a channel that is always zero
NONE = float("nan")


@dataclass(frozen=True, eq=False)
class Answers:
    """What the chart shows of a layer: float32 `quartiles` (3, channels), `zeros` (channels,), bool `keep` (channels,).

    `images` were looked at, of `of`. `chosen`: the channel whose details are shown.
    """

    quartiles: Floats
    zeros: Floats
    keep: Bools
    images: int
    of: int
    chosen: int | None = None


def columns(answers: Answers | None, strings: Strings, message: str = "") -> dict[str, Columns]:
    """The tables of the view: "boxes", "chosen", "base", "labels" and "scale" (what the pointer needs).

    The axis goes from 0 to 1 over all channels in their order. Of more than 64 channels, neighbours share a box:
    medians of their quartiles, kept if most of them are. Heights are pixels; zero is always on the scale.
    """
    tables = empty(_COLUMNS)
    if answers is None:
        _label(tables, 0.5, (BASE + TOP) / 2, message, "center")
        return tables
    size = len(answers.keep)
    groups = np.array_split(np.arange(size), min(size, MOST_BOXES))
    low = min(0.0, float(answers.quartiles[0].min()))
    high = max(float(answers.quartiles[2].max()), low + 1e-12)
    unit, gap = (TOP - BASE) / (high - low), 0.14 / len(groups)
    boxes = answers.quartiles
    if len(groups) < size:
        boxes = np.stack([np.median(boxes[:, channels], axis=1) for channels in groups], axis=1)
    heights = (BASE + unit * (boxes.astype(np.float64) - low)).T.tolist()
    for channels, (lower, middle, upper) in zip(groups, heights, strict=True):
        kept = 2 * int(answers.keep[channels].sum()) >= len(channels)
        top = max(upper, lower + THINNEST)
        left, right = float(channels[0]) / size + gap, float(channels[-1] + 1) / size - gap
        entry = {
            "left": left,
            "right": right,
            "low": lower,
            "kept": top if kept else NONE,
            "removed": NONE if kept else top,
            "median": middle,
            "inside": middle if kept else NONE,
            "outside": NONE if kept else middle,
            "zeros": HANGING - ZEROS * float(answers.zeros[channels].mean()),
        }
        for key, value in entry.items():
            tables["boxes"][key].append(value)
    tables["base"] = {"y": [BASE - unit * low]}
    tables["scale"] = {"size": [size]}
    if answers.chosen is not None:
        tables["chosen"] = {"left": [answers.chosen / size], "right": [(answers.chosen + 1) / size]}
    _label(
        tables, -MARGIN, TEXT_AT, strings("layer_activations", images=answers.images, of=answers.of), "left"
    )
    _label(tables, 1 + MARGIN, TEXT_AT, strings("layer_zeros"), "right")
    return tables


def _label(tables: dict[str, Columns], x: float, y: float, text: str, align: str) -> None:
    if text:
        for key, value in {"x": x, "y": y, "text": text, "align": align}.items():
            tables["labels"][key].append(value)


def describe(name: str, answers: Answers | None, strings: Strings, message: str = "") -> list[str]:
    """The chart in sentences: the images, the most active and the most silent channels."""
    if answers is None:
        return [message] if message else []
    medians, zeros = answers.quartiles[1], answers.zeros
    loud, silent = int(medians.argmax()), int(zeros.argmax())
    return [
        strings("layer_say_images", name=name, images=answers.images, of=answers.of),
        strings("layer_say_loudest", channel=loud, median=number(float(medians[loud]))),
        strings("layer_say_silent", channel=silent, zeros=round(100 * float(zeros[silent]))),
    ]


_COLUMNS = {
    "boxes": ("left", "right", "low", "kept", "removed", "median", "inside", "outside", "zeros"),
    "chosen": ("left", "right"),
    "base": ("y",),
    "labels": ("x", "y", "text", "align"),
    "scale": ("size",),
}


def build(scale: float = 1.0) -> View:
    """An empty view. `scale` multiplies heights and fonts."""
    data = sources("activations", empty(_COLUMNS))
    chart = canvas("activations", HEIGHT, (-MARGIN, 1 + MARGIN), scale)
    chosen = chart.quad(left="left", right="right", bottom=0, top=TOP + 2, source=data["chosen"])
    paint(chosen.glyph, fill_color="pale", line_color="chosen")
    paint(
        chart.segment(x0=-MARGIN, x1=1 + MARGIN, y0="y", y1="y", source=data["base"]).glyph, line_color="line"
    )
    boxes = data["boxes"]
    box = {"left": "left", "right": "right", "bottom": "low", "source": boxes}
    paint(chart.quad(top="kept", **box).glyph, fill_color="kept", line_color="kept")
    removed = chart.quad(top="removed", fill_color=None, line_dash=[3, 2], **box)
    paint(removed.glyph, line_color="cut")
    for column, role in (("inside", "paper"), ("outside", "soft")):
        median = chart.segment(x0="left", x1="right", y0=column, y1=column, line_width=2, source=boxes)
        paint(median.glyph, line_color=role)
    zeros = chart.quad(left="left", right="right", top=HANGING, bottom="zeros", source=boxes)
    paint(zeros.glyph, fill_color="fixed").line_color = None
    text = chart.text(
        x="x", y="y", text="text", text_align="align", text_baseline="middle",
        text_font_size=f"{13 * scale}px", source=data["labels"],
    )  # fmt: skip
    paint(text.glyph, text_color="soft")
    return View(chart, data)
