"""DMCP: widths learned as Markov chains, beside weights that serve all widths (Guo et al. 2020, arXiv 2005.03354).

Warm-up trains the weights only; then every step updates the weights, and after them the chains. The weights learn by
the sandwich rule with in-place distillation (Yu & Huang 2019): the full network learns from the labels; the
smallest one, and others of widths drawn anew, from what the full network says. The chains learn from the full network
with every channel times its retention probability, and from how far the expected cost is from the target.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy, kl_div

from explorer.chains import Chain, ChainEvidence, ChainRun, chain_facts, chain_of
from explorer.costs import totals
from explorer.data import Images
from explorer.data.fitting import require_labels
from explorer.errors import BadInput, NotReachable
from explorer.evaluate.recovery import reestimate_bn
from explorer.graph.randomness import own_torch_numbers
from explorer.methods.base import Algorithm, Method, Result, Subject, Turn, require_batch
from explorer.methods.comparison import EPOCHS, compare
from explorer.methods.gates import ExpectedCost, Gates
from explorer.methods.measuring import Measuring
from explorer.methods.order_claim import order_curves
from explorer.methods.regularisers import REGULARISERS
from explorer.methods.report import Report
from explorer.methods.retraining import fresh
from explorer.methods.settings import choice, number, share, whole
from explorer.methods.structure import all_widths, expected_structure, prefix_plan, reachable
from explorer.methods.supernet import Supernet
from explorer.values import ChannelGraph

BETAS = (0.9, 0.99)
LAST_RATE = 0.1  # share of a rate that is left at the end of its cosine
RISE = 0.05  # share of the steps in which the weights' rate rises
BN_IMAGES = 1024


@dataclass(frozen=True)
class DMCPSettings:
    """How to search. `target` is a share of the dense network's `cost`; `warm_up` and `epochs` (in which the chains
    learn too) are epochs over the training images.

    `start`: with the weights as loaded, or with new ones. `held_out`: share of the training images that only the chains
    learn from (0: both learn from each batch, as in the released code). `strength` is lambda, the regulariser's
    factor; `alpha` every chain's first value (2: transitions of 0.88), `divisions` as in `chains.steps_of`.
    """

    target: float = share(0.4, low=0.01, shown=True)
    cost: str = choice("macs", "params", shown=True)
    warm_up: int = whole(2, low=0, shown=True)
    epochs: int = whole(4, low=1, shown=True)
    start: str = choice("loaded", "scratch", shown=True)
    seed: int = whole(0, low=0, shown=True)
    batch: int = whole(128, low=4)
    divisions: int = whole(8, low=1)
    alpha: float = number(2.0, low=-50, high=50)
    regulariser: str = choice("squared_log", "dead_zone", "log")
    strength: float = number(5.0, low=0)
    rate: float = number(0.1, low=1e-6)
    alpha_rate: float = number(0.1, low=1e-6)
    weight_decay: float = number(1e-4, low=0)
    held_out: float = share(0.0, high=0.9)


@final
class DMCP(Method):
    """The method: see the module."""

    name = "dmcp"
    label = "DMCP"
    about = (
        "Learns where each layer should stop: Markov chains over widths, trained with weights that serve all of them "
        "(Guo et al. 2020)."
    )
    settings = DMCPSettings
    run = ChainRun
    losses = ("full", "sub", "chains", "cost")
    evidence = ChainEvidence
    trained = "supernet"
    trained_note = (
        "The supernet of a search over the widths of {name}: every width's first channels carry its answer."
    )

    def begin(self, subject: Subject, settings: DMCPSettings) -> Algorithm:
        """A search at its first step.

        Raises BadInput for a network without groups that can be narrowed and for fewer images than a batch,
        NotReachable for a target below what the least widths cost.
        """
        graph = subject.graph
        chains = chains_of(graph, settings.alpha, settings.divisions)
        if not chains:
            reasons = {group.reason for group in graph.groups if not group.prunable}
            raise BadInput(
                f"{subject.network.name} has no channel group that could be narrowed, so there is nothing to search"
                + (f": {'; '.join(sorted(reasons))}." if reasons else ".")
            )
        least = reachable(graph, chains, settings.cost)
        if not least <= settings.target <= 1:
            raise NotReachable(
                f"A target of {100 * settings.target:.4g} % of the {settings.cost} is out of reach: with every group "
                f"at its least width {100 * least:.4g} % are left. Ask for more, or pass a larger divisions= for "
                "smaller least widths."
            )
        return _Search(subject, settings, chains)

    def refusal(self, graph: ChannelGraph) -> str:
        return "" if graph.prunable else "search_nothing"

    def least(self, graph: ChannelGraph, settings: Mapping[str, Any]) -> float:
        usual = DMCPSettings()
        chains = chains_of(graph, usual.alpha, usual.divisions)
        return reachable(graph, chains, settings["cost"]) if chains else 0.0

    def epochs(self, graph: ChannelGraph, images: int, settings: Mapping[str, Any]) -> float:  # noqa: ARG002
        """About as many epochs of training the dense network as a search costs, in MACs of forward passes.

        Every step runs the full network, the least one and two others, which have about the mean of all widths; while
        the chains are trained too, the full network once more.
        """
        usual = DMCPSettings()
        chains = chains_of(graph, usual.alpha, usual.divisions)
        widths = np.stack([graph.sizes, graph.sizes]).astype(np.float64)
        places = [graph.index[chain.group] for chain in chains]
        widths[:, places] = [[chain.least for chain in chains], [chain.widths.mean() for chain in chains]]
        least, mean = totals(graph, widths, "macs") / totals(graph, graph.sizes, "macs")
        step = 1 + least + 2 * mean
        return float(settings["warm_up"] * step + settings["epochs"] * (step + 1))

    def measure(self, measuring: Measuring) -> ChainEvidence:
        """Order curves, and the structure beside the uniform one of the same MACs, trained again.

        Options: `epochs` of that training, and `start`, from "scratch" or the "supernet".
        """
        network, graph, found = measuring.network, measuring.graph, measuring.found
        assert network.data is not None
        assert isinstance(found.run, ChainRun)
        order = order_curves(network, found.network, graph, network.data)
        measuring.say("order curves are measured")
        compared = compare(
            *(network, graph, found.run, found.network, measuring.seeds),
            epochs=int(measuring.options.get("epochs", EPOCHS)),
            start=measuring.options.get("start", "scratch"),
            progress=lambda at: (
                measuring.say(f"{at.contender}, seed {at.seed}") if at.training.step == 1 else None
            ),
            remembered=measuring.remembered,
        )
        return ChainEvidence(order, (compared,))


class _Search(Algorithm):
    """A search between two steps."""

    settings: DMCPSettings

    def __init__(self, subject: Subject, settings: DMCPSettings, chains: tuple[Chain, ...]) -> None:
        weights, self._chain_rows = _split(subject.images, settings)
        super().__init__(subject, settings, settings.warm_up + settings.epochs, weights)
        self._chains = chains
        graph, model = subject.graph, subject.network.model
        first = model if settings.start == "loaded" else fresh(model, settings.seed)
        self._supernet = Supernet(first, graph, chains)
        self._gates = Gates(graph, chains)
        self._expected = ExpectedCost(graph, chains, settings.cost)
        self._target = settings.target * self._expected.dense
        self._least = np.array([chain.least for chain in chains], dtype=np.int64)
        self._warm = settings.warm_up * self.per_epoch
        sgd, trained = self.sgd(self._supernet.parameters.values())
        adam = torch.optim.Adam([self._gates.alphas], lr=settings.alpha_rate, betas=BETAS)
        self.turns = {
            "weights": Turn(sgd, self._weight_rate, self._weight_gradients, clipped=trained),
            "chains": Turn(adam, self._chain_rate, self._chain_gradients, begins=self._warm),
        }
        self.tensors = {**self._supernet.tensors, "": self._gates.alphas}
        middle = np.array([float(chain.widths.mean()) for chain in chains])
        self._about = [self._macs(self._least), float(self._macs(middle))]

    # ---- one step -----------------------------------------------------------------------------------------

    def phase(self, number: int) -> str:
        return "search" if number >= self._warm else "warm-up"

    def _weight_rate(self, number: int) -> float:
        return self.settings.rate * _cosine(number, self.of, RISE)

    def _weight_gradients(self, number: int, report: Report) -> None:
        """The sandwich: gradients of the full, the least and two drawn networks, summed."""
        rows = self.batch(number)
        inputs, labels = self.subject.images.inputs(rows), self.labels[rows]
        logits = self._supernet.full(inputs)
        require_labels(labels, logits)
        loss = cross_entropy(logits, labels)
        report.loss("full", loss, "the full network")
        if not loss.requires_grad:
            raise BadInput(
                f"No parameter that {self.subject.network.name} uses requires gradients, so there is nothing to train."
            )
        loss.backward()
        teacher = logits.detach().softmax(1)
        apart, macs = [], self.dense
        for widths in (self._least, *self._drawn(number)):
            loss = kl_div(self._supernet.at(inputs, widths).log_softmax(1), teacher, reduction="batchmean")
            apart.append(report.loss("sub", loss, "a subnetwork"))
            loss.backward()
            macs += int(self._macs(widths))
        report.losses["sub"] = float(np.mean(apart))
        report.ran(len(rows), macs)

    def _chain_rate(self, number: int) -> float:
        done = (number - self._warm) / max(1, self.of - self._warm)
        return self.settings.alpha_rate * (LAST_RATE + (1 - LAST_RATE) * _half_cosine(done))

    def _chain_gradients(self, number: int, report: Report) -> None:
        """The full network behind its gates, and the expected cost: gradients of the alphas alone."""
        settings = self.settings
        rows = self.batch(number, self._chain_rows if settings.held_out else None)
        inputs, labels = self.subject.images.inputs(rows), self.labels[rows]
        retention = self._gates.retention()
        task = cross_entropy(self._supernet.gated(inputs, self._gates, retention), labels)
        away = REGULARISERS[settings.regulariser](
            self._expected(self._gates.expected(retention)), self._target
        )
        loss = task.double() + settings.strength * away
        report.loss("chains", loss, "the chains")
        (self._gates.alphas.grad,) = torch.autograd.grad(loss, [self._gates.alphas])
        report.losses |= {"chains": task.item(), "cost": away.item()}
        report.ran(len(rows), self.dense)

    def _drawn(self, number: int) -> tuple[NDArray[np.int64], ...]:
        """Two networks: each of uniformly drawn widths, or, more and more often, drawn from the chains.

        The share of uniform ones falls from 1 at the end of warm-up to 0 half-way through the search.
        """
        random = np.random.default_rng([self.settings.seed, number])
        past = max(0, number - self._warm) / max(1, self.of - self._warm)
        learned = None
        found = []
        for _ in range(2):
            if random.random() < 1 - 2 * past:
                found.append(np.array([random.choice(chain.widths) for chain in self._chains]))
            else:
                learned = learned or self._gates.values()
                found.append(
                    np.array(
                        [
                            chain.drawn(u)
                            for chain, u in zip(learned, random.random(len(learned)), strict=True)
                        ]
                    )
                )
        return tuple(found)

    def _macs(self, widths: NDArray[Any]) -> Any:
        return totals(self.subject.graph, all_widths(self.subject.graph, self._chains, widths), "macs")

    # ---- what the loop asks -------------------------------------------------------------------------------

    @property
    def facts(self) -> Mapping[str, Any]:
        return chain_facts(self._chains)

    def planned(self, done: int) -> float:
        step = self.dense + self._about[0] + 2 * self._about[1]
        return done * step + max(0, done - self._warm) * self.dense

    def frame(self, done: int) -> Mapping[str, float | Tensor]:  # noqa: ARG002
        expected = self._expected(self._gates.expected(self._gates.retention())).item()
        alphas = self._gates.alphas.detach().float().clone()
        return {"alphas": alphas, "shares": expected / self._expected.dense}

    def result(self) -> Result:
        graph, settings = self.subject.graph, self.settings
        widths = expected_structure(graph, self._gates.values(), settings.target, settings.cost)
        with own_torch_numbers(self.seed(self.of, 2)), torch.inference_mode(False):
            supernet = self._supernet.trained(self.subject.network.model)
            reestimate_bn(supernet, self.subject.images, count=BN_IMAGES)
        return Result(supernet, prefix_plan(graph, widths), widths)


def chains_of(graph: ChannelGraph, alpha: float, divisions: int) -> tuple[Chain, ...]:
    """The chains of all groups that can be narrowed, as a search begins with them."""
    every = [chain_of(group, alpha, divisions) for group in graph.prunable]
    return tuple(chain for chain in every if chain.states)


def _split(images: Images, settings: DMCPSettings) -> tuple[Tensor, Tensor]:
    """Rows that the weights learn from, and rows that the chains do: all for both, unless some are held out."""
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(settings.seed))
    held = round(settings.held_out * len(images))
    weights = order[held:]
    require_batch(weights, settings.batch, " for the weights")
    require_batch(order[:held] if settings.held_out else weights, settings.batch, " for the chains")
    return weights, order[:held]


def _half_cosine(done: float) -> float:
    return (1 + math.cos(math.pi * done)) / 2


def _cosine(step: int, of: int, rise: float) -> float:
    """The rate of a step as a share of its peak: a line up, then a cosine down to LAST_RATE."""
    done = (step + 1) / (of + 1)
    if done < rise:
        return done / rise
    return LAST_RATE + (1 - LAST_RATE) * _half_cosine((done - rise) / (1 - rise))
