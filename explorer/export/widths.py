"""The widths file: what was kept, what it costs and how it was measured, as JSON."""

import json
import re
from typing import Any

from explorer.export.report import DEFINITIONS, MEASURES, Measured, Report
from explorer.values import ChannelGraph, ChannelGroup, Cost, Estimate, Latency, Plan
from explorer.zoo import Network

FORMAT = "pruning-explorer widths, version 1"


def _group(group: ChannelGroup, plan: Plan) -> dict[str, Any]:
    if not group.prunable:
        return {
            "width": group.size,
            "of": group.size,
            "layers": list(group.layers),
            "not_pruned": group.reason,
        }
    kept = plan.keep[group.id].nonzero()[0].tolist()
    return {"width": len(kept), "of": group.size, "layers": list(group.layers), "kept": kept}


def _estimate(estimate: Estimate | None) -> dict[str, Any] | None:
    if estimate is None:
        return None
    found = {
        estimate.measure if estimate.counts == "accuracy" else "agreement": estimate.value,
        "low": estimate.low,
        "high": estimate.high,
        "correct": estimate.correct,
        "seen": estimate.seen,
    }
    return found if estimate.divergence is None else {**found, "divergence": estimate.divergence}


def _counted(report: Report) -> dict[str, str]:
    """What the estimates count; without any, what they would of classes."""
    found = [each for each in (report.now.explore, report.now.final) if each is not None]
    return {each.measure: MEASURES[each.measure] for each in found} or {"accuracy": MEASURES["accuracy"]}


def _cost(cost: Cost) -> dict[str, int]:
    return {
        "macs": cost.macs,
        "params": cost.params,
        "file_bytes": cost.file_bytes,
        "peak_bytes": cost.peak_bytes,
    }


def _latency(latency: Latency) -> dict[str, Any]:
    return {
        "batch": latency.batch,
        "median": latency.median,
        "quartiles": [latency.low, latency.high],
        "runs": latency.runs,
    }


def _measured(measured: Measured) -> dict[str, Any]:
    return {
        "explore": _estimate(measured.explore),
        "final": _estimate(measured.final),
        "cost": _cost(measured.cost),
        "latency": [_latency(latency) for latency in measured.latencies],
    }


def _constructor(network: Network) -> dict[str, str] | None:
    """How a Python file makes the dense network, for one of the user's own."""
    made = network.constructor
    return None if made is None else {"import": made.import_line, "expression": made.expression}


def document(network: Network, graph: ChannelGraph, plan: Plan, report: Report) -> dict[str, Any]:
    """The file's content. `kept` are positions in the dense network, from 0, ascending."""
    request, proof = report.request, report.proof
    return {
        "format": FORMAT,
        "network": network.name,
        "source": {
            "class": type(network.model).__name__,
            "constructor": _constructor(network),
            "no_constructor": network.no_constructor,
            "weights_key": network.weights_key,
        },
        "data": None if network.data is None else network.data.name,
        "request": {
            "criterion": request.criterion,
            "allocation": request.allocation,
            "cost": request.cost,
            "keep": request.keep,
            "widths": dict(request.widths),
            "stay": dict(request.stay),
            "minimum": request.minimum,
            "multiple": request.multiple,
            "seed": request.seed,
        },
        "recovery": {
            "bn": request.recovery.bn,
            "epochs": request.recovery.epochs,
            "repair": request.recovery.repair,
            "label": request.recovery.label,
        },
        "groups": {group.id: _group(group, plan) for group in graph.groups},
        "definitions": {**_counted(report), **DEFINITIONS},
        "dense": _measured(report.dense),
        "now": _measured(report.now),
        "proof": {
            "ok": proof.ok,
            "conclusive": proof.conclusive,
            "max_difference": proof.max_difference,
            "scale": proof.scale,
            "effect": proof.effect,
        },
    }


def _one_line(found: re.Match[str]) -> str:
    return "[" + re.sub(r"\n *", " ", found[0])[1:-1].strip() + "]"


def widths_text(network: Network, graph: ChannelGraph, plan: Plan, report: Report) -> str:
    """The document as JSON, lists of numbers or names on one line each."""
    text = json.dumps(document(network, graph, plan, report), indent=2, ensure_ascii=False, allow_nan=False)
    return re.sub(r"\[\n[^\[\]{}]*\]", _one_line, text) + "\n"  # no string of JSON holds a newline
