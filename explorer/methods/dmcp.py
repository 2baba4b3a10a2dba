"""DMCP: widths learned as Markov chains, beside weights that serve all widths (Guo et al. 2020, arXiv 2005.03354).

Warm-up trains the weights only; then every step updates the weights, and after them the chains. The weights learn by
the sandwich rule with in-place distillation (Yu & Huang 2019): the full network learns from the labels; the
smallest one, and others of widths drawn anew, from what the full network says. The chains learn from the full network
with every channel times its retention probability, and from how far the expected cost is from the target.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, kl_div

from explorer.chains import Chain, ChainRun, chain_of
from explorer.costs import totals
from explorer.data import Images
from explorer.data.batches import split_evenly
from explorer.data.fitting import require_labels
from explorer.errors import BadInput, NotReachable
from explorer.evaluate.recovery import class_labels, reestimate_bn
from explorer.graph.randomness import own_torch_numbers
from explorer.methods.gates import ExpectedCost, Gates
from explorer.methods.regularisers import REGULARISERS
from explorer.methods.repeatable import copied, require_alike, rows_of, seed_of
from explorer.methods.retraining import fresh
from explorer.methods.road import BrokeDown, Run, Subject, Told, require_finite_loss
from explorer.methods.settings import choice, number, share, whole
from explorer.methods.structure import all_widths, expected_structure, prefix_plan, reachable
from explorer.methods.supernet import Supernet
from explorer.records import TrainingCost
from explorer.values import Plan

MOMENTUM = 0.9
BETAS = (0.9, 0.99)
CLIP = 5.0  # total norm of the weights' gradients
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
@dataclass(frozen=True)
class DMCP:
    """The method: see the module."""

    name: str = "dmcp"
    kind: str = "widths"
    label: str = "DMCP"
    about: str = (
        "Learns where each layer should stop: Markov chains over widths, trained with weights that serve all of them "
        "(Guo et al. 2020)."
    )
    settings: type = DMCPSettings

    def begin(self, subject: Subject, settings: DMCPSettings) -> Run:
        """A search at its first step.

        Raises BadInput for a network without groups that can be narrowed and for fewer images than a batch,
        NotReachable for a target below what the least widths cost.
        """
        graph = subject.graph
        every = [chain_of(group, settings.alpha, settings.divisions) for group in graph.prunable]
        chains = tuple(chain for chain in every if chain.states)
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


class _Search:
    """A search between two steps. What is drawn at a step depends on the seed and the step's number alone."""

    def __init__(self, subject: Subject, settings: DMCPSettings, chains: tuple[Chain, ...]) -> None:
        self._subject, self._settings, self._chains = subject, settings, chains
        self._weights, self._chain_rows = _split(subject.images, settings)
        self._labels = class_labels(subject.images)
        graph = subject.graph
        first = (
            subject.network.model
            if settings.start == "loaded"
            else fresh(subject.network.model, settings.seed)
        )
        self._supernet = Supernet(first, graph, chains)
        self._gates = Gates(graph, chains)
        self._expected = ExpectedCost(graph, chains, settings.cost)
        self._target = settings.target * self._expected.dense
        trained = [p for p in self._supernet.parameters.values() if p.requires_grad]
        if not trained:
            raise BadInput(
                f"No parameter of {subject.network.name} requires gradients, so there is nothing to train: call "
                "model.requires_grad_(True) before loading it."
            )
        decayed = [{"params": [p for p in trained if p.dim() > 1], "weight_decay": settings.weight_decay}]
        rest = [{"params": [p for p in trained if p.dim() <= 1], "weight_decay": 0.0}]
        self._trained = trained
        self._sgd = torch.optim.SGD(decayed + rest, lr=settings.rate, momentum=MOMENTUM, nesterov=True)
        self._adam = torch.optim.Adam([self._gates.alphas], lr=settings.alpha_rate, betas=BETAS)
        self._least = np.array([chain.least for chain in chains], dtype=np.int64)
        self._sizes = np.array([chain.size for chain in chains], dtype=np.int64)
        self.per_epoch = len(split_evenly(self._weights, settings.batch))
        self._warm = settings.warm_up * self.per_epoch
        self.of = self._warm + settings.epochs * self.per_epoch
        self._dense = int(totals(graph, graph.sizes, "macs"))
        self.epoch_macs = self._dense * len(subject.images)
        self._frames: list[tuple[int, Tensor, float, dict[str, float]]] = []
        middle = np.array([float(chain.widths.mean()) for chain in chains])
        self._about = [self._macs(self._least), float(self._macs(middle))]

    # ---- one step -----------------------------------------------------------------------------------------

    def step(self, number: int) -> Told:
        rows = self._rows(number, self._weights)
        with (
            own_torch_numbers(seed_of(self._settings.seed, number, 0)),
            torch.inference_mode(False),
            torch.enable_grad(),
        ):
            losses, macs = self._weight_step(number, rows)
            if number >= self._warm:
                if self._settings.held_out:
                    rows = self._rows(number, self._chain_rows)
                losses |= self._chain_step(number, rows)
                macs += self._dense * len(rows)
        return Told("search" if number >= self._warm else "warm-up", losses, macs)

    def _weight_step(self, number: int, rows: Tensor) -> tuple[dict[str, float], int]:
        """The sandwich: gradients of the full, the least and two drawn networks, summed; one step of SGD."""
        inputs, labels = self._subject.images.inputs(rows), self._labels[rows]
        self._set_rate(self._sgd, self._settings.rate, _cosine(number, self.of, RISE))
        self._sgd.zero_grad()
        logits = self._supernet.full(inputs)
        require_labels(labels, logits)
        loss = cross_entropy(logits, labels)
        full = require_finite_loss("the full network", loss.item())
        if not loss.requires_grad:
            raise BadInput(
                f"No parameter that {self._subject.network.name} uses requires gradients, so there is nothing to train."
            )
        loss.backward()
        teacher = logits.detach().softmax(1)
        apart, macs = [], self._dense
        for widths in (self._least, *self._drawn(number)):
            loss = kl_div(self._supernet.at(inputs, widths).log_softmax(1), teacher, reduction="batchmean")
            apart.append(require_finite_loss("a subnetwork", loss.item()))
            loss.backward()
            macs += int(self._macs(widths))
        nn.utils.clip_grad_norm_(self._trained, CLIP)
        self._sgd.step()
        return {"full": full, "sub": float(np.mean(apart))}, macs * len(rows)

    def _chain_step(self, number: int, rows: Tensor) -> dict[str, float]:
        """The full network behind its gates, and the expected cost: one step of Adam on the alphas alone."""
        inputs, labels = self._subject.images.inputs(rows), self._labels[rows]
        done = (number - self._warm) / max(1, self.of - self._warm)
        self._set_rate(
            self._adam, self._settings.alpha_rate, LAST_RATE + (1 - LAST_RATE) * _half_cosine(done)
        )
        retention = self._gates.retention()
        task = cross_entropy(self._supernet.gated(inputs, self._gates, retention), labels)
        away = REGULARISERS[self._settings.regulariser](
            self._expected(self._gates.expected(retention)), self._target
        )
        loss = task.double() + self._settings.strength * away
        require_finite_loss("the chains", loss.item())
        (self._gates.alphas.grad,) = torch.autograd.grad(loss, [self._gates.alphas])
        self._adam.step()
        return {"chains": task.item(), "cost": away.item()}

    def _drawn(self, number: int) -> tuple[NDArray[np.int64], ...]:
        """Two networks: each of uniformly drawn widths, or, more and more often, drawn from the chains.

        The share of uniform ones falls from 1 at the end of warm-up to 0 half-way through the search.
        """
        random = np.random.default_rng([self._settings.seed, number])
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

    def _rows(self, number: int, rows: Tensor) -> Tensor:
        return rows_of(self._settings.seed, number, self.per_epoch, rows, self._settings.batch)

    def _macs(self, widths: NDArray[Any]) -> Any:
        return totals(self._subject.graph, all_widths(self._subject.graph, self._chains, widths), "macs")

    @staticmethod
    def _set_rate(optimizer: torch.optim.Optimizer, peak: float, part: float) -> None:
        for group in optimizer.param_groups:
            group["lr"] = peak * part

    # ---- what the road asks -------------------------------------------------------------------------------

    def planned(self, done: int) -> float:
        step = self._dense + self._about[0] + 2 * self._about[1]
        return done * step + max(0, done - self._warm) * self._dense

    def content(self) -> dict[str, Any]:
        tensors = {name: each.detach().clone() for name, each in self._supernet.tensors.items()}
        if not all(bool(torch.isfinite(each).all()) for each in tensors.values() if each.is_floating_point()):
            raise BrokeDown("the weights are no longer finite numbers.")
        return {
            "tensors": tensors,
            "alphas": self._gates.alphas.detach().clone(),
            "sgd": copied(self._sgd.state_dict()),
            "adam": copied(self._adam.state_dict()),
            "frames": [list(frame) for frame in self._frames],
        }

    def restore(self, content: Mapping[str, Any]) -> None:
        own = {**self._supernet.tensors, "": self._gates.alphas}
        try:
            kept = {**content["tensors"], "": content["alphas"]}
            require_alike(own, kept)
            with torch.no_grad():
                for name, tensor in own.items():
                    tensor.copy_(kept[name])
            self._sgd.load_state_dict(copied(content["sgd"]))
            self._adam.load_state_dict(copied(content["adam"]))
            self._frames = [
                (int(step), alphas, float(share), dict(told))
                for step, alphas, share, told in content["frames"]
            ]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BadInput(
                f"This snapshot does not fit the search ({error}): it is of another version. Begin anew without it."
            ) from error

    def look(self, done: int, losses: Mapping[str, float], training: TrainingCost) -> ChainRun:
        alphas = self._gates.alphas.detach()
        with torch.no_grad():
            expected = self._expected(self._gates.expected(self._gates.retention())).item()
        self._frames.append((done, alphas.float().clone(), expected / self._expected.dense, dict(losses)))
        return self._run(training, {})

    def finish(self, training: TrainingCost) -> tuple[ChainRun, Plan, nn.Module]:
        graph, settings = self._subject.graph, self._settings
        widths = expected_structure(graph, self._gates.values(), settings.target, settings.cost)
        with own_torch_numbers(seed_of(settings.seed, self.of, 2)), torch.inference_mode(False):
            supernet = self._supernet.trained(self._subject.network.model)
            reestimate_bn(supernet, self._subject.images, count=BN_IMAGES)
        return self._run(training, widths), prefix_plan(graph, widths), supernet

    def _run(self, training: TrainingCost, widths: Mapping[str, int]) -> ChainRun:
        names = ("full", "sub", "chains", "cost")
        frames = self._frames
        return ChainRun(
            network=self._subject.network.name,
            graph_key=self._subject.graph.key,
            cost=self._settings.cost,
            target=self._settings.target,
            chains=self._chains,
            of=self.of,
            warm_up=self._warm,
            steps=np.array([frame[0] for frame in frames], dtype=np.int32),
            alphas=np.stack([frame[1].numpy() for frame in frames]),
            shares=np.array([frame[2] for frame in frames]),
            losses={name: np.array([frame[3].get(name, math.nan) for frame in frames]) for name in names},
            settings=asdict(self._settings),
            widths=widths,
            training=training,
        )


def _split(images: Images, settings: DMCPSettings) -> tuple[Tensor, Tensor]:
    """Rows that the weights learn from, and rows that the chains do: all for both, unless some are held out."""
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(settings.seed))
    held = round(settings.held_out * len(images))
    weights = order[held:]
    for what, rows in (
        ("the weights", weights),
        ("the chains", order[:held] if settings.held_out else weights),
    ):
        if len(rows) < settings.batch:
            raise BadInput(
                f"A batch has {settings.batch} images, and there are {len(rows)} training images for {what}. Pass "
                f"a smaller batch, such as batch={max(2, len(rows) // 4)}, or more images."
            )
    return weights, order[:held]


def _half_cosine(done: float) -> float:
    return (1 + math.cos(math.pi * done)) / 2


def _cosine(step: int, of: int, rise: float) -> float:
    """The rate of a step as a share of its peak: a line up, then a cosine down to LAST_RATE."""
    done = (step + 1) / (of + 1)
    if done < rise:
        return done / rise
    return LAST_RATE + (1 - LAST_RATE) * _half_cosine((done - rise) / (1 - rise))
