"""Rules of movers: operators that rearrange elements. Each is run on the labels themselves.

Where the forward gives sizes, as in view(n, 2, c // 2, h, w), the labels are tied so that the same line works for
every plan (graph/sizes); sizes written as numbers, and slices at fixed positions, freeze the channels.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from explorer.graph.binding import bind
from explorer.graph.counts import Count, counts_in, without_counts
from explorer.graph.labels import Value, compact, on_axis, varying_dims
from explorer.graph.reads import Width
from explorer.graph.sizes import follow, sizes_of, tie_blocks
from explorer.graph.walk import Call, freeze_everything, taking_counts

AS_ANOTHER = ("expand_as", "view_as", "reshape_as")
REPEATING = ("expand", "expand_as", "broadcast_to")


def _run(call: Call, field: Tensor) -> Any:
    """The operator on a field in place of its tensor."""
    moved = _applied(call, field)
    return compact(moved).expand(moved.shape) if isinstance(moved, Tensor) else moved


def _applied(call: Call, field: Tensor) -> Any:
    if call.module is not None:
        return call.module(field)
    args = without_counts(call.args[1:])
    kwargs = {name: without_counts(value) for name, value in call.kwargs.items() if value is not call.input}
    if call.operator in AS_ANOTHER:
        return field.expand(call.shape) if call.operator == "expand_as" else field.reshape(call.shape)
    if call.node.op == "call_method":
        name = "reshape" if call.node.target == "view" else str(call.node.target)
        return getattr(field, name)(*args, **kwargs)
    function: Any = call.node.target
    return function(field, *args, **kwargs)


def _moved(call: Call, fields: list[Tensor]) -> Value:
    return Value(call.shape, tuple(fields), call.input.origin)


def move(call: Call) -> Any:
    """Permutation, flatten and the like, whose sizes follow from the tensor: labels move with the elements."""
    if any(value is not call.input for value in call.values):
        return freeze_everything(call)
    return _moved(call, [_run(call, field) for field in call.input.fields])


def squeeze(call: Call) -> Any:
    """Without a dimension, squeeze drops every axis of length 1: two channels stay, so that theirs is none."""
    value = move(call)
    if len(call.args) + len(call.kwargs) == 1:
        for field in value.fields:
            for dim in varying_dims(field):
                two = field.narrow(dim, 0, min(2, field.shape[dim]))
                call.walk.ties.freeze(two, f"{call.place} would drop the axis of a single channel")
    return value


def _given_sizes(call: Call) -> list[Any]:
    sizes = call.args[1:] if len(call.args) > 1 else (call.kwargs.get("shape", call.kwargs.get("size")),)
    return list(sizes[0]) if len(sizes) == 1 and isinstance(sizes[0], (tuple, list)) else list(sizes)


@taking_counts
def reshape(call: Call) -> Any:
    """view, reshape and expand to given sizes."""
    return _followed(call, _given_sizes(call))


@taking_counts
def unflatten(call: Call) -> Any:
    """Splits one dimension into given sizes; the others follow the tensor."""
    if call.module is not None:
        dim, sizes = call.module.dim, call.module.unflattened_size
    else:
        dim, sizes = call.argument(1, "dim"), call.argument(2, "sizes")
    dim %= len(call.input.shape)
    after = len(call.input.shape) - dim - 1
    return _followed(call, [-1] * dim + list(sizes) + [-1] * after)


def _followed(call: Call, sizes: list[Any]) -> Any:
    x, fields = call.input, []
    counted = {dim for dim, size in enumerate(sizes) if isinstance(size, Count)}
    for field in x.fields:
        moved = follow(call, _run(call, field), sizes)
        if moved is not None:
            fields.append(moved)
    used = {dim for field in fields for dim in varying_dims(field)}
    for dim in counted - used:  # a length that follows a plan where no channels are
        fields += _filled_along(call, sizes, dim, REPEATING)
    return _moved(call, fields)


def _filled_along(call: Call, sizes: list[Any], dim: int, operators: tuple[str, ...]) -> list[Tensor]:
    """The field of a dimension that is filled with equal values, as many as a count says; else it is frozen."""
    count, before = sizes[dim], dim - len(call.shape) + len(call.input.shape) if call.values else -1
    alike = before < 0 or call.input.shape[before] == 1
    if call.operator in operators and alike and count.parts == 1:
        return [on_axis(count.labels, call.shape, dim)]
    call.walk.ties.freeze(count.labels, f"its channels are counted for {call.place}")
    return []


@taking_counts
def like_another(call: Call) -> Any:
    """expand_as, view_as and reshape_as: to the sizes of another tensor."""
    other = call.argument(1, "other")
    alone = Call(call.walk, call.node, (call.input,), {}, call.result, None)
    return _followed(alone, list(sizes_of(call, other)))


@taking_counts
def fill(call: Call) -> Any:
    """zeros, new_zeros, rand and the like: a tensor of given sizes without channels of its own.

    Sizes that count channels give it those, since a smaller network makes a smaller one.
    """
    sizes = list(call.args[1:] if call.values else call.args) or [call.kwargs.get("size", ())]
    sizes = list(sizes[0]) if isinstance(sizes[0], (tuple, list)) else sizes
    alone = Call(call.walk, call.node, (), {}, call.result, None)
    counted = [dim for dim, size in enumerate(sizes) if isinstance(size, Count)]
    fields = [field for dim in counted for field in _filled_along(alone, sizes, dim, (call.operator,))]
    return Value(call.shape, tuple(fields), call.place)


@taking_counts
def attribute(call: Call) -> Any:
    """`.values` and `.indices` of a tuple, `.T` and `.mT` of a tensor; others freeze what they touch."""
    source, name = call.args
    if isinstance(source, tuple):
        return getattr(source, name)
    if name == "data":
        return Value(call.shape, source.fields, source.origin)
    if name in ("T", "mT"):
        return _moved(call, [compact(getattr(field, name)).expand(call.shape) for field in source.fields])
    return freeze_everything(call)


def gated(call: Call) -> Any:
    """GLU: one half of the channels times the sigmoid of the other, in which the same positions are tied."""
    dim = call.module.dim if call.module is not None else call.argument(1, "dim", -1)
    dim %= len(call.shape)
    fields = [
        field.narrow(dim, 0, call.shape[dim])
        for field in call.input.fields
        if dim not in varying_dims(field) or _parts(call, field, dim, 2) is not None
    ]
    return _moved(call, fields)


def unfold(call: Call) -> Any:
    """functional.unfold: (N, C, ...) -> (N, C x kernel, places), the elements of a window behind each other."""
    x = call.whole_along(call.input, tuple(range(2, len(call.input.shape))))
    labels = call.channels(x, 1)
    return call.output(labels.repeat_interleave(call.shape[1] // len(labels)), 1)


def fold(call: Call) -> Any:
    """functional.fold: (N, C x kernel, places) -> (N, C, H, W): what stands in one window is tied."""
    x = call.whole_along(call.input, (2,))
    labels = call.channels(x, 1).reshape(call.shape[1], -1)
    call.walk.ties.tie(
        labels, labels[:, :1], f"{call.place}: its channels stand in blocks with others that stay"
    )
    return call.output(labels[:, 0].contiguous(), 1)


@taking_counts
def take_item(call: Call) -> Any:
    """`x[i]` of a tuple of tensors returns its value; of a tensor, a part at given places of its dimensions."""
    source, item = call.args
    if isinstance(source, (tuple, list)):
        return source[item]
    items = item if isinstance(item, tuple) else (item,)
    if not isinstance(source, Value) or any(isinstance(each, (Value, list)) for each in items):
        return freeze_everything(call)
    touched = _touched(items, len(source.shape))
    fields, followed = [], set()
    for field in source.fields:
        dims = [dim for dim in varying_dims(field) if dim in touched]
        if all(_at_blocks(call, field, dim, touched[dim]) for dim in dims):
            fields.append(field[without_counts(items)])
            followed |= set(dims)
        else:
            call.walk.ties.freeze(field, f"{call.place} takes channels at fixed places")
            _give_up_counts(call)
    for count in counts_in([item for dim, item in touched.items() if dim not in followed]):
        call.walk.ties.freeze(count.labels, f"its channels are counted for {call.place}")
    return Value(call.shape, tuple(fields), source.origin)


def _touched(items: tuple[Any, ...], rank: int) -> dict[int, Any]:
    """For every dimension of the source that an index changes, the index."""
    consumed = sum(item is not None and item is not Ellipsis for item in items)
    touched, dim = {}, 0
    for item in items:
        if item is Ellipsis:
            dim += rank - consumed
        elif item is not None:
            if item != slice(None):
                touched[dim] = item
            dim += 1
    return touched


def _at_blocks(call: Call, field: Tensor, dim: int, item: Any) -> bool:
    """Whether a slice of the channel axis takes whole blocks of a size that is computed from the axis."""
    if not isinstance(item, slice) or item.step not in (None, 1) or len(varying_dims(field)) > 1:
        return False
    if not item.start and isinstance(item.stop, int) and item.stop >= field.shape[dim]:
        return True  # it cuts nothing off, of a narrower tensor even less
    bounds = [bound for bound in (item.start, item.stop) if bound is not None]
    labels = field.movedim(dim, 0).reshape(field.shape[dim], -1)[:, 0]
    for bound in bounds:
        if isinstance(bound, Width) and 0 < bound < len(labels) and (count := bind(call.walk, bound)):
            reason = f"{call.place}: as many channels as others that stay"
            call.walk.ties.tie(count.blocks, labels[None, :bound], reason)
            continue
        if not isinstance(bound, Count) or not torch.equal(bound.labels, labels):
            return False
        tie_blocks(call, labels, bound.parts)
    return bool(bounds)


def _give_up_counts(call: Call) -> None:
    """Sizes that follow a plan, where the tensor does not: what they count stays too."""
    call.walk.bound.clear()
    call.freeze_counts()


def _parts(call: Call, field: Tensor, dim: int, parts: int) -> Tensor | None:
    """A field of which the same position in each of `parts` equal blocks is tied; None where that cannot be."""
    if len(varying_dims(field)) > 1 or field.shape[dim] % parts:
        call.walk.ties.freeze(field, f"{call.place} splits the channels unevenly")
        return None
    tie_blocks(call, field.movedim(dim, 0).reshape(field.shape[dim], -1)[:, 0], parts)
    return field


@taking_counts
def split(call: Call) -> Any:
    """chunk and split: along the channels into equal blocks whose size follows from the axis, else frozen."""
    x, dim = call.input, call.argument(2, "dim", 0) % len(call.input.shape)
    pieces = len(call.result)
    given = call.argument(1, "chunks" if call.operator == "chunk" else "split_size_or_sections")
    if given is None:
        given = call.kwargs.get("split_size")
    results: list[list[Tensor]] = [[] for _ in range(pieces)]
    for field in x.fields:
        usable: Tensor | None = field
        if dim in varying_dims(field):
            if call.operator == "chunk" or _equal_shares(given, field, dim, pieces):
                usable = _parts(call, field, dim, pieces)
            elif _counted_shares(call, given, field, dim, pieces):
                pass
            else:
                call.walk.ties.freeze(field, f"{call.place} splits the channels at fixed places")
                _give_up_counts(call)
                usable = None
        if usable is not None:
            for place, part in enumerate(_run(call, usable)):
                results[place].append(part)
    values = [
        Value(shape.shape, tuple(fields), x.origin)
        for shape, fields in zip(call.result, results, strict=True)
    ]
    return type(call.result)(values)


def _equal_shares(given: Any, field: Tensor, dim: int, pieces: int) -> bool:
    """Whether split is given the same share of this very axis for every piece."""
    labels = field.movedim(dim, 0).reshape(field.shape[dim], -1)[:, 0]
    shares = list(given) if isinstance(given, (tuple, list)) else [given]
    return all(
        isinstance(each, Count) and each.parts == pieces and torch.equal(each.labels, labels)
        for each in shares
    )


def _counted_shares(call: Call, given: Any, field: Tensor, dim: int, pieces: int) -> bool:
    """Whether every piece of a split is as long as a number says that follows a plan; then their channels are tied."""
    if len(varying_dims(field)) > 1:
        return False
    shares = list(given) if isinstance(given, (tuple, list)) else [given] * pieces
    bound = [bind(call.walk, each) if isinstance(each, Width) else each for each in shares]
    counts = [each for each in bound if isinstance(each, Count)]
    labels = field.movedim(dim, 0).reshape(field.shape[dim], -1)[:, 0]
    if len(counts) < len(bound) or sum(each.number for each in counts) != len(labels):
        return False
    for count, part in zip(counts, labels.split([each.number for each in counts]), strict=True):
        call.walk.ties.tie(count.blocks, part[None], f"{call.place}: as many channels as others that stay")
    return True


def unbind(call: Call) -> Any:
    """One tensor for each place of a dimension, which must not tell channels apart."""
    dim = call.argument(1, "dim", 0)
    x = call.whole_along(call.input, (dim,))
    fields = [field.unbind(dim) for field in x.fields]
    values = [
        Value(shape.shape, tuple(each[place] for each in fields), x.origin)
        for place, shape in enumerate(call.result)
    ]
    return type(call.result)(values)


def concatenate(call: Call) -> Any:
    """Labels are concatenated like the tensors; a tensor without labels contributes channels that stay."""
    dim = call.argument(1, "dim", call.kwargs.get("axis", 0))
    return _concatenated(call, dim % len(call.shape), lambda field: field)


def stack(call: Call) -> Any:
    """Concatenation along a new dimension."""
    dim = call.argument(1, "dim", 0) % len(call.shape)
    return _concatenated(call, dim, lambda field: field.unsqueeze(dim))


def _concatenated(call: Call, dim: int, prepared: Callable[[Tensor], Tensor]) -> Any:
    values = call.argument(0, "tensors")
    if any(len(value.fields) > 1 for value in values):
        return freeze_everything(call)
    if not any(value.fields for value in values):
        return call.plain()
    blank = torch.tensor(-1, dtype=torch.int32)
    parts = [prepared(v.fields[0] if v.fields else blank.expand(v.shape)) for v in values]
    parts = [part for part in parts if part.shape[dim]]  # a slice of the batch may be empty in a batch of one
    if any(set(varying_dims(part)) - {dim} for part in parts):
        return _side_by_side(call, dim, parts)
    # Only the axis that is joined must be written out: elsewhere all parts have stride 0.
    return Value(call.shape, (torch.cat([_line(p, dim) for p in parts], dim).expand(call.shape),), call.place)


def _line(field: Tensor, dim: int) -> Tensor:
    """A field cut to length 1 along all other dimensions."""
    for axis in range(field.dim()):
        if axis != dim:
            field = field.narrow(axis, 0, min(1, field.shape[axis]))
    return field


def _side_by_side(call: Call, dim: int, parts: list[Tensor]) -> Any:
    """Tensors that are joined along another dimension than their channels', which must then be as many."""
    if any(dim in varying_dims(part) for part in parts):
        return freeze_everything(call)
    first = next(part for part in parts if varying_dims(part)).narrow(dim, 0, 1)
    for part in parts:
        call.walk.ties.tie(part.narrow(dim, 0, 1), first, f"{call.place}: joined with channels that stay")
    return Value(call.shape, (first.expand(call.shape),), call.place)


def shuffle(call: Call) -> Any:
    """Channel shuffle of a fixed number of blocks: the same position of every block is tied."""
    groups = call.module.groups if call.module is not None else call.argument(1, "groups")
    fields = [
        _run(call, field)
        for field in call.input.fields
        if 1 not in varying_dims(field) or _parts(call, field, 1, groups) is not None
    ]
    return _moved(call, fields)


def pixel_shuffle(call: Call) -> Any:
    """(C r², H, W) -> (C, r H, r W): the r² channels of one output channel are tied."""
    factor = call.module.upscale_factor if call.module is not None else call.argument(1, "upscale_factor")
    x = call.whole_along(call.input, (-1, -2))
    fields = []
    for field in x.fields:
        labels = field.movedim(-3, 0).reshape(field.shape[-3], -1)[:, 0].reshape(-1, factor**2)
        call.walk.ties.tie(
            labels, labels[:, :1], f"{call.place}: its channels stand in blocks with others that stay"
        )
        shape = [1] * len(call.shape)
        shape[-3] = -1
        fields.append(labels[:, 0].reshape(shape).expand(call.shape))
    return _moved(call, fields)


def pixel_unshuffle(call: Call) -> Any:
    """(C, r H, r W) -> (C r², H, W): every channel has r² places."""
    x = call.whole_along(call.input, (-1, -2))
    return Value(call.shape, tuple(_run(call, field.contiguous()) for field in x.fields), x.origin)


def narrow(call: Call) -> Any:
    """A range of one dimension, which must not tell channels apart."""
    x = call.whole_along(call.input, (call.argument(1, "dim"),))
    return Value(call.shape, tuple(_run(call, field) for field in x.fields), x.origin)


def merge_patches(call: Call) -> Any:
    """torchvision's Swin: (N, H, W, C) -> (N, H/2, W/2, 4 C), four neighbours one behind the other."""
    x = call.whole_along(call.input, (1, 2))
    fields = [field[:, :1, :1].tile(1, 1, 1, 4).expand(call.shape) for field in x.fields]
    return Value(call.shape, tuple(fields), x.origin)
