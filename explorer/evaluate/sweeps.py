"""Many plans in a row: what each group is worth alone, and what plans without any insight would have given.

Of images without labels all accuracies here are agreements with the dense network (see `Judge`).

Both are controls for the eye, on a part of the explore images and never with training, so that a sweep takes
seconds. Accuracies of a sweep are to be compared with each other: all are over the same images.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

from torch import nn

from explorer.allocate import curve, plan_widths
from explorer.costs import cost
from explorer.criteria import score
from explorer.data import Data
from explorer.errors import BadInput
from explorer.evaluate.estimates import Check, as_module, nothing
from explorer.evaluate.live import LiveEvaluation
from explorer.records import SweepPoint
from explorer.repair import Observed
from explorer.values import ChannelGraph, Estimate, Plan, Recovery, Scores, full_plan
from explorer.zoo.network import Network

SWEEP_IMAGES = 500
KEEPS = (0.9, 0.75, 0.6, 0.5, 0.4, 0.3, 0.2)
SEEDS = (0, 1, 2)
BN = Recovery(bn=True)


def _estimator(
    model: nn.Module | Network,
    graph: ChannelGraph,
    data: Data,
    images: int,
    check: Check,
    observed: Observed | None,
) -> tuple[Callable[[Plan, Recovery], Estimate], Callable[[Recovery], Recovery]]:
    """(accuracy of a plan, what can be done of a recovery), on the first `images` explore images, never trained."""
    if not isinstance(data, Data):
        raise BadInput(
            f"A sweep needs images as explorer.data.Data, not {type(data).__name__}: load the network with data, and "
            "pass network.data."
        )
    live = LiveEvaluation(model, graph, replace(data, explore=data.explore.subset(images)), observed=observed)

    def available(recovery: Recovery) -> Recovery:
        return live.available(replace(recovery, epochs=0))[0]

    def estimate(plan: Plan, recovery: Recovery) -> Estimate:
        check()
        *_, last = live.estimates(plan, available(recovery), check)
        return last

    return estimate, available


def sensitivity(
    model: nn.Module | Network,
    graph: ChannelGraph,
    data: Data,
    scores: Scores,
    recovery: Recovery = BN,
    images: int = SWEEP_IMAGES,
    check: Check = nothing,
    observed: Observed | None = None,
) -> Iterator[tuple[str, float]]:
    """(group id, percentage points of accuracy lost) when that group alone is cut to half its width.

    The scores say which half stays (of an odd width the larger one). Recovery as far as the
    data have training images, and never training; `observed` are the moments for refits, if they are known. Lost
    against the dense network, on the same first `images` explore images;
    below 0 where the cut helped. Networks that are cheapest to run come first. `check` is called between
    batches and may raise. Raises BadInput for scores that are not of this graph, or what is no Data.
    """
    estimate, _available = _estimator(model, graph, data, images, check, observed)
    halved = {
        group.id: plan_widths(graph, scores, {group.id: (group.size + 1) // 2}) for group in graph.prunable
    }
    dense = estimate(full_plan(graph), Recovery())
    for group, plan in sorted(halved.items(), key=lambda pair: cost(graph, pair[1]).macs):
        yield group, dense.shown - estimate(plan, recovery).shown


def bands(
    model: nn.Module | Network,
    graph: ChannelGraph,
    data: Data,
    scores: Scores,
    budget: str = "macs",
    recovery: Recovery = BN,
    images: int = SWEEP_IMAGES,
    check: Check = nothing,
    observed: Observed | None = None,
    allocation: str = "global",
) -> Iterator[SweepPoint]:
    """Plans to compare one's own with, at every share of KEEPS of the `budget` that can be reached.

    "uniform": the same share of every group, the channels chosen by the scores. "random": the same widths,
    the channels drawn, once for each of SEEDS, so that the two differ in nothing but which channels stay. "drawn":
    drawn channels at the widths that the scores give with the `allocation`, so that these and the scores' own plans
    differ in nothing else either. All
    uniform ones come first, then seed after seed. Recovery without training: of what is asked for, what the data have
    images for; `observed` as in `sensitivity`. On the first `images` explore images.
    `check` is called between batches and may raise. Raises UnknownName for a budget that does not exist, and
    BadInput for scores that are not of this graph, or what is no Data.
    """
    estimate, available = _estimator(model, graph, data, images, check, observed)
    drawn = [("random", score(as_module(model), graph, "random", seed=seed)) for seed in SEEDS]
    for kind, ranking in [("uniform", scores), *drawn]:
        plans = curve(graph, ranking, budget, "uniform")
        for keep in KEEPS:
            if keep >= plans.lowest:
                plan = plans.plan(keep)
                found = estimate(plan, recovery)
                yield SweepPoint(kind, keep, cost(graph, plan), found, available(recovery))
    own = curve(graph, scores, budget, allocation)
    for _kind, ranking in drawn:
        for keep in KEEPS:
            if keep >= own.lowest:
                plan = plan_widths(graph, ranking, own.plan(keep).widths)
                found = estimate(plan, recovery)
                yield SweepPoint("drawn", keep, cost(graph, plan), found, available(recovery))
