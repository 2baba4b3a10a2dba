"""The solutions against torch's own least squares, and against removing channels one at a time."""

import pytest
import torch
from hypothesis import given
from torch import Tensor

from explorer.repair.solving import error, errors_by_width, refitted
from tests.networks import examples, seeds

INPUTS, TAPS, OUTPUTS, ROWS = 6, 4, 5, 400


def problem(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """A weight, inputs (ROWS, d) that hang together and are centred, and their covariance."""
    generator = torch.Generator().manual_seed(seed)
    wide = INPUTS * TAPS
    x = torch.randn(ROWS, wide, generator=generator, dtype=torch.float64)
    x = x @ torch.randn(wide, wide, generator=generator, dtype=torch.float64)
    x -= x.mean(0)
    weight = torch.randn(OUTPUTS, wide, generator=generator, dtype=torch.float64)
    return weight, x, x.T @ x / ROWS


def kept_inputs(*inputs: int) -> Tensor:
    kept = torch.zeros(INPUTS, dtype=torch.bool)
    kept[list(inputs)] = True
    return kept.repeat_interleave(TAPS)


def least_squares(weight: Tensor, x: Tensor, kept: Tensor) -> Tensor:
    return torch.linalg.lstsq(x[:, kept], x @ weight.T).solution.T


def residual(weight: Tensor, x: Tensor, kept: Tensor) -> float:
    left = x @ weight.T - x[:, kept] @ least_squares(weight, x, kept).T
    return float(left.square().sum() / (x @ weight.T).square().sum())


@examples(10)
@given(seeds)
def test_without_a_ridge_it_is_least_squares(seed: int) -> None:
    weight, x, covariance = problem(seed)
    kept = kept_inputs(0, 2, 5)
    found = refitted(weight, covariance, kept, ridge=0.0)
    torch.testing.assert_close(found, least_squares(weight, x, kept), rtol=1e-6, atol=1e-6)
    assert error(weight, found, covariance, kept) == pytest.approx(residual(weight, x, kept), rel=1e-6)


@examples(10)
@given(seeds)
def test_the_ridge_holds_to_the_cut_weights(seed: int) -> None:
    """As ridge rows under the patches: sqrt(rho) I, whose targets are the cut weights."""
    weight, x, covariance = problem(seed)
    kept, rho = kept_inputs(1, 3, 4, 5), 0.7
    held = (ROWS * rho) ** 0.5 * torch.eye(int(kept.sum()), dtype=torch.float64)
    rows, targets = torch.cat([x[:, kept], held]), torch.cat([x @ weight.T, held @ weight[:, kept].T])
    expected = torch.linalg.lstsq(rows, targets).solution.T
    torch.testing.assert_close(refitted(weight, covariance, kept, rho), expected, rtol=1e-7, atol=1e-7)


def test_with_all_inputs_the_weights_stay() -> None:
    weight, _, covariance = problem(0)
    assert torch.equal(refitted(weight, covariance, kept_inputs(*range(INPUTS))), weight)


@examples(20)
@given(seeds)
def test_errors_are_below_the_cuts_and_fall_with_more_inputs(seed: int) -> None:
    weight, _, covariance = problem(seed)
    order = torch.randperm(INPUTS, generator=torch.Generator().manual_seed(seed))
    last = 1.0
    for width in range(1, INPUTS + 1):
        kept = kept_inputs(*order[:width].tolist())
        found = error(weight, refitted(weight, covariance, kept), covariance, kept)
        assert found <= error(weight, weight[:, kept], covariance, kept) + 1e-12
        least = error(weight, refitted(weight, covariance, kept, 0.0), covariance, kept)
        assert least <= last + 1e-9
        last = least
    assert last == pytest.approx(0, abs=1e-12)


@examples(5)
@given(seeds)
def test_errors_by_width_are_those_of_each_width(seed: int) -> None:
    weight, x, covariance = problem(seed)
    order = torch.randperm(INPUTS, generator=torch.Generator().manual_seed(seed))
    found = errors_by_width(weight, covariance, order, TAPS)
    assert found[0] == 1
    assert found[-1] == 0
    for width in range(1, INPUTS):
        kept = kept_inputs(*order[:width].tolist())
        assert found[width] == pytest.approx(residual(weight, x, kept), rel=1e-2, abs=1e-4)


def test_singular_covariances_give_finite_weights() -> None:
    weight, _, covariance = problem(0)
    kept = kept_inputs(0, 1)
    for singular in (torch.zeros_like(covariance), torch.ones_like(covariance)):
        assert torch.isfinite(refitted(weight, singular, kept)).all()
    assert torch.equal(refitted(weight, torch.zeros_like(covariance), kept), weight[:, kept])


def test_permuted_inputs_permute_the_weights() -> None:
    weight, _, covariance = problem(3)
    order = torch.randperm(INPUTS, generator=torch.Generator().manual_seed(1))
    places = (order[:, None] * TAPS + torch.arange(TAPS)).flatten()
    kept = kept_inputs(0, 2, 3)
    whole = torch.zeros_like(weight)
    whole[:, kept] = refitted(weight, covariance, kept)
    now = refitted(weight[:, places], covariance[places][:, places], kept[places])
    torch.testing.assert_close(now, whole[:, places][:, kept[places]])


def test_errors_by_width_of_nearly_singular_covariances_of_few_digits_are_numbers() -> None:
    """As vgg's wide layers: some inputs are dead, and float32 leaves eigenvalues below zero."""
    weight, x, _ = problem(0)
    x[:, ::3] = 0
    x[:, 1::3] = x[:, 2::3].roll(1, 1) * 1e3
    noise = torch.randn(
        x.shape[1], x.shape[1], generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    covariance = (x.T @ x / ROWS).float().double()
    covariance += 1e-6 * covariance.diagonal().mean() * (noise + noise.T)
    assert float(torch.linalg.eigvalsh(covariance)[0]) < 0
    errors = errors_by_width(weight, covariance, torch.arange(INPUTS), TAPS)
    assert torch.isfinite(errors).all()
    assert float(errors.diff().max()) <= 1e-12
