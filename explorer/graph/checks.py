"""That a plan or a model belongs to a graph: asked by everything that takes them together."""

from torch import nn

from explorer.errors import BadInput
from explorer.values import ChannelGraph, Plan


def check_plan(graph: ChannelGraph, plan: Plan) -> None:
    """Raise BadInput unless the plan is of this graph, names its prunable groups and empties none."""
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
        if not kept.any():
            raise BadInput(f"The plan empties {name}. Keep at least 1 of its {expected[name]} units.")


def check_model(graph: ChannelGraph, model: nn.Module) -> None:
    """Raise BadInput unless the model's parameters and buffers have the names and shapes of the graph."""
    check_graph(graph)
    if not isinstance(model, nn.Module):
        raise BadInput(f"Pass a torch.nn.Module (network.model), not {type(model).__name__}.")
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
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
