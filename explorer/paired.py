"""Is one structure better than another? The paired difference over seeds, with its interval."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from explorer.errors import BadInput

# Student's t, 97.5 % quantile, for 1, 2, ... degrees of freedom (any table; Fisher & Yates 1963, table III).
T_975 = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
    2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086,
    2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip


@dataclass(frozen=True)
class Paired:
    """A mean difference over `seeds` pairs and its 95 % interval, which one pair does not have (NaN)."""

    difference: float
    low: float
    high: float
    seeds: int

    @property
    def verdict(self) -> str:
        """ "better" or "worse" where the interval leaves out 0, else "open"; "unknown" without an interval."""
        if math.isnan(self.low):
            return "unknown"
        return "better" if self.low > 0 else "worse" if self.high < 0 else "open"


def paired_difference(one: Sequence[float], other: Sequence[float]) -> Paired | None:
    """Mean of one - other, seed by seed, and its 95 % interval by Student's t: mean +- t s / sqrt(n).

    None without any seed. Above 31 seeds t is that of 30 degrees of freedom, a little too wide. Raises BadInput
    where the numbers of seeds differ: differences are of pairs.
    """
    if len(one) != len(other):
        raise BadInput(
            f"Got {len(one)} and {len(other)} accuracies; expected as many of both, seed by seed: a paired "
            "difference needs pairs. Retrain both with the same seeds."
        )
    differences = [a - b for a, b in zip(one, other, strict=True)]
    count = len(differences)
    if not count:
        return None
    mean = sum(differences) / count
    if count == 1:
        return Paired(mean, math.nan, math.nan, 1)
    spread = math.sqrt(sum((each - mean) ** 2 for each in differences) / (count - 1))
    half = T_975[min(count - 1, len(T_975)) - 1] * spread / math.sqrt(count)
    return Paired(mean, mean - half, mean + half, count)
