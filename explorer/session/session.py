"""One network being explored: what panels and people can ask for."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Literal

from torch import nn

from explorer.costs import cost
from explorer.errors import BadInput, Interrupted, require_whole
from explorer.evaluate.recovery import require_trainable
from explorer.records import Moment, Outcomes, Training
from explorer.repair import Observed
from explorer.repair import repair as repaired
from explorer.session import wording
from explorer.session.answering import Reference
from explorer.session.history import History
from explorer.session.instancer import Instancer
from explorer.strings import Message
from explorer.surgery import shrink
from explorer.values import Recovery


class Session(Instancer):
    """Panels read the traits and call the methods; nothing else writes results.

    A request is answered at once (plan and cost, from cached scores); one worker thread does the rest and
    publishes estimates as they come; others train, search over widths, train instance subnetworks and evaluate
    those. Traits may change on any thread. Raises CannotTrace if the network cannot be read.
    """

    @property
    def history(self) -> History:
        """What undo goes through: another session over the same network can go on with it."""
        return self._history

    def observed(self, check: Callable[[], None]) -> Observed:
        """What layers read in the dense network, gathered over training images at first use: for a worker thread.

        `check` may raise, and then nothing was gathered. Raises BadInput without training images.
        """
        if self._live is None:
            raise BadInput("What layers read is gathered over training images: load with data=.")
        return self._live.observed(check)

    # ---- choosing ---------------------------------------------------------------------------------------

    def propose(self, wait: bool = False, **changes: Any) -> None:
        """Ask for something else: any fields of Request.

        Plan and cost answer at once if the ranking is known, else when it is; `wait` scores in the calling
        thread. A recovery with epochs trains beside the explorer. Raises ExplorerError for what cannot be
        asked, and then nothing has changed.
        """
        self._require_open()
        recovery = changes.get("recovery")
        if isinstance(recovery, Recovery) and recovery.epochs:
            self._require_no_search()
        if wait:
            self._choices.scored(self._choices.checked(self._latest, changes))
        with self._state:
            asked = self._choices.checked(self._latest, changes)
            if "keep" not in changes and "widths" not in changes:
                asked = self._choices.reachable(asked)
            self._ask(asked, "" if wait else " ".join(sorted(changes)), train="recovery" in changes)

    def move_keep(self, share: float) -> None:
        """Move Keep as far towards `share` as it goes; the status says what stops it. Raises ExplorerError."""
        with self._state:
            if not self._choices.knows(self._latest):
                self.propose(keep=share)
                return
            asked = self._choices.checked(self._latest, {"keep": share or 1e-9})  # the slider's 0 is "least"
            keep, stopped = self._choices.clamped(asked, asked.keep)
            self._ask(replace(asked, keep=keep), "keep")
            if stopped is not None:
                self._say(stopped)

    def drag(self, widths: Mapping[str, int]) -> None:
        """Set groups to widths by hand, which pins them; 0 removes a block where the network allows it.

        Raises BadInput for widths out of range and locked groups, NotReachable where a block cannot go.
        """
        with self._state:
            if not self._choices.knows(self._latest):
                raise BadInput("The channels are being scored. Drag again in a moment.")
            asked, stopped = self._choices.dragged(self._latest, self.plan, widths)
            before = self._held_plan or self.plan
            if 0 in widths.values():  # only a try can tell whether the forward runs without the block
                shrink(self.network.model, self.graph, self._choices.answer(asked).plan)
            self._ask(asked, "drag " + " ".join(sorted(widths)))
            dragged = stopped or wording.dragged(self.graph, before, self.plan, widths)
            self._say(wording.joined(dragged, self._untrained))

    def pin(self, group: str, on: bool = True) -> None:
        """Have Keep leave a group's width alone, or free it again. Raises BadInput."""
        with self._state:
            self._ask(self._choices.pinned(self._latest, self.plan, group, on), "")

    def lock(self, group: str, on: bool = True) -> None:
        """Have drags and methods leave a group alone too, or unlock it (it stays pinned). Raises BadInput."""
        with self._state:
            self._ask(self._choices.locked(self._latest, self.plan, group, on), "")

    def clear_pins(self) -> None:
        """Let Keep move everything but locked groups again, at the share as it is."""
        with self._state:
            locked = {name: width for name, width in self._latest.widths if name in self._latest.locked}
            asked = self._choices.checked(self._latest, {"widths": locked})
            self._ask(self._choices.reachable(asked), "")

    def press(self) -> None:
        """A pointer is held down: what is asked until `release` is one entry of undo."""
        with self._state:
            self._held_plan = self.plan
            self._history.press()

    def release(self) -> None:
        """The pointer is up again."""
        with self._state:
            self._held_plan = None
            self._history.release()

    def undo(self) -> None:
        """Go back by one gesture; nothing happens at the beginning."""
        with self._state:
            if self._history.can_undo:
                self._revisit(self._history.undo())

    def redo(self) -> None:
        """Take back an undo; nothing happens at the end."""
        with self._state:
            if self._history.can_redo:
                self._revisit(self._history.redo())

    def restore(self, number: int) -> None:
        """Go to a visited state. Raises BadInput for a number that none has."""
        with self._state:
            asked = self._visits.get(number).request
            self._history.record(asked, "")
            self._revisit(asked)

    def name_visit(self, number: int, name: str) -> None:
        """Name a visited state; "" takes the name away. Raises BadInput."""
        with self._state:
            self._visits.name(number, name)
            self.visits = self._visits.all

    def select(self, group: str, layer: str = "") -> None:
        """Select a channel group and one of its layers (the first, if none is named); "" selects none.

        Raises BadInput for an unknown one.
        """
        names = self.graph.group(group).layers if group else ()
        if layer and layer not in {each.name for each in self.graph.layers}:
            raise BadInput(f"There is no layer {layer!r} in {self.network.name}.")
        with self._state, self.hold_trait_notifications():
            self.selection, self.layer = group, layer or (names[0] if names else "")

    def set_reference(self, state: Literal["now"] | None = "now") -> None:
        """Draw deltas and outlines against the state as it is now, or (None) the dense network again."""
        with self._state:
            recovery = Recovery() if state is None else self.recovery
            plan = self._dense if state is None else self.plan
            self._reference = Reference(plan, recovery, self.request.seed)
            with self.hold_trait_notifications():
                self.reference_plan, self.reference_cost = plan, cost(self.graph, plan)
                self.reference_is_dense = plan == self._dense and recovery == Recovery()
                self.reference = self.estimate if state is not None and self.current else None
                self._compare()
            self._submit()

    # ---- work that was asked for ------------------------------------------------------------------------

    def train(self, epochs: int = 1) -> None:
        """Train a copy of the network as it is now, beside the explorer; `training` tells how far it is.

        The result is shown when it is there; if the state has moved meanwhile, it waits for `use_trained`.
        Raises BadInput without training images, for epochs that are no number above 0, and while a search runs.
        """
        require_whole("epochs", epochs, 1)
        data = self.network.data
        if data is None or data.train is None or self._desk is None:
            raise BadInput(
                "Training needs training images, and this network was loaded without. Load it with "
                "data=explorer.Data(name, classes, train=explorer.Images(...), explore=...)."
            )
        require_trainable(data.train)
        with self._state:
            before = Recovery() if self.plan == self._dense else self.request.recovery
            repair = "refit" if before.repair == "refit_sequential" else before.repair
            asked = replace(self.request, recovery=Recovery(bn=True, epochs=epochs, repair=repair))
            if self._live is not None and self._live.is_trained(self.plan, asked.recovery, asked.seed):
                self._ask(asked, "")
                return
            self._require_open()
            self._require_no_search()
            self.training = Training(asked, 0, 0, 0.0, None)
            self._desk.start(asked, self.plan)

    def stop_training(self) -> None:
        """Give up what is being trained, or what waits to be used."""
        with self._state:
            if self._desk is not None:
                self._desk.stop()
            self.training = None

    def use_trained(self) -> None:
        """Go to the state whose training is ready; nothing happens without one."""
        with self._state:
            if self.training is not None and self.training.ready:
                asked, self.training = self.training.request, None
                self._ask(asked, "")

    def measure_latency(self) -> None:
        """Measure latency on the worker thread: (dense, now) at batch 1, then (dense, now) at batch 64.

        It is measured when the accuracy is known, of whatever network is then asked for.
        """
        with self._state:
            self._require_open()
            self._latency_wanted = True
            self._submit()

    def check_final(self) -> None:
        """Look at the final images: once counted, a check more in `final_checks`. Raises BadInput without them."""
        data = self.network.data
        if data is None or data.final is None:
            raise BadInput(
                "There are no final images to look at: load with data=explorer.Data(..., final=explorer.Images(...))."
            )
        with self._state:
            self._require_open()
            self._final_wanted = True
            self._submit()

    def sweep(self, kind: str) -> None:
        """Begin a sweep in the background: "sensitivity" of every group, or "bands" of uniform and random plans.

        "" stops it; what was found stays in the trait of that name. Raises UnknownName for another kind,
        BadInput without images.
        """
        if not kind:
            self._sweeps.stop()
            return
        asked = self._latest
        self._choices.scored(asked)
        with self._state:
            self._begin_sweep(kind, asked)

    def report(self, error: BaseException) -> None:
        """Say on the status line what went wrong elsewhere, such as in a panel."""
        with self._state:
            self.error = wording.in_words(error)

    def wait(self, timeout: float | None = None) -> bool:
        """Block until all that was asked is answered, trained and searched, and all instance subnetworks that are
        shown are known, and a refit is worked out layer after layer; True if the estimate is complete and current.

        Raises Interrupted if the kernel is interrupted meanwhile; the session goes back to its last good
        state, and a search keeps a snapshot.
        """
        try:
            # What trains comes first: what it came to is evaluated by the others.
            desks = (
                self._run_desk,
                self._desk,
                self._instance_desk,
                self._worker,
                self._preparing,
                self._worker,  # which answers anew what is then known
                self._rest,
                self._worker,  # which may have a final check to do
            )
            if not all(desk is None or desk.idle(timeout) for desk in desks):
                return False
        except KeyboardInterrupt:
            self._worker.cancel()
            self._stop_resting()
            self.stop_training()
            for method in self.runs.progress:
                self.stop_search(method)
            with self._state:
                self._leave_instances()
                self.stage = Message("stage_ready")
                self._go_back()
                self.status = Message("status_stopped")
            raise Interrupted(
                "Stopped: the explorer is back at the last state that it knows fully."
            ) from None
        return self._live is None or (self.current and self.estimate is not None and self.estimate.done)

    def pruned(self) -> nn.Module:
        """A copy of the network as it is shown: shrunk and recovered, in eval mode, batch norm not folded."""
        with self._state:
            plan, recovery, seed = self.plan, self.recovery, self.request.seed
        if self._live is not None:
            return self._live.network(plan, recovery, seed=seed)
        if recovery.repair == "merge":
            return repaired(self.network.model, self.graph, plan, "merge")
        return shrink(self.network.model, self.graph, plan)

    def close(self) -> None:
        """End the threads; the session takes no more proposals."""
        self._closed = True
        self._sweeps.close()
        self._worker.close()
        desks = self._run_desk, self._instance_desk, self._desk
        for desk in (*desks, self._preparing, self._rest, self._beside):
            if desk is not None:
                desk.close()

    def now(self) -> Moment:
        """What is asked and what it comes to, all of one state; traits read one by one may be of two."""
        with self._state:
            return Moment(self.request, self.plan, self.recovery, self.cost, self.estimate, self.latency)

    def outcomes_of(self, one: int, other: int) -> Outcomes | None:
        """What two visited states say of the same explore images, `one` as the reference and `other` as now.

        None if the outcome of either is no longer remembered, or images have no classes. Raises BadInput for a
        number that no visit has.
        """
        with self._state:
            visits = self._visits.get(one), self._visits.get(other)
        if self._live is None or self.network.data is None:
            return None
        first, second = (
            self._live.outcome(visit.plan, visit.recovery, visit.request.seed) for visit in visits
        )
        if first is None or second is None or first.predicted is None or second.predicted is None:
            return None
        assert second.truth is not None
        return Outcomes(first.predicted, second.predicted, second.truth)
