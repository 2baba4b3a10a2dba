"""Criteria on what the next layers read: share of zeros (APoZ, Hu et al. 2016) and mean magnitude."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from explorer.capture import input_statistic
from explorer.criteria.subject import Subject
from explorer.data.batches import fitting, split_evenly

BATCH = 128


@final
@dataclass(frozen=True)
class ActivationMean:
    """Mean of a statistic of the activations, over images, positions and all layers that read the unit.

    Activations are taken where they are read, so after ReLU where there is one.
    """

    name: str
    label: str
    about: str
    statistic: Callable[[Tensor], Tensor]
    needs_data: bool = True
    comparable: bool = False

    def __call__(self, subject: Subject) -> dict[str, NDArray[np.float32]]:
        images = subject.images
        assert images is not None
        rows = torch.arange(len(images))
        batch = fitting(subject.model, images.inputs(slice(0, 1)), BATCH)
        inputs = (images.inputs(part) for part in split_evenly(rows, batch))
        means = input_statistic(subject.model, subject.graph, inputs, self.statistic)
        return {group: mean.float().numpy() for group, mean in means.items()}


def _is_active(x: Tensor) -> Tensor:
    return x != 0


APOZ = ActivationMean(
    "apoz",
    "how often active (APoZ)",
    "1 - average percentage of zeros where the channel is read; says little without ReLU or after "
    "global pooling (Hu et al. 2016).",
    _is_active,
)
MEAN_ACTIVATION = ActivationMean(
    "mean_activation", "mean activation", "Mean absolute activation where the channel is read.", Tensor.abs
)
