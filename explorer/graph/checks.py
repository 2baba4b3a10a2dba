"""That a plan or a model belongs to a graph, and which groups may go: asked by everything that takes them."""

from collections.abc import Collection, Mapping
from types import MappingProxyType

from torch import Tensor, nn

from explorer.errors import BadInput, NotReachable
from explorer.graph.paths import paths_of
from explorer.values import ChannelGraph, Plan


def check_plan(graph: ChannelGraph, plan: Plan) -> None:
    """Raise BadInput unless the plan is of this graph and names its prunable groups.

    Raises NotReachable if the image reaches the outputs no more through what the plan leaves.
    """
    check_graph(graph)
    if not isinstance(plan, Plan):
        raise BadInput(
            f"Expected a plan, not {type(plan).__name__}. Make one with explorer.allocate(graph, scores, ...)."
        )
    if plan.graph_key != graph.key:
        raise BadInput(
            "The plan belongs to another graph (another network or input shape). Make it with "
            "explorer.allocate(graph, scores, ...) from the graph that you pass here."
        )
    expected = {group.id: group.size for group in graph.prunable}
    if set(plan.keep) != set(expected):
        odd = sorted(set(plan.keep) ^ set(expected))
        raise BadInput(f"A plan has one mask for every prunable group; missing or unknown: {', '.join(odd)}.")
    for name, kept in plan.keep.items():
        if kept.shape != (expected[name],):
            raise BadInput(
                f"The mask of {name} has shape {kept.shape}; the group has {expected[name]} units."
            )
    require_paths(graph, [name for name, kept in plan.keep.items() if not kept.any()])


NO_PATH = "no other path leads from the image to the network's output"


def removable(graph: ChannelGraph) -> Mapping[str, str]:
    """For every group, why it cannot be removed whole (width 0) while all others stay; "" if it can.

    A group can go where a skip connection or a parallel tower still leads from the image to every output.
    Raises BadInput for what is no graph.
    """
    check_graph(graph)
    paths = paths_of(graph)
    reasons = {}
    for place, group in enumerate(graph.groups):
        reasons[group.id] = group.reason or ("" if paths.open([place]) else NO_PATH)
    return MappingProxyType(reasons)


def require_paths(graph: ChannelGraph, emptied: Collection[str]) -> None:
    """Raise NotReachable unless the image still reaches every output without these prunable groups."""
    if not emptied or paths_of(graph).open([graph.index[name] for name in emptied]):
        return
    alone = [name for name in emptied if not paths_of(graph).open([graph.index[name]])]
    if alone:
        raise NotReachable(
            f"{alone[0]} cannot be removed: {NO_PATH}. Keep at least 1 of its {graph.group(alone[0]).size} units."
        )
    raise NotReachable(
        f"{', '.join(emptied)} cannot be removed together: each could go alone, but no path would be left "
        "from the image to the network's output. Keep at least 1 unit of one of them."
    )


def without_unread(graph: ChannelGraph, emptied: Collection[str]) -> frozenset[str]:
    """The emptied groups, and those that nothing reads once these are gone: what lies upstream of a block."""
    if not emptied:
        return frozenset()
    places = paths_of(graph).unread([graph.index[name] for name in emptied])
    return frozenset(graph.groups[place].id for place in places)


def check_model(graph: ChannelGraph, model: nn.Module) -> None:
    """Raise BadInput unless the model's parameters and buffers have the names and shapes of the graph."""
    check_graph(graph)
    if not isinstance(model, nn.Module):
        raise BadInput(f"Pass a torch.nn.Module (network.model), not {type(model).__name__}.")
    state = nn.Module.state_dict(model)  # not a user's own, as in the trace
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items() if isinstance(tensor, Tensor)}
    if shapes != dict(graph.shapes):
        odd = [name for name in {**shapes, **graph.shapes} if shapes.get(name) != graph.shapes.get(name)]
        raise BadInput(
            f"The model is not the one that was traced: {odd[0]} has shape {shapes.get(odd[0], 'missing')}, the "
            f"graph says {graph.shapes.get(odd[0], 'missing')}. Trace this model with explorer.trace(model, example)."
        )


def check_graph(graph: ChannelGraph) -> None:
    """Raise BadInput unless it is a graph."""
    if not isinstance(graph, ChannelGraph):
        raise BadInput(f"Expected a graph from explorer.trace(model, example), not {type(graph).__name__}.")
