"""The instant refit: torch's least squares on patches collected by hand, and what must stay as it is."""

import math
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from torch import Tensor, nn

import explorer
from explorer.data import Images, identity
from explorer.errors import Interrupted
from explorer.repair import apply, gather
from explorer.repair.refit import refit
from explorer.values import Plan, Repair, full_plan
from tests.evaluate.toys import fingerprint
from tests.networks import IMAGE, Written, conv, examples, inputs_like, pooled, random_plan, seeds
from tests.repair.nets import NETWORKS, alive, collected, half_plan, images_like, observed_of, plain


def answers(rows: Tensor, layer: nn.Module) -> Tensor:
    """(rows, outputs), batch norm aside: it is affine and the same for both."""
    weight, bias = layer.weight.detach().double().flatten(1), getattr(layer, "bias", None)
    return rows @ weight.T + (0 if bias is None else bias.detach().double())


def by_least_squares(rows: Tensor, targets: Tensor, kept: Tensor, held: Tensor) -> tuple[Tensor, Tensor]:
    """(weights, constant) of numpy's least squares with a column of ones, and ridge rows that hold to `held`."""
    x = rows[:, kept].numpy()
    rho = (1e-3 + 2 * (x.shape[1] / len(x)) ** 2) * (x - x.mean(0)).var(0).mean() * len(x)
    ones, hold = np.ones((len(x), 1)), np.sqrt(rho) * np.eye(x.shape[1])
    lhs = np.block([[x, ones], [hold, np.zeros((x.shape[1], 1))]])
    rhs = np.concatenate([targets.numpy(), hold @ held.numpy().T])
    solution = np.linalg.lstsq(lhs, rhs, rcond=None)[0]
    return torch.from_numpy(solution[:-1].T), torch.from_numpy(solution[-1])


def test_instant_is_least_squares_on_the_dense_networks_patches() -> None:
    """Layer b (a bias), c (a batch norm behind it) and f, with 64 images: all positions are within the rows wanted."""
    model, images = plain(), images_like(IMAGE)
    graph = explorer.trace(model, IMAGE)
    plan = half_plan(graph, "a.0", "b.0", "c.0")
    inputs = images.inputs()
    shrunk = explorer.repair(model, graph, plan, "refit", images)
    names = {"b.0": ("a.0", "b.0", 9), "c.0": ("b.0", "c.0", 9), "f": ("c.0", "", 1)}
    for name, (reads, makes, taps) in names.items():
        layer, small = model.get_submodule(name), shrunk.get_submodule(name)
        rows = collected(model, name, inputs)
        kept = torch.from_numpy(np.repeat(plan.keep[reads], taps))
        outputs = torch.from_numpy(plan.keep[makes].copy()) if makes else torch.ones(4, dtype=torch.bool)
        targets = answers(rows, layer)[:, outputs]
        held = layer.weight.detach().double().flatten(1)[outputs][:, kept]
        weight, constant = by_least_squares(rows, targets, kept, held)
        torch.testing.assert_close(small.weight.detach().double().flatten(1), weight, rtol=1e-3, atol=1e-4)
        if name == "c.0":
            moved = model.get_buffer("c.1.running_mean")[outputs] - shrunk.get_buffer("c.1.running_mean")
            torch.testing.assert_close(moved.double(), constant, rtol=1e-3, atol=1e-4)
        else:
            torch.testing.assert_close(small.bias.detach().double(), constant, rtol=1e-3, atol=1e-4)


def test_the_first_reader_is_refitted_alike_in_sequence() -> None:
    """But for the ridge, which holds one to the cut weights and the other to what the first came to."""
    model, images = plain(), images_like(IMAGE)
    graph = explorer.trace(model, IMAGE)
    cut, instant, sequential = (
        explorer.repair(model, graph, half_plan(graph), how, images).b[0]
        for how in ("none", "refit", "refit_sequential")
    )
    for name in ("weight", "bias"):
        first, second, before = (each.get_parameter(name).detach() for each in (instant, sequential, cut))
        assert (first - second).norm() < 5e-3 * (first - before).norm()


def with_copies(model: nn.Module) -> None:
    """In place: unit 1 of layer a answers twice what unit 0 does, and unit 3 what unit 2 does."""
    with torch.no_grad():
        for new, old, scale in ((1, 0, 2.0), (3, 2, 1.0)):
            model.a.weight[new] = scale * model.a.weight[old]
            model.a.bias[new] = scale * model.a.bias[old]


def copied() -> nn.Module:
    torch.manual_seed(0)
    model = Written(
        lambda m, x: m.f(pooled(m.b(m.a(x).relu()).tanh())), a=conv(3, 8), b=conv(8, 6), f=nn.Linear(6, 4)
    ).eval()
    with_copies(model)
    return model


@pytest.mark.parametrize("how", ["refit", "refit_sequential"])
def test_channels_that_are_linear_in_kept_ones_cost_nothing(how: str) -> None:
    model = copied()
    graph = explorer.trace(model, IMAGE)
    keep = {group.id: np.ones(group.size, dtype=bool) for group in graph.prunable}
    keep["a"][[1, 3]] = False
    plan, fresh = Plan(graph.key, keep), inputs_like(IMAGE, 8, seed=5)
    with torch.no_grad():
        dense = model(fresh)
        cut = (explorer.shrink(model, graph, plan)(fresh) - dense).abs().max()
        left = (explorer.repair(model, graph, plan, how, images_like(IMAGE))(fresh) - dense).abs().max()
    assert left < 5e-3 * cut


@pytest.mark.parametrize("how", ["refit", "refit_sequential", "merge"])
@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_a_plan_that_keeps_all_changes_nothing(name: str, how: str) -> None:
    torch.manual_seed(0)
    model = alive(NETWORKS[name]())
    graph = explorer.trace(model, IMAGE)
    found = explorer.repair(model, graph, full_plan(graph), how, images_like(IMAGE, 8))
    for key, value in model.state_dict().items():
        assert torch.equal(value, found.state_dict()[key]), key


@pytest.mark.parametrize("how", ["refit", "refit_sequential"])
def test_permuted_channels_permute_the_weights(how: str) -> None:
    model = copied()
    order = torch.tensor([3, 0, 7, 1, 6, 2, 5, 4])
    other = copied()
    with torch.no_grad():
        other.a.weight[:], other.a.bias[:] = model.a.weight[order], model.a.bias[order]
        other.b.weight[:] = model.b.weight[:, order]
    graph, kept = explorer.trace(model, IMAGE), np.array([1, 0, 1, 1, 0, 1, 1, 0], dtype=bool)
    keep = {group.id: np.ones(group.size, dtype=bool) for group in graph.prunable}
    first = explorer.repair(model, graph, Plan(graph.key, keep | {"a": kept}), how, images_like(IMAGE))
    second = explorer.repair(
        other, graph, Plan(graph.key, keep | {"a": kept[order]}), how, images_like(IMAGE)
    )
    places = torch.from_numpy(np.cumsum(kept) - 1)[order[torch.from_numpy(kept[order])]]
    torch.testing.assert_close(second.b.weight, first.b.weight[:, places], rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(second.b.bias, first.b.bias, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_errors_are_measured_and_never_above_the_cuts(name: str) -> None:
    torch.manual_seed(0)
    model, images = alive(NETWORKS[name]()), images_like(IMAGE)
    graph = explorer.trace(model, IMAGE)
    dense, observed = observed_of(model, graph, images)
    met = 0
    for seed in range(3):
        plan = random_plan(graph, seed)
        shrunk = explorer.shrink(model, graph, plan)
        for each in refit(dense, shrunk, graph, plan, observed, measure=True):
            assert bool(each.reason) == math.isnan(each.repaired)
            if not each.reason:
                met += 1
                assert -1e-9 <= each.repaired <= each.cut + 1e-9
        with torch.no_grad():
            assert torch.isfinite(shrunk(images.inputs())).all()
    assert met or name == "gated by weights"


@examples(10)
@given(seeds)
def test_errors_do_not_rise_with_more_inputs(seed: int) -> None:
    model = plain()
    graph = explorer.trace(model, IMAGE)
    dense, observed = observed_of(model, graph, images_like(IMAGE))
    order, last = np.random.default_rng(seed).permutation(8), math.inf
    for width in range(1, 8):
        keep = {group.id: np.ones(group.size, dtype=bool) for group in graph.prunable}
        keep["a.0"][order[width:]] = False
        plan = Plan(graph.key, keep)
        (found,) = refit(dense, explorer.shrink(model, graph, plan), graph, plan, observed, measure=True)
        assert found.repaired <= last * 1.01 + 1e-6  # the ridge is a share of the variance of what is kept
        last = found.repaired


def test_layers_whose_weights_are_used_elsewhere_say_so_and_stay() -> None:
    torch.manual_seed(0)
    model = alive(NETWORKS["gated by weights"]())
    graph = explorer.trace(model, IMAGE)
    dense, observed = observed_of(model, graph, images_like(IMAGE))
    plan = half_plan(graph)
    shrunk = explorer.shrink(model, graph, plan)
    before = shrunk.b.weight.clone()
    found = {each.layer: each.reason for each in refit(dense, shrunk, graph, plan, observed)}
    assert found["b"] == "the weight of b is also used by mean"
    assert torch.equal(shrunk.b.weight, before)


def test_a_shared_bias_is_not_moved() -> None:
    torch.manual_seed(0)
    model = alive(NETWORKS["one bias"]())
    graph = explorer.trace(model, IMAGE)
    plan = half_plan(graph, "a")
    shrunk = explorer.repair(model, graph, plan, "refit", images_like(IMAGE))
    assert torch.equal(shrunk.b.bias, model.b.bias)
    assert not torch.equal(shrunk.b.weight, explorer.shrink(model, graph, plan).b.weight)


@pytest.mark.parametrize("how", ["refit", "refit_sequential"])
def test_too_few_patches_leave_the_cut_and_say_so(how: Repair) -> None:
    model, images = plain(), images_like(IMAGE, 1)
    graph = explorer.trace(model, IMAGE)
    plan = half_plan(graph)
    dense, observed = observed_of(model, graph, images)
    cut, shrunk = (explorer.shrink(model, graph, plan) for _ in range(2))
    told = apply(dense, shrunk, graph, plan, how, observed, images)
    reasons = {each.layer: each.reason for each in told}
    assert reasons["c.0"] == (
        "16 patches of training images cannot tell 45 weights of c.0 apart: give more images"
    )
    assert torch.equal(shrunk.c[0].weight, cut.c[0].weight)
    repaired = explorer.repair(model, graph, plan, how, images)
    assert torch.equal(repaired.c[0].weight, cut.c[0].weight)
    assert torch.equal(repaired.c[1].running_mean, cut.c[1].running_mean)


def test_dead_and_constant_inputs_leave_the_cut_and_say_so() -> None:
    model = plain()
    with torch.no_grad():
        model.b[0].weight.zero_()
        model.b[0].bias.fill_(-1.0)  # relu: nothing passes
    graph = explorer.trace(model, IMAGE)
    plan = half_plan(graph, "b.0")
    for images in (images_like(IMAGE), Images(torch.ones(64, 3, 8, 8), None, identity)):
        dense, observed = observed_of(model, graph, images)
        (found,) = refit(dense, explorer.shrink(model, graph, plan), graph, plan, observed)
        assert found.reason == "what c.0 reads is the same everywhere in all training images"
        for how in ("refit", "refit_sequential"):
            repaired = explorer.repair(model, graph, plan, how, images)
            assert torch.equal(repaired.c[0].weight, explorer.shrink(model, graph, plan).c[0].weight)


def test_constant_images_are_no_trouble() -> None:
    model = plain()
    graph = explorer.trace(model, IMAGE)
    images = Images(torch.ones(64, 3, 8, 8), None, identity)
    for how in ("refit", "refit_sequential"):
        with torch.no_grad():
            found = explorer.repair(model, graph, half_plan(graph), how, images)(inputs_like(IMAGE, 4))
        assert torch.isfinite(found).all()


@pytest.mark.parametrize("how", ["refit", "refit_sequential", "merge"])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_weights_that_are_no_numbers_never_spread(how: str, bad: float) -> None:
    """In a removed filter they do no harm after the cut, and none after the repair."""
    model = plain()
    with torch.no_grad():
        model.a[0].weight[1] = bad
    graph = explorer.trace(model, IMAGE)
    plan = half_plan(graph, "a.0")
    found = explorer.repair(model, graph, plan, how, images_like(IMAGE))
    with torch.no_grad():
        assert torch.isfinite(found(inputs_like(IMAGE, 4))).all()
    if how == "refit":
        dense, observed = observed_of(model, graph, images_like(IMAGE))
        (told,) = refit(dense, explorer.shrink(model, graph, plan), graph, plan, observed)
        assert told.reason == "what b.0 reads is not finite"


def test_wide_layers_are_known_by_place_and_lose_nothing_that_one_place_tells() -> None:
    model, images = copied(), images_like(IMAGE)
    graph = explorer.trace(model, IMAGE)
    observed = gather(model, graph, images, budget=8 * (8 * 9) ** 2)
    assert observed.wide == ("b",)
    assert observed.moments["b.weight"].covariance.shape == (1, 8, 8)
    keep = {group.id: np.ones(group.size, dtype=bool) for group in graph.prunable}
    keep["a"][[1, 3]] = False
    plan = Plan(graph.key, keep)
    shrunk = explorer.shrink(model, graph, plan)
    refit(model, shrunk, graph, plan, observed)
    fresh = inputs_like(IMAGE, 8, seed=5)
    with torch.no_grad():
        dense = model(fresh)
        assert (shrunk(fresh) - dense).abs().max() < 5e-3 * (
            explorer.shrink(model, graph, plan)(fresh) - dense
        ).abs().max()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("how", ["refit", "refit_sequential", "merge"])
def test_networks_of_other_precisions(how: str, dtype: torch.dtype) -> None:
    model, pixels = plain(), inputs_like(IMAGE, 64, 1)
    expected = explorer.repair(
        model, graph := explorer.trace(model, IMAGE), half_plan(graph), how, Images(pixels, None, identity)
    )
    other = plain().to(dtype)
    graph = explorer.trace(other, IMAGE.to(dtype))
    found = explorer.repair(other, graph, half_plan(graph), how, Images(pixels, None, lambda x: x.to(dtype)))
    assert {value.dtype for value in found.state_dict().values() if value.is_floating_point()} == {dtype}
    fresh = inputs_like(IMAGE, 8, seed=5)
    with torch.no_grad():
        near, exact = found(fresh.to(dtype)).float(), expected(fresh)
    tolerance = {torch.float64: 1e-3, torch.float16: 0.02, torch.bfloat16: 0.1}[dtype]
    assert (near - exact).norm() < tolerance * exact.norm()


@pytest.mark.parametrize("how", ["refit", "refit_sequential", "merge"])
def test_same_images_same_result_on_one_thread_and_two(how: str) -> None:
    model, images = plain(), images_like(IMAGE)
    graph = explorer.trace(model, IMAGE)
    found = []
    try:
        for threads in (1, 2, 1):
            torch.set_num_threads(threads)
            found.append(explorer.repair(model, graph, half_plan(graph), how, images).state_dict())
    finally:
        torch.set_num_threads(1)
    for key, value in found[0].items():
        torch.testing.assert_close(found[1][key], value, rtol=1e-6, atol=1e-6)
        assert torch.equal(found[2][key], value)


@pytest.mark.parametrize("how", ["refit", "refit_sequential", "merge"])
@pytest.mark.parametrize("error", [None, Interrupted, KeyboardInterrupt])
def test_the_model_its_modes_and_random_numbers_stay(
    how: str, error: type[BaseException] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = plain().train()
    model.b.eval()
    graph = explorer.trace(model, IMAGE)
    before = fingerprint(model)
    if error is None:
        explorer.repair(model, graph, half_plan(graph), how, images_like(IMAGE))
    else:

        def stop(*_args: object) -> None:
            raise error("stopped")

        homes = {"merge": ("merge", "_merge_into"), "refit": ("refit", "write")}
        home, name = homes.get(how, ("sequential", "write"))
        monkeypatch.setattr(sys.modules[f"explorer.repair.{home}"], name, stop)
        with pytest.raises(error):
            explorer.repair(model, graph, half_plan(graph), how, images_like(IMAGE))
    assert fingerprint(model) == before
    assert torch.overrides._get_current_function_mode() is None


def test_few_patches_move_weights_little() -> None:
    """A head that reads 380 of 512 features, of which 400 images tell 400 vectors: fitted freely it would be ten times
    as far from the whole layer's answers to other images as the bare cut is."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(300, 512), nn.ReLU(), nn.Linear(512, 10)).eval()
    graph = explorer.trace(model, torch.zeros(1, 3, 10, 10))
    fitted, others = torch.randn(400, 3, 10, 10), torch.randn(1000, 3, 10, 10)
    plan = explorer.plan_widths(graph, explorer.score(model, graph, "order"), {"1": 380})
    cut, healed = explorer.shrink(model, graph, plan), explorer.repair(model, graph, plan, "refit", fitted)
    with torch.no_grad():
        away = [float((each(others) - model(others)).square().mean()) for each in (cut, healed)]
    assert away[1] < 1.5 * away[0]
