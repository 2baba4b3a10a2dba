"""What a network really executes, counted at torch's dispatcher: an oracle for costs that shares no code with them.

Every operator that reaches the dispatcher below autograd is seen, whether a module, a function or attention
called it. Multiply-adds of convolutions and matrix products are counted by shape; what else multiplies matrices
is refused, so that nothing goes uncounted.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten
ATTENTION = (
    "_scaled_dot_product_flash_attention_for_cpu",
    "_scaled_dot_product_flash_attention",
    "_scaled_dot_product_efficient_attention",
    "_scaled_dot_product_cudnn_attention",
)
UNCOUNTED = (
    "_native_multi_head_attention", "_transformer_encoder_layer_fwd", "einsum", "linear", "matmul", "_trilinear",
    "cdist", "_cdist_forward", "mkldnn_rnn_layer", "lstm", "gru", "_convolution", "conv2d", "tensordot",
)  # fmt: skip


class _Counter(TorchDispatchMode):
    """Adds up the multiply-adds of every convolution and matrix product."""

    def __init__(self) -> None:
        super().__init__()
        self.macs = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.macs += _macs(func, args, result)
        return result


def _macs(func: Any, args: Any, result: Any) -> int:
    name = func.overloadpacket.__name__
    if name == "convolution":
        x, weight, transposed = args[0], args[1], args[6]
        return (x if transposed else result).numel() * weight[0].numel()
    if name in ("mm", "bmm", "mv", "dot"):  # the sum runs over the first operand's last axis
        return result.numel() * args[0].shape[-1]
    if name in ("addmm", "baddbmm", "addmv"):
        return result.numel() * args[1].shape[-1]
    if name == "addbmm":
        return args[1].shape[0] * result.numel() * args[1].shape[-1]
    if name in ATTENTION:
        query, key, value = args[:3]
        return math.prod(query.shape[:-1]) * key.shape[-2] * (query.shape[-1] + value.shape[-1])
    assert name not in UNCOUNTED, f"{name} reached the dispatcher whole: its multiply-adds are not counted"
    return 0


@contextmanager
def _no_fast_path() -> Iterator[None]:
    """Attention modules must run as separate products, not as one native operator."""
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)


def counted_macs(model: nn.Module, *inputs: Tensor) -> int:
    """Multiply-adds that one call of the model on these inputs executes; pass inputs of one example."""
    with (
        _no_fast_path(),
        torch.no_grad(),
        _Counter() as counter,
    ):  # inference mode would hide operators' parts
        model(*inputs)
    return counter.macs


def counted_params(model: nn.Module) -> int:
    """Elements of all parameters, tied ones once."""
    return sum(parameter.numel() for parameter in model.parameters())
