"""The dashboard: composes panels over one session. `Explorer("resnet20")` as a cell's last line shows it.

Importing this module loads neither torch nor Bokeh, so that the frame stands at once; the rest is imported while
the frame says so.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ipywidgets import HTML, HBox, VBox, Widget

from explorer.errors import BadInput, ExplorerError
from explorer.interrupts import held_interrupts
from explorer.panels.kit.closing import close_parts
from explorer.panels.kit.frame import Frame
from explorer.panels.picker.changes import Changes, Check, Stage
from explorer.panels.picker.choice import Choice
from explorer.strings import Message, Strings

if TYPE_CHECKING:
    from torch import Tensor, nn

    from explorer.data import DataSource
    from explorer.data.picking import Pick
    from explorer.data.tasks import Task
    from explorer.graph.inputs import Example
    from explorer.panels.header.header import Actions, Heading
    from explorer.panels.kit.views import Views
    from explorer.panels.overview.bars import Bars
    from explorer.session import Session
    from explorer.session.history import History
    from explorer.session.runs import Handover
    from explorer.values import Estimate, Plan
    from explorer.zoo import Network


@dataclass(frozen=True, eq=False)
class Board:
    """What shows one network: its session, and the widgets that end with it."""

    session: Session
    heading: Heading
    panels: tuple[Widget, ...]
    bars: Bars
    views: Views
    actions: Actions

    def close(self) -> None:
        """End the session's work and the widgets; nothing hears of it any more."""
        self.session.close()
        self.session.unobserve_all()
        for part in (self.heading, *self.panels):
            part.close()
            close_parts(part)


def _basis(network: Network) -> tuple[str, str]:
    """What a search is of: weights and training images."""
    train = None if network.data is None else network.data.train
    return network.weights_key, "" if train is None else train.key


ARGUMENTS = (
    "source, data, example, scale, language, weights, normalize, constructor, task, loss, score and pick"
)


class Explorer(VBox):
    """Prune a network by hand and see what it costs.

    `source`, `data`, `example`, `weights`, `normalize`, `constructor`, `task`, `loss`, `score` and `pick`: the network,
    the images that it is judged on and how, as `explorer.load` takes them; `scale`: 1.25 for a lecture (1,060 px wide);
    `language`: of the texts, such as "en". Raises ExplorerError for what `explorer.load` refuses, and for unknown
    keywords.
    """

    children: tuple[Widget, ...]

    def __init__(
        self,
        source: str | Path | nn.Module,
        data: DataSource | str | Path | None = None,
        example: Example | None = None,
        scale: float = 1.0,
        language: str = "en",
        weights: str | Path | None = "default",
        normalize: Callable[[Tensor], Tensor] | None = None,
        constructor: str | Callable[..., nn.Module] | None = None,
        task: str | Task | None = None,
        loss: Callable[..., Tensor] | None = None,
        score: Callable[..., Tensor] | None = None,
        pick: Pick | None = None,
        **unknown: object,
    ) -> None:
        if unknown:
            names = ", ".join(sorted(unknown))
            raise BadInput(f"Explorer does not know {names}. It takes {ARGUMENTS}.")
        if isinstance(scale, bool) or not isinstance(scale, int | float) or not 0.5 <= scale <= 3:
            raise BadInput(f"scale is {scale!r}; expected 0.5 to 3, such as 1.25 for a lecture.")
        self._strings, self._scale = Strings(language), scale
        self._handovers: dict[tuple[str, str], Handover] = {}  # by the network's weights and training images
        choice = Choice(source, data, example, weights, normalize, constructor, task, loss, score, pick)
        with Frame(self._strings, choice.title, scale) as frame:
            frame.stage("frame_torch")
            with held_interrupts():
                for package in ("torch", "explorer.session", "bokeh.models"):
                    import_module(package)
            self._changes = Changes(self._show)
            self._board = board = self._make(choice, None, frame.stage)
            from explorer.panels.kit.style import scale_class, stylesheet
            from explorer.panels.picker.picker import Picker

            try:
                self._picker = Picker(self._strings, self._changes)
                self._header = HBox().add_class("pe-header")
                self._css = HTML(stylesheet(scale)).add_class("pe-css")
                super().__init__(self._arrange(board))
                self._changes.observe(lambda _change: self._arrived(), "choice")
                self._changes.observe(lambda change: self._fail(change["new"]), "error")
                self._changes.begin(choice, board.session.history)
            except BaseException:
                board.session.close()
                raise
        self.add_class("pruning-explorer").add_class(scale_class(scale))

    def load(
        self,
        source: str | Path | nn.Module,
        data: DataSource | str | Path | None = None,
        example: Example | None = None,
        weights: str | Path | None = "default",
        normalize: Callable[[Tensor], Tensor] | None = None,
        constructor: str | Callable[..., nn.Module] | None = None,
        task: str | Task | None = None,
        loss: Callable[..., Tensor] | None = None,
        score: Callable[..., Tensor] | None = None,
        pick: Pick | None = None,
    ) -> None:
        """Explore another network in this one's place; `undo` brings this one back as it is now.

        Takes and raises what `explorer.load` does; what cannot be loaded changes nothing.
        """
        if self.comm is None:
            raise ExplorerError("This explorer is closed: make a new one.")
        self._changes.make(
            Choice(source, data, example, weights, normalize, constructor, task, loss, score, pick)
        )

    def open_supernet(self, method: str = "dmcp") -> None:
        """Explore the network that a search over widths has trained, else that of its recorded run, in the network's
        place, with its channels ranked as the method does; `undo` brings the network back.

        Raises UnknownName for another method, BadInput where there is no such network.
        """
        self._changes.make(self._trained(method))

    # ---- one network after another ----------------------------------------------------------------------

    def _trained(self, method: str) -> Choice:
        from explorer.methods import METHODS
        from explorer.records import Runs
        from explorer.session.runs import Handover

        choice, session = self._changes.choice, self.session
        if choice is None:
            raise ExplorerError("This explorer is closed: make a new one.")
        network, run = session.trained_network(method), session.ended_run(method)
        if network is None or run is None:
            raise BadInput(
                f"There is no {METHODS[method].trained} network of {session.network.name}: session.start_search() "
                "trains one, and none ships for these weights."
            )
        self._handovers[_basis(network)] = Handover(Runs(recorded={method: run}))
        return replace(choice, ready=network, criterion=METHODS[method].ranking)

    def _show(self, choice: Choice, history: History | None, stage: Stage, check: Check) -> History:
        """Put another network in place of the one that is shown, and free that."""
        board = self._make(choice, history, stage, check)
        if choice.ready is not None:  # a search's supernet: its widths are in the same tab
            board.views.tabs.value = "methods"
        left, self._board = self._board, board
        self.children = self._arrange(board)
        left.close()
        return board.session.history

    def _make(
        self, choice: Choice, history: History | None, stage: Stage, check: Check = lambda: None
    ) -> Board:
        """What shows a choice, not yet seen."""
        from explorer.session import Session

        stage("picker_stage_load")
        network = choice.load()
        check()
        stage("frame_network")
        if "_board" in vars(self) and (self._handovers or self.session.runs.progress):
            self._handovers[_basis(self.session.network)] = self.session.handover
        handover = self._handovers.get(_basis(network)) if self._handovers else None
        session = Session(network, history or choice.history(network), handover)
        try:
            check()
            stage("frame_drawing")
            return self._compose(session)
        except BaseException:
            session.close()
            raise

    def _arrange(self, board: Board) -> tuple[Widget, ...]:
        """The panels in the order of the tab key; `css/base.css` says where each stands.

        What stays when the network changes stands first, so that the page keeps it and its focus.
        """
        self._header.children = (self._picker, board.heading)
        return (self._css, self._header, *board.panels)

    def _arrived(self) -> None:
        choice = self._changes.choice
        if choice is not None:
            self._picker.follow(choice, self.session.network)
            self._board.actions.binding.refresh()

    def _fail(self, error: str) -> None:
        """A person who does not see the picker reads on the status line why nothing was loaded."""
        if error and not self._picker.opened:
            self.session.report(ExplorerError(error))

    def _compose(self, session: Session) -> Board:
        """The panels over a session."""
        from explorer.allocate import ALLOCATIONS
        from explorer.criteria import CRITERIA
        from explorer.panels.header.controls import controls_script
        from explorer.panels.header.header import Actions, Heading
        from explorer.panels.header.keep import Keep
        from explorer.panels.header.more import More
        from explorer.panels.header.scorecard import Scorecard
        from explorer.panels.header.status import Status
        from explorer.panels.images.images_tab import ImagesTab
        from explorer.panels.kit.views import Pane, Views
        from explorer.panels.layer.pane import LayerPane
        from explorer.panels.methods.tab import MethodsTab
        from explorer.panels.overview.bars import Bars
        from explorer.panels.overview.coverage import CoveragePane
        from explorer.panels.overview.tradeoff import TradeoffPane
        from explorer.panels.overview.training import TrainingStrip

        strings, scale = session.words(self._strings), self._scale
        has_data = session.network.data is not None
        criteria = {
            name: strings.named("criterion", name, rule.label)
            for name, rule in CRITERIA.items()
            if has_data or not rule.needs_data
        }
        allocations = {name: strings.named("allocation", name, label) for name, label in ALLOCATIONS.items()}
        panes: dict[str, Callable[..., Pane]] = {
            "layer": LayerPane,
            "methods": partial(
                MethodsTab, open_trained=lambda method: self._changes.start(self._trained(method))
            ),
            "images": ImagesTab,
            "tradeoff": TradeoffPane,
            "coverage": CoveragePane,
        }
        training = TrainingStrip(session, strings)
        bars = Bars(session, strings, scale)
        bars.document.when_ready(controls_script(strings, bars.figure))
        views = Views(
            session,
            strings,
            {name: partial(pane, session, strings, scale) for name, pane in panes.items()},
        )
        actions = Actions(session, strings, self._changes)
        panels = (
            Keep(session, strings, training.opener),
            HBox([bars, views]).add_class("pe-main"),
            Scorecard(session, strings),
            More(session, strings, allocations),
            Status(session, strings, training),
            actions,
        )
        return Board(session, Heading(session, strings, criteria), panels, bars, views, actions)

    # ---- from code --------------------------------------------------------------------------------------

    @property
    def session(self) -> Session:
        """What is explored now; another one after another network was loaded."""
        return self._board.session

    @property
    def plan(self) -> Plan:
        """Which channels are kept now."""
        return self.session.plan

    @property
    def estimate(self) -> Estimate | None:
        """The accuracy shown now; None before the first images."""
        return self.session.estimate

    def set(self, keep: float | None = None, widths: Mapping[str, int] | None = None) -> None:
        """Move the budget (a share up to 1) or pin groups' widths, as a person would.

        `plan` is up to date when it returns, `estimate` follows (see `wait`). Raises ExplorerError.
        """
        changes: dict[str, object] = {}
        if keep is not None:
            changes["keep"] = keep
        if widths is not None:
            changes["widths"] = tuple(sorted(widths.items()))
        if changes:
            self.session.propose(wait=True, **changes)

    def undo(self) -> None:
        """Take back the last gesture, or the last change of the network; at the beginning nothing happens."""
        if self.session.can_undo:
            self.session.undo()
        else:
            self._changes.make("back")

    def redo(self) -> None:
        """Take back an undo; at the end nothing happens."""
        if self.session.can_redo:
            self.session.redo()
        else:
            self._changes.make("forward")

    def wait(self, timeout: float | None = None) -> bool:
        """Block until all that was asked is answered, trainings and searches too; False if `timeout` seconds were not
        enough.
        """
        return self.session.wait(timeout)

    def network(self) -> nn.Module:
        """The network as it is now, cut and recovered: a copy in eval mode."""
        return self.session.pruned()

    def snapshot(self) -> None:
        """Show the state as a picture of its own, which stays in the notebook when the kernel is gone."""
        from IPython.display import SVG, display

        from explorer.export.snapshot import snapshot_svg

        session = self.session
        label = self._strings.say(session.estimate_label)
        known = session.estimate if session.current else None
        costs = session.cost, session.dense_cost
        picture = snapshot_svg(
            session.network, session.graph, session.plan, *costs, known, label, session.reference
        )
        display(SVG(picture))

    def export(self, folder: str | Path, formats: Collection[str] = ("network",)) -> list[Path]:
        """Write the smaller network into a folder; returns the files.

        `formats`: "network" (weights, widths, a Python file that rebuilds it, a picture), "onnx", "archive"
        (torch.export); a class that no Python file can import is written as an archive, and printed why. Raises
        BadInput for a folder that cannot be written to or an unknown format, ExplorerError if the cut fails its
        proof, a package is missing, or an operator cannot be exported.
        """
        from explorer.export.explored import write_network

        def say(note: Message) -> None:
            print(self._strings.say(note))

        return write_network(folder, self.session, formats=formats, say=say)

    def report(self, path: str | Path) -> Path:
        """Write what was found as one HTML file; returns its path. Raises ExplorerError as `export` does."""
        from explorer.export.explored import write_html

        return write_html(path, self.session)

    def replay(self) -> str:
        """A Python script of the public API that reproduces the state as it is now."""
        from explorer.export.explored import Explored

        return Explored.of(self.session).replay()

    def close(self) -> None:
        """Stop all work and remove the widgets; nothing of ours keeps the network alive any more."""
        if "_changes" in vars(self):  # ipywidgets closes also what failed to be built
            self._changes.close()
        if "_board" in vars(self):
            self._board.close()
            self._handovers.clear()
        if self.comm is not None:
            close_parts(self)
        super().close()

    def __repr__(self) -> str:
        """One line for a console, and for str(); that of a widget would tell every widget inside."""
        if "_board" not in vars(self) or self.comm is None:
            return "<Explorer, closed>"
        session = self.session
        images = "without images" if session.network.data is None else f"on {session.network.data.name}"
        share = session.cost.macs / session.dense_cost.macs
        return f"<Explorer of {session.network.name} {images}, {100 * share:.0f} % of its MACs kept>"

    def _repr_mimebundle_(self, **keywords: Any) -> dict[str, str] | None:
        from explorer.panels.kit.bokeh_document import publish_bokehjs

        publish_bokehjs()
        board = self._board
        for document in (*board.bars.documents, *board.views.documents, *self._picker.documents):
            document.redisplay()
        return super()._repr_mimebundle_(**keywords)
