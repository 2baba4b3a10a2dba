"""What a method is: its name and settings, the algorithm that it trains by, and what is shown and measured of it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from explorer.charts.contenders import contenders
from explorer.charts.curves import losses
from explorer.charts.marks import Chart
from explorer.costs import totals
from explorer.data import Images
from explorer.data.batches import split_evenly
from explorer.errors import BadInput
from explorer.evaluate.recovery import class_labels
from explorer.methods.repeatable import rows_of, seed_of
from explorer.methods.report import Report
from explorer.methods.structure import prefix_plan
from explorer.runs import Run
from explorer.strings import Strings
from explorer.values import ChannelGraph, Plan
from explorer.zoo.network import Network

MOMENTUM = 0.9
CLIP = 5.0  # total norm of a turn's gradients


@dataclass(frozen=True, eq=False)
class Subject:
    """What a method works on: a network (never changed), its graph, training images with labels."""

    network: Network
    graph: ChannelGraph
    images: Images


@dataclass(frozen=True, eq=False)
class Turn:
    """One update of some parameters, done at every step from `begins` on (from 0).

    `gradients(number, report)` puts the gradients of step `number` into the parameters, and reports the losses; `rate`
    is that of the step. Of the parameters `clipped` the gradients' total norm is kept below CLIP. `after(number,
    report)` follows the update.
    """

    optimiser: torch.optim.Optimizer
    rate: Callable[[int], float]
    gradients: Callable[[int, Report], None]
    clipped: Sequence[Tensor] = ()
    begins: int = 0


@dataclass(frozen=True, eq=False)
class Result:
    """What an algorithm came to: the trained network in eval mode, and the structure with its plan, if it finds one.

    The first channels of `network` that `plan` keeps are the structure that was found.
    """

    network: nn.Module
    plan: Plan | None = None
    widths: Mapping[str, int] | None = None


class Algorithm(ABC):
    """A method at work on a subject. The loop does its steps; what is drawn at one depends on seed and number alone.

    `settings` has batch, seed and epochs. `rows` are the training images that it learns from, all unless given.
    A subclass sets `turns` and `tensors`: all that its steps change, by name; `unbounded` names those that may hold
    numbers that are not finite.
    """

    unbounded: ClassVar[Sequence[str]] = ()
    turns: Mapping[str, Turn]
    tensors: Mapping[str, Tensor]

    def __init__(self, subject: Subject, settings: Any, epochs: int, rows: Tensor | None = None) -> None:
        self.subject, self.settings = subject, settings
        self.labels = class_labels(subject.images)
        self.rows = torch.arange(len(subject.images)) if rows is None else rows
        require_batch(self.rows, settings.batch)
        self.per_epoch = len(split_evenly(self.rows, settings.batch))
        self.of = epochs * self.per_epoch
        graph = subject.graph
        self.dense = int(totals(graph, graph.sizes, "macs"))
        self.epoch_macs = self.dense * len(subject.images)

    @property
    def facts(self) -> Mapping[str, Any]:
        """What a run says of all its frames: texts, numbers, and lists of them."""
        return {}

    def phase(self, number: int) -> str:  # noqa: ARG002
        """Name of the phase that a step belongs to."""
        return "train"

    def before(self, number: int, report: Report) -> None:  # noqa: B027
        """What comes ahead of the turns of a step."""

    def after(self, number: int, report: Report) -> None:  # noqa: B027
        """What follows the turns of a step."""

    def planned(self, done: int) -> float:
        """About how many MACs the first `done` steps take together: only their proportion matters."""
        return float(done)

    @abstractmethod
    def frame(self, done: int) -> Mapping[str, float | Tensor]:
        """What is noted after `done` steps: a number or a tensor for every series of the run."""

    @abstractmethod
    def result(self) -> Result:
        """After the last step."""

    def batch(self, number: int, rows: Tensor | None = None) -> Tensor:
        """The images of a step, int64: every epoch of `rows` in an order of its own."""
        rows = self.rows if rows is None else rows
        return rows_of(self.settings.seed, number, self.per_epoch, rows, self.settings.batch)

    def seed(self, number: int, kind: int) -> int:
        """A seed for one use at one step."""
        return seed_of(self.settings.seed, number, kind)

    def sgd(
        self, parameters: Iterable[Tensor], own: Sequence[Tensor] = ()
    ) -> tuple[torch.optim.SGD, list[Tensor]]:
        """Nesterov's momentum over what requires gradients, and over the method's `own` parameters; and all of these.

        Weights decay by the settings' `weight_decay`; vectors (biases, batch norm) and `own` ones do not. Raises
        BadInput where the network has nothing to train.
        """
        trained = [p for p in parameters if p.requires_grad]
        if not trained:
            raise BadInput(
                f"No parameter of {self.subject.network.name} requires gradients, so there is nothing to train: call "
                "model.requires_grad_(True) before loading it."
            )
        settings = self.settings
        decayed = [p for p in trained if p.dim() > 1]
        rest = [*(p for p in trained if p.dim() <= 1), *own]
        groups = [
            {"params": decayed, "weight_decay": settings.weight_decay},
            {"params": rest, "weight_decay": 0.0},
        ]
        return torch.optim.SGD(groups, lr=settings.rate, momentum=MOMENTUM, nesterov=True), [*trained, *own]


@dataclass(frozen=True, eq=False)
class Seen:
    """What a view is given: a run at one of its frames, in whose words, and what was measured after it (or None)."""

    run: Run
    frame: int
    evidence: Any
    say: Strings


@dataclass(frozen=True)
class View:
    """What can be looked at of a method's runs. `draw` gives the chart, None where there is nothing to be seen.

    `text` is the key of its label, to which "_help" is added. `replayed`: another frame is another chart.
    """

    text: str
    draw: Callable[[Seen], Chart | None]
    replayed: bool = True


def losses_view(seen: Seen) -> Chart | None:
    """The losses of any run."""
    return losses(seen.run, seen.frame, seen.say)


def contenders_view(seen: Seen) -> Chart | None:
    """What was found beside structures of the same cost."""
    known = seen.evidence
    return contenders(known.contenders, known.images, seen.say) if known is not None else None


LOSSES = View("view_losses", losses_view)
CONTENDERS = View("view_contenders", contenders_view, replayed=False)


class Method(ABC):
    """A procedure that trains; one per file, listed in `METHODS`. Its values are class attributes.

    `yields` "widths", a plan for all images, or "instances", a subnetwork for each. `label` is for people, `about` one
    sentence with the source; `settings` a dataclass of declared settings, `run` the kind of Run that it comes to,
    `losses` the names of its losses, `evidence` the type of what is measured after it.
    """

    name: ClassVar[str]
    yields: ClassVar[str] = "widths"
    label: ClassVar[str]
    about: ClassVar[str]
    settings: ClassVar[type]
    run: ClassVar[type[Run]] = Run
    losses: ClassVar[tuple[str, ...]]
    evidence: ClassVar[type | None] = None
    views: ClassVar[tuple[View, ...]] = (LOSSES,)
    trained: ClassVar[str] = (
        "trained"  # what its network is called behind the name of the one that it came from
    )
    ranking: ClassVar[str] = "order"  # how that network's channels are ranked
    trained_note: ClassVar[str] = "The network that a method trained from {name}, at full width."

    @abstractmethod
    def begin(self, subject: Subject, settings: Any) -> Algorithm:
        """The algorithm at its first step. Raises ExplorerError for what cannot be searched, before any work."""

    def epochs(self, graph: ChannelGraph, images: int, settings: Mapping[str, Any]) -> float:  # noqa: ARG002
        """About as many epochs of training the dense network as a training costs."""
        return float(settings["epochs"])

    def refusal(self, graph: ChannelGraph) -> str:  # noqa: ARG002
        """Key of the text that says why nothing can begin on such a network; "" if it can."""
        return ""

    def least(self, graph: ChannelGraph, settings: Mapping[str, Any]) -> float:  # noqa: ARG002
        """The smallest `target`, a share of the dense network's cost, that a search can come to."""
        return 0.0

    def plan(self, graph: ChannelGraph, run: Run, network: nn.Module) -> Plan | None:  # noqa: ARG002
        """The structure that a run found, of its trained network; the first channels unless overridden."""
        return prefix_plan(graph, run.widths) if run.widths else None

    def measure(self, measuring: Any) -> Any:
        """What is recorded beside a run, of the type `evidence`; takes `measuring.Measuring`, and may take hours."""
        from explorer.methods.measuring import at_equal_cost

        return at_equal_cost(measuring)

    def rebuilt(self, network: Network, graph: ChannelGraph, run: Run) -> nn.Module:  # noqa: ARG002
        """A network as `Result.network`, for the weights of a recorded run to be put into."""
        from explorer.graph.copies import deep_copy

        return deep_copy(network.model)


def require_batch(rows: Tensor, batch: int, what: str = "") -> None:
    """Raise BadInput for fewer images than a batch has; `what` says what they are for."""
    if len(rows) < batch:
        raise BadInput(
            f"A batch has {batch} images, and there are {len(rows)} training images{what}. Pass a smaller batch, such "
            f"as batch={max(4, len(rows) // 4)}, or more images."
        )
