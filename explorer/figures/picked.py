"""Which channels the one or two picked images keep of a layer, as cells of its bar, and which colour says whose.

What the only or both images keep fills the bar's height, what only the first keeps its upper half, what only the
second keeps its lower half: position tells them apart as colour does.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from explorer.figures.shown import Shown
from explorer.figures.text_lines import pixels_of
from explorer.strings import Strings
from explorer.values import Bools

ROLES = {"both": "kept", "first": "first", "second": "second"}
MOST_CELLS = (
    256  # across a bar; of more channels, neighbours share a cell that is as opaque as many of them are kept
)
SHADES = 8  # steps of that opacity, or hardly any neighbours could be drawn as one
SWATCH = 11.0  # pixels, of the key
GAP = 5.0  # between a swatch and its text
APART = 14.0  # between the texts of the key


class Cell(NamedTuple):
    """Channels from `start` up to `end`, of which the share `kept` in (0, 1] is drawn; whose: a name of ROLES."""

    whose: str
    start: int
    end: int
    kept: float


def parts(masks: Sequence[Bools]) -> dict[str, Bools]:
    """What the picked images keep of one layer, by the names of ROLES; of a single image all is "both"."""
    if len(masks) == 1:
        return {"both": masks[0]}
    one, other = masks
    return {"both": one & other, "first": one & ~other, "second": ~one & other}


def cells(masks: Sequence[Bools]) -> Iterator[Cell]:
    """The cells of a layer's bar, neighbours of one kind merged."""
    for whose, mask in parts(masks).items():
        step = -(-len(mask) // MOST_CELLS) or 1
        starts = np.arange(0, len(mask), step)
        kept = np.add.reduceat(mask.astype(np.float64), starts) / np.diff([*starts, len(mask)])
        if step > 1:
            kept = np.ceil(kept * SHADES) / SHADES
        for first, last in _runs(kept):
            if kept[first] > 0:
                yield Cell(whose, first * step, min(last * step, len(mask)), float(kept[first]))


def _runs(values: NDArray[np.float64]) -> Iterator[tuple[int, int]]:
    """First place and end of all runs of equal values."""
    ends = [*(np.flatnonzero(np.diff(values)) + 1).tolist(), len(values)]
    yield from zip([0, *ends], ends, strict=False)


def counts(masks: Sequence[Bools]) -> dict[str, int]:
    """How many channels each of `parts` has, and the layer's as "size"."""
    return {"size": len(masks[0]), **{whose: int(mask.sum()) for whose, mask in parts(masks).items()}}


def number(masks: Sequence[Bools]) -> str:
    """How many channels each image keeps, to stand beside the bar."""
    return ", ".join(str(int(mask.sum())) for mask in masks)


def hover(masks: Sequence[Bools], strings: Strings) -> str:
    """What stands beside the pointer at the bar."""
    return strings("bars_picked_one" if len(masks) == 1 else "bars_picked_two", **counts(masks))


def say(name: str, masks: Sequence[Bools], strings: Strings) -> str:
    """A layer in a sentence."""
    key = "bars_say_picked_one" if len(masks) == 1 else "bars_say_picked_two"
    return strings(key, name=name, **counts(masks))


def key(shown: Shown, end: float, strings: Strings) -> list[dict[str, object]]:
    """The swatches that say whose a colour is, from left to right, the last text ending at `end` (in pixels)."""
    masks = next(iter(shown.instances.values()), ())
    if not masks:
        return []
    names = ["both"] if len(masks) == 1 else ["first", "second", "both"]
    texts = [strings("bars_key_one") if len(masks) == 1 else strings(f"bars_key_{name}") for name in names]
    left = end - sum(SWATCH + GAP + pixels_of(text) + APART for text in texts) + APART
    found: list[dict[str, object]] = []
    for name, text in zip(names, texts, strict=True):
        found.append(
            {"whose": name, "left": left, "right": left + SWATCH, "x": left + SWATCH + GAP, "text": text}
        )
        left += SWATCH + GAP + pixels_of(text) + APART
    return found
