"""Costs in closed form equal what is counted on the shrunk network by independent means."""

import timeit
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save
from torch import Tensor, fx, nn
from torch.nn import functional as F  # noqa: N812
from torch.utils._pytree import tree_leaves

import explorer
from explorer.costs import cost_of_widths, totals, widths_of
from explorer.values import Plan, full_plan
from tests.counting import counted_macs
from tests.networks import (
    BUNDLED,
    IMAGE,
    Recipe,
    Written,
    conv,
    examples,
    graph_of,
    inputs_like,
    pooled,
    random_plan,
    recipes,
    seeds,
    untrained,
)

GREY = torch.zeros(1, 1, 28, 28)


def macs_by_hooks(model: nn.Module, example: Tensor) -> int:
    """Multiply-adds of conv, transposed conv and linear modules, from what hooks see."""
    total = 0

    def count(module: nn.Module, given: tuple[Tensor, ...], result: Tensor) -> None:
        nonlocal total
        if isinstance(module, nn.ConvTranspose2d):
            total += given[0][0].numel() * module.weight[0].numel()
        elif isinstance(module, nn.Conv2d):
            total += result[0].numel() * module.weight[0].numel()
        else:
            total += result[0].numel() * module.in_features

    kinds = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
    handles = [m.register_forward_hook(count) for m in model.modules() if isinstance(m, kinds)]
    with torch.inference_mode():
        model(example)
    for handle in handles:
        handle.remove()
    return total


class _Meter(fx.Interpreter):
    """Runs a network operator by operator and notes the most bytes that live storages held at once."""

    peak = 0

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        own = {p.untyped_storage().data_ptr() for p in self.module.parameters()}
        alive = [leaf for value in (*self.env.values(), result) for leaf in tree_leaves(value)]
        storages = {
            leaf.untyped_storage().data_ptr(): leaf.untyped_storage().nbytes()
            for leaf in alive
            if isinstance(leaf, Tensor)
        }
        self.peak = max(self.peak, sum(size for address, size in storages.items() if address not in own))
        return result


def measured_peak(model: nn.Module, example: Tensor) -> int:
    meter = _Meter(fx.symbolic_trace(model))
    with torch.inference_mode():
        meter.run(example)
    return meter.peak


def check(model: nn.Module, plan: Plan | None, example: Tensor) -> None:
    graph = explorer.trace(model, example)
    small = model if plan is None else explorer.shrink(model, graph, plan)
    found = explorer.cost(graph, plan)
    assert found.macs == macs_by_hooks(small, example) == counted_macs(small, example)
    assert found.params == sum(parameter.numel() for parameter in small.parameters())
    assert found.file_bytes == len(save(small.state_dict()))
    assert found.peak_bytes == measured_peak(small, example)
    assert sum(found.layer_macs) == found.macs
    assert found == explorer.cost(explorer.trace(small, example))


@pytest.mark.parametrize("name", BUNDLED)
def test_the_dense_cost_is_what_is_counted(name: str) -> None:
    check(untrained(name), None, GREY)


@examples(8)
@given(name=st.sampled_from(BUNDLED), seed=seeds)
def test_the_cost_of_a_plan_is_what_is_counted_on_the_shrunk_network(name: str, seed: int) -> None:
    check(untrained(name), random_plan(graph_of(name), seed), GREY)


@examples(20)
@given(recipe=recipes, seed=seeds)
def test_the_cost_of_random_networks_is_what_is_counted(recipe: Recipe, seed: int) -> None:
    model = recipe.build()
    graph = explorer.trace(model, IMAGE)
    plan = random_plan(graph, seed)
    small, found = explorer.shrink(model, graph, plan), explorer.cost(graph, plan)
    assert found.macs == macs_by_hooks(small, IMAGE) == counted_macs(small, IMAGE)
    assert found.params == sum(parameter.numel() for parameter in small.parameters())
    assert found.file_bytes == len(save(small.state_dict()))
    assert found.peak_bytes == measured_peak(small, IMAGE)


def test_a_small_network_by_hand() -> None:
    model = Written(lambda m, x: m.f(pooled(torch.relu(m.c(x)))), c=conv(3, 8), f=nn.Linear(8, 4))
    found = explorer.cost(explorer.trace(model, IMAGE))
    assert found.layer_macs == (8 * 8 * 8 * 3 * 9, 8 * 4)
    assert found.layer_params == (8 * 3 * 9, 8 * 4)
    assert found.params == 8 * 3 * 9 + 8 + 8 * 4 + 4
    assert found.peak_bytes == 2 * 8 * 8 * 8 * 4  # the convolution's output and the ReLU's


def test_an_operation_in_place_needs_no_second_tensor() -> None:
    model = Written(
        lambda m, x: m.f(pooled(m.r(m.c(x)))), c=conv(3, 8), r=nn.ReLU(inplace=True), f=nn.Linear(8, 4)
    )
    found = explorer.cost(explorer.trace(model, IMAGE))
    assert found.peak_bytes == (3 + 8) * 8 * 8 * 4  # the image and the convolution's output
    assert found.peak_bytes == measured_peak(model, IMAGE)


def test_a_residual_keeps_its_trunk_alive() -> None:
    model = Written(
        lambda m, x: m.f(pooled((y := m.c(x)) + m.d(m.e(y)))),
        c=conv(3, 8), e=conv(8, 16), d=conv(16, 8), f=nn.Linear(8, 4),
    )  # fmt: skip
    found = explorer.cost(explorer.trace(model, IMAGE))
    assert found.peak_bytes == (8 + 16 + 8) * 8 * 8 * 4


def test_macs_are_of_one_example_whatever_the_batch_of_the_trace() -> None:
    model = Written(lambda m, x: m.f(pooled(m.c(x))), c=conv(3, 8), f=nn.Linear(8, 4))
    assert explorer.cost(explorer.trace(model, IMAGE.expand(5, -1, -1, -1))) == explorer.cost(
        explorer.trace(model, IMAGE)
    )


def test_a_module_called_twice_has_its_macs_twice_and_its_parameters_once() -> None:
    model = Written(lambda m, x: m.f(pooled(m.d(m.d(m.c(x))))), c=conv(3, 8), d=conv(8, 8), f=nn.Linear(8, 4))
    plan = random_plan(explorer.trace(model, IMAGE), 0, share=0.5)
    check(model, plan, IMAGE)


def test_tied_parameters_count_once() -> None:
    model = Written(
        lambda m, x: m.f(pooled(m.b(m.a(m.c(x))))),
        c=conv(3, 8),
        a=conv(8, 8),
        b=conv(8, 8),
        f=nn.Linear(8, 4),
    )
    model.b.weight = model.a.weight
    graph = explorer.trace(model, IMAGE)
    plan = random_plan(graph, 1, share=0.5)
    small = explorer.shrink(model, graph, plan)
    assert explorer.cost(graph, plan).params == sum(p.numel() for p in small.parameters())
    once = {name: tensor for name, tensor in small.state_dict().items() if name != "b.weight"}
    assert explorer.cost(graph, plan).file_bytes == len(save(once))


def test_layers_that_no_plan_changes_are_counted() -> None:
    def forward(m: Any, x: Tensor) -> Tensor:
        y = nn.functional.conv2d(m.w(m.c(x)), m.k, stride=2)
        z = m.t(y).flatten(2)
        return m.f(nn.functional.linear(torch.matmul(z, z.transpose(1, 2)).mean(2), m.l))

    model = Written(
        forward, c=conv(3, 8), w=torch.nn.utils.parametrizations.weight_norm(conv(8, 8)),
        k=nn.Parameter(torch.ones(6, 8, 3, 3)), t=nn.ConvTranspose2d(6, 8, 2, groups=2),
        l=nn.Parameter(torch.ones(5, 8)), f=nn.Linear(5, 4),
    )  # fmt: skip
    assert explorer.cost(explorer.trace(model, IMAGE)).macs == counted_macs(model, IMAGE)


def attention(m: Any, x: Tensor) -> Tensor:
    tokens = m.c(x).flatten(2).transpose(1, 2)
    return m.f(m.a(tokens, tokens, tokens, need_weights=False)[0].mean(1))


def fused_attention(m: Any, x: Tensor) -> Tensor:
    heads = m.c(x).flatten(2).transpose(1, 2).reshape(-1, 64, 2, 4).transpose(1, 2)
    return m.f(F.scaled_dot_product_attention(heads, heads, heads).transpose(1, 2).flatten(2).mean(1))


FOLDED: dict[str, Any] = {
    "linear over pixels": lambda m, x: m.f(m.c(x).permute(0, 2, 3, 1).reshape(-1, 8)),
    "frames as the batch": lambda m, x: m.f(pooled(m.d(m.c(x.repeat(5, 1, 1, 1))))),
    "functional over frames": lambda m, x: m.f(pooled(F.conv2d(m.c(x.repeat(5, 1, 1, 1)), m.d.weight))),
    "heads as the batch": lambda m, x: m.f(pooled(torch.bmm(y := m.c(x)[0], y).unsqueeze(0))),
    "arguments by name": lambda m, x: m.f(pooled(torch.matmul(input=(y := m.c(x)), other=y))),
    "one image without a batch": lambda m, x: m.f(m.d(m.c(x)[0]).mean((1, 2))),
    "method": lambda m, x: m.f(pooled((y := m.c(x)).matmul(y))),
    "baddbmm": lambda m, x: m.f(pooled(torch.baddbmm(y := m.c(x)[0], y, y).unsqueeze(0))),
    "einsum": lambda m, x: m.f(torch.einsum("bchw,bdhw->bcd", y := m.c(x), y).mean(1)),
    "attention": attention,
    "fused attention": fused_attention,
}


@pytest.mark.parametrize("name", FOLDED)
def test_every_matrix_product_is_counted_whatever_its_first_dimension(name: str) -> None:
    model = Written(
        FOLDED[name], c=conv(3, 8), d=conv(8, 8), f=nn.Linear(8, 4), a=nn.MultiheadAttention(8, 2, batch_first=True)
    ).eval()  # fmt: skip
    enabled = torch.backends.mha.get_fastpath_enabled()
    graph = explorer.trace(model, IMAGE.expand(3, -1, -1, -1))
    assert explorer.cost(graph).macs == counted_macs(model, IMAGE)
    assert torch.backends.mha.get_fastpath_enabled() == enabled


@pytest.mark.parametrize("name", BUNDLED)
@pytest.mark.parametrize("kind", ["macs", "params"])
def test_totals_of_many_widths_are_the_costs_one_by_one(name: str, kind: str) -> None:
    graph = graph_of(name)
    widths = np.stack([widths_of(graph, random_plan(graph, seed)) for seed in range(5)])
    assert totals(graph, widths, kind).tolist() == [
        getattr(cost_of_widths(graph, row), kind) for row in widths
    ]


def test_channels_are_the_units_of_prunable_groups() -> None:
    graph = graph_of("vgg")
    plan = random_plan(graph, 2)
    assert totals(graph, widths_of(graph, plan), "channels") == sum(plan.widths.values())
    assert totals(graph, widths_of(graph, None), "channels") == 32 + 32 + 64 + 64 + 128 + 128


def test_the_full_plan_costs_what_no_plan_costs() -> None:
    graph = graph_of("inception")
    assert explorer.cost(graph, full_plan(graph)) == explorer.cost(graph)


def test_float64_and_half_weights_have_their_own_file_size() -> None:
    for dtype in (torch.float64, torch.float16):
        model = nn.Sequential(conv(3, 8), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(512, 4)).to(dtype)
        graph = explorer.trace(model, IMAGE.to(dtype))
        assert explorer.cost(graph).file_bytes == len(save(model.state_dict()))


def test_a_cost_takes_a_fraction_of_the_time_of_counting() -> None:
    graph, model = graph_of("resnet20"), untrained("resnet20")
    closed = min(timeit.repeat(lambda: explorer.cost(graph), number=5, repeat=3)) / 5
    counted = min(timeit.repeat(lambda: macs_by_hooks(model, inputs_like(GREY, 1)), number=1, repeat=3))
    assert closed < counted / 3
