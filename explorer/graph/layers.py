"""Rules of convolutions and linear layers, as modules and as functions on parameters: the readers.

A reader sums over its input's channels against a dimension of its weight. What a plan cannot change (computed
weights, sizes written as numbers) freezes what it touches and adds its MACs to those that stay.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from explorer.graph.binding import follows_groups
from explorer.graph.counts import Count, without_counts
from explorer.graph.labels import Value
from explorer.graph.reads import Width
from explorer.graph.walk import Call, freeze_everything, taking_counts

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
FUNCTIONAL_TRANSPOSED = (torch.conv_transpose1d, torch.conv_transpose2d, torch.conv_transpose3d)
FUNCTIONAL_CONVOLUTIONS = (torch.conv1d, torch.conv2d, torch.conv3d)
LAYERS = (*CONVOLUTIONS, *TRANSPOSED, nn.Linear)


@dataclass(frozen=True, eq=False)
class Reader:
    """A convolution as its rule sees it: names of its tensors, their shape, and whose numbers repeat widths.

    The weight is (outputs, inputs / groups, ...), transposed (inputs, outputs / groups, ...). `module` is the
    qualified name of the module that keeps in_channels, out_channels and groups, "" for a function.
    `free_groups`: the number of groups follows the plan.
    """

    name: str
    weight: str
    shape: tuple[int, ...]
    bias: Value | None
    groups: int
    transposed: bool
    module: str
    free_groups: bool

    @property
    def per_in(self) -> int:
        return self.shape[0] // self.groups if self.transposed else self.shape[1]

    @property
    def per_out(self) -> int:
        return self.shape[1] if self.transposed else self.shape[0] // self.groups


def convolution(call: Call) -> Any:
    """A convolution module."""
    module = call.module
    shape, bias = tuple(module.weight.shape), None
    if name := call.tensor("bias"):
        bias = Value(tuple(module.bias.shape), (), name, name)
    name, weight = str(call.node.target), call.tensor("weight")
    transposed = isinstance(module, TRANSPOSED)
    return _convolve(call, Reader(name, weight, shape, bias, module.groups, transposed, name, True))


@taking_counts
def functional_convolution(call: Call) -> Any:
    """A convolution function: read like the module where its weight is a parameter itself."""
    weight = call.argument(1, "weight")
    transposed = call.node.target in FUNCTIONAL_TRANSPOSED
    groups = call.argument(6, "groups", 1)
    if not _is_parameter(call, weight):
        return frozen_layer(call, f"{call.place} has a weight that is no parameter itself")
    # The number of groups follows a plan where it counts the very channels that are grouped, or where it is the number
    # of the layer whose weight this is, which surgery sets.
    follows = isinstance(groups, Count) and torch.equal(groups.labels, call.channels(call.input, 1))
    if isinstance(groups, Width):
        follows = follows_groups(call.walk, groups, _owner(call, weight.parameter))
    if isinstance(groups, Count) and not (follows and groups.parts == 1):
        return frozen_layer(call, f"{call.place} has a number of groups that counts channels")
    name = weight.parameter.removesuffix(".weight")
    bias = call.argument(2, "bias")
    reader = Reader(
        name,
        weight.parameter,
        weight.shape,
        bias,
        without_counts(groups),
        transposed,
        _owner(call, weight.parameter),
        follows,
    )
    return _convolve(call, reader)


def deformable_convolution(call: Call) -> Any:
    """torchvision's deformable convolution, as DeformConv2d(x, offset, mask) or deform_conv2d(x, offset, weight, ...).

    Where a window reads is given, for all channels of x alike; groups of channels with offsets of their own stay.
    """
    x, offset, module = call.input, call.argument(1, "offset"), call.module
    mask = call.argument(2, "mask") if module is not None else call.argument(7, "mask")
    for value in (offset, mask):
        if isinstance(value, Value):
            call.freeze(value, f"{call.place} reads places from these channels")
    weight: Any = call.argument(2, "weight") if module is None else None
    kernel = weight.shape[2:] if module is None else module.kernel_size
    if offset.shape[1] != 2 * math.prod(kernel):
        call.freeze(x, f"{call.place} reads groups of channels at different places")
    if module is not None:
        return convolution(call)
    if not _is_parameter(call, weight):
        return frozen_layer(call, f"{call.place} has a weight that is no parameter itself", weight)
    name, groups = weight.parameter.removesuffix(".weight"), x.shape[1] // weight.shape[1]
    owner, bias = _owner(call, weight.parameter), call.argument(3, "bias")
    return _convolve(call, Reader(name, weight.parameter, weight.shape, bias, groups, False, owner, True))


def _is_parameter(call: Call, weight: Value) -> bool:
    """Neither computed from others nor a buffer: what a layer's weight must be."""
    owner, _, name = weight.parameter.rpartition(".")
    return bool(weight.parameter) and name in call.walk.traced.twin.modules[owner]._parameters


def _owner(call: Call, parameter: str) -> str:
    """The layer whose weight a function is given, since it keeps the widths too; "" for a bare parameter."""
    owner, _, name = parameter.rpartition(".")
    if name != "weight" or not isinstance(call.walk.traced.twin.modules[owner], LAYERS):
        return ""
    return owner


def _convolve(call: Call, reader: Reader) -> Any:
    """Reader of the channel axis; grouped and depthwise convolutions tie inputs to outputs or positions."""
    x, sides = call.input, len(reader.shape) - 2
    if len(x.shape) != sides + 2:  # one image without its batch
        return frozen_layer(call)
    x = call.whole_along(x, tuple(range(-sides, 0)))
    inputs = call.channels(x, 1)
    if reader.groups == 1:
        outputs = _dense(call, reader, inputs)
    elif reader.free_groups and reader.groups >= min(reader.per_in, reader.per_out):
        outputs = _whole_groups(call, reader, inputs)
    elif reader.per_in > 1:
        outputs = _positions(call, reader, inputs)
    else:
        return frozen_layer(call, f"{call.place} has a number of groups written as a number")
    _bias(call, reader.bias, outputs)
    where = x.shape if reader.transposed else call.shape
    kind = "depthwise conv" if reader.groups > 1 and reader.per_in == 1 else "conv"
    call.walk.layer(
        call,
        reader.name,
        "transposed conv" if reader.transposed else kind,
        reader.weight,
        x,
        kernel=reader.shape[2:],
        in_labels=inputs,
        out_labels=outputs,
        positions=where[0] * math.prod(where[2:]),
    )
    return call.output(outputs, 1)


def _dense(call: Call, reader: Reader, inputs: Tensor) -> Tensor:
    in_dim, out_dim = (0, 1) if reader.transposed else (1, 0)
    outputs = call.walk.axis(reader.weight, out_dim, reader.shape[out_dim])
    call.walk.axis(reader.weight, in_dim, len(inputs), reads=True, labels=inputs)
    if reader.module:
        call.walk.repeat(reader.module, "out_channels", reader.weight, out_dim, len(outputs))
        call.walk.repeat(reader.module, "in_channels", reader.weight, in_dim, len(inputs))
    return outputs


def _whole_groups(call: Call, reader: Reader, inputs: Tensor) -> Tensor:
    """Whole groups of the convolution go, with their inputs and outputs: weight dimension 0 holds the groups."""
    walk, groups = call.walk, reader.groups
    reason = f"{call.place} (grouped) reads channels that stay"
    inner = inputs.reshape(groups, reader.per_in)
    walk.ties.tie(inner, inner[:, :1], reason)
    if reader.transposed:
        walk.axis(reader.weight, 0, len(inputs), labels=inputs)
        outputs = inner[:, 0].repeat_interleave(reader.per_out)
        if bool((outputs < 0).any()):
            outputs = walk.ties.fresh(len(outputs))
            walk.ties.freeze(outputs, reason)
    else:
        outputs = walk.axis(reader.weight, 0, groups * reader.per_out)
        walk.ties.tie(outputs.reshape(groups, -1), inner[:, :1], reason)
    numbers = {"out_channels": len(outputs), "in_channels": len(inputs), "groups": groups}
    for attribute, value in numbers.items() if reader.module else ():
        walk.repeat(reader.module, attribute, reader.weight, 0, value)
    return outputs


def _positions(call: Call, reader: Reader, inputs: Tensor) -> Tensor:
    """The same position of every group goes, on the side of the inputs and on that of the outputs."""
    walk, groups = call.walk, reader.groups
    reason = f"{call.place} (grouped) reads channels that stay"
    inner = inputs.reshape(groups, reader.per_in)
    if reader.transposed:
        walk.ties.tie(inner, inner[:1], reason)
        walk.axis(reader.weight, 0, len(inputs), reads=True, labels=inputs)
        outputs = walk.axis(reader.weight, 1, reader.per_out).repeat(groups)
        out_dim, in_dim = 1, 0
    else:
        read = walk.axis(reader.weight, 1, reader.per_in, reads=True)
        walk.ties.tie(inner, read[None, :], reason)
        outputs = walk.axis(reader.weight, 0, groups * reader.per_out)
        rows = outputs.reshape(groups, -1)
        walk.ties.tie(rows, rows[:1], reason)
        out_dim, in_dim = 0, 1
    if reader.module:
        walk.repeat(reader.module, "out_channels", reader.weight, out_dim, len(outputs))
        walk.repeat(reader.module, "in_channels", reader.weight, in_dim, len(inputs))
    return outputs


def _bias(call: Call, bias: Value | None, outputs: Tensor) -> None:
    if bias is None:
        return
    if bias.parameter:
        call.walk.axis(bias.parameter, 0, len(outputs), labels=outputs)
    elif bias.fields:
        call.walk.ties.tie(call.channels(bias, 0), outputs, f"{call.place}: its bias has channels that stay")
    else:
        call.walk.ties.freeze(outputs, f"{call.place} has a bias of fixed length")


def linear(call: Call) -> Any:
    """A linear module: sums over the last axis against dimension 1 of its weight."""
    module, name = call.module, str(call.node.target)
    bias = call.tensor("bias")
    return _linear(call, name, call.tensor("weight"), module.out_features, Value((), (), bias, bias), name)


def functional_linear(call: Call) -> Any:
    """functional.linear, where its weight is a parameter itself."""
    weight, bias = call.argument(1, "weight"), call.argument(2, "bias")
    if not _is_parameter(call, weight) or len(weight.shape) != 2:
        return frozen_layer(call, f"{call.place} has a weight that is no parameter itself")
    name = weight.parameter.removesuffix(".weight")
    return _linear(call, name, weight.parameter, weight.shape[0], bias, _owner(call, weight.parameter))


def _linear(call: Call, name: str, weight: str, outputs: int, bias: Value | None, module: str) -> Any:
    x, walk = call.input, call.walk
    inputs = call.channels(x, -1)
    produced = walk.axis(weight, 0, outputs)
    walk.axis(weight, 1, len(inputs), reads=True, labels=inputs)
    if bias is not None and (bias.parameter or bias.shape):
        _bias(call, bias, produced)
    if module:
        walk.repeat(module, "out_features", weight, 0, outputs)
        walk.repeat(module, "in_features", weight, 1, len(inputs))
    call.walk.layer(
        call,
        name,
        "linear",
        weight,
        x,
        kernel=(),
        in_labels=inputs,
        out_labels=produced,
        positions=math.prod(call.shape[:-1]),
    )
    return call.output(produced, -1)


def frozen_layer(call: Call, reason: str = "", weight: Any = None) -> Any:
    """A convolution or linear call that no plan changes: what it touches freezes, its MACs are counted."""
    module = call.module
    if weight is None:
        weight = call.argument(1, "weight") if module is None else module.weight
    transposed = isinstance(module, TRANSPOSED) or call.node.target in FUNCTIONAL_TRANSPOSED
    where = call.input.shape if transposed else call.shape  # a transposed weight is (inputs, outputs, ...)
    reason = reason or f"no rule for {call.place}"
    call.walk.fix(call, math.prod(where) * math.prod(weight.shape[1:]), reason)
    return freeze_everything(call, reason)


FUNCTIONS = {
    **dict.fromkeys((*FUNCTIONAL_CONVOLUTIONS, *FUNCTIONAL_TRANSPOSED), functional_convolution),
    functional.linear: functional_linear,
}
