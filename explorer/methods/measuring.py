"""What is measured after a training, for its recorded run: structures of the same cost, trained as long."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import nn

from explorer.allocate import allocate, plan_widths
from explorer.costs import cost
from explorer.criteria import score
from explorer.evaluate.recovery import train
from explorer.graph.copies import deep_copy
from explorer.methods.evidence import Contender, WidthsEvidence
from explorer.methods.loop import Found
from explorer.methods.retraining import accuracy_of, require_labelled
from explorer.methods.structure import uniform
from explorer.surgery import shrink
from explorer.values import ChannelGraph, content_key
from explorer.zoo.network import Network

RIVALS = ("one_shot", "uniform")  # how they share the same cost: by one ranking over all layers, or alike


def silent(_words: str) -> None:
    """Says nothing."""


class Remembered(dict[str, float]):
    """Accuracies by content key, in a file from the moment that they are known."""

    def __init__(self, path: Path) -> None:
        super().__init__(json.loads(path.read_text("utf-8")) if path.exists() else {})
        self._path = path

    def __setitem__(self, key: str, value: float) -> None:
        super().__setitem__(key, value)
        temporary = self._path.with_suffix(".partial")
        temporary.write_text(json.dumps(self), "utf-8")
        temporary.replace(self._path)


@dataclass(frozen=True, eq=False)
class Measuring:
    """How to measure: with which seeds, what is finished kept in `work`; `say(words)` tells how far it is.

    `search(settings, name)` trains the method with other settings, kept in `work` under a name. `options` are what a
    method can measure otherwise, by its own names.
    """

    network: Network
    graph: ChannelGraph
    found: Found
    seeds: tuple[int, ...]
    work: Path
    search: Callable[[Mapping[str, Any], str], Found]
    say: Callable[[str], object] = silent
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def remembered(self) -> Remembered:
        """Accuracies that were measured before, by content key."""
        return Remembered(self.work / "accuracies.json")


def at_equal_cost(measuring: Measuring) -> WidthsEvidence:
    """The structure that was found beside one-shot pruning (L1, global and uniform) of the same MACs.

    For every seed the network is trained as long as the method trains before its last cut, without what the method
    adds, then cut to the same MACs and trained on for the settings' `fine_tune` epochs, at the same rates.
    """
    network, graph, found = measuring.network, measuring.graph, measuring.found
    training, explore = require_labelled(network.data)
    settings, known = dict(found.run.settings), measuring.remembered
    assert found.plan is not None
    after = int(settings.get("fine_tune", 0))
    before = round(found.run.of / found.run.per_epoch) - after
    dense = cost(graph).macs
    accuracies: dict[str, list[float]] = {name: [] for name in (found.method, *RIVALS)}
    shares: dict[str, list[float]] = {name: [] for name in accuracies}

    def trained(model: nn.Module, epochs: int, seed: int) -> nn.Module:
        copied = deep_copy(model)
        if epochs:
            for _step in train(copied, training, epochs, seed, peak_rate=settings["rate"]):
                pass
        return copied.eval()

    for seed in measuring.seeds:
        own = (
            found
            if seed == settings["seed"]
            else measuring.search({**settings, "seed": seed}, f"seed-{seed}")
        )
        assert own.plan is not None
        share = cost(graph, own.plan).macs / dense
        accuracies[found.method].append(accuracy_of(shrink(own.network, graph, own.plan), explore))
        shares[found.method].append(share)
        measuring.say(
            f"{found.method}, seed {seed}: {accuracies[found.method][-1]:.2%} at {share:.1%} of the MACs"
        )
        base: nn.Module | None = None
        for name in RIVALS:
            key = content_key(
                network.weights_key, training.key, explore.key, name, before, after, seed, share
            )
            if key not in known or f"{key} share" not in known:
                base = trained(network.model, before, seed) if base is None else base
                scores = score(replace(network, model=base), graph, "l1")
                if name == "uniform":
                    plan = plan_widths(graph, scores, uniform(graph, own.plan.widths))
                else:
                    plan = allocate(graph, scores, share)
                known[f"{key} share"] = cost(graph, plan).macs / dense
                known[key] = accuracy_of(trained(shrink(base, graph, plan), after, seed), explore)
            accuracies[name].append(known[key])
            shares[name].append(known[f"{key} share"])
            measuring.say(f"{name}, seed {seed}: {known[key]:.2%} at {shares[name][-1]:.1%} of the MACs")
    contenders = tuple(
        Contender(name, tuple(shares[name]), tuple(values)) for name, values in accuracies.items()
    )
    return WidthsEvidence(len(explore), before, after, measuring.seeds, contenders)
