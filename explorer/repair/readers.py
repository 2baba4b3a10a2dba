"""Layers whose inputs can be removed, how their weights are laid out, and which of their tensors other code uses."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from explorer.capture import READERS
from explorer.values import ChannelGraph


@dataclass(frozen=True, eq=False)
class Reader:
    """A layer whose inputs can be removed: how its weight is laid out. `bias` is the name of a parameter, or ""."""

    layer: str
    weight: str
    shape: tuple[int, ...]
    transposed: bool
    groups: int
    bias: str = ""

    @property
    def inputs(self) -> int:
        """Inputs of a group of the convolution."""
        return self.shape[0] if self.transposed else self.shape[1]

    @property
    def taps(self) -> int:
        """Weights of one input and one output."""
        return math.prod(self.shape[2:])


def find_readers(model: nn.Module, graph: ChannelGraph) -> tuple[dict[str, Reader], dict[str, str]]:
    """Layers that sum over channels of prunable groups, by the name of the weight and in execution order; and why
    some of them cannot be repaired, by the same names.
    """
    parameters = dict(model.named_parameters())
    read = {(slot.tensor, slot.dim) for group in graph.prunable for slot in group.slots if slot.reads}
    readers, unfit = dict[str, Reader](), dict[str, str]()
    for layer in graph.layers:
        transposed = layer.kind == "transposed conv"
        # Groups of a convolution go whole: what is left of it reads what it read. So does a depthwise one.
        if (
            layer.kind == "depthwise conv"
            or layer.weight in readers
            or (layer.weight, 0 if transposed else 1) not in read
        ):
            continue
        shape, groups = graph.shapes[layer.weight], 1
        if transposed:
            groups = len(layer.out_units) // shape[1]
        elif len(shape) > 2:
            groups = len(layer.in_units) // shape[1]
        readers[layer.weight] = Reader(layer.name, layer.weight, shape, transposed, groups)
        if transposed and groups > 1:
            unfit[layer.weight] = f"{layer.name} is a transposed convolution in groups"
        elif layer.weight not in parameters:
            unfit[layer.weight] = f"the weight of {layer.name} is no parameter"
    return readers, unfit


def as_convolution(x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """What a layer is given or returns, as a convolution's: (..., C) of a linear layer becomes (N, C, positions)."""
    if weight.dim() > 2:
        return (x if x.dim() == weight.dim() else x.unsqueeze(0)), weight
    x = x if x.dim() > 1 else x.unsqueeze(0)
    return x.reshape(len(x), -1, x.shape[-1]).transpose(1, 2), weight[..., None]


class OtherUses(TorchFunctionMode):
    """Notes which parameters are given to other functions than layers' calls: {name: the function's name}."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self._names = {id(value): name for name, value in model.named_parameters()}
        self.found: dict[str, str] = {}

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        answer = func(*args, **given)
        if any(
            isinstance(leaf, Tensor) for leaf in tree_leaves(answer)
        ):  # else it was only asked for its size
            for leaf in self._used(func, args, given):
                if name := self._names.get(id(leaf)):
                    self.found[name] = getattr(func, "__name__", "another function")
        return answer

    @staticmethod
    def _used(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Iterator[Any]:
        """What a function is given, but for the weight and bias of a layer's call."""
        if func in READERS:
            yield (dict(zip(READERS[func], args, strict=False)) | dict(kwargs)).get("input")
        else:
            yield from tree_leaves((args, kwargs))
