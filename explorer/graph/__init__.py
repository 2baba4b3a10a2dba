"""Reads a network: which layers it has, which channels are coupled, and why some cannot be pruned.

`trace` runs two walks, in eval and in train mode, so that heads that exist only in training are coupled too.
"""

import threading
from collections.abc import Mapping
from types import MappingProxyType

from torch import fx, nn

from explorer.errors import BadInput, CannotTrace
from explorer.graph.binding import bind_numbers
from explorer.graph.copies import Twin, hollow_copy
from explorer.graph.deadline import Deadline
from explorer.graph.inputs import Batch, Example, form_of, inputs_of, tensors_of
from explorer.graph.labels import Value
from explorer.graph.paths import IMAGE
from explorer.graph.randomness import same_random_numbers
from explorer.graph.rules import has_rule, rule_for
from explorer.graph.terms import activation_axes, build_terms
from explorer.graph.tracing import DoesNotRun, Traced, Untraceable, run_hollow, runs
from explorer.graph.units import Units, find_units
from explorer.graph.walk import Walk, changes_its_weights
from explorer.values import ChannelGraph, Layer, content_key

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)

ONE_IMAGE = (
    "The forward is traced with one image, whatever the batch of the example. If it takes a batch apart, as pairs or "
    "halves, give the parts as inputs of their own (a tuple), or as one input (1, parts, channels, height, width)."
)

_TRACING = threading.Lock()  # one at a time: front ends patch nn.Module and more for the whole process

__all__ = ["trace"]


def trace(model: nn.Module, example: Example) -> ChannelGraph:
    """The channel graph of a model for inputs of the example's shape (N, C, H, W), or for several inputs.

    Several are a tuple, list or dict of them: `explorer.graph.inputs.arguments` says how the forward gets them.

    The forward is followed by torch.fx, and where that fails by torch.export. The model is neither run nor
    changed. Raises BadInput for arguments of the wrong type and CannotTrace where neither can follow the forward,
    with the lines that stopped them, where the example does not fit, or after a minute.
    """
    if not isinstance(model, nn.Module):
        raise BadInput(f"trace takes a torch.nn.Module, not {type(model).__name__}. Pass network.model.")
    inputs = inputs_of(model, example)
    walk = Walk()
    try:
        with _TRACING, same_random_numbers(), Deadline(type(model).__name__):
            traced, front_end = _walked(walk, hollow_copy(model), inputs)
    except CannotTrace as error:
        if len(inputs) > 1:
            raise CannotTrace(f"{error} {ONE_IMAGE}") from error
        raise
    _check_images(walk, traced)
    bind_numbers(walk)
    walk.freeze_read_widths()
    axes = activation_axes(walk, traced)
    units = find_units(walk, [labels for found in axes.values() for labels in found])
    layers = tuple(
        Layer(
            name=call.name,
            kind=call.kind,
            weight=call.weight,
            in_shape=call.in_shape,
            out_shape=call.out_shape,
            kernel=call.kernel,
            in_units=units.pairs(call.in_labels),
            out_units=units.pairs(call.out_labels),
        )
        for call in walk.layers
    )
    if not layers:
        raise CannotTrace(
            f"{type(model).__name__} has no convolution or linear layer that the explorer knows, so there is "
            "nothing to prune. Layers are torch.nn's Conv1d-3d, their transposed forms and Linear, or the functions "
            "of these names on parameters."
        )
    shapes = {name: tuple(tensor.shape) for name, tensor in traced.twin.state.items()}
    edges, entries, exits = _connections(walk, traced)
    input_shape, *more = (tuple(each.shape[1:]) for each in tensors_of(inputs))
    return ChannelGraph(
        layers=layers,
        groups=units.groups,
        edges=edges,
        input_shape=input_shape,
        folds=_folds(traced),
        attributes=tuple(sorted(walk.attributes)),
        shapes=MappingProxyType(shapes),
        ties=tuple((name, first) for name, first in traced.twin.tensors.items() if name != first),
        terms=build_terms(walk, traced, units, axes),
        key=_key(layers, units, shapes, input_shape),
        entries=entries,
        exits=exits,
        fixed=tuple(walk.fixed),
        front_end=front_end,
        more_inputs=tuple(more),
        form=form_of(inputs),
    )


def _check_images(walk: Walk, traced: Traced) -> None:
    """Raise CannotTrace where a tensor that carries channels is of no image: a part of a batch of one."""
    for node, value in walk.values.items():
        if isinstance(value, Value) and value.fields and 0 in value.shape:
            line = f" ({node.meta['line']})" if "line" in node.meta else ""
            raise CannotTrace(
                f"{traced.twin.name} takes a part of its batch at {node.name}{line}, and of one image nothing is left: "
                f"shape {value.shape}. {ONE_IMAGE}"
            )


def _walked(walk: Walk, twin: Twin, inputs: Batch) -> tuple[Traced, str]:
    """Walk over the training forward, then over the one in eval, which is returned and gives the layers.

    Where no module asks whether it trains, the two are the same. A model whose training forward cannot be traced
    is taken as it is in eval, provided that this reaches all of its parameters: what is never reached, such as an
    auxiliary head, could read channels that a plan removes.
    """
    in_eval, front_end = _traced(twin, inputs)
    assert in_eval is not None  # without another to compare with
    if in_eval.reads.training:
        try:
            in_training, _ = _traced(twin, inputs, in_eval)
        except CannotTrace:
            reached = {str(node.target) for node in in_eval.results if node.op in ("call_module", "get_attr")}
            for name, _ in twin.module.named_parameters():
                if name not in reached and name.rpartition(".")[0] not in reached:
                    raise
        else:
            if in_training is not None:
                walk.run(in_training, rule_for, record_layers=False)
    walk.run(in_eval, rule_for, record_layers=True)
    return in_eval, front_end


def _traced(twin: Twin, inputs: Batch, in_eval: Traced | None = None) -> tuple[Traced | None, str]:
    """The operations by torch.fx, else by torch.export, and the name of which. Raises CannotTrace if both fail.

    `in_eval` asks for those in training mode; None is returned where they are the same.
    """
    training = in_eval is not None
    try:
        return run_hollow(twin, inputs, training, has_rule, in_eval), "torch.fx"
    except (Untraceable, DoesNotRun) as first:
        if isinstance(first, DoesNotRun) and not runs(twin, inputs):
            raise
        # Loads torch's compiler, which plain networks do not need.
        from explorer.graph.exported import run_exported

        try:
            return run_exported(twin, inputs, training), "torch.export"
        except (Untraceable, DoesNotRun) as second:
            if isinstance(first, DoesNotRun):
                raise first from second
            when = "in training mode " if training else ""
            raise CannotTrace(
                f"{twin.name} cannot be read {when}by either front end. {first} {second} Control flow that "
                "depends on the data cannot be traced: move it out of forward, or pass the part of the network that "
                "is a plain CNN."
            ) from second


def _connections(
    walk: Walk, traced: Traced
) -> tuple[tuple[tuple[int, int], ...], tuple[int, ...], tuple[tuple[int, ...], ...]]:
    """What feeds what, directly or through other operators: the graph's edges, entries and exits."""
    index = {call.node: place for place, call in enumerate(walk.layers)}
    sources: dict[fx.Node, frozenset[int]] = {}
    edges = set()
    exits: list[tuple[int, ...]] = []
    for node in traced.results:
        reached = frozenset().union(*(sources[source] for source in node.all_input_nodes))
        if node.op == "output":
            exits += [tuple(sorted(sources[source])) for source in node.all_input_nodes]
        if node in index:
            edges |= {(source, index[node]) for source in reached}
        if node.op == "placeholder":
            reached = frozenset([IMAGE])
        elif node in index:
            reached = frozenset([index[node]])
        sources[node] = reached
    entries = tuple(sorted(reader for source, reader in edges if source == IMAGE))
    return tuple(sorted(edge for edge in edges if edge[0] != IMAGE)), entries, tuple(exits)


def _folds(traced: Traced) -> tuple[tuple[str, str], ...]:
    """Batch norms that directly follow a convolution: (convolution, batch norm).

    Each module is called once and nothing else uses its tensors: neither the forward nor another module.
    """
    shared = _shared_tensors(traced)
    calls = [node for node in traced.results if node.op == "call_module"]
    targets = [str(node.target) for node in calls]
    folds = []
    for node in calls:
        source = node.args[0] if node.args else None
        if not isinstance(source, fx.Node) or source.op != "call_module" or len(source.users) != 1:
            continue
        pair = str(source.target), str(node.target)
        modules = [traced.twin.modules[name] for name in pair]
        once = all(targets.count(name) == 1 for name in pair)
        kinds = type(modules[0]) in CONVOLUTIONS and type(modules[1]) in BATCH_NORMS
        read = {module for module, _ in traced.reads.widths}
        own = all(not changes_its_weights(traced, name) for name in pair) and not any(
            name in read or any(tensor.startswith(f"{name}.") for tensor in shared) for name in pair
        )
        if once and kinds and own and modules[1].track_running_stats:
            folds.append(pair)
    return tuple(folds)


def _shared_tensors(traced: Traced) -> set[str]:
    """All names of tensors that have several, and of those that the forward reads by itself."""
    names: dict[str, list[str]] = {}
    for name, first in traced.twin.tensors.items():
        names.setdefault(first, []).append(name)
    read = {str(node.target) for node in traced.results if node.op == "get_attr"}
    return read.union(*(found for found in names.values() if len(found) > 1))


def _key(
    layers: tuple[Layer, ...],
    units: Units,
    shapes: Mapping[str, tuple[int, ...]],
    input_shape: tuple[int, ...],
) -> str:
    parts: list[object] = [input_shape, sorted(shapes.items())]
    for layer in layers:
        parts += [layer.name, layer.in_units, layer.out_units]
    for group in units.groups:
        parts += [group.id, group.size, group.prunable]
    return content_key(*parts)
