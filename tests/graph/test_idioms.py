"""Idioms of users' code that once led to wrong surgery: sizes as numbers, types, registries, optional arguments."""

import logging
import math
import random
import sys
import threading
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

import explorer
from tests.counting import counted_macs
from tests.networks import inputs_like, random_plan

EXAMPLE = torch.zeros(1, 3, 12, 12)


class Net(nn.Module):
    """A stem, `middle(self, x)` on 16 channels, a 1 x 1 convolution and a classifier."""

    def __init__(self, middle: Any, **modules: Any) -> None:
        super().__init__()
        self.stem, self.c, self.bn = (
            nn.Conv2d(3, 16, 3, padding=1),
            nn.Conv2d(16, 16, 3, padding=1),
            nn.BatchNorm2d(16),
        )
        self.head, self.f = nn.Conv2d(16, 12, 1), nn.Linear(12, 4)
        self.middle = middle
        for name, module in modules.items():
            setattr(self, name, module)

    def forward(self, x: Tensor) -> Tensor:
        x = self.middle(self, torch.relu(self.stem(x)))
        return self.f(torch.relu(self.head(x)).mean((2, 3)))


class Masked(Net):
    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        y = super().forward(x)
        return y if mask is None else y * mask


def divided_by_unpacked(m: Any, x: Tensor) -> Tensor:
    *_, channels, _height, _width = x.shape
    return m.c(x) / channels


def branching_on_width(m: Any, x: Tensor) -> Tensor:
    y = m.c(x)
    return y * 2 if y.shape[1] >= 12 else y


def asserting(m: Any, x: Tensor) -> Tensor:
    _, channels, _, _ = x.shape
    if channels != 16:
        raise ValueError(f"16 channels, not {channels}")
    return m.c(x)


def attending(m: Any, x: Tensor) -> Tensor:
    tokens = x.flatten(2).transpose(1, 2)
    return (tokens + m.a(tokens, tokens, tokens)[0]).transpose(1, 2).reshape(x.shape)


class Equalised(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight, self.bias, self.stride, self.padding) / math.sqrt(self.in_channels)


class OwnAttention(nn.MultiheadAttention):
    pass


class Registered(nn.Conv2d):
    registry: ClassVar[dict[str, type]] = {}

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        Registered.registry[cls.__name__] = cls


class Member(Registered):
    pass


def vector(length: int = 16) -> nn.Parameter:
    return nn.Parameter(torch.linspace(-1, 2, length))


NETWORKS: dict[str, Any] = {
    "unpacked shape": lambda: Net(divided_by_unpacked),
    "float of a size": lambda: Net(lambda m, x: m.c(x) / float(x.shape[1])),
    "maximum of sizes": lambda: Net(lambda m, x: m.c(x) / max(x.shape[1], 8)),
    "length of a weight": lambda: Net(lambda m, x: m.c(x) / len(m.c.weight)),
    "branch on a width": lambda: Net(branching_on_width),
    "check of a width": lambda: Net(asserting),
    "own layer reads its width": lambda: Net(lambda m, x: m.e(x), e=Equalised(16, 16, 3, padding=1)),
    "exact type": lambda: Net(lambda m, x: m.c(x) + x if type(m.c) is nn.Conv2d else m.c(x)),
    "optional argument": lambda: Masked(lambda m, x: m.c(x)),
    "attention": lambda: Net(attending, a=nn.MultiheadAttention(16, 4, batch_first=True)),
    "own attention": lambda: Net(attending, a=OwnAttention(16, 4, batch_first=True)),
    "table cut to the width": lambda: Net(lambda m, x: x * m.p[: x.shape[1]].mean(), p=vector(64)),
    "table at half the width": lambda: Net(lambda m, x: x * m.p[x.shape[1] // 2], p=vector(64)),
    "registry of subclasses": lambda: Net(lambda m, x: m.r(x), r=Member(16, 16, 1)),
    "variance": lambda: Net(lambda m, x: x * torch.var(x, (2, 3), False, True)),
    "einsum that sums nothing": lambda: Net(lambda m, x: torch.einsum("bchw,c->bchw", x, m.p), p=vector()),
    "reflected padding, exported": lambda: Net(
        lambda m, x: m.q(x) * float(x.shape[2]), q=nn.Conv2d(16, 16, 3, padding=1, padding_mode="reflect")
    ),
    "dropout, exported": lambda: Net(lambda m, x: F.dropout(m.c(x) * float(x.shape[2]) / 12, 0.5, m.training)),
    "weight by keyword": lambda: Net(
        lambda m, x: F.conv2d(x, weight=m.k, padding=1), k=nn.Parameter(torch.randn(16, 16, 3, 3))
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_surgery_is_right_and_costs_are_counted(name: str) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = explorer.live_weights(NETWORKS[name](), EXAMPLE)
    graph = explorer.trace(model, EXAMPLE)
    plan = random_plan(graph, 1, share=0.5)
    assert explorer.prove(model, graph, plan, inputs_like(EXAMPLE, 3)).conclusive
    assert explorer.cost(graph).macs == counted_macs(model, EXAMPLE)
    assert explorer.cost(graph, plan).macs == counted_macs(explorer.shrink(model, graph, plan), EXAMPLE)
    assert Registered.registry == {"Member": Member}


def test_an_lstm_is_a_fixed_call_with_its_products() -> None:
    model = Net(
        lambda m, x: x * m.l(x.flatten(2).transpose(1, 2))[0].mean(), l=nn.LSTM(16, 5, batch_first=True)
    )
    (call,) = explorer.trace(model, EXAMPLE).fixed
    assert (call.operator, call.macs) == ("LSTM", 144 * (16 + 5) * 4 * 5)


def test_a_forward_that_was_set_on_the_object_is_refused() -> None:
    model = Net(lambda m, x: x)
    model.forward = lambda x: x  # type: ignore[method-assign]
    with pytest.raises(explorer.CannotTrace, match="set on the object"):
        explorer.trace(model, EXAMPLE)


@pytest.mark.parametrize("kind", [threading.Lock, lambda: (number for number in range(3))])
def test_what_cannot_be_copied_is_refused_in_words(kind: Any) -> None:
    model = Net(lambda m, x: x)
    model.held = kind()
    with pytest.raises(explorer.CannotTrace, match="cannot be copied"):
        explorer.trace(model, EXAMPLE)


def test_extra_state_and_a_state_dict_of_the_users_own_do_not_matter() -> None:
    class Own(Net):
        def get_extra_state(self) -> dict[str, int]:
            return {"epoch": 3}

        def set_extra_state(self, state: object) -> None:
            pass

        def state_dict(self, *args: Any, **options: Any) -> Any:
            return {f"net.{name}": tensor for name, tensor in super().state_dict(*args, **options).items()}

    model = Own(lambda m, x: m.c(x))
    graph = explorer.trace(model, EXAMPLE)
    assert explorer.shrink(model, graph, random_plan(graph, 0, share=0.5)).c.out_channels == 8


def test_python_s_and_numpy_s_random_numbers_go_on() -> None:
    def drawing(m: Any, x: Tensor) -> Tensor:
        return m.c(x) * (random.random() + np.random.rand())  # noqa: NPY002

    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    wanted = random.random(), np.random.rand()  # noqa: NPY002
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    explorer.trace(Net(drawing), EXAMPLE)
    assert (random.random(), np.random.rand()) == wanted  # noqa: NPY002


def test_exports_on_several_threads_take_turns_and_leave_the_process_as_it_was() -> None:
    errors: list[BaseException] = []
    before = sys.stdout, sys.stderr, logging.root.manager.disable

    def trace() -> None:
        try:
            explorer.trace(Net(branching_on_width), EXAMPLE)
        except BaseException as error:  # noqa: BLE001
            errors.append(error)

    threads = [threading.Thread(target=trace) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert (sys.stdout, sys.stderr, logging.root.manager.disable) == before


def test_hooks_are_not_called_and_one_before_a_forward_freezes_with_its_reason() -> None:
    called: list[object] = []
    model = Net(lambda m, x: m.c(x))
    model.c.register_forward_pre_hook(lambda module, inputs: called.append(module))
    model.head.register_forward_hook(lambda module, inputs, output: called.append(module))
    graph = explorer.trace(model, EXAMPLE)
    assert called == []
    assert "has a hook" in graph.group("stem").reason
    assert graph.group("head").prunable
