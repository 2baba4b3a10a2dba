"""DMCP's Markov chains over widths, as values: one chain for every channel group, and what a search saw of them.

Guo et al. 2020, "DMCP: Differentiable Markov Channel Pruning for Neural Networks" (CVPR, arXiv 2005.03354). A chain
adds channels in their order: from "the first k - 1 steps are kept" it goes on to keep step k too with the
*transition probability* p_k = sigmoid(alpha_k), or ends there. So a group of C channels has as many outcomes as
widths, where channels chosen one by one have 2^C. Everything is worked out in log space: products of hundreds of
probabilities stay finite.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from explorer.errors import BadInput, require_whole
from explorer.runs import Run
from explorer.values import ChannelGroup, read_only

Doubles = NDArray[np.float64]
DIVISIONS = 8  # equal parts that a group is divided into: the first stays, the others are the chain's steps


def steps_of(size: int, divisions: int = DIVISIONS) -> tuple[int, int, int]:
    """(least, step, states): a group of `size` units keeps `least` always and up to `states` steps of `step`
    units, so that size = least + step * states.

    A step is the size divided by `divisions`, rounded down, and at least one unit; the least width, at least one unit
    and never more than a step, takes what is left over. (In the released code it takes the rounding as well, and can
    be larger than a step.) Raises BadInput for numbers below 1.
    """
    require_whole("size", size, 1)
    require_whole("divisions", divisions, 1)
    step = max(1, size // divisions)
    states = (size - 1) // step
    return size - step * states, step, states


@dataclass(frozen=True, eq=False)
class Chain:
    """The Markov chain of one group: `size` = `least` + `step` x states units; `alphas` float64 (states,)."""

    group: str
    size: int
    least: int
    step: int
    alphas: Doubles

    def __post_init__(self) -> None:
        alphas = read_only(np.array(self.alphas, dtype=np.float64))
        object.__setattr__(self, "alphas", alphas)
        whole = self.step >= 1 and self.least >= 1 and self.size == self.least + self.step * alphas.size
        if alphas.ndim != 1 or not whole or np.isnan(alphas).any():
            raise BadInput(
                f"The chain of {self.group} does not fit: {self.least} units that stay and {alphas.shape} steps of "
                f"{self.step} are not {self.size} units. Make it with chains.chain_of(group)."
            )

    @property
    def states(self) -> int:
        """How many steps the chain can go."""
        return len(self.alphas)

    @cached_property
    def transitions(self) -> Doubles:
        """p_k = P(step k is kept | step k - 1 is), float64 (states,)."""
        return read_only(np.exp(_log_sigmoid(self.alphas)))

    @cached_property
    def log_retention(self) -> Doubles:
        """log m_k, float64 (states,): never above 0, non-increasing."""
        return read_only(np.cumsum(_log_sigmoid(self.alphas)))

    @cached_property
    def retention(self) -> Doubles:
        """The retention (marginal) probabilities m_k = p_1 ... p_k, float64 (states,)."""
        return read_only(np.exp(self.log_retention))

    @cached_property
    def unit_retention(self) -> Doubles:
        """The retention probability of every unit, float64 (size,): 1 for the least width, then in steps."""
        return read_only(np.concatenate([np.ones(self.least), np.repeat(self.retention, self.step)]))

    @cached_property
    def widths(self) -> NDArray[np.int64]:
        """The widths that the chain can end at, int64 (states + 1,)."""
        return read_only(self.least + self.step * np.arange(self.states + 1))

    @cached_property
    def probabilities(self) -> Doubles:
        """P(the width is `widths[k]`) = m_k (1 - p_{k+1}), and m_n for the last, float64 (states + 1,)."""
        stops = np.concatenate([np.exp(_log_sigmoid(-self.alphas)), [1.0]])
        return read_only(np.concatenate([[1.0], self.retention]) * stops)

    @cached_property
    def expected(self) -> float:
        """E[width] = least + step x sum of m_k (eq. 8), in units."""
        return float(self.least + self.step * self.retention.sum())

    @cached_property
    def variance(self) -> float:
        """Var[width] = step^2 (sum of (2k - 1) m_k - (sum of m_k)^2), in units squared."""
        odd = 2 * np.arange(1, self.states + 1) - 1
        return float(self.step**2 * max(0.0, odd @ self.retention - self.retention.sum() ** 2))

    @cached_property
    def slope(self) -> Doubles:
        """d E[width] / d alpha_i = step (1 - p_i) x sum of m_j over j >= i, float64 (states,)."""
        tail = np.cumsum(self.retention[::-1])[::-1]
        return read_only(self.step * np.exp(_log_sigmoid(-self.alphas)) * tail)

    def drawn(self, uniform: ArrayLike) -> NDArray[np.int64]:
        """Widths for numbers u in [0, 1): the least one and a step for every m_k > u; int64 of u's shape.

        Exact, since the retention probabilities do not increase; equal numbers give coupled widths.
        """
        below = np.asarray(uniform, dtype=np.float64)[..., None] < self.retention
        return self.least + self.step * below.sum(axis=-1)

    def with_transition(self, place: int, probability: float) -> "Chain":
        """The chain with p of step `place` (from 0) set. Raises BadInput for what is no probability or no step."""
        if not isinstance(place, int | np.integer) or not 0 <= place < self.states:
            raise BadInput(f"The chain of {self.group} has steps 0 to {self.states - 1}, not {place}.")
        if not isinstance(probability, int | float | np.floating) or not 0 <= probability <= 1:
            raise BadInput(f"A transition probability is between 0 and 1, not {probability!r}.")
        alphas = self.alphas.copy()
        within = min(max(probability, 1e-9), 1 - 1e-9)  # 0 and 1 have no finite alpha
        alphas[place] = np.log(within) - np.log1p(-within)
        return replace(self, alphas=alphas)


def chain_of(group: ChannelGroup, alpha: float = 0.0, divisions: int = DIVISIONS) -> Chain:
    """The chain of a group with all alphas equal (0: every transition is even)."""
    least, step, states = steps_of(group.size, divisions)
    return Chain(group.id, group.size, least, step, np.full(states, float(alpha)))


def draws(chains: Sequence[Chain], count: int, seed: int = 0) -> NDArray[np.int64]:
    """Widths of `count` directly sampled networks, int64 (count, chains); same seed, same networks."""
    uniform = np.random.default_rng(seed).random((count, len(chains)))
    columns = [chain.drawn(uniform[:, place]) for place, chain in enumerate(chains)]
    return np.stack(columns, axis=1) if columns else np.zeros((count, 0), dtype=np.int64)


class ChainRun(Run):
    """What a search over widths saw so far: the chains at some of its steps, its frames.

    Series: "alphas" float32 (frames, states of all chains joined) and "shares" float64 (frames,), the expected cost as
    a share of the dense one. Losses: "full" (cross-entropy of the full network), "sub" (divergence of the drawn
    networks from it), "chains" (cross-entropy with gates), "cost" (the regulariser). Facts: `chain_facts`.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        states = sum((size - least) // step for _, size, least, step in self.facts["chains"])
        if self.alphas.shape[1:] != (states,):
            raise ValueError(f"a frame of alphas is not of the {states} states that the chains have")

    @property
    def cost(self) -> str:
        """What is aimed at: "macs" or "params"."""
        return str(self.settings["cost"])

    @property
    def target(self) -> float:
        """The share of the dense network's `cost` that is aimed at."""
        return float(self.settings["target"])

    @property
    def warm_up(self) -> int:
        """How many of the first steps train weights only."""
        return int(self.settings["warm_up"]) * self.per_epoch

    @property
    def alphas(self) -> NDArray[np.float32]:
        return self.series["alphas"]

    @property
    def shares(self) -> Doubles:
        return self.series["shares"]

    @property
    def chains(self) -> tuple[Chain, ...]:
        """Those of the first frame, in the graph's order of groups."""
        return self.at(0)

    def at(self, frame: int) -> tuple[Chain, ...]:
        """The chains at a frame (negative: from the end)."""
        joined, found, start = self.alphas[frame].astype(np.float64), [], 0
        for group, size, least, step in self.facts["chains"]:
            end = start + (size - least) // step
            found.append(Chain(group, size, least, step, joined[start:end]))
            start = end
        return tuple(found)


def chain_facts(chains: Sequence[Chain]) -> dict[str, list[list[str | int]]]:
    """What a run says of its chains at all frames: group, size, least and step of each."""
    return {"chains": [[chain.group, chain.size, chain.least, chain.step] for chain in chains]}


# ---- what is said of a run --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Contender:
    """One structure of a comparison: its widths, the `share` of the dense MACs and its accuracy in [0, 1].

    `name` is "dmcp", "uniform", "largest" or "smallest". `shared` is the accuracy with the supernet's own weights, BN
    statistics re-estimated; `retrained` that after `epochs` epochs, one for each seed (empty: not retrained).
    """

    name: str
    share: float
    widths: tuple[tuple[str, int], ...]
    shared: float
    retrained: tuple[float, ...]


@dataclass(frozen=True)
class Comparison:
    """DMCP's structure beside others, all else equal: same images, epochs, seeds and schedule.

    `network` says in words which one (it may be none that is bundled), `target` the share of its MACs; accuracies
    are over `images` images. `start` is "scratch" or "supernet": what retraining began with.
    """

    network: str
    target: float
    images: int
    epochs: int
    start: str
    contenders: tuple[Contender, ...]


@dataclass(frozen=True)
class OrderCurve:
    """Accuracy of a network that keeps the same share of every group: which channels carry the information?

    `which` is "first", "last" or "random" (channels in their order), `when` "before" (the network as it was loaded) or
    "after" (the supernet); `shares` of every group's width that are kept, and `accuracy` in [0, 1] over `images`
    images, BN statistics re-estimated.
    """

    which: str
    when: str
    shares: tuple[float, ...]
    accuracy: tuple[float, ...]
    images: int


@dataclass(frozen=True)
class ChainEvidence:
    """What was measured after a search."""

    order: tuple[OrderCurve, ...] = ()
    comparisons: tuple[Comparison, ...] = ()


def _log_sigmoid(values: Doubles) -> Doubles:
    """log(1 / (1 + exp(-x))) without overflow."""
    return -np.logaddexp(0.0, -values)
