"""How requests are answered: plan and costs at once, the rest on a thread that evaluates and one that trains."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from explorer.allocate import by_hand
from explorer.costs import cost
from explorer.errors import ExplorerError
from explorer.evaluate.live import LiveEvaluation
from explorer.evaluate.worker import LatestWins
from explorer.graph import trace
from explorer.records import FinalCheck, Outcomes, Training
from explorer.session import wording
from explorer.session.choices import Choices
from explorer.session.history import History
from explorer.session.jobs import Jobs
from explorer.session.state import SessionState
from explorer.session.sweeps import SWEEPS, Found, SweepDesk
from explorer.session.training import TrainingDesk
from explorer.session.visits import Visits
from explorer.strings import Message
from explorer.values import ChannelGraph, Cost, Estimate, Latency, Plan, Recovery, Request, State, full_plan
from explorer.zoo import Network

GRACE = 0.06  # seconds in which plan and costs reach the page before the evaluation takes the processor


@dataclass(frozen=True)
class _Note:
    """What the worker has to tell of the request `asked`."""

    asked: Request
    estimate: Estimate | None = None
    plan: Plan | None = None
    reference: Estimate | None = None
    stage: str = ""
    latency: tuple[Latency, ...] = ()
    final: FinalCheck | None = None
    done: bool = False


@dataclass(frozen=True, eq=False)
class Reference:
    """The state that deltas and outlines are drawn against."""

    plan: Plan
    recovery: Recovery
    seed: int


class Answering(SessionState):
    """Takes requests (`_ask`) and publishes what they come to. Raises CannotTrace if the network cannot be read.

    With a `history`, of an earlier session over the same network, it goes on where that one stood: it is ranked
    and answered before the constructor returns.
    """

    def __init__(self, network: Network, history: History | None = None) -> None:
        self.network = network
        self.graph: ChannelGraph = trace(network.model, network.example)
        self.dense_cost: Cost = cost(self.graph)
        self._dense = full_plan(self.graph)
        # Every trait is written under this lock, so that nobody finds the traits of two states mixed.
        self._state = threading.RLock()
        self._choices = Choices(network, self.graph)
        self._latency_wanted = self._final_wanted = self._closed = False
        first = Request() if network.data is not None else Request(criterion="l1", recovery=Recovery())
        self._history, self._visits = history or History(first), Visits()
        self._latest, self._good = self._history.now, first  # asked last; answered to the end last
        if history is not None:  # what cannot be answered is refused before there are threads
            self._choices.scored(self._latest)
            self._choices.answer(self._latest)
        self._reference = Reference(self._dense, Recovery(), 0)
        self._untrained: Message | None = None  # what is to be said of a cut that was not trained again
        self._held_plan: Plan | None = None  # what a pointer that is held down began with
        self._swept_for: tuple[object, ...] = ()  # what the latest sweep is for
        self._sweep_results: dict[tuple[object, ...], Found] = {}
        self._said = wording.plan(self.graph, self._dense, network.data is not None)
        super().__init__(
            request=first,
            plan=self._dense,
            cost=self.dense_cost,
            reference_plan=self._dense,
            reference_cost=self.dense_cost,
            estimate_label=wording.recovered(Recovery(), cut=False),
            stage=Message("stage_scoring"),
            status=self._said,
        )
        self._select_first()
        data = network.data
        self._live = None if data is None else LiveEvaluation(network.model, self.graph, data)
        self._desk = (
            None if self._live is None else TrainingDesk(self._live, self._trained, self._not_trained)
        )
        self._sweeps = SweepDesk(network, self.graph, self._swept, self._not_swept, self._yield, self._state)
        self._jobs = Jobs(network, self.graph, self._live)
        self._worker: LatestWins[Request, _Note] = LatestWins(
            self._work, self._tell, self._failed, grace=GRACE
        )
        if history is not None:
            self._answer(self._latest)
            self._tell_history()
        self._worker.submit(self._latest)

    @property
    def agreeing(self) -> bool:
        """Whether there are images without labels: estimates then count agreement with the dense network."""
        data = self.network.data
        return data is not None and not data.explore.labelled

    @property
    def _search_runs(self) -> bool:
        searches = self.search, self.instance_search
        return any(search is not None and search.state == "running" for search in searches)

    # ---- the analytic part ------------------------------------------------------------------------------

    def _require_open(self) -> None:
        if self._closed:
            raise ExplorerError("This explorer is closed: make a new one.")

    def _select_first(self) -> None:
        """Until somebody selects, a layer in the middle is shown: an empty panel would teach nothing."""
        single = [group for group in self.graph.prunable if len(group.layers) == 1] or self.graph.prunable
        if single:
            middle = single[len(single) // 2]
            self.selection, self.layer = middle.id, middle.layers[0]

    def _ask(self, asked: Request, kind: str, train: bool = False) -> None:
        """Take a new request; `kind` of gesture for undo. Call under the state lock."""
        self._require_open()
        self._settle(asked, train)
        self._history.record(self._latest, kind)
        self._tell_history()
        self._worker.submit(self._latest)

    def _settle(self, asked: Request, train: bool) -> None:
        """Answer a request if its ranking is known; else the worker does. What cannot be asked changes nothing."""
        before, self._latest = self._latest, asked
        try:
            if self._choices.knows(asked):
                self._answer(asked, train)
            else:
                self.error, self.stage = "", Message("stage_scoring")
        except Exception:
            self._latest = before
            raise

    def _revisit(self, asked: Request) -> None:
        """Go to a request that was answered before, and is in the history already."""
        self._settle(asked, train=True)
        self._history.amend(self._latest)
        self._tell_history()
        if self._live is not None and self._latest == self.request:
            visit = self._visits.arrive(self._state_of(self.plan, self.request).key)
            if visit is not None:  # where we go on from, even if nobody waits for the accuracy
                self.at, self.latency = visit.number, visit.latency
        self._worker.submit(self._latest)

    def _tell_history(self) -> None:
        self.can_undo, self.can_redo = self._history.can_undo, self._history.can_redo

    def _answer(self, asked: Request, train: bool = False) -> None:
        """Publish plan and cost of a request. Raises NotReachable or BadInput before anything changes.

        A recovery that trains needs its result: without, `train` starts it, and BN is re-estimated meanwhile.
        """
        answer = self._choices.answer(asked)
        plan, asked = answer.plan, answer.request
        self._untrained = None
        if asked.recovery.epochs and self._live and not self._is_trained(plan, asked):
            if train and self._search_runs:
                train, self._untrained = False, Message("search_untrained")
            else:
                self._untrained = None if train else Message("status_untrained")
            wanted, asked = asked, replace(asked, recovery=Recovery(bn=True))
            if train and self._desk is not None and self._live.available(wanted.recovery)[0].epochs:
                self.training = Training(wanted, 0, 0, 0.0, None)
                self._desk.start(wanted, plan)
        self._latest = asked
        # Held, so that whoever is told of one trait finds the others of the same state.
        with self._state, self.hold_trait_notifications():
            if plan != self.plan:
                self.latency = ()
            self.request, self.cost, self.plan = asked, answer.cost, plan
            self.share, self.custom = answer.share, by_hand(self.graph, asked)
            self.scores, self.reach = answer.scores, answer.reach
            self.error = ""
            self._said = self.status = wording.joined(self._describe(plan, asked), self._untrained)
            self._refresh_current()
            self._show_sweeps()

    def _is_trained(self, plan: Plan, asked: Request) -> bool:
        return self._live is not None and self._live.is_trained(plan, asked.recovery, asked.seed)

    def _go_back(self) -> None:
        """Return to the last request that was answered to the end. Call under the state lock."""
        self._latest = self._good
        self._history.retreat(self._good)
        self._tell_history()
        if self.request != self._good:
            self._answer(self._good)
            if self._live is not None:
                self._worker.submit(self._good)

    def _describe(self, plan: Plan, asked: Request) -> Message:
        said = wording.plan(self.graph, plan, self.network.data is not None)
        if plan == self._dense or self._live is None:
            return said
        possible = self._live.available(asked.recovery)[0]
        return wording.joined(said, wording.not_available(self.network, asked.recovery, possible))

    def _recovery(self, plan: Plan, asked: Request) -> Recovery:
        """What is done to the weights; without images, nothing."""
        return Recovery() if self._live is None else self._live.recovery_done(plan, asked.recovery)

    def _state_of(self, plan: Plan, asked: Request) -> State:
        assert self._live is not None
        return self._live.state(plan, self._recovery(plan, asked), asked.seed)

    def _refresh_current(self) -> None:
        if self._live is None:
            return
        key = self._state_of(self.plan, self.request).key
        self.current = self.estimate is not None and self.estimate.state_key == key
        self._compare()

    def _compare(self) -> None:
        """Outcomes of our state beside the reference's, once both are known."""
        if self._live is None or self.network.data is None:
            return
        against = self._reference
        ours = self._live.outcome(self.plan, self._recovery(self.plan, self.request), self.request.seed)
        theirs = self._live.outcome(against.plan, against.recovery, against.seed)
        if ours is None or theirs is None:
            self.outcomes = None
            return
        before = self.outcomes
        if before is None or before.reference is not theirs.predicted or before.now is not ours.predicted:
            self.outcomes = Outcomes(theirs.predicted, ours.predicted, ours.truth)
        if theirs is not ours and self.plan != self._dense:
            key = "status_broken" if self.reference_is_dense else "status_broken_reference"
            broken = Message.of(key, count=int(np.count_nonzero(theirs.right & ~ours.right)))
            self.status = wording.joined(self._said, broken)
        else:
            self.status = self._said

    def _say(self, message: Message) -> None:
        """Put a message on the status line; how many images are broken is added when that is known."""
        self._said = self.status = message
        self._compare()

    # ---- the worker thread ------------------------------------------------------------------------------

    def _work(self, asked: Request, publish: Callable[[_Note], None], check: Callable[[], None]) -> None:
        self._choices.scored(asked)
        with self._state:
            if asked == self._latest and (asked != self.request or self.scores is None):
                self._answer(asked)
                asked = self._latest
        plan = self._choices.answer(asked).plan
        if self._live is not None:
            for estimate in self._live.estimates(plan, self._recovery(plan, asked), check, seed=asked.seed):
                publish(_Note(asked, estimate, plan, stage="stage_evaluating"))
            against = self._reference
            key = self._live.state(against.plan, against.recovery, against.seed).key
            if self.reference is None or not self.reference.done or self.reference.state_key != key:
                for estimate in self._live.estimates(
                    against.plan, against.recovery, check, seed=against.seed
                ):
                    publish(_Note(asked, reference=estimate, stage="stage_reference"))
        if self._latency_wanted:
            publish(_Note(asked, stage="stage_latency"))
            publish(_Note(asked, plan=plan, latency=self._jobs.latency(plan)))
        if self._final_wanted:
            publish(_Note(asked, stage="stage_final"))
            number = len(self.final_checks) + 1
            publish(
                _Note(asked, final=self._jobs.final_check(self._state_of(plan, asked), plan, number, check))
            )
        publish(_Note(asked, stage="stage_ready", done=True))

    def _tell(self, _job: Request, note: _Note) -> None:
        with self._state:
            if note.estimate is not None and note.plan is not None:
                self._tell_estimate(note.asked, note.plan, note.estimate)
            against = self._reference
            reference = note.reference or note.estimate
            if (
                reference is not None
                and self._live is not None
                and reference.state_key == self._live.state(against.plan, against.recovery, against.seed).key
            ):
                self.reference = reference
                self._compare()
            if note.latency and note.plan == self.plan:
                self._latency_wanted, self.latency = False, note.latency
                if self._live is not None:
                    self._visits.timed(self._state_of(self.plan, note.asked).key, note.latency)
                    self.visits = self._visits.all
            if note.final is not None:
                self._final_wanted, self.final_checks = False, (*self.final_checks, note.final)
            if note.done and note.asked == self.request:
                self._good = note.asked
            if note.stage:
                self.stage = Message(note.stage)

    def _tell_estimate(self, asked: Request, plan: Plan, estimate: Estimate) -> None:
        recovery = self._recovery(plan, asked)
        with self.hold_trait_notifications():
            self.estimate_label = wording.recovered(recovery, cut=plan != self._dense)
            self.estimate_share = self._choices.share(asked, plan)
            self.estimate = estimate
            self._refresh_current()
            if estimate.done and self.current:
                self._visits.visit(asked, plan, recovery, self.cost, estimate)
                self.visits, self.at = self._visits.all, self._visits.at

    def _failed(self, _job: Request, error: BaseException) -> None:
        """Go back to the last good request; the reason goes to the status line."""
        with self._state:
            self._latency_wanted = self._final_wanted = False
            if _job == self._latest:
                self._go_back()
            self.error = wording.in_words(error)
            self.stage = Message("stage_ready")

    # ---- the training thread ----------------------------------------------------------------------------

    def _trained(self, training: Training) -> None:
        """A step of training, or its end: then the result is shown, unless the state has moved."""
        with self._state:
            if self.training is None or self.training.request != training.request:
                return
            self.training = training
            if training.ready and replace(training.request, recovery=self._latest.recovery) == self._latest:
                self.training = None
                self._ask(training.request, "")

    def _not_trained(self, error: BaseException) -> None:
        with self._state:
            self.training = None
            self.error = wording.in_words(error)

    # ---- the sweeping thread ----------------------------------------------------------------------------

    def _swept(self, kind: str, found: Found, running: bool) -> None:
        self.sweeping = kind if running else ""
        self._sweep_results[self._swept_for] = found
        self._show_sweeps()

    def _sweep_basis(self, kind: str, asked: Request) -> tuple[object, ...]:
        """What a sweep's numbers are for: they are shown beside no other ranking, cost or recovery."""
        ranking = kind, asked.criterion, asked.seed
        return ranking if kind == "sensitivity" else (*ranking, asked.cost, asked.recovery.bn)

    def _show_sweeps(self) -> None:
        """What is known for the request as it is now; a sweep for another one is given up."""
        basis = {kind: self._sweep_basis(kind, self.request) for kind in SWEEPS}
        if self.sweeping and self._swept_for != basis[self.sweeping]:
            self._sweeps.stop()
        for kind, nothing in (("sensitivity", None), ("bands", ())):
            self.set_trait(kind, self._sweep_results.get(basis[kind], nothing))

    def _not_swept(self, error: BaseException) -> None:
        with self._state:
            self.error = wording.in_words(error)

    def _yield(self) -> None:
        """A sweep waits until nothing is asked of the evaluation."""
        self._worker.idle()
