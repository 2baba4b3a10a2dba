"""Which layers are shown one by one and which are folded together, when not all have room.

Blocks are runs of consecutive layers by the parts of their module names ("layer3", in it "layer3.7"). Where a
block has more than ten children, consecutive ones are put together ("layer3.6–11"), those of one kind of name
first ("inception4a–4b"), so that every level of a network of any length fits on the screen.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise, takewhile

MOST = 10  # children of one block
CHUNKS = 7  # that many are made of more
UNIT = 8  # layers: a block of no more is seen as a whole

Span = tuple[int, int]
"""Layers from the first to one past the last, as places in the graph's order."""


@dataclass(frozen=True)
class Block:
    """Consecutive layers, from `first` to one before `end`; one layer alone has no `blocks` in it.

    `last` is the name of the last block put together, "" for a block that has a name of its own.
    """

    start: str
    first: int
    end: int
    blocks: tuple["Block", ...] = ()
    last: str = ""

    @property
    def name(self) -> str:
        """The common start of the module names, or the first and last of several: "layer3.6–11"."""
        if not self.last:
            return self.start
        same = takewhile(lambda pair: pair[0] == pair[1], zip(self.start, self.last, strict=False))
        common = "".join(letter for letter, _ in same).rstrip("0123456789")
        return f"{self.start}–{self.last[len(common) :]}"

    @property
    def span(self) -> Span:
        return self.first, self.end

    @property
    def several(self) -> int:
        """How many blocks were put together in it; 0 for one that has a name of its own."""
        return sum(block.several or 1 for block in self.blocks) if self.last else 0

    def holds(self, span: Span) -> bool:
        return self.first <= span[0] and span[1] <= self.end

    def walk(self) -> Iterator[tuple[int, "Block"]]:
        """The blocks of several layers inside this one, each with its depth (0 = a child), parents first."""
        for block in self.blocks:
            if block.blocks:
                yield 0, block
                yield from ((depth + 1, inner) for depth, inner in block.walk())

    def around(self, span: Span) -> "Block | None":
        """The smallest block inside this one that holds the span and more than it; None if there is none."""
        for block in self.blocks:
            if block.holds(span) and block.span != span:
                return block.around(span) or block
        return None


@dataclass(frozen=True)
class Item:
    """A block on the screen: `opened`, with a row for each of its layers, or as one bar."""

    block: Block
    opened: bool


def tree(names: Sequence[str]) -> Block:
    """All layers as one block without a name, its children the network's stages."""
    return _grouped(Block("", 0, len(names), stages(names)))


def stages(names: Sequence[str]) -> tuple[Block, ...]:
    """The network's stages, however many there are: the first parts of the names, or what is in a part that
    holds most of the layers."""
    top = _split(names, 0, len(names), 0)
    heads = Counter(name.split(".")[0] for name in names)
    few = len(top) <= 4
    crowded = {head for head, count in heads.items() if few and count > 8 and count > 0.6 * len(names)}
    found: list[Block] = []
    for block in top:
        found.extend(block.blocks if block.name in crowded else [block])
    return tuple(found)


def _split(names: Sequence[str], first: int, end: int, depth: int) -> tuple[Block, ...]:
    """Runs of layers whose names agree in `depth` + 1 parts; the level is skipped if all agree."""

    def key(place: int) -> str:
        return ".".join(names[place].split(".")[: depth + 1])

    runs = [(name, list(places)) for name, places in groupby(range(first, end), key)]
    if len(runs) == 1 and end - first > 1:
        if depth < max(name.count(".") for name in names[first:end]):
            return _split(names, first, end, depth + 1)
        runs = [(runs[0][0], [place]) for place in range(first, end)]  # one module, called several times
    return tuple(
        Block(name, places[0], places[-1] + 1, _split(names, places[0], places[-1] + 1, depth + 1))
        if len(places) > 1
        else Block(name, places[0], places[0] + 1)
        for name, places in runs
    )


def _grouped(block: Block) -> Block:
    """The block with at most ten children at every level."""
    return replace(block, blocks=chunked([_grouped(inner) for inner in block.blocks], MOST, CHUNKS))


def chunked(blocks: Sequence[Block], most: int, chunks: int) -> tuple[Block, ...]:
    """More than `most` blocks as about `chunks`: of one kind of name, unless there are too many kinds."""
    if len(blocks) <= most:
        return tuple(blocks)
    size = math.ceil(len(blocks) / chunks)
    kinds = [list(run) for _name, run in groupby(blocks, lambda block: _kind(block.start))]
    pieces = [piece for run in kinds for piece in _evenly(run, size)]
    return tuple(map(_together, pieces if len(pieces) <= most else _evenly(blocks, size)))


def _kind(name: str) -> str:
    """A name without what counts: "inception4b" -> "inception4", "layer3" -> "layer"."""
    lettered = re.fullmatch(r"(.*\d)[A-Za-z]", name)
    return lettered[1] if lettered else name.rstrip("0123456789")


def _evenly(blocks: Sequence[Block], size: int) -> list[Sequence[Block]]:
    """As few runs of at most `size` as there can be, of about equal length."""
    count = math.ceil(len(blocks) / size)
    ends = [round(len(blocks) * place / count) for place in range(count + 1)]
    return [blocks[start:end] for start, end in pairwise(ends)]


def _together(blocks: Sequence[Block]) -> Block:
    """Consecutive blocks as one."""
    first, last = blocks[0], blocks[-1]
    if first is last:
        return first
    inside = chunked(blocks, MOST, CHUNKS)
    return Block(first.start, first.first, last.end, inside, last.last or last.start)


def shown(root: Block, opened: Span | None, fits: Callable[[Sequence[Item]], bool]) -> tuple[Item, ...]:
    """What to show so that the layers of the span `opened` are seen, as far as there is room.

    All layers if they fit. Else the blocks that hold the span are opened, the others stay folded; where that
    does not fit, those farthest out are folded further, into one before and one after.
    """
    whole = tuple(Item(block, True) for block in root.blocks)
    if fits(whole):
        return whole
    before: list[list[Block]] = []
    after: list[list[Block]] = []
    level = root.blocks
    while True:
        inner = next((block for block in level if opened and block.blocks and block.holds(opened)), None)
        if inner is None:
            return _squeezed(before, [Item(block, False) for block in level], after, fits)
        place = level.index(inner)
        before.append(list(level[:place]))
        after.append(list(level[place + 1 :]))
        rows = _arranged(before, [Item(inner, True)], after)
        if fits(rows):
            return rows
        if inner.end - inner.first <= UNIT or all(not block.blocks for block in inner.blocks):
            return _squeezed(before, [Item(inner, True)], after, fits)
        level = inner.blocks


def _arranged(before: list[list[Block]], middle: list[Item], after: list[list[Block]]) -> tuple[Item, ...]:
    first = (Item(block, False) for blocks in before for block in blocks)
    last = (Item(block, False) for blocks in reversed(after) for block in blocks)
    return (*first, *middle, *last)


def _squeezed(
    before: list[list[Block]],
    middle: list[Item],
    after: list[list[Block]],
    fits: Callable[[Sequence[Item]], bool],
) -> tuple[Item, ...]:
    for side in (0, 1) * len(before):
        if fits(items := _arranged(before, middle, after)):
            return items
        levels = (before, after)[side]
        crowded = next((blocks for blocks in levels if len(blocks) > 1), None)
        if crowded is not None:
            crowded[:] = [_together(crowded)]
    return _arranged(before, middle, after)
