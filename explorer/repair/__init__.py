"""Repair without training: the layers that lost inputs are made for those that are left."""

from torch import nn

from explorer.data import DataSource, Images, as_images
from explorer.errors import BadInput, require_name
from explorer.graph.copies import deep_copy
from explorer.repair.merge import merge
from explorer.repair.moments import Check, Observed, gather, nothing
from explorer.repair.refit import Refitted, refit
from explorer.repair.sequential import refit_sequential
from explorer.surgery import shrink
from explorer.values import REPAIRS, ChannelGraph, Plan, Repair

__all__ = ["Observed", "Refitted", "apply", "gather", "repair"]


def repair(
    model: nn.Module,
    graph: ChannelGraph,
    plan: Plan,
    how: Repair,
    images: DataSource | None = None,
    check: Check = nothing,
) -> nn.Module:
    """The network of a plan, shrunk and repaired, in eval mode: a copy, as `shrink` returns.

    `how`: "merge" adds each removed filter's readers to those of the most similar filter that is kept, and needs no
    images (Kim et al. 2020); "refit" fits every layer that lost inputs by least squares to what it answered before,
    "refit_sequential" one layer after the other to the dense network's answers (He et al. 2017). `images` are training
    images, without labels if need be: anything that `recover` takes, or a tensor (N, C, H, W) of inputs as the network
    is given them. Layers that cannot be repaired stay as they were cut. `check` is called between pieces of work and
    may raise. Raises what shrink raises, UnknownName for another repair, and BadInput for refits without images, and
    images that the network cannot take.
    """
    require_name("repair", how, REPAIRS)
    refits = how.startswith("refit")
    if refits and images is None:
        raise BadInput(
            f"how={how!r} fits weights to training images: pass images=, such as network.data.train or a tensor "
            '(N, channels, height, width). Without images, use how="merge".'
        )
    used = as_images(images, "train") if refits and images is not None else None
    shrunk = shrink(model, graph, plan)
    dense = deep_copy(model)
    dense.eval()
    observed = gather(dense, graph, used, check=check) if used else None
    apply(dense, shrunk, graph, plan, how, observed, used, check)
    return shrunk


def apply(
    model: nn.Module,
    shrunk: nn.Module,
    graph: ChannelGraph,
    plan: Plan,
    how: Repair,
    observed: Observed | None,
    images: Images | None,
    check: Check = nothing,
) -> list[Refitted]:
    """Repair the shrunk network in place, and say what became of every layer that lost inputs."""
    if how == "merge":
        return merge(model, shrunk, graph, plan)
    if how == "refit" and observed is not None:
        return refit(model, shrunk, graph, plan, observed, check)
    if how == "refit_sequential" and observed is not None and images is not None:
        return refit_sequential(model, shrunk, graph, plan, observed, images, check=check)
    return []
