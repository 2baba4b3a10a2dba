"""Where to put words beside points so that they cover neither points nor other words."""

from collections.abc import Sequence

Place = tuple[float, float, str, str]
"""Where a text goes: x, y, the text, and how it is aligned there."""

_Box = tuple[float, float, float, float]
_ALIGN = {"right": "left", "left": "right", "above": "center", "below": "center"}


class Labels:
    """Places labels one after the other in a plot `pixels` wide, whose x goes from 0 to 1; y is pixels.

    Widths of texts are estimated; where a plot is drawn wider there is only more room.
    """

    LETTER = 6.9  # pixels of an average letter of 13 px text
    LINE = 14.0

    def __init__(self, pixels: float) -> None:
        self._pixels = pixels
        self._taken: list[_Box] = []

    def avoid(self, x: float, y: float, half: float) -> None:
        """Keep labels off a mark of 2 x `half` pixels."""
        middle = x * self._pixels
        self._taken.append((middle - half, y - half, middle + half, y + half))

    def avoid_span(self, x: float, low: float, high: float, half: float) -> None:
        """Keep labels off something upright, 2 x `half` pixels wide."""
        middle = x * self._pixels
        self._taken.append((middle - half, low, middle + half, high))

    def avoid_text(self, x: float, y: float, text: str, align: str) -> None:
        """Keep labels off a text that has its place."""
        self._taken.append(self._box((x, y, text, align)))

    def avoid_line(self, y: float) -> None:
        """Keep labels off a line across the plot."""
        self._taken.append((0.0, y - 3, self._pixels, y + 3))

    def beside(
        self, spots: Sequence[tuple[float, float]], text: str, sides: Sequence[str], gap: float
    ) -> Place:
        """A place beside one of `spots` (x, y): the emptiest, and of equally empty ones the first.

        A side is "right", "left", "above", "below", or two of them, such as "above right".
        """
        places = [self._place(x, y, text, side, gap) for x, y in spots for side in sides]
        boxes = [self._box(place) for place in places]
        best = min(range(len(boxes)), key=lambda place: (self._cost(boxes[place]), place))
        self._taken.append(boxes[best])
        return places[best]

    def _place(self, x: float, y: float, text: str, side: str, gap: float) -> Place:
        vertical, _, horizontal = side.rpartition(" ")
        align = _ALIGN[horizontal]
        step = {"left": gap, "right": -gap, "center": 0.0}[align] / self._pixels
        rise = {"above": 1, "below": -1}.get(vertical or horizontal, 0) * (gap + self.LINE / 2)
        return x + step, y + rise, text, align

    def _box(self, place: Place) -> _Box:
        x, y, text, align = place
        width = len(text) * self.LETTER
        left = x * self._pixels - width * {"left": 0.0, "center": 0.5, "right": 1.0}[align]
        return left, y - self.LINE / 2, left + width, y + self.LINE / 2

    def _cost(self, box: _Box) -> float:
        """Square pixels of other things covered, and a lot for what leaves the plot."""
        outside = max(0.0, -box[0]) + max(0.0, box[2] - self._pixels - 8)
        covered = sum(_overlap(box, other) for other in self._taken)
        return covered + 1000 * outside


def _overlap(one: _Box, other: _Box) -> float:
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    return max(wide, 0.0) * max(high, 0.0)
