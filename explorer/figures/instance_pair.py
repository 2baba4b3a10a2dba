"""The subnetworks of two images, site by site: channels that both keep, only the first, only the second, or neither.

A bar is a site, whole where it reaches the top, whatever its number of channels; sites stand in execution order,
those of a stage together.
"""

from collections.abc import Sequence

import numpy as np
from bokeh.models import HoverTool

from explorer.figures import picked
from explorer.figures.palette import paint
from explorer.figures.text_lines import clipped, pixels_of
from explorer.figures.view import Columns, View, append_row, canvas, empty, sources
from explorer.instances import Instances
from explorer.strings import Strings
from explorer.values import Bools

HEIGHT = 210.0
TITLE = 201.0  # the middle of a line
KEY = 181.0
BASE, TOP = 26.0, 168.0  # none and all of a site's channels
NAMES = 9.0
GAP = 0.1  # on either side of a bar, in parts of its room
APART = 0.6  # between two stages, in rooms of a bar
WIDTH = 430.0  # pixels at scale 1, for texts that must fit
SWATCH, PAST = 11.0, 16.0  # pixels, of the key
PARTS = ("both", "first", "second", "neither")
NONE = float("nan")


def pair(instances: Instances, images: Sequence[int]) -> tuple[int, int] | None:
    """The rows of two picked images; None if there are not two, or one is not among the instances."""
    rows = [instances.row(image) for image in images]
    if len(rows) != 2 or rows[0] is None or rows[1] is None:
        return None
    return rows[0], rows[1]


def totals(instances: Instances, rows: tuple[int, int]) -> dict[str, int]:
    """Channels of all sites ("size"), and how many of them both images keep, only one, or "neither"."""
    one, other = (instances.keep[row] for row in rows)
    found = picked.counts((one, other))
    return {**found, "neither": int((~one & ~other).sum())}


def layer_at(x: float, instances: Instances) -> str | None:
    """The layer whose bar is at that place along the chart; None beside all."""
    for site, (left, right) in zip(instances.sites.every, _rooms(_layers(instances)), strict=True):
        if left <= x < right:
            return site.layer
    return None


def columns(
    instances: Instances | None, images: Sequence[int], strings: Strings, layer: str = ""
) -> dict[str, Columns]:
    """The tables of the view: "bars", "key" and "labels"; x in parts of the chart, y in pixels.

    `images` are the picked ones (positions among the explore images); unless they are two, a sentence says what to
    do. `layer` is the selected one's name, its bar is marked.
    """
    tables = empty(_COLUMNS)
    rows = None if instances is None else pair(instances, images)
    if instances is None or rows is None:
        gone = instances is not None and len(images) == 2
        _text(
            tables, 0.5, HEIGHT / 2, strings("instance_pair_gone" if gone else "instance_pair_pick"), "center"
        )
        return tables
    layers = _layers(instances)
    rooms = _rooms(layers)
    for site, (left, right) in zip(instances.sites.every, rooms, strict=True):
        masks = tuple(instances.keep[row, site.columns] for row in rows)
        wide = right - left
        entry = _bar(masks, site.layer == layer)
        entry |= {"left": left + GAP * wide, "right": right - GAP * wide, "x": (left + right) / 2}
        append_row(tables["bars"], {**entry, "layer": site.layer, "hover": picked.hover(masks, strings)})
    for name, first, last in _stages(layers):
        room = (rooms[last][1] - rooms[first][0]) * WIDTH
        if (text := clipped(name, room)) != "…":
            _text(tables, rooms[first][0], NAMES, text)
    title = strings("instance_pair_title", **_macs(instances, rows, images))
    _text(tables, 0.0, TITLE, clipped(title, WIDTH), role="ink")
    _key(tables, totals(instances, rows), strings)
    return tables


def _layers(instances: Instances) -> list[str]:
    return [site.layer for site in instances.sites.every]


def _bar(masks: tuple[Bools, ...], chosen: bool) -> dict[str, object]:
    """Heights of the parts of a site's bar, one upon the other."""
    found = picked.counts(masks)
    shares = np.cumsum([found[part] for part in PARTS[:3]]) / max(found["size"], 1)
    tops = {part: BASE + (TOP - BASE) * share for part, share in zip(PARTS[:3], shares.tolist(), strict=True)}
    return {**tops, "base": BASE, "marker": BASE - 7.0 if chosen else NONE}


def _macs(instances: Instances, rows: tuple[int, int], images: Sequence[int]) -> dict[str, object]:
    one, other = (f"{100 * instances.shares[row]:.0f}" for row in rows)
    return {"first": images[0], "first_macs": one, "second": images[1], "second_macs": other}


def _key(tables: dict[str, Columns], found: dict[str, int], strings: Strings) -> None:
    """What each colour is, and its share of all channels."""
    x = 0.0
    for part in PARTS:
        text = strings(f"instance_pair_{part}", share=f"{100 * found[part] / max(found['size'], 1):.0f}")
        sides = {"left": x, "bottom": KEY - SWATCH / 2, "top": KEY + SWATCH / 2}
        ends = {each: x + SWATCH / WIDTH if each == part else NONE for each in PARTS}
        append_row(tables["key"], {**sides, **ends})
        _text(tables, x + PAST / WIDTH, KEY, text, role="ink")
        x += (PAST + pixels_of(text) + PAST) / WIDTH


def _stages(layers: Sequence[str]) -> list[tuple[str, int, int]]:
    """Neighbours of one stage: its name, and the places of its first and last layer.

    A stage is told by the first parts of a layer's name in which there is any difference.
    """
    depth, deepest = 1, max((name.count(".") for name in layers), default=0)
    while depth < deepest and len({_beginning(name, depth) for name in layers}) < 2:
        depth += 1
    found: list[tuple[str, int, int]] = []
    for place, name in enumerate(layers):
        stage = _beginning(name, depth)
        if found and found[-1][0] == stage:
            found[-1] = stage, found[-1][1], place
        else:
            found.append((stage, place, place))
    return found


def _beginning(name: str, depth: int) -> str:
    return ".".join(name.split(".")[:depth])


def _rooms(layers: Sequence[str]) -> list[tuple[float, float]]:
    """Where the room of each bar begins and ends, in parts of the chart; stages lie apart unless each is one bar."""
    stages = _stages(layers)
    apart = APART if len(stages) < len(layers) else 0.0
    whole = len(layers) + apart * (len(stages) - 1)
    starts = [
        place + apart * stage
        for stage, (_n, first, last) in enumerate(stages)
        for place in range(first, last + 1)
    ]
    return [(start / whole, (start + 1) / whole) for start in starts]


def describe(instances: Instances | None, images: Sequence[int], strings: Strings) -> list[str]:
    """The totals in a sentence, then every layer's."""
    rows = None if instances is None else pair(instances, images)
    if instances is None or rows is None:
        return []
    ends = {"first_image": images[0], "second_image": images[1]}
    sentences = [strings("instance_pair_says", **ends, **totals(instances, rows))]
    for site in instances.sites.every:
        masks = [instances.keep[row, site.columns] for row in rows]
        sentences.append(picked.say(site.layer, masks, strings))
    return sentences


def _text(
    tables: dict[str, Columns], x: float, y: float, text: str, align: str = "left", role: str = "soft"
) -> None:
    append_row(tables["labels"], {"x": x, "y": y, "align": align, "soft": "", "ink": ""} | {role: text})


_COLUMNS = {
    "bars": ("left", "right", "x", "base", "both", "first", "second", "marker", "layer", "hover"),
    "key": ("left", "bottom", "top", *PARTS),
    "labels": ("x", "y", "soft", "ink", "align"),
}
_HOVER = """<div style="font: {size}px sans-serif; max-width: {wide}px; color: #1f2933"><b>@layer</b><br>@hover</div>"""


def build(scale: float = 1.0) -> View:
    """An empty view. `scale` multiplies heights and fonts."""
    data = sources("instance-pair", empty(_COLUMNS))
    chart = canvas("instance-pair", HEIGHT, (-0.005, 1.005), scale)
    bars, key = data["bars"], data["key"]
    sides = {"left": "left", "right": "right", "source": bars}
    whole = chart.quad(bottom="base", top=TOP, line_dash=[3, 2], hover_line_width=2, **sides)
    paint(whole.glyph, fill_color="pale", line_color="cut")
    paint(whole.hover_glyph, fill_color="pale", line_color="ink")
    below = "base"
    for part in PARTS[:3]:
        role = picked.ROLES[part]
        paint(chart.quad(bottom=below, top=part, line_color=None, **sides).glyph, fill_color=role)
        end = chart.quad(left="left", right=part, bottom="bottom", top="top", line_color=None, source=key)
        paint(end.glyph, fill_color=role)
        below = part
    neither = chart.quad(
        left="left", right="neither", bottom="bottom", top="top", line_dash=[3, 2], source=key
    )
    paint(neither.glyph, fill_color="pale", line_color="cut")
    marker = chart.scatter(x="x", y="marker", marker="triangle", size=8 * scale, source=bars)
    paint(marker.glyph, fill_color="chosen", line_color="chosen")
    place = {"x": "x", "y": "y", "text_align": "align", "text_baseline": "middle", "source": data["labels"]}
    for role in ("soft", "ink"):
        text = chart.text(text=role, text_font_size=f"{13 * scale}px", **place)
        paint(text.glyph, text_color=role)
    hover = _HOVER.format(size=round(13 * scale), wide=round(280 * scale))
    chart.add_tools(HoverTool(renderers=[whole], tooltips=hover, point_policy="follow_mouse"))
    return View(chart, data)
