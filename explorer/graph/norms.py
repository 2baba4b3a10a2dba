"""Rules of normalisation layers and of activations with a parameter per channel.

Batch norm and instance norm act on each channel by itself: carriers whose tensors are tied to the channels. Group
norm mixes the channels of a group, which become one unit. Layer norm mixes what it normalises.
"""

from typing import Any

import torch
from torch import Tensor

from explorer.graph.counts import Count
from explorer.graph.labels import Value
from explorer.graph.walk import Call, freeze_everything, taking_counts


def batch_norm(call: Call) -> Any:
    """Batch norm: per-channel scale and shift, and statistics."""
    tensors = [call.tensor(name) for name in ("weight", "bias", "running_mean", "running_var")]
    return _per_channel(call, [name for name in tensors if name], ("num_features",))


def instance_norm(call: Call) -> Any:
    """Instance norm: every channel of an image is normalised by itself."""
    if len(call.input.shape) < 3:
        return freeze_everything(call)
    x = call.whole_along(call.input, tuple(range(2, len(call.input.shape))))
    if call.module.affine or call.module.track_running_stats:
        return batch_norm(call)
    labels = call.channels(x, 1)
    _measured(call, labels, {"num_features": len(labels)})
    return call.output(labels, 1)


def _measured(call: Call, labels: Tensor, numbers: dict[str, int]) -> None:
    """Let a module's numbers follow a tensor of another one, as it has none of its own; else freeze."""
    axis = call.walk.measure(labels)
    if axis is None:
        call.walk.ties.freeze(labels, f"{call.place} has no tensor that follows its width")
        return
    for attribute, value in numbers.items():
        call.walk.repeat(str(call.node.target), attribute, axis.tensor, axis.dim, value)


def _per_channel(call: Call, tensors: list[str], attributes: tuple[str, ...]) -> Any:
    labels = call.channels(call.input, 1)
    for name in tensors:
        call.walk.axis(name, 0, len(labels), labels=labels)
        for attribute in attributes if call.module is not None else ():
            call.walk.repeat(str(call.node.target), attribute, name, 0, len(labels))
    return call.output(labels, 1)


def functional_norm(call: Call) -> Any:
    """Batch or instance norm as a function (input, running_mean, running_var, weight, bias) of a module's tensors."""
    names = ("running_mean", "running_var", "weight", "bias")
    given = [call.argument(place, name) for place, name in enumerate(names, 1)]
    tensors = [value for value in given if isinstance(value, Value)]
    if not all(value.parameter for value in tensors):
        return freeze_everything(call)
    call.whole_along(call.input, tuple(range(2, len(call.input.shape))))
    return _per_channel(call, [value.parameter for value in tensors], ())


def group_norm(call: Call) -> Any:
    """Group norm: the channels of one of its groups are a unit, and the number of groups follows."""
    module, x = call.module, call.input
    labels = call.channels(x, 1)
    rows = labels.reshape(module.num_groups, -1)
    call.walk.ties.tie(rows, rows[:, :1], f"{call.place} mixes channels that stay")
    numbers = {"num_channels": len(labels), "num_groups": module.num_groups}
    if not module.affine:
        _measured(call, labels, numbers)
        return call.output(labels, 1)
    for name in filter(None, (call.tensor("weight"), call.tensor("bias"))):
        call.walk.axis(name, 0, len(labels), labels=labels)
        for attribute, value in numbers.items():
            call.walk.repeat(str(call.node.target), attribute, name, 0, value)
    return call.output(labels, 1)


@taking_counts
def functional_group_norm(call: Call) -> Any:
    """Group norm as a function: whole groups can go where their number is computed from the channels, C // size."""
    groups, x = call.argument(1, "num_groups"), call.input
    labels = call.channels(x, 1)
    reason = f"{call.place} has a number of groups written as a number"
    if isinstance(groups, Count) and torch.equal(groups.labels, labels):
        rows, reason = labels.reshape(groups.number, -1), f"{call.place} mixes channels that stay"
        call.walk.ties.tie(rows, rows[:, :1], reason)
    else:
        call.freeze_counts()
        call.walk.ties.freeze(labels, reason)
    tensors = [call.argument(place, name) for place, name in enumerate(("weight", "bias"), 2)]
    for value in tensors:
        if isinstance(value, Value):
            call.walk.ties.tie(
                call.channels(value, 0), labels, f"{call.place}: joined with channels that stay"
            )
    return call.output(labels, 1)


def layer_norm(call: Call) -> Any:
    """Layer norm: what it normalises over must not tell channels apart."""
    shape = call.module.normalized_shape if call.module is not None else call.argument(1, "normalized_shape")
    x = call.whole_along(call.input, tuple(range(-len(shape), 0)))
    return Value(call.shape, x.fields, x.origin)


def prelu(call: Call) -> Any:
    """PReLU: one slope for all channels, or one for each."""
    weight = call.argument(1, "weight")
    if call.module is not None:
        slopes, name = call.module.num_parameters, call.tensor("weight")
    else:
        slopes, name = weight.shape[0], weight.parameter
    if slopes == 1:
        return Value(call.shape, call.input.fields, call.input.origin)
    if not name:
        return freeze_everything(call)
    return _per_channel(call, [name], ("num_parameters",))
