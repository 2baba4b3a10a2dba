"""The live road: plan -> shrink -> recover -> fold -> accuracy, batch by batch; what of it is remembered."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cached_property

import torch
from torch import nn

from explorer.data import Data, as_images
from explorer.errors import BadInput, Interrupted
from explorer.evaluate.estimates import Check, Judge, Judged, as_module, nothing, weights_key
from explorer.evaluate.folding import fold
from explorer.evaluate.memo import Memo
from explorer.evaluate.recovery import TrainingStep, norms_with_statistics, recover
from explorer.graph.copies import deep_copy
from explorer.repair import Observed, Refitted, apply, gather
from explorer.surgery import shrink as surgery_shrink
from explorer.values import ChannelGraph, Estimate, Plan, Recovery, State, full_plan
from explorer.zoo.network import Network

FINISHED = 256  # states whose outcome is remembered: three bytes per explore image each
TRAINED = 4  # trained networks that are remembered: training is slow, their weights are large
RECENT = 2  # other networks that are remembered: what is shown, and what it is compared with
Shrink = Callable[[nn.Module, ChannelGraph, Plan], nn.Module]
Progress = Callable[[TrainingStep], object]


def unnoticed(*_step: object) -> None:
    """The progress callback that tells nobody."""


class LiveEvaluation:
    """Accuracies of one network's plans on the explore images, remembered by state.

    Without labels, how often they agree with the network as it is (see `Judge`).

    May be used from several threads. The model is not changed, and must not be changed meanwhile.
    """

    def __init__(
        self,
        model: nn.Module | Network,
        graph: ChannelGraph,
        data: Data,
        shrink: Shrink = surgery_shrink,
        observed: Observed | None = None,
    ) -> None:
        self._model, self._graph, self._data, self._shrink = as_module(model), graph, data, shrink
        self._has_statistics = bool(norms_with_statistics(self._model))
        self._weights_key = weights_key(model)
        self._finished: Memo[Judged] = Memo(FINISHED)
        self._trained: Memo[nn.Module] = Memo(TRAINED)
        self._recent: Memo[nn.Module] = Memo(RECENT)
        self._refitted: Memo[tuple[Refitted, ...]] = Memo(FINISHED)
        self._observed = observed
        self._observing = threading.Lock()
        self.no_refits = ""  # why there are none, once gathering their moments has failed

    @property
    def prepared(self) -> bool:
        """Whether the moments that refits need are known."""
        return self._observed is not None

    def observed(
        self, check: Check = nothing, progress: Callable[[int, int], object] = unnoticed
    ) -> Observed:
        """The moments that refits need, gathered over training images at first use; `progress` gets (images done,
        images). Raises what `check` raises, and then nothing was gathered, and BadInput without training images.
        """
        with self._observing:
            if self._observed is None:
                try:
                    self._observed = self._gathered(check, progress)
                except Interrupted:
                    raise
                except Exception as error:
                    self.no_refits = str(error)
                    raise
            return self._observed

    def _gathered(self, check: Check, progress: Callable[[int, int], object]) -> Observed:
        images = as_images(self._data, "train")
        with torch.inference_mode(False):
            found = gather(self._dense_model, self._graph, images, check=check, progress=progress)
        if found.unfit and not found.moments:
            raise BadInput(f"No layer can be refitted: {next(iter(found.unfit.values()))}.")
        return found

    def refitted(self, plan: Plan, recovery: Recovery, seed: int = 0) -> tuple[Refitted, ...] | None:
        """What the repair of a state came to, layer by layer; None if it was not done, or is forgotten."""
        return self._refitted.get(self.state(plan, recovery, seed).key)

    @cached_property
    def _dense_model(self) -> nn.Module:
        """The network in eval mode; a copy, whatever mode the user's is in."""
        model = deep_copy(self._model)
        model.eval()
        return model

    def available(self, recovery: Recovery) -> tuple[Recovery, str]:
        """The recovery that can be done and, if it is another, why.

        Without training images there is none, without their labels no training, and without batch norm no
        statistics are re-estimated. There are no refits once their moments could not be gathered.
        """
        if recovery == Recovery(repair="merge"):
            return recovery, ""
        if recovery != Recovery() and self._data.train is None:
            return Recovery(repair="merge" if recovery.repair == "merge" else "none"), (
                f"{self._data.name} has no training images, so nothing is done to the weights after cutting "
                f"(asked for: {recovery.label})."
            )
        if recovery.repair.startswith("refit") and self.no_refits:
            return self.available(replace(recovery, repair="none"))[0], (
                f"Layers cannot be refitted (asked for: {recovery.label}). {self.no_refits}"
            )
        if recovery.epochs and self._data.train is not None and not self._data.train.labelled:
            return self.available(replace(recovery, epochs=0))[0], (
                f"The training images of {self._data.name} have no labels, so the network is not trained after "
                f"cutting (asked for: {recovery.label})."
            )
        if recovery.bn and not self._has_statistics:
            return replace(recovery, bn=False), (
                f"{type(self._model).__name__} has no batch norm with running statistics, so none are "
                f"re-estimated after cutting (asked for: {recovery.label})."
            )
        return recovery, ""

    @cached_property
    def _judge(self) -> Judge:
        explore = self._data.explore
        return Judge(explore, self._dense_model if explore.labelled else self._folded(self._model))

    def _folded(self, network: nn.Module) -> nn.Module:
        with torch.inference_mode():
            return fold(network, self._graph.folds)

    @cached_property
    def _dense(self) -> Plan:
        return full_plan(self._graph)

    def recovery_done(self, plan: Plan, recovery: Recovery) -> Recovery:
        """What is done to the weights of a plan when `recovery` is asked for.

        Where nothing is cut there is nothing to re-estimate; see `available` for the rest.
        """
        if plan == self._dense and not recovery.epochs:
            return Recovery()
        return self.available(recovery)[0]

    def state(self, plan: Plan, recovery: Recovery, seed: int = 0) -> State:
        """The state that estimates of this plan belong to, with the recovery that can be done."""
        return State(self._weights_key, plan.key, self.available(recovery)[0], seed)

    def estimates(
        self,
        plan: Plan,
        recovery: Recovery,
        check: Check = nothing,
        progress: Progress = unnoticed,
        seed: int = 0,
        remember: bool = True,
    ) -> Iterator[Estimate]:
        """Estimates of the plan's accuracy, each over more explore images; one if the state is remembered.

        `check` is called between pieces of work and may raise; `progress` gets every training step. Without
        `remember` the network itself is not kept, only its outcome. Raises what shrink, recover and evaluate raise.
        """
        key = self.state(plan, recovery, seed).key
        if (finished := self._finished.get(key)) is not None:
            yield finished.estimate
            return
        judge = self._judge
        network = judge.dense
        if network is None or plan != self._dense or self.available(recovery)[0] != Recovery():
            recovered = self._recovered(plan, recovery, check, progress, seed, remember)
            check()
            network = self._folded(recovered)
        for judged in judge.judge(network, key, check=check):
            if judged.estimate.done:
                self._finished.put(key, judged)
            yield judged.estimate

    def outcome(self, plan: Plan, recovery: Recovery, seed: int = 0) -> Judged | None:
        """What the state said of the explore images, if it was evaluated to the end; else None."""
        return self._finished.get(self.state(plan, recovery, seed).key)

    def is_trained(self, plan: Plan, recovery: Recovery, seed: int = 0) -> bool:
        """Whether the trained network of a state is still remembered."""
        return self._trained.get(self.state(plan, recovery, seed).key) is not None

    def train(self, plan: Plan, recovery: Recovery, check: Check, progress: Progress, seed: int = 0) -> None:
        """Shrink, recover and train, so that `estimates` and `network` find the state's network ready.

        May run beside them on another thread. Raises what shrink and recover raise.
        """
        self._recovered(plan, recovery, check, progress, seed)

    def network(
        self,
        plan: Plan,
        recovery: Recovery,
        check: Check = nothing,
        progress: Progress = unnoticed,
        seed: int = 0,
    ) -> nn.Module:
        """The shrunk and recovered network in eval mode, not folded: a copy that is the caller's."""
        return deep_copy(self._recovered(plan, recovery, check, progress, seed))

    def _recovered(
        self,
        plan: Plan,
        recovery: Recovery,
        check: Check,
        progress: Progress,
        seed: int,
        remember: bool = True,
    ) -> nn.Module:
        """The network of a state, not to be changed."""
        recovery, _ = self.available(recovery)
        key = self.state(plan, recovery, seed).key
        memo = self._trained if recovery.epochs else self._recent
        if (known := memo.get(key)) is not None:
            return known
        check()
        with torch.inference_mode(False):  # else the weights could never be trained
            network = self._shrink(self._model, self._graph, plan)
            check()
            if recovery.repair != "none":
                observed = self.observed(check) if recovery.repair.startswith("refit") else None
                refitted = apply(
                    *(self._dense_model, network, self._graph, plan),
                    *(recovery.repair, observed, self._data.train, check),
                )
                self._refitted.put(key, tuple(refitted))
        check()
        if recovery.bn or recovery.epochs:
            network = recover(
                network,
                self._data.train,
                bn=recovery.bn,
                epochs=recovery.epochs,
                seed=seed,
                progress=progress,
                stop=check,
            )
        if remember:
            memo.put(key, network)
        return network
