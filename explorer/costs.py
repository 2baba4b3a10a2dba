"""What a network of given widths costs: closed form, from the graph's cost terms (see values.Cost).

MACs are multiply-adds of convolutions, transposed convolutions, linear layers and matrix products for one
example, padding taps counted; bias, batch norm, activations and pooling are not counted.
"""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from explorer.graph.checks import check_graph, check_plan
from explorer.values import ChannelGraph, Cost, Plan

COSTS = {"macs": "MACs", "params": "parameters", "channels": "channels"}
POWERS = 10 ** np.arange(18)
FLOAT32 = 4
ACTIVATIONS = 2.25
W = TypeVar("W", np.int64, np.float64)


def widths_of(graph: ChannelGraph, plan: Plan | None) -> NDArray[np.int64]:
    """Width of every group, int64 (groups,): the plan's, and the dense one where no plan applies."""
    widths = graph.sizes.copy()
    if plan is not None:
        for name, width in plan.widths.items():
            widths[graph.index[name]] = width
    return widths


def cost(graph: ChannelGraph, plan: Plan | None = None) -> Cost:
    """The cost of the dense network, or of the one that the plan leaves. Raises BadInput for a plan that
    is not of this graph."""
    check_graph(graph)
    if plan is not None:
        check_plan(graph, plan)
    return cost_of_widths(graph, widths_of(graph, plan))


def cost_of_widths(graph: ChannelGraph, widths: NDArray[np.int64]) -> Cost:
    """The cost for widths int64 (groups,), without a check of the widths."""
    terms = graph.terms
    lengths = _lengths(graph, widths)
    elements = lengths[terms.tensor_forms].prod(axis=-1)
    weights = elements[terms.layer_tensor]
    macs = weights * terms.positions
    live = lengths[terms.live_forms].prod(axis=-1) * terms.live_factor
    change = np.zeros(int(terms.dies.max(initial=0)) + 2, dtype=np.int64)
    np.add.at(change, terms.born, live)
    np.subtract.at(change, terms.dies + 1, live)
    return Cost(
        macs=int(macs.sum()) + terms.other_macs,
        params=int(elements[terms.counted].sum()),
        peak_bytes=int(change.cumsum().max()) * FLOAT32,
        file_bytes=_file_bytes(graph, lengths, elements),
        layer_macs=tuple(macs.tolist()),
        layer_params=tuple(weights.tolist()),
    )


def training_bytes(graph: ChannelGraph, batch: int) -> int:
    """About the memory that training takes: over twice the activations of a batch, and four times the weights.

    The backward pass needs what the forward computed, and makes gradients as large; what the system's allocator leaves
    in pieces comes on top (`tests/methods/test_memory.py` measures it). Beside the weights stand gradients, momentum
    and a snapshot.
    """
    terms = graph.terms
    live = _lengths(graph, graph.sizes)[terms.live_forms].prod(axis=-1) * terms.live_factor
    return int((ACTIVATIONS * batch * live.sum() + 4 * cost(graph).params) * FLOAT32)


def totals(graph: ChannelGraph, widths: NDArray[W], kind: str) -> NDArray[W]:
    """Total cost of one kind ("macs", "params" or "channels") for many widths at once.

    Widths (..., groups) -> (...), both int64, or float64 for widths that are means. "channels" counts the units of
    prunable groups.
    """
    terms = graph.terms
    if kind == "channels":
        prunable = np.array([group.prunable for group in graph.groups])
        return widths[..., prunable].sum(axis=-1)
    lengths = _lengths(graph, widths)
    if kind == "params":
        return lengths[..., terms.tensor_forms[terms.counted]].prod(axis=-1).sum(axis=-1)
    weights = lengths[..., terms.tensor_forms[terms.layer_tensor]].prod(axis=-1)
    return (weights * terms.positions).sum(axis=-1) + terms.other_macs


def _lengths(graph: ChannelGraph, widths: NDArray[W]) -> NDArray[W]:
    """All linear forms at the widths: (..., groups) -> (..., forms)."""
    return graph.terms.constant + widths @ graph.terms.coefficient.T


def _file_bytes(graph: ChannelGraph, lengths: NDArray[np.int64], elements: NDArray[np.int64]) -> int:
    """Exact size of the safetensors file: 8 bytes, a JSON header padded to 8 bytes, the tensors.

    The header's text is known up to the digits of the lengths and of where each tensor starts and ends. The
    rows of forms are padded with lengths of 1, which `header_text` allows for.
    """
    terms = graph.terms
    sizes = elements[terms.stored] * terms.stored_bytes
    ends = sizes.cumsum()
    numbers = np.concatenate([lengths[terms.tensor_forms[terms.stored]].ravel(), ends, ends - sizes])
    digits = np.maximum(POWERS.searchsorted(numbers, side="right"), 1)
    text = terms.header_text + int(digits.sum())
    return 8 + text + (-text) % 8 + int(sizes.sum())
