"""Module names in the room that there is: their ends tell layers apart, so it is the beginning that goes."""

from collections.abc import Iterator

# Advance widths of Helvetica Bold in thousandths of the font's size (Adobe Font Metrics); other letters: 611.
_ADVANCES = {
    **dict.fromkeys("ijl.,:;|!'", 278), **dict.fromkeys("-frt()[] ", 333),
    **dict.fromkeys("aceksvxyz0123456789_–", 556), **dict.fromkeys("ABCDGHKNOQRU", 722), "w": 778,
    **dict.fromkeys("mM", 889), "W": 944, "…": 1000, "▾": 850, "▸": 850, "×": 584,
}  # fmt: skip
FONT = 13.0


def width_of(text: str) -> float:
    """About how wide a bold text of 13 px is, in pixels."""
    return sum(_ADVANCES.get(letter, 611) for letter in text) * FONT / 1000


def shortened(name: str, room: float) -> str:
    """The name in at most `room` pixels: without its first parts if the rest fits, else without its first letters.

    "features.denseblock3.denselayer11" -> "…nselayer11".
    """
    if width_of(name) <= room:
        return name
    return next((tail for tail in _tails(name) if width_of(tail) <= room), "…")


def _tails(name: str) -> Iterator[str]:
    """The name's ends after an ellipsis: at every dot, then at every letter of the last part."""
    rest = name
    while "." in rest:
        rest = rest.partition(".")[2]
        yield f"…{rest}"
    for start in range(1, len(rest)):
        yield f"…{rest[start:]}"
