"""What a layer loses when some of its inputs go and the others make up for it: Optimal Brain Surgeon for channels.

Hassibi and Stork 1993 (NeurIPS), for a layer's answers instead of the loss, and for a channel's taps together: with C
the covariance of the inputs and c the columns of a unit, the least error rises by L_c = tr(W_c ((C^-1)_cc)^-1 W_c').
The best repair is then W - W_c ((C^-1)_cc)^-1 (C^-1)_c, and the inverse without c is C^-1 - (C^-1)_.c ((C^-1)_cc)^-1
(C^-1)_c, so that removing one unit after the other is exact for the set.
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from explorer.repair.moments import Check, Observed, nothing
from explorer.repair.patches import as_matrix
from explorer.repair.solving import ridge_of
from explorer.values import ChannelGraph, ChannelGroup

ROUNDS = 64  # a wide group is taken apart in so many rounds, a narrow one unit by unit


@dataclass(frozen=True, eq=False)
class _Inputs:
    """A layer's weight (outputs, d), as a share of what it answers, the inverse (d, d) of its inputs' covariance, and
    the columns int64 (units, columns of a unit) of the units of a group.
    """

    weight: Tensor
    inverse: Tensor
    columns: Tensor

    def rises(self, units: Tensor) -> Tensor:
        """L_c of each of the units alone, float64 (units,)."""
        columns = self.columns[units]
        blocks = self.inverse[columns[:, :, None], columns[:, None, :]]
        weights = self.weight[:, columns].transpose(0, 1)
        return ((weights @ torch.linalg.inv(blocks)) * weights).sum((1, 2))

    def without(self, units: Tensor) -> "_Inputs":
        """The layer repaired for having lost the units."""
        gone = self.columns[units].flatten()
        rows = self.inverse[gone]
        solved = torch.linalg.solve(rows[:, gone], rows)
        return _Inputs(
            self.weight - self.weight[:, gone] @ solved, self.inverse - rows.T @ solved, self.columns
        )


def removal_losses(
    model: nn.Module, graph: ChannelGraph, observed: Observed, check: Check = nothing
) -> dict[str, NDArray[np.float64]]:
    """What the layers that read a group lose by each of its units, when units go one after the other, the least
    missed first, and those that are left make up for it: float64 (units,) for every prunable group.

    A loss is a share of the variance of a layer's answers, summed over the layers that read the group; one that is
    removed later is never less. Wide groups lose several units a round. Where nothing is known of the readers, all
    units count 1.
    """
    ready: dict[str, tuple[Tensor, Tensor]] = {}
    found, awaited = {}, Counter(slot.tensor for group in graph.prunable for slot in group.slots)
    for group in graph.prunable:
        found[group.id] = _losses(model, group, observed, ready, check)
        awaited.subtract(slot.tensor for slot in group.slots)
        for name in [name for name in ready if not awaited[name]]:
            del ready[name]
    return found


def _losses(
    model: nn.Module,
    group: ChannelGroup,
    observed: Observed,
    ready: dict[str, tuple[Tensor, Tensor]],
    check: Check,
) -> NDArray[np.float64]:
    layers = _readers_of(model, group, observed, ready)
    if not layers:
        return np.ones(group.size)
    left, losses, most = torch.arange(group.size), np.zeros(group.size), 0.0
    at_once = -(-group.size // ROUNDS)
    while len(left):
        check()
        rises = torch.stack([layer.rises(left) for layer in layers]).sum(0)
        order = rises.argsort(stable=True)
        gone = left[order[:at_once]]
        for unit, rise in zip(gone.tolist(), rises[order[:at_once]].tolist(), strict=True):
            losses[unit] = most = max(most, rise)
        left = left[order[at_once:]].sort().values
        if len(left):
            layers = [layer.without(gone) for layer in layers]
    return losses


def _readers_of(
    model: nn.Module, group: ChannelGroup, observed: Observed, ready: dict[str, tuple[Tensor, Tensor]]
) -> list[_Inputs]:
    """A group's readers, one entry for every group of a convolution; `ready` keeps (weight, inverse) of each."""
    found = []
    for slot in group.slots:
        moments = observed.moments.get(slot.tensor)
        reader = observed.readers.get(slot.tensor)
        if not slot.reads or moments is None or reader is None or slot.dim != (0 if reader.transposed else 1):
            continue
        if slot.tensor not in ready:
            weight = as_matrix(
                model.get_parameter(slot.tensor).detach().double(), reader.transposed, reader.groups
            )
            if moments.by_place:
                weight = weight.unflatten(2, (-1, reader.taps)).transpose(2, 3).flatten(1, 2)
            covariance = moments.covariance.to(torch.float64, copy=True)
            whole = float(((weight @ covariance) * weight).sum())
            ready[slot.tensor] = (weight / (whole**0.5 if whole > 0 else 1.0), _inverses(covariance))
        weight, inverses = ready[slot.tensor]
        taps = 1 if moments.by_place else reader.taps
        units = torch.from_numpy(slot.unit.astype(np.int64))
        places = torch.argsort(units, stable=True)[int((units < 0).sum()) :].reshape(group.size, -1)
        columns = (places[:, :, None] * taps + torch.arange(taps)).flatten(1)
        found += [_Inputs(weight[each], inverses[each], columns) for each in range(reader.groups)]
    return found


def _inverses(covariance: Tensor) -> Tensor:
    """The inverse of every covariance (groups, d, d), which are changed: kept from being singular, as refits are."""
    for each in covariance:
        each.diagonal().add_(max(ridge_of(each), 1e-12))
    return torch.linalg.inv(covariance)
