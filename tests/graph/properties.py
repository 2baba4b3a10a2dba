"""What must hold for any network and plan: masked = shrunk, costs = counted, and a proof that wrong surgery fails.

Every function takes a network with live weights in float32 and returns what is wrong as sentences (empty: nothing).
"""

import copy
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

import explorer
from explorer.surgery import removed_positions
from explorer.values import ChannelGraph, Plan
from tests.counting import counted_macs, counted_params

Inputs = tuple[Tensor, ...]
PRECISE = 1e-9  # relative, in float64


def joined(outputs: Any) -> Tensor:
    """All floating outputs, flattened and joined."""
    return torch.cat([leaf.flatten() for leaf in tree_leaves(outputs) if leaf.is_floating_point()])


def logits(model: nn.Module, inputs: Inputs) -> Tensor:
    with torch.no_grad():
        return joined(model(*inputs))


def double(inputs: Inputs) -> Inputs:
    return tuple(tensor.double() for tensor in inputs)


def as_images(inputs: Inputs) -> Any:
    """How the explorer takes inputs: one tensor, or a tuple of several."""
    return inputs[0] if len(inputs) == 1 else inputs


def wrong_costs(graph: ChannelGraph, plan: Plan | None, model: nn.Module, inputs: Inputs) -> list[str]:
    """The graph's cost of a plan against what the network that it leaves executes and holds; one example."""
    found = explorer.cost(graph, plan)
    once = dict(model.state_dict())
    for other, first in graph.ties:
        if other in once and first in once:
            del once[other]
    expected = {
        "macs": counted_macs(model, *inputs),
        "params": counted_params(model),
        "file_bytes": len(save({name: tensor.contiguous() for name, tensor in once.items()})),
    }
    fixed = sum(call.macs for call in graph.fixed)
    if sum(found.layer_macs) + fixed != found.macs:
        return [
            f"MACs {found.macs} are not those of the layers {sum(found.layer_macs)} and fixed calls {fixed}"
        ]
    return [
        f"{name}: said {getattr(found, name)}, counted {n}"
        for name, n in expected.items()
        if getattr(found, name) != n
    ]


def wrong_widths(graph: ChannelGraph, plan: Plan, again: ChannelGraph) -> list[str]:
    """The shrunk network, traced again, has the same layers with the widths of the plan."""

    def stays(group: int, unit: int) -> bool:
        kept = None if group < 0 else plan.keep.get(graph.groups[group].id)
        return kept is None or bool(kept[unit])

    if [layer.name for layer in again.layers] != [layer.name for layer in graph.layers]:
        return ["the shrunk network has other layers"]
    wrong = []
    for layer, small in zip(graph.layers, again.layers, strict=True):
        for side in ("in_units", "out_units"):
            expected = sum(stays(group, unit) for group, unit in getattr(layer, side).tolist())
            if len(getattr(small, side)) != expected:
                wrong.append(f"{layer.name} has {len(getattr(small, side))} {side}, the plan says {expected}")
    return wrong


def readers(graph: ChannelGraph) -> list[tuple[str, int]]:
    """Every (tensor, dimension) that an operator sums over and that a plan may cut."""
    return sorted({(slot.tensor, slot.dim) for group in graph.prunable for slot in group.slots if slot.reads})


def mutable_readers(graph: ChannelGraph, plan: Plan) -> list[tuple[str, int]]:
    """The readers that keep columns of two units at least: of one unit, any order of columns may be right."""
    units: dict[tuple[str, int], int] = {}
    for group in graph.groups:
        kept = plan.widths.get(group.id, group.size)
        for slot in group.slots:
            units[slot.tensor, slot.dim] = units.get((slot.tensor, slot.dim), 0) + kept
    return [place for place in readers(graph) if units[place] > 1]


def tensors_of(model: nn.Module) -> dict[str, Tensor]:
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def heard_noise(
    graph: ChannelGraph, plan: Plan, model: nn.Module, inputs: Inputs, precision: float
) -> list[str]:
    """Non-interference: noise in whatever produces removed channels must not move the masked outputs."""
    noisy = copy.deepcopy(model).eval()
    tensors, reads = tensors_of(noisy), set(readers(graph))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for (name, dim), gone in removed_positions(graph, plan).items():
            if (name, dim) in reads:
                continue
            rows = tensors[name].index_select(dim, gone.nonzero().flatten())
            noise = (
                torch.rand(rows.shape, dtype=rows.dtype, generator=generator) + 0.5
            )  # positive: variances must stay so
            tensors[name].index_copy_(dim, gone.nonzero().flatten(), rows + noise)
    quiet = logits(explorer.mask(model, graph, plan), inputs)
    loud = logits(explorer.mask(noisy, graph, plan), inputs)
    moved = float((loud - quiet).abs().max() / quiet.abs().max())
    return (
        [f"noise in removed channels moves the masked outputs by {moved:.1e}"]
        if not moved <= precision
        else []
    )


def gradients(model: nn.Module, names: list[str], inputs: Inputs) -> list[Tensor]:
    """Of a random combination of the outputs, with respect to parameters; zeros where they are not used, and of a
    network that autograd refuses: what a ReLU answered is changed in place.
    """
    outputs = joined(model(*inputs))
    weights = [model.get_parameter(name) for name in names]
    generator = torch.Generator().manual_seed(0)
    mixed = outputs @ torch.randn(outputs.shape, dtype=outputs.dtype, generator=generator)
    try:
        return list(torch.autograd.grad(mixed, weights, materialize_grads=True))
    except RuntimeError as error:
        if "inplace operation" not in str(error):
            raise
        return [torch.zeros_like(weight) for weight in weights]


def visible(graph: ChannelGraph, plan: Plan, model: nn.Module, inputs: Inputs) -> bool:
    """Whether the outputs of the dense network depend on any column that the plan takes from a reader, to first order
    by more than a millionth of their size: behind a norm of few numbers some hardly do.
    """
    removed = removed_positions(graph, plan)
    places = [place for place in readers(graph) if place in removed]
    if not places:
        return False
    slopes = gradients(model, [name for name, _ in places], inputs)
    least = 1e-6 * float(logits(model, inputs).abs().max())
    return any(
        bool(
            (
                (slope * model.get_parameter(name))
                .index_select(dim, removed[name, dim].nonzero().flatten())
                .abs()
                > least
            ).any()
        )
        for (name, dim), slope in zip(places, slopes, strict=True)
    )


def unnoticed_mutations(
    shrunk: nn.Module, places: list[tuple[str, int]], inputs: Inputs, precision: float
) -> list[str]:
    """Readers whose kept columns can be rolled by one without the outputs moving more than the proof allows.

    A reader without a gradient (behind a ReLU that is shut for all inputs, or run in training only) cannot judge,
    and is no fault; nor can one whose channels are all alike (the padding's number is the largest everywhere, say).
    """
    if not places:
        return []
    expected = logits(shrunk, inputs)
    slopes = gradients(shrunk, [name for name, _ in places], inputs)
    wrong = []
    for (name, dim), slope in zip(places, slopes, strict=True):
        if not slope.any() or torch.allclose(slope, slope.roll(1, dim)):
            continue
        weight = shrunk.get_parameter(name)
        right = weight.detach().clone()
        with torch.no_grad():
            weight.copy_(right.roll(1, dim))
            moved = (logits(shrunk, inputs) - expected).abs().max()
            weight.copy_(right)
        if not moved > precision * expected.abs().max():
            wrong.append(f"rolling dimension {dim} of {name} goes unnoticed")
    return wrong
