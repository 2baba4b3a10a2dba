"""Numbers that the forward reads from modules and uses as sizes of channels: what they count, and how they follow."""

import torch
from torch import nn

from explorer.graph.counts import Count
from explorer.graph.reads import WIDTHS, Width
from explorer.graph.walk import Walk


def bind(walk: Walk, width: Width) -> Count | None:
    """What a number that was read from a module counts, for a use as a size of channels; None if unknown.

    A layer's number counts a dimension of its weight, and is set by surgery. One of the user's own modules gets
    labels that the use ties to channels; `bind_numbers` then looks what tells how many are left.
    """
    module, attribute = width.source
    place = _counted_dimension(walk.traced.twin.modules[module], attribute)
    if place is not None:
        name, dim, length = place
        tensor = walk.traced.twin.tensors.get(f"{module}.{name}" if module else name)
        if tensor is None:
            return None
        labels = walk.axis(tensor, dim, length)
        walk.repeat(module, attribute, tensor, dim, length)
    elif attribute in WIDTHS:
        return None
    else:
        if width.source not in walk.numbers:
            walk.numbers[width.source] = walk.ties.fresh(int(width) * width.parts // width.times)
        labels = walk.numbers[width.source]
    walk.bound.append(width)
    width.root.followed = True
    return Count(labels.repeat_interleave(width.times) if width.times > 1 else labels, width.parts)


def follows_groups(walk: Walk, groups: Width, layer: str) -> bool:
    """Whether a number of groups was read from the layer whose weight is used: surgery sets it."""
    follows = groups.source == (layer, "groups") and groups.times == groups.parts == 1
    if follows:
        walk.bound.append(groups)
        groups.root.followed = True
    return follows


def bind_numbers(walk: Walk) -> None:
    """Let the numbers of the user's modules that sizes of channels were read from follow a tensor; else freeze."""
    if not walk.numbers:
        return
    roots = torch.from_numpy(walk.ties.settle().roots)
    constants = {size for shape in walk.constants for size in shape}
    for (module, attribute), labels in walk.numbers.items():
        where = f"{module}.{attribute}" if module else attribute
        follows = next(
            (
                axis
                for axis in walk.axes.values()
                if len(axis.labels) == len(labels)
                and not bool((axis.labels < 0).any())
                and torch.equal(roots[axis.labels], roots[labels])
            ),
            None,
        )
        if (line := walk.reads.get((module, attribute))) is not None or len(labels) in constants:
            walk.ties.freeze(
                labels, f"the forward reads its width from {where}" + (f" ({line})" if line else "")
            )
        elif follows is None:
            walk.ties.freeze(labels, f"the forward reads its width from {where}, which no layer follows")
        else:
            walk.repeat(module, attribute, follows.tensor, follows.dim, len(labels))


def _counted_dimension(module: nn.Module, attribute: str) -> tuple[str, int, int] | None:
    """(tensor, dimension, length) that a number of a layer counts: as far as it counts the whole of one."""
    tensors = {**module._parameters, **module._buffers}
    weight = next(
        (each for name in ("weight", "running_mean") if (each := tensors.get(name)) is not None), None
    )
    value = vars(module).get(attribute)
    if weight is None or attribute not in WIDTHS:
        return None
    name = "weight" if tensors.get("weight") is not None else "running_mean"
    transposed = vars(module).get("transposed", False)
    dims = {"out_channels": int(transposed), "in_channels": int(not transposed), "in_features": 1}
    dim = dims.get(attribute, 0)
    if vars(module).get("groups", 1) > 1 and attribute in ("in_channels", "groups"):
        dim = 0 if weight.shape[1] == 1 else 1  # depthwise: inputs stand along dimension 0
    if dim >= weight.dim() or weight.shape[dim] != value:
        return None
    return name, dim, weight.shape[dim]
