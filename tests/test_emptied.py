"""Layers without channels answer as torch's own would if they could take such tensors."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

import explorer
from explorer.emptied import ChannelwisePooling, EmptyConvolution, replace_emptied
from tests.networks import IMAGE, Residual, Written, conv, inputs_like, pooled, unit
from tests.test_removal import any_scores, check_costs

CONVOLUTIONS = [
    nn.Conv1d(3, 5, 3, stride=2, padding=2),
    nn.Conv2d(3, 5, (3, 2), stride=(2, 3), padding=(1, 0), dilation=(2, 1)),
    nn.Conv2d(3, 5, (5, 3), padding="same", bias=False),
    nn.Conv2d(3, 5, 3, padding="valid", dilation=2),
    nn.Conv2d(3, 5, 3, padding=1, padding_mode="circular"),
    nn.Conv3d(3, 5, 2, bias=False),
    nn.ConvTranspose1d(3, 5, 3, stride=2, output_padding=1),
    nn.ConvTranspose2d(3, 5, (3, 2), stride=(2, 3), padding=1, dilation=(1, 2), bias=False),
    nn.ConvTranspose3d(3, 5, 2, stride=2),
]


@pytest.mark.parametrize("layer", CONVOLUTIONS, ids=repr)
def test_an_empty_convolution_answers_as_one_whose_weights_are_zero(layer: nn.Module) -> None:
    dims = layer.weight.dim() - 2
    x = torch.randn(2, 3, *(9, 8, 7)[:dims])
    zero = copy.deepcopy(layer)
    nn.init.zeros_(zero.weight)
    empty = copy.deepcopy(layer)
    empty.weight = nn.Parameter(layer.weight.narrow(0 if layer.transposed else 1, 0, 0))
    replace_emptied(nn.Sequential(empty))
    assert isinstance(empty, EmptyConvolution)
    torch.testing.assert_close(empty(x[:, :0]), zero(x), check_stride=False)
    if layer.transposed:
        size = [
            side + stride - 1 - extra
            for side, stride, extra in zip(zero(x).shape[2:], layer.stride, layer.output_padding, strict=True)
        ]
        assert empty(x[:, :0], size).shape == zero(x, size).shape


POOLS = [
    nn.MaxPool2d(3, stride=2, padding=1, ceil_mode=True), nn.AvgPool2d(2), nn.LPPool2d(2, 2),
    nn.AdaptiveAvgPool2d(1), nn.AdaptiveMaxPool2d((3, 2)),
]  # fmt: skip


@pytest.mark.parametrize("pool", POOLS, ids=repr)
def test_pooling_in_a_tower_takes_no_channels(pool: nn.Module) -> None:
    model = Written(
        lambda m, x: m.f(torch.cat([m.p(m.a(x)), m.q(m.b(x))], 1).flatten(1)),
        a=unit(3, 8), b=unit(3, 4), p=pool, q=copy.deepcopy(pool),
        f=nn.Linear(12 * pool(torch.zeros(1, 1, 8, 8)).numel(), 4),
    )  # fmt: skip
    live = explorer.live_weights(model, IMAGE)
    graph = explorer.trace(live, IMAGE)
    plan = explorer.plan_widths(graph, any_scores(graph), {"a.0": 0})
    assert explorer.prove(live, graph, plan, inputs_like(IMAGE, 2)).conclusive
    x = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(ChannelwisePooling(pool)(x), pool(x))
    check_costs(live, graph, plan, IMAGE)


def test_a_forward_that_cannot_take_no_channels_is_refused_in_words() -> None:
    model = Written(
        lambda m, x: m.f(pooled(torch.cat([F.max_pool2d(m.a(x), 2), F.max_pool2d(m.b(x), 2)], 1))),
        a=unit(3, 8), b=unit(3, 4), f=nn.Linear(12, 4),
    )  # fmt: skip
    graph = explorer.trace(model, IMAGE)
    plan = explorer.plan_widths(graph, any_scores(graph), {"a.0": 0})
    with pytest.raises(explorer.NotReachable, match=r"does not run without a\.0: .*as a module"):
        explorer.shrink(model, graph, plan)


def test_an_operation_in_place_behind_an_empty_convolution() -> None:
    body = nn.Sequential(conv(8, 6), nn.ReLU(inplace=True), conv(6, 8), nn.ReLU(inplace=True))
    model = Written(lambda m, x: m.f(pooled(m.r(m.c(x)))), c=conv(3, 8), r=Residual(body), f=nn.Linear(8, 4))
    graph = explorer.trace(model, IMAGE)
    plan = explorer.plan_widths(graph, any_scores(graph), {"r.body.0": 0})
    small = explorer.shrink(model, graph, plan).train()
    before = small.r.body[2].bias.clone()
    small(inputs_like(IMAGE, 2)).sum().backward()
    assert torch.equal(small.r.body[2].bias, before)
    assert small.r.body[2].bias.grad.abs().sum() > 0
