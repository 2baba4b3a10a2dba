"""What cannot be pruned says why, with the operator and the user's line; nothing is guessed."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

import explorer
from tests.networks import BUNDLED, IMAGE, Concatenation, Sum, Written, conv, graph_of, groups_of, pooled


def with_tail(middle: Callable[[Any, Tensor], Tensor], width: int = 8, **modules: Any) -> nn.Module:
    """conv `c` (3 -> 8), then `middle`, then pooling and a classifier of `width` inputs."""
    return Written(
        lambda m, x: m.f(pooled(middle(m, m.c(x)))), c=conv(3, 8), f=nn.Linear(width, 4), **modules
    )


@pytest.mark.parametrize("name", BUNDLED)
def test_only_the_classifier_of_a_bundled_network_is_not_prunable(name: str) -> None:
    fixed = {group.id: group.reason for group in graph_of(name).groups if not group.prunable}
    assert fixed == {"classifier": "its channels are the network's outputs (classes)"}
    assert all(group.reason == "" for group in graph_of(name).prunable)


def test_what_is_added_to_the_input_is_tied_to_it() -> None:
    model = Written(lambda m, x: m.f(pooled(m.d(x + m.c(x)))), c=conv(3, 3), d=conv(3, 8), f=nn.Linear(8, 4))
    groups = groups_of(model)
    assert "tied to the network's input by add" in groups["c"].reason
    assert groups["d"].prunable


def hooked(module: nn.Module, hook: Callable[..., Any]) -> nn.Module:
    module.register_forward_hook(hook)
    return module


FROZEN: dict[str, tuple[nn.Module, str]] = {
    "sorting": (with_tail(lambda m, x: x.sort(1)[0]), "sort"),
    "chunks of unequal size": (with_tail(lambda m, x: x.chunk(3, 1)[0], 3), "chunk"),
    "split at a number": (with_tail(lambda m, x: x.split(4, 1)[0], 4), "split"),
    "computed weight": (
        with_tail(lambda m, x: F.conv2d(x, m.k * 2), k=nn.Parameter(torch.ones(8, 8, 3, 3))), "conv2d"
    ),
    "roll over channels": (with_tail(lambda m, x: x.roll(1, 1)), "roll"),
    "padded channels": (with_tail(lambda m, x: F.pad(x, (0, 0, 0, 0, 2, 2)), 12), "pad"),
    "comparison with a number": (with_tail(lambda m, x: x * (x.size(1) == 8)), "eq"),
    "softmax": (with_tail(lambda m, x: F.softmax(x, 1)), "softmax"),
    "slice": (with_tail(lambda m, x: x[:, :4], 4), "getitem"),
    "width written as a number": (with_tail(lambda m, x: x.view(-1, 8, 64).unsqueeze(3)), "view"),
    "counted channels": (with_tail(lambda m, x: x / x.size(1)), "truediv"),
    "width read from a layer": (with_tail(lambda m, x: x * m.c.out_channels**-0.5), "c.out_channels"),
    "width read from a buffer": (
        with_tail(lambda m, x: m.n(x) / m.n.running_mean.shape[0], n=nn.BatchNorm2d(8)), "truediv"
    ),
    "pool without a batch": (
        with_tail(lambda m, x: F.max_pool2d(x.flatten(2), (1, 2)).unsqueeze(3)), "max_pool2d"
    ),
    "pool module without a batch": (
        with_tail(lambda m, x: m.p(x.flatten(2)).unsqueeze(3), 2, p=nn.AdaptiveAvgPool2d((2, 5))), "AdaptiveAvgPool2d"
    ),
    "mean over channels": (with_tail(lambda m, x: x * x.mean(1, keepdim=True)), "mean"),
    "hook that changes an output": (
        with_tail(lambda m, x: m.h(x), h=hooked(nn.ReLU(), lambda module, args, output: output * 2)), "forward hook"
    ),
    "matrix product": (with_tail(lambda m, x: torch.matmul(x, x)), "matmul"),
    "several results": (with_tail(lambda m, x: x.topk(4, 1)[0], 4), "topk"),
    "weight norm": (with_tail(lambda m, x: m.w(x), w=weight_norm(conv(8, 8))), "parametrised"),
}  # fmt: skip


@pytest.mark.parametrize("name", FROZEN)
def test_an_operator_without_a_rule_freezes_and_is_named_with_its_line(name: str) -> None:
    model, operator = FROZEN[name]
    group = groups_of(model)["c"]
    assert not group.prunable
    assert operator in group.reason
    assert "test_reasons.py:" in group.reason


@pytest.mark.parametrize("name", FROZEN)
def test_what_is_frozen_stays_when_the_rest_is_pruned(name: str) -> None:
    model = nn.Sequential(conv(3, 8), nn.Conv2d(8, 3, 1), FROZEN[name][0])
    graph = explorer.trace(model, IMAGE)
    scores = explorer.score(model, graph, "random")
    small = explorer.shrink(model, graph, explorer.plan_widths(graph, scores, {"0": 3}))
    assert small[0].out_channels == 3
    assert small[2].c.out_channels == 8
    assert small(torch.zeros(2, 3, 8, 8)).shape == (2, 4)


def test_a_tensor_that_is_given_another_ones_count_is_tied_to_it() -> None:
    model = Written(
        lambda m, x: m.f(pooled(m.c(x).view(x.size(0), m.d(x).size(1), 8, 8)) + m.g(pooled(m.d(x)))),
        c=conv(3, 8), d=conv(3, 8), f=nn.Linear(8, 4), g=nn.Linear(8, 8),
    )  # fmt: skip
    assert groups_of(model)["c"].layers == ("c", "d", "d#2", "g")


def test_what_nothing_reads_says_so() -> None:
    model = Written(
        lambda m, x: (m.d(x), m.f(pooled(m.c(x))))[1], c=conv(3, 8), d=conv(3, 8), f=nn.Linear(8, 4)
    )
    assert "no layer reads its channels" in groups_of(model)["d"].reason


def test_a_group_of_one_unit_says_so() -> None:
    parts = Sum(Concatenation(conv(3, 8), conv(3, 4)), Concatenation(conv(3, 7), conv(3, 5)))
    groups = groups_of(nn.Sequential(parts, conv(12, 3), nn.Flatten()))
    sizes = {group.size: group for group in groups.values()}
    assert sorted(sizes) == [1, 3, 4, 7]
    assert "single unit" in sizes[1].reason
    assert sizes[7].prunable


def test_outputs_may_be_any_structure() -> None:
    model = Written(
        lambda m, x: {"logits": m.f(pooled(y := m.c(x))), "map": [y]}, c=conv(3, 8), f=nn.Linear(8, 4)
    )
    assert "outputs" in groups_of(model)["c"].reason


def test_a_width_that_another_layers_user_reads_freezes_the_input_of_that_layer() -> None:
    model = Written(
        lambda m, x: m.f(pooled(m.d(m.c(x)))) / m.f.in_features, c=conv(3, 8), d=conv(8, 6), f=nn.Linear(6, 4)
    )
    groups = groups_of(model)
    assert "reads its width from f.in_features (test_reasons.py:" in groups["d"].reason
    assert groups["c"].prunable


def test_a_width_that_is_read_in_training_only_freezes_too() -> None:
    def forward(m: Any, x: Tensor) -> Tensor:
        x = m.c(x)
        return m.f(pooled(x / m.n.num_features if m.training else m.n(x)))

    model = Written(forward, c=conv(3, 8), n=nn.BatchNorm2d(8), f=nn.Linear(8, 4))
    assert "n.num_features" in groups_of(model)["c"].reason


class Outputs(NamedTuple):
    logits: Tensor
    features: Tensor


@dataclass
class Answer:
    logits: Tensor
    features: Tensor


@pytest.mark.parametrize("container", [Outputs, Answer])
def test_what_a_container_of_the_users_returns_is_an_output(container: type) -> None:
    model = Written(lambda m, x: container(m.f(pooled(y := m.c(x))), y), c=conv(3, 8), f=nn.Linear(8, 4))
    assert groups_of(model)["c"].reason == "its channels are the network's outputs (classes)"
