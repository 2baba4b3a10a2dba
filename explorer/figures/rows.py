"""Where each layer's bar goes: rows in execution order from the bottom, bands of tied layers, sections by name.

Pure geometry of one graph; the plan only changes how far a bar reaches. Heights are pixels at scale 1; along
the bar, 1 is the longest dense bar.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from explorer.values import ChannelGraph, Ints, Layer

HEIGHT = 312.0
TOP = 17.0  # room for the name of the scale
LOWEST_PITCH = 9.0
HIGHEST_PITCH = 44.0
IMAGE_PITCH = 17.0
BAR_PIXELS = 262  # length of the longest bar at the narrowest dashboard
NARROWEST_BAR = 40  # pixels; below it every bar is drawn to its own 100 %
LABEL_PITCH = 13.0  # a line of 13 px text


@dataclass(frozen=True, eq=False)
class Row:
    """One layer's bar, from `bottom` to `top` with the space around it.

    `parts` are the channel groups of its outputs and the units in each, `fixed` its outputs in no group.
    `thin`: drawn thin, since another bar or a band shows the group; `banded`: a band does.
    """

    name: str
    words: str
    group: str
    size: int
    fixed: int
    parts: tuple[tuple[str, Ints], ...]
    bottom: float
    top: float
    thin: bool
    banded: bool
    prunable: bool
    reason: str
    tied: tuple[str, ...]

    @property
    def middle(self) -> float:
        return (self.bottom + self.top) / 2


@dataclass(frozen=True)
class Band:
    """The rectangle of a group whose layers lie apart, with other groups' layers between: a residual sum."""

    group: str
    size: int
    bottom: float
    top: float


@dataclass(frozen=True)
class Section:
    """Consecutive rows with the same start of their module names; `rows` are (first, one past the last)."""

    name: str
    rows: tuple[int, int]


@dataclass(frozen=True, eq=False)
class Layout:
    """All rows, bands and sections.

    `percent`: every bar is drawn to its own 100 %; `numbered`: rows have room for numbers.
    """

    rows: tuple[Row, ...]
    bands: tuple[Band, ...]
    sections: tuple[Section, ...]
    image_channels: int
    image_top: float
    height: float
    longest: int
    percent: bool
    numbered: bool

    def row_at(self, y: float) -> Row | None:
        """The row at that height, None above and below all rows."""
        return next((row for row in self.rows if row.bottom <= y < row.top), None)

    def length(self, channels: int, size: int) -> float:
        """How long to draw `channels` of a layer of `size`, the longest dense bar being 1."""
        whole = size if self.percent else self.longest
        return channels / whole if whole else 0.0


def layout(graph: ChannelGraph, height: float = HEIGHT) -> Layout:
    """The geometry of a graph's bars; many layers make it higher than `height`, not thinner than 9 px a row."""
    count = len(graph.layers)
    pitch = min(max((height - TOP - IMAGE_PITCH) / max(count, 1), LOWEST_PITCH), HIGHEST_PITCH)
    places = _places(graph)
    apart = {group for group, where in places.items() if where[-1] - where[0] >= len(where)}
    rows = tuple(
        _row(graph, layer, index, IMAGE_PITCH + index * pitch, pitch, places, apart)
        for index, layer in enumerate(graph.layers)
    )
    bands = tuple(
        Band(group, graph.group(group).size, rows[where[0]].bottom, rows[where[-1]].top)
        for group, where in places.items()
        if group in apart
    )
    sizes = [row.size for row in rows if row.prunable] or [row.size for row in rows]
    longest = max((row.size for row in rows), default=1)
    return Layout(
        rows,
        bands,
        _sections([row.name for row in rows]),
        graph.input_shape[0],
        IMAGE_PITCH,
        max(height, IMAGE_PITCH + count * pitch + TOP),
        longest,
        percent=min(sizes, default=1) / longest * BAR_PIXELS < NARROWEST_BAR,
        numbered=_roomy(rows),
    )


def _main_group(graph: ChannelGraph, layer: Layer) -> str:
    """Id of the group that most of the layer's outputs belong to; "" if they belong to none."""
    indices = layer.out_units[:, 0]
    indices = indices[indices >= 0].tolist()
    return graph.groups[Counter(indices).most_common(1)[0][0]].id if indices else ""


def _places(graph: ChannelGraph) -> dict[str, list[int]]:
    places: dict[str, list[int]] = {}
    for index, layer in enumerate(graph.layers):
        if group := _main_group(graph, layer):
            places.setdefault(group, []).append(index)
    return places


def _row(
    graph: ChannelGraph,
    layer: Layer,
    index: int,
    bottom: float,
    pitch: float,
    places: dict[str, list[int]],
    apart: set[str],
) -> Row:
    group_id = _main_group(graph, layer)
    group = graph.group(group_id) if group_id else None
    indices = layer.out_units[:, 0]
    parts = tuple(
        (graph.groups[place].id, layer.out_units[indices == place, 1])
        for place in sorted(set(indices.tolist()) - {-1})
    )
    others = [place for place in places.get(group_id, []) if place != index]
    return Row(
        name=layer.name,
        words=words(layer),
        group=group_id,
        size=len(layer.out_units),
        fixed=int((indices < 0).sum()),
        parts=parts,
        bottom=bottom,
        top=bottom + pitch,
        thin=group_id in apart or bool(others and min(others) < index),
        banded=group_id in apart,
        prunable=bool(group and group.prunable),
        reason=group.reason if group else "its channels belong to no group",
        tied=tuple(graph.layers[place].name for place in others),
    )


def words(layer: Layer) -> str:
    """A layer in short: kernel, channels in and out, size of the maps, e.g. "3×3 · 32 → 64 · 14×14"."""
    kernel = "×".join(str(side) for side in layer.kernel) or layer.kind
    maps = "×".join(str(side) for side in layer.out_shape[1:])
    channels = f"{layer.in_shape[0]} → {layer.out_shape[0]}"
    return " · ".join(part for part in (kernel, channels, maps) if part)


def _sections(names: Sequence[str]) -> tuple[Section, ...]:
    """Rows by the first part of the module name; by two parts where one would hold most of the network."""
    heads = [name.split(".")[0] for name in names]
    most = Counter(heads)
    crowded = {head for head, count in most.items() if count > 8 and count > 0.6 * len(names)}
    keys = [
        ".".join(name.split(".")[:2]) if head in crowded else head
        for name, head in zip(names, heads, strict=True)
    ]
    starts = [place for place, key in enumerate(keys) if place == 0 or keys[place - 1] != key]
    ends = [*starts[1:], len(keys)]
    return tuple(Section(keys[start], (start, end)) for start, end in zip(starts, ends, strict=True))


def _roomy(rows: Sequence[Row]) -> bool:
    middles = [row.middle for row in rows if row.prunable and not row.thin]
    gaps = (upper - lower for lower, upper in pairwise(middles))
    return min(gaps, default=LABEL_PITCH) >= LABEL_PITCH - 0.5
