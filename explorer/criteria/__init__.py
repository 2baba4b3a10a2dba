"""Criteria: rules that score the units of every prunable group; higher = keep. One file each."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import nn

from explorer.criteria.activations import APOZ, MEAN_ACTIVATION
from explorer.criteria.bn_gamma import BNGamma
from explorer.criteria.fpgm import FPGM
from explorer.criteria.norms import L1, L2
from explorer.criteria.obs import OBS
from explorer.criteria.order import Order
from explorer.criteria.random import Random
from explorer.criteria.subject import Criterion, Subject
from explorer.criteria.taylor import Taylor
from explorer.data import Data, as_images
from explorer.data.fitting import require_finite
from explorer.errors import BadInput, ExplorerError, require_name, require_whole
from explorer.graph.checks import check_model
from explorer.graph.copies import deep_copy
from explorer.repair import Observed, gather
from explorer.repair.errors import errors_of
from explorer.values import ChannelGraph, Floats, Scores, order_of

CRITERIA: dict[str, Criterion] = {
    "l1": L1,
    "l2": L2,
    "obs": OBS(),
    "taylor": Taylor(),
    "bn_gamma": BNGamma(),
    "fpgm": FPGM(),
    "apoz": APOZ,
    "mean_activation": MEAN_ACTIVATION,
    "order": Order(),
    "random": Random(),
}
SCORED_IMAGES = 512  # a second's work on a slow core; ranks by gradients still depend on which these are


def score(
    model_or_network: Any,
    graph: ChannelGraph,
    criterion: str,
    data: Any = None,
    seed: int = 0,
    errors: bool = False,
    observed: Observed | None = None,
) -> Scores:
    """Score every unit of the prunable groups of a model (nn.Module) or network (explorer.load).

    `data` may be anything that explorer.evaluate takes; its training images are used (where there are none,
    its explore images), at most 512, of mixed classes. A network brings its own. `errors` also measures what each layer
    can lose (`Scores.gains`), for `allocate(..., allocation="error")`; `observed` are the moments of the network that
    this and "obs" look at, if they are known already. Raises UnknownName for a criterion
    that does not exist, BadInput where model and graph do not belong together, where the criterion needs images and
    there are none or they do not fit, where weights or buffers are not finite, or for a seed below 0.
    """
    require_name("criterion", criterion, CRITERIA)
    require_whole("seed", seed, 0)
    rule = CRITERIA[criterion]
    given = model_or_network
    model = given if isinstance(given, nn.Module) else getattr(given, "model", None)
    if not isinstance(model, nn.Module):
        raise BadInput(f"score takes a torch.nn.Module or a loaded network, not {type(given).__name__}.")
    check_model(graph, model)
    require_finite(type(model).__name__, model)
    if data is None and model is not given:
        data = given.data
    images = None
    if rule.needs_data or errors:
        if data is None:
            what = f"Ranking by {criterion}" if rule.needs_data else "Measuring what layers can lose"
            raise BadInput(
                f"{what} looks at images and there are none. Pass data=(inputs, labels), or use a "
                "criterion of weights only: l1, l2, fpgm, bn_gamma."
            )
        trainless = isinstance(data, Data) and data.train is None
        images = as_images(data, "explore" if trainless else "train").mixed(SCORED_IMAGES)
    model = deep_copy(model)
    model.eval()  # a user's train() may return nothing
    if images is not None and observed is None and (errors or criterion == "obs"):
        observed = gather(model, graph, images)
    subject = Subject(model, graph, images if rule.needs_data else None, seed, observed)
    by_group = rule(subject)
    for group, values in by_group.items():
        if not np.isfinite(values).all():
            raise ExplorerError(f"Ranking by {criterion} gave scores of {group} that are not finite numbers.")
    gains = _gains(model, graph, by_group, observed) if errors and observed is not None else {}
    return Scores(criterion, by_group, rule.comparable, gains)


def _gains(
    model: nn.Module, graph: ChannelGraph, by_group: Mapping[str, Floats], observed: Observed
) -> dict[str, Floats]:
    """What each unit of a group adds, from the best down (see `Scores.gains`); 1 where nothing is known of it."""
    found = {}
    for group in graph.prunable:
        lost = errors_of(model, graph, group, order_of(by_group[group.id]), observed).refitted
        falling = np.maximum.accumulate(-np.diff(lost)[::-1])[::-1]
        known = np.isfinite(falling).all() and falling.any()
        found[group.id] = falling if known else np.ones(group.size, dtype=np.float32)
    return found
