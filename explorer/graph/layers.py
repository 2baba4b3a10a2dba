"""Rules of layers that have parameters, and of matrix products: the readers, and batch norm.

A reader sums over its input's channels against a dimension of its weight. What a plan cannot change (functional
layers, products of two activations) freezes what it touches and adds its MACs to those that stay.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from explorer.graph.labels import Value
from explorer.graph.walk import Call, LayerCall, freeze_everything

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
FROZEN_TRANSPOSED = (torch.conv_transpose1d, torch.conv_transpose2d, torch.conv_transpose3d)
FROZEN_LAYERS = (*FROZEN_TRANSPOSED, torch.conv1d, torch.conv2d, torch.conv3d, functional.linear)
LAYERS = (*CONVOLUTIONS, *TRANSPOSED, nn.Linear)


def batch_norm(call: Call) -> Any:
    """Per-channel scale and shift: its tensors are tied to the channels."""
    x, module = call.input, call.module
    labels = call.channels(x, 1)
    reason = f"{call.place}: {x.origin} has channels that stay"
    for name in ("weight", "bias", "running_mean", "running_var"):
        tensor = call.parameter(name)
        if tensor is not None:
            call.walk.ties.tie(call.walk.axis(tensor, 0, len(labels)), labels, reason)
            _repeat(call, "num_features", tensor, 0, len(labels), module.num_features)
    return call.output(labels, 1)


def _repeat(call: Call, attribute: str, tensor: str, dim: int, length: int, value: int) -> None:
    """Note that a module's attribute follows the length of a tensor's dimension."""
    divisor = math.gcd(value, length)
    call.walk.attributes.add(
        (str(call.node.target), attribute, tensor, dim, value // divisor, length // divisor)
    )


def linear(call: Call) -> Any:
    """Reader: sums over the last axis against dimension 1 of its weight."""
    x, module = call.input, call.module
    weight = call.weight
    inputs = call.channels(x, -1)
    outputs = call.walk.axis(weight, 0, module.out_features)
    read = call.walk.axis(weight, 1, module.in_features, reads=True)
    call.walk.ties.tie(read, inputs, f"{weight} reads {x.origin}, whose channels stay")
    _bias(call, outputs)
    _repeat(call, "out_features", weight, 0, module.out_features, module.out_features)
    _repeat(call, "in_features", weight, 1, module.in_features, module.in_features)
    positions = math.prod(call.shape[:-1])
    _layer(call, "linear", weight, x, (), inputs, outputs, positions)
    return call.output(outputs, -1)


def _bias(call: Call, outputs: Tensor) -> None:
    bias = call.parameter("bias")
    if bias is not None:
        labels = call.walk.axis(bias, 0, len(outputs))
        call.walk.ties.tie(labels, outputs, f"{bias} is tied to channels that stay")


def _layer(
    call: Call,
    kind: str,
    weight: str,
    x: Value,
    kernel: tuple[int, ...],
    inputs: Tensor,
    outputs: Tensor,
    times: int,
) -> None:
    name = str(call.node.target)
    calls = sum(layer.name.split("#")[0] == name for layer in call.walk.layers)
    call.walk.layers.append(
        LayerCall(
            name=f"{name}#{calls + 1}" if calls else name,
            kind=kind,
            weight=weight,
            in_shape=x.shape[1:],
            out_shape=call.shape[1:],
            kernel=kernel,
            in_labels=inputs,
            out_labels=outputs,
            positions=times,
            node=call.node,
        )
    )


def convolution(call: Call) -> Any:
    """Reader of the channel axis; grouped and depthwise convolutions tie inputs to outputs or positions."""
    x, module = call.input, call.module
    weight, groups = call.weight, module.groups
    transposed = isinstance(module, TRANSPOSED)
    if len(x.shape) != len(module.kernel_size) + 2:  # one image without its batch
        return frozen_layer(call)
    x = Value(x.shape, call.freeze_axes(x, tuple(range(2 - len(x.shape), 0))).fields, x.origin)
    inputs = call.channels(x, 1)
    where = x.shape if transposed else call.shape
    if groups == 1:
        in_dim, out_dim = (0, 1) if transposed else (1, 0)
        outputs = call.walk.axis(weight, out_dim, module.out_channels)
        read = call.walk.axis(weight, in_dim, module.in_channels, reads=True)
        call.walk.ties.tie(read, inputs, f"{weight} reads {x.origin}, whose channels stay")
        _repeat(call, "out_channels", weight, out_dim, module.out_channels, module.out_channels)
        _repeat(call, "in_channels", weight, in_dim, module.in_channels, module.in_channels)
    elif transposed:
        return frozen_layer(call)
    else:
        outputs = _grouped(call, weight, inputs)
    _bias(call, outputs)
    kind = "depthwise conv" if groups > 1 and groups == module.in_channels else "conv"
    if transposed:
        kind = "transposed conv"
    _layer(call, kind, weight, x, tuple(module.kernel_size), inputs, outputs, where[0] * math.prod(where[2:]))
    return call.output(outputs, 1)


def _grouped(call: Call, weight: str, inputs: Tensor) -> Tensor:
    """A grouped convolution loses whole groups, or the same position in every group: what leaves more units.

    Weight (O, I/g, ...). Depthwise (I = g) always loses whole groups: input i goes with its O/g outputs.
    """
    module, ties, groups = call.module, call.walk.ties, call.module.groups
    per_in, per_out = module.in_channels // groups, module.out_channels // groups
    outputs = call.walk.axis(weight, 0, module.out_channels)
    reason = f"{call.place} (grouped) reads channels that stay"
    inner, outer = inputs.reshape(groups, per_in), outputs.reshape(groups, per_out)
    if groups >= min(per_in, per_out):
        ties.tie(inner, inner[:, :1], reason)
        ties.tie(outer, inner[:, :1], reason)
        for attribute in ("out_channels", "in_channels", "groups"):
            _repeat(call, attribute, weight, 0, module.out_channels, getattr(module, attribute))
    else:
        read = call.walk.axis(weight, 1, per_in, reads=True)
        ties.tie(inner, read[None, :], reason)
        ties.tie(outer, outer[:1], reason)
        _repeat(call, "out_channels", weight, 0, module.out_channels, module.out_channels)
        _repeat(call, "in_channels", weight, 1, per_in, module.in_channels)
    return outputs


def frozen_layer(call: Call, reason: str = "") -> Any:
    """A convolution or linear call that no plan changes: what it touches freezes, its MACs are counted."""
    module = call.module
    weight = call.argument(1, "weight") if module is None else module.weight
    transposed = isinstance(module, TRANSPOSED) or call.node.target in FROZEN_TRANSPOSED
    where = call.input.shape if transposed else call.shape  # a transposed weight is (inputs, outputs, ...)
    call.walk.other_macs += math.prod(where) * math.prod(weight.shape[1:])
    return freeze_everything(call, reason)


def matrix_product(call: Call) -> Any:
    """A product of two activations: every axis freezes; its MACs are counted."""
    first, second = call.input, call.argument(1, "mat2", call.kwargs.get("other"))
    for value in (first, second):
        call.freeze(value, f"{call.place} multiplies two activations")
    call.walk.other_macs += math.prod(call.shape) * first.shape[-1]
    return call.plain()
