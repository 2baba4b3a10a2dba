"""What layers read, in first and second moments over training images: all that a refit has to know of them."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from explorer.capture import READERS, run
from explorer.data import Images
from explorer.data.batches import fitting, split_evenly
from explorer.memory import available
from explorer.repair.patches import Places, output_sides, patches
from explorer.values import ChannelGraph, Layer

IMAGES = 400
BATCH = 100
FEWEST_ROWS, ROWS_PER_UNKNOWN = (
    4096,
    8,
)  # patches of a layer; four times as many change nothing that is measured
BUDGET = 512 * 1024**2  # bytes that all covariances together may take
AT_ONCE = 2**22  # numbers of patches that are held at once
Check = Callable[[], object]
Progress = Callable[[int, int], object]


def nothing(*_given: object) -> None:
    """The check or progress that nobody waits for."""


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
        return math.prod(self.shape[2:])


@dataclass(frozen=True, eq=False)
class Moments:
    """Mean (groups, d) and centred covariance (groups, d, d) of a layer's patches, float64; d = inputs * taps, or,
    `by_place`, only its inputs: wide layers are known by what their channels have in common at one place.
    """

    mean: Tensor
    covariance: Tensor
    rows: int
    by_place: bool


@dataclass(frozen=True, eq=False)
class Observed:
    """The readers of a network and their moments, by the name of the weight, and why there are none of the others."""

    readers: Mapping[str, Reader]
    moments: Mapping[str, Moments]
    unfit: Mapping[str, str]
    images: int

    @property
    def wide(self) -> tuple[str, ...]:
        """Layers that are known by place only, since their whole covariance would take too much memory."""
        return tuple(self.readers[name].layer for name, each in self.moments.items() if each.by_place)


def find_readers(graph: ChannelGraph) -> tuple[dict[str, Reader], dict[str, str]]:
    """Layers that sum over channels of prunable groups, by weight, and why some cannot be refitted."""
    layers: dict[str, Layer] = {}
    for layer in graph.layers:
        layers.setdefault(layer.weight, layer)
    readers, unfit = dict[str, Reader](), dict[str, str]()
    for name, dim in {
        (slot.tensor, slot.dim) for group in graph.prunable for slot in group.slots if slot.reads
    }:
        layer = layers.get(name)
        if layer is None or layer.kind == "depthwise conv":
            continue
        transposed, shape = layer.kind == "transposed conv", graph.shapes[name]
        if dim != (0 if transposed else 1):
            continue  # groups of a convolution go whole: what is left of it reads what it read
        groups = 1 if len(shape) < 3 else len(layer.out_units if transposed else layer.in_units) // shape[1]
        if transposed:
            groups = len(layer.out_units) // shape[1]
            if groups > 1:
                unfit[name] = f"{layer.name} is a transposed convolution in groups"
                continue
        readers[name] = Reader(layer.name, name, shape, transposed, groups)
    order = {name: place for place, name in enumerate(layers)}
    return {name: readers[name] for name in sorted(readers, key=order.__getitem__)}, unfit


class _OtherUses(TorchFunctionMode):
    """Notes which parameters are given to other functions than those that layers call."""

    def __init__(self, model: nn.Module, names: Mapping[str, Reader]) -> None:
        super().__init__()
        self._names = {id(model.get_parameter(name)): name for name in names}
        self.found: dict[str, str] = {}

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        answer = func(*args, **(kwargs or {}))
        if func not in READERS and any(isinstance(leaf, Tensor) for leaf in tree_leaves(answer)):
            for leaf in tree_leaves((args, kwargs)):
                if name := self._names.get(id(leaf), ""):
                    self.found[name] = getattr(func, "__name__", "another function")
        return answer


def as_convolution(x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """What a layer is given, as a convolution's: (..., C) of a linear layer becomes (N, C, positions)."""
    if weight.dim() > 2:
        return x, weight
    return x.reshape(len(x), -1, x.shape[-1]).transpose(1, 2), weight[..., None]


def positions_of(x: Tensor, weight: Tensor, given: Mapping[str, Any], transposed: bool) -> int:
    """At how many places of an input a layer is applied."""
    return math.prod(output_sides(x, weight, given, transposed))


class _Gathering:
    """Sums of patches and of their products, over the batches of one pass."""

    def __init__(
        self, model: nn.Module, graph: ChannelGraph, readers: dict[str, Reader], images: int, budget: float
    ) -> None:
        self._graph, self._images, self.readers = graph, images, readers
        self._parameters = {name: value.detach() for name, value in model.named_parameters()}
        self._bias_names = {id(value): name for name, value in model.named_parameters()}
        self._place = {
            place: layer.weight for place, layer in enumerate(graph.layers) if layer.weight in readers
        }
        self._given: Mapping[str, Any] = {}
        self._generators = {
            name: torch.Generator().manual_seed(seed) for seed, name in enumerate(self.readers)
        }
        self._by_place = _too_wide(readers, budget)
        self.sums: dict[str, Tensor] = {}
        self.products: dict[str, Tensor] = {}
        self.rows: dict[str, int] = {}

    def called(self, place: int, given: Mapping[str, Any]) -> None:
        self._given = given

    def observe(self, place: int, x: Tensor) -> Tensor:
        name = self._place.get(place)
        if name is None:
            return x
        given, reader = self._given, self.readers[name]
        bias = self._bias_names.get(id(given.get("bias")), "")
        self.readers[name] = replace(reader, bias=bias)
        inputs, weight = as_convolution(x, self._parameters[name])
        if name in self._by_place:
            weight, given = weight[(..., *[slice(1)] * (weight.dim() - 2))], {}
        transposed = reader.transposed and name not in self._by_place
        width = reader.inputs * math.prod(weight.shape[2:])
        wanted = max(FEWEST_ROWS, ROWS_PER_UNKNOWN * width)
        every = positions_of(inputs, weight, given, transposed)
        count = min(every, math.ceil(wanted / self._images))
        chunk = max(1, AT_ONCE // (count * width * reader.groups))
        for part in inputs.split(chunk):
            places = Places.drawn(len(part), every, count, self._generators[name])
            found = patches(part, weight, given, transposed, places).double()
            rows = found.reshape(-1, reader.groups, width).transpose(0, 1)
            total, products = rows.sum(1), rows.transpose(1, 2) @ rows
            self.sums[name] = self.sums[name] + total if name in self.sums else total
            self.products[name] = self.products[name].add_(products) if name in self.products else products
            self.rows[name] = self.rows.get(name, 0) + rows.shape[1]
        return x

    def moments(self, name: str) -> Moments:
        count = self.rows[name]
        mean = self.sums[name] / count
        covariance = self.products.pop(name).div_(count)
        covariance -= mean[:, :, None] * mean[:, None, :]
        return Moments(mean, covariance, count, name in self._by_place)


def _too_wide(readers: Mapping[str, Reader], budget: float) -> set[str]:
    """The widest layers, until the covariances of the others fit the budget (bytes) beside theirs by place."""
    needs = {name: 8.0 * each.groups * (each.inputs * each.taps) ** 2 for name, each in readers.items()}
    found: set[str] = set()
    for name in sorted(needs, key=needs.__getitem__, reverse=True):
        if sum(needs.values()) <= budget:
            break
        if readers[name].taps > 1:
            needs[name] /= readers[name].taps ** 2
            found.add(name)
    return found


def gather(
    model: nn.Module,
    graph: ChannelGraph,
    images: Images,
    count: int = IMAGES,
    check: Check = nothing,
    progress: Progress = nothing,
    budget: float | None = None,
) -> Observed:
    """Moments of what every reader of prunable channels is given, over `count` mixed images; no labels are needed.

    The model is in eval mode. `budget` are bytes (None: 512 MiB, or a quarter of the memory that is left): the
    widest layers are known by place only. `check` is called before every batch and may raise; `progress` gets
    (images done, images). Raises BadInput where the model cannot take the images.
    """
    used = images.mixed(count)
    readers, unfit = find_readers(graph)
    budget = min(BUDGET, available() / 4) if budget is None else budget
    gathering = _Gathering(model, graph, readers, len(used), budget)
    others = _OtherUses(model, readers)
    batch = fitting(model, used.inputs(slice(0, 1)), BATCH)
    done = 0
    with torch.no_grad(), others:
        for rows in split_evenly(torch.arange(len(used)), batch):
            check()
            run(model, graph, used.inputs(rows), gathering.observe, called=gathering.called)
            done += len(rows)
            progress(done, len(used))
    found = dict[str, Moments]()
    for name, reader in readers.items():
        if name in others.found:
            unfit[name] = f"the weight of {reader.layer} is also used by {others.found[name]}"
        elif name not in gathering.rows:
            unfit[name] = f"no call of {reader.layer} was met when the network ran"
        else:
            moments = gathering.moments(name)
            if not torch.isfinite(moments.covariance).all():
                unfit[name] = f"what {reader.layer} reads is not finite"
            else:
                found[name] = moments
    return Observed(
        MappingProxyType(gathering.readers), MappingProxyType(found), MappingProxyType(unfit), len(used)
    )
