"""The frozen values that travel through the explorer. Arrays in them are read-only; keys are of the content.

Words are those of the README's glossary: a *group* is a set of channels' *units* that are kept or removed
together, a *plan* says which units of every group are kept, a *state* is weights + plan + recovery.
"""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from explorer.errors import BadInput

Bools = NDArray[np.bool_]
Ints = NDArray[np.int32]
Floats = NDArray[np.float32]
Classes = NDArray[np.int16]


def read_only(array: np.ndarray) -> np.ndarray:
    """A view that refuses to be written."""
    view = array.view()
    view.flags.writeable = False
    return view


def content_key(*parts: object) -> str:
    """A short digest of arrays, strings, numbers and tuples of them."""
    digest = hashlib.blake2b(digest_size=12)
    for part in parts:
        if isinstance(part, np.ndarray):
            digest.update(f"{part.dtype}{part.shape}".encode())
            digest.update(np.ascontiguousarray(part).tobytes())
        else:
            digest.update(repr(part).encode())
        digest.update(b"\0")
    return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class Slot:
    """One dimension of a parameter or buffer, and the unit of the group at each of its positions.

    `unit` is int32 (length of the dimension,); -1 where the position is another group's or always kept.
    `reads` says that an operator sums over this dimension against activations: masking zeroes it there.
    """

    tensor: str
    dim: int
    unit: Ints
    reads: bool


@dataclass(frozen=True, eq=False)
class ChannelGroup:
    """Channels that must be kept or removed together: `size` units, and every place where they live.

    All units have the same number of positions in every slot, so that costs need widths only.
    `layers` are the names of the layers that produce the channels. `reason` says why a group that is not
    prunable is not; for a prunable group it is empty.
    """

    id: str
    size: int
    slots: tuple[Slot, ...]
    layers: tuple[str, ...]
    prunable: bool
    reason: str


@dataclass(frozen=True, eq=False)
class Layer:
    """One call of a convolution or linear layer, in execution order.

    `in_units` int32 (inputs, 2) and `out_units` int32 (outputs, 2) give (index of the group in the graph,
    unit) of every channel; (-1, -1) where a channel is in no group (the image). Shapes are of one example,
    without the batch: (C, H, W) or (features,). `weight` is the qualified name of its weight.
    """

    name: str
    kind: str
    weight: str
    in_shape: tuple[int, ...]
    out_shape: tuple[int, ...]
    kernel: tuple[int, ...]
    in_units: Ints
    out_units: Ints


@dataclass(frozen=True)
class FixedCall:
    """An operation with multiply-adds that no plan changes, and that is no layer: what it is and why it stays.

    `operator` with its place is in `reason`; `macs` are for one example.
    """

    name: str
    operator: str
    macs: int
    reason: str


@dataclass(frozen=True, eq=False)
class CostTerms:
    """What a cost is computed from: sizes that are linear in the widths, and products of them.

    A *form* is a size as a function of the widths w: `constant[f] + coefficient[f] @ w`. Tensors, MACs and
    live activations are products of forms (rows of form indices, padded with form 0, which is always 1).
    """

    constant: NDArray[np.int64]  # (forms,)
    coefficient: NDArray[np.int64]  # (forms, groups)
    tensors: tuple[
        tuple[str, str, int], ...
    ]  # (name, safetensors' dtype, number of dimensions), state-dict order
    tensor_forms: NDArray[np.int64]  # (tensors, dimensions)
    counted: Bools  # (tensors,): parameters, each tie once
    stored: NDArray[np.int64]  # (stored,): rows of `tensors` as a safetensors file orders them, each tie once
    stored_bytes: NDArray[np.int64]  # (stored,): bytes per element
    header_text: (
        int  # characters of that file's header apart from the digits of the rows' lengths and offsets
    )
    layer_tensor: NDArray[np.int64]  # (layers,): row of the layer's weight in `tensors`
    positions: NDArray[np.int64]  # (layers,): how often the weight is applied for one example
    other_macs: int  # matrix products of two activations, whose sizes no plan changes
    live_forms: NDArray[np.int64]  # (storages, dimensions)
    live_factor: NDArray[np.int64]  # (storages,): elements per product of forms
    born: NDArray[np.int64]  # (storages,): step at which it is written
    dies: NDArray[np.int64]  # (storages,): last step that reads it


@dataclass(frozen=True, eq=False)
class ChannelGraph:
    """A network as the explorer sees it: layers, channel groups and how layers feed each other.

    `edges` are pairs of layer indices (producer, consumer). `folds` are pairs (convolution, batch norm) of
    module names where the second directly follows the first and can be folded into it. `attributes` say
    which numbers on modules repeat a length: (module, attribute, tensor, dim, numerator, denominator) means
    attribute = length of the tensor's dimension * numerator / denominator. `shapes` are the dense shapes of
    all parameters and buffers by qualified name; of tied ones, only the first name has slots, and `ties` are
    pairs (other name, first name). `entries` are the layers that read the image; `exits` are, for every tensor
    that the network returns, the layers that it comes from (-1: the image itself). `fixed` are operations with
    MACs that no plan changes. `more_inputs` are the shapes of further inputs, where forward takes several,
    and `form` the tuple, list or dict that holds the tensors, with their numbers in place of them.
    """

    layers: tuple[Layer, ...]
    groups: tuple[ChannelGroup, ...]
    edges: tuple[tuple[int, int], ...]
    input_shape: tuple[int, ...]
    folds: tuple[tuple[str, str], ...]
    attributes: tuple[tuple[str, str, str, int, int, int], ...]
    shapes: Mapping[str, tuple[int, ...]]
    ties: tuple[tuple[str, str], ...]
    terms: CostTerms
    key: str
    entries: tuple[int, ...] = ()
    exits: tuple[tuple[int, ...], ...] = ()
    fixed: tuple[FixedCall, ...] = ()
    front_end: str = "torch.fx"
    more_inputs: tuple[tuple[int, ...], ...] = ()
    form: Any = None

    @cached_property
    def index(self) -> Mapping[str, int]:
        """Group id -> its place in `groups`."""
        return MappingProxyType({group.id: place for place, group in enumerate(self.groups)})

    def group(self, group_id: str) -> ChannelGroup:
        """The group of that id; raises BadInput with the known ids."""
        if not isinstance(group_id, str) or group_id not in self.index:
            raise BadInput(f"There is no channel group {group_id!r}. Known: {', '.join(self.index)}.")
        return self.groups[self.index[group_id]]

    @cached_property
    def prunable(self) -> tuple[ChannelGroup, ...]:
        return tuple(group for group in self.groups if group.prunable)

    @cached_property
    def sizes(self) -> NDArray[np.int64]:
        """Dense width of every group, int64 (groups,)."""
        return np.array([group.size for group in self.groups], dtype=np.int64)

    @cached_property
    def _unit_channels(self) -> tuple[frozenset[int], ...]:
        """Channels of one unit in the layers that write or read it, for every group, each number once."""
        found: list[set[int]] = [set() for _ in self.groups]
        for layer in self.layers:
            for units in (layer.in_units, layer.out_units):
                owners = units[units[:, 0] >= 0, 0]
                for place, channels in zip(*np.unique(owners, return_counts=True), strict=True):
                    found[place].add(max(1, int(channels) // self.groups[place].size))
        return tuple(map(frozenset, found))

    def steps(self, multiple: int) -> tuple[int, ...]:
        """The fewest units of every group that are a multiple of `multiple` channels in all layers that write or
        read it, at most its size; a unit can be several channels (grouped convolutions, group norm).
        """
        fewest = (
            math.lcm(*(multiple // math.gcd(multiple, channels) for channels in each or (1,)))
            for each in self._unit_channels
        )
        return tuple(min(group.size, units) for group, units in zip(self.groups, fewest, strict=True))


@dataclass(frozen=True, eq=False)
class Scores:
    """Importance of every unit of every prunable group: higher = keep.

    `comparable` says that scores of different groups are on one scale (Taylor's are in units of loss), so
    that a global ranking takes them raw instead of dividing by the group's mean.

    `gains`, float32 (size,) per group or empty, are what the layers that read a group lose less when it keeps one unit
    more, from the best unit down, refitted, as a share of their answers' variance; never rising. `allocate` shares a
    cut by them.
    """

    criterion: str
    by_group: Mapping[str, Floats]
    comparable: bool
    gains: Mapping[str, Floats] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("by_group", "gains"):
            given: Mapping[str, Floats] = getattr(self, name)
            arrays = {group: read_only(np.array(a, dtype=np.float32)) for group, a in given.items()}
            object.__setattr__(self, name, MappingProxyType(arrays))

    @cached_property
    def key(self) -> str:
        pairs = (*self.by_group.items(), *self.gains.items())
        return content_key(self.criterion, *(part for pair in pairs for part in pair))


def order_of(values: NDArray[np.float32]) -> NDArray[np.int64]:
    """Units from the most important one down; ties in channel order, int64 (units,)."""
    return np.argsort(-values, kind="stable")


@dataclass(frozen=True, eq=False)
class Plan:
    """Which units of every prunable group are kept: bool (size,) per group. Equal plans have equal keys."""

    graph_key: str
    keep: Mapping[str, Bools]

    def __post_init__(self) -> None:
        arrays = {name: read_only(np.array(a, dtype=bool)) for name, a in self.keep.items()}
        object.__setattr__(self, "keep", MappingProxyType(arrays))

    @cached_property
    def key(self) -> str:
        return content_key(self.graph_key, *(part for pair in sorted(self.keep.items()) for part in pair))

    @cached_property
    def widths(self) -> Mapping[str, int]:
        """Kept units of every prunable group."""
        return MappingProxyType({name: int(kept.sum()) for name, kept in self.keep.items()})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Plan) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


@dataclass(frozen=True)
class Cost:
    """What a network of given widths costs, for one example of the graph's input shape.

    `macs`: multiply-adds of convolutions, transposed convolutions, linear layers and matrix products,
    padding taps counted; bias, batch norm, activations and pooling are not. `params`: elements of the
    parameters, tied ones once. `peak_bytes`: largest sum of live float32 activations over the execution
    order, batch 1, weights excluded. `file_bytes`: size of the weights as a safetensors file.
    `layer_macs` and `layer_params` (weights only) are per layer, in the graph's order.
    """

    macs: int
    params: int
    peak_bytes: int
    file_bytes: int
    layer_macs: tuple[int, ...] = field(repr=False)
    layer_params: tuple[int, ...] = field(repr=False)


Repair = Literal["none", "merge", "refit", "refit_sequential"]
"""How the layers that read removed channels are made for those that are left, without training: not at all, by adding
the filter of a similar channel (needs no images), or by least squares, each layer by itself or one after the other."""

REPAIRS: Mapping[str, str] = MappingProxyType(
    {
        "none": "no repair",
        "merge": "merged neurons",
        "refit": "refit by least squares",
        "refit_sequential": "refit layer after layer",
    }
)
"""The repairs, with a label for people."""


@dataclass(frozen=True)
class Recovery:
    """What is done to the weights after cutting, in this order: a repair of the layers that read removed channels,
    BN statistics re-estimated, epochs of training.
    """

    bn: bool = False
    epochs: int = 0
    repair: Repair = "none"

    @classmethod
    def parse(cls, text: str) -> "Recovery":
        """ "none", or one or two of: a repair ("merge", "refit", "refit_sequential") and then "bn" or a number of
        epochs, joined by "+" as in "refit+bn". BN statistics are re-estimated before training. Raises BadInput.
        """
        head, plus, rest = text.partition("+") if isinstance(text, str) else ("", "", "")
        repaired = head in REPAIRS and head != "none"
        repair = cast(Repair, head) if repaired else "none"
        then = rest if repaired else text
        if text == "none" or (repaired and not plus):
            return cls(repair=repair)
        if then == "bn":
            return cls(bn=True, repair=repair)
        if isinstance(then, str) and then.isdecimal() and int(then) > 0:
            return cls(bn=True, epochs=int(then), repair=repair)
        raise BadInput(
            f"Recovery {text!r} is not known. Use none, bn, a number of epochs such as 1, or a repair "
            "(merge, refit, refit_sequential), alone or before one of these: refit+bn, refit+1."
        )

    @property
    def code(self) -> str:
        """What `parse` reads."""
        then = str(self.epochs) if self.epochs else ("bn" if self.bn else "")
        return (
            "+".join(part for part in (self.repair if self.repair != "none" else "", then) if part) or "none"
        )

    @property
    def kind(self) -> str:
        """The word for it where there is room for one: "none", "bn", "merge", "refit" or "trained"."""
        if self.epochs:
            return "trained"
        if self.repair != "none":
            return "merge" if self.repair == "merge" else "refit"
        return "bn" if self.bn else "none"

    @property
    def label(self) -> str:
        """For people, beside every accuracy."""
        then = "re-estimated BN" if self.bn else ""
        if self.epochs:
            then = f"trained {self.epochs} epoch{'s' if self.epochs > 1 else ''}"
        repair = REPAIRS[self.repair] if self.repair != "none" else ""
        return ", ".join(part for part in (repair, then) if part) or "no recovery"


@dataclass(frozen=True)
class State:
    """What an accuracy belongs to: weights, plan and recovery (and its seed)."""

    weights_key: str
    plan_key: str
    recovery: Recovery
    seed: int = 0

    @cached_property
    def key(self) -> str:
        done = self.recovery
        return content_key(self.weights_key, self.plan_key, done.bn, done.epochs, done.repair, self.seed)


def wilson_interval(correct: int, seen: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927, JASA 22): correct of seen -> (low, high) in [0, 1]."""
    if seen == 0:
        return 0.0, 1.0
    z = 1.959964
    share = correct / seen
    middle = (share + z * z / (2 * seen)) / (1 + z * z / seen)
    half = z / (1 + z * z / seen) * math.sqrt(share * (1 - share) / seen + z * z / (4 * seen * seen))
    return max(0.0, middle - half), min(1.0, middle + half)


def mean_interval(total: float, squares: float, seen: int) -> tuple[float, float]:
    """95 % interval of a mean of `seen` numbers, by the normal distribution: of their sum and their squares' sum.

    One number tells nothing of its spread: then it is that number twice.
    """
    if seen < 2:
        return total, total
    mean = total / seen
    half = 1.959964 * math.sqrt(max(0.0, squares / seen - mean * mean) / (seen - 1))
    return mean - half, mean + half


def next_step(rough: float) -> float:
    """The smallest of 1, 2 or 5 times a power of ten that is not below."""
    power: float = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))


Counts = Literal["accuracy", "agreement", "itself"]
"""What outputs are held against in an estimate: the targets of the images; where there are none, the dense network's
outputs; or nothing, since it is of the dense network itself, which agrees with itself by definition."""


@dataclass(frozen=True)
class Estimate:
    """How good a network's outputs are, so far: on `seen` images out of `of`, and the state it belongs to.

    `measure` says what is counted, `correct` is the sum of it over the seen images. For classes that is "accuracy", and
    `correct` the number of images whose top-1 class is the label; without labels "agreement", those whose class is the
    dense network's. For other tasks (`explorer.data.tasks`) `squares` is the sum of squares of the images' scores.
    Unless `counts` is "accuracy", `divergence` is, for classes, the mean over the seen images
    of KL(dense || now) = sum_k p_k (log p_k - log q_k) in nats, p and q the softmax of the logits of the dense
    network and of this one.
    """

    state_key: str
    correct: float
    seen: int
    of: int
    counts: Counts = "accuracy"
    divergence: float | None = None
    measure: str = ""
    squares: float | None = None

    def __post_init__(self) -> None:
        if not self.measure:
            object.__setattr__(self, "measure", "accuracy" if self.counts == "accuracy" else "agreement")

    def __repr__(self) -> str:
        return f"<Estimate {self}, state {self.state_key[:8]}>"

    def __str__(self) -> str:
        """For people: "92.6 % (91.4 to 93.7), 2,000 of 2,000 images"; what is no accuracy says so."""
        images = f"{self.seen:,} of {self.of:,} images"
        if not self.seen:
            return f"unknown, {images}"
        if self.counts == "itself":
            return f"the dense network itself, 100 % by definition, {images}"
        value, low, high = (self.digits(each) for each in (self.value, self.low, self.high))
        share = f"{value}{self.unit} ({low} to {high})"
        if self.counts == "agreement":
            share += " agreement with the dense network"
        if self.measure not in ("accuracy", "agreement"):
            share += f" ({self.measure} of the outputs)" if self.counts == "agreement" else f" {self.measure}"
        if self.divergence is not None:
            share += f", divergence {self.divergence:.3g} nats"
        return f"{share}, {images}"

    @property
    def value(self) -> float:
        """Mean of what is counted over the seen images, higher = better; NaN before the first image."""
        return self.correct / self.seen if self.seen else math.nan

    @property
    def accuracy(self) -> float:
        """Share of images whose top-1 class is right (see `counts`), in [0, 1]; NaN before the first image.

        Raises BadInput where something else is counted.
        """
        if self.squares is not None:
            raise BadInput(f"This estimate is no accuracy of classes: it counts {self.measure}. Use .value.")
        return self.value

    @property
    def percent(self) -> bool:
        """Whether it is told in per cent: all but a score of the user's own."""
        return self.measure != "score"

    @property
    def shown(self) -> float:
        """The value on the scale that it is told in."""
        return 100 * self.value if self.percent else self.value

    def digits(self, value: float | None = None) -> str:
        """A value (None: this one) in digits, without its unit: "92.6" of per cent, "31.42" of what is no share."""
        value = self.value if value is None else value
        return f"{100 * value:.1f}" if self.percent else f"{value:.4g}"

    @property
    def unit(self) -> str:
        """What stands behind it."""
        return " %" if self.percent else ""

    @property
    def _interval(self) -> tuple[float, float]:
        if self.counts == "itself":
            return 1.0, 1.0
        if self.squares is None:
            return wilson_interval(int(self.correct), self.seen)
        return mean_interval(self.correct, self.squares, self.seen)

    @property
    def low(self) -> float:
        """Lower end of the 95 % interval (Wilson's of a share of images); of what holds by definition it is 1."""
        return self._interval[0]

    @property
    def high(self) -> float:
        """Upper end of the 95 % interval, as `low`."""
        return self._interval[1]

    @property
    def done(self) -> bool:
        return self.seen == self.of


@dataclass(frozen=True)
class Proof:
    """How far the shrunk network is from the masked one, on real inputs (see `surgery.prove`).

    `precision` is the type that these numbers were computed in, such as "float32"; `note` says why that is not
    float64 where float64 was asked for.
    """

    max_difference: float
    scale: float
    effect: float
    finite: bool
    tolerance: float
    precision: str = "float32"
    note: str = ""

    @property
    def ok(self) -> bool:
        """Finite outputs, not all zero, and equal up to the tolerance x scale."""
        return self.finite and self.scale > 0 and self.max_difference <= self.tolerance * self.scale

    @property
    def conclusive(self) -> bool:
        """ok, and the cut changed the logits by more than the tolerance: wrong surgery would have shown."""
        return self.ok and self.effect > self.tolerance * self.scale


@dataclass(frozen=True)
class Latency:
    """Measured seconds per forward pass of one batch: median and quartiles over `runs`."""

    batch: int
    median: float
    low: float
    high: float
    runs: int


@dataclass(frozen=True)
class Request:
    """Everything that a user has chosen, as one hashable value: scalars and tuples only.

    `keep` is the share of `cost` kept at most, over the groups that `widths` does not pin; those have at least
    `minimum` units. `widths` and `stay` are pairs (group id, width): pinned groups, and groups that stand at a
    width because another one was set by hand (empty: they follow `keep`). `locked` are pinned groups that no
    drag moves. `hold`: when a group is set by hand, the others make room, so that `keep` still holds. Widths are
    multiples of `multiple` channels, or whole.
    """

    criterion: str = "l1"
    allocation: str = "global"
    cost: str = "macs"
    keep: float = 1.0
    widths: tuple[tuple[str, int], ...] = ()
    recovery: Recovery = Recovery(bn=True)
    seed: int = 0
    stay: tuple[tuple[str, int], ...] = ()
    locked: tuple[str, ...] = ()
    hold: bool = False
    minimum: int = 1
    multiple: int = 1


def full_plan(graph: ChannelGraph) -> Plan:
    """The plan that keeps everything."""
    return Plan(graph.key, {group.id: np.ones(group.size, dtype=bool) for group in graph.prunable})
