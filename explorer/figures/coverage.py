"""The coverage map: a box for every layer; solid is the share of its channels that can be pruned.

A line holds a stage, the first at the bottom as in the bars, its layers from left to right. Blocks that are alike,
layer by layer, are drawn once with how many they are, where not all have room, so that a network of any depth fits.
Distances are pixels at scale 1, upwards and from the left.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from itertools import groupby

from bokeh.models import CustomJS, HoverTool

from explorer.figures.folding import UNIT, Block, chunked, stages
from explorer.figures.names import shortened, width_of
from explorer.figures.palette import paint
from explorer.figures.view import Columns, View, canvas, empty, sources
from explorer.records import Coverage, LayerCoverage, percent_of
from explorer.strings import Strings

WIDTH = 424.0
NAMES = 96.0  # width of the names' column
LOWEST_PITCH = 15.0
HIGHEST_PITCH = 24.0
BOX = 12.0  # width, where layers that are alike need not share one
NARROWEST_BOX = 4.0
WIDEST_BOX = 18.0
GAP = 2.0  # between boxes
SPACE = 8.0  # between blocks
NONE = float("nan")


@dataclass(frozen=True)
class Box:
    """One layer, or several: the same one of blocks that are alike, or `joined` neighbours. `layers` are places in
    the coverage's order, `share` is their mean prunable share."""

    layers: tuple[int, ...]
    share: float
    joined: bool = False
    left: float = 0.0
    right: float = 0.0


@dataclass(frozen=True)
class Segment:
    """A block's boxes; `times` blocks are alike. `end` is where the boxes end."""

    boxes: tuple[Box, ...]
    times: int
    end: float = 0.0


@dataclass(frozen=True)
class Line:
    """A stage, or `times` stages that are alike."""

    name: str
    segments: tuple[Segment, ...]
    times: int
    bottom: float = 0.0
    top: float = 0.0

    @property
    def layers(self) -> list[int]:
        """Places of all its layers."""
        return [place for segment in self.segments for box in segment.boxes for place in box.layers]


def lay_out(layers: Sequence[LayerCoverage], height: float) -> tuple[Line, ...]:
    """The lines of the map, as many as have room in `height`, in the middle of it."""
    found = _lines(layers, max(int(height // LOWEST_PITCH), 1))
    pitch = min(height / max(len(found), 1), HIGHEST_PITCH)
    bottom = (height - pitch * len(found)) / 2
    width = min((_box_width(line) for line in found), default=BOX)
    return tuple(
        replace(
            _spread(line, max(width, min(_box_width(line), BOX))),
            bottom=bottom + place * pitch,
            top=bottom + (place + 1) * pitch,
        )
        for place, line in enumerate(found)
    )


def _lines(layers: Sequence[LayerCoverage], most: int) -> list[Line]:
    blocks = stages([layer.name for layer in layers])
    runs = [[block] for block in blocks]
    if len(runs) > most:
        runs = _alike(layers, blocks)
    if len(runs) > most:
        runs = [[block] for block in chunked(blocks, most, most)]
    return [_line(layers, run) for run in runs]


def _line(layers: Sequence[LayerCoverage], run: Sequence[Block]) -> Line:
    """A box for every layer if they have room, else blocks that are alike in one."""
    name = run[0].name if len(run) == 1 else replace(run[0], last=run[-1].last or run[-1].start).name
    whole = Line(name, tuple(_segments(layers, run, folded=False)), 1)
    if _box_width(whole) >= BOX:
        return whole
    shifts = [block.first - run[0].first for block in run]
    segments = tuple(_repeated(segment, shifts) for segment in _segments(layers, run[:1], folded=True))
    line = Line(name, segments, len(run))
    return line if _box_width(line) >= NARROWEST_BOX else _joined(layers, line)


def _alike(layers: Sequence[LayerCoverage], blocks: Sequence[Block]) -> list[list[Block]]:
    """Runs of blocks whose layers have the same kinds, prunable shares and causes."""

    def form(block: Block) -> tuple[object, ...]:
        inside = layers[slice(*block.span)]
        return tuple((layer.kind, layer.share, layer.cause, layer.operator) for layer in inside)

    return [list(run) for _form, run in groupby(blocks, form)]


def _segments(layers: Sequence[LayerCoverage], blocks: Sequence[Block], folded: bool) -> Iterator[Segment]:
    """The boxes of consecutive blocks, layers without a block of their own side by side."""
    for single, group in groupby(blocks, lambda block: not block.blocks):
        found = list(group)
        if single and not (folded and len(found) > UNIT):
            yield Segment(tuple(_box(layers, [block.first]) for block in found), 1)
            continue
        for run in _alike(layers, found) if folded else [[block] for block in found]:
            first, end = run[0].span
            if len(run) == 1 and end - first > UNIT:
                yield from _segments(layers, run[0].blocks, folded)
            else:
                boxes = (_box(layers, [block.first + place for block in run]) for place in range(end - first))
                yield Segment(tuple(boxes), len(run))


def _box(layers: Sequence[LayerCoverage], places: Sequence[int], joined: bool = False) -> Box:
    return Box(tuple(places), sum(layers[place].share for place in places) / len(places), joined)


def _repeated(segment: Segment, shifts: Sequence[int]) -> Segment:
    """The segment standing for the same layers of other stages too, which begin so many layers later."""
    boxes = (
        replace(box, layers=tuple(place + shift for shift in shifts for place in box.layers))
        for box in segment.boxes
    )
    return replace(segment, boxes=tuple(boxes))


def _joined(layers: Sequence[LayerCoverage], line: Line) -> Line:
    """The line with as many neighbours in one box as it takes."""
    places = sorted(line.layers)
    boxes = int((WIDTH - NAMES - SPACE) // (NARROWEST_BOX + GAP))
    size = math.ceil(len(places) / boxes)
    starts = range(0, len(places), size)
    joined = (_box(layers, places[start : start + size], joined=size > 1) for start in starts)
    return Line(line.name, (Segment(tuple(joined), 1),), 1)


def _times(count: int) -> str:
    return f"×{count}" if count > 1 else ""


def _box_width(line: Line) -> float:
    """How wide its boxes can be."""
    texts = [_times(line.times), *(_times(segment.times) for segment in line.segments)]
    words = sum(width_of(text) + GAP for text in texts if text)
    count = sum(len(segment.boxes) for segment in line.segments)
    room = WIDTH - NAMES - words - SPACE * len(line.segments)
    return min(room / max(count, 1) - GAP, WIDEST_BOX)


def _spread(line: Line, width: float) -> Line:
    """The line with its boxes, so wide, beside each other."""
    x = NAMES
    segments = []
    for segment in line.segments:
        boxes = []
        for box in segment.boxes:
            boxes.append(replace(box, left=x, right=x + width))
            x += width + GAP
        segments.append(replace(segment, boxes=tuple(boxes), end=x))
        x += SPACE + (width_of(_times(segment.times)) + GAP if segment.times > 1 else 0.0)
    return replace(line, segments=tuple(segments))


def box_at(lines: Sequence[Line], x: float, y: float) -> Box | None:
    """The box at a point, with the space to its right; None beside them."""
    boxes = (
        box
        for line in lines
        if line.bottom <= y < line.top
        for segment in line.segments
        for box in segment.boxes
    )
    return next((box for box in boxes if box.left <= x < box.right + GAP), None)


def columns(lines: Sequence[Line], found: Coverage, layer: str, strings: Strings) -> dict[str, Columns]:
    """The tables of the view: "boxes" and "texts"; `layer` is the selected one's name."""
    tables = empty(_COLUMNS)
    chosen = next((place for place, each in enumerate(found.layers) if each.name == layer), -1)
    for line in lines:
        middle, half = (line.bottom + line.top) / 2, min(line.top - line.bottom - 3.0, WIDEST_BOX) / 2
        name = shortened(line.name, NAMES - 6.0)
        _append(tables["texts"], {"x": 0.0, "y": middle, "name": name, "times": ""})
        for segment in line.segments:
            for box in segment.boxes:
                _append(tables["boxes"], _drawn(box, middle - half, middle + half, chosen in box.layers))
                tables["boxes"]["html"].append(_hover(box, found, strings))
            if segment.times > 1:
                times = {"x": segment.end + GAP, "y": middle, "name": "", "times": _times(segment.times)}
                _append(tables["texts"], times)
        if line.times > 1:
            last = line.segments[-1]
            end = last.end + (width_of(_times(last.times)) + SPACE if last.times > 1 else 0.0)
            _append(tables["texts"], {"x": end, "y": middle, "name": "", "times": _times(line.times)})
    return tables


def _drawn(box: Box, bottom: float, top: float, chosen: bool) -> dict[str, object]:
    level = bottom + box.share * (top - bottom)
    return {
        "left": box.left,
        "right": box.right,
        "bottom": bottom,
        "top": top,
        "solid": level if box.share > 0 else NONE,
        "stays": level if box.share < 1 else NONE,
        "chosen": top if chosen else NONE,
    }


def _hover(box: Box, found: Coverage, strings: Strings) -> str:
    """What stands beside the pointer at a box, as HTML."""
    layers = [found.layers[place] for place in box.layers]
    first, last = layers[0], layers[-1]
    lines = []
    if len(layers) > 1:
        key = "coverage_hover_part" if box.joined else "coverage_hover_layers"
        lines.append(strings(key, first=first.name, last=last.name, count=len(layers)))
    if not box.joined:
        lines += [
            strings("coverage_hover_channels", prunable=f"{first.prunable:,}", outputs=f"{first.outputs:,}"),
            strings("coverage_hover_inputs", shrinkable=f"{first.shrinkable:,}", inputs=f"{first.inputs:,}"),
        ]
    reasons = dict.fromkeys(layer.reason or strings("bars_no_group") for layer in layers if layer.cause)
    lines += [strings("bars_fixed", reason=reason) for reason in list(reasons)[:2]]
    return "<br>".join([f"<b>{escape(first.name)}</b>", *map(escape, lines)])


def _append(table: Columns, entry: Mapping[str, object]) -> None:
    for key, value in entry.items():
        table[key].append(value)


def share_words(found: Coverage, strings: Strings) -> str:
    """How much can be pruned, in a sentence."""
    return strings(
        "coverage_share",
        layers=f"{found.prunable_layers:,}",
        all=f"{len(found.layers):,}",
        channels=percent_of(found.channels_share),
        macs=percent_of(found.macs_share),
    )


def least_words(found: Coverage, strings: Strings) -> str:
    """How small the network can get, in a sentence."""
    values = {
        "macs": percent_of(found.share_of_macs(found.least_macs)),
        "params": percent_of(found.share_of_params(found.least_params)),
    }
    if not found.removed:
        return strings("coverage_least", **values)
    return strings(
        "coverage_least_removed",
        bare_macs=percent_of(found.share_of_macs(found.bare_macs)),
        bare_params=percent_of(found.share_of_params(found.bare_params)),
        **values,
    )


def fixed_words(found: Coverage, strings: Strings) -> str:
    """The operations that are no layers, in a sentence; "" if there are none."""
    if not found.fixed:
        return ""
    operators = ", ".join(dict.fromkeys(call.operator for call in found.fixed))
    return strings("coverage_fixed", operators=operators, share=percent_of(found.fixed_share))


def describe(lines: Sequence[Line], found: Coverage, strings: Strings) -> list[str]:
    """The map in sentences: how much, how small, every line, and why not."""
    sentences = [share_words(found, strings), least_words(found, strings)]
    for line in lines:
        places = line.layers
        free = sum(found.layers[place].prunable > 0 for place in places)
        sentences.append(strings("coverage_say_line", name=line.name, layers=len(places), prunable=free))
    for each in found.hindrances:
        names = ", ".join(each.layers)
        reason = each.words(strings)
        sentences.append(strings("coverage_say_why", count=len(each.layers), reason=reason, names=names))
    fixed = fixed_words(found, strings)
    return [*sentences, fixed] if fixed else sentences


_COLUMNS = {
    "boxes": ("left", "right", "bottom", "top", "solid", "stays", "chosen", "html"),
    "texts": ("x", "y", "name", "times"),
}
_MEASURE = "const width = cb_obj.inner_width / scale; if (width > 0) range.end = width"


def build(height: float, scale: float = 1.0) -> View:
    """An empty view of that height, in pixels; `scale` multiplies it and the fonts."""
    data = sources("coverage", empty(_COLUMNS))
    chart = canvas("coverage", height, (0, WIDTH), scale)
    chart.js_on_change("inner_width", CustomJS(args={"range": chart.x_range, "scale": scale}, code=_MEASURE))
    boxes, sides = data["boxes"], {"left": "left", "right": "right"}
    stays = chart.quad(
        bottom="stays", top="top", source=boxes, line_color=None, hatch_pattern="/", hatch_scale=6 * scale,
        hatch_weight=1.5 * scale, fill_color=None, **sides,
    )  # fmt: skip
    paint(stays.glyph, hatch_color="fixed")
    solid = chart.quad(bottom="bottom", top="solid", source=boxes, line_color=None, **sides)
    paint(solid.glyph, fill_color="kept")
    outline = chart.quad(bottom="bottom", top="top", source=boxes, fill_alpha=0, line_width=1, **sides)
    paint(outline.glyph, line_color="fixed")
    chosen = chart.quad(bottom="bottom", top="chosen", source=boxes, fill_alpha=0, line_width=3, **sides)
    paint(chosen.glyph, line_color="chosen")
    place = {"x": "x", "y": "y", "text_baseline": "middle", "text_font_size": f"{13 * scale}px"}
    names = chart.text(text="name", text_font_style="bold", source=data["texts"], **place)
    paint(names.glyph, text_color="ink")
    times = chart.text(text="times", source=data["texts"], **place)
    paint(times.glyph, text_color="soft")
    style = f"font: {round(13 * scale)}px sans-serif; max-width: {round(320 * scale)}px; color: #1f2933"
    tooltip = f'<div style="{style}">@html{{safe}}</div>'
    chart.add_tools(HoverTool(renderers=[outline], tooltips=tooltip, point_policy="follow_mouse"))
    return View(chart, data)
