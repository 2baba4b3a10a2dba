"""A report as text: dense, now and their ratio, in columns."""

from collections.abc import Iterator

import torch

from explorer.allocate import ALLOCATIONS
from explorer.costs import COSTS
from explorer.criteria import CRITERIA
from explorer.export.report import DEFINITIONS, MEASURES, Report
from explorer.values import Estimate, Latency, Proof, Request

Row = tuple[str, str, str, str]
HEAD: Row = ("", "dense", "now", "now / dense")


def counted(estimate: Estimate) -> str:
    """What the estimate is of, in words."""
    return estimate.measure if estimate.counts == "accuracy" else "agreement with dense"


def divergence_text(estimate: Estimate) -> str:
    """The divergence, e.g. "0.031 nats"; "" of an accuracy."""
    if estimate.divergence is None:
        return ""
    return "0 (by definition)" if estimate.counts == "itself" else f"{estimate.divergence:.3g} nats"


def accuracy_text(estimate: Estimate) -> str:
    """The value with its interval, e.g. "84.1 % (82.4 to 85.6)"."""
    if estimate.counts == "itself":
        return "100 % (by definition)"
    value, low, high = (estimate.digits(each) for each in (estimate.value, estimate.low, estimate.high))
    return f"{value}{estimate.unit} ({low} to {high})"


def latency_text(latency: Latency) -> str:
    """Milliseconds with the quartiles, e.g. "3.41 ms (3.30 to 3.62)"."""
    low, median, high = (f"{s * 1000:.3g}" for s in (latency.low, latency.median, latency.high))
    return f"{median} ms ({low} to {high})"


def request_text(request: Request) -> str:
    """What was asked for, in words."""
    share = f"{request.keep * 100:.4g} % of {COSTS[request.cost]}"
    said = [f"Widths: set by hand, {share}" if request.stay else f"Keep: at most {share}"]
    if request.widths:
        said.append(f"Pinned: {', '.join(f'{group} {width}' for group, width in request.widths)}")
    if request.minimum > 1:
        said.append(f"At least {request.minimum} channels per group")
    if request.multiple > 1:
        said.append(f"Widths in multiples of {request.multiple} channels, or whole")
    said.append(f"Rank channels by: {CRITERIA[request.criterion].label}")
    if not request.stay:
        said.append(f"Share the cut: {ALLOCATIONS[request.allocation]}")
    return ". ".join([*said, f"Seed: {request.seed}."])


def proof_text(proof: Proof) -> str:
    """The proof's numbers and what follows from them."""
    numbers = (
        f"the shrunk network's logits are within {proof.max_difference:.1e} of the masked network's, at a "
        f"scale of {proof.scale:.3g}, before recovery"
        f"{', computed in float64' if proof.precision == 'float64' else ''}{'; ' * bool(proof.note)}{proof.note}"
    )
    if not proof.ok:
        return f"FAILED: {numbers} (more than the tolerance of {proof.tolerance:g} x scale)"
    if not proof.conclusive:
        return f"not conclusive, since the cut did not change the logits: {numbers}"
    return f"ok: {numbers}; the cut itself moved them by up to {proof.effect:.3g}"


def _ratio(now: float, dense: float) -> str:
    return f"{now / dense * 100:.1f} %" if dense else "-"


def rows(report: Report) -> Iterator[Row]:
    """(what, dense, now, now / dense) of all that is known."""
    dense, now = report.dense, report.now
    for split, before, after in (
        ("explore", dense.explore, now.explore),
        ("final", dense.final, now.final),
    ):
        if before is not None and after is not None:
            name = f"{counted(after)}, {after.seen:,} {split} images"
            yield name, accuracy_text(before), accuracy_text(after), _ratio(after.value, before.value)
            if after.divergence is not None:
                name = f"divergence from dense, {split} images"
                yield name, divergence_text(before), divergence_text(after), "-"
    a, b = dense.cost, now.cost
    yield "MACs", f"{a.macs:,}", f"{b.macs:,}", _ratio(b.macs, a.macs)
    yield "parameters", f"{a.params:,}", f"{b.params:,}", _ratio(b.params, a.params)
    for name, before_bytes, after_bytes in (
        ("file size", a.file_bytes, b.file_bytes),
        ("peak activation memory", a.peak_bytes, b.peak_bytes),
    ):
        yield name, f"{before_bytes:,} bytes", f"{after_bytes:,} bytes", _ratio(after_bytes, before_bytes)
    for slow, fast in zip(dense.latencies, now.latencies, strict=True):
        name = f"latency, batch {fast.batch}"
        yield name, latency_text(slow), latency_text(fast), _ratio(fast.median, slow.median)


def latency_remarks(report: Report) -> list[str]:
    """A sentence for every batch size whose latency does not clearly fall although MACs do."""
    dense, now = report.dense, report.now
    if now.cost.macs >= dense.cost.macs:
        return []
    share = _ratio(now.cost.macs, dense.cost.macs)
    remarks = []
    for slow, fast in zip(dense.latencies, now.latencies, strict=True):
        if fast.median >= slow.median:
            remarks.append(
                f"MACs fall to {share}, but the measured latency of batch {fast.batch} does not fall."
            )
        elif fast.high >= slow.low:
            remarks.append(
                f"MACs fall to {share}; the measured latency of batch {fast.batch} falls too, but within its "
                "spread: measure again on a quiet machine."
            )
    return remarks


def definitions(report: Report) -> Iterator[tuple[str, str]]:
    """(name, meaning) of the rows that do not explain themselves."""
    counts = report.now.explore
    if counts is None:
        yield "Accuracy", MEASURES["accuracy"]
    else:
        yield counted(counts).capitalize(), MEASURES[counts.measure]
        if counts.divergence is not None:
            yield "Divergence", DEFINITIONS["divergence"]
    yield "MACs", DEFINITIONS["macs"]
    yield "Peak activation memory", DEFINITIONS["peak_bytes"]
    if report.now.latencies:
        runs, threads = report.now.latencies[0].runs, torch.get_num_threads()
        yield "Latency", f"{DEFINITIONS['latency']}; {runs} runs, {threads} threads"


def _belongs(report: Report) -> str:
    if report.now.explore is None or report.now.explore.measure == "accuracy":
        return "The accuracies of now are for that."
    return "What is counted of now is for that."


def table(report: Report, title: str) -> str:
    """The whole report: title, request, rows, definitions, proof, remarks. No newline at the end."""
    cells = [HEAD, *rows(report)]
    widths = [max(len(row[column]) for row in cells) for column in range(4)]
    lines = [
        f"{row[0]:<{widths[0]}}  "
        + "  ".join(f"{cell:>{w}}" for cell, w in zip(row[1:], widths[1:], strict=True))
        for row in cells
    ]
    return "\n".join(
        [
            title,
            request_text(report.request),
            f"After cutting: {report.request.recovery.label}. {_belongs(report)}",
            "",
            *lines,
            "",
            *(f"{name}: {meaning}." for name, meaning in definitions(report)),
            f"Proof {proof_text(report.proof)}.",
            *latency_remarks(report),
        ]
    )
