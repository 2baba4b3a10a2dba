"""The refit layer after layer: residual sums, what is a branch, and layers that it leaves to the instant refit."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import explorer
from explorer.repair import branches
from explorer.repair.branches import Branch, Branches
from explorer.repair.refit import refit
from explorer.repair.sequential import refit_sequential
from tests.networks import IMAGE, Written, conv, inputs_like, pooled, unit
from tests.repair.nets import NETWORKS, alive, half_plan, images_like, observed_of, transformer


def residual(norm: bool, dropped: bool = False) -> nn.Module:
    """A branch that is added to a shortcut which loses inputs itself."""
    torch.manual_seed(0)

    def forward(m: Any, x: Tensor) -> Tensor:
        x = m.a(x)
        y = m.drop(m.n(m.c(m.b(x)))) + m.short(x)
        return m.f(pooled(y.relu()))

    return alive(
        Written(
            forward, a=unit(3, 12), b=unit(12, 6), c=conv(6, 8), short=nn.Conv2d(12, 8, 1), f=nn.Linear(8, 4),
            n=nn.BatchNorm2d(8, eps=0.1) if norm else nn.Identity(), drop=nn.Dropout(0.5) if dropped else nn.Identity(),
        )
    )  # fmt: skip


def sums_of(model: Any, x: Tensor) -> Tensor:
    with torch.no_grad():
        x = model.a(x)
        return model.n(model.c(model.b(x))) + model.short(x)


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("dropped", [False, True])
def test_the_last_branch_makes_up_for_what_the_shortcut_gets_wrong(
    norm: bool, dropped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, images = residual(norm, dropped), images_like(IMAGE, 200)
    graph = explorer.trace(model, IMAGE)
    plan = half_plan(graph, "a.0", "b.0")
    x = images.inputs()
    wanted, errors = sums_of(model, x), []
    for corrected in (True, False):
        if not corrected:
            monkeypatch.setattr(branches, "SUMS", set())
        shrunk = explorer.repair(model, graph, plan, "refit_sequential", images)
        errors.append(float((sums_of(shrunk, x) - wanted).square().mean()))
    cut, instant = (
        float((sums_of(each, x) - wanted).square().mean())
        for each in (
            explorer.shrink(model, graph, plan),
            explorer.repair(model, graph, plan, "refit", images),
        )
    )
    assert errors[0] < errors[1]
    assert errors[1] < instant < cut


def test_errors_upstream_are_undone() -> None:
    """What a chain of layers answers in the end is nearer than with the instant refit, and that than the cut."""
    torch.manual_seed(0)
    blocks = [unit(3, 12), *(unit(12, 12) for _ in range(4))]
    model = alive(nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 4)))
    graph, images = explorer.trace(model, IMAGE), images_like(IMAGE, 300)
    fresh = inputs_like(IMAGE, 100, seed=9)
    with torch.no_grad():
        wanted = model(fresh)
        cut, instant, sequential = (
            float(
                (explorer.repair(model, graph, half_plan(graph), how, images)(fresh) - wanted).square().mean()
            )
            for how in ("none", "refit", "refit_sequential")
        )
    assert sequential < 0.9 * instant
    assert instant < cut


def branches_of(forward: Any, **modules: nn.Module) -> list[tuple[int, str]]:
    """(number, weight) of every branch that a forward adds to something."""
    torch.manual_seed(0)
    model = Written(forward, **modules).eval()
    seen = list[tuple[int, str]]()

    def at_sum(number: int, branch: Branch, other: Tensor) -> None:
        with torch._C.DisableTorchFunction():
            torch.testing.assert_close(branch.again(), branch.output)
        seen.append((number, branch.weight))

    with torch.no_grad(), Branches(model, ["a.weight", "b.weight"], at_sum):
        model(inputs_like(IMAGE, 2))
    return seen


def test_what_is_a_branch() -> None:
    two = {"a": conv(3, 3), "b": conv(3, 3), "n": nn.BatchNorm2d(3), "d": nn.Dropout()}
    assert branches_of(lambda m, x: m.a(x) + x, **two) == [(0, "a.weight")]
    assert branches_of(lambda m, x: x + m.n(m.a(x)), **two) == [(0, "a.weight")]
    assert branches_of(lambda m, x: x.add(m.d(m.n(m.a(x)))), **two) == [(0, "a.weight")]
    assert branches_of(lambda m, x: (x + 1).add_(m.a(x)), **two) == [(0, "a.weight")]
    assert branches_of(lambda m, x: (x + x) + m.a(x) + m.b(x), **two) == [(1, "a.weight"), (2, "b.weight")]
    assert branches_of(lambda m, x: m.a(x) + m.b(x), **two) == [(0, "b.weight")]
    assert branches_of(lambda m, x: m.a(x).add(x, alpha=1) if m.a(x).size(0) else x, **two) == []


def test_what_is_no_branch() -> None:
    two = {"a": conv(3, 3), "b": conv(3, 3), "n": nn.BatchNorm2d(3)}
    unnormed = {"n": nn.BatchNorm2d(3, track_running_stats=False), "a": conv(3, 3), "b": conv(3, 3)}
    assert branches_of(lambda m, x: m.a(x).relu() + x, **two) == []
    assert branches_of(lambda m, x: torch.add(x, m.a(x), alpha=0.5), **two) == []
    assert branches_of(lambda m, x: m.a(x) + 1, **two) == []
    assert branches_of(lambda m, x: m.a(x) + x[:, :, :1], **two) == []
    assert branches_of(lambda m, x: m.n(m.a(x)) + x, **unnormed) == []

    def read_before(m: Any, x: Tensor) -> Tensor:
        y = m.a(x)
        return y.relu() + (y + x)

    def halves(m: Any, x: Tensor) -> Tensor:
        y = m.a(x)
        first, second = y.split(1), x + y
        return second + first[0]

    assert branches_of(read_before, **two) == []
    assert branches_of(halves, **two) == []

    def doubled(m: Any, x: Tensor) -> Tensor:
        y = m.a(x)
        return y + y

    assert branches_of(doubled, **two) == []


def test_an_input_that_is_overwritten_before_the_sum_is_not_fitted_again() -> None:
    def forward(m: Any, x: Tensor) -> Tensor:
        x = m.a(x).relu()
        y = m.b(x)
        return m.f(pooled((y + x.zero_()).relu()))

    torch.manual_seed(0)
    model = Written(forward, a=conv(3, 8), b=conv(8, 8), f=nn.Linear(8, 4)).eval()
    graph, images = explorer.trace(model, IMAGE), images_like(IMAGE)
    if not graph.prunable:
        return
    for seed in range(2):
        plan = half_plan(graph)
        with torch.no_grad():
            out = explorer.repair(model, graph, plan, "refit_sequential", images)(inputs_like(IMAGE, 4, seed))
        assert torch.isfinite(out).all()


def test_modules_that_are_called_twice_keep_the_instant_refit() -> None:
    torch.manual_seed(0)
    model, images = alive(NETWORKS["called twice"]()), images_like(IMAGE)
    graph = explorer.trace(model, IMAGE)
    plan = half_plan(graph)
    dense, observed = observed_of(model, graph, images)
    instant, sequential = (explorer.shrink(model, graph, plan) for _ in range(2))
    refit(dense, instant, graph, plan, observed)
    told = refit_sequential(dense, sequential, graph, plan, observed, images)
    assert torch.equal(instant.b.weight, sequential.b.weight)
    assert not torch.equal(instant.f.weight, sequential.f.weight)
    assert {each.layer for each in told} == {"b", "f"}


@pytest.mark.parametrize("how", ["refit", "refit_sequential"])
def test_the_mlp_of_a_transformer_is_refitted(how: str) -> None:
    model, images = transformer(), images_like(IMAGE, 200)
    graph = explorer.trace(model, IMAGE)
    plan = half_plan(graph, "mlp.0")
    x = images.inputs()
    with torch.no_grad():
        wanted = model(x)
        cut, repaired = (explorer.repair(model, graph, plan, each, images) for each in ("none", how))
        assert float((repaired(x) - wanted).square().mean()) < 0.7 * float((cut(x) - wanted).square().mean())
    assert not torch.equal(cut.mlp[2].weight, repaired.mlp[2].weight)
