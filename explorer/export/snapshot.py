"""The snapshot: the dashboard's main facts as one picture, for readers who open the notebook without a kernel."""

from collections.abc import Iterator

from explorer.export.drawing import picture, text
from explorer.export.picture import Bar, bars, described, drawn, height_of, image_name
from explorer.export.table import counted, divergence_text
from explorer.values import ChannelGraph, Cost, Estimate, Plan
from explorer.zoo import Network

WIDTH, MARGIN = 800, 16
COLUMNS = (16, 330, 500, 650)
BARS = 142  # where the bars begin
MOST = 40  # bars: more would be a picture that nobody scrolls through
UNITS = ((1e9, " G"), (1e6, " M"), (1e3, " k"), (1, ""))


def snapshot_svg(
    network: Network,
    graph: ChannelGraph,
    plan: Plan,
    cost: Cost,
    dense_cost: Cost,
    estimate: Estimate | None,
    label: str,
    reference: Estimate | None,
) -> str:
    """The state as SVG, light on a white ground, so that it can be read in any theme.

    `estimate` is its accuracy so far (None: not known), `label` what was done to the weights after cutting,
    in words, `reference` the accuracy that it is compared with. Of more than MOST layers those that lost most
    channels are drawn.
    """
    everything = bars(graph, plan)
    rows = _chosen(everything)
    on = "without images" if network.data is None else f"on {network.data.name}"
    facts = [
        _accuracy(estimate, label, reference),
        _amount("MACs", cost.macs, dense_cost.macs),
        _amount("Parameters", cost.params, dense_cost.params),
        _amount("File", cost.file_bytes, dense_cost.file_bytes, "B"),
    ]
    some = f"the {len(rows)} of {len(everything)} layers that lost most channels"
    body = [
        text(MARGIN, 28, f"{network.name} {on}", size=16, bold=True),
        text(WIDTH - MARGIN, 28, "a snapshot of Pruning Explorer", "soft", "end"),
        *(element for x, fact in zip(COLUMNS, facts, strict=True) for element in _fact(x, *fact)),
        *([text(WIDTH - MARGIN, BARS, some, "soft", "end", 12)] if len(rows) < len(everything) else []),
        *drawn(rows, image_name(network), BARS),
    ]
    said = "; ".join(" ".join(filter(None, fact)) for fact in facts)
    title = f"{network.name} {on}: {said}"
    return picture(WIDTH, BARS + height_of(rows) + MARGIN, title, described(everything), body)


def _chosen(rows: list[Bar]) -> list[Bar]:
    """At most MOST bars, in order: those that lost most channels."""
    if len(rows) <= MOST:
        return rows
    most = sorted(rows, key=lambda bar: bar.kept - bar.size)[:MOST]
    return [bar for bar in rows if bar in most][:MOST]


Fact = tuple[str, str, str, str]
"""Name, number, what stands beside and below it."""


def _accuracy(estimate: Estimate | None, label: str, reference: Estimate | None) -> Fact:
    if estimate is None or not estimate.seen:
        return f"Accuracy, {label}", "–", "", "not known"
    name = f"{counted(estimate).capitalize()}, {label}"
    seen = f"{estimate.seen:,}{'' if estimate.done else f' of {estimate.of:,}'} images"
    if estimate.counts == "agreement":
        seen += f", divergence {divergence_text(estimate)}" if estimate.divergence is not None else ""
    elif reference is not None and reference.seen and reference.counts == "accuracy":
        seen += f", reference {reference.digits(reference.value)}{reference.unit}"
    interval = f"{estimate.digits(estimate.low)} to {estimate.digits(estimate.high)}"
    interval = "by definition" if estimate.counts == "itself" else interval
    return name, f"{estimate.digits(estimate.value)}{estimate.unit}", interval, seen


def _amount(name: str, now: int, whole: int, unit: str = "") -> Fact:
    size, letter = next((size, letter) for size, letter in UNITS if whole >= size or size == 1)
    places = 1 if size > 1 else 0
    beside = f"{now / size:,.{places}f} of {whole / size:,.{places}f}{letter}{unit}"
    return name, f"{100 * now / (whole or 1):.1f} %", "", beside


def _fact(x: float, name: str, number: str, beside: str, below: str) -> Iterator[str]:
    yield text(x, 60, name, "soft")
    yield text(x, 85, number, size=22, bold=True)
    if beside:
        yield text(x + 15 * len(number) + 4, 85, beside, "soft")
    yield text(x, 104, below, "soft")
