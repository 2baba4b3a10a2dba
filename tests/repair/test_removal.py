"""Optimal Brain Surgeon for channels, against least squares worked out anew for every set of channels."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import explorer
from explorer.data import Images
from explorer.data.images import identity
from explorer.repair import gather
from explorer.repair.patches import as_matrix
from explorer.repair.removal import removal_losses
from explorer.repair.solving import RIDGE
from tests.networks import Concatenation, Twice, unit


def images(count: int = 40, channels: int = 3) -> Images:
    generator = torch.Generator().manual_seed(1)
    return Images(torch.rand((count, channels, 8, 8), generator=generator), None, identity)


def least_error(weight: Tensor, covariance: Tensor, gone: list[int], taps: int) -> float:
    """E|W x - V x_S|^2 of the best V, as a share of E|W x|^2, from the normal equations of the kept columns."""
    lost = torch.zeros(covariance.shape[0], dtype=torch.bool)
    for each in gone:
        lost[each * taps : (each + 1) * taps] = True
    damped = covariance + RIDGE * covariance.diagonal().mean() * torch.eye(len(covariance))
    w, kept = weight[:, lost], ~lost
    inner = damped[lost][:, lost] - damped[lost][:, kept] @ torch.linalg.solve(
        damped[kept][:, kept], damped[kept][:, lost]
    )
    whole = float((weight @ covariance * weight).sum())
    return float((w @ inner * w).sum()) / whole


@pytest.mark.parametrize("reader", [nn.Conv2d(6, 4, 3), nn.Conv2d(6, 4, 1), nn.ConvTranspose2d(6, 4, 2, 2)])
def test_every_removal_costs_what_least_squares_says(reader: nn.Module) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), reader, nn.Flatten(), nn.LazyLinear(2)).eval()
    model(torch.zeros(1, 3, 8, 8))
    graph = explorer.trace(model, torch.zeros(1, 3, 8, 8))
    observed = gather(model, graph, images())
    losses = removal_losses(model, graph, observed)["0"]

    known = observed.readers["2.weight"]
    weight = as_matrix(reader.weight.detach().double(), known.transposed, 1)[0]
    covariance = observed.moments["2.weight"].covariance[0]
    gone: list[int] = []
    rises: list[float] = []
    while len(gone) < 6:
        before = least_error(weight, covariance, gone, known.taps) if gone else 0.0
        left = [unit for unit in range(6) if unit not in gone]
        found = [least_error(weight, covariance, [*gone, unit], known.taps) - before for unit in left]
        gone.append(left[int(np.argmin(found))])
        rises.append(min(found))
    np.testing.assert_allclose(losses[gone], np.maximum.accumulate(rises), rtol=1e-6)


def test_a_channel_that_others_make_up_for_goes_first_and_costs_nothing() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 6, 1), nn.Conv2d(6, 4, 3), nn.Flatten(), nn.LazyLinear(2)).eval()
    model(torch.zeros(1, 3, 8, 8))
    graph = explorer.trace(model, torch.zeros(1, 3, 8, 8))
    # Six mixtures of three colours: three of them are told by the others, whichever go.
    losses = np.sort(explorer.score(model, graph, "obs", images()).by_group["0"])
    assert losses[2] < 0.01 * losses[3]


def test_the_order_of_channels_does_not_matter() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 4, 3), nn.Flatten(), nn.LazyLinear(2)
    ).eval()
    model(torch.zeros(1, 3, 8, 8))
    graph = explorer.trace(model, torch.zeros(1, 3, 8, 8))
    before = explorer.score(model, graph, "obs", images()).by_group["0"]
    order = torch.tensor([3, 1, 5, 0, 4, 2])
    with torch.no_grad():
        model[0].weight.copy_(model[0].weight[order].clone())
        model[0].bias.copy_(model[0].bias[order].clone())
        model[2].weight.copy_(model[2].weight[:, order].clone())
    after = explorer.score(model, graph, "obs", images()).by_group["0"]
    np.testing.assert_allclose(after, before[order.numpy()], rtol=1e-3)


@pytest.mark.parametrize(
    "middle", [Concatenation(unit(3, 4), unit(3, 6)), nn.Sequential(unit(3, 6), Twice(nn.Conv2d(6, 6, 1)))]
)
def test_several_readers_and_modules_called_twice_are_scored(middle: nn.Module) -> None:
    model = nn.Sequential(middle, nn.LazyConv2d(4, 3), nn.Flatten(), nn.LazyLinear(2)).eval()
    model(torch.zeros(1, 3, 8, 8))
    graph = explorer.trace(model, torch.zeros(1, 3, 8, 8))
    scores = explorer.score(model, graph, "obs", images())
    for group in graph.prunable:
        assert scores.by_group[group.id].min() >= 0
        assert scores.by_group[group.id].max() > 0


def test_wide_groups_lose_several_channels_a_round() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 130, 3), nn.ReLU(), nn.Conv2d(130, 4, 1), nn.Flatten(), nn.LazyLinear(2)
    ).eval()
    model(torch.zeros(1, 3, 8, 8))
    graph = explorer.trace(model, torch.zeros(1, 3, 8, 8))
    losses = explorer.score(model, graph, "obs", images()).by_group["0"]
    assert losses.shape == (130,)
    assert np.isfinite(losses).all()


def test_scores_with_errors_share_a_cut_by_what_layers_can_lose() -> None:
    torch.manual_seed(0)
    spare = nn.Conv2d(3, 8, 1)  # eight mixtures of three colours: five can go
    model = nn.Sequential(
        spare, nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3), nn.Flatten(), nn.LazyLinear(2)
    ).eval()
    model(torch.zeros(1, 3, 8, 8))
    graph = explorer.trace(model, torch.zeros(1, 3, 8, 8))
    scores = explorer.score(model, graph, "l1", images(), errors=True)
    assert all((np.diff(gains) <= 0).all() for gains in scores.gains.values())
    widths = explorer.allocate(graph, scores, 0.6, "channels", "error").widths
    assert widths["0"] <= 3 < widths["1"]
    with pytest.raises(explorer.BadInput, match="errors=True"):
        explorer.allocate(graph, explorer.score(model, graph, "l1"), 0.5, allocation="error")
    with pytest.raises(explorer.BadInput, match="looks at images"):
        explorer.score(model, graph, "l1", errors=True)


def test_wide_layers_whose_moments_are_of_fewer_digits_are_scored_too() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(unit(3, 130), nn.Conv2d(130, 4, 3), nn.Flatten(), nn.LazyLinear(2)).eval()
    model(torch.zeros(1, 3, 8, 8))
    graph = explorer.trace(model, torch.zeros(1, 3, 8, 8))
    (wide,) = (each for each in gather(model, graph, images()).moments.values() if each.mean.shape[1] > 1000)
    assert wide.covariance.dtype == torch.float32
    scores = explorer.score(model, graph, "obs", images(), errors=True)
    group = graph.prunable[0].id
    assert np.isfinite(scores.by_group[group]).all()
    assert np.isfinite(scores.gains[group]).all()
