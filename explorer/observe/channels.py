"""What a channel is: its filter, what it answers to images, and the images that excite it most.

A channel's *activation* is what the first layer that reads it is given, so after batch norm and ReLU where there
are any; of a layer that nobody reads it is the layer's own output.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from explorer.capture import channel_axis, per_channel, require_images_first, require_met, run
from explorer.data.batches import fitting, split_evenly
from explorer.data.images import Images
from explorer.errors import BadInput
from explorer.graph.inputs import Batch
from explorer.values import ChannelGraph, Floats

IMAGES = 500
FEWEST_IMAGES = 20
MOST_MACS = 2e10  # for all images together: a few seconds on two cores
BATCH = 50
POSITIONS = 64  # of each image and channel that the quartiles look at
STRONGEST = 5


@dataclass(frozen=True, eq=False)
class Place:
    """Where the channels of layer number `layer` are looked at: at the input of layer `reader`, None = its output.

    `rows` int64 (channels, positions) are the positions of every channel along the channel axis there: one
    each, or several where maps were flattened. Channels of one unit are looked at together.
    """

    layer: int
    reader: int | None
    rows: Tensor


@dataclass(frozen=True, eq=False)
class Activations:
    """How a layer's channels answered `images` images of the dense network.

    `quartiles` float32 (3, channels): lower quartile, median and upper quartile over images and positions,
    `zeros` float32 (channels,): share of values that are exactly zero. `strongest` int64 (channels, at most 5):
    the images with the largest single value, the largest first, and `peaks` float32, those values.
    """

    images: int
    quartiles: Floats
    zeros: Floats
    strongest: NDArray[np.int64]
    peaks: Floats


def place_of(graph: ChannelGraph, layer: int) -> Place:
    """Where a layer's channels are seen: at the first layer, in execution order, that is given all of them."""
    outputs = graph.layers[layer].out_units
    for reader in sorted(consumer for producer, consumer in graph.edges if producer == layer):
        inputs = graph.layers[reader].in_units
        found = [((inputs == pair).all(1) & (pair[0] >= 0)).nonzero()[0] for pair in outputs]
        if len({len(rows) for rows in found}) == 1 and len(found[0]):
            return Place(layer, reader, torch.from_numpy(np.stack(found)))
    return Place(layer, None, torch.arange(len(outputs)).unsqueeze(1))


def sample(images: Images, macs: int) -> Tensor:
    """int64: evenly spread positions of at most 500 images, fewer where one image costs many `macs`, 20 at least."""
    affordable = max(FEWEST_IMAGES, int(MOST_MACS // max(macs, 1)))
    count = min(IMAGES, affordable, len(images))
    return torch.linspace(0, len(images) - 1, count).round().long()


def activations(
    model: nn.Module,
    graph: ChannelGraph,
    layer: int,
    images: Images,
    rows: Tensor,
    check: Callable[[], None] = lambda: None,
) -> Activations:
    """Statistics of a layer's channels over the images at `rows` (int64); `check` is called before every batch.

    Quartiles are of at most 64 positions of every image and channel, drawn once at random (seed 0); zeros and the
    strongest images are of all positions. The model is in eval mode. Raises BadInput without images, and
    ExplorerError where the layer's call is not met, or is not of one image per row.
    """
    if not len(rows):
        raise BadInput("Activations need at least one image; `rows` is empty.")
    place = place_of(graph, layer)
    drawn: list[Tensor] = []
    peaks: list[Tensor] = []
    zeros = torch.zeros(len(place.rows), dtype=torch.float64)
    count, chosen = 0, torch.zeros(0, dtype=torch.int64)
    with torch.inference_mode():
        for part in split_evenly(rows, fitting(model, images.inputs(rows[:1]), BATCH)):
            check()
            values = values_at(model, graph, place, images.inputs(part))  # (N, channels, positions)
            if not count:
                order = torch.randperm(values.shape[-1], generator=torch.Generator().manual_seed(0))
                chosen = order[:POSITIONS]
            count += values.shape[0] * values.shape[-1]
            zeros += (values == 0).sum((0, 2))
            peaks.append(values.amax(-1))
            drawn.append(values[:, :, chosen].transpose(0, 1).flatten(1))
    highest, where = torch.cat(peaks).topk(min(STRONGEST, len(rows)), dim=0)
    quartiles = np.quantile(torch.cat(drawn, 1).float().numpy(), (0.25, 0.5, 0.75), axis=1)
    return Activations(
        len(rows),
        quartiles.astype(np.float32),
        (zeros / count).float().numpy(),
        rows[where].T.numpy(),
        highest.T.float().numpy(),
    )


def values_at(model: nn.Module, graph: ChannelGraph, place: Place, inputs: Batch) -> Tensor:
    """(N, channels, positions) of inputs (N, C, H, W)."""
    given, own = _seen(model, graph, place, inputs)
    here, layer = (own, place.layer) if place.reader is None else (given, place.reader)
    return per_channel(here, channel_axis(graph, layer))[:, place.rows].flatten(2)


def _seen(model: nn.Module, graph: ChannelGraph, place: Place, inputs: Batch) -> tuple[Tensor, Tensor]:
    """What the reader is given (an empty tensor without reader), and what the layer itself returns.

    Raises ExplorerError where a call is not met, or is not of one image per row.
    """
    seen: dict[int | None, Tensor] = {None: torch.empty(0)}
    own: dict[int, Tensor] = {}

    def observe(layer: int, x: Tensor) -> Tensor:
        if layer == place.reader:
            # A clone, since the network may change it in place.
            seen[layer] = require_images_first(graph, layer, x, inputs).clone()
        return x

    def answered(layer: int, x: Tensor) -> None:
        if layer == place.layer:
            own[layer] = require_images_first(graph, layer, x, inputs).clone()

    run(model, graph, inputs, observe, answered)
    require_met(graph, {place.layer} - own.keys())
    if place.reader is not None:
        require_met(graph, {place.reader} - seen.keys())
    return seen[place.reader], own[place.layer]


def maps(
    model: nn.Module, graph: ChannelGraph, layer: int, channel: int, inputs: Batch
) -> tuple[Floats, bool]:
    """A channel's map on each of `inputs` (N, C, H, W): float32 (N, height, width), and whether it is the layer's own.

    It is the layer's own output, before batch norm, where nobody reads the channel or where its reader is
    given a single number of it, such as after global pooling; else what the reader is given.
    """
    place = place_of(graph, layer)
    with torch.inference_mode():
        given, own = _seen(model, graph, place, inputs)
    if place.reader is not None:
        whole = per_channel(given, channel_axis(graph, place.reader))[:, place.rows[channel]]
        if whole[0].numel() > 1:
            alone = len(place.rows[channel]) == 1
            return _as_map(
                whole.flatten(1), sides(given, channel_axis(graph, place.reader)) if alone else ()
            ), False
    axis = channel_axis(graph, layer)
    return _as_map(per_channel(own, axis)[:, channel], sides(own, axis)), True


def sides(x: Tensor, axis: int) -> tuple[int, ...]:
    """The lengths of a batch's dimensions that are no channels: of (N, C, H, W), or of (N, H, W, C)."""
    return tuple(x.shape[2:] if axis == 1 else x.shape[1:-1])


def _as_map(values: Tensor, shape: tuple[int, ...]) -> Floats:
    """(N, positions) -> (N, height, width); without a shape of two numbers a square, else one line."""
    count = values.shape[1]
    side = math.isqrt(count)
    height, width = shape if len(shape) == 2 else (side, side) if side * side == count else (1, count)
    return values.reshape(-1, height, width).float().numpy()


def filters(model: nn.Module, graph: ChannelGraph, layer: int) -> Floats:
    """The filter of every output channel, mean over its input channels: float32 (channels, height, width).

    Where a filter has a single position (1 x 1 kernels, linear layers), its weights are not averaged: they stand
    in the order of the inputs, in lines of equal length as near to a square as possible; NaN fills the last line.
    """
    here = graph.layers[layer]
    weight = dict(model.named_parameters())[here.weight].detach().float()
    if here.kind == "transposed conv":
        weight = weight.transpose(0, 1)
    if math.prod(here.kernel) > 1:
        return weight.mean(1).reshape(len(weight), -1, weight.shape[-1]).numpy()
    weight = weight.flatten(1)
    width = math.ceil(math.sqrt(weight.shape[1]))
    height = math.ceil(weight.shape[1] / width)
    filled = torch.full((len(weight), height * width), math.nan)
    filled[:, : weight.shape[1]] = weight
    return filled.reshape(len(weight), height, width).numpy()
