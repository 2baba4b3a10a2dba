"""What takes longer than a moment, for the worker thread: latencies and looks at the final images."""

from collections.abc import Callable

import torch
from torch import nn

from explorer.costs import cost
from explorer.errors import BadInput
from explorer.evaluate.estimates import Judge
from explorer.evaluate.folding import fold
from explorer.evaluate.latency import measure_latency
from explorer.evaluate.live import LiveEvaluation
from explorer.records import FinalCheck
from explorer.surgery import shrink
from explorer.values import ChannelGraph, Estimate, Latency, Plan, Recovery, State, full_plan
from explorer.zoo import Network

LATENCY_BATCHES = (1, 64)


class Jobs:
    """Works for one worker thread at a time. `live` is None without images."""

    def __init__(self, network: Network, graph: ChannelGraph, live: LiveEvaluation | None) -> None:
        self._network, self._graph, self._live = network, graph, live
        self._judge: Judge | None = None  # of the final images
        self._dense_final: Estimate | None = None

    def latency(self, plan: Plan) -> tuple[Latency, ...]:
        """(dense, now) at batch 1, then (dense, now) at batch 64; the weights do not matter to it."""
        small = shrink(self._network.model, self._graph, plan)
        return tuple(
            measure_latency(model, self._network.example, batch)
            for batch in LATENCY_BATCHES
            for model in (self._network.model, small)
        )

    def final_check(self, state: State, plan: Plan, number: int, check: Callable[[], None]) -> FinalCheck:
        """Accuracy of a state and of the dense network on the final images. Raises BadInput without them."""
        data = self._network.data
        if self._live is None or data is None or data.final is None:
            raise BadInput("There are no final images to look at.")
        everything = full_plan(self._graph)
        if self._dense_final is None or self._judge is None:
            dense = self._folded(self._live.network(everything, Recovery(), check))
            self._judge = Judge(data.final, dense)
            *_, last = self._judge.judge(dense, "dense", check=check)
            self._dense_final = last.estimate
        network = self._folded(self._live.network(plan, state.recovery, check, seed=state.seed))
        if plan == everything and state.recovery == Recovery():
            network = self._judge.dense or network
        *_, last = self._judge.judge(network, state.key, check=check)
        return FinalCheck(number, state.recovery, cost(self._graph, plan), last.estimate, self._dense_final)

    def _folded(self, network: nn.Module) -> nn.Module:
        with torch.inference_mode():
            return fold(network, self._graph.folds)
