"""Rules of carriers and joins: operators that keep every element, or the channel axis, where it is.

A carrier satisfies f(x[S]) = f(x)[S] along the channels. A join adds or multiplies two tensors and ties them.
"""

from typing import Any

import torch
from torch import Tensor

from explorer.graph.labels import Value, varying_dims, without_repeats
from explorer.graph.walk import Call, freeze_everything


def carry(call: Call) -> Any:
    """Elementwise on one tensor: labels pass unchanged."""
    values = call.values
    if len(values) != 1:
        return freeze_everything(call)  # such as clamp with a bound per channel
    return Value(call.shape, values[0].fields, values[0].origin)


def resize(call: Call) -> Any:
    """Changes the sides of images, never their channels: interpolation, pooling and the like.

    A dimension whose size changes must not tell channels apart, nor may the last two, which are mixed.
    """
    x = call.input
    rank = len(x.shape)
    if len(call.shape) != rank or len(call.values) != 1:
        return freeze_everything(call)
    changed = {dim for dim in range(rank) if call.shape[dim] != x.shape[dim]}
    x = call.whole_along(x, tuple(changed | set(range(2, rank))))
    return Value(call.shape, tuple(_one_along(f, changed).expand(call.shape) for f in x.fields), x.origin)


def pad(call: Call) -> Any:
    """Padding of given dimensions, the last ones first: those must not tell channels apart."""
    x, rank = call.input, len(call.input.shape)
    widths = call.module.padding if call.module is not None else call.argument(1, "pad")
    if len(call.values) != 1 or not all(isinstance(width, int) for width in widths):
        return freeze_everything(call)
    padded = {rank - 1 - place // 2 for place, width in enumerate(widths) if width}
    x = call.whole_along(x, tuple(padded))
    return Value(call.shape, tuple(_one_along(f, padded).expand(call.shape) for f in x.fields), x.origin)


def pool(call: Call, sides: int) -> Any:
    """Pooling over the last `sides` dimensions, behind batch and channels.

    Without a batch the last dimensions would still be pooled, but dimension 1 would be one of them.
    """
    return resize(call) if len(call.input.shape) == sides + 2 else freeze_everything(call)


def _one_along(field: Tensor, dims: set[int]) -> Tensor:
    for dim in dims:
        field = field.narrow(dim, 0, 1)
    return field


def _dims(call: Call, position: int, name: str) -> tuple[int, ...] | None:
    dims = call.argument(position, name, call.kwargs.get("axis"))
    if dims is None or isinstance(dims, Value):
        return None
    rank = len(call.input.shape)
    return tuple(dim % rank for dim in ((dims,) if isinstance(dims, int) else dims))


def reduce(call: Call) -> Any:
    """Mean, sum, maximum and the like over named dimensions: those must not tell channels apart."""
    x, dims = call.input, _dims(call, 1, "dim")
    if not dims or len(call.values) != 1:
        return _mixed(call)
    keep = len(call.shape) == len(x.shape)  # arguments differ: torch.var takes others before keepdim
    x = call.whole_along(x, dims)
    fields = []
    for field in x.fields:
        for dim in sorted(dims, reverse=True):
            field = field.narrow(dim, 0, 1) if keep else field.select(dim, 0)
        fields.append(field)
    return Value(call.shape, tuple(fields), x.origin)


def along(call: Call) -> Any:
    """Softmax, cumulative sums, sorting by one dimension and the like: that one must not tell channels apart."""
    if call.module is not None:
        dims: tuple[int, ...] | None = None if call.module.dim is None else (call.module.dim,)
    else:
        dims = _dims(call, 1, "dim")
    if dims is None:
        return _mixed(call)
    x = call.whole_along(call.input, dims)
    return Value(call.shape, x.fields, x.origin)


def normalize(call: Call) -> Any:
    """functional.normalize(x, p, dim): divides by a norm over a dimension, 1 by default."""
    dims = call.argument(2, "dim", 1)
    x = call.whole_along(call.input, (dims,) if isinstance(dims, int) else tuple(dims))
    return Value(call.shape, x.fields, x.origin)


def roll(call: Call) -> Any:
    """Shifts along dimensions, which must not tell channels apart."""
    x, dims = call.input, _dims(call, 2, "dims")
    return _mixed(call) if not dims else Value(call.shape, call.whole_along(x, dims).fields, x.origin)


def _mixed(call: Call) -> Any:
    for value in call.values:
        call.freeze(value, f"{call.place} mixes the channels")
    return call.plain()


def join(call: Call) -> Any:
    """Add or multiply: equal axes are tied; an axis of length 1 broadcasts and ties nothing."""
    values = [value for value in (*call.args, *call.kwargs.values()) if isinstance(value, Value)]
    if len(values) == 1:
        return Value(call.shape, tuple(f.expand(call.shape) for f in values[0].fields), values[0].origin)
    first, second = values
    fields: list[Tensor] = []
    pending = list(second.fields)
    for field in first.fields:
        dims = set(_aligned(varying_dims(field), field.dim(), len(call.shape)))
        partner = next(
            (p for p in pending if dims & set(_aligned(varying_dims(p), p.dim(), len(call.shape)))), None
        )
        if partner is not None:
            pending = [each for each in pending if each is not partner]
            a, b = field.expand(call.shape), partner.expand(call.shape)
            call.walk.ties.tie(a, b, f"{call.place}: joined with channels that stay")
            fields.append(_known(a, b))
        else:
            fields += _beside(call, field, second)
    for field in pending:
        fields += _beside(call, field, first)
    return Value(call.shape, tuple(fields), call.place)


def _known(a: Tensor, b: Tensor) -> Tensor:
    """The labels of `a`, and those of `b` where it has none."""
    first, second = torch.broadcast_tensors(without_repeats(a), without_repeats(b))
    return torch.where(first >= 0, first, second).expand(a.shape) if bool((first < 0).any()) else a


def _aligned(dims: tuple[int, ...], rank: int, full: int) -> tuple[int, ...]:
    """Dimensions of a tensor of lower rank, in the rank it is broadcast to."""
    return tuple(dim + full - rank for dim in dims)


def _beside(call: Call, field: Tensor, other: Value) -> list[Tensor]:
    """A field that the other operand has no match for: kept where the other broadcasts, else frozen."""
    shape = (1,) * (len(call.shape) - len(other.shape)) + other.shape
    dims = _aligned(varying_dims(field), field.dim(), len(call.shape))
    if any(shape[dim] > 1 for dim in dims):
        call.walk.ties.freeze(field, f"tied to {other.origin} by {call.place}")
        return []
    return [field.expand(call.shape)]
