"""Whether what lies between a layer and its readers scales: phi(s y) = s phi(y) for s > 0, as of ReLU and pooling."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from explorer.capture import channel_axis, run, units_read
from explorer.errors import BadInput
from explorer.graph.copies import deep_copy
from explorer.graph.inputs import with_form
from explorer.repair.readers import OtherUses
from explorer.values import ChannelGraph

IMAGES = 2
SCALE = 64.0  # a power of two, exact in floating point, which ReLU6 and the like show


class _Scaling(TorchFunctionMode):
    """Multiplies the second half of what functions answer that are given one of some tensors."""

    def __init__(self, tensors: set[int]) -> None:
        super().__init__()
        self._tensors = tensors

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        answer = func(*args, **(kwargs or {}))
        given = any(id(leaf) in self._tensors for leaf in tree_leaves((args, kwargs)))
        if given and isinstance(answer, Tensor) and len(answer) == 2 * IMAGES:
            answer = torch.cat([answer[:IMAGES], SCALE * answer[IMAGES:]])
        return answer


def scaling_readers(
    model: nn.Module, graph: ChannelGraph, sources: Mapping[str, str]
) -> set[tuple[str, str]]:
    """Pairs (group, weight) of which all that the weight's layer reads of the group scales as its source does.

    `sources` names for each group a tensor of the layer that makes it, or of the batch norm behind that. One pass of
    noise: every image comes twice, the second time with the sources' answers scaled, and each reader is given both
    alike again. Nothing is known to scale where the network does not run on noise of the graph's shape, nor for
    weights that are used by other functions too.
    """
    model = deep_copy(model)
    model.eval()
    tensors = dict(model.named_parameters()) | dict(model.named_buffers())
    scales: dict[tuple[str, str], bool] = {}

    def observe(place: int, x: Tensor) -> Tensor:
        if len(x) != 2 * IMAGES:  # windows, or a sequence before the images
            return x
        weight = graph.layers[place].weight
        plain, scaled = (half.movedim(channel_axis(graph, place), 0).double() for half in x.chunk(2))
        for group, rows, _ in units_read(graph, place):
            if group in sources:
                same = torch.allclose(scaled[rows], SCALE * plain[rows], rtol=1e-3, atol=1e-6 * SCALE)
                seen = same and bool(plain[rows].any())
                scales[group, weight] = seen and scales.get((group, weight), True)
        return torch.cat([x[:IMAGES]] * 2)

    dtype = next((each.dtype for each in model.parameters() if each.is_floating_point()), torch.float32)
    generator = torch.Generator().manual_seed(0)
    noise = tuple(
        torch.randn((IMAGES, *shape), generator=generator).to(dtype).repeat(2, *[1] * len(shape))
        for shape in (graph.input_shape, *graph.more_inputs)
    )
    chosen = {id(tensors[name]) for name in sources.values()}
    others = OtherUses(model)
    with suppress(BadInput), torch.no_grad(), others, _Scaling(chosen):
        run(model, graph, with_form(noise, graph.form), observe)
        return {pair for pair, same in scales.items() if same and pair[1] not in others.found}
    return set()
