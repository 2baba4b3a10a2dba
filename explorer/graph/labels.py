"""Labels: an integer for every channel, tied by union-find into the units that are kept or removed together.

A *field* holds a label for every element of a tensor (stride 0 outside the channel axis, so that it costs
nothing); -1 means that the element is in no unit. Carrying labels per element lets any operator that moves
data be run on the labels themselves.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Value:
    """A tensor of the traced network: its shape and one field per independent channel axis.

    `origin` says, for error texts, where a tensor without fields comes from; `parameter` is the first name of
    the parameter or buffer that the tensor is, "" for all others.
    """

    shape: tuple[int, ...]
    fields: tuple[Tensor, ...] = ()
    origin: str = "a tensor whose channels are fixed"
    parameter: str = ""


def on_axis(labels: Tensor, shape: tuple[int, ...], dim: int) -> Tensor:
    """A field of the shape that repeats `labels` (length of the dimension,) along the other dimensions."""
    view = [1] * len(shape)
    view[dim] = -1
    return labels.reshape(view).expand(shape)


def varying_dims(field: Tensor) -> tuple[int, ...]:
    """The dimensions along which a field's labels differ."""
    compact = without_repeats(field)
    shape = compact.shape
    return tuple(
        dim
        for dim in range(compact.dim())
        if shape[dim] > 1 and bool((compact != compact.narrow(dim, 0, 1)).any())
    )


def without_repeats(field: Tensor) -> Tensor:
    """The field with every stride-0 dimension cut to length 1."""
    for dim, (length, stride) in enumerate(zip(field.shape, field.stride(), strict=True)):
        if stride == 0 and length > 1:
            field = field.narrow(dim, 0, 1)
    return field


def compact(field: Tensor) -> Tensor:
    """The same field with stride 0 wherever its labels do not differ; moving data writes them all out."""
    varying = varying_dims(field)
    for dim in range(field.dim()):
        if dim not in varying:
            field = field.narrow(dim, 0, min(1, field.shape[dim]))
    return field


def identity(labels: Tensor) -> tuple[int, int, int]:
    """What tells one tensor of labels (length,) from another while both live: equal for the same labels in memory."""
    return labels.data_ptr(), len(labels), labels.stride(0)


class Ties:
    """Union-find over labels, with the reasons for which a class of labels must stay whole.

    Ties and reasons are collected as they come; `settle` works out the classes at the end, for all at once.
    """

    def __init__(self) -> None:
        self._count = 0
        self._pairs: list[NDArray[np.int32]] = []  # (2, ties)
        self._frozen: list[tuple[NDArray[np.int32], str]] = []

    def fresh(self, count: int) -> Tensor:
        """New labels, int32 (count,)."""
        self._count += count
        return torch.arange(self._count - count, self._count, dtype=torch.int32)

    def tie(self, first: Tensor, second: Tensor, reason: str) -> None:
        """Tie labels elementwise (shapes broadcast); a label beside -1 is frozen with the reason."""
        if first is second:
            return
        a, b = torch.broadcast_tensors(without_repeats(first), without_repeats(second))
        pairs = torch.stack([a.reshape(-1), b.reshape(-1)]).numpy()
        pairs = pairs[:, pairs[0] != pairs[1]]
        alone = (pairs < 0).any(axis=0)
        if alone.any():
            self._frozen.append((pairs[:, alone].max(axis=0), reason))
            pairs = pairs[:, ~alone]
        if pairs.shape[1]:
            self._pairs.append(pairs)

    def freeze(self, labels: Tensor, reason: str) -> None:
        """Keep all these labels whole; the first reason given for a label stands."""
        flat = without_repeats(labels).reshape(-1).numpy()
        flat = flat[flat >= 0]
        if len(flat):
            self._frozen.append((flat, reason))

    def settle(self) -> "Classes":
        """The classes of all labels that were tied so far, and why they are frozen."""
        roots = np.arange(self._count, dtype=np.int64)
        if self._pairs:
            _connect(roots, np.concatenate(self._pairs, axis=1).astype(np.int64))
        codes = {"": 0}
        code = np.zeros(self._count, dtype=np.int64)
        for labels, reason in reversed(self._frozen):  # so that the first reason is written last
            code[roots[labels]] = codes.setdefault(reason, len(codes))
        return Classes(roots, code, tuple(codes))


@dataclass(frozen=True, eq=False)
class Classes:
    """The class of every label, int64 (labels,), named by its smallest label; and why a class must stay.

    `code` is the place in `reasons` of every class, int64 (labels,); 0 stands for "", a class that is free.
    """

    roots: NDArray[np.int64]
    code: NDArray[np.int64]
    reasons: tuple[str, ...]


def _connect(roots: NDArray[np.int64], pairs: NDArray[np.int64]) -> None:
    """Give all labels that pairs (2, ties) connect the smallest label among them, in place.

    Every round hangs the larger of two roots under the smaller and then shortens all paths, so that long
    chains need few rounds.
    """
    while True:
        ends = roots[pairs]
        open_ties = ends[0] != ends[1]
        if not open_ties.any():
            return
        pairs, ends = pairs[:, open_ties], ends[:, open_ties]
        np.minimum.at(roots, ends.max(axis=0), ends.min(axis=0))
        while True:
            shorter = roots[roots]
            if (shorter == roots).all():
                break
            roots[:] = shorter
