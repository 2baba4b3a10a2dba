"""Numbers as people read them, texts made safe for HTML, and widgets shown, hidden or filled by a class."""

from html import escape

from ipywidgets import DOMWidget

from explorer.strings import Strings
from explorer.values import Latency

_STEPS = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


def percent(share: float) -> str:
    """A share as whole percent; what is more than nothing never reads 0."""
    value = 100 * share
    return "<1 %" if 0 < value < 0.5 else f"{value:.0f} %"


def part_of(strings: Strings, now: float, whole: float, unit: str = "") -> str:
    """Two amounts in the whole's unit: "24.6 of 41.2 M", "141 of 272 k".

    A small part of a large whole has a decimal more ("0.4 of 272 k") and is never 0 by rounding.
    """
    step, letter = _step(whole)
    places = _places(whole / step) if step > 1 else 0
    small = max(places, 1) if step > 1 and now / step < 9.95 else places
    if now and not float(f"{now / step:.{small}f}"):
        return strings("amount_of", now=amount_of(now, unit).rstrip(), whole=amount_of(whole, unit).rstrip())
    in_unit = f"{whole / step:,.{places}f} {letter}{unit}".rstrip()
    return strings("amount_of", now=f"{now / step:,.{small}f}", whole=in_unit)


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


def time_of(strings: Strings, now: float, dense: float | None = None) -> str:
    """One or two durations in seconds as short milliseconds: "1.9 of 6.3 ms", "0.66 of 0.85 ms", "214 ms"."""
    whole = 1000 * (now if dense is None else dense)
    places = 2 if whole < 1 else 1 if whole < 100 else 0
    text = f"{1000 * now:.{places}f}"
    return f"{text} ms" if dense is None else strings("time_of", now=text, whole=f"{whole:.{places}f}")


def _places(value: float) -> int:
    return 2 if value < 10 else 1 if value < 100 else 0


def tag(css: str, text: str, help_text: str = "") -> str:
    """A span of text, with a tooltip if there is help."""
    title = f' title="{escape(help_text)}"' if help_text else ""
    return f'<span class="{css}"{title}>{escape(text)}</span>'


def latency_help(strings: Strings, dense: Latency, now: Latency) -> str:
    """How a pair of latencies was measured, with quartiles."""
    spread = {"low": now.low, "high": now.high, "dense_low": dense.low, "dense_high": dense.high}
    words = {name: duration(seconds) for name, seconds in spread.items()}
    return strings("latency_help", runs=now.runs, batch=now.batch, **words)


def shown(widget: DOMWidget, on: bool) -> None:
    """Show a widget or take it out of the page's layout and tab order."""
    classed(widget, "pe-shut", not on)


def filled(widget: DOMWidget, on: bool) -> None:
    """Draw a button as chosen, or not."""
    classed(widget, "pe-on", on)


def classed(widget: DOMWidget, css: str, on: bool) -> None:
    """Give a widget a class, or take it away."""
    if on:
        widget.add_class(css)
    else:
        widget.remove_class(css)
