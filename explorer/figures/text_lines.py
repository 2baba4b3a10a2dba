"""Text in lines: a chart's texts do not wrap by themselves."""

from itertools import groupby
from unicodedata import east_asian_width

from explorer.figures.names import width_of

WIDE = 13.0  # pixels of a Chinese, Japanese or Korean character at 13 px
CLOSING = "、。，．）」』：；！？"  # what begins no line


def pixels_of(text: str) -> float:
    """About how wide a text of 13 px is, as if it were bold: a plain one is a little narrower."""
    return sum(WIDE if _is_wide(letter) else width_of(letter) for letter in text)


def lines_of(text: str, pixels: float) -> list[str]:
    """The text in lines of at most that width, broken at spaces or, where there are none, between wide characters.

    A word that is wider than a line has one of its own.
    """
    lines = [""]
    for piece in _pieces(text):
        if lines[-1].strip() and pixels_of((lines[-1] + piece).rstrip()) > pixels:
            lines.append("")
        lines[-1] += piece.lstrip() if not lines[-1] else piece
    return [line.rstrip() for line in lines]


def clipped(text: str, pixels: float) -> str:
    """The text, or its beginning and an ellipsis that are at most that wide."""
    if pixels_of(text) <= pixels:
        return text
    while text and pixels_of(f"{text}…") > pixels:
        text = text[:-1]
    return f"{text.rstrip()}…"


def _pieces(text: str) -> list[str]:
    """Parts that stay together: a word with the space before it, or one wide character with what closes it."""
    found: list[str] = []
    for wide, group in groupby(text, _is_ideograph):
        letters = "".join(group)
        if not wide:
            words = letters.split(" ")
            found += [words[0], *(f" {word}" for word in words[1:])]
            continue
        for letter in letters:
            if found and letter in CLOSING:
                found[-1] += letter
            else:
                found.append(letter)
    return [piece for piece in found if piece]


def _is_wide(letter: str) -> bool:
    return east_asian_width(letter) in "WF"


def _is_ideograph(letter: str) -> bool:
    """Whether a line may end before it: Korean, though as wide, is written in words."""
    return _is_wide(letter) and not "가" <= letter <= "힣"
