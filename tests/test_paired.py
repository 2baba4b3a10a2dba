import math

import numpy as np
import pytest

from explorer.errors import BadInput
from explorer.paired import T_975, paired_difference


def test_mean_and_interval_by_hand():
    # differences 1, 2, 3: mean 2, standard deviation 1, half an interval 4.303 / sqrt(3)
    found = paired_difference((5, 7, 9), (4, 5, 6))
    assert (found.difference, found.seeds, found.verdict) == (2, 3, "open")
    assert found.high - 2 == 2 - found.low == pytest.approx(4.303 / math.sqrt(3))


def test_pairs_are_compared_not_means():
    apart = paired_difference((0.90, 0.80, 0.70), (0.89, 0.79, 0.69))  # seeds differ widely, pairs do not
    assert apart.verdict == "better"
    assert (apart.low, apart.high) == pytest.approx((0.01, 0.01))
    assert paired_difference((0.89, 0.79), (0.90, 0.80)).verdict == "worse"


def test_an_end_at_zero_is_a_tie():
    assert paired_difference((1.0, 1.0), (1.0, 1.0)).verdict == "open"


def test_one_seed_has_no_interval_and_none_no_difference():
    one = paired_difference((0.9,), (0.8,))
    assert one.difference == pytest.approx(0.1)
    assert math.isnan(one.low)
    assert one.verdict == "unknown"
    assert paired_difference((), ()) is None


def test_seeds_without_partner_are_refused():
    with pytest.raises(BadInput, match="3 and 2"):
        paired_difference((1, 2, 3), (1, 2))


def test_many_seeds_take_the_last_quantile():
    values = np.random.default_rng(0).standard_normal(100)
    found = paired_difference(values.tolist(), [0.0] * 100)
    assert found.high - found.difference == pytest.approx(2.042 * values.std(ddof=1) / 10)


@pytest.mark.parametrize("degrees", [1, 2, 3, 9, 19, 30])
def test_quantiles_leave_2_5_percent_above_them(degrees):
    """Against the density of Student's t, integrated; its constant by the gamma function."""
    constant = math.gamma((degrees + 1) / 2) / math.gamma(degrees / 2) / math.sqrt(degrees * math.pi)
    x = np.linspace(0, T_975[degrees - 1], 200_001)
    density = constant * (1 + x**2 / degrees) ** (-(degrees + 1) / 2)
    inner = float(((density[1:] + density[:-1]) / 2 * np.diff(x)).sum())
    assert inner == pytest.approx(0.475, abs=5e-5)
