"""A structure that was found beside the uniform one of the same cost, with shared weights and trained again.

The honest control of every search over widths (Liu et al. 2019, "Rethinking the value of network pruning", ICLR): same
MACs, images, epochs, seeds and schedule, so that nothing but the widths differs.
"""

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass

from torch import nn

from explorer.chains import ChainRun, Comparison, Contender, chain_of
from explorer.costs import totals, widths_of
from explorer.data import Images
from explorer.errors import BadInput, NotReachable, require_name, require_whole
from explorer.evaluate.estimates import Check, as_module, nothing, weights_key
from explorer.evaluate.recovery import TrainingStep, reestimate_bn
from explorer.methods.retraining import (
    SHARED_BN_IMAGES,
    STARTS,
    accuracy_of,
    require_labelled,
    require_seeds,
    retrained,
)
from explorer.methods.structure import prefix_plan, uniform
from explorer.surgery import shrink
from explorer.values import ChannelGraph, content_key
from explorer.zoo.network import Network

EPOCHS = 4
SEEDS = (0, 1, 2)
TOLERANCE = 0.02  # by how much, as a share, the MACs of two structures may differ and still count as equal


@dataclass(frozen=True)
class Retraining:
    """How far a comparison is: training `number` (from 1) `of` so many, a contender with a seed, and its step."""

    contender: str
    seed: int
    number: int
    of: int
    training: TrainingStep


def compare(
    network: Network,
    graph: ChannelGraph,
    found: ChainRun | Mapping[str, int],
    supernet: nn.Module,
    seeds: Sequence[int] = SEEDS,
    epochs: int = EPOCHS,
    start: str = "scratch",
    check: Check = nothing,
    progress: Callable[[Retraining], object] | None = None,
    remembered: MutableMapping[str, float] | None = None,
    name: str = "",
) -> Comparison:
    """DMCP's structure and the uniform one of the same MACs: with the supernet's weights, and retrained per seed.

    `found` is a run that ended, or its widths {group: width}. "dmcp" and "uniform" are retrained once for every seed
    (see `retraining.retrained` for `start` and the schedule; no seeds: not at all); "largest" and "smallest", the ends
    of the supernet, stand beside them with shared weights only. Shared weights: BN statistics re-estimated on 1,024
    training images. Accuracies are over all explore images.

    `check` is called between batches and may raise. `remembered` takes the accuracy of every training as soon as it
    is known, by content, and what it holds already is not trained again. `name` says in words which network this is
    (default: its name). Raises BadInput where the data have no training images or labels, for a run that has not ended
    and for widths that do not fit, UnknownName for another start, and NotReachable if no uniform structure comes
    within 2 % of the MACs.
    """
    require_name("start of retraining", start, STARTS)
    require_whole("epochs", epochs, 1)
    seeds = require_seeds(seeds)
    training, explore = require_labelled(network.data)
    structures, target = _structures(graph, found)
    shares = {each: _share(graph, widths) for each, widths in structures.items()}
    if abs(shares["uniform"] / shares["dmcp"] - 1) > TOLERANCE:
        raise NotReachable(
            f"The structure that was found has {100 * shares['dmcp']:.1f} % of the MACs, and the nearest uniform one "
            f"{100 * shares['uniform']:.1f} %: more than {100 * TOLERANCE:g} % apart, so their accuracies say nothing "
            "about the widths. Choose another target, or a network with more channels."
        )
    shared, smaller = {}, {}
    for each, widths in structures.items():
        check()
        smaller[each] = shrink(as_module(supernet), graph, prefix_plan(graph, widths))
        reestimate_bn(smaller[each], training, SHARED_BN_IMAGES, check=check)
        shared[each] = accuracy_of(smaller[each], explore, check)
    again = _Again(
        training, explore, epochs, start, check, progress, {} if remembered is None else remembered
    )
    accuracy = again.accuracies({each: smaller[each] for each in ("dmcp", "uniform")}, seeds)
    contenders = tuple(
        Contender(each, shares[each], tuple(widths.items()), shared[each], accuracy.get(each, ()))
        for each, widths in structures.items()
    )
    return Comparison(name or network.name, target, len(explore), epochs, start, contenders)


def _structures(
    graph: ChannelGraph, found: ChainRun | Mapping[str, int]
) -> tuple[dict[str, dict[str, int]], float]:
    """({contender: widths of all prunable groups}, the share of the MACs that was aimed at)."""
    if not isinstance(found, ChainRun | Mapping) or found == {}:
        raise BadInput(f"compare takes a run that ended, or its widths {{group: width}}, not {found!r}.")
    if isinstance(found, ChainRun):
        if not found.ended:
            raise BadInput(
                "The run has not ended, so there is no structure to compare: search to the end first."
            )
        widths, chains = found.widths, found.chains
    else:
        widths, chains = found, tuple(chain_of(group) for group in graph.prunable)
    dense = {group.id: group.size for group in graph.prunable}
    structures = {
        "dmcp": dict(prefix_plan(graph, widths).widths),
        "uniform": {**dense, **uniform(graph, widths, "macs")},
        "largest": dense,
        "smallest": {**dense, **{chain.group: chain.least for chain in chains}},
    }
    if isinstance(found, ChainRun) and found.cost == "macs":
        return structures, found.target
    return structures, _share(graph, structures["dmcp"])


def _share(graph: ChannelGraph, widths: Mapping[str, int]) -> float:
    """MACs as a share of the dense network's."""
    used = widths_of(graph, prefix_plan(graph, widths))
    return float(totals(graph, used, "macs") / totals(graph, graph.sizes, "macs"))


@dataclass(frozen=True, eq=False)
class _Again:
    """Structures trained once for every seed, and what is known of that already."""

    training: Images
    explore: Images
    epochs: int
    start: str
    check: Check
    progress: Callable[[Retraining], object] | None
    remembered: MutableMapping[str, float]

    def accuracies(
        self, structures: Mapping[str, nn.Module], seeds: Sequence[int]
    ) -> dict[str, tuple[float, ...]]:
        """{contender: accuracy for every seed}; seed after seed, so that an early look is a fair one too."""
        todo = [(seed, name) for seed in seeds for name in structures]
        found: dict[str, list[float]] = {name: [] for name in structures}
        for number, (seed, name) in enumerate(todo, start=1):
            key = self._key(structures[name], seed)
            if key not in self.remembered:
                self.remembered[key] = self._accuracy(structures[name], name, seed, number, len(todo))
            found[name].append(self.remembered[key])
        return {name: tuple(values) for name, values in found.items()}

    def _accuracy(self, structure: nn.Module, name: str, seed: int, number: int, of: int) -> float:
        def told(step: TrainingStep) -> None:
            if self.progress is not None:
                self.progress(Retraining(name, seed, number, of, step))

        network = retrained(structure, self.training, self.epochs, seed, self.start, self.check, told)
        return accuracy_of(network, self.explore, self.check)

    def _key(self, structure: nn.Module, seed: int) -> str:
        """What the accuracy follows from: the structure with its weights, the images, epochs, start and seed."""
        images = self.training.key, self.explore.key
        return content_key(weights_key(structure), *images, self.epochs, self.start, seed)
