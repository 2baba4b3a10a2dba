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
    from einops.parsing import ParsedExpression  # the network's own package

    x = call.input
    if call.module is not None:
        pattern, given = call.module.pattern, call.module.axes_lengths
    else:
        place = (
            1 if isinstance(call.argument(1, "pattern"), str) and "->" in call.argument(1, "pattern") else 2
        )
        pattern = call.argument(place, "pattern")
        given = {
            name: each for name, each in call.kwargs.items() if name not in ("tensor", "pattern", "reduction")
        }
    left, right = (ParsedExpression(side) for side in pattern.split("->"))
    if left.has_ellipsis or right.has_ellipsis or len(call.values) != 1:
        return freeze_everything(call)
    axes = [name for group in left.composition for name in group]
    lengths = {name: int(size) for name, size in given.items()}
    for size, group in zip(x.shape, left.composition, strict=True):
        known = math.prod(lengths.get(name, 1) for name in group)
        lengths |= {name: size // known for name in group if name not in lengths}
    results = [name for group in right.composition for name in group]
    sides = [math.prod(lengths[name] for name in group) for group in right.composition]

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
    call: Call, field: Tensor, axes: list[str], results: list[str], given: dict[str, Any]
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
