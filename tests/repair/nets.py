"""Small networks whose layers are repaired, and what their readers are given, collected by hand."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

import explorer
from explorer.data import Images, identity
from explorer.graph.copies import deep_copy
from explorer.repair import Observed, gather
from explorer.values import ChannelGraph, Plan
from tests.networks import IMAGE, Residual, SqueezeExcitation, Written, conv, inputs_like, pooled, unit


def images_like(example: Tensor, count: int = 64, seed: int = 1) -> Images:
    """Noise; of other than two dimensions as what a normalisation makes of pictures."""
    x = inputs_like(example, count, seed)
    if x.dim() == 4:
        return Images(x, None, identity)
    return Images(x.reshape(count, 1, 1, -1), None, lambda pixels: pixels.reshape(-1, *x.shape[1:]))


def alive(model: nn.Module, example: Tensor = IMAGE) -> nn.Module:
    return explorer.live_weights(model, example)


def plain() -> nn.Module:
    torch.manual_seed(0)
    return alive(
        Written(
            lambda m, x: m.f(pooled(m.c(m.b(m.a(x))))),
            a=unit(3, 8),
            b=nn.Sequential(conv(8, 10), nn.ReLU()),
            c=unit(10, 6, stride=2),
            f=nn.Linear(6, 4),
        )
    )


def half_plan(graph: ChannelGraph, *groups: str) -> Plan:
    """Every second unit of these groups, or of all, is kept."""
    chosen = groups or tuple(group.id for group in graph.prunable)
    keep = {group.id: np.ones(group.size, dtype=bool) for group in graph.prunable}
    for name in chosen:
        keep[name][1::2] = False
    return Plan(graph.key, keep)


def collected(model: nn.Module, module: str, inputs: Tensor) -> Tensor:
    """(rows, inputs * taps): all patches of a plain 2d convolution, or rows of a linear layer, by torch's unfold."""
    layer, seen = model.get_submodule(module), list[Tensor]()
    handle = layer.register_forward_pre_hook(lambda _, args: seen.append(args[0].detach()))
    with torch.no_grad():
        model(inputs)
    handle.remove()
    x = torch.cat(seen).double()
    if isinstance(layer, nn.Linear):
        return x.flatten(0, -2)
    assert isinstance(layer, nn.Conv2d)
    rows = functional.unfold(x, layer.kernel_size, layer.dilation, layer.padding, layer.stride)
    return rows.transpose(1, 2).flatten(0, 1)


def observed_of(model: nn.Module, graph: ChannelGraph, images: Images) -> tuple[nn.Module, Observed]:
    dense = deep_copy(model)
    dense.eval()
    return dense, gather(dense, graph, images)


def transformer() -> nn.Module:
    """One block: torch's attention and an MLP with dropout, each in a residual sum."""
    torch.manual_seed(0)

    def forward(m: Any, x: Tensor) -> Tensor:
        x = m.a(x).flatten(2).transpose(1, 2)
        y = m.norm1(x)
        x = x + m.attention(y, y, y, need_weights=False)[0]
        x = x + m.mlp(m.norm2(x))
        return m.f(x.mean(1))

    return alive(
        Written(
            forward,
            a=nn.Conv2d(3, 8, 2, 2),
            norm1=nn.LayerNorm(8),
            attention=nn.MultiheadAttention(8, 2, batch_first=True),
            norm2=nn.LayerNorm(8),
            mlp=nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8), nn.Dropout(0.5)),
            f=nn.Linear(8, 4),
        )
    )


def sequential(*blocks: nn.Module, channels: int) -> nn.Module:
    return nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 4))


def tied() -> nn.Module:
    model = sequential(unit(3, 8), conv(8, 8), nn.Tanh(), conv(8, 8), nn.ReLU(), channels=8)
    model[3].weight = model[1].weight
    return model


def one_bias() -> nn.Module:
    """Two layers with one bias, of which only the first loses inputs with a plan."""
    model: Any = Written(
        lambda m, x: m.f(pooled(m.b(m.a(x).relu()) * m.c(x))),
        a=conv(3, 8),
        b=conv(8, 6),
        c=conv(3, 6),
        f=nn.Linear(6, 4),
    )
    model.c.bias = model.b.bias
    return model


def functional_layers() -> nn.Module:
    def forward(m: Any, x: Tensor) -> Tensor:
        x = functional.conv2d(m.a(x).relu(), m.weight, padding=1).relu()
        return functional.linear(pooled(x), m.last, m.bias)

    return Written(
        forward,
        a=conv(3, 8),
        weight=nn.Parameter(torch.randn(6, 8, 3, 3)),
        last=nn.Parameter(torch.randn(4, 6)),
        bias=nn.Parameter(torch.randn(4)),
    )


def gated_by_weights() -> nn.Module:
    """What its second layer reads is multiplied with a gate that is made of that layer's own weights."""

    def forward(m: Any, x: Tensor) -> Tensor:
        gate = torch.sigmoid(m.b.weight.mean((0, 2, 3)))[:, None, None]
        return m.f(pooled(m.b(m.a(x).relu() * gate).relu()))

    return Written(forward, a=conv(3, 8), b=conv(8, 6), f=nn.Linear(6, 4))


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "plain": plain,
    "residual": lambda: sequential(
        unit(3, 8),
        Residual(nn.Sequential(unit(8, 6), unit(6, 8, nn.Identity))),
        Residual(nn.Sequential(unit(8, 6), conv(6, 8))),
        channels=8,
    ),
    "depthwise": lambda: sequential(
        unit(3, 8, nn.ReLU6), unit(8, 8, nn.ReLU6, groups=8), nn.Conv2d(8, 12, 1), channels=12
    ),
    "grouped": lambda: sequential(unit(3, 8), unit(8, 12), unit(12, 12, groups=2), unit(12, 8, groups=4), channels=8),
    "squeeze-excitation": lambda: sequential(unit(3, 8), SqueezeExcitation(8), unit(8, 6), channels=6),
    "several readers": lambda: Written(
        lambda m, x: m.f(torch.cat([pooled(m.b(m.a(x))), pooled(m.c(m.a(x)))], 1)),
        a=unit(3, 8), b=unit(8, 5), c=unit(8, 6), f=nn.Linear(11, 4),
    ),
    "norm without affine": lambda: sequential(
        nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8, affine=False), nn.ReLU(),
        nn.Conv2d(8, 8, 3, bias=False), nn.BatchNorm2d(8, affine=False), nn.ReLU(), channels=8,
    ),
    "transposed": lambda: sequential(
        unit(3, 8), nn.ConvTranspose2d(8, 6, 3, stride=2, output_padding=1), nn.ReLU(), unit(6, 6), channels=6
    ),
    "called twice": lambda: Written(
        lambda m, x: m.f(pooled(m.b(torch.sigmoid(m.b(m.a(x)))))), a=unit(3, 8), b=conv(8, 8), f=nn.Linear(8, 4)
    ),
    "tied": tied,
    "one bias": one_bias,
    "functional": functional_layers,
    "gated by weights": gated_by_weights,
    "transformer": transformer,
}  # fmt: skip
