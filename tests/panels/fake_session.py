"""A session without an engine: the traits of the real one, a small hand-made graph, answers at once."""

import threading
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import numpy as np
from traitlets import Any, Bool, HasTraits, Unicode

from explorer.errors import BadInput
from explorer.records import Moment, Outcomes, Runs, recovered
from explorer.session import in_words
from explorer.strings import Message
from explorer.values import (
    ChannelGraph,
    ChannelGroup,
    Cost,
    CostTerms,
    Estimate,
    Latency,
    Layer,
    Plan,
    Recovery,
    Request,
    Scores,
    full_plan,
)
from tests.instance_runs import example_instances

Spec = tuple[str, str, int, str]
"""Name of a layer, id of its group, channels, kernel as "3x3" ("" = linear)."""

RESNET: tuple[Spec, ...] = (
    ("stem", "sum1", 16, "3x3"),
    *((f"stage1.{b}.conv{c}", f"s1b{b}" if c == 1 else "sum1", 16, "3x3") for b in range(3) for c in (1, 2)),
    ("stage2.0.conv1", "s2b0", 32, "3x3"),
    ("stage2.0.conv2", "sum2", 32, "3x3"),
    ("stage2.0.shortcut.0", "sum2", 32, "1x1"),
    *((f"stage2.{b}.conv{c}", f"s2b{b}" if c == 1 else "sum2", 32, "3x3") for b in (1, 2) for c in (1, 2)),
    ("stage3.0.conv1", "s3b0", 64, "3x3"),
    ("stage3.0.conv2", "sum3", 64, "3x3"),
    ("stage3.0.shortcut.0", "sum3", 64, "1x1"),
    *((f"stage3.{b}.conv{c}", f"s3b{b}" if c == 1 else "sum3", 64, "3x3") for b in (1, 2) for c in (1, 2)),
    ("classifier", "classes", 10, ""),
)
CHAIN: tuple[Spec, ...] = (
    ("first", "a", 8, "3x3"),
    ("second", "b", 16, "3x3"),
    ("classifier", "classes", 10, ""),
)


def make_graph(
    specs: Sequence[Spec] = RESNET, frozen: Sequence[str] = ("classes",), image: int = 1
) -> ChannelGraph:
    """A graph of those layers; only what figures and panels read is filled in."""
    ids = list(dict.fromkeys(group for _name, group, _size, _kernel in specs))
    groups = tuple(
        ChannelGroup(
            id=group,
            size=next(size for _n, g, size, _k in specs if g == group),
            slots=(),
            layers=tuple(name for name, g, _s, _k in specs if g == group),
            prunable=group not in frozen,
            reason="the network's output" if group in frozen else "",
        )
        for group in ids
    )
    layers, inputs = [], image
    for name, group, size, kernel in specs:
        units = np.stack([np.full(size, ids.index(group)), np.arange(size)], axis=1).astype(np.int32)
        sides = tuple(int(side) for side in kernel.split("x")) if kernel else ()
        maps = (28, 28) if kernel else ()
        in_units = np.full((inputs, 2), -1, dtype=np.int32)
        layers.append(
            Layer(
                name,
                "conv" if kernel else "linear",
                f"{name}.weight",
                (inputs, *maps),
                (size, *maps),
                sides,
                in_units,
                units,
            )
        )
        inputs = size
    terms = cast("CostTerms", None)  # costs are the fake session's own
    return ChannelGraph(
        layers=tuple(layers),
        groups=groups,
        edges=(),
        input_shape=(image, 28, 28),
        folds=(),
        attributes=(),
        shapes={},
        ties=(),
        terms=terms,
        key="fake",
    )


def make_scores(graph: ChannelGraph, seed: int = 0) -> Scores:
    """Positive scores of every prunable group, skewed as Taylor's are."""
    draw = np.random.default_rng(seed)
    return Scores("taylor", {group.id: draw.gamma(2.0, 0.01, group.size) for group in graph.prunable}, True)


NOTED = (
    *("pin", "lock", "clear_pins", "press", "release", "undo", "redo", "train", "stop_training"),
    *("start_search", "stop_search", "resume_search", "drop_search", "use_widths", "read_recorded"),
    "dynamic",
    *("use_trained", "set_reference", "restore", "name_visit", "check_final", "sweep"),
)


class FakeSession(HasTraits):
    """Keeps the best units of every group; accuracy is a made-up function of the share kept."""

    request = Any()
    plan = Any()
    cost = Any()
    scores = Any(None, allow_none=True)
    estimate = Any(None, allow_none=True)
    estimate_label = Any(Message("label_nothing_cut"))
    estimate_share = Any(1.0)
    current = Bool(True)
    reference = Any(None, allow_none=True)
    reference_plan = Any()
    reference_cost = Any()
    reference_is_dense = Bool(True)
    selection = Unicode()
    layer = Unicode()
    stage = Any(Message("stage_ready"))
    status = Any(Message("status_dense"))
    error = Unicode()
    reach = Any((0.0, 1.0))
    share = Any(1.0)
    recovery = Any(Recovery())
    given = Any({})
    preparing = Any(None, allow_none=True)
    custom = Bool(False)
    latency = Any(())
    can_undo = Bool(False)
    can_redo = Bool(False)
    visits = Any(())
    at = Any(None, allow_none=True)
    training = Any(None, allow_none=True)
    runs = Any(Runs())
    final_checks = Any(())
    sensitivity = Any(None, allow_none=True)
    bands = Any(())
    sweeping = Unicode()
    outcomes = Any(None, allow_none=True)
    instances = Any(None, allow_none=True)
    instance_estimate = Any(None, allow_none=True)
    instance_source = Unicode()
    instance_level = Any(0.5)
    picked = Any(())

    @property
    def search(self):
        """The search of DMCP; the other three as short."""
        return self.runs.progress.get("dmcp")

    @search.setter
    def search(self, progress):
        self.runs = self.runs.without("dmcp") if progress is None else self.runs.having(progress)

    @property
    def instance_search(self):
        return self.runs.progress.get("manidp")

    @instance_search.setter
    def instance_search(self, progress):
        self.runs = self.runs.without("manidp") if progress is None else self.runs.having(progress)

    @property
    def recorded(self):
        return self.runs.recorded.get("dmcp")

    @recorded.setter
    def recorded(self, recorded):
        self.runs = replace(self.runs, recorded={**self.runs.recorded, "dmcp": recorded})

    @property
    def recorded_instances(self):
        return self.runs.recorded.get("manidp")

    @recorded_instances.setter
    def recorded_instances(self, recorded):
        self.runs = replace(self.runs, recorded={**self.runs.recorded, "manidp": recorded})

    def __init__(
        self, specs: Sequence[Spec] = RESNET, scored: bool = True, data: bool = True, train: bool = True
    ) -> None:
        images = SimpleNamespace(name="Fashion-MNIST", train=object() if train else None, final=object())
        self.network = SimpleNamespace(
            name="resnet20",
            file_name="resnet20",
            data=images if data else None,
            source="resnet20.py",
            trained=True,
            notes=(),
        )
        self.graph = make_graph(specs)
        self.dense_cost = Cost(41_234_000, 272_474, 401_408, 1_108_432, (), ())
        codes = ("none", "bn", "merge+bn", "refit+bn") if data and train else ("none", "merge")
        self.offered = tuple(map(Recovery.parse, codes))
        request = Request("taylor", recovery=Recovery(bn=data and train))
        dense = full_plan(self.graph)
        super().__init__(
            request=request,
            recovery=request.recovery,
            plan=dense,
            cost=self.dense_cost,
            reference_plan=dense,
            reference_cost=self.dense_cost,
        )
        self.proposed: list[dict[str, object]] = []
        self.called: list[tuple[object, ...]] = []
        self.remembered: dict[tuple[int, int], Outcomes] = {}
        self.closed = False
        if scored:
            self.finish_scoring()

    def finish_scoring(self) -> None:
        self.scores = make_scores(self.graph)
        self.reach = (0.034, 1.0)
        self._answer()
        if self.network.data is not None:
            self.reference = Estimate("dense", 1852, 2000, 2000)

    def report(self, error: BaseException) -> None:
        self.error = in_words(error)

    def propose(self, wait: bool = False, **changes: object) -> None:
        self.proposed.append(changes)
        keep = changes.get("keep", self.request.keep)
        if not isinstance(keep, float | int) or not self.reach[0] <= keep <= 1:
            raise BadInput(f"keep is {keep!r}; expected {self.reach[0]} to 1.")
        self.error = ""
        self.request = replace(self.request, **changes)
        self.recovery = self.request.recovery
        self._answer()

    def move_keep(self, share: float) -> None:
        """As far as it goes."""
        self.called.append(("move_keep", share))
        low, high = self.reach
        self.propose(keep=min(max(share, low), high))

    classifies = True
    scored = None

    def select(self, group_id: str, layer: str = "") -> None:
        group = self.graph.group(group_id)
        with self.hold_trait_notifications():
            self.selection, self.layer = group_id, layer or group.layers[0]

    def drag(self, widths: dict[str, int]) -> None:
        """Pins the groups and cuts their least important units; the others stay."""
        self.called.append(("drag", dict(widths)))
        keep = dict(self.plan.keep)
        for group, width in widths.items():
            order = np.argsort(-self.scores.by_group[group], kind="stable")
            keep[group] = np.isin(np.arange(len(order)), order[:width])
        pins = tuple(sorted({**dict(self.request.widths), **widths}.items()))
        with self.hold_trait_notifications():
            self.request = replace(self.request, widths=pins)
            self.custom = True
            self.plan = Plan(self.graph.key, keep)

    def __getattr__(self, name: str) -> object:
        """Any other call of the session's is only noted, in `called`."""
        if name not in NOTED:
            raise AttributeError(name)
        return lambda *arguments, **named: self.called.append((name, *arguments, *([named] if named else [])))

    def show_instances(self, source: str = "active", level: float | None = None) -> None:
        """Of 40 images of 4 classes; recorded ones are ManiDP's."""
        self.called.append(("show_instances", source))
        if self.network.data is None:
            raise BadInput("There are no images.")
        found = example_instances(self.graph, source="active" if source == "active" else "manidp")
        with self.hold_trait_notifications():
            self.instance_source, self.instance_level = source, level or found.level
            self.instances = found
            self.instance_estimate = Estimate("instances", int(found.right.sum()), len(found), len(found))

    def set_instance_level(self, level: float) -> None:
        """Only a trial comes of it."""
        self.called.append(("set_instance_level", level))
        with self.hold_trait_notifications():
            self.instance_level, self.instance_estimate = level, None
            self.instances = replace(self.instances, level=level, trial=True)

    def pick(self, *images: int) -> None:
        self.picked = images

    def outcomes_of(self, one: int, other: int) -> Outcomes | None:
        """Those of `remembered`."""
        return self.remembered.get((one, other))

    def measure_latency(self) -> None:
        self.latency = (
            Latency(1, 0.00085, 0.0008, 0.0009, 20),
            Latency(1, 0.00084, 0.00081, 0.0009, 20),
            Latency(64, 0.0331, 0.032, 0.035, 20),
            Latency(64, 0.0214, 0.021, 0.025, 20),
        )

    def close(self) -> None:
        self.closed = True

    def now(self) -> Moment:
        return Moment(self.request, self.plan, self.request.recovery, self.cost, self.estimate, self.latency)

    def pruned(self) -> object:
        return SimpleNamespace(plan=self.plan)

    def _answer(self) -> None:
        keep = self.request.keep
        kept = {}
        for place, group in enumerate(self.graph.prunable):
            width = max(1, round(keep ** (0.4 + 0.25 * (place % 3)) * group.size))
            order = np.argsort(-self.scores.by_group[group.id], kind="stable")
            kept[group.id] = np.isin(np.arange(group.size), order[:width])
        dense = self.dense_cost
        totals = dense.macs, dense.params, dense.peak_bytes, dense.file_bytes
        shares = keep, keep**1.2, keep**0.5, keep**1.15
        amounts = (round(total * share) for total, share in zip(totals, shares, strict=True))
        self.cost = Cost(*amounts, (), ())
        self.plan = Plan(self.graph.key, kept)
        if self.network.data is not None:
            seen = 2000 if keep == 1 else 640
            self.estimate = Estimate(self.plan.key, round(seen * (0.926 - 0.2 * (1 - keep))), seen, 2000)
            self.estimate_label = recovered(self.request.recovery)


def propose_from_two_threads(session: FakeSession) -> None:
    """Keep goes down from 100 % to 41 %, its odd and its even values from two threads; both must end."""

    def change(start: int) -> None:
        for step in range(start, 60, 2):
            session.propose(keep=(100 - step) / 100)

    threads = [threading.Thread(target=change, args=(start,), daemon=True) for start in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert not any(thread.is_alive() for thread in threads), "one waits for the other"
