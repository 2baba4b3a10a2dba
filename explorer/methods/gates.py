"""The chains as torch sees them: alphas that learn, the gates that they open, and the expected cost.

Same formulas as `explorer.chains`, differentiable: m_k = exp(sum over j <= k of log sigmoid(alpha_j)). All in float64.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import logsigmoid

from explorer.chains import Chain
from explorer.costs import totals
from explorer.values import ChannelGraph


class Gates:
    """The alphas of all chains in one tensor, float64 (states of all chains joined,), requiring gradients."""

    def __init__(self, graph: ChannelGraph, chains: Sequence[Chain]) -> None:
        self._chains = tuple(chains)
        joined = np.concatenate([chain.alphas for chain in chains])
        self.alphas = torch.tensor(joined, requires_grad=True)
        self._longest = max(chain.states for chain in chains)
        rows = [_padded(start, chain.states, self._longest, len(joined)) for start, chain in self._starts()]
        self._table = torch.from_numpy(np.stack(rows))  # (chains, longest): place in the joined states
        self._real = self._table < len(joined)
        self._least = torch.tensor([float(chain.least) for chain in chains], dtype=torch.float64)
        self._step = torch.tensor([float(chain.step) for chain in chains], dtype=torch.float64)
        self._group_places = torch.tensor([graph.index[chain.group] for chain in chains])

    def _starts(self) -> list[tuple[int, Chain]]:
        ends = np.cumsum([chain.states for chain in self._chains]).tolist()
        return [(end - chain.states, chain) for end, chain in zip(ends, self._chains, strict=True)]

    def retention(self) -> Tensor:
        """m_k of every chain, float64 (chains, longest chain's states); 0 beyond a chain's end."""
        steps = torch.cat([logsigmoid(self.alphas), self.alphas.new_zeros(1)])[self._table]
        return steps.cumsum(1).exp() * self._real

    def expected(self, retention: Tensor) -> Tensor:
        """E[width] of every chain (eq. 8), float64 (chains,)."""
        return self._least + self._step * retention.sum(1)

    def entries(self, unit: NDArray[np.int32], place: int) -> NDArray[np.int64]:
        """For units of the chain number `place`, where their gate stands in `joined`, int64 of unit's shape.

        Units of the least width, and -1 (no unit of this chain), have the last entry, which is 1.
        """
        chain = self._chains[place]
        state = (unit.astype(np.int64) - chain.least) // chain.step
        return np.where(unit >= chain.least, place * self._longest + state, len(self._chains) * self._longest)

    def joined(self, retention: Tensor) -> Tensor:
        """All retention probabilities in one row, and a 1 behind them, float64 (entries,)."""
        return torch.cat([retention.flatten(), retention.new_ones(1)])

    def values(self) -> tuple[Chain, ...]:
        """The chains as they are now, as values."""
        alphas = self.alphas.detach().numpy()
        return tuple(
            replace(chain, alphas=alphas[start : start + chain.states]) for start, chain in self._starts()
        )


def _padded(start: int, states: int, longest: int, nothing: int) -> NDArray[np.int64]:
    return np.concatenate([np.arange(start, start + states), np.full(longest - states, nothing)])


class ExpectedCost:
    """F(E[widths]): a graph's cost at the chains' expected widths, differentiable.

    A cost is a sum of products of widths, so this is the mean cost of networks drawn from the chains wherever the
    factors of a product belong to different chains; where one chain stands on both sides of a layer (a residual branch
    of a single convolution), E[w]^2 is below E[w^2]. Definition as in `costs`: bias and batch norm are not MACs.
    """

    def __init__(self, graph: ChannelGraph, chains: Sequence[Chain], kind: str) -> None:
        terms = graph.terms
        if kind == "macs":
            rows, factor = terms.tensor_forms[terms.layer_tensor], terms.positions
            self._fixed = float(terms.other_macs)
        else:
            rows = terms.tensor_forms[terms.counted]
            factor, self._fixed = np.ones(len(rows), dtype=np.int64), 0.0
        places = [graph.index[chain.group] for chain in chains]
        fixed = graph.sizes.copy()
        fixed[places] = 0
        self._constant = torch.from_numpy((terms.constant + terms.coefficient @ fixed).astype(np.float64))
        self._coefficient = torch.from_numpy(terms.coefficient[:, places].astype(np.float64))
        self._rows = torch.from_numpy(rows.copy())
        self._factor = torch.from_numpy(factor.astype(np.float64))
        self.dense = float(totals(graph, graph.sizes, kind))

    def __call__(self, expected: Tensor) -> Tensor:
        """Expected widths float64 (chains,) -> expected cost, float64 ()."""
        lengths = self._constant + self._coefficient @ expected
        return (lengths[self._rows].prod(1) * self._factor).sum() + self._fixed
