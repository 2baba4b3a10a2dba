"""One rule per operator: how labels of channels pass through it. Add an operator by adding a line to a table.

Along an axis that carries channels an operator is a *carrier* (f(x[S]) = f(x)[S]), a *mover* (rearranges
elements: it is run on the labels), a *join* (adds or multiplies: ties), or a *reader* (sums over the axis
against a parameter). What is in no table freezes what it touches (walk.freeze_everything).
"""

import operator
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional
from torch.utils._pytree import tree_leaves

from explorer.graph.labels import Value, varying_dims, without_repeats
from explorer.graph.layers import (
    CONVOLUTIONS,
    FROZEN_LAYERS,
    LAYERS,
    TRANSPOSED,
    batch_norm,
    convolution,
    frozen_layer,
    linear,
    matrix_product,
)
from explorer.graph.sizes import freeze_counted, written_as_number
from explorer.graph.tracing import Shape
from explorer.graph.walk import Call, Rule, changes_its_weights, freeze_everything


def carry(call: Call) -> Any:
    """Elementwise on one tensor: labels pass unchanged."""
    tensors = [leaf for leaf in tree_leaves((call.args, call.kwargs)) if isinstance(leaf, Value)]
    if len(tensors) != 1:
        return freeze_everything(call)  # such as clamp with a bound per channel
    return Value(call.shape, tensors[0].fields, tensors[0].origin)


def pool(call: Call) -> Any:
    """Pooling over all axes but batch and channels: labels of those pass, along pooled axes they freeze.

    Without a batch the last dimensions would still be pooled, but dimension 1 would be one of them.
    """
    pooled = POOLED[call.node.target if call.module is None else type(call.module)]
    if len(call.input.shape) != pooled + 2:
        return freeze_everything(call)
    dims = range(2, pooled + 2)
    x = call.freeze_axes(call.input, tuple(dims))
    fields = []
    for field in x.fields:
        for dim in dims:
            field = field.narrow(dim, 0, 1)
        fields.append(field.expand(call.shape))
    return Value(call.shape, tuple(fields), x.origin)


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


SIZE_READERS = {"size", "dim", "numel", getattr}
SIZED = {"view", "reshape", torch.reshape}


def take_item(call: Call) -> Any:
    """`x[i]` of a tuple of tensors returns its value; of a tensor, a slice that keeps no labels."""
    source, item = call.args
    if isinstance(source, (tuple, list)) and isinstance(item, int):
        return source[item]
    return freeze_everything(call)


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
POOLED: dict[Any, int] = {  # how many dimensions they pool: the last ones
    **dict.fromkeys((nn.MaxPool1d, nn.AvgPool1d, nn.AdaptiveAvgPool1d), 1),
    **dict.fromkeys((nn.MaxPool2d, nn.AvgPool2d, nn.LPPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d), 2),
    **dict.fromkeys((functional.max_pool2d, functional.avg_pool2d), 2),
    **dict.fromkeys((functional.adaptive_avg_pool2d, functional.adaptive_max_pool2d), 2),
}

FUNCTIONS: dict[Any, Rule] = {
    **dict.fromkeys(CARRIERS, carry),
    **dict.fromkeys(JOINS, join),
    **dict.fromkeys(MOVERS, move),
    **{target: pool for target in POOLED if not isinstance(target, type)},
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
    **{target: pool for target in POOLED if isinstance(target, type)},
    **dict.fromkeys((nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish), carry),
    **dict.fromkeys((nn.Hardswish, nn.Hardsigmoid, nn.Hardtanh, nn.Sigmoid, nn.Tanh, nn.Softplus), carry),
    **dict.fromkeys((nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d), carry),
    nn.Flatten: move,
}


def parametrised(call: Call) -> Any:
    """Weight norm and the like: cutting the weights that it computes would be undone at the next call."""
    reason = f"{call.place} computes its weights from others (parametrised)"
    if isinstance(call.module, LAYERS):
        return frozen_layer(call, reason)
    return freeze_everything(call, reason)


def has_rule(node: fx.Node, module: nn.Module | None) -> bool:
    """Whether an operator's MACs are known to its rule; those of the others must be counted as they run."""
    if module is not None:
        return type(module) in MODULES or isinstance(module, LAYERS)
    if isinstance(node.target, type):  # a container
        return True
    try:
        return node.target in FUNCTIONS or node.target in SIZE_READERS
    except TypeError:  # an unhashable target
        return False


def rule_for(call: Call) -> Rule:
    """The rule of an operator; what has none, or returns several tensors, freezes what it touches."""
    rule = _rule_for(call)
    if rule is not move:
        freeze_counted(call)
    return rule


def _rule_for(call: Call) -> Rule:
    if call.module is not None and changes_its_weights(call.module):
        return parametrised
    if not isinstance(call.result, Shape) or not has_rule(call.node, call.module):
        return freeze_everything
    if call.module is not None:
        return MODULES.get(type(call.module), frozen_layer)
    return FUNCTIONS.get(call.node.target, freeze_everything)
