"""One rule per operator: how labels of channels pass through it. Add an operator by adding a line to a table.

Along an axis that carries channels an operator is a *carrier* (f(x[S]) = f(x)[S]), a *mover* (rearranges
elements: it is run on the labels), a *join* (adds or multiplies: ties), or a *reader* (sums over the axis
against a parameter). What is in no table freezes what it touches (walk.freeze_everything).
"""

import math
import operator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._pytree import tree_leaves

from explorer.graph.labels import Value, varying_dims, without_repeats
from explorer.graph.sizes import freeze_counted, written_as_number
from explorer.graph.tracing import Shape
from explorer.graph.walk import Call, LayerCall, Rule, changes_its_weights, freeze_everything


def carry(call: Call) -> Any:
    """Elementwise on one tensor: labels pass unchanged."""
    tensors = [leaf for leaf in tree_leaves((call.args, call.kwargs)) if isinstance(leaf, Value)]
    if len(tensors) != 1:
        return freeze_everything(call)  # such as clamp with a bound per channel
    return Value(call.shape, tensors[0].fields, tensors[0].origin)


def pool(call: Call) -> Any:
    """Pooling over all axes but batch and channels: labels of those pass, along pooled axes they freeze."""
    x = call.input
    x = call.freeze_axes(x, tuple(range(2 - len(x.shape), 0)))
    return _resize(call, x)


def _resize(call: Call, x: Value) -> Value:
    """The fields of x, in the result's shape: they do not vary along the dimensions that change."""
    fields = []
    for field in x.fields:
        for dim in range(field.dim()):
            if x.shape[dim] != call.shape[dim]:
                field = field.narrow(dim, 0, 1)
        fields.append(without_repeats(field).expand(call.shape))
    return Value(call.shape, tuple(fields), x.origin)


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


def mean(call: Call) -> Any:
    """Mean over named dimensions: those must not tell channels apart."""
    x = call.input
    dims = call.argument(1, "dim")
    keep = bool(call.argument(2, "keepdim", False))
    if dims is None:
        return _freeze_with(call, x)
    dims = tuple(d % len(x.shape) for d in ((dims,) if isinstance(dims, int) else dims))
    x = call.freeze_axes(x, dims)
    fields = []
    for field in x.fields:
        for dim in sorted(dims, reverse=True):
            field = field.narrow(dim, 0, 1) if keep else field.select(dim, 0)
        fields.append(field)
    return Value(call.shape, tuple(fields), x.origin)


def _freeze_with(call: Call, x: Value) -> Any:
    call.freeze(x, f"{call.place} mixes the channels")
    return call.plain()


def join(call: Call) -> Any:
    """Add or multiply: equal axes are tied; an axis of length 1 broadcasts and ties nothing."""
    values = [value for value in (*call.args, *call.kwargs.values()) if isinstance(value, Value)]
    if len(values) == 1:
        return Value(call.shape, tuple(f.expand(call.shape) for f in values[0].fields), values[0].origin)
    first, second = values
    fields: list[Tensor] = []
    pending = list(second.fields)
    for field in first.fields:
        dims = set(_aligned(varying_dims(field), field.dim(), len(call.shape)))
        partner = next(
            (p for p in pending if dims & set(_aligned(varying_dims(p), p.dim(), len(call.shape)))), None
        )
        if partner is not None:
            pending.remove(partner)
            a, b = field.expand(call.shape), partner.expand(call.shape)
            call.walk.ties.tie(a, b, f"{call.place}: joined with channels that stay")
            fields.append(torch.where(without_repeats(a) >= 0, a, b) if bool((a < 0).any()) else a)
        else:
            fields += _beside(call, field, second)
    for field in pending:
        fields += _beside(call, field, first)
    return Value(call.shape, tuple(fields), call.place)


def _aligned(dims: tuple[int, ...], rank: int, full: int) -> tuple[int, ...]:
    """Dimensions of a tensor of lower rank, in the rank it is broadcast to."""
    return tuple(dim + full - rank for dim in dims)


def _beside(call: Call, field: Tensor, other: Value) -> list[Tensor]:
    """A field that the other operand has no match for: kept where the other broadcasts, else frozen."""
    shape = (1,) * (len(call.shape) - len(other.shape)) + other.shape
    dims = _aligned(varying_dims(field), field.dim(), len(call.shape))
    if any(shape[dim] > 1 for dim in dims):
        call.walk.ties.freeze(field, f"tied to {other.origin} by {call.place}")
        return []
    return [field.expand(call.shape)]


def concatenate(call: Call) -> Any:
    """Labels are concatenated like the tensors; a tensor without labels contributes channels that stay."""
    values = call.argument(0, "tensors")
    dim = call.argument(1, "dim", call.kwargs.get("axis", 0))
    if any(len(value.fields) > 1 for value in values):
        return freeze_everything(call)
    if not any(value.fields for value in values):
        return call.plain()
    blank = [torch.tensor(-1, dtype=torch.int32).expand(value.shape) for value in values]
    parts = [value.fields[0] if value.fields else empty for value, empty in zip(values, blank, strict=True)]
    # Only the axis that is joined must be written out: elsewhere all parts may have stride 0.
    rank, joined = len(call.shape), dim % len(call.shape)
    for axis in range(rank):
        if axis != joined and all(part.stride(axis) == 0 for part in parts):
            parts = [part.narrow(axis, 0, 1) for part in parts]
    return Value(call.shape, (torch.cat(parts, joined).expand(call.shape),), call.place)


def move(call: Call) -> Any:
    """Rearrange elements: the operator itself is run on the labels.

    A width written as a number would not follow the plan: then the axis freezes. Sizes that were read from
    a tensor at run time, and -1, do follow.
    """
    x = call.input
    if not x.fields:
        freeze_counted(call)
    fields = []
    for field in x.fields:
        compact = _run(call, field)
        dims = varying_dims(compact)
        sized = call.node.target in SIZED
        if len(dims) > 1 or (sized and written_as_number(call, dims)) or freeze_counted(call, x, dims):
            call.walk.ties.freeze(field, f"{call.place} splits or fixes the channels")
        else:
            fields.append(compact)
    return Value(call.shape, tuple(fields), x.origin)


def _run(call: Call, field: Tensor) -> Tensor:
    if call.module is not None:
        return call.module(field)
    args, kwargs = (field, *call.args[1:]), call.kwargs
    if call.node.op == "call_method":
        name = "reshape" if call.node.target == "view" else str(call.node.target)
        return getattr(field, name)(*args[1:], **kwargs)
    function: Any = call.node.target
    return function(*args, **kwargs)


SIZED = {"view", "reshape", torch.reshape}


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
    positions = math.prod(call.shape[1:-1])
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
    if len(x.shape) != len(module.kernel_size) + 2:
        return freeze_everything(call)
    x = Value(x.shape, call.freeze_axes(x, tuple(range(2 - len(x.shape), 0))).fields, x.origin)
    inputs = call.channels(x, 1)
    spatial = x.shape[2:] if transposed else call.shape[2:]
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
    _layer(call, kind, weight, x, tuple(module.kernel_size), inputs, outputs, math.prod(spatial))
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
    module, shape = call.module, call.shape
    weight = call.argument(1, "weight") if module is None else module.weight
    if isinstance(module, TRANSPOSED) or call.node.target in FROZEN_TRANSPOSED:
        positions = call.input.shape[2:]
    elif isinstance(module, nn.Linear) or call.node.target is functional.linear:
        positions = shape[1:-1]
    else:
        positions = shape[2:]
    call.walk.other_macs += math.prod(positions) * math.prod(weight.shape)
    return freeze_everything(call, reason)


def matrix_product(call: Call) -> Any:
    """A product of two activations: every axis freezes; its MACs are counted."""
    first, second = call.args[:2]
    for value in (first, second):
        call.freeze(value, f"{call.place} multiplies two activations")
    call.walk.other_macs += math.prod(call.shape) // max(call.shape[0], 1) * first.shape[-1]
    return call.plain()


def take_item(call: Call) -> Any:
    """`x[i]` of a tuple of tensors returns its value; of a tensor, a slice that keeps no labels."""
    source, item = call.args
    if isinstance(source, (tuple, list)) and isinstance(item, int):
        return source[item]
    return freeze_everything(call)


CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
FROZEN_TRANSPOSED = (torch.conv_transpose1d, torch.conv_transpose2d, torch.conv_transpose3d)
FROZEN_LAYERS = (*FROZEN_TRANSPOSED, torch.conv1d, torch.conv2d, torch.conv3d, functional.linear)
CARRIERS: tuple[Any, ...] = (
    torch.relu, functional.relu, functional.relu6, functional.leaky_relu, functional.elu, functional.selu,
    functional.gelu, functional.silu, functional.hardswish, functional.hardsigmoid, functional.hardtanh,
    functional.mish, functional.softplus, functional.dropout, functional.dropout2d, torch.sigmoid, torch.tanh,
    torch.abs, torch.exp, torch.neg, operator.neg, torch.clamp, torch.clone,
    "relu", "relu_", "sigmoid", "tanh", "abs", "exp", "neg", "clamp", "contiguous", "clone", "detach", "float",
)  # fmt: skip
JOINS: tuple[Any, ...] = (
    operator.add, operator.iadd, operator.sub, operator.isub, operator.mul, operator.imul, operator.truediv,
    torch.add, torch.sub, torch.mul, torch.div, "add", "add_", "sub", "mul", "mul_", "div",
)  # fmt: skip
MOVERS: tuple[Any, ...] = (
    torch.flatten, torch.permute, torch.transpose, torch.squeeze, torch.unsqueeze, torch.reshape, torch.swapaxes,
    "flatten", "permute", "transpose", "squeeze", "unsqueeze", "reshape", "view",
)  # fmt: skip
POOLS: tuple[Any, ...] = (
    functional.max_pool2d, functional.avg_pool2d, functional.adaptive_avg_pool2d, functional.adaptive_max_pool2d,
)  # fmt: skip

FUNCTIONS: dict[Any, Rule] = {
    **dict.fromkeys(CARRIERS, carry),
    **dict.fromkeys(JOINS, join),
    **dict.fromkeys(MOVERS, move),
    **dict.fromkeys(POOLS, pool),
    **dict.fromkeys(FROZEN_LAYERS, frozen_layer),
    torch.cat: concatenate,
    torch.concat: concatenate,
    torch.mean: mean,
    "mean": mean,
    torch.matmul: matrix_product,
    torch.bmm: matrix_product,
    operator.matmul: matrix_product,
    operator.getitem: take_item,
}
MODULES: dict[type[nn.Module], Rule] = {
    **dict.fromkeys((*CONVOLUTIONS, *TRANSPOSED), convolution),
    nn.Linear: linear,
    **dict.fromkeys((nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d), batch_norm),
    **dict.fromkeys((nn.MaxPool1d, nn.MaxPool2d, nn.AvgPool1d, nn.AvgPool2d, nn.LPPool2d), pool),
    **dict.fromkeys((nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d), pool),
    **dict.fromkeys((nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish), carry),
    **dict.fromkeys((nn.Hardswish, nn.Hardsigmoid, nn.Hardtanh, nn.Sigmoid, nn.Tanh, nn.Softplus), carry),
    **dict.fromkeys((nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d), carry),
    nn.Flatten: move,
}


def parametrised(call: Call) -> Any:
    """Weight norm and the like: cutting the weights that it computes would be undone at the next call."""
    reason = f"{call.place} computes its weights from others (parametrised)"
    if isinstance(call.module, (*CONVOLUTIONS, *TRANSPOSED, nn.Linear)):
        return frozen_layer(call, reason)
    return freeze_everything(call, reason)


def rule_for(call: Call) -> Rule:
    """The rule of an operator; what has none, or returns several tensors, freezes what it touches."""
    rule = _rule_for(call)
    if rule is not move:
        freeze_counted(call)
    return rule


def _rule_for(call: Call) -> Rule:
    if call.module is not None and changes_its_weights(call.module):
        return parametrised
    if not isinstance(call.result, Shape):
        return freeze_everything
    if call.module is not None:
        return MODULES.get(type(call.module), freeze_everything)
    try:
        return FUNCTIONS.get(call.node.target, freeze_everything)
    except TypeError:  # an unhashable target
        return freeze_everything
