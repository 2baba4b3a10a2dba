"""Rules of carriers and joins: operators that keep every element, or the channel axis, where it is.

A carrier satisfies f(x[S]) = f(x)[S] along the channels. A join adds or multiplies two tensors and ties them.
"""

from functools import lru_cache
from typing import Any

import numpy as np
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

    A dimension whose size changes must not tell channels apart, nor may the last two, which are mixed. Max pooling
    may return indices too, and its inverse is given them.
    """
    x, *others = call.values
    shape = call.results[0].shape
    rank = len(x.shape)
    if len(shape) != rank or any(other.shape != x.shape for other in others):
        return freeze_everything(call)
    for other in others:
        x = joined(call, x, other)
    changed = {dim for dim in range(rank) if shape[dim] != x.shape[dim]}
    x = call.whole_along(x, tuple(changed | set(range(2, rank))))
    fields = tuple(_one_along(field, changed).expand(shape) for field in x.fields)
    return call.returned([Value(shape, fields, x.origin) for _ in call.results])


def sample(call: Call) -> Any:
    """functional.grid_sample: every channel is sampled at the same places, which must not depend on channels."""
    x, grid = call.argument(0, "input"), call.argument(1, "grid")
    call.freeze(grid, f"{call.place} mixes the channels")
    x = call.whole_along(x, tuple(range(2, len(x.shape))))
    return Value(
        call.shape,
        tuple(_one_along(f, set(range(2, f.dim()))).expand(call.shape) for f in x.fields),
        x.origin,
    )


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
    if dims is None or isinstance(dims, (Value, bool)):
        return None
    rank = len(call.input.shape)
    return tuple(dim % rank for dim in ((dims,) if isinstance(dims, int) else dims))


def reduce(call: Call, position: int = 1) -> Any:
    """Mean, sum, maximum and the like over named dimensions: those must not tell channels apart.

    `position` is the place of the dimensions among the arguments. What returns several tensors, such as values and
    indices, reduces all alike.
    """
    x, dims = call.input, _dims(call, position, "dim")
    if not dims or len(call.values) != 1:
        return mixed(call)
    results = call.results
    keep = len(results[0].shape) == len(x.shape)  # arguments differ: torch.var takes others before keepdim
    x = call.whole_along(x, dims)
    fields = []
    for field in x.fields:
        for dim in sorted(dims, reverse=True):
            field = field.narrow(dim, 0, 1) if keep else field.select(dim, 0)
        fields.append(field)
    return call.returned([Value(each.shape, tuple(fields), x.origin) for each in results])


def extreme(call: Call) -> Any:
    """max and min: of two tensors, over a dimension, or of everything."""
    return join(call) if len(call.values) > 1 else reduce(call)


def along(call: Call) -> Any:
    """Softmax, cumulative sums, sorting by one dimension and the like: that one must not tell channels apart."""
    if call.module is not None:
        dims: tuple[int, ...] | None = None if call.module.dim is None else (call.module.dim,)
    else:
        dims = _dims(call, 1, "dim")
    if dims is None:
        return mixed(call)
    x = call.whole_along(call.input, dims)
    return call.returned([Value(each.shape, x.fields, x.origin) for each in call.results])


def normalize(call: Call) -> Any:
    """functional.normalize(x, p, dim): divides by a norm over a dimension, 1 by default."""
    dims = call.argument(2, "dim", 1)
    x = call.whole_along(call.input, (dims,) if isinstance(dims, int) else tuple(dims))
    return Value(call.shape, x.fields, x.origin)


def roll(call: Call) -> Any:
    """Shifts along dimensions, which must not tell channels apart."""
    x, dims = call.input, _dims(call, 2, "dims")
    return mixed(call) if not dims else Value(call.shape, call.whole_along(x, dims).fields, x.origin)


def mixed(call: Call) -> Any:
    """An operator that mixes the elements of what it is given."""
    for value in call.values:
        call.freeze(value, f"{call.place} mixes the channels")
    return call.plain()


def join(call: Call) -> Any:
    """Add, multiply, compare, choose: equal axes are tied; an axis of length 1 broadcasts and ties nothing."""
    first, *others = call.values
    for other in others:
        first = joined(call, first, other)
    return Value(call.shape, tuple(f.expand(call.shape) for f in first.fields), first.origin)


def joined(call: Call, first: Value, second: Value) -> Value:
    """Two operands of a join, broadcast to one shape, their equal axes tied."""
    full = np.broadcast_shapes(first.shape, second.shape)  # torch's own would load its compiler
    fields: list[Tensor] = []
    pending = list(second.fields)
    for field in first.fields:
        dims = set(_aligned(varying_dims(field), field.dim(), len(full)))
        partner = next(
            (p for p in pending if dims & set(_aligned(varying_dims(p), p.dim(), len(full)))), None
        )
        if partner is not None:
            pending = [each for each in pending if each is not partner]
            a, b = field.expand(full), partner.expand(full)
            call.walk.ties.tie(a, b, f"{call.place}: joined with channels that stay")
            fields.append(_known(a, b))
        else:
            fields += _beside(call, field, second, full)
    for field in pending:
        fields += _beside(call, field, first, full)
    return Value(full, tuple(fields), call.place)


def _known(a: Tensor, b: Tensor) -> Tensor:
    """The labels of `a`, and those of `b` where it has none."""
    first, second = torch.broadcast_tensors(without_repeats(a), without_repeats(b))
    return torch.where(first >= 0, first, second).expand(a.shape) if bool((first < 0).any()) else a


def _aligned(dims: tuple[int, ...], rank: int, full: int) -> tuple[int, ...]:
    """Dimensions of a tensor of lower rank, in the rank it is broadcast to."""
    return tuple(dim + full - rank for dim in dims)


def _beside(call: Call, field: Tensor, other: Value, full: tuple[int, ...]) -> list[Tensor]:
    """A field that the other operand has no match for: kept where the other broadcasts, else frozen."""
    shape = (1,) * (len(full) - len(other.shape)) + other.shape
    dims = _aligned(varying_dims(field), field.dim(), len(full))
    if any(shape[dim] > 1 for dim in dims):
        call.walk.ties.freeze(field, f"tied to {other.origin} by {call.place}")
        return []
    return [field.expand(full)]


PYTHONS = {  # names of Python's operators -> torch's
    "invert": "bitwise_not", "and_": "bitwise_and", "or_": "bitwise_or", "xor": "bitwise_xor", "iand": "bitwise_and",
    "ior": "bitwise_or", "ixor": "bitwise_xor", "lshift": "bitwise_left_shift", "rshift": "bitwise_right_shift",
    "ilshift": "bitwise_left_shift", "irshift": "bitwise_right_shift", "mod": "remainder", "imod": "remainder",
    "ipow": "pow", "pos": "positive",
}  # fmt: skip


@lru_cache(maxsize=4096)
def is_pointwise(name: str) -> bool:
    """Whether torch tags all operators on tensors of this name as pointwise: one more carrier or join."""
    packet = getattr(torch.ops.aten, PYTHONS.get(name, name), None)
    if not isinstance(packet, torch._ops.OpOverloadPacket):
        return False
    overloads = [getattr(packet, name) for name in packet.overloads()]
    on_tensors = [
        each for each in overloads if [str(first.type) for first in each._schema.arguments[:1]] == ["Tensor"]
    ]
    return bool(on_tensors) and all(torch.Tag.pointwise in each.tags for each in on_tensors)
