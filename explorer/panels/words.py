"""Numbers as people read them, and texts made safe for HTML."""

from html import escape

_STEPS = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


def percent(share: float) -> str:
    """A share as whole percent; what is more than nothing never reads 0."""
    value = 100 * share
    return "<1 %" if 0 < value < 0.5 else f"{value:.0f} %"


def part_of(now: float, whole: float, unit: str = "") -> str:
    """Two amounts in the whole's unit: "24.6 of 41.2 M", "141 of 272 k"."""
    step, letter = _step(whole)
    places = _places(whole / step) if step > 1 else 0
    return f"{now / step:,.{places}f} of {whole / step:,.{places}f} {letter}{unit}".rstrip()


def amount_of(value: float, unit: str) -> str:
    """One amount in three digits: "622 kB", "1.11 MB"."""
    step, letter = _step(value)
    places = _places(value / step) if step > 1 else 0
    return f"{value / step:,.{places}f} {letter}{unit}"


def _step(value: float) -> tuple[float, str]:
    return next(((size, name) for size, name in _STEPS if value >= size), (1.0, ""))


def duration(seconds: float) -> str:
    """Milliseconds in three digits: "0.66 ms", "21.4 ms"."""
    value = 1000 * seconds
    return f"{value:.{_places(value)}f} ms"


def time_of(now: float, dense: float) -> str:
    """Two durations in seconds as milliseconds: "0.66 of 0.85 ms"."""
    places = _places(1000 * dense)
    return f"{1000 * now:.{places}f} of {1000 * dense:.{places}f} ms"


def _places(value: float) -> int:
    return 2 if value < 10 else 1 if value < 100 else 0


def tag(css: str, text: str, help_text: str = "") -> str:
    """A span of text, with a tooltip if there is help."""
    title = f' title="{escape(help_text)}"' if help_text else ""
    return f'<span class="{css}"{title}>{escape(text)}</span>'
