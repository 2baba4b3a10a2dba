"""How images are split into batches."""

import math

import torch
from torch import Tensor


def split_evenly(rows: Tensor, batch: int) -> tuple[Tensor, ...]:
    """int64 (N,) -> as few parts of at most `batch` rows as possible, whose sizes differ by at most one.

    No part is much smaller than the others: batch norm fails on a batch of one, and its cumulative average
    counts every batch alike.
    """
    if not len(rows):
        return ()
    return torch.tensor_split(rows, math.ceil(len(rows) / batch))
