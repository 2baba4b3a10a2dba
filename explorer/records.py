"""The frozen values in which results are told: what a network allows, and what a session saw and did."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from explorer.strings import Message, Strings
from explorer.values import Classes, Cost, Estimate, FixedCall, Floats, Latency, Plan, Recovery, Request


def recovered(recovery: Recovery, cut: bool = True) -> Message:
    """What was done to the weights, for beside an accuracy; `cut`: whether anything was removed before."""
    done = []
    if recovery.repair != "none":
        done.append(Message(f"label_{recovery.repair}"))
    if recovery.epochs:
        done.append(Message.of("label_trained", epochs=recovery.epochs))
    elif recovery.bn:
        done.append(Message("after_bn" if done else "label_bn"))
    if len(done) == 2:
        return Message.of("label_two", first=done[0], second=done[1])
    return done[0] if done else Message("label_none" if cut else "label_nothing_cut")


class Moment(NamedTuple):
    """A session's state at one moment. `estimate` may be of an earlier state; its key says of which.

    `recovery` is what was done to the weights. `latency` are pairs (dense, now) of every batch size that was timed of
    `plan`; empty if none was.
    """

    request: Request
    plan: Plan
    recovery: Recovery
    cost: Cost
    estimate: Estimate | None
    latency: tuple[Latency, ...]


@dataclass(frozen=True)
class Given:
    """What a recovery gives, on all explore images: of the cut as it is if `current`, else of an earlier one."""

    estimate: Estimate
    current: bool


@dataclass(frozen=True)
class Visit:
    """A state that was seen to the end: a point of the trade-off. `parent` is the visit that it came from."""

    number: int
    parent: int | None
    request: Request
    plan: Plan
    recovery: Recovery
    cost: Cost
    estimate: Estimate
    name: str = ""
    latency: tuple[Latency, ...] = ()


@dataclass(frozen=True)
class Training:
    """How far a training beside the explorer is; `ready`: it ended, and waits to be used."""

    request: Request
    step: int
    of: int
    loss: float
    seconds_left: float | None
    ready: bool = False


@dataclass(frozen=True)
class TrainingCost:
    """What a training took: `seconds` of wall time without pauses, and `macs`, the multiply-adds of its steps' forward
    passes (a backward pass takes about twice those of its forward pass, and is not counted).

    `epoch_macs` are those of one epoch of plainly training the dense network on the same images.
    """

    seconds: float = 0.0
    macs: int = 0
    epoch_macs: int = 0

    @property
    def epochs(self) -> float:
        """As many epochs of training the dense network cost as much."""
        return self.macs / self.epoch_macs if self.epoch_macs else 0.0


@dataclass(frozen=True, eq=False)
class Progress:
    """How far the training of a method is; `state` is "running", "stopped", "ready" or "failed".

    `method` and its `settings` by name; `phase` as the method calls it, `losses` those of the latest step, `run`
    the runs.Run of what was seen so far (None before its first frame). `seconds_left` is None until it can
    be told. `error` says in words why it failed; `resumable`: it has not ended, and can go on from a snapshot, while
    this program runs; also later unless `not_kept`, the folder that its snapshots cannot be written to, is set.
    """

    method: str
    settings: Mapping[str, object]
    state: str
    step: int
    of: int
    phase: str
    losses: Mapping[str, float]
    seconds_left: float | None
    training: TrainingCost
    run: Any
    error: str = ""
    resumable: bool = False
    not_kept: str = ""

    def __post_init__(self) -> None:
        for name in ("settings", "losses"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))


@dataclass(frozen=True, eq=False)
class Runs:
    """What a session knows of the methods that train, by their names: `progress` of the trainings that were begun and
    not dropped, the latest one last, and the `recorded` runs (runs.Recorded) that were read.
    """

    progress: Mapping[str, Progress] = field(default_factory=dict)
    recorded: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("progress", "recorded"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    @property
    def running(self) -> Progress | None:
        """The one that runs."""
        return next((each for each in self.progress.values() if each.state == "running"), None)

    def having(self, progress: Progress) -> "Runs":
        """The same, with the progress of its method."""
        return replace(self, progress={**self.progress, progress.method: progress})

    def without(self, method: str) -> "Runs":
        """The same, without the training of a method."""
        return replace(self, progress={name: each for name, each in self.progress.items() if name != method})


@dataclass(frozen=True)
class FinalCheck:
    """One look at the final images: accuracy of a state and of the dense network (see `Estimate.counts`).

    `number` counts the looks.
    """

    number: int
    recovery: Recovery
    cost: Cost
    now: Estimate
    dense: Estimate


@dataclass(frozen=True, eq=False)
class Outcomes:
    """What two states say of the explore images: predicted classes, int16 (N,), and the labels, int64 (N,).

    Without labels, `labels` are the classes that the dense network predicts.
    """

    reference: Classes
    now: Classes
    labels: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Scored:
    """Scores of the explore images in two states, float32 (N,), higher = better: where images have no classes."""

    reference: Floats
    now: Floats
    measure: str


@dataclass(frozen=True)
class SweepPoint:
    """A plan that was evaluated for comparison: `kind` is "uniform", "random" or "drawn" (see `sweeps.bands`); accuracy
    after `recovery`, which never trains.
    """

    kind: str
    keep: float
    cost: Cost
    estimate: Estimate
    recovery: Recovery


@dataclass(frozen=True)
class LayerCoverage:
    """How far one layer can be pruned: `prunable` of its `outputs` and `shrinkable` of its `inputs` are in groups
    that a plan can narrow.

    `group` is the channel group of most outputs ("" if none has one); `params` are the elements of the weight.
    `cause` is why outputs stay, one word for all layers with that cause ("" if none stay), `operator` the operation
    behind it, if there is one; `reason` is the graph's own sentence, with its place.
    """

    name: str
    kind: str
    group: str
    outputs: int
    prunable: int
    inputs: int
    shrinkable: int
    macs: int
    params: int
    cause: str = ""
    operator: str = ""
    reason: str = ""

    @property
    def share(self) -> float:
        """Prunable share of its outputs."""
        return self.prunable / self.outputs if self.outputs else 0.0


@dataclass(frozen=True)
class Hindrance:
    """One cause, and the layers whose outputs stay because of it, in execution order."""

    cause: str
    operator: str
    layers: tuple[str, ...]

    def words(self, strings: Strings) -> str:
        """The cause without a place, so that it is the same for all its layers."""
        return strings(f"coverage_why_{self.cause}", operator=self.operator)


@dataclass(frozen=True)
class Coverage:
    """What can be pruned of a network, why the rest cannot, and how small the network can get.

    `fixed` are operations with multiply-adds that are no layers. `least_macs` and `least_params` are those of the
    network with one unit in every prunable group; `bare_macs` and `bare_params` those without the groups `removed`
    as well, which a skip or a parallel branch leads past. Groups are removed greedily, the most MACs first, as long
    as the image still reaches every output, so that another choice may be a little smaller.
    """

    layers: tuple[LayerCoverage, ...]
    fixed: tuple[FixedCall, ...]
    macs: int
    params: int
    least_macs: int
    least_params: int
    removed: tuple[str, ...]
    bare_macs: int
    bare_params: int

    @cached_property
    def prunable_layers(self) -> int:
        """How many layers have an output that can be removed."""
        return sum(layer.prunable > 0 for layer in self.layers)

    @cached_property
    def channels_share(self) -> float:
        """Prunable share of all layers' outputs; channels that several layers produce count in each."""
        outputs = sum(layer.outputs for layer in self.layers)
        return sum(layer.prunable for layer in self.layers) / outputs if outputs else 0.0

    @cached_property
    def macs_share(self) -> float:
        """Share of the MACs in layers whose outputs or inputs a plan can remove."""
        touched = sum(layer.macs for layer in self.layers if layer.prunable or layer.shrinkable)
        return touched / self.macs if self.macs else 0.0

    @cached_property
    def fixed_share(self) -> float:
        """Share of the MACs in operations that are no layers."""
        return sum(call.macs for call in self.fixed) / self.macs if self.macs else 0.0

    @cached_property
    def hindrances(self) -> tuple[Hindrance, ...]:
        """Why outputs stay, the cause of most layers first."""
        found: dict[tuple[str, str], list[str]] = {}
        for layer in self.layers:
            if layer.cause:
                found.setdefault((layer.cause, layer.operator), []).append(layer.name)
        grouped = [Hindrance(*key, tuple(names)) for key, names in found.items()]
        return tuple(sorted(grouped, key=lambda each: -len(each.layers)))

    def share_of_macs(self, macs: int) -> float:
        """MACs as a share of the dense network's; 1 where that has none."""
        return macs / self.macs if self.macs else 1.0

    def share_of_params(self, params: int) -> float:
        """Parameters as a share of the dense network's; 1 where that has none."""
        return params / self.params if self.params else 1.0

    def __str__(self) -> str:
        """For a terminal: shares, the smallest network, and every cause with the layers that it holds."""
        layers = f"{self.prunable_layers:,} of {len(self.layers):,} layers"
        channels, macs = percent_of(self.channels_share), percent_of(self.macs_share)
        least = self._size(self.least_macs, self.least_params)
        lines = [
            f"Can be pruned: {layers}, {channels} of their channels; a plan can change {macs} of the MACs.",
            f"Smallest network: {least}, with one unit in every group.",
        ]
        if self.removed:
            size = self._size(self.bare_macs, self.bare_params)
            lines.append(f"Without {len(self.removed):,} groups that can go whole: {size}.")
        if self.hindrances:
            lines += ["", "Cannot be pruned:", *self._causes()]
        if self.fixed:
            names = ", ".join(dict.fromkeys(call.operator for call in self.fixed))
            share = percent_of(self.fixed_share)
            lines += [
                "",
                f"Operations that are no layers, which no plan changes: {names}; {share} of the MACs.",
            ]
        return "\n".join(lines)

    def table(self) -> str:
        """One line for every layer, in execution order, for a terminal."""
        strings = Strings("en")
        rows = [
            ("layer", "kind", "outputs", "prunable", "inputs", "shrinkable", "MACs", "weights", "why not")
        ]
        for layer in self.layers:
            why = Hindrance(layer.cause, layer.operator, ()).words(strings) if layer.cause else ""
            counts = layer.outputs, layer.prunable, layer.inputs, layer.shrinkable, layer.macs, layer.params
            outputs, prunable, inputs, shrinkable, macs, params = (f"{count:,}" for count in counts)
            rows.append((layer.name, layer.kind, outputs, prunable, inputs, shrinkable, macs, params, why))
        return "\n".join(_aligned(rows, left=(0, 1, 8)))

    def _size(self, macs: int, params: int) -> str:
        of_macs, of_params = percent_of(self.share_of_macs(macs)), percent_of(self.share_of_params(params))
        return f"{macs:,} MACs ({of_macs}), {params:,} parameters ({of_params})"

    def _causes(self) -> list[str]:
        strings = Strings("en")
        rows = []
        for each in self.hindrances:
            count = len(each.layers)
            held = ", ".join(each.layers[:3]) + (f" and {count - 3:,} more" if count > 3 else "")
            rows.append(
                (f"{count:,}", "layer:" if count == 1 else "layers:", f"{each.words(strings)} ({held})")
            )
        return _aligned(rows, left=(1, 2), gap=" ")


def percent_of(share: float) -> str:
    """A share for people: one decimal below 10 %, and never 0 or 100 by rounding."""
    if 0 < share < 0.0005:
        return "<0.1 %"
    if 0.995 <= share < 1:
        return ">99 %"
    return f"{100 * share:.0f} %" if share >= 0.095 or not share else f"{100 * share:.1f} %"


def _aligned(rows: Sequence[Sequence[str]], left: Sequence[int], gap: str = "  ") -> list[str]:
    """Rows with columns of equal width, aligned to the left or, as numbers, to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]

    def cells(row: Sequence[str]) -> Iterator[str]:
        for place, (text, width) in enumerate(zip(row, widths, strict=True)):
            yield text.ljust(width) if place in left else text.rjust(width)

    return [gap.join(cells(row)).rstrip() for row in rows]
