"""Chains as values: against cases by hand, sums written out, and a walk that goes step by step."""

from dataclasses import FrozenInstanceError
from math import prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from explorer.chains import Chain, chain_of, draws, steps_of
from explorer.errors import BadInput
from explorer.values import ChannelGroup
from tests.chain_runs import example_run
from tests.networks import graph_of

# Beyond any that a search reaches: there p differs from 0 or 1 by 2e-22.
ALPHAS = st.floats(-50, 50)


@st.composite
def chains(draw: st.DrawFn, alphas: st.SearchStrategy[float] = ALPHAS) -> Chain:
    values = draw(st.lists(alphas, min_size=1, max_size=20))
    least, step = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    return Chain("group", least + step * len(values), least, step, np.array(values))


def chain_with(transitions: list[float], least: int = 2, step: int = 2) -> Chain:
    p = np.array(transitions)
    return Chain("group", least + step * len(p), least, step, np.log(p) - np.log1p(-p))


def walked(chain: Chain, count: int, seed: int) -> np.ndarray:
    """Widths of walks that ask at every step, with a number of its own, whether to go on."""
    goes_on = np.random.default_rng(seed).random((count, chain.states)) < 1 / (1 + np.exp(-chain.alphas))
    return chain.least + chain.step * np.cumprod(goes_on, axis=1).sum(axis=1)


# ---- by hand ----------------------------------------------------------------------------------------------


def test_three_steps_by_hand():
    """p = 1/2, 1/2, 3/4: the width is 2, 4, 6 or 8 units with 8, 4, 1 and 3 of 16 parts."""
    chain = chain_with([0.5, 0.5, 0.75])
    np.testing.assert_allclose(chain.transitions, [0.5, 0.5, 0.75], rtol=1e-14)
    np.testing.assert_allclose(chain.retention, [8 / 16, 4 / 16, 3 / 16], rtol=1e-14)
    np.testing.assert_allclose(chain.unit_retention * 16, [16, 16, 8, 8, 4, 4, 3, 3], rtol=1e-14)
    assert chain.widths.tolist() == [2, 4, 6, 8]
    np.testing.assert_allclose(chain.probabilities * 16, [8, 4, 1, 3], rtol=1e-14)
    assert chain.expected == pytest.approx((2 * 8 + 4 * 4 + 6 * 1 + 8 * 3) / 16)
    square = (4 * 8 + 16 * 4 + 36 * 1 + 64 * 3) / 16
    assert chain.variance == pytest.approx(square - chain.expected**2)
    # E = 2 + 2 (p1 + p1 p2 + p1 p2 p3), and dp/dalpha = p (1 - p)
    by_p = np.array([1 + 1 / 2 + 3 / 8, 1 / 2 + 3 / 8, 1 / 4])
    np.testing.assert_allclose(chain.slope, 2 * by_p * [1 / 4, 1 / 4, 3 / 16], rtol=1e-14)


def test_draws_by_hand():
    """A number u draws a step for every retention probability above it: 1/2, 1/4, 3/16."""
    chain = chain_with([0.5, 0.5, 0.75])
    numbers = [[0.0, 0.18, 0.19], [0.24, 0.26, 0.49], [0.51, 0.9, 0.999]]
    assert chain.drawn(numbers).tolist() == [[8, 8, 6], [6, 4, 4], [2, 2, 2]]


@pytest.mark.parametrize(
    ("size", "divisions", "expected"),
    [
        (16, 8, (2, 2, 7)),
        (64, 8, (8, 8, 7)),
        (20, 8, (2, 2, 9)),  # steps of 20 // 8 = 2 units
        (15, 8, (1, 1, 14)),
        (5, 8, (1, 1, 4)),  # fewer units than divisions: steps of one
        (1, 8, (1, 1, 0)),  # a single unit stays, and there is nothing to decide
        (150, 15, (10, 10, 14)),
        (7, 1, (7, 7, 0)),
    ],
)
def test_steps_of_a_group(size, divisions, expected):
    assert steps_of(size, divisions) == expected


@given(st.integers(1, 4096), st.integers(1, 40))
def test_steps_fill_the_group(size, divisions):
    least, step, states = steps_of(size, divisions)
    assert least + step * states == size
    assert 1 <= least <= step, "the least width is never more than a step"
    assert step == max(1, size // divisions)
    assert states >= min(size, divisions) - 1, "no coarser than was asked for"


# ---- for any alphas ---------------------------------------------------------------------------------------


@given(chains())
def test_retention_is_a_probability_that_never_increases(chain):
    assert np.isfinite(chain.log_retention).all()
    assert (chain.log_retention <= 0).all()
    assert (np.diff(chain.log_retention) <= 0).all()
    assert ((chain.retention >= 0) & (chain.retention <= 1)).all()
    assert (np.diff(chain.unit_retention) <= 0).all()
    assert len(chain.unit_retention) == chain.size
    assert chain.least <= chain.expected <= chain.size
    assert np.isfinite(chain.slope).all()


@given(chains(st.floats(-8, 8)))
def test_retention_is_the_product_of_transitions(chain):
    expected = [prod(chain.transitions[: place + 1]) for place in range(chain.states)]
    np.testing.assert_allclose(chain.retention, expected, rtol=1e-12)
    np.testing.assert_allclose(chain.transitions, 1 / (1 + np.exp(-chain.alphas)), rtol=1e-12)


@given(chains())
def test_widths_have_probabilities_with_the_closed_mean_and_variance(chain):
    p = chain.probabilities
    assert (p >= 0).all()
    assert p.sum() == pytest.approx(1, abs=1e-12)
    mean = p @ chain.widths
    assert chain.expected == pytest.approx(mean, rel=1e-12)
    assert chain.variance == pytest.approx(p @ (chain.widths - mean) ** 2, abs=1e-11 * chain.size**2)
    # what is left of the distribution from a step on is that step's retention
    np.testing.assert_allclose(p[::-1].cumsum()[::-1][1:], chain.retention, rtol=1e-9, atol=1e-14)


@given(chains(), st.data())
def test_a_larger_alpha_never_lowers_the_expected_width(chain, data):
    place = data.draw(st.integers(0, chain.states - 1))
    alphas = chain.alphas.copy()
    alphas[place] += data.draw(st.floats(0, 20))
    more = Chain(chain.group, chain.size, chain.least, chain.step, alphas)
    assert more.expected >= chain.expected * (1 - 1e-14)
    assert (chain.slope >= 0).all()


@given(chains(st.floats(-6, 6)))
def test_the_slope_is_that_of_finite_differences(chain):
    h = 1e-5

    def expected(place: int, change: float) -> float:
        alphas = chain.alphas.copy()
        alphas[place] += change
        return Chain(chain.group, chain.size, chain.least, chain.step, alphas).expected

    found = [(expected(place, h) - expected(place, -h)) / (2 * h) for place in range(chain.states)]
    np.testing.assert_allclose(chain.slope, found, rtol=1e-6, atol=1e-8 * chain.size)


# ---- extremes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [-50.0, 50.0])
def test_a_decided_chain_has_one_width(alpha):
    chain = Chain("group", 16, 2, 2, np.full(7, alpha))
    width = 2 if alpha < 0 else 16
    assert chain.expected == pytest.approx(width, rel=1e-15)
    assert chain.variance == pytest.approx(0, abs=1e-12)
    assert chain.probabilities[-1 if alpha > 0 else 0] == pytest.approx(1, rel=1e-15)
    assert (chain.drawn(np.linspace(1e-9, 1 - 1e-9, 50)) == width).all()
    assert np.isfinite(chain.slope).all()
    assert (chain.slope > 0).all(), "however late, a gradient is left to turn back with"


@pytest.mark.parametrize(("place", "width"), [(0, 2), (3, 8), (6, 14)])
def test_an_improbable_step_ends_the_chain_there(place, width):
    alphas = np.full(7, 50.0)
    alphas[place] = -50
    chain = Chain("group", 16, 2, 2, alphas)
    assert chain.expected == pytest.approx(width, rel=1e-14)
    assert chain.probabilities[place] == pytest.approx(1, rel=1e-14)


def test_thousands_of_even_steps_underflow_quietly():
    """2^-2048 is no float64: the probabilities become 0, their logarithms stay, and the sums are right."""
    chain = Chain("group", 2049, 1, 1, np.zeros(2048))
    assert chain.retention[-1] == 0
    np.testing.assert_allclose(chain.log_retention, -np.log(2) * np.arange(1, 2049), rtol=1e-12)
    assert chain.expected == pytest.approx(2, rel=1e-12)  # 1 + 1/2 + 1/4 + ...
    assert chain.variance == pytest.approx(2, rel=1e-12)  # of the number of heads before the first tail
    assert chain.probabilities.sum() == pytest.approx(1, rel=1e-12)
    assert np.isfinite(chain.slope).all()
    assert chain.drawn([0.0, 0.3, 0.6]).tolist() == [1 + (chain.retention > 0).sum(), 2, 1]


@pytest.mark.parametrize("alpha", [-50.0, 50.0])
def test_thousands_of_decided_steps_are_exact(alpha):
    chain = Chain("group", 2049, 1, 1, np.full(2048, alpha))
    assert chain.expected == pytest.approx(2049 if alpha > 0 else 1, rel=1e-12)
    assert chain.probabilities.sum() == pytest.approx(1, rel=1e-12)
    assert np.isfinite(chain.log_retention).all()


def test_a_group_of_one_unit_has_a_chain_without_steps():
    chain = chain_of(ChannelGroup("one", 1, (), (), prunable=True, reason=""))
    assert (chain.states, chain.expected, chain.variance) == (0, 1.0, 0.0)
    assert chain.widths.tolist() == [1]
    assert chain.probabilities.tolist() == [1.0]
    assert chain.drawn([0.0, 0.5]).tolist() == [1, 1]


# ---- drawing ----------------------------------------------------------------------------------------------

EXAMPLES = [[0.5] * 7, [0.9, 0.99, 0.4, 0.8, 0.8, 0.05, 0.5], [0.999] * 9, [0.02, 0.9]]


@pytest.mark.parametrize("transitions", EXAMPLES)
def test_drawn_widths_have_the_chains_mean_variance_and_probabilities(transitions):
    chain, count = chain_with(transitions, least=3, step=4), 40_000
    widths = draws([chain], count, seed=1)[:, 0]
    assert abs(widths.mean() - chain.expected) < 4 * np.sqrt(chain.variance / count)
    fourth = chain.probabilities @ (chain.widths - chain.expected) ** 4
    assert abs(widths.var() - chain.variance) < 4 * np.sqrt((fourth - chain.variance**2) / count)
    seen = np.array([(widths == width).mean() for width in chain.widths])
    assert seen.sum() == pytest.approx(1)
    error = np.sqrt(chain.probabilities * (1 - chain.probabilities) / count)
    assert (np.abs(seen - chain.probabilities) <= 4 * error).all()


@pytest.mark.parametrize("transitions", EXAMPLES)
def test_one_number_draws_as_a_walk_step_by_step_does(transitions):
    chain, count = chain_with(transitions, least=3, step=4), 40_000
    drawn, walks = draws([chain], count, seed=2)[:, 0], walked(chain, count, seed=3)
    for width in chain.widths:
        p, q = (drawn == width).mean(), (walks == width).mean()
        both = (p + q) / 2
        assert abs(p - q) <= 4 * np.sqrt(2 * both * (1 - both) / count)


@given(chains(st.floats(-8, 8)))
def test_the_numbers_that_draw_a_width_make_up_its_probability(chain):
    """Exactly, without chance: u draws a width if it lies between two neighbouring retention probabilities."""
    edges = np.concatenate([[1.0], chain.retention, [0.0]])
    lengths = edges[:-1] - edges[1:]
    np.testing.assert_allclose(lengths, chain.probabilities, atol=1e-12)
    wide = lengths > 1e-9
    middles = (edges[:-1] + edges[1:])[wide] / 2
    assert chain.drawn(middles).tolist() == chain.widths[wide].tolist()


def test_networks_are_drawn_independently_and_again_with_their_seed():
    pair = [chain_with([0.5] * 7), chain_with([0.9, 0.6, 0.5, 0.5])]
    count = 40_000
    widths = draws(pair, count, seed=4)
    assert widths.shape == (count, 2)
    assert widths.dtype == np.int64
    first, second = (widths - [chain.expected for chain in pair]).T
    spread = np.sqrt(pair[0].variance * pair[1].variance / count)
    assert abs((first * second).mean()) < 4 * spread
    assert (draws(pair, 100, seed=4) == widths[:100]).all()
    assert (draws(pair, 100, seed=5) != widths[:100]).any()
    assert draws([], 3).shape == (3, 0)


# ---- a transition set by hand, and refusals ---------------------------------------------------------------


@given(chains(), st.floats(0, 1), st.data())
def test_one_transition_is_set_and_nothing_else(chain, probability, data):
    place = data.draw(st.integers(0, chain.states - 1))
    changed = chain.with_transition(place, probability)
    assert changed.transitions[place] == pytest.approx(probability, abs=2e-9)
    others = np.arange(chain.states) != place
    assert (changed.alphas[others] == chain.alphas[others]).all()
    assert (changed.retention[:place] == chain.retention[:place]).all()
    assert np.isfinite(changed.log_retention).all()


@pytest.mark.parametrize(
    ("place", "probability", "words"),
    [
        (-1, 0.5, "steps 0 to 2, not -1"),
        (3, 0.5, "steps 0 to 2, not 3"),
        (0, 1.01, "between 0 and 1, not 1.01"),
        (0, -0.01, "between 0 and 1"),
        (0, float("nan"), "between 0 and 1, not nan"),
    ],
)
def test_what_is_no_transition_is_refused(place, probability, words):
    with pytest.raises(BadInput, match=words):
        chain_with([0.5, 0.5, 0.5]).with_transition(place, probability)


@pytest.mark.parametrize(
    ("size", "least", "step", "alphas"),
    [(9, 2, 2, np.zeros(3)), (8, 0, 2, np.zeros(4)), (8, 2, 2, np.zeros((3, 1)))],
)
def test_a_chain_that_does_not_fit_its_group_is_refused(size, least, step, alphas):
    with pytest.raises(BadInput, match="does not fit"):
        Chain("group", size, least, step, alphas)


def test_a_chain_is_frozen_and_keeps_a_copy():
    alphas = np.zeros(3)
    chain = Chain("group", 8, 2, 2, alphas)
    alphas[:] = 9
    assert chain.expected == pytest.approx(2 + 2 * (1 / 2 + 1 / 4 + 1 / 8))
    for values in (chain.alphas, chain.retention, chain.probabilities, chain.slope, chain.widths):
        with pytest.raises(ValueError, match="read-only"):
            values[0] = 1
    with pytest.raises(FrozenInstanceError):
        chain.least = 1


# ---- a run ------------------------------------------------------------------------------------------------


def test_a_run_gives_every_frame_its_chains():
    graph = graph_of("resnet20")
    run = example_run(graph, frames=5)
    assert run.frames == 5
    assert [chain.group for chain in run.at(0)] == [group.id for group in graph.prunable]
    for frame in range(run.frames):
        joined = np.concatenate([chain.alphas for chain in run.at(frame)])
        assert (joined == run.alphas[frame]).all()
    assert (run.at(-1)[0].alphas == run.at(4)[0].alphas).all()
    assert run.ended
    assert not example_run(graph, ended=False).ended
