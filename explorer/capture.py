"""What layers read: activations and gradients at the inputs of conv and linear calls, on chosen images.

Calls are met by watching torch's functions rather than by hooks on modules: nothing is attached to anyone's
model.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from explorer.data.fitting import require_labels, require_logits, taking
from explorer.values import ChannelGraph

READERS = {
    torch.conv1d, torch.conv2d, torch.conv3d, torch.conv_transpose1d, torch.conv_transpose2d, torch.conv_transpose3d,
    functional.linear,
}  # fmt: skip


class _Watch(TorchFunctionMode):
    def __init__(
        self,
        model: nn.Module,
        graph: ChannelGraph,
        observe: Callable[[int, Tensor], Tensor],
        answered: Callable[[int, Tensor], object],
    ) -> None:
        super().__init__()
        self._observe, self._answered = observe, answered
        self._places: dict[int, list[int]] = {}  # a weight -> the layers that it serves, in order
        parameters = dict(model.named_parameters())
        for place in reversed(range(len(graph.layers))):
            self._places.setdefault(id(parameters[graph.layers[place].weight]), []).append(place)

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in READERS and len(args) > 1 and (places := self._places.get(id(args[1]))):
            place = places.pop()
            answer = func(self._observe(place, args[0]), *args[1:], **(kwargs or {}))
            self._answered(place, answer)
            return answer
        return func(*args, **(kwargs or {}))


def _unnoted(_layer: int, _answer: Tensor) -> None:
    """Nobody wants to see the layers' outputs."""


def run(
    model: nn.Module,
    graph: ChannelGraph,
    inputs: Tensor,
    observe: Callable[[int, Tensor], Tensor],
    answered: Callable[[int, Tensor], object] = _unnoted,
) -> Any:
    """The model's output; meanwhile, layer number k of the graph is given `observe(k, input)` as its input.

    `answered(k, output)` is then called with what the layer itself returns, before batch norm. Layers are
    recognised by their weights, so that calls that are no layer of the graph do not matter. Raises BadInput
    where the model cannot take the inputs.
    """
    hint = f"The graph was traced for images of shape {graph.input_shape}."
    with taking(type(model).__name__, inputs, hint), _Watch(model, graph, observe, answered):
        return model(inputs)


def channel_axis(graph: ChannelGraph, layer: int) -> int:
    """The dimension of a layer's input that carries its channels."""
    return -1 if graph.layers[layer].kind == "linear" else 1


def per_channel(x: Tensor, axis: int) -> Tensor:
    """(N, ..., C, ...) -> (N, C, positions)."""
    return x.movedim(axis, 1).flatten(2) if x.dim() > 2 else x.unsqueeze(-1)


def read_layers(graph: ChannelGraph) -> list[int]:
    """Indices of the layers that sum over channels of prunable groups (depthwise ones only pass them on)."""
    reads = {slot.tensor for group in graph.prunable for slot in group.slots if slot.reads}
    return [index for index, layer in enumerate(graph.layers) if layer.weight in reads]


def gate_gradients(
    model: nn.Module, graph: ChannelGraph, inputs: Tensor, labels: Tensor | None
) -> dict[str, Tensor]:
    """Derivative of every image's loss by a gate on each unit, where its readers read it.

    A gate g multiplies a unit's channels at the inputs of all layers that read them; g = 1 is the network as
    it is and g = 0 the masked one. Returns {group: float (N, units)}: dL_n / dg at g = 1, L the
    cross-entropy. Without labels (None) the network's own top-1 classes are taken for them. The model must be
    in eval mode, so that images do not influence each other.
    """
    chosen = set(read_layers(graph))
    gates: dict[int, Tensor] = {}

    def observe(call: int, x: Tensor) -> Tensor:
        if call not in chosen:
            return x
        axis = channel_axis(graph, call)
        shape = [1] * x.dim()
        shape[0], shape[axis] = x.shape[0], x.shape[axis]
        gates[call] = torch.ones(shape, requires_grad=True)
        return x * gates[call]

    with torch.enable_grad():
        answer = run(model, graph, inputs, observe)
        logits = require_logits(type(model).__name__, answer, len(inputs))
        labels = logits.detach().argmax(1) if labels is None else labels
        require_labels(labels, logits)
        loss = functional.cross_entropy(logits, labels, reduction="sum")
        wanted = list(gates.values())
        gradients = torch.autograd.grad(loss, wanted, materialize_grads=True) if wanted else ()
    totals = {group.id: torch.zeros(len(inputs), group.size) for group in graph.prunable}
    for call, gradient in zip(gates, gradients, strict=True):
        flat = per_channel(gradient, channel_axis(graph, call))[:, :, 0]
        for group, rows, units in units_read(graph, call):
            totals[group].index_add_(1, units, flat[:, rows])
    return totals


def units_read(graph: ChannelGraph, layer: int) -> list[tuple[str, Tensor, Tensor]]:
    """For each prunable group that a layer reads: (group, input positions int64, their units int64)."""
    found = []
    pairs = graph.layers[layer].in_units
    for place, group in enumerate(graph.groups):
        rows = (pairs[:, 0] == place).nonzero()[0]
        if group.prunable and len(rows):
            found.append((group.id, torch.from_numpy(rows), torch.from_numpy(pairs[rows, 1]).long()))
    return found


def input_statistic(
    model: nn.Module, graph: ChannelGraph, batches: Iterator[Tensor], statistic: Callable[[Tensor], Tensor]
) -> dict[str, Tensor]:
    """Mean over images, positions and readers of an elementwise statistic of what readers are given.

    `statistic` maps (N, C, positions) to the same shape. Returns {group: float64 (units,)}.
    """
    chosen = set(read_layers(graph))
    sums: dict[int, Tensor] = {}
    images = 0

    def observe(call: int, x: Tensor) -> Tensor:
        if call in chosen:
            values = statistic(per_channel(x, channel_axis(graph, call))).double().mean(-1).sum(0)
            sums[call] = sums[call] + values if call in sums else values
        return x

    with torch.inference_mode():
        for inputs in batches:
            images += len(inputs)
            run(model, graph, inputs, observe)
    totals = {group.id: torch.zeros(group.size, dtype=torch.float64) for group in graph.prunable}
    counts = {group.id: torch.zeros(group.size, dtype=torch.float64) for group in graph.prunable}
    for call, values in sums.items():
        for group, rows, units in units_read(graph, call):
            totals[group].index_add_(0, units, values[rows] / images)
            counts[group].index_add_(0, units, torch.ones(len(rows), dtype=torch.float64))
    return {group: totals[group] / counts[group] for group in totals}
