"""A layer's feature maps in the dense network and in the pruned one, and how far they are apart.

The error is what channel pruning by reconstruction minimises: He, Zhang & Sun 2017 ("Channel Pruning for
Accelerating Very Deep Neural Networks", eq. 1) and ThiNet (Luo, Wu & Lin 2017), here relative to the dense maps.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from explorer.capture import channel_axis, per_channel, require_images_first, require_met, run
from explorer.data.batches import fitting, split_evenly
from explorer.observe.channels import place_of
from explorer.values import Bools, ChannelGraph, Floats, Plan

BATCH = 64


@dataclass(frozen=True, eq=False)
class Comparison:
    """Layer number `layer` before and after the cut, its own output before batch norm.

    `before`, `after` float32 (channels, height, width): maps on one image; `after` is NaN where the channel
    is removed. `kept` bool (channels,). `error` = ||after - before|| / ||before|| over the kept channels of
    `images` images (L2 over all values together); NaN where nothing is left to compare: all channels are
    removed, the pruned network does not call the layer, or `before` is all zero.
    """

    layer: int
    before: Floats
    after: Floats
    kept: Bools
    error: float
    images: int


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
    pruned: nn.Module,
    graph: ChannelGraph,
    plan: Plan,
    layer: int,
    image: Tensor,
    inputs: Tensor,
    check: Callable[[], None] = lambda: None,
) -> Comparison:
    """Compare layer number `layer` on `image` (1, C, H, W), and its error on `inputs` (N, C, H, W).

    `pruned` is `dense` shrunk by the plan, recovered or not; both are in eval mode. Removed output channels
    of the layer are in neither sum. `check` is called before every batch. Raises ExplorerError where the dense
    network's call is not met, or is not of one image per row.
    """
    kept = kept_channels(graph, plan, layer)
    rows = torch.from_numpy(kept.nonzero()[0])
    with torch.inference_mode():
        before = _output(dense, graph, layer, image)
        require_met(graph, () if len(before) else (layer,))
        after = torch.full_like(before, math.nan)
        left = _output(pruned, graph, layer, image)
        difference = size = 0.0
        if len(left):
            after[:, rows] = left
            for part in split_evenly(torch.arange(len(inputs)), fitting(dense, inputs[:1], BATCH)):
                check()
                whole = _output(dense, graph, layer, inputs[part])[:, rows].double()
                difference += float((_output(pruned, graph, layer, inputs[part]) - whole).square().sum())
                size += float(whole.square().sum())
    error = math.sqrt(difference / size) if size else math.nan
    return Comparison(layer, _maps(before), _maps(after), kept, error, len(inputs))


def _output(model: nn.Module, graph: ChannelGraph, layer: int, inputs: Tensor) -> Tensor:
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
