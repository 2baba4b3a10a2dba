"""`explorer.repair` as people call it: which images it uses, what it refuses, and any network under any plan."""

import math

import pytest
import torch
from hypothesis import given
from torch import nn

import explorer
from explorer.data import Data, Images, identity
from explorer.errors import BadInput, UnknownName
from explorer.repair import apply, gather
from explorer.repair.refit import refit
from explorer.values import ChannelGraph, Plan, full_plan
from tests.graph.composer import Spec
from tests.graph.test_fuzz import specs
from tests.networks import IMAGE, Recipe, examples, inputs_like, random_plan, recipes, seeds
from tests.repair.nets import NETWORKS, alive, half_plan, images_like, observed_of, plain

HOWS = ("merge", "refit", "refit_sequential")


def traced() -> tuple[nn.Module, ChannelGraph, Plan]:
    model = plain()
    graph = explorer.trace(model, IMAGE)
    return model, graph, half_plan(graph)


@pytest.mark.parametrize("how", ["refit", "refit_sequential"])
def test_training_images_only_and_no_labels(how: str) -> None:
    model, graph, plan = traced()
    train = images_like(IMAGE)

    def forbidden(_x: torch.Tensor) -> torch.Tensor:
        raise AssertionError("explore and final images are for judging")

    judged = Images(train.pixels, None, forbidden)
    data = Data("toy", ("0", "1", "2", "3"), train, judged, judged)
    expected = explorer.repair(model, graph, plan, how, train.pixels).state_dict()
    labelled = Images(train.pixels, torch.arange(64) % 4, identity)
    for images in (data, train, labelled, (train.pixels, torch.arange(64) % 4)):
        found = explorer.repair(model, graph, plan, how, images).state_dict()
        for key, value in expected.items():
            assert torch.equal(found[key], value), key


def test_refits_without_images_are_refused_and_merging_needs_none() -> None:
    model, graph, plan = traced()
    for how in ("refit", "refit_sequential"):
        with pytest.raises(BadInput, match=r'pass images=.* Without images, use how="merge"'):
            explorer.repair(model, graph, plan, how)
        unknown = Data("toy", ("0",), None, images_like(IMAGE), None)
        with pytest.raises(BadInput, match="toy has no train images"):
            explorer.repair(model, graph, plan, how, unknown)
        with pytest.raises(BadInput, match="The data set is empty"):
            explorer.repair(model, graph, plan, how, IMAGE[:0])
        with pytest.raises(BadInput, match="NaN"):
            explorer.repair(model, graph, plan, how, torch.full((4, 3, 8, 8), math.nan))
        with pytest.raises(BadInput, match=r"cannot take inputs of shape .*traced for images of shape"):
            explorer.repair(model, graph, plan, how, torch.zeros(4, 5, 8, 8))
    assert not explorer.repair(model, graph, plan, "merge").training


def test_other_names_and_plans_are_refused() -> None:
    model, graph, plan = traced()
    with pytest.raises(UnknownName, match=r"no repair 'refitt'.*Did you mean 'refit'"):
        explorer.repair(model, graph, plan, "refitt")  # type: ignore[arg-type]
    other = explorer.trace(alive(NETWORKS["residual"]()), IMAGE)
    for how in HOWS:
        with pytest.raises(BadInput, match="plan"):
            explorer.repair(model, graph, full_plan(other), how, images_like(IMAGE))


def test_no_repair_is_the_cut() -> None:
    model, graph, plan = traced()
    found, cut = explorer.repair(model, graph, plan, "none"), explorer.shrink(model, graph, plan)
    assert all(
        torch.equal(a, b) for a, b in zip(found.state_dict().values(), cut.state_dict().values(), strict=True)
    )


def test_progress_and_stopping_while_covariances_are_gathered() -> None:
    model, graph, plan = traced()
    seen: list[tuple[int, int]] = []
    observed = gather(model, graph, images_like(IMAGE, 300), progress=lambda *done: seen.append(done))
    assert seen == [(100, 300), (200, 300), (300, 300)]
    assert observed.images == 300
    calls = 0

    def stop() -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        gather(model, graph, images_like(IMAGE, 300), check=stop)
    for how in ("refit", "refit_sequential"):
        calls = 0
        with pytest.raises(KeyboardInterrupt):
            apply(
                model,
                explorer.shrink(model, graph, plan),
                graph,
                plan,
                how,
                observed,
                images_like(IMAGE),
                stop,
            )
    assert torch.overrides._get_current_function_mode() is None


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_networks_of_every_kind(name: str, how: str) -> None:
    torch.manual_seed(0)
    model = alive(NETWORKS[name]())
    check(model, IMAGE, how, range(3))


def check(model: nn.Module, example: torch.Tensor, how: str, plans: range, least: int = 1) -> None:
    """Repaired networks have the plan's shapes and finite outputs, and refits are no worse where they can be judged."""
    graph, images = explorer.trace(model, example), images_like(example, 24)
    for seed in plans:
        try:
            plan = random_plan(graph, seed, least)
            cut = explorer.shrink(model, graph, plan)
        except explorer.NotReachable:
            continue
        found = explorer.repair(model, graph, plan, how, images)
        assert {k: v.shape for k, v in found.state_dict().items()} == {
            k: v.shape for k, v in cut.state_dict().items()
        }
        assert not found.training
        with torch.no_grad():
            outputs = torch.utils._pytree.tree_leaves(found(images.inputs()))
        assert all(bool(torch.isfinite(each).all()) for each in outputs)


@pytest.mark.parametrize("how", HOWS)
@examples(6)
@given(recipe=recipes, seed=seeds)
def test_random_networks_and_plans(how: str, recipe: Recipe, seed: int) -> None:
    check(recipe.build(), IMAGE, how, range(seed, seed + 1), least=seed % 2)


@examples(20)
@given(spec=specs, seed=seeds)
def test_networks_of_all_operators(spec: Spec, seed: int) -> None:
    if spec.two_inputs:
        return
    model = explorer.live_weights(spec.build(), spec.example, spec.seed)
    graph, images = explorer.trace(model, spec.example), images_like(spec.example, 24)
    plan = random_plan(graph, seed)
    dense, observed = observed_of(model, graph, images)
    for how in ("none", *HOWS):
        found = explorer.shrink(model, graph, plan)
        apply(dense, found, graph, plan, how, observed, images)
        with torch.no_grad():
            outputs = torch.utils._pytree.tree_leaves(found(images.inputs()))
        assert all(bool(torch.isfinite(each).all()) for each in outputs), how
    for each in refit(dense, explorer.shrink(model, graph, plan), graph, plan, observed, measure=True):
        assert each.reason or each.repaired <= each.cut * (1 + 1e-9) + 1e-9


def test_two_inputs_are_refused_by_refits_in_words() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.f = nn.Conv2d(3, 8, 3), nn.Conv2d(2, 8, 3), nn.Conv2d(8, 4, 1)

        def forward(self, x: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
            return self.f(torch.relu(self.a(x) + self.b(z))).mean((2, 3))

    model = Two().eval()
    graph = explorer.trace(model, (IMAGE, torch.zeros(1, 2, 8, 8)))
    plan = random_plan(graph, 0)
    with pytest.raises(BadInput, match="Two cannot take inputs"):
        explorer.repair(model, graph, plan, "refit", inputs_like(IMAGE, 8))
    explorer.repair(model, graph, plan, "merge")
