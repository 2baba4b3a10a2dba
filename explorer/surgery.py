"""mask, shrink and prove: a plan applied to a network, from one index map so that they cannot disagree.

*mask* zeroes the removed columns where *readers* sum over them, and nothing upstream, so that sigmoid(0),
biases and batch norm's shift cannot leak. *shrink* builds the physically smaller network. *prove* compares
the two on real inputs. All work on copies.

Where all channels of a group are removed, the layers that produced them do nothing, and those that read nothing
else answer with their bias (`emptied`): mask and shrink agree there too.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from explorer.emptied import replace_emptied
from explorer.errors import BadInput, ExplorerError, NotReachable
from explorer.graph.checks import check_model, check_plan
from explorer.graph.copies import deep_copy
from explorer.graph.inputs import (
    Batch,
    Example,
    as_inputs,
    call_model,
    inputs_of,
    mapped,
    tensors_of,
    with_form,
)
from explorer.values import ChannelGraph, Plan, Proof

TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-9}
HALF_TOLERANCE = 1e-2  # float16 and bfloat16


def removed_positions(graph: ChannelGraph, plan: Plan) -> dict[tuple[str, int], Tensor]:
    """The index map: for every (tensor, dimension) that the plan touches, bool (length,), True = removed."""
    removed: dict[tuple[str, int], Tensor] = {}
    for group in graph.prunable:
        gone = ~plan.keep[group.id]
        if not gone.any():
            continue
        for slot in group.slots:
            here = torch.from_numpy((slot.unit >= 0) & gone[slot.unit])
            place = (slot.tensor, slot.dim)
            removed[place] = removed[place] | here if place in removed else here
    return removed


def mask(model: nn.Module, graph: ChannelGraph, plan: Plan) -> nn.Module:
    """A copy in eval mode in which nothing reads the removed channels: their columns in readers are zero.

    Raises BadInput if the plan or the model does not fit the graph, NotReachable if the plan leaves no path
    from the image to the outputs.
    """
    check_plan(graph, plan)
    check_model(graph, model)
    masked = deep_copy(model)
    masked.eval()  # a user's eval() may return nothing
    tensors = _all_tensors(masked)
    reads = {(slot.tensor, slot.dim) for group in graph.groups for slot in group.slots if slot.reads}
    with torch.no_grad():
        for (name, dim), gone in removed_positions(graph, plan).items():
            if (name, dim) in reads:
                tensors[name].index_fill_(dim, gone.nonzero().flatten(), 0)
    return masked


def shrink(model: nn.Module, graph: ChannelGraph, plan: Plan) -> nn.Module:
    """A copy in eval mode without the removed channels: smaller tensors in the user's own class.

    State-dict keys, ties and trainability stay, where groups are removed whole too: then convolutions and batch
    norms without weights are replaced. Raises BadInput if the plan or the model does not fit the graph,
    NotReachable if the plan leaves no path from the image to the outputs, or a tensor without channels that
    the forward cannot take.
    """
    check_plan(graph, plan)
    check_model(graph, model)
    kept: dict[str, list[tuple[int, Tensor]]] = {}
    for (name, dim), gone in removed_positions(graph, plan).items():
        kept.setdefault(name, []).append((dim, (~gone).nonzero().flatten()))
    memo: dict[int, Any] = {}
    originals = _all_tensors(model)
    for name, dims in kept.items():
        original = originals[name]
        smaller = original.detach()
        for dim, rows in dims:
            smaller = smaller.index_select(dim, rows)
        if isinstance(original, nn.Parameter):
            memo[id(original)] = nn.Parameter(smaller, requires_grad=original.requires_grad)
        else:
            memo[id(original)] = smaller
    shrunk = deep_copy(model, memo)
    shrunk.eval()
    tensors = _all_tensors(shrunk)
    for module, attribute, tensor, dim, numerator, denominator in graph.attributes:
        value = tensors[tensor].shape[dim] * numerator // denominator
        setattr(shrunk.get_submodule(module), attribute, value)
    _check_lengths(shrunk, graph, plan)
    emptied = [name for name, width in plan.widths.items() if width == 0]
    if emptied:
        _check_runs(replace_emptied(shrunk), graph, emptied)
    return shrunk


def _all_tensors(model: nn.Module) -> dict[str, Tensor]:
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def _check_lengths(shrunk: nn.Module, graph: ChannelGraph, plan: Plan) -> None:
    """Every slot must have the length that the plan predicts; anything else is a fault of ours."""
    lengths: dict[tuple[str, int], int] = {}
    for group in graph.groups:
        kept = plan.keep.get(group.id)
        for slot in group.slots:
            place = (slot.tensor, slot.dim)
            gone = 0 if kept is None else int(((slot.unit >= 0) & ~kept[slot.unit]).sum())
            lengths[place] = lengths.get(place, len(slot.unit)) - gone
    tensors = _all_tensors(shrunk)
    for (name, dim), length in lengths.items():
        if tensors[name].shape[dim] != length:
            raise ExplorerError(
                f"Shrinking left {name} with shape {tuple(tensors[name].shape)} where dimension {dim} should be "
                f"{length}. This is a fault of the explorer: please report it with the network."
            )


def _check_runs(shrunk: nn.Module, graph: ChannelGraph, emptied: list[str]) -> None:
    """Raise NotReachable if a forward cannot take tensors of no channels, such as functional pooling."""
    twin = deep_copy(shrunk)
    for module in twin.modules():
        module._forward_hooks.clear()  # a user's hooks must not see the zeros
        module._forward_pre_hooks.clear()
    dtype = next(parameter.dtype for parameter in twin.parameters() if parameter.is_floating_point())
    zeros = tuple(torch.zeros((2, *shape), dtype=dtype) for shape in (graph.input_shape, *graph.more_inputs))
    try:
        with torch.inference_mode(), torch.random.fork_rng(devices=[]):
            call_model(twin, with_form(zeros, graph.form))
    except Exception as error:  # whatever a user's forward may raise
        raise NotReachable(
            f"{type(shrunk).__name__} does not run without {', '.join(emptied)}: {error}. Keep at least 1 unit, or "
            "write the operator that cannot take a tensor of no channels as a module (nn.MaxPool2d instead of "
            "functional.max_pool2d)."
        ) from error


def _logits(model: nn.Module, inputs: Batch) -> Tensor:
    """All floating outputs of a model, flattened and joined. Raises BadInput where it has none or cannot run."""
    try:
        outputs = tree_leaves(call_model(model, inputs))
    except (RuntimeError, ValueError, TypeError, IndexError) as error:  # what does not fit the user's forward
        given = ", ".join(f"{tuple(each.shape)} and {each.dtype}" for each in tensors_of(inputs))
        raise BadInput(
            f"{type(model).__name__} cannot take inputs of shape {given}: {error}. "
            "Pass inputs of the shape that it was traced for, such as network.example."
        ) from error
    leaves = [leaf for leaf in outputs if isinstance(leaf, Tensor) and leaf.is_floating_point()]
    if not leaves:
        got = ", ".join(sorted({type(leaf).__name__ for leaf in outputs})) or "nothing"
        raise BadInput(
            f"{type(model).__name__} returns no floating-point tensor (it returns {got}), so there is nothing to "
            "compare. Pass a network that returns its logits as a tensor, or as a tuple, list or dict of tensors."
        )
    return torch.cat([leaf.flatten() for leaf in leaves])


def prove(model: nn.Module, graph: ChannelGraph, plan: Plan, images: Example) -> Proof:
    """Run the dense, the masked and the shrunk network on inputs (N, C, H, W) and compare their outputs.

    A network of several inputs is given a tuple, list or dict of them, as `trace` takes it.

    `max_difference` = largest |masked - shrunk|, `scale` = largest |masked|, `effect` = largest
    |masked - dense|, over all outputs in eval mode. The tolerance is 1e-4 x scale in float32 and 1e-9 x scale
    in float64. Float64 copies decide where float32 is in doubt, since deep networks magnify rounding: where it
    differs by more, or overflows, and for networks in halves; `precision` says which decided. The proof is of surgery
    on the model's own weights, before any recovery. A network that was never trained needs `live_weights` first:
    with plain random weights wrong surgery can go unnoticed. Raises BadInput where plan, model, graph and inputs do
    not fit.
    """
    inputs = as_inputs(images)
    if not tensors_of(inputs)[0].is_floating_point() or len(inputs) == 0:
        raise BadInput("prove takes a non-empty batch of floating-point inputs (N, channels, height, width).")
    found = _compared(model, graph, plan, inputs)
    equal = found.finite and found.max_difference <= found.tolerance * found.scale
    halves = any(value.dtype in (torch.float16, torch.bfloat16) for value in _all_tensors(model).values())
    if found.precision == "float64" or (equal and not halves):
        return found
    try:
        with _Narrowing() as narrowing:
            wide = mapped(inputs, lambda each: each.double() if each.is_floating_point() else each)
            exact = _compared(deep_copy(model).double(), graph, plan, wide)
    except Exception as error:  # noqa: BLE001  # whatever a user's forward may raise
        note = f"float64 could not decide, since {type(model).__name__} does not run in it: {error.__cause__ or error}"
        return replace(found, note=note)
    if not narrowing.found:
        return exact
    least = max(narrowing.found, key=_tolerance)
    name = str(least).removeprefix("torch.")
    note = (
        f"float64 could not decide, since the forward of {type(model).__name__} goes on in {name} by itself"
    )
    return replace(exact, tolerance=_tolerance(least), precision=name, note=note)


def _compared(model: nn.Module, graph: ChannelGraph, plan: Plan, inputs: Batch) -> Proof:
    """The proof by the model as it is, in the precision that its outputs have."""
    with torch.inference_mode():
        masked = _logits(mask(model, graph, plan), inputs)
        dense = deep_copy(model)
        dense.eval()
        before = _logits(dense, inputs)
        shrunk = _logits(shrink(model, graph, plan), inputs)
    finite = bool(torch.isfinite(torch.stack([before, masked, shrunk])).all())
    return Proof(
        max_difference=float((masked - shrunk).abs().max()),
        scale=float(masked.abs().max()),
        effect=float((masked - before).abs().max()),
        finite=finite,
        tolerance=_tolerance(masked.dtype),
        precision=str(masked.dtype).removeprefix("torch."),
    )


def _tolerance(dtype: torch.dtype) -> float:
    return TOLERANCE.get(dtype, HALF_TOLERANCE)


class _Narrowing(TorchDispatchMode):
    """Notes which types of fewer digits are computed from float64: what a forward casts by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[torch.dtype] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        result = func(*args, **given)
        if torch.float64 in _floating((args, given)):
            self.found |= _floating(result) - {torch.float64}
        return result


def _floating(tree: Any) -> set[torch.dtype]:
    leaves = tree_leaves(tree)
    return {leaf.dtype for leaf in leaves if isinstance(leaf, Tensor) and leaf.is_floating_point()}


def live_weights(model: nn.Module, example: Example, seed: int = 0) -> nn.Module:
    """A copy in eval mode whose weights are fit for a proof, although the network was never trained.

    Parameters that are constant (zero-initialised heads, layer scale, batch norm) get noise; batch norm's
    statistics come from one pass in train mode over noise like the example, and are then jittered. The
    global random state is left as it was. Raises BadInput where the model cannot take such inputs.
    """
    if not isinstance(model, nn.Module):
        raise BadInput(
            "live_weights takes a torch.nn.Module and an example input (1, channels, height, width)."
        )
    inputs = inputs_of(model, example)
    for each in tensors_of(inputs):
        if not each.is_floating_point():
            raise BadInput(
                f"live_weights takes a floating-point example, not {each.dtype}: its inputs are noise. Pass "
                "example.float(), normalised as the network expects."
            )
    live = deep_copy(model)
    live.train()
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for parameter in live.parameters():
            if parameter.numel() > 1 and bool((parameter == parameter.flatten()[0]).all()):
                parameter.add_(torch.empty_like(parameter).uniform_(-0.5, 0.5))
            elif parameter.numel() == 1:
                parameter.add_(0.1)
        batch = mapped(inputs, lambda each: torch.randn((8, *each.shape[1:]), dtype=each.dtype))
        norms = [(module, module.momentum) for module in live.modules() if isinstance(module, _BatchNorm)]
        for norm, _ in norms:
            norm.momentum = 1.0  # the pass alone sets the statistics
        _logits(live, batch)
        for norm, momentum in norms:
            norm.momentum = momentum
        for name, buffer in live.named_buffers():
            if name.endswith("running_mean"):
                spread = live.get_buffer(name.replace("running_mean", "running_var")).sqrt()
                buffer.add_(torch.randn_like(buffer) * 0.3 * spread)
            elif name.endswith("running_var"):
                buffer.mul_(torch.empty_like(buffer).uniform_(0.5, 1.5))
    live.eval()
    return live
