"""A network whose prefixes are networks: one set of weights, run at any widths, or at full width behind gates.

Where a plan cuts, a supernet slices: the first units of every group, in every tensor where they live. Where a plan
masks, a gate multiplies: the columns of whatever reads a channel, with its retention probability. A channel is read
behind its batch norm, which would undo a factor before it, and behind the sum that its residual branch ends in, so
that one gate per channel serves any traced network; gates of 0 and 1 are `surgery.mask`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm

from explorer.chains import Chain
from explorer.evaluate.estimates import class_logits
from explorer.graph.checks import check_model
from explorer.graph.copies import deep_copy
from explorer.graph.inputs import Batch, cast
from explorer.methods.gates import Gates
from explorer.values import ChannelGraph


@dataclass(frozen=True, eq=False)
class _Axis:
    """One dimension of one tensor that is narrower in a subnetwork: the chain and unit of every position.

    `owner` int64 (length,) is -1 where the position always stays. `cuts`, if the kept positions are always the first
    ones, int64 (chain's size + 1,): how many they are for every width of the one chain.
    """

    tensor: str
    dim: int
    owner: NDArray[np.int64]
    unit: NDArray[np.int64]
    cuts: NDArray[np.int64] | None

    def sliced(self, tensor: Tensor, widths: NDArray[np.int64]) -> Tensor:
        if self.cuts is not None:
            return tensor.narrow(self.dim, 0, int(self.cuts[widths[self.owner[0]]]))
        kept = np.flatnonzero((self.owner < 0) | (self.unit < widths[self.owner]))
        return (
            tensor if len(kept) == len(self.unit) else tensor.index_select(self.dim, torch.from_numpy(kept))
        )

    def length(self, widths: NDArray[np.int64]) -> int:
        if self.cuts is not None:
            return int(self.cuts[widths[self.owner[0]]])
        return int(np.count_nonzero((self.owner < 0) | (self.unit < widths[self.owner])))


class Supernet:
    """A private copy of `model` that trains at many widths at once. Raises BadInput if it is not the graph's.

    Widths are int64 (chains,), units of the chains' groups. Batch norm uses each batch's own statistics and keeps none:
    statistics shared between widths fit none of them, so every structure gets its own afterwards (`reestimate_bn`).
    """

    def __init__(self, model: nn.Module, graph: ChannelGraph, chains: Sequence[Chain]) -> None:
        check_model(graph, model)
        self.model = deep_copy(model)
        self.model.train()
        for module in self.model.modules():
            if isinstance(module, _BatchNorm):
                module.momentum = 0.0  # statistics stay where they are; a forward may read them itself
        statistics = {
            f"{owner}.{name}" if owner else name
            for owner, module in self.model.named_modules()
            if isinstance(module, _BatchNorm)
            for name in dict(module.named_buffers(recurse=False))
        }
        self._moving = [name for name, _ in self.model.named_buffers() if name not in statistics]
        self._graph, self._chains = graph, tuple(chains)
        self._sizes = np.array([chain.size for chain in chains], dtype=np.int64)
        tensors = {**dict(self.model.named_parameters()), **dict(self.model.named_buffers())}
        self._axes = [axis for axis in _axes(graph, chains) if axis.tensor in tensors]
        self._attributes = self._numbers()
        self._gated: list[tuple[str, int, Tensor]] | None = None

    @property
    def tensors(self) -> dict[str, Tensor]:
        """All that training changes, by name: the parameters, and buffers that are no statistics of batch norm."""
        buffers = dict(self.model.named_buffers())
        return {**self.parameters, **{name: buffers[name] for name in self._moving}}

    @property
    def parameters(self) -> dict[str, nn.Parameter]:
        """The shared weights, by name, each tie once."""
        return dict(self.model.named_parameters())

    def full(self, inputs: Batch) -> Tensor:
        """Logits (N, classes) of the whole network."""
        return class_logits(self.model, inputs)

    def at(self, inputs: Batch, widths: NDArray[np.int64]) -> Tensor:
        """Logits of the subnetwork of the first `widths` units; gradients reach the shared weights that it uses."""
        if (widths == self._sizes).all():
            return self.full(inputs)
        tensors = {**dict(self.model.named_parameters()), **dict(self.model.named_buffers())}
        sliced = self._untouched()
        for axis in self._axes:
            sliced[axis.tensor] = axis.sliced(sliced.get(axis.tensor, tensors[axis.tensor]), widths)
        before = [module.__dict__[name] for module, name, *_ in self._attributes]
        try:
            for module, name, axis, numerator, denominator in self._attributes:
                module.__dict__[name] = axis.length(widths) * numerator // denominator
            return class_logits(_Substituted(self.model, sliced), cast(self.model, inputs))
        finally:
            for (module, name, *_), value in zip(self._attributes, before, strict=True):
                module.__dict__[name] = value

    def gated(self, inputs: Batch, gates: Gates, retention: Tensor) -> Tensor:
        """Logits at full width, every channel times its retention probability where it is read.

        Gradients reach the retention probabilities only: the weights are constants here.
        """
        if self._gated is None:
            self._gated = self._reading(gates)
        weights = {
            name: parameter.detach() for name, parameter in self.model.named_parameters()
        } | self._untouched()
        joined = gates.joined(retention)
        for name, dim, entries in self._gated:
            tensor = weights[name]
            shape = [1] * tensor.dim()
            shape[dim] = -1
            weights[name] = tensor * joined[entries].to(tensor.dtype).view(shape)
        return class_logits(_Substituted(self.model, weights), cast(self.model, inputs))

    def _untouched(self) -> dict[str, Tensor]:
        """Copies of the buffers that a forward may write: only the full network's forward leaves traces in them."""
        buffers = dict(self.model.named_buffers()) if self._moving else {}
        return {name: buffers[name].clone() for name in self._moving}

    def trained(self, model: nn.Module) -> nn.Module:
        """A copy of `model`, the network this came from, in eval mode with the shared weights, and the other tensors of
        `tensors`, as they are now.

        Statistics of batch norm are still those of `model`.
        """
        copied = deep_copy(model)
        copied.eval()
        with torch.no_grad():
            theirs = {**dict(copied.named_parameters()), **dict(copied.named_buffers())}
            for name, tensor in self.tensors.items():
                theirs[name].copy_(tensor)
        return copied

    def _reading(self, gates: Gates) -> list[tuple[str, int, Tensor]]:
        """For every dimension that a reader sums over: tensor, dimension and where its gates stand in `joined`."""
        number = {chain.group: place for place, chain in enumerate(self._chains)}
        names = self.parameters
        joint: dict[tuple[str, int], NDArray[np.int64]] = {}
        for group in self._graph.prunable:
            if group.id not in number:
                continue
            for slot in group.slots:
                if not slot.reads or slot.tensor not in names:
                    continue
                entries = gates.entries(slot.unit, number[group.id])
                place = slot.tensor, slot.dim
                joint[place] = np.where(slot.unit >= 0, entries, joint[place]) if place in joint else entries
        return [(name, dim, torch.from_numpy(entries)) for (name, dim), entries in joint.items()]

    def _numbers(self) -> list[tuple[nn.Module, str, _Axis, int, int]]:
        """The numbers on modules that repeat a length which a subnetwork changes."""
        axes = {(axis.tensor, axis.dim): axis for axis in _axes(self._graph, self._chains)}
        found = []
        for owner, name, tensor, dim, numerator, denominator in self._graph.attributes:
            module = self.model.get_submodule(owner)
            if (tensor, dim) in axes and name in module.__dict__:
                found.append((module, name, axes[tensor, dim], numerator, denominator))
        return found


class _Substituted(nn.Module):
    """A module's forward with other tensors in the place of some of its own."""

    def __init__(self, model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.__dict__["_parts"] = model, tensors  # no submodule: nothing is registered, moved or renamed

    @property
    def forward(self) -> Any:  # type: ignore[override]
        """With the signature of the module's, by which inputs are given."""
        model, tensors = self.__dict__["_parts"]

        @wraps(model.forward)
        def substituted(*args: Any, **kwargs: Any) -> Any:
            return functional_call(model, dict(tensors), args, kwargs)

        return substituted


def _axes(graph: ChannelGraph, chains: Sequence[Chain]) -> list[_Axis]:
    """Every dimension of every tensor in which units of the chains' groups live."""
    number = {chain.group: place for place, chain in enumerate(chains)}
    owners: dict[tuple[str, int], NDArray[np.int64]] = {}
    units: dict[tuple[str, int], NDArray[np.int64]] = {}
    for group in graph.prunable:
        if group.id not in number:
            continue
        for slot in group.slots:
            place = slot.tensor, slot.dim
            here = slot.unit >= 0
            owners.setdefault(place, np.full(len(slot.unit), -1, dtype=np.int64))[here] = number[group.id]
            units.setdefault(place, np.zeros(len(slot.unit), dtype=np.int64))[here] = slot.unit[here]
    return [
        _Axis(*place, owner, units[place], _cuts(owner, units[place], chains))
        for place, owner in owners.items()
    ]


def _cuts(
    owner: NDArray[np.int64], unit: NDArray[np.int64], chains: Sequence[Chain]
) -> NDArray[np.int64] | None:
    """How many first positions a width keeps, where one chain has them all and in its order; else None."""
    if owner[0] < 0 or (owner != owner[0]).any() or (np.diff(unit) < 0).any():
        return None
    return np.searchsorted(unit, np.arange(chains[owner[0]].size + 1))
