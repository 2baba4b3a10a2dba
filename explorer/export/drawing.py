"""Pieces of SVG by role: every element has its role as a class, and the role's light colour as an attribute.

Alone, a picture is therefore light; a page that holds it repaints the roles in its own style sheet.
"""

from collections.abc import Iterable
from xml.sax.saxutils import escape, quoteattr

COLOURS = {
    "ground": "#ffffff",
    "ink": "#1f2933",
    "soft": "#5f6b78",
    "line": "#d9dee4",
    "kept": "#0072b2",  # Okabe & Ito 2008, as the figures
    "removed": "#8298aa",
    "fixed": "#8b96a1",
    "chosen": "#e69f00",
}
SIZE = 13


def text(
    x: float,
    y: float,
    words: str,
    role: str = "ink",
    anchor: str = "start",
    size: int = SIZE,
    bold: bool = False,
) -> str:
    """Words with their baseline at (x, y); `anchor` is start, middle or end."""
    weight = ' font-weight="600"' if bold else ""
    return (
        f'<text class="{role}" x="{x:g}" y="{y:g}" font-size="{size}" fill="{COLOURS[role]}" '
        f'text-anchor="{anchor}"{weight}>{escape(words)}</text>'
    )


def rect(role: str, x: float, y: float, width: float, height: float, outlined: bool = False) -> str:
    """A filled rectangle, or a dashed outline."""
    paint = (
        f'fill="none" stroke="{COLOURS[role]}" stroke-dasharray="4 3"'
        if outlined
        else f'fill="{COLOURS[role]}"'
    )
    return f'<rect class="{role}" x="{x:.2f}" y="{y:g}" width="{width:.2f}" height="{height:g}" {paint}/>'


def line(role: str, x1: float, y1: float, x2: float, y2: float, width: float = 1) -> str:
    """A straight line."""
    return (
        f'<line class="{role}" x1="{x1:.2f}" y1="{y1:.2f}" x2="{x2:.2f}" y2="{y2:.2f}" '
        f'stroke="{COLOURS[role]}" stroke-width="{width:g}"/>'
    )


def titled(title: str, *parts: str) -> str:
    """A group of elements with a tooltip."""
    return f"<g><title>{escape(title)}</title>{''.join(parts)}</g>"


def picture(width: int, height: float, title: str, description: str, body: Iterable[str]) -> str:
    """A whole SVG on its own ground. `title` and `description` are what a screen reader says."""
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height:g}" role="img"',
        f'  aria-label={quoteattr(title)} viewBox="0 0 {width} {height:g}" font-family="system-ui, sans-serif">',
        f"<title>{escape(title)}</title>",
        f"<desc>{escape(description)}</desc>",
        f'<rect class="ground" width="{width}" height="{height:g}" fill="{COLOURS["ground"]}"/>',
        *body,
    ]
    return "\n".join([*lines, "</svg>", ""])
