"""What each term of a dynamic network's training does, and what to compare it with: for its recorded run."""

from collections.abc import Mapping

import numpy as np
import torch

from explorer.allocate import allocate
from explorer.costs import cost
from explorer.criteria import score
from explorer.dynamic.evaluating import instances, rows_for
from explorer.dynamic.network import Dynamic
from explorer.evaluate.recovery import recover, train
from explorer.instances import Effect, InstanceEvidence, Instances, Rival, agreement, cosines
from explorer.methods.loop import Found
from explorer.methods.measuring import Measuring
from explorer.methods.retraining import accuracy_of, require_labelled
from explorer.surgery import shrink

SIMILAR_IMAGES = 1_000  # that similarities are measured on
WAYS: Mapping[str, Mapping[str, object]] = {
    "no_similarity": {"similarity": 0.0},
    "strong_similarity": {"similarity": 0.3},
    "no_sparsity": {"sparsity": 0.0},
    "uniform": {"weight": "uniform"},
    "strong_sparsity": {"sparsity": 0.2},
    "strong_uniform": {"sparsity": 0.2, "weight": "uniform"},
    "fbs": {"method": "fbs"},
}
"""Other ways of training; each differs from the whole by these settings."""


def effects(measuring: Measuring) -> InstanceEvidence:
    """One training for every line of WAYS, from the same weights, images, seed and schedule, and what it comes to on
    all explore images; and the rivals.
    """
    run = measuring.found.run
    same = {name: run.settings[name] for name in ("epochs", "batch", "seed")}
    known = [_effect("whole", measuring, measuring.found)]
    for name, settings in WAYS.items():
        known.append(_effect(name, measuring, measuring.search({**same, **settings}, name)))
        measuring.say(f"{name}: {known[-1].accuracy:.2%} at {known[-1].mean_share:.1%} of the MACs")
    return InstanceEvidence(tuple(known), rivals(measuring, known[0].mean_share))


def _effect(name: str, measuring: Measuring, found: Found) -> Effect:
    data = measuring.network.data
    assert data is not None
    assert isinstance(found.network, Dynamic)
    dynamic = as_stored(found.network)
    *_, (_estimate, seen) = instances(dynamic, data.explore, rows_for(dynamic, data.explore))
    assert seen is not None
    return effect_of(name, seen, found.run.settings, int(found.run.settings["seed"]))


def effect_of(
    name: str, found: Instances, settings: Mapping[str, object], seed: int, command: str = ""
) -> Effect:
    """What one way of training came to: of the images `found` is of, similarities on at most SIMILAR_IMAGES of them."""
    rows = np.linspace(0, len(found) - 1, min(len(found), SIMILAR_IMAGES)).round().astype(np.int64)
    agreements, apart = [], []
    for site in found.sites.every:
        r, t = (cosines(table[rows, site.columns]) for table in (found.features, found.saliency))
        agreements.append(agreement(r, t))
        apart.append(float(np.square(t - r).mean()))
    return Effect(
        name,
        settings,
        seed,
        found.shares.astype(np.float32),
        found.losses,
        found.right,
        tuple(agreements),
        float(np.mean(apart)),
        command,
    )


def as_stored(dynamic: Dynamic) -> Dynamic:
    """The same network with its parameters rounded in place to float16, as a file holds them."""
    with torch.no_grad():
        for parameter in dynamic.parameters():
            parameter.copy_(parameter.half())
    return dynamic


def rivals(measuring: Measuring, share: float) -> tuple[Rival, ...]:
    """The dense network, the same trained for as long, and one pruned network of that share of the MACs for all images
    (ranked by Taylor, cut globally), trained as long too.
    """
    network, graph, settings = measuring.network, measuring.graph, measuring.found.run.settings
    training, explore = require_labelled(network.data)
    dense, count = cost(graph).macs, len(explore)
    found = [Rival("dense", 1.0, accuracy_of(network.model, explore), count)]
    plan = allocate(graph, score(network, graph, "taylor"), share)
    for name, start in (("longer", network.model), ("static", shrink(network.model, graph, plan))):
        copied = recover(start, network.data, bn=name == "static")
        for _step in train(
            copied, training, settings["epochs"], settings["seed"], peak_rate=settings["rate"]
        ):
            pass
        macs = dense if name == "longer" else cost(graph, plan).macs
        found.append(Rival(name, macs / dense, accuracy_of(copied, explore), count))
        measuring.say(str(found[-1]))
    return tuple(found)
