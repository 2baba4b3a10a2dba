"""Shapes without arithmetic: what frequent operators return, as zeros that no one has written yet.

An operator listed here is not computed on the zeros that stand for an image; its result is memory that the
system has only promised (zero pages, mapped at first use), with the shape, type and strides of the true one.
What is not listed is run as it is.
"""

import operator
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.nn import functional

Hollow = Callable[..., Tensor]

NUMPY = {
    torch.float32: np.float32, torch.float64: np.float64, torch.int64: np.int64, torch.int32: np.int32,
    torch.bool: np.bool_, torch.uint8: np.uint8,
}  # fmt: skip


def promised(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Zeros of a shape whose memory is mapped only where it is read or written."""
    kind = NUMPY.get(dtype)
    # torch.zeros would write every page; numpy's come from calloc.
    return torch.zeros(shape, dtype=dtype) if kind is None else torch.from_numpy(np.zeros(shape, kind))


def _like(x: Tensor, *_: Any, inplace: bool = False, **__: Any) -> Tensor:
    """Elementwise on one tensor."""
    return x if inplace else promised(tuple(x.shape), x.dtype)


def _relu(x: Tensor, inplace: bool = False) -> Tensor:
    return x if inplace else promised(tuple(x.shape), x.dtype)


def _joined(*operands: Any, **_: Any) -> Tensor:
    """Elementwise on several tensors and numbers, which broadcast."""
    tensors = [x for x in operands[:2] if isinstance(x, Tensor)]
    shape = np.broadcast_shapes(*(tuple(x.shape) for x in tensors))
    return promised(tuple(shape), torch.result_type(*operands[:2]))


def _joined_in_place(x: Any, other: Any, **_: Any) -> Any:
    result = _joined(x, other)
    return x if isinstance(x, Tensor) and result.shape == x.shape else result


def _of_module(module: nn.Module, x: Tensor) -> Tensor:
    return x if getattr(module, "inplace", False) else promised(tuple(x.shape), x.dtype)


def _refuse(module: str, expected: str, x: Tensor) -> None:
    raise RuntimeError(f"{module} expects {expected}, but is given a tensor of shape {tuple(x.shape)}")


def _convolution(module: Any, x: Tensor, output_size: Any = None) -> Tensor:
    dims = len(module.kernel_size)
    if x.dim() not in (dims + 1, dims + 2) or x.shape[-dims - 1] != module.in_channels:
        _refuse(f"a convolution of {module.in_channels} channels", f"{dims + 2} dimensions", x)
    if output_size is not None:
        return module(x, output_size)
    if isinstance(module.padding, str):
        same = module.padding == "same"
        padding = [module.dilation[d] * (module.kernel_size[d] - 1) / 2 if same else 0.0 for d in range(dims)]
    else:
        padding = list(module.padding)
    sides = []
    for dim in range(dims):
        side, stride, reach = (
            x.shape[dim - dims],
            module.stride[dim],
            module.dilation[dim] * (module.kernel_size[dim] - 1),
        )
        if module.transposed:
            sides.append((side - 1) * stride - 2 * padding[dim] + reach + module.output_padding[dim] + 1)
        else:
            sides.append((int(side + 2 * padding[dim]) - reach - 1) // stride + 1)
    if min(sides) < 1:
        _refuse(f"a convolution with kernel {tuple(module.kernel_size)}", "a larger image", x)
    return promised((*x.shape[: x.dim() - dims - 1], module.out_channels, *sides), x.dtype)


def _linear(module: Any, x: Tensor) -> Tensor:
    if x.shape[-1] != module.in_features:
        _refuse(f"Linear({module.in_features}, {module.out_features})", f"{module.in_features} features", x)
    return promised((*x.shape[:-1], module.out_features), x.dtype)


def _batch_norm(module: Any, x: Tensor) -> Tensor:
    module._check_input_dim(x)
    if x.shape[1] != module.num_features:
        _refuse(f"batch norm of {module.num_features} channels", "that many in dimension 1", x)
    if module.training and x.numel() == x.shape[1]:
        _refuse("batch norm in training", "more than one value per channel", x)
    return promised(tuple(x.shape), x.dtype)


def _pool(module: Any, x: Tensor, *args: Any, **kwargs: Any) -> Any:
    """Pooling is run on one channel."""
    sides = int(layer_kind(module).__name__[-2])  # of MaxPool2d
    if x.dim() != sides + 2 or getattr(module, "return_indices", False):
        return module(x, *args, **kwargs)
    small = module(x.narrow(1, 0, 1), *args, **kwargs)
    return promised((x.shape[0], x.shape[1], *small.shape[2:]), x.dtype)


def _layer_norm(module: Any, x: Tensor) -> Tensor:
    if tuple(x.shape[-len(module.normalized_shape) :]) != tuple(module.normalized_shape):
        _refuse(f"layer norm over {tuple(module.normalized_shape)}", "these last dimensions", x)
    return promised(tuple(x.shape), x.dtype)


def _concatenated(tensors: Any, dim: int = 0, axis: int | None = None) -> Tensor:
    dim = dim if axis is None else axis
    rank = tensors[0].dim()
    if any(x.dim() != rank for x in tensors):
        return torch.cat(tensors, dim)  # torch says what is wrong
    shapes = {tuple(s for d, s in enumerate(x.shape) if d != dim % rank) for x in tensors}
    if len(shapes) > 1:
        return torch.cat(tensors, dim)
    shape = list(tensors[0].shape)
    shape[dim % rank] = sum(x.shape[dim] for x in tensors)
    return promised(tuple(shape), tensors[0].dtype)


def _product(first: Tensor, second: Tensor) -> Tensor:
    if first.dim() < 2 or second.dim() < 2 or first.shape[-1] != second.shape[-2]:
        return torch.matmul(first, second)
    ahead = np.broadcast_shapes(first.shape[:-2], second.shape[:-2])
    return promised((*ahead, first.shape[-2], second.shape[-1]), first.dtype)


def einsum_sizes(equation: str, shapes: list[tuple[int, ...]]) -> tuple[tuple[int, ...], dict[str, int]]:
    """The shape that an einsum returns, and the size that every letter of its equation stands for.

    An ellipsis stands for as many dimensions everywhere; for it come Greek letters.
    """
    equation = equation.replace(" ", "")
    terms = zip(equation.partition("->")[0].split(","), shapes, strict=True)
    hidden = max((len(shape) - len(term) + 3 for term, shape in terms if "..." in term), default=0)
    equation = equation.replace("...", "".join(chr(0x391 + place) for place in range(hidden)))
    left, _, right = equation.partition("->")
    sizes: dict[str, int] = {}
    for term, shape in zip(left.split(","), shapes, strict=True):
        for letter, size in zip(term, shape, strict=True):
            sizes[letter] = max(size, sizes.get(letter, 1))
    if "->" not in equation:
        letters = left.replace(",", "")
        right = "".join(sorted(letter for letter in sizes if letters.count(letter) == 1))
    return tuple(sizes[letter] for letter in right), sizes


def _einsum(equation: str, *operands: Any) -> Tensor:
    tensors = operands[0] if isinstance(operands[0], (list, tuple)) else operands
    shape, _ = einsum_sizes(equation, [tuple(x.shape) for x in tensors])
    return promised(shape, tensors[0].dtype)


def _attention(module: Any, query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any) -> Any:
    """Multi-head attention: (answers, weights averaged over heads, or None)."""
    need = args[1] if len(args) > 1 else kwargs.get("need_weights", True)
    batch = query.dim() == 3
    if not batch or query.shape[-1] != module.embed_dim or key.shape[-1] != module.kdim:
        return module(query, key, value, *args, **kwargs)
    weights = None
    if need:
        rows, targets, sources = (
            query.shape[0 if module.batch_first else 1],
            query.shape[1 if module.batch_first else 0],
            key.shape[1 if module.batch_first else 0],
        )
        heads = () if kwargs.get("average_attn_weights", True) else (module.num_heads,)
        weights = promised((rows, *heads, targets, sources), query.dtype)
    return promised(tuple(query.shape), query.dtype), weights


ACTIVATIONS: tuple[type[nn.Module], ...] = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish, nn.Hardswish, nn.Hardsigmoid,
    nn.Hardtanh, nn.Sigmoid, nn.Tanh, nn.Softplus, nn.Softsign, nn.Tanhshrink, nn.Hardshrink, nn.Softshrink,
    nn.LogSigmoid, nn.Threshold, nn.RReLU,
)  # fmt: skip
DROPOUTS: tuple[type[nn.Module], ...] = (
    nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout,
)  # fmt: skip
MODULES: dict[type[nn.Module], Hollow] = {
    **dict.fromkeys((nn.Conv1d, nn.Conv2d, nn.Conv3d), _convolution),
    **dict.fromkeys((nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d), _convolution),
    nn.Linear: _linear,
    **dict.fromkeys((nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm), _batch_norm),
    nn.LayerNorm: _layer_norm,
    **dict.fromkeys((*ACTIVATIONS, *DROPOUTS, nn.Softmax, nn.LogSoftmax), _of_module),
    **dict.fromkeys((nn.MaxPool1d, nn.AvgPool1d, nn.AdaptiveAvgPool1d, nn.AdaptiveMaxPool1d), _pool),
    **dict.fromkeys((nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d), _pool),
    **dict.fromkeys((nn.MaxPool3d, nn.AvgPool3d, nn.AdaptiveAvgPool3d, nn.AdaptiveMaxPool3d), _pool),
    nn.MultiheadAttention: _attention,
}
FUNCTIONS: dict[Any, Hollow] = {
    **dict.fromkeys((functional.relu, functional.relu6, functional.silu, functional.hardswish), _relu),
    **dict.fromkeys((functional.hardsigmoid, functional.mish), _relu),
    **dict.fromkeys((torch.relu, torch.sigmoid, torch.tanh, functional.gelu, functional.dropout), _like),
    **dict.fromkeys((functional.softmax, torch.softmax, functional.layer_norm), _like),
    **dict.fromkeys((operator.add, operator.sub, operator.mul, torch.add, torch.sub, torch.mul), _joined),
    **dict.fromkeys((operator.iadd, operator.isub, operator.imul), _joined_in_place),
    **dict.fromkeys((torch.cat, torch.concat), _concatenated),
    **dict.fromkeys((torch.matmul, torch.bmm, operator.matmul), _product),
    torch.einsum: _einsum,
}
METHODS: dict[str, Hollow] = {
    **dict.fromkeys(("relu", "sigmoid", "tanh", "softmax"), _like),
    **dict.fromkeys(("add", "sub", "mul"), _joined),
    **dict.fromkeys(("add_", "mul_"), _joined_in_place),
    **dict.fromkeys(("matmul", "bmm"), _product),
}
NAMED: dict[str, Hollow] = {  # functions of packages that are not imported here
    "torchvision.ops.stochastic_depth.stochastic_depth": _like,
    "torchvision.models.swin_transformer.shifted_window_attention": _like,
}


LEAVES = (  # modules of packages that are not imported here, with a rule
    "torchvision.ops.deform_conv.DeformConv2d", "einops.layers.torch.Rearrange", "einops.layers.torch.Reduce",
)  # fmt: skip


def layer_kind(module: nn.Module) -> type[nn.Module]:
    """torch's class of layers whose forward a module's class inherits as it is; its own class where there is none."""
    return _layer_kind(type(module))  # type: ignore[arg-type]  # classes are hashable


@lru_cache(maxsize=4096)
def _layer_kind(kind: type[nn.Module]) -> type[nn.Module]:
    for base in kind.__mro__:
        if base in (nn.Module, nn.Sequential) or not issubclass(base, nn.Module):
            return kind
        if base.__module__.startswith("torch.nn.modules"):
            names = ("forward", "_conv_forward", "_output_padding", "__call__", "__getattr__")
            same = all(getattr(kind, name, None) is getattr(base, name, None) for name in names)
            return base if same else kind
    return kind


def qualified(target: Any) -> str:
    """module.name of a function, for the tables that name functions of other packages."""
    return f"{getattr(target, '__module__', '')}.{getattr(target, '__name__', '')}"


def hollow_of(node: fx.Node, module: nn.Module | None) -> Hollow | None:
    """What stands in for an operator; None where it must be run. A called module is the first argument."""
    if module is not None:
        # A hook may change what a module is given or returns.
        hooked = module._forward_hooks or module._forward_pre_hooks
        return None if hooked else MODULES.get(layer_kind(module))
    if node.op == "call_method":
        return METHODS.get(str(node.target))
    try:
        known = FUNCTIONS.get(node.target)
    except TypeError:  # an unhashable target
        return None
    return known or NAMED.get(qualified(node.target))
