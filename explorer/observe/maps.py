"""A layer's feature maps in the dense network and in pruned ones, and how far they are apart.

The error is what channel pruning by reconstruction minimises: He, Zhang & Sun 2017 ("Channel Pruning for
Accelerating Very Deep Neural Networks", eq. 1) and ThiNet (Luo, Wu & Lin 2017), here relative to the dense maps.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from explorer.capture import channel_axis, per_channel, require_images_first, require_met, run
from explorer.data.batches import fitting, split_evenly
from explorer.graph.inputs import Batch
from explorer.observe.channels import place_of
from explorer.values import Bools, ChannelGraph, Floats, Plan

BATCH = 64


@dataclass(frozen=True, eq=False)
class Comparison:
    """Layer number `layer` in the dense network and in pruned ones of one plan, its own output before batch norm.

    `maps` are float32 (channels, height, width) on one image, the dense network's first; of the others NaN where the
    channel is removed. `kept` bool (channels,). Errors are ||pruned - dense||^2 / ||dense||^2 over the kept channels:
    `errors` of every pruned network on that image, `error` of the last one on `images` images. NaN where nothing is
    left to compare: all channels are removed, the pruned network does not call the layer, or the dense maps are zero.
    """

    layer: int
    maps: tuple[Floats, ...]
    kept: Bools
    errors: tuple[float, ...]
    error: float
    images: int

    @property
    def before(self) -> Floats:
        return self.maps[0]

    @property
    def after(self) -> Floats:
        return self.maps[-1]


def next_layer(graph: ChannelGraph, layer: int) -> int | None:
    """The first layer, in execution order, that reads the channels of layer number `layer`."""
    return place_of(graph, layer).reader


def kept_channels(graph: ChannelGraph, plan: Plan, layer: int) -> Bools:
    """Which output channels of a layer the plan keeps, bool (channels,); those of no prunable group stay."""
    owner, unit = graph.layers[layer].out_units.T
    kept = np.ones(len(owner), dtype=bool)
    for index in np.unique(owner[owner >= 0]):
        if (units := plan.keep.get(graph.groups[index].id)) is not None:
            kept[owner == index] = units[unit[owner == index]]
    return kept


def compare(
    dense: nn.Module,
    pruned: Sequence[nn.Module],
    graph: ChannelGraph,
    plan: Plan,
    layer: int,
    image: Batch,
    inputs: Batch,
    check: Callable[[], None] = lambda: None,
) -> Comparison:
    """Compare layer number `layer` on `image` (1, C, H, W), and its error on `inputs` (N, C, H, W).

    Each of `pruned` is `dense` shrunk by the plan, repaired or not; all are in eval mode. Removed output channels
    of the layer are in no sum. `check` is called before every batch. Raises ExplorerError where the dense
    network's call is not met, or is not of one image per row.
    """
    kept = kept_channels(graph, plan, layer)
    rows = torch.from_numpy(kept.nonzero()[0])
    with torch.inference_mode():
        before = _output(dense, graph, layer, image)
        require_met(graph, () if len(before) else (layer,))
        maps, errors = [_maps(before)], []
        for network in pruned:
            check()
            after, left = torch.full_like(before, math.nan), _output(network, graph, layer, image)
            if len(left):
                after[:, rows] = left
            maps.append(_maps(after))
            errors.append(_share(*_squares(before[:, rows], left)))
        difference = size = 0.0
        if len(left):
            for part in split_evenly(torch.arange(len(inputs)), fitting(dense, inputs[:1], BATCH)):
                check()
                whole = _output(dense, graph, layer, inputs[part])[:, rows]
                found = _squares(whole, _output(pruned[-1], graph, layer, inputs[part]))
                difference, size = difference + found[0], size + found[1]
    return Comparison(layer, tuple(maps), kept, tuple(errors), _share(difference, size), len(inputs))


def _squares(before: Tensor, after: Tensor) -> tuple[float, float]:
    """||after - before||^2 and ||before||^2; nothing where `after` is empty."""
    if not len(after):
        return 0.0, 0.0
    whole = before.double()
    return float((after - whole).square().sum()), float(whole.square().sum())


def _share(difference: float, size: float) -> float:
    return difference / size if size else math.nan


def _output(model: nn.Module, graph: ChannelGraph, layer: int, inputs: Batch) -> Tensor:
    """What a layer returns, channels second; an empty tensor where the network does not call it."""
    seen: list[Tensor] = []

    def answered(place: int, x: Tensor) -> None:
        if place == layer:
            require_images_first(graph, layer, x, inputs)
            seen.append(x.movedim(channel_axis(graph, layer), 1).clone())

    run(model, graph, inputs, lambda _layer, x: x, answered)
    return seen[0] if seen else torch.empty(0)


def _maps(output: Tensor) -> Floats:
    """(1, C, ...) -> (C, height, width); without two dimensions a line."""
    flat = output[0] if output.dim() == 4 else per_channel(output, 1)[0].unsqueeze(1)
    return flat.float().numpy()
