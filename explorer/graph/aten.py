"""Operators of an exported graph as the functions that a person would have written.

The graph front end knows `torch.nn.functional.relu`, not `aten.relu_.default`. What is in no table here stays an
aten operator, if torch tags it as a core or pointwise operator: those compute on tensors and do nothing else.
"""

import operator
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch.nn import functional

from explorer.errors import BadInput


class Written(NamedTuple):
    """A call in torch.fx's terms: "call_function" or "call_method", what is called, and with what."""

    op: str
    target: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


SAME: Mapping[str, Any] = {  # functions that take their arguments in the order of the operator
    "relu": functional.relu, "relu6": functional.relu6, "hardtanh": functional.hardtanh, "silu": functional.silu,
    "hardswish": functional.hardswish, "hardsigmoid": functional.hardsigmoid, "leaky_relu": functional.leaky_relu,
    "elu": functional.elu, "selu": functional.selu, "celu": functional.celu, "mish": functional.mish,
    "gelu": functional.gelu, "softplus": functional.softplus, "sigmoid": torch.sigmoid, "tanh": torch.tanh,
    "softmax": torch.softmax, "log_softmax": torch.log_softmax, "log_sigmoid": functional.logsigmoid,
    "exp": torch.exp, "log": torch.log, "sqrt": torch.sqrt, "rsqrt": torch.rsqrt, "abs": torch.abs, "neg": torch.neg,
    "pow": torch.pow, "square": torch.square, "clamp": torch.clamp, "clamp_min": torch.clamp_min,
    "reciprocal": torch.reciprocal, "clone": torch.clone, "lift_fresh_copy": torch.clone, "detach": torch.detach,
    "detach_": torch.detach, "rsub": torch.rsub, "std": torch.std, "logsumexp": torch.logsumexp, "t": torch.t,
    "ravel": torch.ravel, "tile": torch.tile, "repeat_interleave": torch.repeat_interleave,
    "broadcast_to": torch.broadcast_to,
    "maximum": torch.maximum, "minimum": torch.minimum,
    "mean": torch.mean, "sum": torch.sum, "amax": torch.amax, "amin": torch.amin, "var": torch.var,
    "flatten": torch.flatten, "permute": torch.permute, "transpose": torch.transpose, "swapaxes": torch.swapaxes,
    "movedim": torch.movedim, "unsqueeze": torch.unsqueeze, "squeeze": torch.squeeze, "flip": torch.flip,
    "unflatten": torch.unflatten, "chunk": torch.chunk, "split": torch.split, "split_with_sizes": torch.split,
    "unbind": torch.unbind, "narrow": torch.narrow, "roll": torch.roll, "cat": torch.cat, "stack": torch.stack,
    "concat": torch.cat, "matmul": torch.matmul, "bmm": torch.bmm, "einsum": torch.einsum,
    "scaled_dot_product_attention": functional.scaled_dot_product_attention, "masked_fill": torch.masked_fill,
    "max_pool1d": functional.max_pool1d, "max_pool2d": functional.max_pool2d, "max_pool3d": functional.max_pool3d,
    "avg_pool1d": functional.avg_pool1d, "avg_pool2d": functional.avg_pool2d, "avg_pool3d": functional.avg_pool3d,
    "adaptive_avg_pool1d": functional.adaptive_avg_pool1d, "adaptive_avg_pool2d": functional.adaptive_avg_pool2d,
    "adaptive_avg_pool3d": functional.adaptive_avg_pool3d,
    "pad": functional.pad, "pixel_shuffle": functional.pixel_shuffle, "pixel_unshuffle": functional.pixel_unshuffle,
    "channel_shuffle": functional.channel_shuffle, "linear": functional.linear, "prelu": functional.prelu,
    "conv1d": functional.conv1d, "conv2d": functional.conv2d, "conv3d": functional.conv3d,
    "conv_transpose1d": functional.conv_transpose1d, "conv_transpose2d": functional.conv_transpose2d,
    "conv_transpose3d": functional.conv_transpose3d,
}  # fmt: skip
ARITHMETIC: Mapping[str, tuple[Any, Any]] = {
    "add": (operator.add, torch.add),
    "sub": (operator.sub, torch.sub),
    "mul": (operator.mul, torch.mul),
    "div": (operator.truediv, torch.div),
}
IN_PLACE: Mapping[str, Any] = {
    "add": operator.iadd,
    "sub": operator.isub,
    "mul": operator.imul,
    "div": operator.itruediv,
}
TAKES_IN_PLACE = (
    "relu", "relu6", "hardtanh", "silu", "hardswish", "hardsigmoid", "leaky_relu", "elu", "selu", "celu", "mish",
)  # fmt: skip
METHODS = ("view", "reshape", "expand", "contiguous", "repeat")
CHECKS = ("_assert_scalar", "_assert_tensor_metadata", "sym_constrain_range", "sym_constrain_range_for_size")
OF_SIZES: Mapping[str, Callable[..., Any]] = {
    f"_operator.{name}": getattr(operator, name)
    for name in ("add", "sub", "mul", "floordiv", "mod", "truediv", "neg", "getitem")
}
HARMLESS = (
    "new_zeros", "new_ones", "zeros", "ones", "fill_", "index_put_", "copy_", "masked_fill_", "expand_as", "view_as",
    "type_as", "to", "glu", "linalg_vector_norm", "adaptive_max_pool1d", "adaptive_max_pool2d", "unfold", "baddbmm",
    "outer", "_unsafe_view", "alias", "floor_divide", "max_pool2d_with_indices", "threshold", "threshold_",
)  # fmt: skip
END = 2**62  # torch writes the end of an open slice as its largest integer


def written(target: str, args: tuple[Any, ...], kwargs: dict[str, Any], rank: int | None) -> Written | None:
    """An operator such as "torch.ops.aten.relu_.default", as a call; None for a check that computes nothing.

    `rank` is the number of dimensions of the first tensor. Raises BadInput for operators that are neither in the
    tables nor among torch's core and pointwise operators.
    """
    if target in OF_SIZES:
        return Written("call_function", OF_SIZES[target], args, kwargs)
    parts = target.split(".")
    if parts[:3] != ["torch", "ops", "aten"] or len(parts) != 5:
        raise BadInput(f"it calls {target}, which is no operator of torch itself.")
    name, overload = parts[3:]
    base = name.removesuffix("_")
    if name in CHECKS:
        return None
    if name == "sym_size":
        return Written("call_method", "size", args, kwargs)
    if name in METHODS:
        return Written("call_method", name, (args[0], *(args[1] if len(args) > 1 else ())), kwargs)
    if name in ("slice", "select") and rank is not None:
        return _taken(name, args, rank)
    if base in ARITHMETIC and overload in ("Tensor", "Scalar"):
        plain = IN_PLACE[base] if name != base else ARITHMETIC[base][0]
        if kwargs and name != base:
            raise BadInput(f"it calls {target} with {', '.join(kwargs)}.")
        return Written("call_function", ARITHMETIC[base][1] if kwargs else plain, args, kwargs)
    if name != base and base in TAKES_IN_PLACE:
        return Written("call_function", SAME[base], args, {**kwargs, "inplace": True})
    if (rule := REORDERED.get(name) or REORDERED.get(f"{name}.{overload}")) is not None:
        return rule(args)
    if name in SAME:
        return Written("call_function", SAME[name], args, kwargs)
    return Written("call_function", _core(target, name, overload), args, kwargs)


def _core(target: str, name: str, overload: str) -> Any:
    packet = getattr(torch.ops.aten, name, None)
    function = getattr(packet, overload, None) if packet is not None else None
    if not isinstance(function, torch._ops.OpOverload):
        raise BadInput(f"it calls {target}, which this version of torch does not have.")
    if not {torch.Tag.core, torch.Tag.pointwise} & set(function.tags) and name not in HARMLESS:
        raise BadInput(f"it calls {target}, which is not known to be harmless.")
    return function


def _taken(name: str, args: tuple[Any, ...], rank: int) -> Written:
    """slice and select as x[:, start:end] and x[:, index]."""
    dim = int(args[1] if len(args) > 1 else 0) % rank
    if name == "select":
        item: Any = args[2]
    else:
        start, end, step = [*args[2:], None, None, None][:3]
        item = slice(start, None if isinstance(end, int) and end >= END else end, step)
    return Written("call_function", operator.getitem, (args[0], (*[slice(None)] * dim, item)), {})


def _batch_norm(args: tuple[Any, ...]) -> Written:
    x, weight, bias, mean, variance, training, momentum, eps = args[:8]
    return Written(
        "call_function", functional.batch_norm, (x, mean, variance, weight, bias, training, momentum, eps), {}
    )


def _instance_norm(args: tuple[Any, ...]) -> Written:
    x, weight, bias, mean, variance, of_input, momentum, eps = args[:8]
    return Written(
        "call_function",
        functional.instance_norm,
        (x, mean, variance, weight, bias, of_input, momentum, eps),
        {},
    )


def _resized(mode: str) -> Callable[[tuple[Any, ...]], Written]:
    def resize(args: tuple[Any, ...]) -> Written:
        x, size, *rest = args
        scales = rest[-1] if rest else None
        options: dict[str, Any] = {"size": size, "scale_factor": scales, "mode": mode}
        if mode != "nearest":
            options["align_corners"] = rest[0]
        return Written("call_function", functional.interpolate, (x,), options)

    return resize


def _without_last(function: Any, count: int) -> Callable[[tuple[Any, ...]], Written]:
    """The operator's first `count` arguments; those behind them choose a library."""
    return lambda args: Written("call_function", function, args[:count], {})


REORDERED: Mapping[str, Callable[[tuple[Any, ...]], Written]] = {
    "batch_norm": _batch_norm,
    "layer_norm": _without_last(functional.layer_norm, 5),
    "group_norm": _without_last(functional.group_norm, 5),
    "instance_norm": _instance_norm,
    "upsample_nearest2d.vec": _resized("nearest"),
    "upsample_bilinear2d.vec": _resized("bilinear"),
    "upsample_bicubic2d.vec": _resized("bicubic"),
}
