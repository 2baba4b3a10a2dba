"""Network Slimming: the scales of batch norm learn which channels matter (Liu et al. 2017, ICCV, arXiv 1708.06519).

While the weights train, every scale gamma is drawn to zero at the same price (eq. 1: the loss + lambda sum |gamma|);
one threshold over all of them then says which channels go, and the narrow network is trained on. What is removed is
read by nobody from then on (`surgery.mask`), so that training goes on as that of the narrow network.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from explorer.charts.marks import Axis, Bars, Chart, Line, Mark, Text
from explorer.costs import totals, widths_of
from explorer.data.fitting import require_labels
from explorer.errors import BadInput
from explorer.evaluate.estimates import class_logits
from explorer.evaluate.recovery import share_of_peak
from explorer.graph.copies import deep_copy
from explorer.methods.base import CONTENDERS, LOSSES, Algorithm, Method, Result, Seen, Subject, Turn, View
from explorer.methods.evidence import WidthsEvidence
from explorer.methods.report import Report
from explorer.methods.retraining import fresh
from explorer.methods.settings import choice, number, share, whole
from explorer.runs import Run
from explorer.surgery import removed_positions
from explorer.values import ChannelGraph, ChannelGroup, Plan, full_plan

SCALE = 0.5  # of every gamma where training starts from scratch (section 4.3)
RISE = 0.05  # share of a phase's steps in which the rate rises
Widths = NDArray[np.int64]


@dataclass(frozen=True)
class SlimmingSettings:
    """How to train. `keep`: share of the channels with a scale that stay at the end (the paper's p is the rest).

    `epochs` with `sparsity` (lambda) and, after the cut, `fine_tune` without it; all of that `passes` times, each pass
    keeping the same share of what the one before left. No pass takes more than `cap` of a layer. `start`: with the
    weights as loaded, or with new ones and scales of 0.5.
    """

    keep: float = share(0.5, low=0.01, shown=True)
    sparsity: float = number(8e-3, low=0, shown=True)
    epochs: int = whole(6, low=1, shown=True)
    fine_tune: int = whole(3, low=0, shown=True)
    passes: int = whole(1, low=1, high=20, shown=True)
    cap: float = share(1.0, low=0.01, shown=True)
    start: str = choice("loaded", "scratch")
    seed: int = whole(0, low=0, shown=True)
    batch: int = whole(128, low=4)
    rate: float = number(0.05, low=1e-6)
    weight_decay: float = number(1e-4, low=0)


@dataclass(frozen=True, eq=False)
class Scales:
    """Where the scales of one group stand: {name of gamma: unit of every position, int (C,)}."""

    group: str
    size: int
    units: Mapping[str, NDArray[np.int32]]


@final
class Slimming(Method):
    """The method: see the module."""

    name = "slimming"
    label = "Network Slimming"
    about = (
        "Draws the scales of batch norm to zero while training, cuts below one threshold and trains on "
        "(Liu et al. 2017)."
    )
    settings = SlimmingSettings
    losses = ("task", "scales")
    evidence = WidthsEvidence
    views = (
        View("slimming_view_scales", lambda seen: scales_chart(seen)),
        View("slimming_view_widths", lambda seen: widths_chart(seen)),
        LOSSES,
        CONTENDERS,
    )
    trained = "slimmed"
    ranking = "bn_gamma"
    trained_note = (
        "The network that Network Slimming trained from {name}: no layer reads the channels that it removed."
    )

    def begin(self, subject: Subject, settings: SlimmingSettings) -> Algorithm:
        """A training at its first step.

        Raises BadInput for a network without a channel group whose every layer ends in its own batch norm, and for
        fewer images than a batch.
        """
        scales = scaled_groups(subject.graph)
        if not scales:
            raise BadInput(
                f"{subject.network.name} has no prunable channels behind a batch norm of their own, so there are no "
                "scales to train. Use another method, such as dmcp."
            )
        return _Training(subject, settings, scales)

    def plan(self, graph: ChannelGraph, run: Run, network: nn.Module) -> Plan:  # noqa: ARG002
        """What stays: the channels with a scale that is not 0."""
        gammas, keep = dict(network.named_parameters()), dict(full_plan(graph).keep)
        for each in scaled_groups(graph):
            keep[each.group] = unit_scales(each, gammas) > 0
        return Plan(graph.key, keep)

    def refusal(self, graph: ChannelGraph) -> str:
        return "" if scaled_groups(graph) else "slimming_refused"

    def epochs(self, graph: ChannelGraph, images: int, settings: Mapping[str, Any]) -> float:  # noqa: ARG002
        """About as many epochs of training the dense network as a training costs: masked, it costs what that does."""
        return float(settings["passes"] * (settings["epochs"] + settings["fine_tune"]))


class _Training(Algorithm):
    """A training between two steps."""

    settings: SlimmingSettings

    def __init__(self, subject: Subject, settings: SlimmingSettings, scales: tuple[Scales, ...]) -> None:
        super().__init__(subject, settings, settings.passes * (settings.epochs + settings.fine_tune))
        model, self._scales = subject.network.model, scales
        scratch = settings.start == "scratch"
        self._model = fresh(model, settings.seed) if scratch else deep_copy(model)
        self._model.train()
        own = dict(self._model.named_parameters())
        self._gammas = {name: own[name] for each in scales for name in each.units}
        if scratch:
            with torch.no_grad():
                for gamma in self._gammas.values():
                    gamma.fill_(SCALE)
        sgd, _trained = self.sgd(self._model.parameters())
        self.turns = {"weights": Turn(sgd, self._rate, self._gradients)}
        self._kept = {each.group: torch.ones(each.size, dtype=torch.bool) for each in scales}
        self.tensors = {
            **own,
            **dict(self._model.named_buffers()),
            **{f"kept {group}": kept for group, kept in self._kept.items()},
        }

    # ---- one step -----------------------------------------------------------------------------------------

    def phase(self, number: int) -> str:
        return "sparsity" if self._place(number)[0] else "fine-tuning"

    def _place(self, number: int) -> tuple[bool, int, int]:
        """(whether the scales are drawn to zero, step in that phase, steps of it) of a step."""
        sparse, tuned = (
            epochs * self.per_epoch for epochs in (self.settings.epochs, self.settings.fine_tune)
        )
        place = number % (sparse + tuned)
        return (True, place, sparse) if place < sparse else (False, place - sparse, tuned)

    def _rate(self, number: int) -> float:
        _sparse, step, of = self._place(number)
        return self.settings.rate * share_of_peak(step, of, RISE)

    def _gradients(self, number: int, report: Report) -> None:
        rows = self.batch(number)
        inputs, labels = self.subject.images.inputs(rows), self.labels[rows]
        logits = class_logits(self._model, inputs)
        require_labels(labels, logits)
        loss = cross_entropy(logits, labels)
        report.loss("task", loss, "the images")
        loss.backward()
        report.loss("scales", float(sum(gamma.detach().abs().sum() for gamma in self._gammas.values())))
        if self._place(number)[0]:
            shrink_scales(self._gammas.values(), self.settings.sparsity)
        report.ran(len(rows), self.dense)

    def after(self, number: int, report: Report) -> None:  # noqa: ARG002
        sparse, step, of = self._place(number)
        if sparse and step + 1 == of:
            self._cut()
        self._hide()

    def _cut(self) -> None:
        """The end of a pass's sparsity training: one threshold over all scales that are left."""
        for group, kept in self._chosen().items():
            self._kept[group] &= torch.from_numpy(kept)

    def _chosen(self) -> dict[str, NDArray[np.bool_]]:
        """What would stay of every group if the pass ended now."""
        importance = self._importance()
        left = {group: values[self._kept[group].numpy()] for group, values in importance.items()}
        p = 1 - self.settings.keep ** (1 / self.settings.passes)
        limit = threshold(np.concatenate(list(left.values())), p)
        return {
            group: capped(values, self._kept[group].numpy(), limit, self.settings.cap)
            for group, values in importance.items()
        }

    @torch.no_grad()
    def _hide(self) -> None:
        """Have nothing read what was removed."""
        if all(bool(kept.all()) for kept in self._kept.values()):
            return
        tensors = dict(self._model.named_parameters())
        reads = {(s.tensor, s.dim) for group in self.subject.graph.groups for s in group.slots if s.reads}
        for (name, dim), gone in removed_positions(self.subject.graph, self._plan()).items():
            if (name, dim) in reads:
                tensors[name].index_fill_(dim, gone.nonzero().flatten(), 0)

    # ---- what the loop asks -------------------------------------------------------------------------------

    @property
    def facts(self) -> Mapping[str, Any]:
        graph = self.subject.graph
        return {
            "groups": [[each.group, each.size] for each in self._scales],
            "layers": [graph.group(each.group).layers[0] for each in self._scales],
        }

    def frame(self, done: int) -> Mapping[str, float | Tensor]:
        """Scales of all units, NaN where they are removed; and the threshold, widths and share of the MACs that a cut
        would come to now."""
        sparse, step, of = self._place(max(0, done - 1))
        sparse = sparse and step + 1 < of  # else it was cut just now
        importance = self._importance()
        values = np.concatenate(
            [np.where(self._kept[group].numpy(), each, np.nan) for group, each in importance.items()]
        )
        kept = self._chosen() if sparse else {group: each.numpy() for group, each in self._kept.items()}
        p = 1 - self.settings.keep ** (1 / self.settings.passes)
        plan = self._plan(kept)
        graph = self.subject.graph
        dense = totals(graph, graph.sizes, "macs")
        return {
            "scales": torch.from_numpy(values.astype(np.float32)),
            "threshold": threshold(values[~np.isnan(values)], p) if sparse else float("nan"),
            "widths": torch.tensor([int(each.sum()) for each in kept.values()], dtype=torch.int32),
            "shares": float(totals(graph, widths_of(graph, plan), "macs") / dense),
        }

    def result(self) -> Result:
        for turn in self.turns.values():
            turn.optimiser.zero_grad()
        plan = self._plan()
        with torch.no_grad():
            for each in self._scales:
                for name, unit in each.units.items():
                    gone = torch.from_numpy((unit >= 0) & ~plan.keep[each.group][unit])
                    for tensor in (name, f"{name.removesuffix('weight')}bias"):
                        self._model.get_parameter(tensor)[gone] = 0.0
        return Result(
            self._model.eval(), plan, {each.group: plan.widths[each.group] for each in self._scales}
        )

    def _importance(self) -> dict[str, NDArray[np.float64]]:
        """The largest |gamma| of every unit: float64 (units,) by group."""
        return {each.group: unit_scales(each, self._gammas) for each in self._scales}

    def _plan(self, kept: Mapping[str, NDArray[np.bool_]] | None = None) -> Plan:
        kept = {group: each.numpy() for group, each in self._kept.items()} if kept is None else kept
        graph = self.subject.graph
        return Plan(graph.key, {**full_plan(graph).keep, **kept})


def scaled_groups(graph: ChannelGraph) -> tuple[Scales, ...]:
    """The prunable groups of which every layer is followed by a batch norm of its own with a scale.

    So the trunk of a network whose batch norms come first (pre-activation) is left alone, as in the paper.
    """
    norms = dict(graph.folds)
    found = []
    for group in graph.prunable:
        if all(layer in norms for layer in group.layers):
            units = _units(group, {f"{norms[layer]}.weight" for layer in group.layers})
            if len(units) == len(group.layers):
                found.append(Scales(group.id, group.size, units))
    return tuple(found)


def _units(group: ChannelGroup, names: set[str]) -> dict[str, NDArray[np.int32]]:
    return {slot.tensor: slot.unit for slot in group.slots if slot.tensor in names}


def unit_scales(scales: Scales, gammas: Mapping[str, Tensor]) -> NDArray[np.float64]:
    """The largest |gamma| over the channels of every unit, float64 (units,): it is dead when all of them are."""
    found = np.zeros(scales.size)
    for name, unit in scales.units.items():
        mine = unit >= 0
        np.maximum.at(found, unit[mine], gammas[name].detach().double().abs().numpy()[mine])
    return found


def shrink_scales(gammas: Any, strength: float) -> None:
    """Add the subgradient of strength x sum |gamma| to the gradients (eq. 1; sign(0) = 0)."""
    for gamma in gammas:
        gamma.grad = strength * gamma.detach().sign() + (0 if gamma.grad is None else gamma.grad)


def threshold(scales: NDArray[np.float64], p: float) -> float:
    """The scale at place int(N p) of N sorted ones (section 3): those above it stay, N - int(N p) - 1 without ties.

    For p of 0 nothing goes, where the released code removes one channel.
    """
    count = int(round(len(scales) * p, 6))
    return float(np.sort(scales)[min(count, len(scales) - 1)]) if count else -1.0


def capped(
    scales: NDArray[np.float64], kept: NDArray[np.bool_], limit: float, cap: float
) -> NDArray[np.bool_]:
    """Of the units `kept` those whose scale is above `limit`; but of every layer at least one, and all but `cap`."""
    least = max(1, int(np.ceil(round((1 - cap) * kept.sum(), 6))))
    chosen = kept & (scales > limit)
    if chosen.sum() < least:
        order = np.argsort(-np.where(kept, scales, -np.inf), kind="stable")
        chosen[order[:least]] = True
    return chosen


# ---- what is shown ---------------------------------------------------------------------------------------

BINS = 40


def scales_chart(seen: Seen) -> Chart:
    """How many channels have which scale at a frame, with the threshold that a cut would set (fig. 4 of the paper)."""
    every, say = seen.run.series["scales"], seen.say
    most = float(np.nanmax(every)) or 1.0
    values, limit = every[seen.frame], float(seen.run.series["threshold"][seen.frame])
    known = values[~np.isnan(values)]
    counts, edges = np.histogram(known, BINS, (0.0, most))
    tops = [int(np.histogram(row[~np.isnan(row)], BINS, (0.0, most))[0].max()) for row in every]
    top = 1.15 * max(tops)
    above = edges[:-1] > (-1.0 if np.isnan(limit) else limit)
    marks: list[Mark] = []
    for role, mine in (("kept", above), ("cut", ~above)):
        says = [
            say("slimming_bin", count=int(count), low=f"{a:.2f}", high=f"{b:.2f}")
            for count, a, b in zip(counts[mine], edges[:-1][mine], edges[1:][mine], strict=True)
        ]
        marks.append(
            Bars(edges[:-1][mine].tolist(), edges[1:][mine].tolist(), counts[mine].tolist(), role, says)
        )
    gone = len(values) - len(known)
    words = {"channels": len(known), "median": f"{np.median(known):.2f}", "gone": gone}
    sentences = [say("slimming_scales_say", **words)]
    if not np.isnan(limit):
        below = int((known <= limit).sum())
        said = say("slimming_threshold", limit=f"{limit:.3f}", below=below)
        marks += [
            Line([limit, limit], [0, top], "chosen", 2.0, said),
            Text(limit, 0.95 * top, f" {said}", "ink"),
        ]
        sentences.append(said)
    elif gone:
        marks.append(Text(0.98 * most, 0.95 * top, say("slimming_gone", gone=gone), "soft", "right"))
    return Chart(
        Axis(0.0, most, say("slimming_axis")), Axis(0.0, top, say("slimming_count")), marks, sentences
    )


def widths_chart(seen: Seen) -> Chart:
    """How many channels of every layer a cut at a frame would leave."""
    run, say = seen.run, seen.say
    groups, layers, kept = run.facts["groups"], run.facts["layers"], run.series["widths"][seen.frame]
    places = np.arange(len(groups), dtype=float)
    sizes = [int(size) for _group, size in groups]
    says = [
        say("slimming_width", layer=layer, kept=int(width), size=size)
        for layer, width, size in zip(layers, kept, sizes, strict=True)
    ]
    left, right = (places + 0.1).tolist(), (places + 0.9).tolist()
    marks = [Bars(left, right, sizes, "cut", says), Bars(left, right, kept.tolist(), "kept", says)]
    ticks = {float(place) + 0.5: str(place + 1) for place in range(len(groups))}
    share = f"{100 * run.series['shares'][seen.frame]:.0f}"
    axis = Axis(
        0.0, float(len(groups)), say("slimming_layers", share=share), ticks if len(groups) <= 24 else {}
    )
    return Chart(axis, Axis(0.0, 1.08 * max(sizes), say("slimming_channels")), marks, says)
