"""What a criterion is given, and how the member layers of a group are combined for weight criteria."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from explorer.data import Images
from explorer.repair import Observed
from explorer.values import ChannelGraph, ChannelGroup


@dataclass(frozen=True, eq=False)
class Subject:
    """A network to score: the model in eval mode (a copy where gradients are taken), its graph, images.

    `images` are training images, with labels or without, None for criteria that need none; `observed` what the layers
    read of them, for criteria that look at it.
    """

    model: nn.Module
    graph: ChannelGraph
    images: Images | None
    seed: int
    observed: Observed | None = None


class Criterion(Protocol):
    """A rule that scores channels: higher = keep. One per file, listed in `CRITERIA`.

    `label` is for people, `about` one sentence with the source. `needs_data`: it looks at images.
    `comparable`: its scores are on one scale across groups (see values.Scores).
    """

    @property
    def name(self) -> str: ...
    @property
    def label(self) -> str: ...
    @property
    def about(self) -> str: ...
    @property
    def needs_data(self) -> bool: ...
    @property
    def comparable(self) -> bool: ...

    def __call__(self, subject: Subject) -> dict[str, NDArray[np.float32]]:
        """Scores float32 (units,) for every prunable group."""
        ...


def member_filters(subject: Subject, group: ChannelGroup) -> Tensor:
    """The filters of all layers that produce a group's channels, concatenated: (units, weights).

    Row u holds every weight that produces unit u: of one convolution, or of all that a residual sum or a
    depthwise convolution ties together.
    """
    produced = {
        (layer.weight, 1 if layer.kind == "transposed conv" else 0)
        for layer in subject.graph.layers
        if layer.name in group.layers
    }
    rows = []
    for slot in group.slots:
        if (slot.tensor, slot.dim) in produced:
            tensor = subject.model.get_parameter(slot.tensor).detach()
            rows.append(by_unit(tensor.movedim(slot.dim, 0).flatten(1), slot.unit, group.size))
    return torch.cat(rows, dim=1)


def by_unit(rows: Tensor, unit: NDArray[np.int32], size: int) -> Tensor:
    """Collect the rows (positions, features) of each unit: (size, positions per unit * features), float32 or more."""
    mine = np.flatnonzero(unit >= 0)
    order = mine[np.argsort(unit[mine], kind="stable")]
    found = rows[torch.from_numpy(order)].reshape(size, -1)
    return found.to(torch.promote_types(found.dtype, torch.float32))
