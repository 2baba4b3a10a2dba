"""What of a session goes into files: its state at one moment, and every file that can be made of it."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from torch import nn

from explorer.costs import cost
from explorer.errors import BadInput, ExplorerError, require_path
from explorer.evaluate.live import unnoticed
from explorer.export.files import check_folder, write_text
from explorer.export.html_report import html_report
from explorer.export.picture import bars, captions, image_name, svg
from explorer.export.replay import replay_script, replay_session
from explorer.export.report import Report, make_report
from explorer.export.writing import Say, check_formats, export
from explorer.records import FinalCheck, Moment, Visit
from explorer.surgery import prove
from explorer.values import ChannelGraph, Cost, Estimate, Latency, Plan, Request, State
from explorer.zoo import Network

PROVEN_IMAGES = 64
Progress = Callable[[str], object]


class SessionLike(Protocol):
    """What is read of a session."""

    network: Network
    graph: ChannelGraph
    visits: tuple[Visit, ...]
    final_checks: tuple[FinalCheck, ...]

    def now(self) -> Moment:
        """What is asked and what it comes to, all of one state."""

    def pruned(self) -> nn.Module:
        """The network as it is now: shrunk, recovered, in eval mode, not folded."""


@dataclass(frozen=True, eq=False)
class Explored:
    """One state of a session, and the way to it. `request.recovery` is what was done to the weights.

    `estimate` is the accuracy that the explorer showed of this state, if it was known; `latency` (dense, now)
    for every batch size that was timed. Final images are never looked at here: of `final_checks` only the
    one of this state, if there is one, is part of the report.
    """

    network: Network
    graph: ChannelGraph
    request: Request
    plan: Plan
    cost: Cost
    estimate: Estimate | None
    visits: tuple[Visit, ...]
    final_checks: tuple[FinalCheck, ...]
    latency: tuple[Latency, ...]

    @classmethod
    def of(cls, session: SessionLike) -> "Explored":
        """The session's state now, without its weights: what is a second's work is done later."""
        network, graph = session.network, session.graph
        now = session.now()
        explored = cls(
            network,
            graph,
            request=replace(now.request, recovery=now.recovery),
            plan=now.plan,
            cost=now.cost,
            estimate=None,
            visits=session.visits,
            final_checks=session.final_checks,
            latency=now.latency,
        )
        known = now.estimate is not None and now.estimate.state_key == explored.key
        return replace(explored, estimate=now.estimate) if known else explored

    @property
    def key(self) -> str:
        """The key that estimates of this state carry."""
        return State(self.network.weights_key, self.plan.key, self.request.recovery, self.request.seed).key

    @property
    def at(self) -> int | None:
        """The number of the visit of this state."""
        found = [visit.number for visit in self.visits if visit.estimate.state_key == self.key]
        return found[-1] if found else None

    def replay(self) -> str:
        """The script that reproduces this state."""
        return replay_script(
            self.network, self.graph, self.request, self.plan, self.request.recovery, self.estimate
        )

    def report(self, model: nn.Module, progress: Progress = unnoticed) -> Report:
        """The numbers of `model`, this state's network. Raises ExplorerError where its cut is not sound."""
        progress("proof")
        data = self.network.data
        images = self.network.example if data is None else data.explore.inputs(slice(0, PROVEN_IMAGES))
        proof = prove(self.network.model, self.graph, self.plan, images)
        if proof.scale == 0:
            raise ExplorerError(
                f"The cut of {self.network.name} cannot be proven: all of its outputs are zero, as those of some "
                "untrained networks are. Nothing was written. Load weights, or give the last layer some."
            )
        if not proof.ok:
            raise ExplorerError(
                f"The cut of {self.network.name} failed its proof: the shrunk network's logits are up to "
                f"{proof.max_difference:.1e} from the masked one's, at a scale of {proof.scale:.3g}"
                f"{f' ({proof.note})' if proof.note else ''}. Nothing was "
                "written. This is a fault of the explorer: please report it."
            )
        progress("accuracy")
        report = make_report(
            self.network, self.graph, self.plan, model, self.request, proof, batches=(), final=False
        )
        check = next((each for each in self.final_checks if each.now.state_key == self.key), None)
        dense = replace(report.dense, latencies=self.latency[::2])
        now = replace(report.now, latencies=self.latency[1::2])
        if check is not None:
            dense, now = replace(dense, final=check.dense), replace(now, final=check.now)
        return replace(report, dense=dense, now=now)


# ---- files -----------------------------------------------------------------------------------------------


def write_network(
    folder: str | Path,
    session: SessionLike,
    progress: Progress = unnoticed,
    formats: Collection[str] = ("network",),
    say: Say = unnoticed,
) -> list[Path]:
    """The smaller network as the files of `formats`. Takes and raises what `export` does."""
    check_formats(formats)  # before the work, not after it
    folder = check_folder(folder)
    explored, model = _with_weights(session, progress)
    report = explored.report(model, progress)
    progress("writing")
    parts = explored.network, explored.graph, explored.plan, model, report
    return list(export(folder, *parts, formats=formats, say=say).values())


def write_html(path: str | Path, session: SessionLike, progress: Progress = unnoticed) -> Path:
    """The report as one HTML file, whole or not at all; its folder is made if need be. Raises as `write_text` does."""
    given, path = path, require_path("The file", path)  # before the work, not after it
    if path.is_dir():
        raise BadInput(
            f"{str(given)!r} is a folder, and the report is one file: name it, such as 'report.html'."
        )
    check_folder(path.parent)
    explored, model = _with_weights(session, progress)
    report = explored.report(model, progress)
    progress("writing")
    text = html_report(
        explored.network,
        explored.graph,
        explored.plan,
        report,
        explored.visits,
        explored.final_checks,
        explored.at,
        explored.estimate,
    )
    return write_text(path, text)


def write_replay(folder: Path, session: SessionLike, progress: Progress = unnoticed) -> list[Path]:
    """Replay scripts: of the state now, and of all visited states if there are any."""
    explored = Explored.of(session)
    progress("writing")
    name = explored.network.file_name
    paths = [write_text(folder / f"{name}_replay.py", explored.replay())]
    if explored.visits:
        text = replay_session(explored.network, explored.graph, explored.visits)
        paths.append(write_text(folder / f"{name}_replay_all.py", text))
    return paths


def write_picture(path: Path, session: SessionLike, progress: Progress = unnoticed) -> Path:
    """The width bars as SVG, with the accuracy that the explorer showed."""
    explored = Explored.of(session)
    progress("writing")
    graph, plan = explored.graph, explored.plan
    recovery = explored.request.recovery
    said = captions(explored.network.name, explored.cost, cost(graph), recovery, explored.estimate)
    return write_text(path, svg(bars(graph, plan), *said, image_name(explored.network)))


def _with_weights(session: SessionLike, progress: Progress) -> tuple[Explored, nn.Module]:
    """One state and its network, although the session may move on meanwhile."""
    progress("weights")
    while True:
        before = session.now()
        explored, model = Explored.of(session), session.pruned()
        after = session.now()
        if before[:3] == after[:3]:
            return explored, model
