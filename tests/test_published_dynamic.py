"""Every published number has a source, gaps follow from errors, and what could not be read is not there."""

import pytest

from explorer.published_dynamic import (
    CAVEATS,
    GATED,
    NOT_READ,
    PRUNED,
    SOURCES,
    dense_of,
    gap,
    lost,
    misprinted,
    saved,
    undiminished,
)


def pruned(network, by):
    (found,) = [row for row in PRUNED if (row.network, row.by) == (network, by)]
    return found


def test_every_number_has_a_source_and_a_known_caveat():
    assert {row.source for row in (*PRUNED, *GATED)} == set(SOURCES)
    assert {row.caveat for row in GATED} | {"gap"} == set(CAVEATS)
    keys = [(row.data, row.network, row.by) for row in PRUNED]
    assert len(keys) == len(set(keys))
    densities = [(row.source, row.network, row.density) for row in GATED]
    assert len(densities) == len(set(densities))


def test_errors_are_percentages_with_the_dense_network_best():
    for row in PRUNED:
        assert dense_of(row).error <= row.error < 35
        assert row.top5_error is None or row.top5_error < row.error
        assert (row.saved is None) == (row.by == "dense")
        assert row.saved is None or 20 < row.saved < 65


@pytest.mark.parametrize(
    ("network", "by", "points"),
    [("ResNet-18", "manidp_a", 0.88), ("ResNet-34", "fbs", 1.65), ("ResNet-34", "fpgm", 0.77),
     ("ResNet-20", "manidp", 0.17), ("ResNet-56", "hrank", 0.53)],
)  # fmt: skip
def test_gaps_are_differences_of_errors(network, by, points):
    assert gap(pruned(network, by)) == points


def test_two_printed_gaps_contradict_their_errors():
    odd = [(row.network, row.by, row.printed_gap) for row in PRUNED if misprinted(row)]
    assert odd == [("ResNet-34", "fpgm", 0.07), ("ResNet-34", "fbs", 1.85)]


def test_what_was_not_read_is_not_there():
    assert "mobilenet" in NOT_READ
    assert not any("mobilenet" in row.network.lower() for row in (*PRUNED, *GATED))
    assert [row.by for row in PRUNED if row.data == "ImageNet" and row.top5_error is None] == [
        *("cgnet", "taylor", "cgnet")
    ]
    assert all(row.top5_error is None and row.printed_gap is None for row in PRUNED if row.data == "CIFAR-10")


def test_the_savings_of_resnet20_are_macs():
    """The MindSpore card of ManiDP's ResNet-20 gives 18.74 M and 92.05 %: the table's row, if "FLOPs" are MACs."""

    def stage(c_in, c, side, first):
        return side**2 * (9 * c * c_in + 5 * 9 * c * c + (c_in * c if first else 0))

    dense = (
        32**2 * 9 * 3 * 16 + stage(16, 16, 32, False) + stage(16, 32, 16, True) + stage(32, 64, 8, True) + 640
    )
    row = pruned("ResNet-20", "manidp")
    assert 100 * (1 - 18.74e6 / dense) == pytest.approx(row.saved, abs=0.15)
    assert row.error == pytest.approx(100 - 92.05)


def test_losses_and_savings_of_fbs_are_against_the_same_source():
    (mayo,) = [row for row in GATED if row.network == "M-CifarNet" and row.density == 0.5]
    assert (lost(mayo), saved(mayo)) == (0.83, pytest.approx(100 * (1 - 57 / 174)))
    (least,) = [row for row in GATED if row.density == 0.3]
    assert (lost(least), saved(least)) == (4.79, pytest.approx(100 * (1 - 0.16 / 1.74)))
    (alone,) = [row for row in GATED if row.network.startswith("VGG")]
    assert (undiminished(alone), lost(alone), saved(alone)) == (None, None, None)
