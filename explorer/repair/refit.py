"""Refit: every layer that lost inputs gets the weights that make it answer most like the whole one, without training."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from explorer.repair.moments import Check, Moments, Observed, Reader, nothing
from explorer.repair.patches import as_matrix, as_weight
from explorer.repair.solving import error, refitted
from explorer.surgery import removed_positions
from explorer.values import ChannelGraph, Plan


@dataclass(frozen=True)
class Refitted:
    """What became of a layer that lost inputs: the error of its answers on dense inputs, cut and repaired, as a share of
    their variance; or why its weights stayed.
    """

    layer: str
    cut: float = math.nan
    repaired: float = math.nan
    reason: str = ""


@dataclass(frozen=True, eq=False)
class Cut:
    """What a plan leaves of a reader: bool masks of a group's inputs (inputs,) and of all outputs (outputs,)."""

    inputs: Tensor
    outputs: Tensor

    def columns(self, taps: int) -> Tensor:
        return self.inputs.repeat_interleave(taps)


def cuts(graph: ChannelGraph, plan: Plan, readers: Mapping[str, Reader]) -> dict[str, Cut]:
    """The readers that lose some but not all of their inputs, in execution order."""
    removed, found = removed_positions(graph, plan), {}
    for name, reader in readers.items():
        dims = (0, 1) if reader.transposed else (1, 0)
        gone = removed.get((name, dims[0]))
        if gone is None or bool(gone.all()):
            continue
        lost = removed.get((name, dims[1]), torch.zeros(reader.shape[dims[1]], dtype=torch.bool))
        if bool(gone.any()) and not bool(lost.all()):
            found[name] = Cut(~gone, ~lost)
    return found


class Sink:
    """Where a constant that is added to a layer's outputs goes: its bias, or the mean of the batch norm behind it."""

    def __init__(self, network: nn.Module, graph: ChannelGraph, reader: Reader) -> None:
        self._bias = network.get_parameter(reader.bias) if reader.bias else None
        norm = dict(graph.folds).get(reader.weight.rpartition(".")[0], "")
        module = network.get_submodule(norm) if norm and self._bias is None else None
        self._mean = module.running_mean if isinstance(module, _BatchNorm) else None

    @property
    def exists(self) -> bool:
        return self._bias is not None or self._mean is not None

    def add(self, constant: Tensor) -> None:
        if self._bias is not None:
            self._bias.add_(constant.to(self._bias.dtype))
        elif self._mean is not None:
            self._mean.sub_(constant.to(self._mean.dtype))


def second(moments: Moments, centred: bool) -> Tensor:
    """The covariance (groups, d, d), or the raw second moment where a constant has nowhere to go."""
    if centred:
        return moments.covariance
    return moments.covariance + moments.mean[:, :, None] * moments.mean[:, None, :]


def refit(
    model: nn.Module,
    shrunk: nn.Module,
    graph: ChannelGraph,
    plan: Plan,
    observed: Observed,
    check: Check = nothing,
    measure: bool = False,
) -> list[Refitted]:
    """In place: every layer of the shrunk network that lost inputs is refitted, each from the dense network's moments.

    The layers do not wait for each other: what one still gets wrong, the next does not see. `measure` fills in the
    errors. Returns what became of every layer.
    """
    found = []
    with torch.no_grad():
        for name, cut in cuts(graph, plan, observed.readers).items():
            check()
            reader = observed.readers[name]
            reason = _unfit(observed, name, cut)
            if reason:
                found.append(Refitted(reader.layer, reason=reason))
                continue
            found.append(
                _refit_one(
                    model, shrunk, Sink(shrunk, graph, reader), reader, observed.moments[name], cut, measure
                )
            )
    return found


def _unfit(observed: Observed, name: str, cut: Cut) -> str:
    """Why a layer cannot be refitted; "" if it can."""
    if name in observed.unfit:
        return observed.unfit[name]
    reader, moments = observed.readers[name], observed.moments[name]
    unknowns = int(cut.inputs.sum()) * (1 if moments.by_place else reader.taps)
    if moments.rows <= unknowns:
        return f"{moments.rows:,} patches of training images cannot tell {unknowns:,} weights apart: give more images"
    if not float(moments.covariance.diagonal(dim1=1, dim2=2).sum()):
        return "what it reads is constant"
    return ""


def _refit_one(
    model: nn.Module, shrunk: nn.Module, sink: Sink, reader: Reader, moments: Moments, cut: Cut, measure: bool
) -> Refitted:
    weight, small = model.get_parameter(reader.weight), shrunk.get_parameter(reader.weight)
    whole = as_matrix(weight.detach().double(), reader.transposed, reader.groups)
    outputs = cut.outputs.reshape(reader.groups, -1)
    taps = 1 if moments.by_place else reader.taps
    kept = cut.columns(taps)
    matrices, constants, errors = [], [], []
    known = second(moments, sink.exists)
    for group in range(reader.groups):
        rows = whole[group][outputs[group]]
        if not len(rows):
            continue
        mean = moments.mean[group]
        if moments.by_place:  # the same combination of kept channels stands for a removed one at every tap
            by_tap = rows.reshape(len(rows), -1, reader.taps).transpose(1, 2).flatten(0, 1)
            fitted = refitted(by_tap, known[group], kept)
            constant = (by_tap @ mean - fitted @ mean[kept]).reshape(len(rows), -1).sum(1)
            matrices.append(fitted.reshape(len(rows), reader.taps, -1).transpose(1, 2).flatten(1))
        else:
            fitted = refitted(rows, known[group], kept)
            constant = rows @ mean - fitted @ mean[kept]
            matrices.append(fitted)
            if measure:
                before = error(rows, rows[:, kept], known[group], kept)
                errors.append((before, error(rows, fitted, known[group], kept)))
        constants.append(constant)
    write(small, torch.cat(matrices), reader)
    if sink.exists:
        sink.add(torch.cat(constants))
    before, after = (
        (sum(each) / len(errors) for each in zip(*errors, strict=True)) if errors else (math.nan,) * 2
    )
    return Refitted(reader.layer, before, after)


def write(small: Tensor, matrix: Tensor, reader: Reader) -> None:
    """Put a matrix (outputs, inputs * taps) into a layer's weight."""
    small.copy_(as_weight(matrix, small, reader.transposed).to(small.dtype))
