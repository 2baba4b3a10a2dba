"""Where each bar goes: rows in execution order from the bottom, bands of tied layers, folded blocks.

Pure geometry of one graph; the plan only changes how far a bar reaches. Heights are pixels at scale 1; along
the bar, 1 is the longest dense bar.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np

from explorer.figures.folding import Block, Item, Span, shown, tree
from explorer.values import ChannelGraph, ChannelGroup, Ints, Layer

HEIGHT = 308.0
TOP = 2.0
IMAGE_PITCH = 18.0  # the image's bar and the scale
GAP = 4.0  # between blocks
LOWEST_PITCH = 14.0
HIGHEST_PITCH = 100.0
THIN = 0.65  # pitch of a layer that another one's handle moves, in those of a layer with a handle
BAR_PIXELS = 248  # length of the longest bar at the narrowest dashboard
NARROWEST_BAR = 40  # pixels; below it every bar is drawn to its own 100 %


@dataclass(frozen=True, eq=False)
class Row:
    """One layer's bar, from `bottom` to `top` with the space around it; `place` is the layer's in the graph.

    `parts` are the channel groups of its outputs and the units in each, `fixed` its outputs in no group,
    `step` the channels of one unit of its main `group`. `thin`: drawn thin, since the handle of another bar or
    of a band moves the group; `banded`: a band does.
    """

    place: int
    name: str
    words: str
    group: str
    size: int
    fixed: int
    parts: tuple[tuple[str, Ints], ...]
    step: int
    prunable: bool
    reason: str
    tied: tuple[str, ...]
    thin: bool = False
    banded: bool = False
    bottom: float = 0.0
    top: float = 0.0

    @property
    def middle(self) -> float:
        return (self.bottom + self.top) / 2


@dataclass(frozen=True)
class Band:
    """The rectangle of a group whose layers lie apart, with other groups' layers between: a residual sum.

    `grip` is the height of its handle; `row` the layer whose channels it counts.
    """

    group: str
    row: Row
    bottom: float
    top: float
    grip: float


@dataclass(frozen=True)
class Section:
    """A block on the screen. Folded, it is one bar as long as its widest layer, of `size` channels, and moves
    `groups`, its prunable ones; opened, its layers have rows of their own. `fixed` are the reasons of its layers that
    cannot be pruned."""

    block: Block
    opened: bool
    bottom: float
    top: float
    size: int
    groups: tuple[str, ...]
    main: str  # the group of most of its layers; "" if none is prunable
    fixed: tuple[str, ...] = ()

    @property
    def middle(self) -> float:
        return (self.bottom + self.top) / 2

    @property
    def folded(self) -> bool:
        return not self.opened


@dataclass(frozen=True, eq=False)
class Layout:
    """What is on the screen. `percent`: every bar is drawn to its own 100 %; `root`: all blocks of the graph."""

    rows: tuple[Row, ...]
    bands: tuple[Band, ...]
    sections: tuple[Section, ...]
    image_channels: int
    image_top: float
    height: float
    longest: int
    percent: bool
    root: Block
    places: Mapping[str, int]  # layer -> its place in the graph's order

    @property
    def foldable(self) -> bool:
        """Whether anything is folded; if not, all layers have room."""
        return any(section.folded for section in self.sections)

    def row_at(self, y: float) -> Row | None:
        """The row at that height, None outside of all rows."""
        return next((row for row in self.rows if row.bottom <= y < row.top), None)

    def section_at(self, y: float) -> Section | None:
        """The block at that height, None outside of all."""
        return next((section for section in self.sections if section.bottom <= y < section.top), None)

    def length(self, channels: float, size: int) -> float:
        """How long to draw `channels` of a layer of `size`, the longest dense bar being 1."""
        whole = size if self.percent else self.longest
        return channels / whole if whole else 0.0


class Geometry:
    """Lays out one graph. What does not depend on the plan or on what is opened is computed once."""

    def __init__(self, graph: ChannelGraph) -> None:
        self.root = tree([layer.name for layer in graph.layers])
        self.rows = _rows(graph)
        self._places = {row.name: row.place for row in self.rows}
        self._image = graph.input_shape[0]
        sizes = [row.size for row in self.rows if row.prunable] or [row.size for row in self.rows]
        self.longest = max((row.size for row in self.rows), default=1)
        self.narrow = min(sizes, default=1) / self.longest * BAR_PIXELS < NARROWEST_BAR

    def layout(
        self, opened: Span | None = None, percent: bool | None = None, height: float = HEIGHT
    ) -> Layout:
        """The screen with the block of the span `opened` unfolded.

        `percent` None: every bar to its own 100 % where the narrowest would be under 40 pixels long.
        """
        room = height - IMAGE_PITCH - GAP - TOP

        def fits(items: Sequence[Item]) -> bool:
            return LOWEST_PITCH * sum(self._weights(items)) + GAP * (len(items) - 1) <= room

        items = shown(self.root, opened, fits)
        weight, gaps = sum(self._weights(items)), GAP * max(len(items) - 1, 0)
        pitch = min((room - gaps) / max(weight, 1.0), HIGHEST_PITCH)
        rows, sections = self._placed(items, pitch)
        bands = tuple(
            _band(group, [rows[place] for place in run], rows, sections)
            for group, run in _runs(rows)
            if _apart(run)
        )
        return Layout(
            rows=rows,
            bands=bands,
            sections=sections,
            image_channels=self._image,
            image_top=IMAGE_PITCH,
            height=height,
            longest=self.longest,
            percent=self.narrow if percent is None else percent,
            root=self.root,
            places=self._places,
        )

    def _visible(self, items: Sequence[Item]) -> list[Row]:
        """The rows of unfolded layers, told whether they are thin: the first of a group has its handle."""
        rows = [
            self.rows[place]
            for item in items
            if item.opened or not item.block.blocks
            for place in range(*item.block.span)
        ]
        marked = [replace(row, thin=False, banded=False) for row in rows]
        for _group, run in _runs(rows):
            apart = _apart(run)
            for place in run if apart else run[1:]:
                marked[place] = replace(marked[place], thin=True, banded=apart)
        return marked

    def _weights(self, items: Sequence[Item]) -> list[float]:
        folded = sum(1 for item in items if not item.opened and item.block.blocks)
        return [1.0] * folded + [THIN if row.thin else 1.0 for row in self._visible(items)]

    def _placed(self, items: Sequence[Item], pitch: float) -> tuple[tuple[Row, ...], tuple[Section, ...]]:
        visible = iter(self._visible(items))
        rows: list[Row] = []
        sections: list[Section] = []
        y = IMAGE_PITCH + GAP
        for item in items:
            bottom, opened = y, item.opened or not item.block.blocks
            if opened:
                for _place in range(*item.block.span):
                    row = next(visible)
                    rows.append(replace(row, bottom=y, top=y + pitch * (THIN if row.thin else 1.0)))
                    y = rows[-1].top
            else:
                y += pitch
            sections.append(self._section(item.block, opened, bottom, y))
            y += GAP
        return tuple(rows), tuple(sections)

    def _section(self, block: Block, opened: bool, bottom: float, top: float) -> Section:
        rows = self.rows[slice(*block.span)]
        groups = Counter(row.group for row in rows if row.prunable)
        main = groups.most_common(1)[0][0] if groups else ""
        fixed = tuple(row.reason for row in rows if not row.prunable)
        return Section(block, opened, bottom, top, max(row.size for row in rows), tuple(groups), main, fixed)


def _runs(rows: Sequence[Row]) -> list[tuple[str, list[int]]]:
    """For every group, its rows (as places in `rows`), apart where folded layers lie between."""
    runs: list[tuple[str, list[int]]] = []
    pieces = groupby(range(len(rows)), key=lambda place: rows[place].place - place)
    for _shift, piece in pieces:
        groups: dict[str, list[int]] = {}
        for place in piece:
            if rows[place].group:
                groups.setdefault(rows[place].group, []).append(place)
        runs.extend(groups.items())
    return runs


def _apart(run: Sequence[int]) -> bool:
    return run[-1] - run[0] >= len(run)


def _band(group: str, members: Sequence[Row], rows: Sequence[Row], sections: Sequence[Section]) -> Band:
    """From its first to its last layer; from the start of their block, if no other sum begins below it."""
    bottom, top = members[0].bottom, members[-1].top
    section = next(section for section in sections if section.bottom <= members[-1].bottom < section.top)
    below = [row for row in rows if section.bottom <= row.bottom < bottom]
    if not any(row.banded for row in below):
        bottom = min(bottom, section.bottom)
    return Band(group, members[0], bottom, top, members[len(members) // 2].middle)


def main_group(graph: ChannelGraph, layer: Layer) -> ChannelGroup | None:
    """The group that most of the layer's outputs belong to; None if they belong to none."""
    indices = layer.out_units[:, 0]
    indices = indices[indices >= 0]
    return graph.groups[int(np.bincount(indices).argmax())] if len(indices) else None


def _rows(graph: ChannelGraph) -> tuple[Row, ...]:
    mains = [main_group(graph, layer) for layer in graph.layers]
    groups = [group.id if group else "" for group in mains]
    tied: dict[str, list[str]] = {}
    for layer, group in zip(graph.layers, groups, strict=True):
        tied.setdefault(group, []).append(layer.name)
    return tuple(_row(graph, place, layer, groups[place], tied) for place, layer in enumerate(graph.layers))


def _row(
    graph: ChannelGraph, place: int, layer: Layer, group_id: str, tied: Mapping[str, Sequence[str]]
) -> Row:
    group = graph.group(group_id) if group_id else None
    indices = layer.out_units[:, 0]
    parts = tuple(
        (graph.groups[index].id, layer.out_units[indices == index, 1])
        for index in np.unique(indices[indices >= 0]).tolist()
    )
    return Row(
        place=place,
        name=layer.name,
        words=words(layer),
        group=group_id,
        size=len(layer.out_units),
        fixed=int((indices < 0).sum()),
        parts=parts,
        step=len(dict(parts)[group_id]) // group.size if group else 1,
        prunable=bool(group and group.prunable),
        reason=group.reason if group else "",
        tied=tuple(name for name in tied[group_id] if name != layer.name) if group else (),
    )


def words(layer: Layer) -> str:
    """A layer in short: kernel, channels in and out, size of the maps, e.g. "3×3 · 32 → 64 · 14×14".

    Linear layers have their channels last, behind the tokens or the sides of the maps.
    """
    last = layer.kind == "linear"
    channel = -1 if last else 0
    kernel = "×".join(str(side) for side in layer.kernel) or layer.kind
    maps = "×".join(str(side) for side in (layer.out_shape[:-1] if last else layer.out_shape[1:]))
    channels = f"{layer.in_shape[channel]} → {layer.out_shape[channel]}"
    return " · ".join(part for part in (kernel, channels, maps) if part)
