"""Numbers that a forward computes from sizes, such as `x.size(1) // 4`: which channels they count.

A network that counts its channels while it runs follows a plan only where the count is used to move those
very channels. Anything else (a division by it, another tensor's view) would change when the plan removes
channels, so it freezes them.
"""

from typing import Any

from torch import fx

from explorer.graph.labels import Value, varying_dims
from explorer.graph.walk import Call, Walk


def counted(walk: Walk, number: fx.Node) -> list[Value]:
    """The tensors whose channels a number may count."""
    if isinstance(walk.values[number], Value):
        return [walk.values[number]]
    source = number.all_input_nodes[0] if number.all_input_nodes else None
    if source is not None and isinstance(tensor := walk.values[source], Value):
        dims = set(range(len(tensor.shape)))
        if number.target == "size" and len(number.args) > 1:
            dims = {int(number.args[1]) % len(tensor.shape)}  # type: ignore[arg-type]
        return [tensor] if _carries(tensor, dims) else []
    if (
        source is not None
        and getattr(number.target, "__name__", "") == "getitem"
        and _whole_size(walk, source)
    ):
        tensor = walk.values[source.all_input_nodes[0]]
        picked: Any = range(len(tensor.shape))[number.args[1]]  # type: ignore[index]
        return [tensor] if _carries(tensor, {picked} if isinstance(picked, int) else set(picked)) else []
    return [tensor for source in number.all_input_nodes for tensor in counted(walk, source)]


def _whole_size(walk: Walk, node: fx.Node) -> bool:
    """Whether a node is `x.shape` or `x.size()`."""
    whole = node.target == "size" or (node.args[1:] == ("shape",) and node.op == "call_function")
    return (
        whole and len(node.all_input_nodes) == 1 and isinstance(walk.values[node.all_input_nodes[0]], Value)
    )


def _carries(tensor: Value, dims: set[int]) -> bool:
    return any(set(varying_dims(field)) & dims for field in tensor.fields)


def freeze_counted(call: Call, allowed: Value | None = None, dims: tuple[int, ...] = ()) -> bool:
    """Freeze the channels that the call's number arguments count; whether there were any.

    A number that gives one of the result's `dims` may count the channels of `allowed`, which lie there.
    """
    own = call.walk.ties.classes(allowed.fields) if allowed else set()
    sizes = _sizes(call.node)
    frozen = False
    for number in call.node.all_input_nodes:
        if isinstance(call.walk.values[number], (Value, tuple)) and not _whole_size(call.walk, number):
            continue
        fitting = any(dim < len(sizes) and sizes[dim] is number for dim in dims)
        for tensor in counted(call.walk, number):
            if not (fitting and call.walk.ties.classes(tensor.fields) == own):
                call.freeze(tensor, f"its channels are counted for {call.place}")
                frozen = True
    return frozen


def _sizes(node: fx.Node) -> tuple[Any, ...]:
    """The sizes that a view or reshape is given."""
    sizes = node.args[1:]
    return tuple(sizes[0]) if len(sizes) == 1 and isinstance(sizes[0], (tuple, list)) else sizes


def written_as_number(call: Call, dims: tuple[int, ...]) -> bool:
    """Whether one of these dimensions of a view's result has its size written as a number in the source."""
    sizes = _sizes(call.node)
    return any(dim >= len(sizes) or (isinstance(sizes[dim], int) and sizes[dim] != -1) for dim in dims)
