"""The picture of the width bars: one bar per layer, the input at the bottom, as a self-contained SVG."""

from dataclasses import dataclass
from xml.sax.saxutils import escape

import numpy as np

from explorer.values import ChannelGraph, Layer, Plan

KEPT, REMOVED, FIXED, INK, SOFT = "#0072b2", "#8298aa", "#8b96a1", "#1f2933", "#5f6b78"  # Okabe & Ito's blue
WIDTH, LEFT, LONGEST, MARGIN = 800, 190, 340, 16
PITCH, TOP, SIZE = 21, 76, 13
NARROWEST = 40  # pixels; below it every bar is drawn to its own 100 %
LONGEST_NAME = 24  # characters that fit beside the bars


@dataclass(frozen=True)
class Bar:
    """A layer's width: `kept` of `size` output channels. `note` says why it is not free."""

    name: str
    kept: int
    size: int
    prunable: bool
    note: str

    @property
    def label(self) -> str:
        number = f"{self.kept} of {self.size}" if self.prunable else f"{self.size}"
        return f"{number}, {self.note}" if self.note else number


def bars(graph: ChannelGraph, plan: Plan) -> list[Bar]:
    """One bar per layer in execution order."""
    first: dict[str, str] = {}
    result = []
    for layer in graph.layers:
        kept = _kept(graph, plan, layer)
        owners = [graph.groups[place] for place in sorted(set(layer.out_units[:, 0].tolist())) if place >= 0]
        prunable = any(group.prunable for group in owners)
        note = "" if prunable else "not pruned"
        if prunable and len(owners) == 1:
            other = first.setdefault(owners[0].id, layer.name)
            note = "" if other == layer.name else f"as {_short(other)}"
        result.append(Bar(layer.name, kept, len(layer.out_units), prunable, note))
    return result


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else "…" + name[-LONGEST_NAME + 1 :]


def _kept(graph: ChannelGraph, plan: Plan, layer: Layer) -> int:
    """How many of the layer's outputs are kept."""
    kept = len(layer.out_units)
    for place in np.unique(layer.out_units[:, 0]):
        if place >= 0 and graph.groups[place].prunable:
            units = layer.out_units[layer.out_units[:, 0] == place, 1]
            kept -= int((~plan.keep[graph.groups[place].id][units]).sum())
    return kept


def _text(
    x: float,
    y: float,
    text: str,
    fill: str = INK,
    anchor: str = "start",
    size: int = SIZE,
    bold: bool = False,
) -> str:
    weight = ' font-weight="600"' if bold else ""
    return (
        f'<text x="{x:g}" y="{y:g}" font-size="{size}" fill="{fill}" text-anchor="{anchor}"{weight}>'
        f"{escape(text)}</text>"
    )


def _row(bar: Bar, top: float, scale: float) -> str:
    middle = top + PITCH / 2
    thin = bar.note.startswith("as ")
    height = 7 if thin else 13
    y = middle - height / 2
    kept, whole = bar.kept * scale, bar.size * scale
    fill = KEPT if bar.prunable else FIXED
    parts = [_text(LEFT - 10, middle + 4.5, _short(bar.name), anchor="end")]
    if bar.kept < bar.size:
        parts.append(
            f'<rect class="removed" x="{LEFT + kept:.2f}" y="{y:g}" width="{whole - kept:.2f}" '
            f'height="{height}" fill="none" stroke="{REMOVED}" stroke-dasharray="4 3"/>'
        )
    parts.append(
        f'<rect class="kept" x="{LEFT}" y="{y:g}" width="{kept:.2f}" height="{height}" fill="{fill}"/>'
    )
    parts.append(_text(LEFT + whole + 10, middle + 4.5, bar.label, SOFT if thin or not bar.prunable else INK))
    return f"<g><title>{escape(f'{bar.name}: {bar.label}')}</title>{''.join(parts)}</g>"


def svg(rows: list[Bar], title: str, subtitle: str, image: str) -> str:
    """The picture as SVG text; `image` names the input, e.g. "image 1 × 28 × 28"."""
    longest = max(bar.size for bar in rows)
    narrowest = min((bar.size for bar in rows if bar.prunable), default=longest)
    percent = narrowest / longest * LONGEST < NARROWEST
    height = TOP + PITCH * (len(rows) + 1) + MARGIN
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" role="img"',
        f'  viewBox="0 0 {WIDTH} {height}" font-family="system-ui, sans-serif">',
        f"<title>{escape(f'{title}. {subtitle}')}</title>",
        f"<desc>{escape('; '.join(f'{bar.name}: {bar.label}' for bar in rows))}</desc>",
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        _text(MARGIN, 26, title, size=16, bold=True),
        _text(MARGIN, 46, subtitle, SOFT),
        _text(
            LEFT,
            66,
            "kept: solid, removed: dashed" + (" (every bar to its own 100 %)" if percent else ""),
            SOFT,
            size=12,
        ),
    ]
    for place, bar in enumerate(rows):
        scale = LONGEST / (bar.size if percent else longest)
        lines.append(_row(bar, TOP + PITCH * (len(rows) - 1 - place), scale))
    lines.append(_text(LEFT - 10, TOP + PITCH * (len(rows) + 0.5) + 4.5, image, SOFT, "end"))
    return "\n".join([*lines, "</svg>", ""])
