"""What excites a channel: every image's maximum activation, and the images with the most and the least of it.

The measure of figure 1 of FBS (Gao et al. 2019, "Dynamic Channel Pruning: Feature Boosting and Suppression", ICLR):
channels that some images excite strongly, and others hardly at all, are what a dynamic method can leave out.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from explorer.data.batches import fitting, split_evenly
from explorer.data.images import Images
from explorer.errors import BadInput
from explorer.observe.channels import BATCH, STRONGEST, place_of, values_at
from explorer.values import ChannelGraph, Floats, read_only


def peaks(
    model: nn.Module,
    graph: ChannelGraph,
    layer: int,
    images: Images,
    rows: Tensor,
    check: Callable[[], None] = lambda: None,
) -> Floats:
    """Maximum over positions of every channel of layer number `layer`, image by image: float32 (rows, channels).

    A channel is seen where the first layer that reads it is given it, behind batch norm and ReLU where there are any
    (`channels.place_of`). `rows` int64 are positions in `images`; `check` is called before every batch. The model is in
    eval mode. Raises BadInput without images, and ExplorerError where the layer's call is not met, or is not of one
    image per row.
    """
    if not len(rows):
        raise BadInput("The most exciting images are found among at least one; `rows` is empty.")
    place = place_of(graph, layer)
    found = []
    with torch.inference_mode():
        for part in split_evenly(rows, fitting(model, images.inputs(rows[:1]), BATCH)):
            check()
            found.append(values_at(model, graph, place, images.inputs(part)).amax(-1).float())
    return read_only(torch.cat(found).numpy())


def most_exciting(peaks: Floats, channel: int, count: int = STRONGEST) -> NDArray[np.int64]:
    """The rows of `peaks` (N, channels) that excite a channel most, the most first; int64 (at most `count`,)."""
    return np.argsort(-peaks[:, channel], kind="stable")[:count]


def least_exciting(peaks: Floats, channel: int, count: int = STRONGEST) -> NDArray[np.int64]:
    """The rows of `peaks` (N, channels) that excite a channel least, the least first; int64 (at most `count`,)."""
    return np.argsort(peaks[:, channel], kind="stable")[:count]
