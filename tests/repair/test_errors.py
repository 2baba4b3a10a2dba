"""What readers lose by width, against refits and errors of every width one by one."""

import numpy as np
import pytest
import torch
from torch import nn

import explorer
from explorer.repair import gather
from explorer.repair.errors import by_width, errors_of
from explorer.repair.moments import BUDGET
from explorer.repair.refit import refit
from explorer.repair.solving import error, refitted
from tests.networks import Written, conv, pooled
from tests.networks import unit as block

TINY = 1e-6  # the ridge of `errors_by_width`, as a share


def some(rows, width, outputs, seed=0):
    """A weight and the covariance of inputs that hang together."""
    draw = torch.Generator().manual_seed(seed)
    mixing = torch.randn(width, width, generator=draw, dtype=torch.float64)
    inputs = torch.randn(rows, width, generator=draw, dtype=torch.float64) @ mixing
    inputs -= inputs.mean(0)
    return torch.randn(outputs, width, generator=draw, dtype=torch.float64), inputs.T @ inputs / rows


@pytest.mark.parametrize("taps", [1, 4])
@pytest.mark.parametrize(
    "unit", [[0, 1, 2, 3, 4], [0, 1, -1, 2, -1], [1, 1, 0, 0], [2, -1, 0, 1, 0, 2, 1]], ids=str
)
def test_every_width_loses_what_it_loses_when_it_is_refitted_alone(unit, taps):
    unit = torch.tensor(unit)
    weight, covariance = some(500, len(unit) * taps, 3)
    order = torch.arange(int(unit.max()) + 1).flip(0)
    cut, least, whole = by_width(weight, covariance, unit, order, taps, 500)
    for width in range(len(order) + 1):
        kept = ((unit < 0) | (unit[:, None] == order[:width]).any(1)).repeat_interleave(taps)
        now = refitted(weight, covariance, kept, TINY * float(covariance.diagonal().mean()))
        assert float(cut[width]) == pytest.approx(
            whole * error(weight, weight[:, kept], covariance, kept), rel=1e-9, abs=1e-9 * whole
        )
        assert float(least[width]) == pytest.approx(
            whole * error(weight, now, covariance, kept), rel=1e-3, abs=1e-5 * whole
        )
    assert float(cut[-1]) == 0


def test_with_fewer_patches_than_unknowns_nothing_is_refitted():
    weight, covariance = some(500, 6, 3)
    cut, least, _whole = by_width(weight, covariance, torch.arange(6), torch.arange(6), 1, 4)
    np.testing.assert_allclose(least[4:], cut[4:])
    assert (least[1:4] < cut[1:4]).all()


def errors(model, images, budget=BUDGET):
    """The errors of the first group of a network, its channels in their order, with what they come from."""
    graph = explorer.trace(model, images[:1])
    found = graph.prunable[0]
    observed = gather(model, graph, explorer.data.as_images(images, "train"), budget=budget)
    return graph, observed, errors_of(model, graph, found, np.arange(found.size), observed)


NETWORKS = {
    "plain": lambda: Written(lambda m, x: pooled(m.b(torch.relu(m.a(x)))), a=conv(3, 6), b=conv(6, 4)),
    "batch norm": lambda: Written(
        lambda m, x: pooled(m.c(m.b(m.a(x)))), a=block(3, 6), b=block(6, 4), c=conv(4, 2)
    ),
    "no constant": lambda: Written(
        lambda m, x: pooled(m.b(torch.relu(m.a(x)))), a=conv(3, 6), b=conv(6, 4, bias=False)
    ),
    "concatenation": lambda: Written(
        lambda m, x: pooled(m.c(torch.relu(torch.cat([m.a(x), m.b(x)], 1)))),
        a=conv(3, 6), b=conv(3, 2), c=conv(8, 4),
    ),
    "linear": lambda: Written(
        lambda m, x: m.b(torch.relu(m.a(x)).flatten(1)), a=conv(3, 6, stride=4), b=nn.Linear(24, 4)
    ),
    "transposed": lambda: Written(
        lambda m, x: pooled(m.b(torch.relu(m.a(x)))), a=conv(3, 6), b=nn.ConvTranspose2d(6, 4, 2, stride=2)
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_they_are_those_of_a_refit(name):
    torch.manual_seed(0)
    model, images = NETWORKS[name]().eval(), torch.randn(300, 3, 8, 8)
    graph, observed, found = errors(model, images)
    group = graph.prunable[0]
    for width in range(1, group.size):
        keep = {each.id: np.ones(each.size, dtype=bool) for each in graph.prunable}
        keep[group.id] = np.arange(group.size) < width
        plan = explorer.values.Plan(graph.key, keep)
        small = explorer.shrink(model, graph, plan)
        (one,) = refit(model, small, graph, plan, observed, measure=True)
        assert found.layers == (one.layer,)
        assert found.cut[width] == pytest.approx(one.cut, rel=1e-4)
        assert found.refitted[width] == pytest.approx(one.repaired, rel=0.02, abs=1e-3)
    assert found.cut[-1] == 0


def test_several_readers_count_as_much_as_they_vary():
    torch.manual_seed(0)
    model = Written(
        lambda m, x: pooled(m.b(y := torch.relu(m.a(x)))) + pooled(m.c(y)), a=conv(3, 6), b=conv(6, 4), c=conv(6, 4)
    ).eval()  # fmt: skip
    with torch.no_grad():
        model.c.weight.mul_(1e-4)
    images = torch.randn(200, 3, 8, 8)
    both = errors(model, images)[2]
    assert both.layers == ("b", "c")
    alone = Written(lambda m, x: pooled(m.b(torch.relu(m.a(x)))), a=model.a, b=model.b).eval()
    np.testing.assert_allclose(both.cut, errors(alone, images)[2].cut, rtol=1e-4, atol=1e-6)


def test_layers_that_are_known_by_place_only_are_left_out_with_a_reason():
    torch.manual_seed(0)
    model, images = NETWORKS["plain"]().eval(), torch.randn(50, 3, 8, 8)
    found = errors(model, images, budget=0)[2]
    assert found.layers == ()
    assert len(found.left_out) == 1
    assert not found.cut.any()


def test_what_is_returned_cannot_be_changed():
    torch.manual_seed(0)
    found = errors(NETWORKS["plain"]().eval(), torch.randn(50, 3, 8, 8))[2]
    with pytest.raises(ValueError, match="read-only"):
        found.cut[0] = 1
