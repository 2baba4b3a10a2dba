"""What the layers that read a group lose, for every width of it: cut only, and refitted."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from explorer.repair.moments import Check, Observed, nothing
from explorer.repair.patches import as_matrix
from explorer.repair.readers import Reader
from explorer.repair.refit import Sink
from explorer.repair.solving import errors_by_width
from explorer.values import ChannelGraph, ChannelGroup, Floats


@dataclass(frozen=True, eq=False)
class Errors:
    """Errors of the answers of `layers` together, on dense inputs, when only the first w units of an order are kept.

    `cut` and `refitted` are float32 (size + 1,), by w, as shares of the variance of those answers: a layer counts as
    much as it varies. All other inputs of the layers are taken as kept. `left_out` says why other readers are not
    among them.
    """

    cut: Floats
    refitted: Floats
    layers: tuple[str, ...]
    left_out: tuple[str, ...]


def by_width(
    weight: Tensor, covariance: Tensor, unit: Tensor, order: Tensor, taps: int, rows: int
) -> tuple[Tensor, Tensor, float]:
    """E|W x - V x_S|^2 when S are the first w units of `order`, for V = W_S and for the least-squares V, and E|W x|^2.

    `weight` (outputs, d) and `covariance` (d, d) are float64, d = inputs * taps; `unit` int64 (inputs,) is the unit
    of an input, -1 for those that are kept whatever happens; every unit has equally many. Both errors are
    (units + 1,), in the units of E|W x|^2.
    With R removed, the bare cut loses E|W_R x_R|^2, the sum of W'W o C over R x R: every unit adds its own part and
    what it shares with those behind it, one pass for all widths. The least error (He, Zhang and Sun 2017, equation 4)
    is that of `errors_by_width`; where there are as many unknowns as patches (`rows`) no layer is refitted, and the
    cut's error is what stays.
    """
    fixed = (unit < 0).nonzero()[:, 0]
    inputs = torch.cat([fixed, (unit == order[:, None]).nonzero()[:, 1]])
    columns = (inputs[:, None] * taps + torch.arange(taps)).flatten()
    own, shared = weight[:, columns], covariance.index_select(0, columns).index_select(1, columns)
    losses = (own * (2 * own @ shared.tril(-1) + own * shared.diagonal())).sum(0)  # with what is behind each
    whole = float(losses.sum())
    first, step = len(fixed) * taps, (len(inputs) - len(fixed)) // len(order)
    cut = torch.cat([losses.flip(0).cumsum(0).flip(0), losses.new_zeros(1)])[first :: step * taps]
    least = whole * errors_by_width(own, shared, torch.arange(len(inputs)), taps)[len(fixed) :: step]
    unknowns = (len(fixed) + step * torch.arange(len(order) + 1)) * taps
    return cut, torch.where(unknowns < rows, least, cut), whole


def errors_of(
    model: nn.Module,
    graph: ChannelGraph,
    group: ChannelGroup,
    order: NDArray[np.integer],
    observed: Observed,
    check: Check = nothing,
) -> Errors:
    """What the readers of a group lose in the dense network `model`, by its width.

    `order` int (size,) are the group's units, the first to stay first. `check` is called before every layer and may
    raise.
    """
    size = group.size + 1
    cut, refitted = torch.zeros(size, dtype=torch.float64), torch.zeros(size, dtype=torch.float64)
    whole, layers, left_out = 0.0, [], []
    for name, reader in observed.readers.items():
        unit = _units(group, reader)
        if unit is None:
            continue
        check()
        if name in observed.unfit:
            left_out.append(observed.unfit[name])
            continue
        moments = observed.moments[name]
        if moments.by_place:
            left_out.append(
                f"{reader.layer} reads too many channels to know how its filters' places hang together"
            )
            continue
        weight = model.get_parameter(name).detach().double()
        centred = Sink(model, graph, reader).exists
        parts = as_matrix(weight, reader.transposed, reader.groups)
        for part, mean, own in zip(parts, moments.mean, moments.covariance, strict=True):
            own = own.double() if centred else torch.addr(own.double(), mean, mean)
            found = by_width(part, own, unit, torch.from_numpy(order), reader.taps, moments.rows)
            cut, refitted, whole = cut + found[0], refitted + found[1], whole + found[2]
        layers.append(reader.layer)
    share = 1 / whole if whole > 0 else 0.0
    return Errors(_frozen(cut * share), _frozen(refitted * share), tuple(layers), tuple(left_out))


def _units(group: ChannelGroup, reader: Reader) -> Tensor | None:
    """The unit at every input of a reader, -1 where it is another group's; None if it reads none of the group."""
    dim = 0 if reader.transposed else 1
    found = [slot.unit for slot in group.slots if (slot.tensor, slot.dim) == (reader.weight, dim)]
    if not found:
        return None
    unit = torch.from_numpy(np.max(found, axis=0).astype(np.int64))
    return unit if bool((unit >= 0).any()) else None


def _frozen(values: Tensor) -> Floats:
    array = values.float().numpy()
    array.flags.writeable = False
    return array
