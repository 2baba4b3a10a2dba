"""How images are split into batches, and how many of them memory should hold at once."""

import math
from collections.abc import Callable, Mapping
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from explorer.graph.inputs import Batch, call_model

BUDGET = 1024**3  # bytes that the activations of a batch may take
SMALL = 2**14  # numbers of an input up to which no network's usual batch comes near the budget
_KNOWN: WeakKeyDictionary[nn.Module, dict[Any, tuple[int, int]]] = WeakKeyDictionary()  # what _Taken found


def split_evenly(rows: Tensor, batch: int) -> tuple[Tensor, ...]:
    """int64 (N,) -> as few parts of at most `batch` rows as possible, whose sizes differ by at most one.

    No part is much smaller than the others: batch norm fails on a batch of one, and its cumulative average
    counts every batch alike.
    """
    if not len(rows):
        return ()
    return torch.tensor_split(rows, math.ceil(len(rows) / batch))


def fitting(model: nn.Module, one: Batch, usual: int, gradients: bool = False) -> int:
    """The usual batch, or as many images as BUDGET holds the activations of, at least 1.

    `one` (1, ...) is an input; where it is large, the network, in eval mode, is run on it, once for every shape, to see
    what it takes: without gradients about the largest operator and as much again, with them all that operators return,
    and half as much for gates beside them. What cannot be run keeps the usual batch: whoever runs it next says why.
    """
    if one.numel() <= SMALL or usual <= 1:
        return usual
    known = _KNOWN.setdefault(model, {})
    key = tuple(one.shape), one.dtype
    if key not in known:
        taken = _Taken()
        try:
            with torch.no_grad(), taken:
                call_model(model, one)
        except Exception:  # noqa: BLE001 (a user's forward may raise anything)
            return usual
        known[key] = taken.total, taken.largest
    total, largest = known[key]
    each = 1.5 * total if gradients else 2.0 * largest
    return max(1, min(usual, int(BUDGET / max(each, 1.0))))


class _Taken(TorchDispatchMode):
    """Bytes of what operators return, `total`, and of what the `largest` of them is given and returns."""

    def __init__(self) -> None:
        super().__init__()
        self.total, self.largest = 0, 0

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        answer = func(*args, **(kwargs or {}))
        given, made = (
            {each.data_ptr(): each.nbytes for each in tree_leaves(tensors) if isinstance(each, Tensor)}
            for tensors in (args, answer)
        )
        new = sum(size for place, size in made.items() if place not in given)  # no views, nothing in place
        self.total += new
        if new:
            self.largest = max(self.largest, new + sum(given.values()))
        return answer
