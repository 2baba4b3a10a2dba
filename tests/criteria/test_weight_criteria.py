"""Criteria of weights: one example by hand for each, and what must not change them."""

import numpy as np
import pytest
import torch
from torch import nn

import explorer
from tests.networks import IMAGE, Written, conv, pooled

FILTERS = [[3.0, 4.0], [-1.0, 0.0], [0.0, -2.0]]


def three_filters() -> nn.Module:
    """One convolution with FILTERS, its batch norm with scales -0.5, 0, 2; a classifier."""
    model = nn.Sequential(
        nn.Conv2d(1, 3, (1, 2), bias=False), nn.BatchNorm2d(3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(3, 2),
    )  # fmt: skip
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor(FILTERS).reshape(3, 1, 1, 2))
        model[1].weight.copy_(torch.tensor([-0.5, 0.0, 2.0]))
    return model


def scores_of(
    model: nn.Module, criterion: str, example: torch.Tensor, group: str, **options: int
) -> np.ndarray:
    return explorer.score(model, explorer.trace(model, example), criterion, **options).by_group[group]


@pytest.mark.parametrize(
    ("criterion", "expected"),
    [
        ("l1", [7, 1, 2]),
        ("l2", [5, 1, 2]),
        ("bn_gamma", [0.5, 0, 2]),
        ("order", [1, 2 / 3, 1 / 3]),
        # distances: 0-1 sqrt(16 + 16), 0-2 sqrt(9 + 36), 1-2 sqrt(1 + 4)
        ("fpgm", [32**0.5 + 45**0.5, 32**0.5 + 5**0.5, 45**0.5 + 5**0.5]),
    ],
)
def test_by_hand(criterion: str, expected: list[float]) -> None:
    found = scores_of(three_filters(), criterion, torch.zeros(1, 1, 4, 4), "0")
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_member_layers_are_taken_together() -> None:
    model = Written(
        lambda m, x: m.f(pooled(m.c(x) + m.d(x))), c=conv(3, 8), d=nn.Conv2d(3, 8, 1), f=nn.Linear(8, 4)
    )
    both = torch.cat([model.c.weight.detach().flatten(1), model.d.weight.detach().flatten(1)], dim=1)
    np.testing.assert_allclose(scores_of(model, "l2", IMAGE, "c"), both.norm(dim=1), rtol=1e-6)
    np.testing.assert_allclose(scores_of(model, "l1", IMAGE, "c"), both.abs().sum(1), rtol=1e-6)


def test_a_depthwise_convolution_is_a_member() -> None:
    model = Written(
        lambda m, x: m.f(pooled(m.d(m.c(x)))), c=conv(3, 4), d=conv(4, 8, groups=4), f=nn.Linear(8, 4)
    )
    own = model.c.weight.detach().abs().flatten(1).sum(1)
    depthwise = model.d.weight.detach().abs().reshape(4, -1).sum(1)  # two filters of each unit
    np.testing.assert_allclose(scores_of(model, "l1", IMAGE, "c"), own + depthwise, rtol=1e-6)


def test_filters_of_a_transposed_convolution_lie_in_dimension_1() -> None:
    model = Written(
        lambda m, x: m.f(pooled(m.t(m.c(x)))),
        c=conv(3, 8),
        t=nn.ConvTranspose2d(8, 6, 2, 2),
        f=nn.Linear(6, 4),
    )
    np.testing.assert_allclose(
        scores_of(model, "l1", IMAGE, "t"), model.t.weight.detach().abs().sum((0, 2, 3)), rtol=1e-6
    )


def test_a_tied_decoder_does_not_hide_the_encoders_filters() -> None:
    model = Written(
        lambda m, x: m.f(pooled(m.t(m.c(x)))),
        c=conv(3, 8),
        t=nn.ConvTranspose2d(8, 3, 3, padding=1),
        f=nn.Linear(3, 4),
    )
    model.t.weight = model.c.weight
    np.testing.assert_allclose(
        scores_of(model, "l1", IMAGE, "c"), model.c.weight.detach().abs().flatten(1).sum(1), rtol=1e-6
    )


def test_fpgm_does_not_see_a_vector_added_to_all_filters() -> None:
    model = three_filters()
    before = scores_of(model, "fpgm", torch.zeros(1, 1, 4, 4), "0")
    with torch.no_grad():
        model[0].weight.add_(torch.tensor([0.7, -1.3]))
    np.testing.assert_allclose(scores_of(model, "fpgm", torch.zeros(1, 1, 4, 4), "0"), before, rtol=1e-5)


def test_fpgm_scores_the_filter_at_the_geometric_median_lowest() -> None:
    model = nn.Sequential(nn.Conv2d(1, 5, (1, 2), bias=False), nn.Flatten(), nn.Linear(60, 2))
    with torch.no_grad():  # a cross, and its centre far from the origin
        cross = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 0.0], [0.0, 1.0], [0.0, -1.0]]) + 9
        model[0].weight.copy_(cross.reshape(5, 1, 1, 2))
    found = scores_of(model, "fpgm", torch.zeros(1, 1, 4, 4), "0")
    assert found.argmin() == 2
    assert found[2] == pytest.approx(4)


def test_a_scale_of_zero_goes_first() -> None:
    model = three_filters()
    graph = explorer.trace(model, torch.zeros(1, 1, 4, 4))
    plan = explorer.plan_widths(graph, explorer.score(model, graph, "bn_gamma"), {"0": 2})
    assert plan.keep["0"].tolist() == [True, False, True]


def test_batch_norm_scale_without_batch_norm_is_an_error() -> None:
    model = nn.Sequential(conv(3, 8), nn.Flatten(), nn.Linear(512, 4))
    with pytest.raises(explorer.ExplorerError, match="needs a batch norm"):
        explorer.score(model, explorer.trace(model, IMAGE), "bn_gamma")


def test_random_obeys_the_seed_and_lies_in_the_unit_interval() -> None:
    model, example = three_filters(), torch.zeros(1, 1, 4, 4)
    first = scores_of(model, "random", example, "0", seed=3)
    assert first.tolist() == scores_of(model, "random", example, "0", seed=3).tolist()
    assert first.tolist() != scores_of(model, "random", example, "0", seed=4).tolist()
    assert ((first >= 0) & (first < 1)).all()


def test_in_their_order_the_first_channels_of_every_group_stay() -> None:
    model = nn.Sequential(conv(3, 8), nn.ReLU(), conv(8, 4), nn.Flatten(), nn.Linear(256, 2))
    graph = explorer.trace(model, IMAGE)
    scores = explorer.score(model, graph, "order")
    plan = explorer.allocate(
        graph, scores, keep=0.5, cost="channels"
    )  # one scale: the same share of both groups
    assert plan.keep["0"].tolist() == [True] * 4 + [False] * 4
    assert plan.keep["2"].tolist() == [True] * 2 + [False] * 2
