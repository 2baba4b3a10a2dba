"""What layers read: activations and gradients at the inputs of conv and linear calls, on chosen images.

Calls are met by watching torch's functions rather than by hooks on modules: nothing is attached to anyone's
model.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from explorer.data.fitting import taking
from explorer.data.tasks import Own, Regression, Task, guess
from explorer.errors import ExplorerError
from explorer.graph.inputs import Batch, call_model
from explorer.values import ChannelGraph

_CONVOLUTION = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
_TRANSPOSED = ("input", "weight", "bias", "stride", "padding", "output_padding", "groups", "dilation")
READERS: dict[Any, tuple[str, ...]] = {
    **dict.fromkeys((torch.conv1d, torch.conv2d, torch.conv3d), _CONVOLUTION),
    **dict.fromkeys((torch.conv_transpose1d, torch.conv_transpose2d, torch.conv_transpose3d), _TRANSPOSED),
    functional.linear: ("input", "weight", "bias"),
}
"""The functions that layers call, and the names of their arguments in order."""


def _open(function: Any) -> Any:
    """A function of torch.nn.functional that does not hide the calls inside it from whoever watches."""
    seen = function.__globals__ | {"has_torch_function": lambda _tensors: False}
    opened = FunctionType(
        function.__code__, seen, function.__name__, function.__defaults__, function.__closure__
    )
    opened.__kwdefaults__ = function.__kwdefaults__
    return opened


ATTENTION = _open(functional.multi_head_attention_forward)


class _Watch(TorchFunctionMode):
    def __init__(
        self,
        model: nn.Module,
        graph: ChannelGraph,
        observe: Callable[[int, Tensor], Tensor],
        answered: Callable[[int, Tensor], object],
        called: Callable[[int, Mapping[str, Any]], object],
    ) -> None:
        super().__init__()
        self._observe, self._answered, self._called = observe, answered, called
        self._sequence: tuple[int, ...] = ()  # (L, N) inside torch's attention
        self._places: dict[int, list[int]] = {}  # a weight -> the layers that it serves, in order
        parameters = dict(model.named_parameters())
        for place in reversed(range(len(graph.layers))):
            weight = parameters.get(graph.layers[place].weight)
            if weight is not None:  # else a shrunk network's, of which nothing is left to read
                self._places.setdefault(id(weight), []).append(place)

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func is functional.multi_head_attention_forward:
            with self._inside(args[0] if args else kwargs["query"]):
                return ATTENTION(*args, **kwargs)
        if func in READERS:
            named = dict(zip(READERS[func], args, strict=False)) | kwargs
            if places := self._places.get(id(named.get("weight"))):
                place, sequence = places.pop(), self._sequence
                given, weight = named.pop("input"), named.pop("weight")
                with torch._C.DisableTorchFunction():  # what we do here is no part of the network
                    self._called(place, named)
                    x = self._observe(place, _images_first(given, sequence))
                    if sequence:
                        x = x.transpose(0, 1).reshape(given.shape)
                answer = func(x, weight, **named)
                with torch._C.DisableTorchFunction():
                    self._answered(place, _images_first(answer, sequence))
                return answer
        return func(*args, **kwargs)

    @contextmanager
    def _inside(self, query: Tensor) -> Iterator[None]:
        """Inside torch's attention, which puts the sequence before the images: (L, N, C), or (L * N, C)."""
        self._sequence = tuple(query.shape[:2]) if query.dim() == 3 else ()
        try:
            with self:
                yield
        finally:
            self._sequence = ()


def _images_first(x: Tensor, sequence: tuple[int, ...]) -> Tensor:
    """(L, N, C) or (L * N, C) -> (N, L, C); any tensor as it is where there is no sequence (L, N)."""
    return x.reshape(*sequence, -1).transpose(0, 1) if sequence else x


def _unnoted(_layer: int, _of_it: Any) -> None:
    """Nobody wants to know."""


def run(
    model: nn.Module,
    graph: ChannelGraph,
    inputs: Batch,
    observe: Callable[[int, Tensor], Tensor],
    answered: Callable[[int, Tensor], object] = _unnoted,
    called: Callable[[int, Mapping[str, Any]], object] = _unnoted,
) -> Any:
    """The model's output; meanwhile, layer number k of the graph is given `observe(k, input)` as its input.

    Before that, `called(k, arguments)` is told of its other arguments (bias, stride, ...) as far as they are given;
    `answered(k, output)` is then called with what the layer itself returns, before batch norm. Layers are
    recognised by their weights, so that calls that are no layer of the graph do not matter. Raises BadInput
    where the model cannot take the inputs.
    """
    hint = f"The graph was traced for images of shape {graph.input_shape}."
    with taking(type(model).__name__, inputs, hint), _Watch(model, graph, observe, answered, called):
        return call_model(model, inputs)


def channel_axis(graph: ChannelGraph, layer: int) -> int:
    """The dimension of a layer's input that carries its channels."""
    return -1 if graph.layers[layer].kind == "linear" else 1


def per_channel(x: Tensor, axis: int) -> Tensor:
    """(N, ..., C, ...) -> (N, C, positions)."""
    return x.movedim(axis, 1).flatten(2) if x.dim() > 2 else x.unsqueeze(-1)


def require_images_first(graph: ChannelGraph, layer: int, x: Tensor, inputs: Batch) -> Tensor:
    """What a layer is given or returns, `x`, where its dimension 0 is the images of `inputs`.

    Raises ExplorerError where it is windows of images, or a sequence.
    """
    here = graph.layers[layer]
    # With as many steps as images, a sequence shows only by where the images went.
    steps, traced = (x.shape[1:-1], here.in_shape[:-1]) if here.kind == "linear" else ((), ())
    same_size = tuple(inputs.shape[1:]) == graph.input_shape
    swapped = same_size and tuple(steps[:1]) == (len(inputs),) and tuple(steps) != traced
    if len(x) != len(inputs) or swapped:
        raise ExplorerError(
            f"What {here.name} computes cannot be told apart by image: for {len(inputs)} images it has shape "
            f"{tuple(x.shape)}, whose first dimension is not the images but windows or a sequence. To rank channels, "
            "use l1, l2, fpgm or mean_activation, which need no images apart."
        )
    return x


def require_met(graph: ChannelGraph, layers: Iterable[int]) -> None:
    """Raise ExplorerError if any of these layers, whose calls were not met, is left."""
    if names := [graph.layers[layer].name for layer in sorted(layers)]:
        raise ExplorerError(
            f"The network ran without a call of {', '.join(names)} that could be seen: its weight was given to no "
            "convolution or linear call as it is. To rank channels, use l1, l2 or fpgm, which look at weights only."
        )


def read_layers(graph: ChannelGraph) -> list[int]:
    """Indices of the layers that sum over channels of prunable groups (depthwise ones only pass them on)."""
    reads = {slot.tensor for group in graph.prunable for slot in group.slots if slot.reads}
    return [index for index, layer in enumerate(graph.layers) if layer.weight in reads]


def gate_gradients(
    model: nn.Module, graph: ChannelGraph, inputs: Batch, targets: Tensor | None, task: Task | None = None
) -> dict[str, Tensor]:
    """Derivative of every image's loss by a gate on each unit, where its readers read it.

    A gate g multiplies a unit's channels at the inputs of all layers that read them; g = 1 is the network as
    it is and g = 0 the masked one. Returns {group: float (N, units)}: dL_n / dg at g = 1, L the
    loss of the `task` (None: it is guessed). Without targets (None) the network's own decisions are taken for them;
    of numbers, which lose nothing against themselves, L is their sum with signs drawn at random (always the same ones),
    so that its squared derivative is, on average, that of the outputs. The model must be
    in eval mode, so that images do not influence each other. Raises ExplorerError where a reader's call is not
    met, or is not given one image per row.
    """
    chosen = set(read_layers(graph))
    gates: dict[int, Tensor] = {}

    def observe(call: int, x: Tensor) -> Tensor:
        if call not in chosen:
            return x
        require_images_first(graph, call, x, inputs)
        axis = channel_axis(graph, call)
        shape = [1] * x.dim()
        shape[0], shape[axis] = x.shape[0], x.shape[axis]
        gates[call] = torch.ones(shape, dtype=x.dtype, requires_grad=True)
        return x * gates[call]

    with torch.enable_grad():
        answer = run(model, graph, inputs, observe)
        require_met(graph, chosen - gates.keys())
        loss = _loss(type(model).__name__, answer, targets, task, len(inputs))
        wanted = list(gates.values())
        gradients = torch.autograd.grad(loss, wanted, materialize_grads=True) if wanted else ()
    totals = {group.id: torch.zeros(len(inputs), group.size) for group in graph.prunable}
    for call, gradient in zip(gates, gradients, strict=True):
        flat = per_channel(gradient, channel_axis(graph, call))[:, :, 0].float()
        for group, rows, units in units_read(graph, call):
            totals[group].index_add_(1, units, flat[:, rows])
    return totals


def _loss(name: str, answer: Any, targets: Tensor | None, task: Task | None, count: int) -> Tensor:
    """The sum of the losses of `count` images, see `gate_gradients`."""
    if task is None or (targets is None and isinstance(task, Own)):
        task = guess(name, answer, targets)
    outputs = task.outputs(name, answer, count)
    if targets is not None:
        return task.losses(outputs, task.matched(targets, outputs)).sum()
    if isinstance(task, Regression):
        signs = torch.randint(2, outputs.shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
        return (outputs * signs).sum() / math.sqrt(max(1, outputs[0].numel()))
    return task.losses(outputs, task.as_targets(outputs.detach())).sum()


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
    model: nn.Module, graph: ChannelGraph, batches: Iterator[Batch], statistic: Callable[[Tensor], Tensor]
) -> dict[str, Tensor]:
    """Mean over images, positions and readers of an elementwise statistic of what readers are given.

    `statistic` maps (C, values) to the same shape. Returns {group: float64 (units,)}. Raises ExplorerError where
    a reader's call is not met.
    """
    chosen = set(read_layers(graph))
    sums: dict[int, Tensor] = {}
    images = 0

    def observe(call: int, x: Tensor) -> Tensor:
        if call in chosen:
            flat = x.movedim(channel_axis(graph, call), 0).flatten(1)  # windows and sequences too
            values = statistic(flat).double().mean(1) * len(inputs)
            sums[call] = sums[call] + values if call in sums else values
        return x

    with torch.inference_mode():
        for inputs in batches:
            images += len(inputs)
            run(model, graph, inputs, observe)
            require_met(graph, chosen - sums.keys())
    totals = {group.id: torch.zeros(group.size, dtype=torch.float64) for group in graph.prunable}
    counts = {group.id: torch.zeros(group.size, dtype=torch.float64) for group in graph.prunable}
    for call, values in sums.items():
        for group, rows, units in units_read(graph, call):
            totals[group].index_add_(0, units, values[rows] / images)
            counts[group].index_add_(0, units, torch.ones(len(rows), dtype=torch.float64))
    return {group: totals[group] / counts[group] for group in totals}
