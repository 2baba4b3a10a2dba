"""Batch norm folded into the convolution before it: the same logits in eval mode, fewer steps."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from explorer.errors import BadInput
from explorer.graph.copies import deep_copy


def _shift_and_scale(norm: _BatchNorm) -> tuple[Tensor, Tensor]:
    """float64 (C,) each: in eval mode the layer maps channel c to x * scale[c] + shift[c]."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = (norm.running_var.double() + norm.eps).rsqrt()
    if norm.affine:
        scale = scale * norm.weight.double()
    shift = -norm.running_mean.double() * scale
    if norm.affine:
        shift = shift + norm.bias.double()
    return shift, scale


def _fold_pair(conv: _ConvNd, norm: _BatchNorm) -> None:
    shift, scale = _shift_and_scale(norm)
    weight = conv.weight.double()
    if isinstance(conv, _ConvTransposeNd):  # (in, out / groups, ...): outputs are numbered group by group
        groups = (conv.groups, weight.shape[0] // conv.groups, weight.shape[1])
        scaled = weight.reshape(*groups, -1) * scale.view(conv.groups, 1, -1, 1)
    else:
        scaled = weight.flatten(1) * scale[:, None]
    bias = shift if conv.bias is None else shift + conv.bias.double() * scale
    # New parameters, not new values in the old ones, which may be tied to another layer's.
    dtype = conv.weight.dtype
    conv.weight = nn.Parameter(scaled.reshape(weight.shape).to(dtype), requires_grad=False)
    conv.bias = nn.Parameter(bias.to(dtype), requires_grad=False)


@torch.no_grad()
def fold(model: nn.Module, folds: Iterable[tuple[str, str]]) -> nn.Module:
    """A copy in eval mode in which each (convolution, batch norm) pair of module names is one convolution.

    The batch norm must directly follow the convolution and nothing else may read it (`ChannelGraph.folds`).
    It becomes an Identity; the convolution gets a bias. Arithmetic in float64. Raises BadInput where a name
    is not a convolution or not a batch norm with running statistics.
    """
    folded = deep_copy(model)
    folded.eval()
    for conv_name, norm_name in folds:
        modules = dict(folded.named_modules(remove_duplicate=False))
        conv, norm = modules.get(conv_name), modules.get(norm_name)
        if not isinstance(conv, _ConvNd):
            raise BadInput(f"Cannot fold into {conv_name!r}: {type(conv).__name__} is not a convolution.")
        if not isinstance(norm, _BatchNorm) or norm.running_mean is None:
            raise BadInput(
                f"Cannot fold {norm_name!r}: {type(norm).__name__} is not a batch norm with running "
                "statistics."
            )
        _fold_pair(conv, norm)
        for name, module in modules.items():
            if module is norm:
                folded.set_submodule(name, nn.Identity().eval())
    return folded
