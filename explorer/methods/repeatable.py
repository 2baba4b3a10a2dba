"""What makes a step repeatable: random numbers and images of its own, and copies of all that it changes."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from explorer.data.batches import split_evenly


def seed_of(seed: int, number: int, kind: int) -> int:
    """A seed of its own for every step and use."""
    return int(np.random.default_rng([seed, number, kind]).integers(2**62))


def rows_of(seed: int, number: int, per_epoch: int, rows: Tensor, batch: int) -> Tensor:
    """The images of a step, int64: every epoch in an order of its own."""
    epoch, place = divmod(number, per_epoch)
    order = torch.Generator().manual_seed(seed_of(seed, epoch, 1))
    parts = split_evenly(rows[torch.randperm(len(rows), generator=order)], batch)
    return parts[place % len(parts)]


def require_alike(own: Mapping[str, Tensor], kept: Mapping[str, Tensor]) -> None:
    """Raise ValueError unless tensors have the same names and shapes: copying would stretch some that do not."""
    if {name: each.shape for name, each in own.items()} != {name: each.shape for name, each in kept.items()}:
        raise ValueError("its tensors have other names or shapes")


def copied(state: Any) -> Any:
    """A deep copy of an optimizer's state in what a snapshot may hold."""
    if isinstance(state, Tensor):
        return state.clone()
    if isinstance(state, Mapping):
        return {name: copied(value) for name, value in state.items()}
    if isinstance(state, list | tuple):
        return [copied(value) for value in state]
    return state
