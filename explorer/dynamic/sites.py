"""Where a network can drop channels image by image: the outputs of its convolutions, behind batch norm.

As in ManiDP (Tang et al. 2021) neither the convolution that reads the image, nor the projection on a shortcut, nor what
answers for the classes is such a site: the sum that residual branches end in stays whole, and a branch only leaves out
terms of it.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.overrides import TorchFunctionMode

from explorer.capture import channel_axis, run
from explorer.data.fitting import taking
from explorer.errors import BadInput
from explorer.graph.copies import deep_copy
from explorer.graph.inputs import Batch, call_model, mapped
from explorer.graph.randomness import own_torch_numbers
from explorer.instances import Site, Sites
from explorer.values import ChannelGraph, Ints, Layer

RECTIFIERS = {
    functional.relu,
    functional.relu6,
    torch.relu,
    torch.relu_,
    Tensor.relu,
    Tensor.relu_,
}
PROBES = 2  # passes with channels dropped at random, to see which of them reach a reader as zeros
PROBE_IMAGES = 4
Entering = Callable[[int, Tensor], object]
Leaving = Callable[[int, Tensor], Tensor]


def find_sites(model: nn.Module, graph: ChannelGraph, example: Batch, normed: bool) -> Sites:
    """The sites of a model, and which layers run fewer channels because of them.

    A site is a convolution that is called once, by its module. Before a depthwise one, a convolution that feeds
    nothing else runs the same channels. `normed`: only those that batch norm directly follows. `example` float (1, ...)
    gives the shape of the inputs on which the model, a copy of it, is probed. Raises BadInput where there is none.
    """
    probed = without_hooks(deep_copy(model))
    probed.eval()
    chosen = _chosen(probed, graph, normed)
    if not chosen:
        raise BadInput(_why_none(graph, normed))
    norms = dict(graph.folds)
    every, start = [], 0
    for place, ahead in chosen.items():
        layer = graph.layers[place]
        name = "" if ahead is None else graph.layers[ahead].name
        every.append(
            Site(layer.name, place, start, len(layer.out_units), norms.get(layer.name, ""), False, name)
        )
        start += every[-1].size
    inputs = _probe_inputs(example)
    _enliven(probed)
    hint = f"The graph was traced for images of shape {graph.input_shape}."
    with own_torch_numbers(0), taking(type(model).__name__, inputs[0], hint):
        rectified = _rectified(probed, every, inputs)
    every = [Site(s.layer, s.place, s.start, s.size, s.norm, s.layer in rectified, s.ahead) for s in every]
    outputs = [np.full(len(layer.out_units), -1, dtype=np.int32) for layer in graph.layers]
    for site, ahead in zip(every, chosen.values(), strict=True):
        own = np.arange(site.start, site.start + site.size, dtype=np.int32)
        outputs[site.place] = own
        if ahead is not None:
            outputs[ahead] = own
    with own_torch_numbers(0):
        read = _read(probed, graph, every, chosen, inputs)
    return Sites(tuple(every), tuple(read), tuple(outputs))


@contextmanager
def attached(model: nn.Module, sites: Sequence[Site], entering: Entering, leaving: Leaving) -> Iterator[None]:
    """While the model runs: `entering(k, x)` is called with what site k's convolution (or the one ahead of it) is
    given, and `leaving(k, y)` takes the place of what its batch norm, or without one its convolution, returns.

    `model` is a private copy; for one thread at a time.
    """
    handles = []

    def first(k: int) -> Callable[..., None]:
        def hook(_module: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
            entering(k, arguments[0] if arguments else named["input"])

        return hook

    def last(k: int) -> Callable[..., Tensor]:
        def hook(_module: nn.Module, _arguments: Any, output: Tensor) -> Tensor:
            return leaving(k, output)

        return hook

    try:
        for k, site in enumerate(sites):
            handles.append(
                model.get_submodule(site.ahead or site.layer).register_forward_pre_hook(
                    first(k), with_kwargs=True
                )
            )
            handles.append(model.get_submodule(site.norm or site.layer).register_forward_hook(last(k)))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _chosen(model: nn.Module, graph: ChannelGraph, normed: bool) -> dict[int, int | None]:
    """Places of the sites' layers, in execution order, each with that of the layer ahead of it."""
    modules = dict(model.named_modules())
    norms = dict(graph.folds)
    weights = [layer.weight for layer in graph.layers]
    producers, consumers = _neighbours(graph)
    returned = {place for places in graph.exits for place in places}

    def possible(place: int) -> bool:
        layer = graph.layers[place]
        module = modules.get(layer.name)
        plain = isinstance(module, _ConvNd) and not isinstance(module, _ConvTransposeNd)
        return (
            plain
            and layer.weight == f"{layer.name}.weight"
            and weights.count(layer.weight) == 1
            and place not in graph.entries
            and place not in returned
            and not _is_shortcut(graph, place, producers, consumers)
            and (not normed or layer.name in norms)
        )

    chosen: dict[int, int | None] = {place: None for place in range(len(graph.layers)) if possible(place)}
    for place in list(chosen):
        layer = graph.layers[place]
        before = producers[place]
        if layer.kind != "depthwise conv" or len(before) != 1:
            continue
        (ahead,) = before
        alone = consumers.get(ahead, set()) == {place}
        if ahead in chosen and alone and np.array_equal(graph.layers[ahead].out_units, layer.out_units):
            del chosen[ahead]
            chosen[place] = ahead
    return chosen


def _neighbours(graph: ChannelGraph) -> tuple[dict[int, set[int]], dict[int, set[int]]]:
    """The layers that feed each layer (-1: the image), and those that each feeds."""
    producers: dict[int, set[int]] = {place: set() for place in range(len(graph.layers))}
    consumers: dict[int, set[int]] = {}
    for source, reader in graph.edges:
        producers[reader].add(source)
        consumers.setdefault(source, set()).add(reader)
    for place in graph.entries:
        producers[place].add(-1)
    return producers, consumers


def _is_shortcut(
    graph: ChannelGraph, place: int, producers: dict[int, set[int]], consumers: dict[int, set[int]]
) -> bool:
    """Whether a 1 x 1 convolution leads past a branch: another layer reads the same and leads to the same sum."""
    layer = graph.layers[place]
    if math.prod(layer.kernel) != 1:
        return False
    groups = _groups(layer)
    for other in range(len(graph.layers)):
        if other == place or producers[other] != producers[place] or not producers[place]:
            continue
        if math.prod(graph.layers[other].kernel) > 1 and groups and _groups(graph.layers[other]) == groups:
            return True
        ahead, seen = list(consumers.get(other, ())), {other, place}
        while ahead:
            here = ahead.pop()
            if here in seen:
                continue
            seen.add(here)
            if _groups(graph.layers[here]) == groups and groups:
                return True
            ahead += consumers.get(here, ())
    return False


def _groups(layer: Layer) -> set[int]:
    return {int(group) for group in layer.out_units[:, 0] if group >= 0}


def _why_none(graph: ChannelGraph, normed: bool) -> str:
    convolutions = sum("conv" in layer.kind for layer in graph.layers)
    if normed and convolutions > 1:
        which = "none but the first, or one on a shortcut," if graph.folds else "none"
        return (
            f"Of this network's convolutions {which} is directly followed by batch norm, and ManiDP and FBS weight "
            "channels behind it. Take each image's most active channels instead, which needs no batch norm, or a "
            "network that has some."
        )
    return (
        "This network has no convolution whose channels could be dropped image by image: the first one reads the "
        "image itself, one on a shortcut keeps a sum whole, and the last one answers for the classes."
    )


def without_hooks(model: nn.Module) -> nn.Module:
    """The model, a private copy, without its users' forward hooks: they are for their own runs."""
    for module in model.modules():
        module._forward_hooks.clear()
    return model


@torch.no_grad()
def _enliven(probed: nn.Module) -> None:
    """Give a copy that is probed shifts, statistics and biases that are not 0, as training would.

    Else a batch norm that was never trained passes zeros on as zeros, and what was seen no longer holds afterwards.
    """
    random = torch.Generator().manual_seed(2)

    def noise(tensor: Tensor) -> Tensor:
        return torch.randn(tensor.shape, generator=random).to(tensor)

    for name, buffer in probed.named_buffers():
        if name.endswith("running_mean"):
            buffer.add_(0.3 * noise(buffer))
    for parameter in probed.parameters():
        if parameter.is_floating_point() and bool((parameter == parameter.flatten()[:1]).all()):
            parameter.add_(0.3 * noise(parameter))


def _probe_inputs(example: Batch) -> list[Batch]:
    random = torch.Generator().manual_seed(0)

    def drawn(each: Tensor) -> Tensor:
        return torch.randn((PROBE_IMAGES, *each.shape[1:]), generator=random, dtype=each.dtype)

    return [mapped(example, drawn) for _ in range(PROBES)]


class _Relus(TorchFunctionMode):
    """Notes which of `outputs` (id -> layer) a ReLU is given."""

    def __init__(self, outputs: dict[int, str], found: set[str]) -> None:
        super().__init__()
        self._outputs, self._found = outputs, found

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        low = args[1] if len(args) > 1 else (kwargs or {}).get("min_val", -1.0)
        rectifies = func in RECTIFIERS or (
            func is functional.hardtanh and low >= 0
        )  # ReLU6 is one from 0 to 6
        if rectifies and args and id(args[0]) in self._outputs:
            self._found.add(self._outputs[id(args[0])])
        return func(*args, **(kwargs or {}))


def _rectified(model: nn.Module, every: Sequence[Site], inputs: Sequence[Batch]) -> set[str]:
    """The layers whose outputs, behind batch norm, go into a ReLU as they are."""
    found: set[str] = set()
    outputs: dict[int, str] = {}
    held: list[Tensor] = []  # as long as it lives, no other tensor has its id

    def leaving(k: int, y: Tensor) -> Tensor:
        held.append(y)
        outputs[id(y)] = every[k].layer
        return y

    with torch.no_grad(), attached(model, every, lambda _k, _x: None, leaving), _Relus(outputs, found):
        call_model(model, inputs[0])
    return found


def _read(
    model: nn.Module,
    graph: ChannelGraph,
    every: Sequence[Site],
    chosen: dict[int, int | None],
    inputs: Sequence[Batch],
) -> list[Ints]:
    """For every layer the columns of its inputs, where a dropped channel was seen to arrive as zeros."""
    producers, _consumers = _neighbours(graph)
    read = [_mapped(graph, place, every, producers[place]) for place in range(len(graph.layers))]
    ahead = {place: before for place, before in chosen.items() if before is not None}
    for site in every:
        if site.place in ahead:
            read[site.place] = np.arange(site.start, site.start + site.size, dtype=np.int32)
    random = torch.Generator().manual_seed(1)
    width = sum(site.size for site in every)
    for each in inputs:
        keep = torch.rand(len(each), width, generator=random) < 0.5

        def leaving(k: int, y: Tensor, keep: Tensor = keep) -> Tensor:
            here = keep[:, every[k].columns]
            return y * here.view(*here.shape, *[1] * (y.dim() - 2)).to(y.dtype)

        def observe(place: int, x: Tensor, keep: Tensor = keep) -> Tensor:
            columns = torch.from_numpy(read[place]).long()
            if place in ahead or not (columns >= 0).any():
                return x
            along = x.movedim(channel_axis(graph, place), 1)
            if len(along) != len(keep) or along.shape[1] != len(columns):
                read[place] = np.full_like(read[place], -1)
                return x
            silent = (along.flatten(2) == 0).all(2) if along.dim() > 2 else along == 0
            dropped = ~keep[:, columns.clamp(min=0)] & (columns >= 0)
            leaks = {_site_of(every, int(c)) for c in columns[(dropped & ~silent).any(0)]}
            for k in leaks:
                inside = (read[place] >= every[k].start) & (read[place] < every[k].start + every[k].size)
                read[place] = np.where(inside, np.int32(-1), read[place])
            return x

        with torch.no_grad(), attached(model, every, lambda _k, _x: None, leaving):
            run(model, graph, each, observe)
    return read


def _site_of(every: Sequence[Site], column: int) -> int:
    return next(k for k, site in enumerate(every) if site.start <= column < site.start + site.size)


def _mapped(graph: ChannelGraph, place: int, every: Sequence[Site], producers: set[int]) -> Ints:
    """A guess at the columns of a layer's inputs, from the units of what feeds it; the probes put it right.

    Channels of one unit are taken in the order in which they are produced. Where a layer is fed more of them than it
    reads, they were summed, and a dropped one does not arrive as zeros.
    """
    layer = graph.layers[place]
    sites = {site.place: site for site in every}
    given: dict[tuple[int, int], list[int]] = {}
    for source in sorted(producers - {-1}):
        start = sites[source].start if source in sites else None
        for channel, (group, unit) in enumerate(graph.layers[source].out_units.tolist()):
            given.setdefault((group, unit), []).append(-1 if start is None else start + channel)
    wanted = [(group, unit) for group, unit in layer.in_units.tolist()]
    counts = Counter(wanted)
    turns = {pair: iter(columns) for pair, columns in given.items() if len(columns) == counts[pair]}
    return np.array([next(turns[pair]) if pair in turns else -1 for pair in wanted], dtype=np.int32)
