"""Rules of attention and other products of two activations: their channels stay, their MACs are counted.

Projections inside torch's and torchvision's attention are layers of the network, but frozen: heads and embedding stay.
"""

import math
from typing import Any

from torch import Tensor

from explorer.graph.elementwise import joined
from explorer.graph.hollow import einsum_sizes
from explorer.graph.labels import Value
from explorer.graph.walk import Call, freeze_everything


def matrix_product(call: Call) -> Any:
    """A product of two activations: every axis freezes; its MACs are counted."""
    first, second = call.input, call.argument(1, "mat2", call.kwargs.get("other"))
    reason = f"{call.place} multiplies two activations"
    for value in (first, second):
        call.freeze(value, reason)
    call.walk.fix(call, math.prod(call.shape) * first.shape[-1], reason)
    return call.plain()


def einsum(call: Call) -> Any:
    """A product of activations by torch.einsum: every axis freezes; one multiply-add per combination of letters.

    Where nothing is summed it is a product of elements.
    """
    _, sizes = einsum_sizes(call.args[0], [value.shape for value in call.values])
    summed = math.prod(sizes.values()) > math.prod(call.shape)
    left, _, right = call.args[0].replace(" ", "").partition("->")
    terms = left.split(",")
    if (
        not summed
        and right
        and all(len(set(term)) == len(term) and "." not in term for term in (*terms, right))
    ):
        return _product(call, [_laid_out(*each, right) for each in zip(call.values, terms, strict=True)])
    reason = f"{call.place} multiplies two activations"
    for value in call.values:
        call.freeze(value, reason)
    if summed:
        call.walk.fix(call, math.prod(sizes.values()), reason)
    return call.plain()


def _laid_out(value: Value, term: str, right: str) -> Value:
    """An operand with its dimensions in the order of the result's letters, length 1 where it has none."""

    def moved(tensor: Tensor) -> Tensor:
        tensor = tensor.permute([term.index(letter) for letter in right if letter in term])
        for place, letter in enumerate(right):
            if letter not in term:
                tensor = tensor.unsqueeze(place)
        return tensor

    shape = tuple(value.shape[term.index(letter)] if letter in term else 1 for letter in right)
    return Value(shape, tuple(moved(field) for field in value.fields), value.origin)


def _product(call: Call, operands: list[Value]) -> Value:
    first, *others = operands
    for other in others:
        first = joined(call, first, other)
    return Value(call.shape, tuple(field.expand(call.shape) for field in first.fields), call.place)


def _projection(call: Call, x: Value, weight: str, positions: int, reason: str) -> None:
    """A linear layer inside an attention: weight (outputs, inputs), applied at so many positions."""
    outputs, inputs = _shape(call, weight)
    produced = call.walk.axis(weight, 0, outputs)
    call.walk.ties.freeze(produced, reason)
    labels: Tensor = call.walk.axis(weight, 1, inputs)
    call.walk.ties.freeze(labels, reason)
    call.walk.layer(
        call,
        weight.removesuffix("_weight").removesuffix(".weight"),
        "linear",
        weight,
        x,
        out_shape=(*x.shape[1:-1], outputs),
        kernel=(),
        in_labels=labels,
        out_labels=produced,
        positions=positions,
    )


def _shape(call: Call, name: str) -> tuple[int, int]:
    outputs, inputs = call.walk.traced.twin.module.get_parameter(name).shape
    return outputs, inputs


def multi_head_attention(call: Call) -> Any:
    """nn.MultiheadAttention: projections of queries, keys and values and of the answer, scores, weighted sums."""
    query, key = call.input, call.argument(1, "key")
    module, packed = call.module, call.tensor("in_proj_weight")
    heads, products = (
        f"{call.place} splits the embedding into heads",
        f"{call.place} multiplies two activations",
    )
    for value in call.values:
        call.freeze(value, heads)
    first, then = (0, 1) if module.batch_first else (1, 0)
    batched = len(query.shape) == 3
    batch, targets = (query.shape[first], query.shape[then]) if batched else (1, query.shape[0])
    sources = key.shape[then] if batched else key.shape[0]
    width = module.embed_dim
    seen = sources + (module.bias_k is not None) + module.add_zero_attn
    call.walk.fix(call, 2 * batch * targets * seen * width, products)
    if packed and targets == sources and batched:  # the packed weight holds three projections, a third each
        _projection(call, query, packed, batch * targets, heads)
        out = call.walk.traced.twin.tensors[f"{call.node.target}.out_proj.weight"]
        _projection(call, query, out, batch * targets, heads)
        return call.plain()
    projections = 2 * targets * width + sources * (module.kdim + module.vdim)
    call.walk.fix(call, batch * width * projections, heads)
    return freeze_everything(call, heads)


def shifted_window_attention(call: Call) -> Any:
    """torchvision's Swin attention on (N, H, W, C), padded to whole windows."""
    x, window = call.input, call.argument(4, "window_size")
    reason = f"{call.place} splits the embedding into heads"
    for value in call.values:
        call.freeze(value, reason)
    rows, columns = (math.ceil(side / size) * size for side, size in zip(x.shape[1:3], window, strict=True))
    positions = x.shape[0] * rows * columns
    _projection(call, x, call.argument(1, "qkv_weight").parameter, positions, reason)
    macs = 2 * positions * math.prod(window) * x.shape[3]
    call.walk.fix(call, macs, f"{call.place} multiplies two activations")
    _projection(call, x, call.argument(2, "proj_weight").parameter, positions, reason)
    return call.plain()
