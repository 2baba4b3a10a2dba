"""Refit: every layer that lost inputs gets the weights with which it answers most like the whole one. No training."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from explorer.repair.moments import Check, Moments, Observed, nothing
from explorer.repair.patches import as_matrix, as_weight
from explorer.repair.readers import Reader
from explorer.repair.solving import damping, error, refitted
from explorer.surgery import removed_positions
from explorer.values import ChannelGraph, Plan


@dataclass(frozen=True)
class Refitted:
    """What became of a layer that lost inputs: the error of its answers on dense inputs, `cut` and `repaired`, as a
    share of what they vary (NaN where it was not measured); or the `reason` why its weights stayed.
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
    errors, but for layers that are known by place. `check` is called before every layer and may raise. Returns what
    became of every layer.
    """
    found = []
    with torch.no_grad():
        for name, cut in cuts(graph, plan, observed.readers).items():
            check()
            reader = observed.readers[name]
            reason = _unfit(observed, name, cut)
            found.append(
                Refitted(reader.layer, reason=reason)
                if reason
                else _refit_one(
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
        return (
            f"{moments.rows:,} patches of training images cannot tell {unknowns:,} weights of {reader.layer} apart: "
            "give more images"
        )
    if not bool(moments.covariance.diagonal(dim1=1, dim2=2).any()):
        return f"what {reader.layer} reads is the same everywhere in all training images"
    return ""


def _refit_one(
    model: nn.Module, shrunk: nn.Module, sink: Sink, reader: Reader, moments: Moments, cut: Cut, measure: bool
) -> Refitted:
    weight, small = model.get_parameter(reader.weight), shrunk.get_parameter(reader.weight)
    whole = as_matrix(weight.detach().double(), reader.transposed, reader.groups)
    outputs = cut.outputs.reshape(reader.groups, -1)
    kept = cut.columns(1 if moments.by_place else reader.taps)
    matrices, constants, errors = [], [], []
    for group in range(reader.groups):
        rows, mean, known = (
            whole[group][outputs[group]],
            moments.mean[group],
            moments.covariance[group].double(),
        )
        if not len(rows):
            continue
        if not sink.exists:  # a constant has nowhere to go: the raw second moment
            known = torch.addr(known, mean, mean)
        rho = damping(known.diagonal()[kept], moments.rows)
        if moments.by_place:  # the same combination of kept channels stands for a removed one at every tap
            by_tap = rows.reshape(len(rows), -1, reader.taps).transpose(1, 2).flatten(0, 1)
            fitted = refitted(by_tap, known, kept, rho)
            constant = (by_tap @ mean - fitted @ mean[kept]).reshape(len(rows), -1).sum(1)
            matrices.append(fitted.reshape(len(rows), reader.taps, -1).transpose(1, 2).flatten(1))
        else:
            fitted = refitted(rows, known, kept, rho)
            constant = rows @ mean - fitted @ mean[kept]
            matrices.append(fitted)
            if measure:
                errors.append([error(rows, each, known, kept) for each in (rows[:, kept], fitted)])
        constants.append(constant)
    if not write(small, torch.cat(matrices), reader):
        return Refitted(reader.layer, reason=f"the weights of {reader.layer} would not be finite")
    sink.add(torch.cat(constants))
    return Refitted(reader.layer, *(sum(each) / len(each) for each in zip(*errors, strict=True)))


def write(small: Tensor, matrix: Tensor, reader: Reader) -> bool:
    """Put a matrix (outputs, inputs * taps) into a layer's weight; whether it could, being finite there."""
    found = as_weight(matrix, small, reader.transposed).to(small.dtype)
    if not bool(torch.isfinite(found).all()):
        return False
    small.copy_(found)
    return True
