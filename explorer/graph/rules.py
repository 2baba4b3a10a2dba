"""One rule per operator: how labels of channels pass through it. Add an operator by adding a line to a table.

Along an axis that carries channels an operator is a *carrier* (f(x[S]) = f(x)[S]), a *mover* (rearranges
elements: it is run on the labels), a *join* (adds or multiplies: ties), or a *reader* (sums over the axis
against a parameter). What is in no table freezes what it touches (walk.freeze_everything).
"""

import operator
from functools import partial
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional

from explorer.graph import attention, elementwise, hooks, layers, moving, norms, patterns, sizes
from explorer.graph.counts import leaves
from explorer.graph.hollow import ACTIVATIONS, DROPOUTS, layer_kind, qualified
from explorer.graph.tracing import Shape
from explorer.graph.walk import Call, Rule, changes_its_weights, freeze_everything

EXPORTED = (  # names of torch.export's operators that act on elements alone, although torch does not tag them so
    "dropout", "dropout_", "feature_dropout", "feature_dropout_", "alpha_dropout", "alpha_dropout_",
    "feature_alpha_dropout", "feature_alpha_dropout_", "rrelu", "alias", "to", "_to_copy", "zero_", "copy_", "fill_",
)  # fmt: skip
CARRIERS: tuple[Any, ...] = (
    torch.relu, functional.relu, functional.relu6, functional.leaky_relu, functional.elu, functional.selu,
    functional.celu, functional.gelu, functional.silu, functional.hardswish, functional.hardsigmoid,
    functional.hardtanh, functional.mish, functional.softplus, functional.softsign, functional.logsigmoid,
    functional.tanhshrink, functional.threshold, functional.sigmoid, functional.tanh,
    functional.dropout, functional.dropout1d, functional.dropout2d, functional.dropout3d,
    functional.alpha_dropout, functional.feature_alpha_dropout,
    torch.sigmoid, torch.tanh, torch.abs, torch.exp, torch.log, torch.sqrt, torch.rsqrt, torch.square, torch.pow,
    torch.neg, torch.sin, torch.cos, torch.erf, torch.sign, torch.clone, torch.detach,
    torch.reciprocal, torch.log1p, torch.expm1, torch.nan_to_num, torch.zeros_like, torch.ones_like,
    operator.neg, operator.pow,
    "relu", "relu_", "sigmoid", "sigmoid_", "tanh", "tanh_", "abs", "exp", "log", "sqrt", "rsqrt", "square", "pow",
    "neg", "contiguous", "clone", "detach", "float", "half", "double", "to", "type_as",
    "hardtanh_", "bfloat16", "bernoulli", "bernoulli_", "uniform_", "normal_", "zero_", "fill_", "cpu", "cuda",
    "requires_grad_", "detach_", torch.randn_like, torch.rand_like, torch.empty_like, torch.full_like, torch.bernoulli,
    functional.rrelu, functional.hardshrink, functional.softshrink,
)  # fmt: skip
JOINS: tuple[Any, ...] = (
    operator.add, operator.iadd, operator.sub, operator.isub, operator.mul, operator.imul, operator.truediv,
    operator.itruediv, operator.floordiv, operator.ifloordiv, torch.floor_divide, "floor_divide",
    torch.add, torch.sub, torch.mul, torch.div, torch.multiply, torch.subtract, torch.divide,
    torch.maximum, torch.minimum, torch.where, torch.masked_fill, torch.clip, torch.clamp, torch.clamp_min,
    torch.clamp_max, "where", "masked_fill", "masked_fill_", "clip", "clip_", "clamp", "clamp_", "clamp_min",
    "clamp_max", "copy_", "add", "add_", "sub", "sub_", "mul", "mul_", "div", "div_", "maximum", "minimum",
)  # fmt: skip
MOVERS: tuple[Any, ...] = (
    torch.flatten, torch.permute, torch.transpose, torch.swapaxes, torch.swapdims, torch.movedim, torch.moveaxis,
    torch.unsqueeze, torch.flip, torch.fliplr, torch.flipud, torch.repeat_interleave, torch.tile, torch.ravel,
    torch.rot90,
    "flatten", "permute", "transpose", "swapaxes", "swapdims", "movedim", "moveaxis", "unsqueeze", "flip", "repeat",
    "repeat_interleave", "tile", "ravel", "t",
)  # fmt: skip
REDUCTIONS: tuple[Any, ...] = (
    torch.mean, torch.sum, torch.amax, torch.amin, torch.logsumexp, torch.prod, torch.var, torch.std,
    torch.std_mean, torch.var_mean, torch.argmax, torch.argmin, torch.any, torch.all, torch.count_nonzero, torch.nansum,
    torch.nanmean, torch.median, torch.nanmedian, "mean", "sum", "amax", "amin", "logsumexp", "prod", "std", "var",
    "argmax", "argmin", "any", "all", "median",
)  # fmt: skip
ALONG: tuple[Any, ...] = (
    torch.softmax, functional.softmax, torch.log_softmax, functional.log_softmax, torch.cumsum, torch.cumprod,
    functional.softmin, torch.sort, "softmax", "log_softmax", "cumsum", "cumprod", "sort",
)  # fmt: skip
PADDING: tuple[type[nn.Module], ...] = (
    nn.ZeroPad1d, nn.ZeroPad2d, nn.ZeroPad3d, nn.ConstantPad1d, nn.ConstantPad2d, nn.ConstantPad3d, nn.ReflectionPad1d,
    nn.ReflectionPad2d, nn.ReflectionPad3d, nn.ReplicationPad1d, nn.ReplicationPad2d, nn.ReplicationPad3d,
    nn.CircularPad1d, nn.CircularPad2d, nn.CircularPad3d,
)  # fmt: skip
FILLED: tuple[Any, ...] = (
    torch.zeros, torch.ones, torch.empty, torch.full, torch.rand, torch.randn, "new_zeros", "new_ones", "new_empty",
    "new_full",
)  # fmt: skip
POOLED: dict[Any, int] = {  # how many dimensions they pool: the last ones
    **dict.fromkeys((nn.MaxPool1d, nn.AvgPool1d, nn.LPPool1d, nn.AdaptiveAvgPool1d, nn.AdaptiveMaxPool1d), 1),
    **dict.fromkeys((nn.MaxPool2d, nn.AvgPool2d, nn.LPPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d), 2),
    **dict.fromkeys((nn.MaxPool3d, nn.AvgPool3d, nn.AdaptiveAvgPool3d, nn.AdaptiveMaxPool3d), 3),
    **dict.fromkeys((functional.max_pool1d, functional.avg_pool1d, functional.adaptive_avg_pool1d), 1),
    **dict.fromkeys((functional.max_pool2d, functional.avg_pool2d, functional.lp_pool2d), 2),
    **dict.fromkeys((functional.adaptive_avg_pool2d, functional.adaptive_max_pool2d), 2),
    functional.max_pool1d_with_indices: 1,
    functional.max_pool2d_with_indices: 2,
    functional.max_pool3d_with_indices: 3,
    torch.ops.aten.max_pool2d_with_indices.default: 2,
    **dict.fromkeys((functional.max_pool3d, functional.avg_pool3d, functional.adaptive_avg_pool3d), 3),
}


def changed_by_hook(call: Call) -> Any:
    """The output of a module with a forward hook that may change it: the hook is no part of the trace."""
    return freeze_everything(call, call.args[1])


FUNCTIONS: dict[Any, Rule] = {
    **dict.fromkeys(CARRIERS, elementwise.carry),
    **dict.fromkeys(JOINS, elementwise.join),
    **dict.fromkeys(MOVERS, moving.move),
    **dict.fromkeys(REDUCTIONS, elementwise.reduce),
    **dict.fromkeys(ALONG, elementwise.along),
    **{target: partial(elementwise.pool, sides=n) for target, n in POOLED.items() if not isinstance(target, type)},
    **layers.FUNCTIONS,
    **dict.fromkeys((torch.squeeze, "squeeze"), moving.squeeze),
    **dict.fromkeys((torch.reshape, "reshape", "view", "expand"), moving.reshape),
    **dict.fromkeys((torch.unflatten, "unflatten"), moving.unflatten),
    **dict.fromkeys((torch.chunk, torch.split, "chunk", "split"), moving.split),
    **dict.fromkeys((torch.unbind, "unbind"), moving.unbind),
    **dict.fromkeys((torch.narrow, "narrow"), moving.narrow),
    **dict.fromkeys((torch.roll, "roll"), elementwise.roll),
    **dict.fromkeys((torch.cat, torch.concat, torch.concatenate), moving.concatenate),
    torch.stack: moving.stack,
    functional.channel_shuffle: moving.shuffle,
    functional.pixel_shuffle: moving.pixel_shuffle,
    functional.pixel_unshuffle: moving.pixel_unshuffle,
    functional.pad: elementwise.pad,
    functional.interpolate: elementwise.resize,
    functional.upsample: elementwise.resize,
    functional.normalize: elementwise.normalize,
    **dict.fromkeys((functional.batch_norm, functional.instance_norm), norms.functional_norm),
    functional.layer_norm: norms.layer_norm,
    functional.prelu: norms.prelu,
    **dict.fromkeys((torch.matmul, torch.bmm, operator.matmul, "matmul", "bmm"), attention.matrix_product),
    torch.einsum: attention.einsum,
    operator.getitem: moving.take_item,
    getattr: moving.attribute,
    hooks.CHANGED: changed_by_hook,
    **dict.fromkeys((torch.max, torch.min, "max", "min"), elementwise.extreme),
    **dict.fromkeys((torch.norm, torch.linalg.vector_norm, "norm"), partial(elementwise.reduce, position=2)),
    **dict.fromkeys(("expand_as", "view_as", "reshape_as"), moving.like_another),
    **dict.fromkeys(FILLED, moving.fill),
    **dict.fromkeys((functional.glu,), moving.gated),
    functional.grid_sample: elementwise.sample,
    torch.ops.aten.grid_sampler.default: elementwise.sample,
    **dict.fromkeys((functional.unfold, torch.ops.aten.im2col.default), moving.unfold),
    **dict.fromkeys((functional.fold, torch.ops.aten.col2im.default), moving.fold),
    **dict.fromkeys((functional.max_unpool1d, functional.max_unpool2d, functional.max_unpool3d), elementwise.resize),
    torch.ops.aten.max_unpool2d.default: elementwise.resize,
    functional.group_norm: norms.functional_group_norm,
}  # fmt: skip
MODULES: dict[type[nn.Module], Rule] = {
    **dict.fromkeys((*layers.CONVOLUTIONS, *layers.TRANSPOSED), layers.convolution),
    nn.Linear: layers.linear,
    **dict.fromkeys((nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm), norms.batch_norm),
    nn.Softmax2d: elementwise.mixed,
    nn.GLU: moving.gated,
    nn.Unfold: moving.unfold,
    nn.Fold: moving.fold,
    **dict.fromkeys((nn.MaxUnpool1d, nn.MaxUnpool2d, nn.MaxUnpool3d), elementwise.resize),
    **dict.fromkeys((nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d), norms.instance_norm),
    nn.GroupNorm: norms.group_norm,
    nn.LayerNorm: norms.layer_norm,
    nn.PReLU: norms.prelu,
    **{target: partial(elementwise.pool, sides=n) for target, n in POOLED.items() if isinstance(target, type)},
    **dict.fromkeys((*ACTIVATIONS, *DROPOUTS, nn.Identity), elementwise.carry),
    **dict.fromkeys((nn.Softmax, nn.LogSoftmax, nn.Softmin), elementwise.along),
    **dict.fromkeys(PADDING, elementwise.pad),
    **dict.fromkeys((nn.Upsample, nn.UpsamplingNearest2d, nn.UpsamplingBilinear2d), elementwise.resize),
    nn.Flatten: moving.move,
    nn.Unflatten: moving.unflatten,
    nn.ChannelShuffle: moving.shuffle,
    nn.PixelShuffle: moving.pixel_shuffle,
    nn.PixelUnshuffle: moving.pixel_unshuffle,
    nn.MultiheadAttention: attention.multi_head_attention,
}  # fmt: skip
NAMED: dict[str, Rule] = {  # functions of packages that are not imported here
    "torchvision.ops.stochastic_depth.stochastic_depth": elementwise.carry,
    "torchvision.models.swin_transformer.shifted_window_attention": attention.shifted_window_attention,
    "torchvision.models.swin_transformer._patch_merging_pad": moving.merge_patches,
    "torchvision.ops.deform_conv.DeformConv2d": layers.deformable_convolution,
    "torchvision.ops.deform_conv.deform_conv2d": layers.deformable_convolution,
    **dict.fromkeys(
        ("einops.einops.rearrange", "einops.einops.reduce", "einops.einops.repeat"), patterns.rearranged
    ),
    **dict.fromkeys(("einops.layers.torch.Rearrange", "einops.layers.torch.Reduce"), patterns.rearranged),
}
SEVERAL = {  # may return several tensors
    moving.split,
    moving.unbind,
    moving.take_item,
    attention.multi_head_attention,
    elementwise.reduce,
    elementwise.extreme,
    elementwise.along,
    elementwise.resize,
    *(rule for target, rule in {**FUNCTIONS, **MODULES}.items() if target in POOLED),
}
SIZE_READERS = {"size", "dim", "numel", getattr}


def parametrised(call: Call) -> Any:
    """Weight norm and the like: cutting the weights that it computes would be undone at the next call."""
    reason = f"{call.place} {changes_its_weights(call.walk.traced, str(call.node.target))}"
    if isinstance(call.module, layers.LAYERS):
        return layers.frozen_layer(call, reason)
    return freeze_everything(call, reason)


def _known(node: fx.Node, module: nn.Module | None) -> Rule | None:
    """The rule in a table; a subclass of a layer counts as one while its forward is the layer's."""
    if module is not None:
        known = MODULES.get(layer_kind(module)) or NAMED.get(qualified(type(module)))
        return layers.frozen_layer if known is None and isinstance(module, layers.LAYERS) else known
    try:
        known = FUNCTIONS.get(node.target) or NAMED.get(qualified(node.target))
    except TypeError:  # an unhashable target
        return None
    return elementwise.join if known is None and _is_pointwise(node.target) else known


def _is_pointwise(target: Any) -> bool:
    """Whether a function or method of torch, or an operator of Python, acts on elements alone."""
    if isinstance(target, torch._ops.OpOverload):
        return torch.Tag.pointwise in target.tags or target.overloadpacket.__name__ in EXPORTED
    if isinstance(target, str):
        return elementwise.is_pointwise(target)
    home = getattr(target, "__module__", None) or ""
    of_torch = home.startswith(("torch", "_operator")) or type(target).__name__.startswith("builtin")
    return of_torch and elementwise.is_pointwise(target.__name__)


def has_rule(node: fx.Node, module: nn.Module | None) -> bool:
    """Whether an operator's MACs are known to its rule; those of the others must be counted as they run."""
    if module is None and (isinstance(node.target, type) or node.target in SIZE_READERS):
        return True
    return _known(node, module) is not None


def rule_for(call: Call) -> Rule:
    """The rule of an operator; what has none, or returns several tensors unforeseen, freezes what it touches."""
    if not any(isinstance(leaf, Shape) for leaf in leaves(call.result)):
        return sizes.number
    if call.module is not None and changes_its_weights(call.walk.traced, str(call.node.target)):
        return parametrised
    rule = _known(call.node, call.module)
    if rule is None or (not isinstance(call.result, Shape) and rule not in SEVERAL):
        return freeze_everything
    return rule
