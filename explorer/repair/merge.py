"""Merge: what read a removed filter reads the most similar filter that is kept instead. Needs no images.

After Kim et al. 2020 (NeurIPS, Neuron Merging). With y = gamma (u - mu) / sigma + beta and filters w_n = s w_p, the
removed channel is y_n = S y_p + B with S = s (gamma_n / gamma_p) (sigma_p / sigma_n) and
B = beta_n + (gamma_n / sigma_n) (s (mu_p - sigma_p beta_p / gamma_p) - mu_n). Behind a ReLU, S > 0 and B = 0 lose
nothing.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from explorer.repair.homogeneous import scaling_readers
from explorer.repair.readers import Reader, find_readers
from explorer.repair.refit import Refitted
from explorer.surgery import removed_positions
from explorer.values import ChannelGraph, ChannelGroup, Ints, Plan

LEAST_COSINE = 0.1
SIMILARITY = 0.85  # lambda: weight of the cosine against that of B, as published for a ResNet-56


@dataclass(frozen=True, eq=False)
class _Filters:
    """A group's filters, a row a unit, and the batch norm behind them: (units,) each of mean, sigma, gamma, beta.

    `source` is the name of the last tensor before the activation: the filters', or the batch norm's mean.
    """

    rows: Tensor
    norm: tuple[Tensor, Tensor, Tensor, Tensor] | None
    source: str


def merge(
    model: nn.Module, shrunk: nn.Module, graph: ChannelGraph, plan: Plan, by_cosine: bool = True
) -> list[Refitted]:
    """In place: the readers of every removed unit's channels are added, times S, to those of the most similar kept one.

    Of a group whose filters are one layer's, with nothing but its batch norm and what scales as a ReLU does between
    them and the reader. `by_cosine` multiplies S by the filters' cosine, which is ours: the exact S is for parallel
    filters, and too much for others. Returns what became of every layer that lost inputs.
    """
    removed = removed_positions(graph, plan)
    readers, unfit = find_readers(model, graph)
    known = set(dict(shrunk.named_parameters()))  # of a layer without outputs nothing is left
    found = dict[str, Refitted]()
    with torch.no_grad():
        cut = [group for group in graph.prunable if 0 < plan.widths[group.id] < group.size]
        made = {group.id: _filters_of(model, graph, group) for group in cut}
        sources = {group: each.source for group, each in made.items() if isinstance(each, _Filters)}
        scales = scaling_readers(model, graph, sources)
        for group in cut:
            filters, kept = made[group.id], torch.from_numpy(plan.keep[group.id].copy())
            for slot in group.slots:
                reader = readers.get(slot.tensor)
                if reader is None or not slot.reads or slot.tensor not in known:
                    continue
                if slot.dim != (0 if reader.transposed else 1):
                    continue
                if isinstance(filters, str):
                    reason = filters
                elif (group.id, reader.weight) not in scales:
                    reason = f"what lies between {group.id} and {reader.layer} may not scale as a ReLU does"
                else:
                    reason = unfit.get(reader.weight, "")
                if not reason and isinstance(filters, _Filters):
                    pairs = _pairs(filters, kept, by_cosine)
                    _merge_into(model, shrunk, reader, slot.dim, slot.unit, pairs, removed)
                    found[reader.layer] = Refitted(reader.layer)
                else:
                    found.setdefault(reader.layer, Refitted(reader.layer, reason=reason))
    return list(found.values())


def _filters_of(model: nn.Module, graph: ChannelGraph, group: ChannelGroup) -> _Filters | str:
    """The filters that make a group's channels, or why there are none to compare."""
    made = [layer for layer in graph.layers if layer.name in group.layers]
    if len(made) != 1:
        return f"the channels of {group.id} are made by {len(made)} layers together"
    (layer,) = made
    owner, dot, _ = layer.weight.rpartition(".")
    norm, bias_name = dict(graph.folds).get(owner, ""), f"{owner}{dot}bias"
    parts = (
        {f"{norm}.{name}" for name in ("weight", "bias", "running_mean", "running_var")} if norm else set()
    )
    dim = 1 if layer.kind == "transposed conv" else 0
    units = bias = None
    for slot in group.slots:
        if (slot.tensor, slot.dim) == (layer.weight, dim):
            units = slot.unit
        elif slot.tensor == bias_name:
            bias = model.get_parameter(bias_name).double()
        elif not slot.reads and slot.tensor not in parts:
            return f"{slot.tensor} acts on the channels of {group.id} too"
    if units is None or len(units[units >= 0]) != group.size:
        return f"a unit of {group.id} is several channels"
    order = torch.from_numpy(
        np.argsort(np.where(units >= 0, units, group.size), kind="stable")[: group.size].copy()
    )
    rows = model.get_parameter(layer.weight).movedim(dim, 0).flatten(1)[order].double()
    if not norm:
        if bias is not None:
            rows = torch.cat([rows, bias[order, None]], 1)
        return _Filters(rows, None, layer.weight)
    module = model.get_submodule(norm)
    assert isinstance(module, _BatchNorm)
    assert module.running_mean is not None
    assert module.running_var is not None
    mean = module.running_mean.double()[order]
    if bias is not None:
        mean = mean - bias[order]
    sigma = (module.running_var.double()[order] + module.eps).sqrt()
    one = torch.ones_like(sigma)
    gamma = module.weight.double()[order] if module.affine else one
    beta = module.bias.double()[order] if module.affine else 0 * one
    return _Filters(rows, (mean, sigma, gamma, beta), f"{norm}.running_mean")


def _pairs(filters: _Filters, kept: Tensor, by_cosine: bool) -> list[tuple[int, int, float]]:
    """(removed unit, kept unit, scale) of all that are similar enough."""
    rows, (stay, gone) = filters.rows, (kept.nonzero().flatten(), (~kept).nonzero().flatten())
    norms = rows.norm(dim=1).clamp_min(1e-30)
    cosine = (rows[gone] @ rows[stay].T) / (norms[gone, None] * norms[None, stay])
    scale = norms[gone, None] / norms[None, stay]
    distance = 1 - cosine
    if filters.norm is not None:
        mean, sigma, gamma, beta = filters.norm
        slope = gamma[stay].where(gamma[stay].abs() > 1e-12, torch.full_like(gamma[stay], torch.nan))
        shift = scale * (mean[stay] - sigma[stay] * beta[stay] / slope) - mean[gone, None]
        offset = (beta[gone, None] + gamma[gone, None] / sigma[gone, None] * shift).abs()
        scale = scale * (gamma[gone, None] / slope) * (sigma[stay] / sigma[gone, None])
        relative = (offset / scale).nan_to_num(torch.inf, torch.inf, torch.inf)
        usable = (scale > 0) & relative.isfinite()
        least = relative.where(usable, torch.inf).amin(1, keepdim=True)
        most = relative.where(usable, -torch.inf).amax(1, keepdim=True)
        spread = (most - least).where(most > least, torch.ones_like(most))
        distance = SIMILARITY * distance + (1 - SIMILARITY) * (relative - least) / spread
        distance = distance.where(usable, torch.inf)
    distance = distance.where(cosine >= LEAST_COSINE, torch.inf)
    best = distance.argmin(1)
    rows_of = torch.arange(len(gone))
    scale = scale * cosine if by_cosine else scale
    return [
        (int(gone[row]), int(stay[place]), float(scale[row, place]))
        for row, place in zip(rows_of.tolist(), best.tolist(), strict=True)
        if torch.isfinite(distance[row, place])
    ]


def _merge_into(
    model: nn.Module,
    shrunk: nn.Module,
    reader: Reader,
    dim: int,
    unit: Ints,
    pairs: list[tuple[int, int, float]],
    removed: dict[tuple[str, int], Tensor],
) -> None:
    """Add the columns of removed units to those of the kept ones; a unit's places come in one order for all units."""
    small = shrunk.get_parameter(reader.weight)
    whole = model.get_parameter(reader.weight).movedim(dim, 0)
    gone = removed.get((reader.weight, dim), torch.zeros(len(whole), dtype=torch.bool))
    lost = removed.get((reader.weight, 1 - dim))
    place_now = (~gone).cumsum(0) - 1
    columns = small.movedim(dim, 0)
    for old, new, scale in pairs:
        sources = torch.from_numpy(np.flatnonzero(unit == old))
        targets = place_now[torch.from_numpy(np.flatnonzero(unit == new))]
        added = whole[sources] if lost is None else whole[sources][:, ~lost]
        columns[targets] = columns[targets] + (scale * added.double()).to(columns.dtype)
