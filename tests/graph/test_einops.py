"""Lines of einops: what follows its pattern stays prunable and is proven; a width that is written down stays whole."""

import threading
from functools import partial
from typing import Any

import pytest
import torch
from einops import rearrange, reduce, repeat
from einops.layers.torch import Rearrange, Reduce
from torch import Tensor, nn

import explorer
from tests.graph.test_everyday import checked
from tests.graph.test_idioms import EXAMPLE, Net

HELD = {"moved": rearrange, "flat": partial(rearrange, pattern="b c h w -> b c (h w)")}
TWICE = "b c h w -> b (c 2) h w", "b (c 2) h w -> b c h w"


def in_heads(m: Any, x: Tensor) -> Tensor:
    heads = rearrange(x, "b (head c) h w -> b head c (h w)", head=4)
    return rearrange(heads * heads.softmax(-1), "b head c (h w) -> b (head c) h w", h=12)


FOLLOWED: dict[str, Any] = {
    "there and back": lambda: Net(
        lambda m, x: rearrange(rearrange(x, "b c h w -> b h w c") + 1, "b h w c -> b c h w")
    ),
    "unchanged": lambda: Net(lambda m, x: rearrange(m.c(x), "b c h w -> b c h w")),
    "heads": lambda: Net(in_heads),
    "dots": lambda: Net(lambda m, x: rearrange(rearrange(x, "b c ... -> b ... c"), "b ... c -> b c ...") * x),
    "dots in one": lambda: Net(lambda m, x: x * rearrange(x, "b c ... -> b c (...)").mean(-1)[..., None, None]),
    "in three": lambda: Net(lambda m, x: rearrange(x, "b (p q r) h w -> b (r q p) h w", p=2, q=2)[:, :, :, 1:]),
    "halves": lambda: Net(lambda m, x: rearrange(x, "b (n c) h w -> n b c h w", n=2)[0].repeat(1, 2, 1, 1)),
    "pooled": lambda: Net(lambda m, x: reduce(m.c(x), "b c (h 2) (w 2) -> b c h w", "max")),
    "pooled by lengths": lambda: Net(lambda m, x: reduce(x, "b c (h p) (w q) -> b c h w", "mean", p=3, q=2)),
    "gate": lambda: Net(lambda m, x: x * reduce(x, "b c h w -> b c () ()", "mean").sigmoid()),
    "doubled": lambda: Net(lambda m, x: repeat(m.c(x), "b c h w -> b c (h 2) (w 2)")),
    "channels doubled": lambda: Net(lambda m, x: reduce(repeat(x, TWICE[0]), TWICE[1], "max")),
    "spread": lambda: Net(lambda m, x: x + repeat(x.mean((2, 3)), "b c -> b c h w", h=12, w=1)),
    "by name": lambda: Net(lambda m, x: rearrange(tensor=x, pattern="b c h w -> b c w h")),
    "in a dictionary": lambda: Net(
        lambda m, x: x + HELD["flat"](HELD["moved"](x, "b c h w -> b c w h")).mean(-1)[..., None, None]
    ),
    "layers": lambda: Net(
        lambda m, x: m.back(m.there(x) * 2) + m.mean(x),
        there=Rearrange("b (c g) h w -> b h w g c", g=2),
        back=Rearrange("b h w g c -> b (c g) h w"),
        mean=Reduce("b c h w -> b c 1 1", "mean"),
    ),
    "pooling layer": lambda: Net(lambda m, x: m.p(x), p=Reduce("b c (h 2) (w 2) -> b c h w", "max")),
    "a module's number": lambda: Net(lambda m, x: rearrange(x, "b (n c) h w -> b (c n) h w", n=m.n), n=4),
    "unchanged, exported": lambda: Net(lambda m, x: rearrange(m.c(x) * (float(x.shape[2]) / 12), "b c h w -> b c h w")),
}  # fmt: skip
FROZEN: dict[str, tuple[Any, str]] = {
    "a length that is checked": (lambda m, x: rearrange(x, "b n h w -> b n h w", n=16), "written as a number"),
    "a length in two": (lambda m, x: rearrange(x, "b n h w -> b h w n", n=16).permute(0, 3, 1, 2), "as a number (16)"),
    "a length of a layer": (lambda m, x: m.r(x), "as a number (16)"),
    "checked under export": (
        lambda m, x: rearrange(x * (float(x.shape[2]) / 12), "b n h w -> b n h w", n=16), "test_einops.py:"
    ),
    "checked of several": (
        lambda m, x: reduce([x * (float(x.shape[2]) / 12), x], "k b n h w -> b n h w", "sum", n=16), "test_einops.py:"
    ),
    "one in a list": (lambda m, x: rearrange([x], "k b n h w -> (k b) n h w"), "no rule for rearrange"),
    "mixed": (lambda m, x: m.c(x) * reduce(x, "b c h w -> b 1 h w", "mean"), "mixes the channels"),
    "stacked": (lambda m, x: rearrange([x, x + 1], "n b c h w -> b (n c) h w")[:, 4:20], "no rule for rearrange"),
}  # fmt: skip


@pytest.mark.parametrize("name", FOLLOWED)
def test_a_pattern_that_channels_follow_keeps_them_prunable(name: str) -> None:
    stem = checked(FOLLOWED[name]()).group("stem")
    assert stem.prunable, stem.reason


@pytest.mark.parametrize("name", FROZEN)
def test_a_pattern_that_fixes_or_mixes_channels_keeps_them_and_says_why(name: str) -> None:
    forward, reason = FROZEN[name]
    model = Net(forward, r=Rearrange("b n h w -> b n h w", n=16))
    for _ in range(2):  # einops remembers shapes, which it then reads no more
        stem = checked(model).group("stem")
        assert not stem.prunable
        assert reason in stem.reason


def test_a_network_of_another_thread_goes_on_while_one_is_traced() -> None:
    x, answers = torch.arange(6.0).reshape(1, 6), []

    class Asking(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.c = nn.Conv2d(3, 8, 3)

        def forward(self, y: Tensor) -> Tensor:
            other = threading.Thread(target=lambda: answers.append(rearrange(x, "b (p q) -> b q p", p=2)))
            other.start()
            other.join()
            return rearrange(self.c(y), "b c h w -> b c w h")

    before = rearrange.__code__
    explorer.trace(Asking(), EXAMPLE)
    assert rearrange.__code__ is before
    assert torch.equal(answers[0], x.reshape(1, 2, 3).mT)
