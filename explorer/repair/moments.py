"""What layers read, in first and second moments over training images: all that a refit has to know of them."""

import math
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from explorer.capture import run
from explorer.data import Images
from explorer.data.batches import fitting, split_evenly
from explorer.memory import available
from explorer.repair.patches import Places, output_sides, patches
from explorer.repair.readers import OtherUses, Reader, as_convolution, find_readers
from explorer.values import ChannelGraph

IMAGES = 400
BATCH = 100  # or a quarter of the images that usual batches may take of memory
WIDE = 1024  # wider covariances are held in float32: its rounding is far below the ridge. All are solved in float64
FEWEST_ROWS = 4096  # patches of a layer, and
ROWS_PER_UNKNOWN = 8  # as many for each weight of an output; four times as many change nothing measured
BUDGET = 320 * 1024**2  # bytes that all covariances together may take
AT_ONCE = 2**22  # numbers of patches that are held at once
Check = Callable[[], object]
Progress = Callable[[int, int], object]


def nothing(*_given: object) -> None:
    """The check or progress that nobody waits for."""


@dataclass(frozen=True, eq=False)
class Moments:
    """Mean (groups, d) and centred covariance (groups, d, d) of a layer's patches, float64, or float32 of wide layers;
    d = inputs * taps, or, `by_place`, only its inputs: the widest layers are known by what their channels have in
    common at one place.
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


def rows_wanted(unknowns: int) -> int:
    """How many patches tell so many weights of an output apart well enough."""
    return max(FEWEST_ROWS, ROWS_PER_UNKNOWN * unknowns)


class _Gathering:
    """Sums of patches and of their products, over the batches of one pass, and the biases that calls are given."""

    def __init__(
        self,
        model: nn.Module,
        graph: ChannelGraph,
        readers: Mapping[str, Reader],
        images: int,
        by_place: set[str],
    ) -> None:
        self._images, self._readers, self._by_place = images, readers, by_place
        self._weights = {name: model.get_parameter(name).detach() for name in readers}
        self._layers = [layer.weight for layer in graph.layers]
        self._given: Mapping[str, Any] = {}
        self._generators = {name: torch.Generator().manual_seed(seed) for seed, name in enumerate(readers)}
        self.biases: dict[str, set[int]] = defaultdict(set)
        self._origins: dict[str, Tensor] = {}
        self._sums: dict[str, Tensor] = {}
        self._products: dict[str, Tensor] = {}
        self.rows: dict[str, int] = defaultdict(int)

    def called(self, place: int, given: Mapping[str, Any]) -> None:
        self._given = given
        self.biases[self._layers[place]].add(id(given.get("bias")))

    def observe(self, place: int, x: Tensor) -> Tensor:
        if (name := self._layers[place]) in self._readers:
            self._add(name, *as_convolution(x, self._weights[name]))
        return x

    def _add(self, name: str, inputs: Tensor, weight: Tensor) -> None:
        given, reader = self._given, self._readers[name]
        transposed = reader.transposed
        if name in self._by_place:
            corner: tuple[Any, ...] = (..., *[slice(1)] * (weight.dim() - 2))
            weight, given, transposed = weight[corner], {}, False
        width = reader.inputs * math.prod(weight.shape[2:])
        every = math.prod(output_sides(inputs, weight, given, transposed))
        count = min(every, math.ceil(rows_wanted(width) / self._images))
        for part in inputs.split(max(1, AT_ONCE // max(1, count * width * reader.groups))):
            places = Places.drawn(len(part), every, count, self._generators[name])
            found = patches(part, weight, given, transposed, places).to(_precision(width))
            rows = found.reshape(-1, reader.groups, width).transpose(0, 1)
            if name not in self._sums:
                self._origins[name] = rows[:, :1].clone()  # far from 0, squares would leave few digits
                self._sums[name] = rows.new_zeros(reader.groups, width)
                self._products[name] = rows.new_zeros(reader.groups, width, width)
            rows = rows - self._origins[name]
            self._sums[name] += rows.sum(1)
            self._products[name].baddbmm_(rows.transpose(1, 2), rows)
            self.rows[name] += rows.shape[1]

    def moments(self, name: str) -> Moments:
        count = self.rows[name]
        mean = self._sums[name] / count
        covariance = self._products.pop(name).div_(count)
        covariance.baddbmm_(mean[:, :, None], mean[:, None, :], alpha=-1)
        mean += self._origins[name][:, 0]
        return Moments(mean.double(), covariance, count, name in self._by_place)


def _precision(width: int) -> torch.dtype:
    return torch.float32 if width > WIDE else torch.float64


def _too_wide(readers: Mapping[str, Reader], budget: float) -> set[str]:
    """The widest layers, until the covariances of the others fit the budget (bytes) beside theirs by place."""

    def need(reader: Reader, taps: int) -> float:
        width = reader.inputs * taps
        return float(reader.groups * width**2 * _precision(width).itemsize)

    needs = {name: need(each, each.taps) for name, each in readers.items()}
    found: set[str] = set()
    for name in sorted(needs, key=needs.__getitem__, reverse=True):
        if sum(needs.values()) <= budget:
            break
        if readers[name].taps > 1:
            needs[name] = need(readers[name], 1)
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

    The model is in eval mode. `budget` are bytes (None: 320 MiB, or a quarter of the memory that is left): the
    widest layers are known by place only. `check` is called before every batch and may raise; `progress` gets
    (images done, images). Raises BadInput where the model cannot take the images.
    """
    used = images.mixed(count)
    readers, unfit = find_readers(model, graph)
    fit = {name: reader for name, reader in readers.items() if name not in unfit}
    budget = min(BUDGET, available() / 4) if budget is None else budget
    gathering = _Gathering(model, graph, fit, len(used), _too_wide(fit, budget))
    others = OtherUses(model)
    batch = max(1, fitting(model, used.inputs(slice(0, 1)), 4 * BATCH) // 4)
    done = 0
    with torch.no_grad(), others:
        for rows in split_evenly(torch.arange(len(used)), batch):
            check()
            run(model, graph, used.inputs(rows), gathering.observe, called=gathering.called)
            done += len(rows)
            progress(done, len(used))
    moments = dict[str, Moments]()
    for name, reader in fit.items():
        if name in others.found:
            unfit[name] = f"the weight of {reader.layer} is also used by {others.found[name]}"
        elif name not in gathering.rows:
            unfit[name] = f"no call of {reader.layer} was met when the network ran"
        else:
            moments[name] = gathering.moments(name)
            if not bool(torch.isfinite(moments[name].covariance).all()):
                unfit[name] = f"what {reader.layer} reads is not finite"
                del moments[name]
    readers |= _with_biases(model, fit, gathering.biases, others.found)
    return Observed(MappingProxyType(readers), MappingProxyType(moments), MappingProxyType(unfit), len(used))


def _with_biases(
    model: nn.Module, readers: Mapping[str, Reader], given: Mapping[str, set[int]], used: Mapping[str, str]
) -> dict[str, Reader]:
    """The readers with their biases, as far as each is a parameter that nothing else uses."""
    names = {id(value): name for name, value in model.named_parameters() if name not in used}
    uses = [bias for biases in given.values() for bias in biases]
    found = {}
    for name, reader in readers.items():
        biases = {bias for bias in given.get(name, ()) if uses.count(bias) == 1}
        bias = names.get(biases.pop(), "") if len(biases) == len(given.get(name, ())) == 1 else ""
        found[name] = replace(reader, bias=bias)
    return found
