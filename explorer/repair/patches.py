"""What a layer multiplies its weights with: patches of its input, at places that are drawn for every image."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True, eq=False)
class Places:
    """Output positions at which a layer's patches are taken: int64 (N, P), row-major over its output's sides."""

    flat: Tensor

    @classmethod
    def drawn(cls, images: int, positions: int, count: int, generator: torch.Generator) -> "Places":
        """`count` different positions of every image, or all where there are no more."""
        if count >= positions:
            return cls(torch.arange(positions).expand(images, positions))
        return cls(torch.rand((images, positions), generator=generator).topk(count, dim=1).indices)

    def of(self, output: Tensor) -> Tensor:
        """(N, C, ...) -> (N, P, C): the outputs there."""
        flat = output.flatten(2)
        return flat.gather(2, self.flat[:, None].expand(-1, flat.shape[1], -1)).transpose(1, 2)


def as_matrix(weight: Tensor, transposed: bool, groups: int) -> Tensor:
    """A layer's weight as what its patches are multiplied with: (groups, outputs of a group, its inputs * taps)."""
    if weight.dim() > 2 and transposed:
        weight = weight.flip(tuple(range(2, weight.dim()))).transpose(0, 1)
    return weight.reshape(groups, weight.shape[0] // groups, -1)


def as_weight(matrix: Tensor, like: Tensor, transposed: bool) -> Tensor:
    """The inverse of `as_matrix`, in the shape of `like`."""
    if like.dim() > 2 and transposed:
        sides = tuple(range(2, like.dim()))
        return matrix.reshape(like.shape[1], like.shape[0], *like.shape[2:]).transpose(0, 1).flip(sides)
    return matrix.reshape(like.shape)


def output_sides(x: Tensor, weight: Tensor, given: Mapping[str, Any], transposed: bool) -> tuple[int, ...]:
    """The sides of what a convolution returns."""
    padded, dilation, stride = _as_plain(x[:1, :1], weight, given, transposed)
    reach = (d * (k - 1) for d, k in zip(dilation, weight.shape[2:], strict=True))
    return tuple((side - r - 1) // s + 1 for side, r, s in zip(padded.shape[2:], reach, stride, strict=True))


def patches(x: Tensor, weight: Tensor, given: Mapping[str, Any], transposed: bool, places: Places) -> Tensor:
    """(N, C, ...) -> (N, P, C, taps): what the layer sums at each of the places, borders of zeros included.

    A transposed convolution is one over its input with zeros in between, its filters turned round.
    """
    if x.shape[1] == 0:
        return x.new_zeros((len(x), places.flat.shape[1], 0, 1))
    padded, dilation, stride = _as_plain(x, weight, given, transposed)
    sides, rest = output_sides(x, weight, given, transposed), places.flat
    index, step = torch.zeros((*rest.shape, 1), dtype=torch.int64), 1
    for dim in reversed(range(len(sides))):  # positions in the padded input, flattened
        at = (rest % sides[dim])[..., None, None] * stride[dim]
        taps = torch.arange(weight.shape[dim + 2])[:, None] * dilation[dim]
        index = ((at + taps) * step + index[..., None, :]).flatten(2)
        rest, step = rest // sides[dim], step * padded.shape[dim + 2]
    found = padded.flatten(2).gather(2, index.flatten(1)[:, None].expand(-1, x.shape[1], -1))
    return found.unflatten(2, index.shape[1:]).transpose(1, 2)


def _as_plain(
    x: Tensor, weight: Tensor, given: Mapping[str, Any], transposed: bool
) -> tuple[Tensor, tuple[int, ...], tuple[int, ...]]:
    """The padded input of the plain convolution that a layer is, its dilation and its stride."""
    sides = weight.dim() - 2
    stride, dilation = (_each(given.get(name, 1), sides) for name in ("stride", "dilation"))
    reach = [d * (k - 1) for d, k in zip(dilation, weight.shape[2:], strict=True)]
    padding = given.get("padding", 0)
    if isinstance(padding, str):
        before = [r // 2 if padding == "same" else 0 for r in reach]
        after = [r - b if padding == "same" else 0 for r, b in zip(reach, before, strict=True)]
    else:
        before = after = list(_each(padding, sides))
    if transposed:
        more = _each(given.get("output_padding", 0), sides)
        after = [r - b + m for r, b, m in zip(reach, before, more, strict=True)]
        before = [r - b for r, b in zip(reach, before, strict=True)]
        x, stride = _spread(x, stride), (1,) * sides
    amounts = [amount for pair in reversed(list(zip(before, after, strict=True))) for amount in pair]
    return (functional.pad(x, amounts) if any(amounts) else x), dilation, stride


def _spread(x: Tensor, stride: tuple[int, ...]) -> Tensor:
    """The input with stride - 1 zeros between its positions."""
    if max(stride) == 1:
        return x
    sides = [(side - 1) * s + 1 for side, s in zip(x.shape[2:], stride, strict=True)]
    wide = x.new_zeros((*x.shape[:2], *sides))
    places: tuple[Any, ...] = (..., *(slice(None, None, s) for s in stride))
    wide[places] = x
    return wide


def _each(value: Any, sides: int) -> tuple[int, ...]:
    values = (value,) if isinstance(value, int) else tuple(value)
    return values * sides if len(values) == 1 else values
