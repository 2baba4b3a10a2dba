"""Which channels carry the information? The first, the last or random ones kept, before and after a supernet.

A supernet's training makes the first channels matter most, since every subnetwork has them (Yu et al. 2019,
"Slimmable neural networks", ICLR; Guo et al. 2020 builds its chains on that order). Here it can be seen.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import nn

from explorer.chains import OrderCurve
from explorer.data import Data
from explorer.errors import BadInput
from explorer.evaluate.estimates import Check, as_module, nothing
from explorer.evaluate.recovery import reestimate_bn
from explorer.graph.checks import check_graph
from explorer.methods.retraining import SHARED_BN_IMAGES, accuracy_of, require_labelled, require_seeds
from explorer.surgery import shrink
from explorer.values import ChannelGraph, Plan
from explorer.zoo.network import Network

SHARES = tuple(eighth / 8 for eighth in range(1, 9))
WHICH = ("first", "last", "random")
SEEDS = (0, 1, 2)
IMAGES = 2000  # the bundled explore images


def order_curves(
    network_before: nn.Module | Network,
    supernet: nn.Module,
    graph: ChannelGraph,
    data: Data,
    shares: Sequence[float] = SHARES,
    images: int = IMAGES,
    seeds: Sequence[int] = SEEDS,
    check: Check = nothing,
    progress: Callable[[int, int], object] | None = None,
) -> tuple[OrderCurve, ...]:
    """Accuracy of both networks where every group keeps a share of its units: six curves, "before" first.

    Of every group round(share x size) units stay, at least one: its first, its last, or random ones (the mean over
    `seeds`). Weights are as they are; BN statistics are re-estimated on training images, and the accuracy is over
    `images` mixed explore images. `check` is called between batches and may raise; `progress` is told how many
    networks were measured, of how many. Raises BadInput for shares outside (0, 1], data without training images or
    labels, and networks that are not the graph's.
    """
    check_graph(graph)
    calibration, explore = require_labelled(data)
    judged = explore.mixed(images)
    asked = shares
    try:
        shares = tuple(float(share) for share in shares)
    except (TypeError, ValueError):
        shares = ()
    if not shares or not all(0 < share <= 1 for share in shares):
        raise BadInput(f"shares must be above 0 and up to 1, such as (0.25, 0.5, 1), not {asked!r}.")
    seeds = require_seeds(seeds)
    if not seeds:
        raise BadInput("seeds must hold at least one number: random channels are drawn once for each.")
    models = {"before": as_module(network_before), "after": as_module(supernet)}
    plans = {(which, share): _plans(graph, which, share, seeds) for share in shares for which in WHICH}
    todo = list(dict.fromkeys((when, plan) for when in models for each in plans.values() for plan in each))
    accuracy: dict[tuple[str, Plan], float] = {}
    for done, (when, plan) in enumerate(todo):
        if progress is not None:
            progress(done, len(todo))
        check()
        network = shrink(models[when], graph, plan)
        reestimate_bn(network, calibration, SHARED_BN_IMAGES, check=check)
        accuracy[when, plan] = accuracy_of(network, judged, check)

    def mean(when: str, which: str, share: float) -> float:
        return float(np.mean([accuracy[when, plan] for plan in plans[which, share]]))

    return tuple(
        OrderCurve(which, when, shares, tuple(mean(when, which, share) for share in shares), len(judged))
        for when in models
        for which in WHICH
    )


def _plans(graph: ChannelGraph, which: str, share: float, seeds: Sequence[int]) -> tuple[Plan, ...]:
    """The plans of one point: one, or for random units one for every seed."""
    if which != "random":
        return (_plan(graph, share, lambda size: np.arange(size)[:: 1 if which == "first" else -1]),)
    draws = [np.random.default_rng(seed) for seed in seeds]
    return tuple(_plan(graph, share, random.permutation) for random in draws)


def _plan(graph: ChannelGraph, share: float, ranked: Callable[[int], NDArray[np.int64]]) -> Plan:
    """`ranked(size)` gives the units of a group, those that stay first."""
    keep = {}
    for group in graph.prunable:
        keep[group.id] = np.zeros(group.size, dtype=bool)
        keep[group.id][ranked(group.size)[: max(1, math.floor(share * group.size + 0.5))]] = True
    return Plan(graph.key, keep)
