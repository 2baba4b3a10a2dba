"""Merging: nothing is lost with proportional filters, and what it must leave alone."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import explorer
from explorer.repair.merge import merge
from explorer.repair.refit import Refitted
from explorer.values import ChannelGraph, Plan
from tests.evaluate.toys import livened
from tests.networks import (
    IMAGE,
    Recipe,
    Residual,
    Written,
    conv,
    examples,
    inputs_like,
    pooled,
    recipes,
    seeds,
    unit,
)
from tests.repair.nets import NETWORKS, alive, half_plan


def network(norm: bool, between: Callable[[Tensor], Tensor] = torch.relu, last: int = 1) -> Any:
    torch.manual_seed(0)
    norms = livened(nn.BatchNorm2d(8)) if norm else nn.Identity()
    model = Written(
        lambda m, x: m.f(pooled(between(m.b(between(m.n(m.a(x))))))),
        a=conv(3, 8, bias=not norm), n=norms, b=conv(8, 6, groups=last), f=nn.Linear(6, 4),
    )  # fmt: skip
    return model.eval()


def proportional(model: Any, removed: int, kept: int, scale: float) -> None:
    """In place: filter `removed` is `scale` times `kept`, and behind the batch norm its channel is S > 0 times."""
    norm = model.n if isinstance(model.n, nn.BatchNorm2d) else None
    with torch.no_grad():
        model.a.weight[removed] = scale * model.a.weight[kept]
        if norm is None:
            model.a.bias[removed] = scale * model.a.bias[kept]
            return
        if scale * norm.weight[removed] / norm.weight[kept] < 0:
            norm.weight[removed] *= -1
        sigma = (norm.running_var + norm.eps).sqrt()
        # y = gamma (u - mu) / sigma + beta with u = scale u': beta is such that y is a multiple of y'.
        ratio = scale * norm.weight[removed] / sigma[removed] * sigma[kept] / norm.weight[kept]
        whole = norm.bias[kept] - norm.weight[kept] / sigma[kept] * norm.running_mean[kept]
        norm.bias[removed] = (
            ratio * whole + norm.weight[removed] / sigma[removed] * norm.running_mean[removed]
        )


def plan_without(graph: ChannelGraph, group: str, *units: int) -> Plan:
    keep = {each.id: np.ones(each.size, dtype=bool) for each in graph.prunable}
    keep[group][list(units)] = False
    return Plan(graph.key, keep)


def merged(
    model: nn.Module, plan: Plan, graph: ChannelGraph, by_cosine: bool = True
) -> tuple[Any, list[Refitted]]:
    shrunk = explorer.shrink(model, graph, plan)
    return shrunk, merge(model, shrunk, graph, plan, by_cosine)


def difference(first: nn.Module, second: nn.Module) -> float:
    x = inputs_like(IMAGE, 8, seed=3)
    with torch.no_grad():
        return float((first(x) - second(x)).abs().max() / first(x).abs().max())


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("by_cosine", [False, True])
@pytest.mark.parametrize(
    "between",
    [torch.relu, lambda x: nn.functional.leaky_relu(x, 0.1), lambda x: nn.functional.max_pool2d(x.relu(), 2)],
)
def test_proportional_filters_lose_nothing(
    norm: bool, by_cosine: bool, between: Callable[[Tensor], Tensor]
) -> None:
    model = network(norm, between)
    for removed, kept, scale in ((1, 0, 2.0), (3, 0, 0.4), (6, 5, 1.7)):
        proportional(model, removed, kept, scale)
    graph = explorer.trace(model, IMAGE)
    plan = plan_without(graph, "a", 1, 3, 6)
    assert difference(model, explorer.shrink(model, graph, plan)) > 1e-2
    found, told = merged(model, plan, graph, by_cosine)
    assert told == [Refitted("b")] or (len(told) == 1 and told[0].layer == "b" and not told[0].reason)
    assert difference(model, found) < 1e-5
    with torch.no_grad():
        assert torch.equal(found.a.weight, model.a.weight[plan.keep["a"].copy()])


def test_a_flattened_reader_is_merged_place_by_place() -> None:
    torch.manual_seed(0)
    model: Any = Written(
        lambda m, x: m.f(m.a(x).relu().flatten(1)), a=conv(3, 8), n=nn.Identity(), f=nn.Linear(512, 4)
    )
    proportional(model.eval(), 1, 0, 2.0)
    graph = explorer.trace(model, IMAGE)
    found, _ = merged(model, plan_without(graph, "a", 1), graph)
    assert difference(model, found) < 1e-5


@pytest.mark.parametrize("transposed", [False, True])
def test_transposed_makers_and_readers(transposed: bool) -> None:
    torch.manual_seed(0)
    made = nn.ConvTranspose2d(3, 8, 2, 2) if transposed else conv(3, 8)
    read = conv(8, 6) if transposed else nn.ConvTranspose2d(8, 6, 3, 2)
    model: Any = Written(lambda m, x: pooled(m.f(m.b(m.a(x).relu()))), a=made, b=read, f=conv(6, 4)).eval()
    with torch.no_grad():
        (model.a.weight[:, 1] if transposed else model.a.weight[1]).copy_(
            2 * (model.a.weight[:, 0] if transposed else model.a.weight[0])
        )
        model.a.bias[1] = 2 * model.a.bias[0]
    graph = explorer.trace(model, IMAGE)
    found, told = merged(model, plan_without(graph, "a", 1), graph)
    assert [each.reason for each in told] == [""]
    assert difference(model, found) < 1e-5


def columns_moved(model: nn.Module, by_cosine: bool, kept: int) -> tuple[Tensor, Tensor]:
    """(removed, kept): by how much of each removed filter's column every kept one's has changed."""
    graph = explorer.trace(model, IMAGE)
    plan = plan_without(graph, "a", *range(kept, 8))
    found, _ = merged(model, plan, graph, by_cosine)
    whole, cut = (
        model.get_parameter("b.weight"),
        explorer.shrink(model, graph, plan).get_parameter("b.weight"),
    )
    moved = (found.b.weight - cut).detach().transpose(0, 1).flatten(1)
    basis = whole.detach()[:, kept:].transpose(0, 1).flatten(1)
    z = torch.linalg.lstsq(basis.T.double(), moved.T.double()).solution
    torch.testing.assert_close((basis.T.double() @ z).T, moved.double(), atol=1e-5, rtol=1e-4)
    return z, whole


@pytest.mark.parametrize("norm", [False, True])
@examples(5)
@given(seed=seeds, kept=st.integers(1, 7))
def test_at_most_one_kept_filter_stands_for_a_removed_one_and_by_a_positive_amount(
    norm: bool, seed: int, kept: int
) -> None:
    model = network(norm)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        model.a.weight.normal_(generator=generator)
    for by_cosine in (False, True):
        z, _ = columns_moved(model, by_cosine, kept)
        used = z.abs() > 1e-4
        assert int(used.sum(1).max()) <= 1
        assert bool((z[used] > 0).all())


def test_the_cosine_makes_less_of_what_is_less_alike() -> None:
    """By hand: cos((1, 0), (3, 4)) = 0.6, and the norms are as 1 to 5."""
    model = network(norm=False)
    with torch.no_grad():
        model.a.weight.zero_()
        model.a.bias.zero_()
        model.a.weight[0, 0, 1, 1] = 1.0
        model.a.weight[1, 0, 1, 1], model.a.weight[1, 1, 1, 1] = 3.0, 4.0
    graph = explorer.trace(model, IMAGE)
    plan = plan_without(graph, "a", 1)
    for by_cosine, scale in ((False, 5.0), (True, 3.0)):
        found, _ = merged(model, plan, graph, by_cosine)
        expected = model.b.weight[:, 0] + scale * model.b.weight[:, 1]
        torch.testing.assert_close(found.b.weight[:, 0], expected)
        assert torch.equal(found.b.weight[:, 1:], model.b.weight[:, 2:])


def cut_stays(model: Any, plan: Plan, graph: ChannelGraph) -> None:
    found, _ = merged(model, plan, graph)
    cut = explorer.shrink(model, graph, plan)
    for key, value in cut.state_dict().items():
        assert torch.equal(found.state_dict()[key], value), key


@pytest.mark.parametrize("norm", [False, True])
def test_filters_that_are_not_alike_are_only_pruned(norm: bool) -> None:
    model = network(norm)
    with torch.no_grad():
        model.a.weight.zero_()
        if not norm:
            model.a.bias.zero_()
        for each in range(8):
            model.a.weight.view(8, -1)[each, 3 * each] = 1.0
    graph = explorer.trace(model, IMAGE)
    cut_stays(model, plan_without(graph, "a", 1, 2, 5), graph)


def test_negative_scales_are_refused() -> None:
    model = network(norm=True)
    with torch.no_grad():
        model.a.weight[:] = model.a.weight[:1]
        model.n.weight[0] = -model.n.weight[0].abs()
        model.n.weight[1:] = model.n.weight[1:].abs()
    graph = explorer.trace(model, IMAGE)
    cut_stays(model, plan_without(graph, "a", 0), graph)


@pytest.mark.parametrize("gamma", [0.0, 1.0])
def test_filters_that_are_all_alike(gamma: float) -> None:
    """Offsets that are all equal have no range to be measured by; a gamma of zero no slope."""
    model = network(norm=True)
    with torch.no_grad():
        model.a.weight[:] = model.a.weight[:1]
        for tensor, value in zip(
            (model.n.weight, model.n.bias, model.n.running_mean, model.n.running_var),
            (gamma, 0.3, 0.1, 1.0),
            strict=True,
        ):
            tensor.fill_(value)
    graph = explorer.trace(model, IMAGE)
    found, _ = merged(model, plan_without(graph, "a", 1, 2), graph)
    assert torch.isfinite(found.b.weight).all()
    if gamma:
        assert difference(model, found) < 1e-5


SCALES = {
    "silu": nn.functional.silu, "relu6": nn.functional.relu6, "sigmoid": torch.sigmoid, "gelu": nn.functional.gelu,
    "hardswish": nn.functional.hardswish, "softmax": lambda x: x.softmax(1), "shift": lambda x: x.relu() + 0.1,
    "normalised": nn.functional.normalize,
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(SCALES))
@pytest.mark.parametrize("norm", [False, True])
def test_what_does_not_scale_stays_as_it_was_cut(name: str, norm: bool) -> None:
    model = network(norm, SCALES[name])
    proportional(model, 1, 0, 2.0)
    graph = explorer.trace(model, IMAGE)
    if not any(group.id == "a" for group in graph.prunable):
        return
    plan = plan_without(graph, "a", 1)
    cut_stays(model, plan, graph)
    (told,) = merged(model, plan, graph)[1]
    assert told.reason == "what lies between a and b may not scale as a ReLU does"


def test_reasons_of_groups_that_cannot_be_merged() -> None:
    for model, words in (
        (
            nn.Sequential(
                unit(3, 8), unit(8, 8, groups=8), conv(8, 4), nn.AdaptiveAvgPool2d(1), nn.Flatten()
            ),
            "2 layers",
        ),
        (
            nn.Sequential(
                unit(3, 8), Residual(unit(8, 8)), conv(8, 4), nn.AdaptiveAvgPool2d(1), nn.Flatten()
            ),
            "2 layers together",
        ),
        (
            nn.Sequential(conv(3, 8), nn.PReLU(8), conv(8, 4), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
            "acts on the channels",
        ),
        (
            nn.Sequential(
                conv(3, 8),
                nn.ReLU(),
                conv(8, 8, groups=2),
                nn.ReLU(),
                conv(8, 4),
                nn.AdaptiveAvgPool2d(1),
                nn.Flatten(),
            ),
            "a unit of 2 is several channels",
        ),
    ):
        model = alive(model)
        graph = explorer.trace(model, IMAGE)
        _, told = merged(model, half_plan(graph), graph)
        assert told, words
        assert any(words in each.reason for each in told), (words, told)


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_merging_goes_on_where_no_reason_is_told(name: str) -> None:
    torch.manual_seed(0)
    model = alive(NETWORKS[name]())
    graph = explorer.trace(model, IMAGE)
    plan = half_plan(graph)
    found, told = merged(model, plan, graph)
    cut = explorer.shrink(model, graph, plan)
    weights = {layer.name: layer.weight for layer in graph.layers}
    for each in told:
        if each.reason:
            assert torch.equal(
                found.get_parameter(weights[each.layer]), cut.get_parameter(weights[each.layer])
            )


@examples(10)
@given(recipes, seeds)
def test_copies_of_kept_filters_lose_nothing_where_they_are_merged(recipe: Recipe, seed: int) -> None:
    """A removed filter of a random network, batch norm included, is a kept one's copy: merged, nothing is lost."""
    model = recipe.build()
    graph = explorer.trace(model, IMAGE)
    single = [group for group in graph.prunable if len(group.layers) == 1 and group.size > 1]
    weights = {layer.name: layer.weight for layer in graph.layers if layer.kind == "conv"}
    chosen = [group for group in single if group.layers[0] in weights]
    for group in chosen:
        with torch.no_grad():
            for slot in group.slots:
                if slot.reads:
                    continue
                tensor = (
                    model.get_parameter(slot.tensor)
                    if slot.tensor in dict(model.named_parameters())
                    else (model.get_buffer(slot.tensor))
                )
                if tensor.dim() and slot.dim == 0:
                    places = [np.flatnonzero(slot.unit == each) for each in (0, 1)]
                    tensor[places[1]] = tensor[places[0]]
        plan = plan_without(graph, group.id, 1)
        found, told = merged(model, plan, graph)
        if told and not any(each.reason for each in told):
            assert difference(model, found) < 1e-3
