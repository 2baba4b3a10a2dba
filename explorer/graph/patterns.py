"""Rules of einops' rearrange, reduce and repeat, as functions and as layers: movers whose pattern names the axes."""

import math
from typing import Any

from torch import Tensor

from explorer.graph.labels import Value, compact, varying_dims
from explorer.graph.walk import Call, freeze_everything


def rearranged(call: Call) -> Any:
    """An einops pattern such as "b (head c) h w -> b head c (h w)" with the lengths of some axes given.

    The axis whose length is not given follows a plan; where channels are spread over given ones too, the same
    position along these is tied. What is reduced must not tell channels apart.
    """
    x = call.input
    if not isinstance(x, Value) or len(call.values) != 1:  # such as a list of tensors, which are stacked
        return freeze_everything(call)
    if call.module is not None:
        left, right, given = _parsed(call.module.pattern, call.module.axes_lengths, len(x.shape))
    else:
        left, right, given = _asked(call.args, call.kwargs, len(x.shape))
    axes = [name for group in left for name in group]
    lengths = dict(given)
    for size, group in zip(x.shape, left, strict=True):
        known = math.prod(lengths.get(name, 1) for name in group)
        lengths |= {name: size // known for name in group if name not in lengths}
    results = [name for group in right for name in group]
    sides = [math.prod(lengths[name] for name in group) for group in right]

    def moved(field: Tensor) -> Tensor:
        kept = [name for name in results if name in axes]
        for place in reversed([place for place, name in enumerate(axes) if name not in results]):
            field = field.select(place, 0)
        left_over = [name for name in axes if name in results]
        field = field.permute([left_over.index(name) for name in kept])
        for place, name in enumerate(results):
            if name not in axes:
                field = field.unsqueeze(place)
        return field.expand([lengths[name] for name in results]).reshape(sides)

    fields = []
    for field in x.fields:
        whole = _tied(call, field.reshape([lengths[name] for name in axes]), axes, results, given)
        if whole is not None:
            fields.append(compact(moved(whole)).expand(call.shape))
    return Value(call.shape, tuple(fields), x.origin)


def _tied(
    call: Call, field: Tensor, axes: list[Any], results: list[Any], given: dict[Any, int]
) -> Tensor | None:
    """A field with one dimension per axis, tied along the axes of given length; None where it had to be frozen."""
    varying = [axes[dim] for dim in varying_dims(field)]
    fixed = [name for name in varying if name in given]
    reason = ""
    if any(name not in results for name in varying):
        reason = f"{call.place} mixes the channels"
    elif varying and len(fixed) == len(varying):
        reason = (
            f"{call.place} has a width written as a number ({', '.join(str(given[name]) for name in fixed)})"
        )
    elif len(varying) - len(fixed) > 1:
        reason = f"{call.place} splits or fixes the channels"
    if reason:
        call.walk.ties.freeze(field, reason)
        return None
    whole = field
    for name in fixed:
        whole = whole.narrow(axes.index(name), 0, 1)
    if fixed:
        call.walk.ties.tie(field, whole, f"{call.place}: its channels stand in blocks with others that stay")
    return whole.expand(field.shape)


def written_dims(args: Any, kwargs: Any, rank: int) -> list[int]:
    """The dimensions of a tensor of so many for which a call of einops says how long their parts are."""
    left, _, given = _asked(args, kwargs, rank)
    return [dim for dim, group in enumerate(left) if any(name in given for name in group)]


def _asked(args: Any, kwargs: Any, rank: int) -> tuple[list[list[Any]], list[list[Any]], dict[Any, int]]:
    """What a function of einops is asked for, as `_parsed`."""
    given = {name: each for name, each in kwargs.items() if name not in ("tensor", "pattern", "reduction")}
    return _parsed(args[1] if len(args) > 1 else kwargs["pattern"], given, rank)


def _parsed(pattern: str, given: Any, rank: int) -> tuple[list[list[Any]], list[list[Any]], dict[Any, int]]:
    """The axes in every dimension, on the left and on the right, and the lengths of those for which one is written.

    Axes are names, or einops' objects for numbers in the pattern. Dots stand for axes of their own.
    """
    from einops.parsing import AnonymousAxis, ParsedExpression  # the network's own package

    before = ParsedExpression(pattern.partition("->")[0])
    hidden = rank - len(before.composition) + 1 if before.has_ellipsis else 0
    names = " ".join(f"dots{place}" for place in range(hidden))
    left, right = (
        [list(group) for group in ParsedExpression(side).composition]
        for side in pattern.replace("...", names).split("->")
    )
    lengths: dict[Any, int] = {name: int(size) for name, size in given.items()}
    for axis in (axis for group in left + right for axis in group):
        if isinstance(axis, AnonymousAxis):
            lengths[axis] = axis.value
    return left, right, lengths
