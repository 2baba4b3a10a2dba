"""How requests are answered: plan and costs at once, the rest on a thread that evaluates and one that trains."""

import threading
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace

import numpy as np

from explorer.allocate import by_hand
from explorer.costs import cost
from explorer.errors import ExplorerError
from explorer.evaluate.live import LiveEvaluation, unnoticed
from explorer.evaluate.worker import LatestWins
from explorer.graph import trace
from explorer.records import FinalCheck, Given, Outcomes, Scored, Training, recovered
from explorer.session import wording
from explorer.session.choices import Choices, first_request
from explorer.session.history import History
from explorer.session.jobs import Jobs
from explorer.session.resting import AT_REST, PreparingDesk, RestDesk, RestJob
from explorer.session.state import SessionState
from explorer.session.sweeps import SWEEPS, Found, SweepDesk
from explorer.session.training import TrainingDesk
from explorer.session.visits import Visits
from explorer.strings import Message, Strings
from explorer.values import (
    ChannelGraph,
    Cost,
    Estimate,
    Latency,
    Plan,
    Recovery,
    Repair,
    Request,
    State,
    full_plan,
)
from explorer.zoo import Network

REPAIRED: tuple[Repair, ...] = ("merge", "refit")  # what *After cutting* offers beside nothing and BN
GRACE = 0.06  # seconds in which plan and costs reach the page before the evaluation takes the processor


@dataclass(frozen=True)
class _Note:
    """What the worker has to tell of the request `asked`."""

    asked: Request
    estimate: Estimate | None = None
    plan: Plan | None = None
    recovery: Recovery | None = None
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
        data = network.data
        self._live = None if data is None else LiveEvaluation(network.model, self.graph, data)
        trains = data is not None and data.train is not None
        self._choices = Choices(network, self.graph, self._live.observed if self._live and trains else None)
        self._latency_wanted = self._final_wanted = self._closed = False
        first = first_request(network)
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
            estimate_label=recovered(Recovery(), cut=False),
            stage=Message("stage_scoring"),
            status=self._said,
        )
        self._select_first()
        self._desk = (
            None if self._live is None else TrainingDesk(self._live, self._trained, self._not_trained)
        )
        self.offered = self._offered()
        self._preparing = self._rest = self._beside = None
        self._preparation_begun = False
        if self._live is not None:
            self._rest = RestDesk(self._live, self._resting, self._rested, self._not_rested)
            self._beside = RestDesk(self._live, unnoticed, self._gave, self._not_rested)
            self._preparing = PreparingDesk(
                self._live, self._tell_prepared, self._prepared, self._not_prepared
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
    def classifies(self) -> bool:
        """Whether images have one right class each (or are held against the dense network's), so that some flip."""
        data = self.network.data
        return data is None or data.explore.task is None or data.explore.task.classifies

    def words(self, strings: Strings) -> Strings:
        """The texts of a language, in the words of what estimates count here."""
        data = self.network.data
        words = strings.agreeing() if self.agreeing else strings
        if self.classifies or data is None or data.explore.task is None:
            return words
        task = data.explore.task
        return words.scoring(task.agreement if self.agreeing else task.measure)

    @property
    def _search_runs(self) -> bool:
        return self.runs.running is not None

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
        self._submit()

    def _submit(self) -> None:
        """Have the worker answer what was asked last; what is done at rest gives way to it."""
        self._stop_resting()
        self._worker.submit(self._latest)

    def _stop_resting(self) -> None:
        for desk in (self._rest, self._beside):
            if desk is not None:
                desk.stop()

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
        self._submit()

    def _tell_history(self) -> None:
        self.can_undo, self.can_redo = self._history.can_undo, self._history.can_redo

    def _answer(self, asked: Request, train: bool = False) -> None:
        """Publish plan and cost of a request. Raises NotReachable or BadInput before anything changes.

        A recovery that trains needs its result: without, `train` starts it, and what comes before is shown meanwhile.
        """
        answer = self._choices.answer(asked)
        plan, asked = answer.plan, answer.request
        self._untrained = None
        if asked.recovery.epochs and self._live and not self._is_trained(plan, asked):
            if train and self._search_runs:
                train, self._untrained = False, Message("search_untrained")
            else:
                self._untrained = None if train else Message("status_untrained")
            wanted, asked = asked, replace(asked, recovery=replace(asked.recovery, bn=True, epochs=0))
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
                self._submit()

    def _describe(self, plan: Plan, asked: Request) -> Message:
        said = wording.plan(self.graph, plan, self.network.data is not None)
        if plan == self._dense or self._live is None:
            return said
        possible = self._live.available(asked.recovery)[0]
        return wording.joined(
            said, wording.not_available(self.network, asked.recovery, possible, self._no_refits)
        )

    def _offered(self) -> tuple[Recovery, ...]:
        """What *After cutting* can be without training, for these images and this network."""
        if self._live is None:
            return Recovery(), Recovery(repair="merge")
        all_of_them = (
            Recovery(),
            Recovery(bn=True),
            *(Recovery(bn=True, repair=how) for how in REPAIRED),
        )
        return tuple(dict.fromkeys(self._live.available(recovery)[0] for recovery in all_of_them))

    def _recovery(self, plan: Plan, asked: Request) -> Recovery:
        """What is done to the weights. Of a refit, the one layer after layer once it is known; while refits are being
        prepared, what can be done without. Without images, nothing but a merge.
        """
        if self._live is None:
            merges = plan != self._dense and asked.recovery.repair == "merge"
            return Recovery(repair="merge") if merges else Recovery()
        done = self._live.recovery_done(plan, asked.recovery)
        if not done.repair.startswith("refit") or done.epochs:
            return done
        if done.repair == "refit" and self._live.outcome(plan, AT_REST, asked.seed) is not None:
            return AT_REST
        return done if self._live.prepared else self._live.available(Recovery(bn=True))[0]

    def _will_settle(self, plan: Plan, asked: Request) -> bool:
        """Whether what is shown will give way to the refit layer after layer if nothing is asked meanwhile."""
        if self._live is None:
            return False
        wanted = self._live.recovery_done(plan, asked.recovery)
        refits = wanted.repair == "refit" and not wanted.epochs
        return refits and self._recovery(plan, asked) != AT_REST

    def _state_of(self, plan: Plan, asked: Request) -> State:
        assert self._live is not None
        return self._live.state(plan, self._recovery(plan, asked), asked.seed)

    def _label(self, asked: Request, plan: Plan, recovery: Recovery) -> Message:
        """What was done to the weights, for beside an accuracy."""
        assert self._live is not None
        label = recovered(recovery, cut=plan != self._dense)
        wanted = self._live.recovery_done(plan, asked.recovery)
        if wanted.repair != "none" and recovery.repair == "none":
            return Message.of("label_preparing", now=Message("after_bn") if recovery.bn else label)
        return label

    def _refresh_current(self) -> None:
        self.recovery = self._recovery(self.plan, self.request)
        if self._live is None:
            return
        key = self._state_of(self.plan, self.request).key
        self.current = self.estimate is not None and self.estimate.state_key == key
        self._show_given()
        self._compare()

    def _compare(self) -> None:
        """Outcomes of our state beside the reference's, once both are known."""
        if self._live is None or self.network.data is None:
            return
        against = self._reference
        ours = self._live.outcome(self.plan, self._recovery(self.plan, self.request), self.request.seed)
        theirs = self._live.outcome(against.plan, against.recovery, against.seed)
        if ours is None or theirs is None:
            self.outcomes = self.scored = None
            return
        if ours.predicted is None or theirs.predicted is None or ours.truth is None:
            if self.scored is None or self.scored.now is not ours.scores:
                self.scored = Scored(theirs.scores, ours.scores, ours.estimate.measure)
            return
        before = self.outcomes
        if before is None or before.reference is not theirs.predicted or before.now is not ours.predicted:
            self.outcomes = Outcomes(theirs.predicted, ours.predicted, ours.truth)
        if theirs is not ours and self.plan != self._dense:
            key = "status_broken" if self.reference_is_dense else "status_broken_reference"
            broken = Message.of(key, count=int(np.count_nonzero(theirs.right & ~ours.right)))
            self.status = wording.joined(self._said, broken, self._unrepaired())
        else:
            self.status = self._said

    def _say(self, message: Message) -> None:
        """Put a message on the status line; how many images are broken is added when that is known."""
        self._said = self.status = message
        self._compare()

    def _unrepaired(self) -> Message | None:
        """Which layers of what is shown keep their weights although inputs of theirs are gone."""
        assert self._live is not None
        refitted = self._live.refitted(self.plan, self.recovery, self.request.seed) or ()
        return wording.unrepaired([each for each in refitted if each.reason])

    # ---- the worker thread ------------------------------------------------------------------------------

    def _work(self, asked: Request, publish: Callable[[_Note], None], check: Callable[[], None]) -> None:
        self._choices.scored(asked)
        with self._state:
            if asked == self._latest and (asked != self.request or self.scores is None):
                self._answer(asked)
                asked = self._latest
        plan = self._choices.answer(asked).plan
        if self._live is not None:
            recovery = self._recovery(plan, asked)
            for estimate in self._live.estimates(plan, recovery, check, seed=asked.seed):
                publish(_Note(asked, estimate, plan, recovery, stage="stage_evaluating"))
            against = self._reference
            key = self._live.state(against.plan, against.recovery, against.seed).key
            if self.reference is None or not self.reference.done or self.reference.state_key != key:
                for estimate in self._live.estimates(
                    against.plan, against.recovery, check, seed=against.seed
                ):
                    publish(_Note(asked, reference=estimate, stage="stage_reference"))
        if self._latency_wanted:
            publish(_Note(asked, stage="stage_latency"))
            for desk in (self._rest, self._beside):
                if desk is not None:
                    desk.idle()  # nothing else may take the processor while time is measured
            with nullcontext() if self._preparing is None else self._preparing.paused():
                latency = self._jobs.latency(plan)
            publish(_Note(asked, plan=plan, latency=latency))
        if self._final_wanted and not self._will_settle(plan, asked):
            publish(_Note(asked, stage="stage_final"))
            number = len(self.final_checks) + 1
            publish(
                _Note(asked, final=self._jobs.final_check(self._state_of(plan, asked), plan, number, check))
            )
        publish(_Note(asked, stage="stage_ready", done=True))

    def _tell(self, _job: Request, note: _Note) -> None:
        with self._state:
            if note.estimate is not None and note.plan is not None and note.recovery is not None:
                self._tell_estimate(note.asked, note.plan, note.recovery, note.estimate)
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
            if note.done and note.asked == self.request:
                self._begin_preparing()
                self._begin_rest()

    def _tell_estimate(self, asked: Request, plan: Plan, recovery: Recovery, estimate: Estimate) -> None:
        with self.hold_trait_notifications():
            self.estimate_label = self._label(asked, plan, recovery)
            self.estimate_share = self._choices.share(asked, plan)
            self.estimate = estimate
            self._refresh_current()
            if estimate.done and self.current:
                # What is shown while refits are being prepared is a state like others.
                if recovery.repair == "none" and plan != self._dense:
                    asked = replace(asked, recovery=replace(asked.recovery, repair="none"))
                self._visits.visit(asked, plan, recovery, self.cost, estimate)
                self.visits, self.at = self._visits.all, self._visits.at

    def _failed(self, _job: Request, error: BaseException) -> None:
        """Go back to the last good request; the reason goes to the status line."""
        with self._state:
            self._latency_wanted = self._final_wanted = False
            if _job == self._latest:
                answered = self.request == self._good
                self._go_back()
                if (
                    answered
                ):  # so that nothing was submitted, and rest was given up for the request that failed
                    self._begin_rest()
            self.error = wording.in_words(error)
            self.stage = Message("stage_ready")

    # ---- at rest: on threads that give way to what is asked ---------------------------------------------

    @property
    def _no_refits(self) -> str:
        """Why layers cannot be refitted although there are training images; "" while they can."""
        return "" if self._live is None else self._live.no_refits

    def _begin_preparing(self) -> None:
        data = self.network.data
        if self._preparing is None or self._preparation_begun or data is None or data.train is None:
            return
        if self.graph.prunable and not self._closed:
            self._preparation_begun = True
            self._preparing.start()

    def _tell_prepared(self, done: int, of: int) -> None:
        with self._state:
            self.preparing = Message.of("stage_preparing", done=done, of=of)

    def _prepared(self) -> None:
        """Refits can be done: what was asked last is answered anew."""
        with self._state:
            self.preparing = None
            self._refresh_current()
            swept = self.sweeping
            self._show_sweeps()
            if self._closed:
                return
            self._submit()
            if swept and not self.sweeping:  # it was without the refits that can be done now
                self._begin_sweep(swept, self.request)

    def _not_prepared(self, error: BaseException) -> None:
        with self._state:
            self.error = wording.in_words(error)
        self._prepared()

    def _begin_rest(self) -> None:
        """Work out how the cut as it stands is at rest, and then what it is after other recoveries."""
        if self._rest is None or self._closed or self.plan == self._dense:
            return
        if self.recovery.repair == "refit" and not self.recovery.epochs:
            self._rest.start(RestJob(self.request, self.plan, (AT_REST,)))
        else:
            self._begin_beside()

    def _begin_beside(self) -> None:
        """Work out what is not known yet of what the choices of *After cutting* give."""
        assert self._live is not None
        assert self._beside is not None
        asked, plan = self.request, self.plan
        offered = (self._live.recovery_done(plan, recovery) for recovery in self.offered)
        unknown = [
            recovery
            for recovery in dict.fromkeys(offered)
            if self._live.outcome(plan, recovery, asked.seed) is None
            and (self._live.prepared or recovery.repair != "refit")
        ]
        if unknown:
            self._beside.start(RestJob(asked, plan, tuple(unknown)))

    def _resting(self, job: RestJob) -> None:
        with self._state:
            if job.asked == self.request:
                self.stage = Message("stage_resting")

    def _rested(self, job: RestJob, estimate: Estimate) -> None:
        """The refit layer after layer takes the place of the instant one: on the screen, and among the visits."""
        with self._state:
            if job.asked != self.request:
                return
            before = self.estimate
            with self.hold_trait_notifications():
                self.stage = Message("stage_ready")
                if before is not None and before.done:
                    self._visits.settle(before.state_key, AT_REST, estimate)
                against = self._reference
                key = self._live.state(against.plan, against.recovery, against.seed).key if self._live else ""
                if before is not None and before.state_key == key:  # what is shown is the reference
                    self._reference, self.reference = replace(against, recovery=AT_REST), estimate
                self._tell_estimate(self.request, self.plan, AT_REST, estimate)
            if self._final_wanted:
                self._submit()
            else:
                self._begin_beside()

    def _gave(self, job: RestJob, _estimate: Estimate) -> None:
        with self._state:
            if job.asked == self.request:
                self._show_given()

    def _not_rested(self, job: RestJob, error: BaseException) -> None:
        with self._state:
            if job.asked != self.request:
                return
            self._final_wanted = False
            self.error, self.stage = wording.in_words(error), Message("stage_ready")

    def _show_given(self) -> None:
        """What every choice of *After cutting* gives: of this cut where it is known, else of the one before."""
        assert self._live is not None
        if self.plan == self._dense:
            self.given = {}
            return
        found = dict[str, Given]()
        for recovery in self.offered:
            done = self._live.recovery_done(self.plan, recovery)
            rested = AT_REST if done.repair == "refit" else done
            outcomes = (self._live.outcome(self.plan, each, self.request.seed) for each in (rested, done))
            known = next((outcome for outcome in outcomes if outcome is not None), None)
            if done.repair == recovery.repair and known is not None:
                found[recovery.code] = Given(known.estimate, current=True)
            elif recovery.code in self.given:
                found[recovery.code] = replace(self.given[recovery.code], current=False)
        self.given = found

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

    def _begin_sweep(self, kind: str, asked: Request) -> None:
        """Sweep for a request whose ranking is known. Call under the state lock."""
        if kind in SWEEPS:
            self._sweeps.stop()  # which tells what it found, for what it was for
        self._swept_for = self._sweep_basis(kind, asked)
        recovery = self._swept_recovery(kind, asked)
        observed = self._live.observed() if self._live is not None and self._live.prepared else None
        scores = self._choices.scored(asked)
        self._sweeps.start(kind, scores, asked.cost, recovery, observed, asked.allocation)

    def _sweep_basis(self, kind: str, asked: Request) -> tuple[object, ...]:
        """What a sweep's numbers are for: they are shown beside no other ranking, cost or recovery."""
        ranking = kind, asked.criterion, asked.seed, self._swept_recovery(kind, asked)
        return ranking if kind == "sensitivity" else (*ranking, asked.cost, asked.allocation)

    def _swept_recovery(self, kind: str, asked: Request) -> Recovery:
        """What a sweep does to the weights: the repair that is asked for, at once, and never training.

        Sensitivity is compared across groups and not with what is shown, so BN statistics are always re-estimated.
        """
        if self._live is None:
            return Recovery()
        wanted = replace(asked.recovery, epochs=0)
        if wanted.repair == "refit_sequential":
            wanted = replace(wanted, repair="refit")
        if wanted.repair == "refit" and not self._live.prepared:
            wanted = replace(wanted, repair="none")
        return self._live.available(replace(wanted, bn=True) if kind == "sensitivity" else wanted)[0]

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
        if self._rest is not None:
            self._rest.idle()
