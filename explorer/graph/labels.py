"""Labels: which unit every element of a tensor belongs to, and the union-find that ties units together.

A *label* is an integer that stands for one channel of one parameter. A *field* is a label for every element
of a tensor (int32, the tensor's shape, mostly with stride 0 outside the channel axis, so that it costs
nothing); -1 means that the element is in no unit. Carrying labels per element lets any operator that moves
data be run on the labels themselves.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Value:
    """A tensor of the traced network: its shape and one field per independent channel axis.

    `origin` says, for error texts, where a tensor without fields comes from.
    """

    shape: tuple[int, ...]
    fields: tuple[Tensor, ...] = ()
    origin: str = "a tensor whose channels are fixed"


def on_axis(labels: Tensor, shape: tuple[int, ...], dim: int) -> Tensor:
    """A field of the shape that repeats `labels` (length of the dimension,) along the other dimensions."""
    view = [1] * len(shape)
    view[dim] = -1
    return labels.reshape(view).expand(shape)


def varying_dims(field: Tensor) -> tuple[int, ...]:
    """The dimensions along which a field's labels differ."""
    compact = without_repeats(field)
    return tuple(
        dim
        for dim in range(compact.dim())
        if compact.shape[dim] > 1 and bool((compact != compact.narrow(dim, 0, 1)).any())
    )


def without_repeats(field: Tensor) -> Tensor:
    """The field with every stride-0 dimension cut to length 1."""
    for dim in range(field.dim()):
        if field.stride(dim) == 0 and field.shape[dim] > 1:
            field = field.narrow(dim, 0, 1)
    return field


class Ties:
    """Union-find over labels, with the reasons for which a class of labels must stay whole."""

    def __init__(self) -> None:
        self._parent: list[int] = []
        self._reasons: dict[int, str] = {}

    def fresh(self, count: int) -> Tensor:
        """New labels, int32 (count,)."""
        first = len(self._parent)
        self._parent.extend(range(first, first + count))
        return torch.arange(first, first + count, dtype=torch.int32)

    def find(self, label: int) -> int:
        parent = self._parent
        while parent[label] != label:
            parent[label] = parent[parent[label]]
            label = parent[label]
        return label

    def tie(self, first: Tensor, second: Tensor, reason: str) -> None:
        """Tie labels elementwise (shapes broadcast); a label beside -1 is frozen with the reason."""
        a, b = torch.broadcast_tensors(without_repeats(first), without_repeats(second))
        pairs = np.stack([a.reshape(-1).numpy(), b.reshape(-1).numpy()], axis=1)
        for x, y in np.unique(pairs, axis=0).tolist():
            if x < 0 or y < 0:
                self._freeze_one(max(x, y), reason)
                continue
            low, high = sorted((self.find(x), self.find(y)))
            if low != high:
                self._parent[high] = low
                if high in self._reasons:
                    self._reasons.setdefault(low, self._reasons.pop(high))

    def freeze(self, labels: Tensor, reason: str) -> None:
        """Keep all these labels whole; the first reason given for a label stands."""
        for label in np.unique(without_repeats(labels).numpy()).tolist():
            self._freeze_one(label, reason)

    def _freeze_one(self, label: int, reason: str) -> None:
        if label >= 0:
            self._reasons.setdefault(self.find(label), reason)

    def classes(self, fields: tuple[Tensor, ...]) -> set[int]:
        """The classes of all labels in some fields."""
        labels = {label for field in fields for label in np.unique(without_repeats(field).numpy()).tolist()}
        return {self.find(label) for label in labels if label >= 0}

    def roots(self) -> np.ndarray:
        """The class of every label, int64 (labels,)."""
        return np.array([self.find(label) for label in range(len(self._parent))], dtype=np.int64)

    def reason(self, root: int) -> str:
        """Why a class is frozen; empty if it is not."""
        return self._reasons.get(root, "")
