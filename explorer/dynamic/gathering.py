"""Instance subnetworks that really run: every layer computes only the channels that its images keep.

A dynamic network computes all channels and zeroes what it dropped, which saves nothing. Here the kept filters, and the
kept channels of what they read, are gathered into smaller weights and smaller inputs. Skipping is exact, since a site
weights its channels behind batch norm, which is folded into the convolution. Whether it is faster is another question,
which `timed` answers by measuring: gathering costs time too, and small layers take little to begin with.
"""

import copy
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.conv import _ConvNd

from explorer.costs import cost
from explorer.data.fitting import require_logits, taking
from explorer.dynamic import choosing
from explorer.dynamic.counting import macs
from explorer.dynamic.network import Dynamic, Passed
from explorer.errors import BadInput, require_whole
from explorer.evaluate.folding import fold
from explorer.evaluate.latency import WARM_UP
from explorer.graph.inputs import Batch, Inputs, call_model
from explorer.instances import Site
from explorer.values import Bools, Latency

REMEMBERED = 2**28  # bytes of sliced weights
TURNS = (  # "again" needs the slices that "gathered" has made
    ("dense", "masked", "gathered", "again"),
    ("gathered", "again", "masked", "dense"),
    ("masked", "gathered", "again", "dense"),
)
CONVOLVE: dict[type[nn.Module], Callable[..., Tensor]] = {
    nn.Conv1d: functional.conv1d,
    nn.Conv2d: functional.conv2d,
    nn.Conv3d: functional.conv3d,
}


@dataclass(frozen=True, eq=False)
class _Slice:
    """A layer's weights without what nobody keeps; `rows` and `columns` int64 say what is left, None = all."""

    weight: Tensor
    bias: Tensor | None
    rows: Tensor | None
    columns: Tensor | None

    @property
    def size(self) -> int:
        """Bytes that it takes."""
        return self.weight.nbytes


class _Slices:
    """Slices by key, at most `limit` bytes of them: the least recently used is forgotten first."""

    def __init__(self, limit: int = REMEMBERED) -> None:
        self._limit, self._size = limit, 0
        self._slices: OrderedDict[tuple[int, bytes, bytes], _Slice] = OrderedDict()

    def get(self, key: tuple[int, bytes, bytes], make: Callable[[], _Slice]) -> _Slice:
        if (found := self._slices.get(key)) is not None:
            self._slices.move_to_end(key)
            return found
        found = self._slices[key] = make()
        self._size += found.size
        while self._size > self._limit and len(self._slices) > 1:
            self._size -= self._slices.popitem(last=False)[1].size
        return found

    def clear(self) -> None:
        self._slices.clear()
        self._size = 0


class Gathered:
    """A private copy of a dynamic network that computes, for every batch, only channels that one of its images keeps.

    Logits are those of `dynamic.passed` up to rounding, for any batch: each image's own multipliers are still applied.
    Grouped convolutions that are not depthwise, transposed ones, and layers of classes other than torch's own run
    dense; what they drop is only zeroed. Sliced weights are remembered, the least recently used forgotten first. One
    thread at a time runs it.
    """

    def __init__(self, dynamic: Dynamic, level: float | None = None) -> None:
        self.level = dynamic.level if level is None else level
        self._dynamic, self._graph, self._sites = dynamic, dynamic.graph, dynamic.sites
        self._heads = copy.deepcopy(dynamic.heads).eval()
        self._shifts = [shift.detach().clone() for shift in dynamic.shifts]
        self._rule, self._bounds = choosing.RULES[dynamic.source], dynamic.bounds(self.level)
        self._slices, self._lock = _Slices(), threading.Lock()
        self._union: Bools = np.zeros(0, dtype=bool)  # of the batch that runs: what any of its images keeps
        self._now: dict[int, tuple[Tensor, Tensor]] = {}  # site -> what the batch keeps there, and times what
        self._chosen: Passed | None = None
        self._model = fold(dynamic.model, dynamic.graph.folds)
        self._replace_forwards()

    @torch.inference_mode()
    def run(self, inputs: Batch, chosen: Passed | None = None) -> Tensor:
        """Logits (B, classes) of inputs (B, ...).

        `chosen` is what `passed` said of these inputs, whose choice is then taken. Without it the saliency modules
        choose; a network that has none (source "active") passes the inputs first, since its choice is known only then.
        Raises BadInput for inputs that the model cannot take.
        """
        if chosen is None and not len(self._heads):
            chosen = self._dynamic.passed(inputs, self.level)
        name = type(self._model).__name__
        hint = f"The graph was traced for images of shape {self._graph.input_shape}."
        with self._lock, taking(name, inputs, hint):
            self._union, self._now, self._chosen = np.zeros(self._sites.channels, dtype=bool), {}, chosen
            return require_logits(name, call_model(self._model, inputs), len(inputs))

    def forget(self) -> None:
        """Forget all sliced weights: every layer is sliced anew when it next runs."""
        with self._lock:
            self._slices.clear()

    def _replace_forwards(self) -> None:
        """Give every site, and every layer that reads one, a forward that runs less."""
        modules = dict(self._model.named_modules())
        places = {layer.name: place for place, layer in enumerate(self._graph.layers)}
        done = set()
        for k, site in enumerate(self._sites.every):
            if site.ahead:
                done.add(site.ahead)
                _set_forward(modules[site.ahead], self._ahead(k, places[site.ahead], modules[site.ahead]))
            done.add(site.layer)
            _set_forward(modules[site.layer], self._site(k, site, modules[site.layer]))
        weights = [layer.weight for layer in self._graph.layers]
        for place, layer in enumerate(self._graph.layers):
            module = modules.get(layer.name)
            dense = isinstance(module, nn.Linear) or (type(module) in CONVOLVE and module.groups == 1)  # type: ignore[union-attr]
            alone = layer.weight == f"{layer.name}.weight" and weights.count(layer.weight) == 1
            if layer.name not in done and dense and alone and (self._sites.inputs[place] >= 0).any():
                assert module is not None
                _set_forward(module, self._reader(place, module))

    def _ahead(self, k: int, place: int, module: nn.Module) -> Callable[[Tensor], Tensor]:
        """The forward of a layer whose channels are those of the depthwise site behind it."""
        own, columns = module.forward, self._sites.every[k].columns

        def forward(x: Tensor) -> Tensor:
            self._choose(k, x)
            found = self._computed(place, module, self._union[columns], x)
            return own(x) if found is None else _scattered(*found, len(self._union[columns]))

        return forward

    def _site(self, k: int, site: Site, module: nn.Module) -> Callable[[Tensor], Tensor]:
        own = module.forward

        def forward(x: Tensor) -> Tensor:
            if not site.ahead:
                self._choose(k, x)
            keep, weights = self._now[k]
            found = self._computed(site.place, module, self._union[site.columns], x)
            y, rows = (own(x), None) if found is None else found
            shift = self._shifts[k] * keep if self._shifts else None
            if rows is not None:
                weights = weights.index_select(1, rows)
                shift = None if shift is None else shift.index_select(1, rows)
            shape = (*weights.shape, *[1] * (y.dim() - 2))
            y = y * weights.view(shape) if found is None else y.mul_(weights.view(shape))
            if shift is not None:
                y += shift.view(shape)
            return _scattered(y, rows, site.size)

        return forward

    def _reader(self, place: int, module: nn.Module) -> Callable[[Tensor], Tensor]:
        """The forward of a layer that computes all its outputs, but not from channels that nobody keeps."""
        own, outputs = module.forward, np.ones(len(self._graph.layers[place].out_units), dtype=bool)

        def forward(x: Tensor) -> Tensor:
            if self._columns(place).all():
                return own(x)
            if not isinstance(module, nn.Linear):
                found = self._computed(place, module, outputs, x)
                assert found is not None
                return found[0]
            part = self._slice(place, module, outputs)
            assert part.columns is not None
            return functional.linear(x.index_select(-1, part.columns), part.weight, part.bias)

        return forward

    def _choose(self, k: int, x: Tensor) -> None:
        """Which channels of site k the batch keeps, and what each is multiplied with, from what enters it."""
        columns = self._sites.every[k].columns
        if self._chosen is not None:
            keep, weights = self._chosen.keep[:, columns], self._chosen.weights[:, columns]
        else:
            saliency = self._heads[k](x)
            keep = self._rule(saliency, self._bounds[k])
            weights = saliency * keep
        self._union[columns] = keep.any(0).numpy()
        self._now[k] = keep, weights.to(x.dtype)

    def _columns(self, place: int) -> Bools:
        """Which inputs of a layer any image of the batch keeps, bool (inputs,)."""
        columns = self._sites.inputs[place]
        return self._union[columns] | (columns < 0)

    def _computed(
        self, place: int, module: nn.Module, kept: Bools, x: Tensor
    ) -> tuple[Tensor, Tensor | None] | None:
        """The kept outputs of a convolution, and which they are (None: all). None where it can only run dense."""
        convolve = CONVOLVE.get(type(module))
        if convolve is None:
            return None
        assert isinstance(module, _ConvNd)
        if module.groups not in (1, module.in_channels):
            return None
        part = self._slice(place, module, kept)
        outputs = len(part.weight)
        if not part.weight.numel():  # nothing is kept of its outputs, or of its inputs: its bias is left
            y = x.new_zeros(len(x), outputs, *_sides(module, x))
            return y if part.bias is None else y + part.bias.view(-1, *[1] * (x.dim() - 2)), part.rows
        if part.columns is not None:
            x = x.index_select(1, part.columns)
        padding: Any = module.padding
        if module.padding_mode != "zeros":
            x = functional.pad(x, module._reversed_padding_repeated_twice, mode=module.padding_mode)
            padding = 0
        groups = outputs if module.groups > 1 else 1
        y = convolve(x, part.weight, part.bias, module.stride, padding, module.dilation, groups)
        return y, part.rows

    def _slice(self, place: int, module: Any, kept: Bools) -> _Slice:
        weight, bias = module.weight, module.bias
        depthwise = isinstance(module, _ConvNd) and module.groups > 1
        columns = np.ones(0, dtype=bool) if depthwise else self._columns(place)

        def make() -> _Slice:
            rows = None if kept.all() else torch.from_numpy(np.flatnonzero(kept))
            sliced = weight if rows is None else weight.index_select(0, rows)
            part = bias if rows is None or bias is None else bias.index_select(0, rows)
            if depthwise:  # output r reads input r // m alone
                multiplier = len(weight) // module.in_channels
                given = np.flatnonzero(kept) // multiplier
                whole = rows is None and multiplier == 1
                return _Slice(sliced, part, rows, None if whole else torch.from_numpy(given))
            if columns.all():
                return _Slice(sliced, part, rows, None)
            chosen = torch.from_numpy(np.flatnonzero(columns))
            return _Slice(sliced.index_select(1, chosen), part, rows, chosen)

        key = place, np.packbits(kept).tobytes(), np.packbits(columns).tobytes()
        return self._slices.get(key, make)


def _set_forward(module: nn.Module, forward: Callable[[Tensor], Tensor]) -> None:
    def called(*given: Tensor, **named: Tensor) -> Tensor:
        return forward(given[0] if given else named["input"])

    module.__dict__["forward"] = called  # of this one module of a private copy, not of its class


def _scattered(y: Tensor, rows: Tensor | None, size: int) -> Tensor:
    """(B, rows, ...) -> (B, size, ...), zeros in between."""
    if rows is None:
        return y
    return y.new_zeros(len(y), size, *y.shape[2:]).index_copy_(1, rows, y)


def _sides(module: _ConvNd, x: Tensor) -> list[int]:
    """The height and width (or length, ...) of what a convolution makes of x."""
    if module.padding == "same":
        return list(x.shape[2:])
    padding = [0] * (x.dim() - 2) if module.padding == "valid" else [int(side) for side in module.padding]
    sizes = zip(x.shape[2:], padding, module.kernel_size, module.stride, module.dilation, strict=True)
    return [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, p, k, s, d in sizes]


def grouped(keep: Bools, size: int) -> list[NDArray[np.int64]]:
    """Rows of `keep` bool (N, channels) in batches of at most `size` images that keep much the same channels.

    Each batch begins with the image that keeps the fewest of those left, and takes those whose channels differ least
    from its. Every row is in one batch, int64.
    """
    require_whole("size", size, 1)
    left = np.argsort(keep.sum(1), kind="stable")
    signs = (
        2 * keep.astype(np.float32) - 1
    )  # the product of two rows: channels alike minus channels that differ
    batches = []
    while len(left):
        alike = signs[left] @ signs[left[0]]
        alike[0] = math.inf
        chosen = np.argsort(-alike, kind="stable")[:size]
        batches.append(np.sort(left[chosen]))
        left = np.delete(left, chosen)
    return batches


@dataclass(frozen=True)
class Timing:
    """Seconds that the same inputs take in four ways, and the `share` of the dense MACs that their subnetworks have.

    `dense`: all channels, batch norm folded. `masked`: all channels, with dropped ones zeroed. `gathered`: only the
    kept ones, their weights sliced for this run, as for an image that comes once. `again`: the same with the slices
    at hand. A choice by each image's most active channels is given to the last two, since it would need all of them.
    """

    dense: Latency
    masked: Latency
    gathered: Latency
    again: Latency
    share: float

    @property
    def verdict(self) -> Literal["faster", "slower", "same"]:
        """How gathered compares with dense; "same" where the middle halves of their runs overlap."""
        if self.gathered.high < self.dense.low:
            return "faster"
        return "slower" if self.gathered.low > self.dense.high else "same"


def timed(dynamic: Dynamic, inputs: Batch, level: float | None = None, runs: int = 30) -> Timing:
    """Run inputs (B, ...) in all ways, in turns, so that other load hits all of them; three more rounds warm up.

    torch's threads are as they are set. `share` counts the saliency modules too, and is the mean over the inputs.
    Raises BadInput for no runs, or inputs that the model cannot take.
    """
    require_whole("runs", runs, 1)
    if not isinstance(inputs, Tensor | Inputs) or len(inputs.shape) < 2 or not len(inputs):
        raise BadInput("Timing needs inputs of shape (B, ...) with at least one image in them.")
    gathered = Gathered(dynamic, level)
    dense = fold(dynamic.model, dynamic.graph.folds)
    masked = dynamic.folded()
    with torch.inference_mode():
        chosen = dynamic.passed(inputs, level)
        known = None if len(dynamic.heads) else chosen
        works: dict[str, Callable[[], object]] = {
            "dense": lambda: call_model(dense, inputs),
            "masked": lambda: masked.passed(inputs, level),
            "gathered": lambda: gathered.run(inputs, known),
            "again": lambda: gathered.run(inputs, known),
        }
        seconds: dict[str, list[float]] = {name: [] for name in works}
        for number in range(WARM_UP + runs):
            for name in TURNS[number % len(TURNS)]:
                if name == "gathered":
                    gathered.forget()
                started = time.perf_counter()
                works[name]()
                seconds[name].append(time.perf_counter() - started)
    counted = macs(dynamic.graph, dynamic.sites, chosen.keep.numpy(), dynamic.module_macs)
    share = float(counted.mean()) / cost(dynamic.graph).macs
    return Timing(
        **{name: _latency(len(inputs), each[WARM_UP:]) for name, each in seconds.items()}, share=share
    )


def _latency(batch: int, seconds: list[float]) -> Latency:
    low, median, high = (float(x) for x in np.percentile(seconds, [25, 50, 75]))
    return Latency(batch, median, low, high, len(seconds))
