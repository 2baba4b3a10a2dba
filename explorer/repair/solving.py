"""Least squares: the weights for the inputs that are left, so that a layer answers most like the whole one.

With y = W x of centred inputs x, S kept and R removed, the error E|W x - V x_S|^2 + rho |V - W_S|^2 is least at
V = W_S + W_R C_RS (C_SS + rho I)^-1. Held to the cut weights W_S instead of to zero, it never does worse than the cut
on the inputs that it was fitted on, and with nothing removed V = W. After He, Zhang and Sun 2017 (ICCV), equation 4,
and Luo, Wu and Lin 2017 (ThiNet), equation 7, which fit the rest of a layer by ordinary least squares.
"""

import torch
from torch import Tensor

RIDGE = 1e-3  # rho, as a share of the mean variance of an input
OVERFIT = 2.0  # what is added to it, times the square of unknowns per patch: few patches move weights less


def ridge_of(covariance: Tensor, share: float = RIDGE) -> float:
    """rho for a covariance (d, d); 0 where all inputs are constant."""
    return share * float(covariance.diagonal().mean()) if len(covariance) else 0.0


def damping(variances: Tensor, rows: int) -> float:
    """rho for kept inputs of these variances (d,), which `rows` patches tell apart."""
    share = RIDGE + OVERFIT * (len(variances) / rows) ** 2
    return share * float(variances.double().mean()) if len(variances) else 0.0


def solved(covariance: Tensor, cross: Tensor, ridge: float) -> Tensor:
    """cross (m, d) times (covariance + ridge I)^-1, float64."""
    damped = covariance.clone()
    damped.diagonal().add_(ridge)
    factor, failed = torch.linalg.cholesky_ex(damped)
    if int(failed):  # rounding made it indefinite
        return torch.linalg.lstsq(damped, cross.T, driver="gelsd").solution.T
    return torch.cholesky_solve(cross.T, factor).T


def refitted(weight: Tensor, covariance: Tensor, kept: Tensor, ridge: float | None = None) -> Tensor:
    """V (outputs, kept) for a weight (outputs, d), the covariance (d, d) of its inputs and bool (d,) `kept`."""
    rows = covariance[kept]
    among, cross = rows[:, kept], weight[:, ~kept] @ rows[:, ~kept].T
    return weight[:, kept] + solved(among, cross, ridge_of(among) if ridge is None else ridge)


def error(weight: Tensor, now: Tensor, covariance: Tensor, kept: Tensor) -> float:
    """E|W x - V x_S|^2 as a share of E|W x|^2, x centred; 0 where the layer answers nothing."""
    difference = weight.clone()
    difference[:, kept] -= now
    whole = _energy(weight, covariance)
    return _energy(difference, covariance) / whole if whole > 0 else 0.0


def errors_by_width(weight: Tensor, covariance: Tensor, order: Tensor, taps: int) -> Tensor:
    """The least error, as `error`, when only the first w inputs of `order` int64 (inputs,) are kept: (inputs + 1,).

    With P the order, P C P' = L L' and M = W P' L, the first m white inputs span the first m real ones, so that what
    they leave is the sum of M's squares in the columns behind: one factor for all widths.
    """
    places = (order[:, None] * taps + torch.arange(taps)).flatten()
    for share in (1e-6, 1e-4, RIDGE, 1e-1):  # as little as the rounding of the covariance allows
        damped = covariance[places][:, places]
        damped.diagonal().add_(ridge_of(covariance, share))
        factor, failed = torch.linalg.cholesky_ex(damped)
        if not int(failed):
            break
    else:
        return torch.full((len(order) + 1,), torch.nan, dtype=torch.float64)
    squares = (weight[:, places] @ factor).square().sum(0).reshape(-1, taps).sum(1)
    behind = torch.cat([squares.flip(0).cumsum(0).flip(0), squares.new_zeros(1)])
    return behind / behind[0] if behind[0] > 0 else torch.zeros_like(behind)


def _energy(weight: Tensor, covariance: Tensor) -> float:
    return float(((weight @ covariance) * weight).sum())
