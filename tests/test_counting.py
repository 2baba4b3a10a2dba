"""The counter that costs are compared with, against cases counted by hand."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from tests.counting import counted_macs, counted_params
from tests.networks import Written

X = torch.zeros(1, 6, 10, 10)
TOKENS = torch.zeros(1, 7, 8)
MATRICES = torch.zeros(3, 4, 5)


class Calls(nn.Module):
    """A function as a network."""

    def __init__(self, function: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> object:
        return self.function(x)


ATTENTION = 4 * 7 * 8 * 8 + 2 * 7 * 7 * 8  # four projections; queries x keys and weights x values
BY_HAND: dict[str, tuple[nn.Module, Tensor, int]] = {
    "conv": (nn.Conv2d(6, 4, 3), X, 8 * 8 * 4 * 6 * 9),
    "padding taps count": (nn.Conv2d(6, 4, 3, padding=1), X, 10 * 10 * 4 * 6 * 9),
    "stride": (nn.Conv2d(6, 4, 3, stride=2), X, 4 * 4 * 4 * 6 * 9),
    "grouped": (nn.Conv2d(6, 4, 3, groups=2), X, 8 * 8 * 4 * 3 * 9),
    "depthwise": (nn.Conv2d(6, 12, 3, groups=6), X, 8 * 8 * 12 * 9),
    "transposed": (nn.ConvTranspose2d(6, 4, 2, stride=2), X, 10 * 10 * 6 * 4 * 4),
    "grouped transposed": (nn.ConvTranspose2d(6, 4, 2, groups=2), X, 10 * 10 * 6 * 2 * 4),
    "conv 1d": (nn.Conv1d(6, 4, 3), X[..., 0], 8 * 4 * 6 * 3),
    "conv 3d": (nn.Conv3d(6, 4, 2), X[..., None].expand(1, 6, 10, 10, 3), 9 * 9 * 2 * 4 * 6 * 8),
    "functional conv": (Calls(lambda x: F.conv2d(x, torch.zeros(4, 6, 3, 3))), X, 8 * 8 * 4 * 6 * 9),
    "one image without a batch": (nn.Conv2d(6, 4, 3), X[0], 8 * 8 * 4 * 6 * 9),
    "linear": (nn.Linear(10, 3), X, 6 * 10 * 10 * 3),
    "linear without bias": (nn.Linear(10, 3, bias=False), X, 6 * 10 * 10 * 3),
    "linear of a vector": (nn.Linear(10, 3), X[0, 0, 0], 10 * 3),
    "functional linear": (Calls(lambda x: F.linear(x, torch.zeros(3, 10))), X, 6 * 10 * 10 * 3),
    "matmul of stacks": (Calls(lambda x: x @ x.mT), MATRICES, 3 * 4 * 4 * 5),
    "baddbmm": (Calls(lambda x: torch.baddbmm(torch.zeros(3, 4, 4), x, x.mT)), MATRICES, 3 * 4 * 4 * 5),
    "addbmm": (Calls(lambda x: torch.addbmm(torch.zeros(4, 4), x, x.mT)), MATRICES, 3 * 4 * 4 * 5),
    "einsum": (Calls(lambda x: torch.einsum("bij,bkj->bik", x, x)), MATRICES, 3 * 4 * 4 * 5),
    "fused attention": (
        Calls(lambda x: F.scaled_dot_product_attention(x, x[:, :3], torch.zeros(1, 3, 2))), TOKENS, 7 * 3 * (8 + 2)
    ),
    "attention": (Calls(lambda x: F.scaled_dot_product_attention(x, x, x, dropout_p=0.1)), TOKENS, 2 * 7 * 7 * 8),
    "attention module": (nn.MultiheadAttention(8, 2, batch_first=True), TOKENS, ATTENTION),
    "attention module in eval": (nn.MultiheadAttention(8, 2, batch_first=True).eval(), TOKENS, ATTENTION),
    "encoder layer in eval": (
        nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval(), TOKENS, ATTENTION + 2 * 7 * 8 * 16
    ),
    "nothing else": (Calls(lambda x: F.max_pool2d(torch.relu(x * x + 1), 2).softmax(1)), X, 0),
}  # fmt: skip


@pytest.mark.parametrize("name", BY_HAND)
def test_multiply_adds_are_those_counted_by_hand(name: str) -> None:
    model, x, macs = BY_HAND[name]
    given = (x, x, x) if isinstance(model, nn.MultiheadAttention) else (x,)
    assert counted_macs(model, *given) == macs


def test_every_call_of_a_module_counts() -> None:
    model = Written(lambda m, x: m.c(torch.relu(m.c(x))), c=nn.Conv2d(6, 6, 3, padding=1))
    assert counted_macs(model, X) == 2 * 10 * 10 * 6 * 6 * 9


def test_what_multiplies_matrices_in_another_way_is_refused() -> None:
    with pytest.raises(AssertionError, match="_trilinear"):
        counted_macs(nn.Bilinear(3, 4, 1), torch.zeros(1, 3), torch.zeros(1, 4))


def test_the_global_switch_of_attention_is_put_back() -> None:
    before = torch.backends.mha.get_fastpath_enabled()
    counted_macs(nn.Linear(2, 2), torch.zeros(1, 2))
    assert torch.backends.mha.get_fastpath_enabled() == before


def test_tied_parameters_count_once() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    assert counted_params(model) == 2 * (16 + 4)
    model[1].weight = model[0].weight
    assert counted_params(model) == 16 + 4 + 4
