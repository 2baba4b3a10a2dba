"""Numbers that a forward computes from sizes, such as `x.size(1) // 4`: which channels they count.

A network that counts its channels while it runs follows a plan only where the count is used as a size of
channels again: then these are tied to what was counted, so that both lengths stay equal. Any other use (a
division by the count, a comparison with a number) would change when the plan removes channels, so it freezes
what was counted.
"""

import operator
from typing import Any

import torch
from torch import Tensor

from explorer.graph.binding import bind
from explorer.graph.counts import Count
from explorer.graph.labels import Value, varying_dims, without_repeats
from explorer.graph.reads import Width
from explorer.graph.walk import Call, taking_counts


def sizes_of(call: Call, value: Value) -> tuple[int | Count, ...]:
    """The shape of a tensor; counts where an axis carries channels."""
    sizes: list[int | Count] = list(value.shape)
    for field in value.fields:
        dims = varying_dims(field)
        if len(dims) > 1 or isinstance(sizes[dims[0]] if dims else None, Count):
            call.walk.ties.freeze(field, f"its channels are counted for {call.place}")
        elif dims:
            rows = without_repeats(field).movedim(dims[0], 0)
            sizes[dims[0]] = Count(rows.reshape(len(rows), -1)[:, 0].contiguous())
    return tuple(sizes)


@taking_counts
def number(call: Call) -> Any:
    """The value of an operation that returns numbers: known where it is a size or part of one."""
    target, args = call.node.target, call.args
    if target == "size" or (target is getattr and args[1] == "shape"):
        if args and isinstance(args[0], Value):
            sizes = sizes_of(call, args[0])
            dim = call.argument(1, "dim") if target == "size" else None
            return sizes if dim is None else sizes[dim]
    elif target is operator.getitem and isinstance(args[0], tuple):
        return args[0][args[1]]
    elif target is operator.floordiv and isinstance(args[0], Count) and isinstance(args[1], int):
        if args[1] > 0 and args[0].number % args[1] == 0:
            return Count(args[0].labels, args[0].parts * args[1])
    elif target is operator.mul:
        count, times = args if isinstance(args[0], Count) else args[::-1]
        if isinstance(count, Count) and isinstance(times, int) and count.parts == 1 and times > 0:
            return Count(count.labels.repeat_interleave(times))
    elif target in (operator.eq, operator.ne) and all(isinstance(each, Count) for each in args):
        first, second = args
        if first.number == second.number and first.parts == second.parts:
            call.walk.ties.tie(first.labels, second.labels, f"its channels are counted for {call.place}")
            return call.result
    if target not in ("size", "dim", getattr):  # such as numel, or a function that returns nothing
        for value in call.values:
            call.freeze(value, f"its channels are counted for {call.place}")
    call.freeze_counts()
    return call.result


def tie_blocks(call: Call, labels: Tensor, parts: int) -> None:
    """Tie the same position of every block, so that all blocks of an axis lose equally many."""
    blocks = labels.reshape(parts, -1)
    call.walk.ties.tie(
        blocks, blocks[:1], f"{call.place}: its channels stand in blocks with others that stay"
    )


def follow(call: Call, field: Tensor, sizes: list[Any]) -> Tensor | None:
    """A field of a result whose sizes the forward gives, made to follow them; None where it cannot.

    `sizes` has one entry per dimension: a number that is written in the source or comes from elsewhere, a
    count, or -1 for what follows from the others. Where the channels are spread over several dimensions, all
    but one of given numbers, the same position along these is tied.
    """
    dims = varying_dims(field)
    fixed = [dim for dim in dims if not isinstance(sizes[dim], Count) and sizes[dim] != -1]
    derived = [dim for dim in dims if dim not in fixed]
    if not derived:  # where all sizes are numbers, one that was read from a module may follow a plan
        for dim in fixed:
            width = sizes[dim]
            if isinstance(width, Width) and (count := bind(call.walk, width)) is not None:
                sizes = [*sizes[:dim], count, *sizes[dim + 1 :]]
                fixed.remove(dim)
                derived = [dim]
                break
    if len(derived) != 1:
        what = f"{call.place} splits or fixes the channels"
        if dims and len(dims) == len(fixed):
            numbers = ", ".join(str(sizes[dim]) for dim in fixed)
            what = f"{call.place} has a width written as a number ({numbers})"
        call.walk.ties.freeze(field, what)
        return None
    whole = field
    for dim in fixed:
        whole = whole.narrow(dim, 0, 1)
    if fixed:
        call.walk.ties.tie(field, whole, f"{call.place}: its channels stand in blocks with others that stay")
    size = sizes[derived[0]]
    if isinstance(size, Count):
        row = without_repeats(whole).movedim(derived[0], 0).reshape(size.number, -1)[:, 0]
        if not _counts_these(size, field):
            call.walk.ties.tie(size.blocks, row[None], f"{call.place}: as many channels as others that stay")
    return whole.expand(field.shape)


def _counts_these(size: Count, field: Tensor) -> bool:
    """Whether a count is of the very channels of a field."""
    return bool(torch.equal(torch.unique(size.labels), torch.unique(without_repeats(field))))
