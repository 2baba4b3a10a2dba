"""What draws the expected cost E to the target T: three forms, each a function of both in the same unit.

The gradient of a logarithm is free of units, so that one strength fits networks of any size.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor

MEGA = 1e6
FAR = 200.0  # millions: beyond it the released code multiplies the distance by 0.1, which no gradient feels


def log_distance(expected: Tensor, target: float) -> Tensor:
    """The paper's: log |E - T|, in millions, 1e-5 away from its pole.

    Its gradient 1 / (E - T) has no bound near the target, where it oscillates: for study, not for use.
    """
    return torch.log((expected - target).abs() / MEGA + 1e-5)


def dead_zone(expected: Tensor, target: float) -> Tensor:
    """The released code's `log_l1`: 0 for 0.95 T <= E < T, log |E - T| below, log |E - 0.95 T| above, in millions.

    0.1 times the distance where |E - T| > 200 millions; the gradient's bound is 20 / T.
    """
    lower = 0.95 * target
    if lower <= float(expected.detach()) < target:
        return expected * 0.0
    distance = (expected - (target if float(expected.detach()) < lower else lower)).abs() / MEGA
    ratio = 0.1 if abs(float(expected.detach()) - target) / MEGA > FAR else 1.0
    return torch.log(ratio * distance)


def squared_log(expected: Tensor, target: float) -> Tensor:
    """log(E / T) squared: smooth, 0 at the target only, and as steep from below as from above."""
    return torch.log(expected / target) ** 2


REGULARISERS: Mapping[str, Callable[[Tensor, float], Tensor]] = MappingProxyType(
    {"squared_log": squared_log, "dead_zone": dead_zone, "log": log_distance}
)
