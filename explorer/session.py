"""What the explorer shows, as observable state: what was asked for, and what is known of it so far.

Panels read the traits and call `propose`, `select` and `measure_latency`; only the session writes results.
`propose` answers the analytic part at once (plan and cost, from cached scores); one worker thread does the
rest and publishes estimates as they come. Traits may change on any thread.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from torch import nn
from traitlets import Bool, Float, HasTraits, Instance, Tuple, Unicode

from explorer.allocate import ALLOCATIONS, Curve, curve
from explorer.costs import COSTS, cost
from explorer.criteria import CRITERIA, score
from explorer.errors import BadInput, ExplorerError, Interrupted, UnknownName, require_name, require_whole
from explorer.evaluate.latency import measure_latency
from explorer.evaluate.live import LiveEvaluation
from explorer.evaluate.recovery import TrainingStep
from explorer.evaluate.worker import LatestWins
from explorer.graph import trace
from explorer.surgery import shrink
from explorer.values import ChannelGraph, Cost, Estimate, Latency, Plan, Recovery, Request, Scores, full_plan
from explorer.zoo import Network

LATENCY_BATCHES = (1, 64)
CURVES = 32  # rankings under one set of pins that are remembered


@dataclass(frozen=True)
class _Note:
    """What the worker has to tell: any of an estimate, the reference, a stage, a latency, the end."""

    estimate: Estimate | None = None
    label: str = ""
    reference: Estimate | None = None
    stage: str = ""
    latency: tuple[Latency, ...] = ()
    done: bool = False


def in_words(error: BaseException) -> str:
    """An exception as a sentence for the status line."""
    if isinstance(error, ExplorerError):
        return str(error)
    kind = type(error).__name__
    return f"{kind}: {error}. This is a fault of the explorer: please report it with what you did."


class Session(HasTraits):
    """One network being explored. Raises CannotTrace if the network cannot be read.

    `request` is the last one that could be answered; `plan` and `cost` belong to it. `estimate` may belong
    to an earlier one: then `current` is False. `reference` is the dense network's estimate. `reach` is the
    smallest and the largest share that *Keep* can reach, `error` empty while nothing is wrong.
    """

    request = Instance(Request)
    plan = Instance(Plan)
    cost = Instance(Cost)
    scores = Instance(Scores, allow_none=True)
    estimate = Instance(Estimate, allow_none=True)
    estimate_label = Unicode()
    current = Bool(True)
    reference = Instance(Estimate, allow_none=True)
    reach = Tuple(Float(), Float(), default_value=(0.0, 1.0))
    selection = Unicode()
    stage = Unicode("ready")
    status = Unicode()
    error = Unicode()
    latency = Tuple()

    def __init__(self, network: Network) -> None:
        self.network = network
        self.graph: ChannelGraph = trace(network.model, network.example)
        self.dense_cost: Cost = cost(self.graph)
        self._dense = full_plan(self.graph)
        # Every trait is written under this lock, so that nobody finds the traits of two states mixed.
        self._state = threading.RLock()
        self._scoring = threading.Lock()
        self._scores: dict[tuple[str, int], Scores] = {}
        self._curves: dict[tuple[object, ...], Curve] = {}
        self._latency_wanted = self._closed = False
        first = Request() if network.data is not None else Request(criterion="l1", recovery=Recovery())
        self._latest = self._good = first  # asked last; answered to the end last
        super().__init__(request=first, plan=self._dense, cost=self.dense_cost)
        self._live = None if network.data is None else LiveEvaluation(network.model, self.graph, network.data)
        self._worker: LatestWins[Request, _Note] = LatestWins(self._work, self._tell, self._failed)
        self.status = self._describe(self._dense, first)
        self.stage = "scoring"
        self._worker.submit(first)

    # ---- what panels call -------------------------------------------------------------------------------

    def propose(self, wait: bool = False, **changes: Any) -> None:
        """Ask for something else: any fields of Request.

        Plan and cost answer at once if the ranking is known, else when it is; `wait` scores in the calling
        thread. Raises ExplorerError for what cannot be asked, and then nothing has changed.
        """
        if wait:
            self._scored(self._checked(changes))
        with self._state:
            asked, before = self._checked(changes), self._latest
            self._latest = asked
            try:
                if (asked.criterion, asked.seed) in self._scores:
                    self._answer(asked)
                else:
                    self.error, self.stage = "", "scoring"
            except Exception:
                self._latest = before
                raise
            self._worker.submit(asked)

    def select(self, group_id: str) -> None:
        """Select a channel group; "" selects none. Raises BadInput for an unknown one."""
        if group_id:
            self.graph.group(group_id)
        with self._state:
            self.selection = group_id

    def measure_latency(self) -> None:
        """Measure latency on the worker thread: (dense, now) at batch 1, then (dense, now) at batch 64.

        It is measured when the accuracy is known, of whatever network is then asked for.
        """
        with self._state:
            self._latency_wanted = True
            self._worker.submit(self._latest)

    def report(self, error: BaseException) -> None:
        """Say on the status line what went wrong elsewhere, such as in a panel."""
        with self._state:
            self.error = in_words(error)

    def wait(self, timeout: float | None = None) -> bool:
        """Block until all that was asked is answered; True if the estimate is complete and current.

        Raises Interrupted if the kernel is interrupted meanwhile; the session goes back to its last good
        state.
        """
        try:
            if not self._worker.idle(timeout):
                return False
        except KeyboardInterrupt:
            self._worker.cancel()
            with self._state:
                self.stage = "ready"
                self._go_back()
                self.status = "Stopped. Move Keep to go on."
            raise Interrupted(
                "Stopped: the explorer is back at the last state that it knows fully."
            ) from None
        return self._live is None or (self.current and self.estimate is not None and self.estimate.done)

    def pruned(self) -> nn.Module:
        """A copy of the network as it is shown: shrunk and recovered, in eval mode, batch norm not folded."""
        with self._state:
            plan, asked = self.plan, self.request
        if self._live is None:
            return shrink(self.network.model, self.graph, plan)
        return self._live.network(plan, self._recovery(plan, asked), seed=asked.seed)

    def close(self) -> None:
        """End the worker thread; the session takes no more proposals."""
        self._closed = True
        self._worker.close()

    # ---- the analytic part ------------------------------------------------------------------------------

    def _checked(self, changes: dict[str, Any]) -> Request:
        """The latest request with the changes. Raises ExplorerError for what no request may hold."""
        if self._closed:
            raise ExplorerError("This explorer is closed: make a new one.")
        unknown = set(changes) - set(Request.__dataclass_fields__)
        if unknown:
            raise UnknownName("setting", unknown.pop(), Request.__dataclass_fields__)
        if "widths" in changes:
            changes = {**changes, "widths": _pairs(changes["widths"])}
        asked = replace(self._latest, **changes)
        for kind, name, known in (
            ("criterion", asked.criterion, CRITERIA),
            ("allocation", asked.allocation, ALLOCATIONS),
            ("cost", asked.cost, COSTS),
        ):
            require_name(kind, name, known)
        if not isinstance(asked.keep, int | float) or isinstance(asked.keep, bool) or not 0 < asked.keep <= 1:
            raise BadInput(f"keep must be a share above 0 and up to 1 (0.5 keeps half), not {asked.keep!r}.")
        if not isinstance(asked.recovery, Recovery):
            raise BadInput(
                f"recovery must be a Recovery, such as Recovery.parse('bn'), not {asked.recovery!r}."
            )
        require_whole("seed", asked.seed, 0)
        if self.network.data is None and CRITERIA[asked.criterion].needs_data:
            raise BadInput(
                f"Ranking by {asked.criterion} looks at images; this network was loaded without data."
            )
        return asked

    def _scored(self, asked: Request) -> Scores:
        """The ranking, computed at first use. What is known already never waits for what is being scored."""
        key = asked.criterion, asked.seed
        if key not in self._scores:
            with self._scoring:
                if key not in self._scores:
                    self._scores[key] = score(self.network, self.graph, asked.criterion, seed=asked.seed)
        return self._scores[key]

    def _curve(self, asked: Request) -> Curve:
        scores = self._scored(asked)
        key = asked.criterion, asked.seed, asked.cost, asked.allocation, asked.widths
        with self._state:
            if key not in self._curves:
                while len(self._curves) >= CURVES:
                    self._curves.pop(next(iter(self._curves)))
                self._curves[key] = curve(
                    self.graph, scores, asked.cost, asked.allocation, dict(asked.widths)
                )
            return self._curves[key]

    def _answer(self, asked: Request) -> None:
        """Publish plan and cost of a request. Raises NotReachable or BadInput before anything changes."""
        ranked = self._curve(asked)
        plan = ranked.plan(asked.keep)
        now = cost(self.graph, plan)
        # Held, so that whoever is told of one trait finds the others of the same state.
        with self._state, self.hold_trait_notifications():
            if plan != self.plan:
                self.latency = ()
            self.request, self.cost, self.plan = asked, now, plan
            self.scores, self.reach = ranked.scores, (ranked.lowest, float(ranked.share[-1]))
            self.error, self.status = "", self._describe(plan, asked)
            self._refresh_current()

    def _go_back(self) -> None:
        """Return to the last request that was answered to the end. Call under the state lock."""
        self._latest = self._good
        if self.request != self._good:
            self._answer(self._good)
            if self._live is not None:
                self._worker.submit(self._good)

    def _describe(self, plan: Plan, asked: Request) -> str:
        kept, units = sum(plan.widths.values()), sum(group.size for group in self.graph.prunable)
        if not units:
            return "Nothing can be pruned in this network: hover over a bar for the reason."
        if kept == units:
            return "Nothing is cut. Move Keep to 80 % and watch the accuracy."
        narrowed = sum(plan.widths[group.id] < group.size for group in self.graph.prunable)
        cut = f"{units - kept:,} of {units:,} channels cut, in {narrowed} of {len(plan.widths)} groups."
        why_not = "" if self._live is None else self._live.available(asked.recovery)[1]
        return f"{cut} {why_not}".rstrip()

    def _recovery(self, plan: Plan, asked: Request) -> Recovery:
        """Where nothing was cut there is nothing to re-estimate."""
        recovery = asked.recovery
        if plan == self._dense and not recovery.epochs:
            return Recovery()
        return recovery if self._live is None else self._live.available(recovery)[0]

    def _label(self, plan: Plan, asked: Request) -> str:
        recovery = self._recovery(plan, asked)
        return "nothing cut" if plan == self._dense and recovery == Recovery() else recovery.label

    def _refresh_current(self) -> None:
        if self._live is None:
            return
        recovery = self._recovery(self.plan, self.request)
        key = self._live.state(self.plan, recovery, self.request.seed).key
        self.current = self.estimate is not None and self.estimate.state_key == key

    # ---- the worker thread ------------------------------------------------------------------------------

    def _work(self, asked: Request, publish: Callable[[_Note], None], check: Callable[[], None]) -> None:
        if (asked.criterion, asked.seed) not in self._scores:
            self._scored(asked)
        with self._state:
            if asked == self._latest and (asked != self.request or self.scores is None):
                self._answer(asked)
        if self._live is not None:
            self._evaluate(asked, publish, check)
        if self._latency_wanted:
            self._measure(asked, publish)
        publish(_Note(stage="ready", done=True))

    def _evaluate(self, asked: Request, publish: Callable[[_Note], None], check: Callable[[], None]) -> None:
        assert self._live is not None
        plan = self._curve(asked).plan(asked.keep)
        recovery = self._recovery(plan, asked)

        def progress(step: TrainingStep) -> None:
            publish(_Note(stage=f"training, step {step.step:,} of {step.of:,}"))

        label = self._label(plan, asked)
        for estimate in self._live.estimates(plan, recovery, check, progress, asked.seed):
            publish(_Note(estimate, label, stage="evaluating"))
        if self.reference is None or not self.reference.done:
            for estimate in self._live.estimates(self._dense, Recovery(), check):
                publish(_Note(reference=estimate, stage="evaluating the dense network"))

    def _measure(self, asked: Request, publish: Callable[[_Note], None]) -> None:
        publish(_Note(stage="measuring latency"))
        plan = self._curve(asked).plan(asked.keep)
        small = shrink(self.network.model, self.graph, plan)
        measured = [
            measure_latency(model, self.network.example, batch)
            for batch in LATENCY_BATCHES
            for model in (self.network.model, small)
        ]
        publish(_Note(latency=tuple(measured)))

    def _tell(self, asked: Request, note: _Note) -> None:
        with self._state:
            if note.estimate is not None:
                with self.hold_trait_notifications():
                    self.estimate_label = note.label
                    self.estimate = note.estimate
                    self._refresh_current()
            reference = note.reference or note.estimate
            if reference is not None and reference.state_key == self._dense_key():
                self.reference = reference
            if note.latency and asked == self.request:
                self._latency_wanted, self.latency = False, note.latency
            if note.done and asked == self.request:
                self._good = asked
            if note.stage:
                self.stage = note.stage

    def _dense_key(self) -> str:
        assert self._live is not None
        return self._live.state(self._dense, Recovery()).key

    def _failed(self, asked: Request, error: BaseException) -> None:
        """Go back to the last good request; the reason goes to the status line."""
        with self._state:
            self._latency_wanted = False
            if asked == self._latest:
                self._go_back()
            self.error = in_words(error)
            self.stage = "ready"


def _pairs(widths: Any) -> tuple[tuple[str, int], ...]:
    """Widths as a request holds them: {group: width} or pairs -> sorted pairs."""
    try:
        return tuple(sorted(dict(widths).items()))
    except (TypeError, ValueError) as error:
        raise BadInput(f"widths must be {{group: width}}, such as {{'stem': 8}}, not {widths!r}.") from error
