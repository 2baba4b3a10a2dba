"""The picture of the width bars: one bar per layer, the input at the bottom, as a self-contained SVG."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from explorer.export.drawing import picture, rect, text, titled
from explorer.export.table import accuracy_text, counted
from explorer.values import ChannelGraph, Cost, Estimate, Layer, Plan, Recovery
from explorer.zoo import Network

WIDTH, LEFT, LONGEST, MARGIN = 800, 190, 340, 16
PITCH, TOP = 21, 76
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


def _row(bar: Bar, top: float, scale: float) -> str:
    middle = top + PITCH / 2
    thin = bar.note.startswith("as ")
    height = 7 if thin else 13
    y = middle - height / 2
    kept, whole = bar.kept * scale, bar.size * scale
    parts = [text(LEFT - 10, middle + 4.5, _short(bar.name), anchor="end")]
    if bar.kept < bar.size:
        parts.append(rect("removed", LEFT + kept, y, whole - kept, height, outlined=True))
    parts.append(rect("kept" if bar.prunable else "fixed", LEFT, y, kept, height))
    role = "soft" if thin or not bar.prunable else "ink"
    parts.append(text(LEFT + whole + 10, middle + 4.5, bar.label, role))
    return titled(f"{bar.name}: {bar.label}", *parts)


def drawn(rows: list[Bar], image: str, top: float) -> Iterator[str]:
    """The bars and what they mean, from `top` down; they take `height_of(rows)`."""
    longest = max(bar.size for bar in rows)
    narrowest = min((bar.size for bar in rows if bar.prunable), default=longest)
    percent = narrowest / longest * LONGEST < NARROWEST
    meaning = "kept: solid, removed: dashed" + (" (every bar to its own 100 %)" if percent else "")
    yield text(LEFT, top, meaning, "soft", size=12)
    for place, bar in enumerate(rows):
        scale = LONGEST / (bar.size if percent else longest)
        yield _row(bar, top + 10 + PITCH * (len(rows) - 1 - place), scale)
    yield text(LEFT - 10, top + 10 + PITCH * (len(rows) + 0.5) + 4.5, image, "soft", "end")


def height_of(rows: list[Bar]) -> float:
    """Pixels that `drawn` needs."""
    return 10 + PITCH * (len(rows) + 1)


def described(rows: list[Bar]) -> str:
    """The bars in words."""
    return "; ".join(f"{bar.name}: {bar.label}" for bar in rows)


def share_text(now: Cost, dense: Cost) -> str:
    """What is left, in percent: "59.9 % of MACs, 50.5 % of parameters"."""
    return (
        f"{100 * now.macs / (dense.macs or 1):.1f} % of MACs, "
        f"{100 * now.params / (dense.params or 1):.1f} % of parameters"
    )


def captions(
    name: str,
    now: Cost,
    dense: Cost,
    recovery: Recovery,
    estimate: Estimate | None,
    reference: Estimate | None = None,
) -> tuple[str, str]:
    """Title and subtitle of the picture; `reference` is the dense network's accuracy."""
    subtitle = recovery.label
    if estimate is not None and estimate.seen:
        what = "" if estimate.measure == "accuracy" else f"{counted(estimate)} "
        subtitle += f": {what}{accuracy_text(estimate)} of {estimate.seen:,} explore images"
        if reference is not None:
            subtitle += f", dense {accuracy_text(reference)}"
    return f"{name}: {share_text(now, dense)}", subtitle


def image_name(network: Network) -> str:
    """The input in words, for below the bars: "image 1 × 28 × 28"."""
    return f"image {' × '.join(str(side) for side in network.example.shape[1:])}"


def svg(rows: list[Bar], title: str, subtitle: str, image: str) -> str:
    """The picture as SVG text; `image` names the input, e.g. "image 1 × 28 × 28"."""
    body = [
        text(MARGIN, 26, title, size=16, bold=True),
        text(MARGIN, 46, subtitle, "soft"),
        *drawn(rows, image, TOP - 10),
    ]
    height = TOP - 10 + height_of(rows) + MARGIN
    return picture(WIDTH, height, f"{title}. {subtitle}", described(rows), body)
