"""Shapes without arithmetic are those of the operators themselves."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, fx, nn

from explorer.graph import hollow

X = torch.randn(2, 6, 9, 7)
LINE = torch.randn(2, 5, 8)

MODULES: dict[str, tuple[nn.Module, tuple[Any, ...]]] = {
    "convolution": (nn.Conv2d(6, 4, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2)), (X,)),
    "same padding": (nn.Conv2d(6, 4, (4, 3), padding="same", dilation=2), (X,)),
    "valid padding": (nn.Conv2d(6, 4, 3, padding="valid"), (X,)),
    "grouped": (nn.Conv2d(6, 9, 3, groups=3), (X,)),
    "line": (nn.Conv1d(5, 3, 4, stride=3), (LINE,)),
    "volume": (nn.Conv3d(6, 2, 2), (torch.randn(1, 6, 4, 5, 3),)),
    "one image": (nn.Conv2d(6, 4, 3), (X[0],)),
    "transposed": (nn.ConvTranspose2d(6, 4, 3, stride=3, padding=1, output_padding=2, dilation=2), (X,)),
    "transposed to a size": (nn.ConvTranspose2d(6, 4, 3, stride=2), (X, [20, 16])),
    "linear": (nn.Linear(7, 3), (X,)),
    "batch norm": (nn.BatchNorm2d(6), (X,)),
    "layer norm": (nn.LayerNorm([9, 7]), (X,)),
    "max pooling": (nn.MaxPool2d(3, 2, 1, ceil_mode=True), (X,)),
    "max pooling of an image": (nn.MaxPool2d(2), (X[0],)),
    "adaptive pooling": (nn.AdaptiveAvgPool2d((3, None)), (X,)),
    "pooling a line": (nn.AvgPool1d(2), (LINE,)),
    "attention": (nn.MultiheadAttention(8, 2, batch_first=True), (LINE, LINE, LINE)),
    "attention, batch second": (nn.MultiheadAttention(8, 2), (LINE, *[LINE[:1].expand(3, 5, 8)] * 2)),
    "softmax": (nn.Softmax(1), (X,)),
}  # fmt: skip
FUNCTIONS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "relu": (F.relu, (X,)),
    "broadcast": (torch.add, (X, torch.randn(6, 1, 1))),
    "types": (torch.mul, (X, torch.ones(7, dtype=torch.int64))),
    "double": (torch.add, (X, X.double())),
    "number": (torch.mul, (X, 2)),
    "concatenation": (torch.cat, ([X, X[:, :2]], 1)),
    "matrix product": (torch.matmul, (X, torch.randn(2, 1, 7, 4))),
    "matrix and vector": (torch.matmul, (X, torch.randn(7))),
    "einsum": (torch.einsum, ("bchw,cd->bdhw", X, torch.randn(6, 3))),
    "einsum with an ellipsis": (torch.einsum, ("...hw,...wk->...hk", X, torch.randn(2, 6, 7, 4))),
    "einsum without a right side": (torch.einsum, ("ij,jk", torch.randn(2, 3), torch.randn(3, 4))),
}


def node_of(target: Any) -> fx.Node:
    return fx.Graph().call_function(target, ())


def shapes(result: Any) -> list[tuple[Any, ...]]:
    tensors = result if isinstance(result, tuple) else (result,)
    return [(x.shape, x.dtype, x.stride()) for x in tensors if isinstance(x, Tensor)]


@pytest.mark.parametrize("name", MODULES)
def test_a_module_without_arithmetic(name: str) -> None:
    module, inputs = MODULES[name]
    stand_in = hollow.hollow_of(node_of(torch.relu), module)
    assert stand_in is not None
    with torch.no_grad():
        found, true = stand_in(module, *inputs), module(*inputs)
    assert [row[:2] for row in shapes(found)] == [row[:2] for row in shapes(true)]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_without_arithmetic(name: str) -> None:
    function, inputs = FUNCTIONS[name]
    stand_in = hollow.hollow_of(node_of(function), None)
    assert stand_in is not None
    assert [row[:2] for row in shapes(stand_in(*inputs))] == [row[:2] for row in shapes(function(*inputs))]


@pytest.mark.parametrize("kind", [nn.ReLU, nn.Hardswish, nn.SiLU])
def test_in_place_is_in_place(kind: type[nn.Module]) -> None:
    stand_in = hollow.hollow_of(node_of(torch.relu), kind(inplace=True))
    assert stand_in is not None
    assert stand_in(kind(inplace=True), X) is X
    assert stand_in(kind(), X) is not X


@pytest.mark.parametrize(
    ("module", "wrong"),
    [
        (nn.Conv2d(6, 4, 3), torch.zeros(1, 5, 9, 9)),
        (nn.Conv2d(6, 4, 5), torch.zeros(1, 6, 3, 3)),
        (nn.Linear(7, 3), torch.zeros(1, 6)),
        (nn.BatchNorm2d(6), torch.zeros(1, 5, 2, 2)),
        (nn.LayerNorm([9, 7]), torch.zeros(1, 9, 8)),
    ],
)
def test_what_torch_refuses_is_refused(module: nn.Module, wrong: Tensor) -> None:
    stand_in = hollow.hollow_of(node_of(torch.relu), module.eval())
    assert stand_in is not None
    with pytest.raises(RuntimeError):
        stand_in(module, wrong)
    with pytest.raises(RuntimeError), torch.no_grad():
        module(wrong)


def test_a_module_with_a_hook_is_run_as_it_is() -> None:
    module = nn.ReLU()
    module.register_forward_hook(lambda *_: None)
    assert hollow.hollow_of(node_of(torch.relu), module) is None
