"""Which channels of one site are kept, from the saliencies of a batch of images: float (N, C) -> bool (N, C)."""

import math

import torch
from torch import Tensor

LEAST = 1e-6  # a saliency below it is none: times that, a channel would be as good as dropped


def above(saliency: Tensor, threshold: float) -> Tensor:
    """ManiDP: channels whose saliency reaches the threshold; one that is 0 is never kept."""
    return (saliency >= threshold) & (saliency > LEAST)


def winners(saliency: Tensor, density: float) -> Tensor:
    """FBS's k-winners-take-all: channels above the (k + 1)-th largest saliency, k = ceil(density x C).

    Strictly, so that ties (many zeros) give fewer than k; density 1 keeps all.
    """
    channels = saliency.shape[1]
    k = kept_of(channels, density)
    if k >= channels:
        return torch.ones_like(saliency, dtype=torch.bool)
    largest = saliency.detach().topk(k + 1, dim=1).values
    return saliency > largest[:, -1:]


def most_active(saliency: Tensor, density: float) -> Tensor:
    """Exactly k = ceil(density x C) channels of every image: those of the largest saliency."""
    channels = saliency.shape[1]
    k = kept_of(channels, density)
    if k >= channels:
        return torch.ones_like(saliency, dtype=torch.bool)
    keep = torch.zeros_like(saliency, dtype=torch.bool)
    return keep.scatter_(1, saliency.topk(k, dim=1).indices, True)


def kept_of(channels: int, density: float) -> int:
    """ceil(density x channels), at least 1; a density in hundredths is not rounded up by floating point."""
    return max(1, math.ceil(round(density * channels, 9)))


RULES = {"manidp": above, "fbs": winners, "active": most_active}
"""By source (`instances.SOURCES`): (saliency, bound) -> kept; a bound is a threshold, or the share that is kept."""
