"""The dashboard: composes panels over one session. `Explorer("resnet20")` as a cell's last line shows it.

Importing this module loads neither torch nor Bokeh, so that the frame stands at once; the rest is imported while
the frame says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ipywidgets import HTML, HBox, VBox

from explorer.errors import BadInput
from explorer.panels.frame import Frame
from explorer.strings import Strings

if TYPE_CHECKING:
    from torch import Tensor, nn

    from explorer.data import DataSource
    from explorer.session import Session
    from explorer.values import Estimate, Plan


class Explorer(VBox):
    """Prune a network by hand and see what it costs.

    `source`: a bundled network's name or an `nn.Module`; `data`: images to evaluate on, as `explorer.load`
    takes them; `example`: an input for a module, batch of one; `scale`: 1.25 for a lecture (1,060 px wide);
    `language`: of the texts, such as "en". Raises ExplorerError for unknown names, keywords and data that do
    not fit.
    """

    def __init__(
        self,
        source: str | nn.Module,
        data: DataSource | None = None,
        example: Tensor | None = None,
        scale: float = 1.0,
        language: str = "en",
        **unknown: object,
    ) -> None:
        if unknown:
            names = ", ".join(sorted(unknown))
            raise BadInput(
                f"Explorer does not know {names}. It takes source, data, example, scale and language."
            )
        if isinstance(scale, bool) or not isinstance(scale, int | float) or not 0.5 <= scale <= 3:
            raise BadInput(f"scale is {scale!r}; expected 0.5 to 3, such as 1.25 for a lecture.")
        self._strings = strings = Strings(language)
        title = source if isinstance(source, str) else type(source).__name__
        with Frame(strings, title, scale) as frame:
            frame.stage("frame_torch")
            from explorer.session import Session
            from explorer.zoo import load

            frame.stage("frame_network")
            self.session: Session = Session(load(source, data=data, example=example))
            frame.stage("frame_drawing")
            from explorer.panels.style import scale_class

            try:
                super().__init__(self._compose(strings, scale))
            except BaseException:
                self.session.close()
                raise
        self.add_class("pruning-explorer").add_class(scale_class(scale))

    def _compose(self, strings: Strings, scale: float) -> list[HTML | HBox | VBox]:
        """The panels in the order of the tab key; `css/base.css` says where each stands."""
        from explorer.allocate import ALLOCATIONS
        from explorer.criteria import CRITERIA
        from explorer.panels.bars import Bars
        from explorer.panels.controls import controls_script
        from explorer.panels.header import Actions, Header
        from explorer.panels.images import ImagesPane
        from explorer.panels.keep import Keep
        from explorer.panels.layer import LayerPane
        from explorer.panels.more import More
        from explorer.panels.scorecard import Scorecard
        from explorer.panels.status import Status
        from explorer.panels.style import stylesheet
        from explorer.panels.tradeoff import TradeoffPane
        from explorer.panels.training import TrainingStrip
        from explorer.panels.views import Pane, Views

        session = self.session
        has_data = session.network.data is not None
        criteria = {
            name: strings.named("criterion", name, rule.label)
            for name, rule in CRITERIA.items()
            if has_data or not rule.needs_data
        }
        allocations = {name: strings.named("allocation", name, label) for name, label in ALLOCATIONS.items()}
        panes: dict[str, Callable[..., Pane]] = {
            "layer": LayerPane,
            "images": ImagesPane,
            "tradeoff": TradeoffPane,
        }
        training = TrainingStrip(session, strings)
        self._bars = Bars(session, strings, scale)
        self._bars.document.when_ready(controls_script(strings, self._bars.figure))
        self._views = Views(
            session,
            strings,
            {name: partial(pane, session, strings, scale) for name, pane in panes.items()},
        )
        return [
            HTML(stylesheet(scale)).add_class("pe-css"),
            Header(session, strings, criteria),
            Keep(session, strings, training.opener),
            HBox([self._bars, self._views]).add_class("pe-main"),
            Scorecard(session, strings),
            More(session, strings, allocations),
            Status(session, strings, training),
            Actions(session, strings),
        ]

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
        """Take back the last gesture; at the beginning nothing happens."""
        self.session.undo()

    def redo(self) -> None:
        """Take back an undo; at the end nothing happens."""
        self.session.redo()

    def wait(self, timeout: float | None = None) -> bool:
        """Block until all that was asked is answered, training too; False if `timeout` seconds were not enough."""
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

    def export(self, folder: str | Path) -> list[Path]:
        """Write the smaller network into a folder: weights, widths, a Python file that rebuilds it, a picture.

        Returns the files. Raises BadInput for a folder that cannot be written to and for a network that did not
        come with the explorer, ExplorerError if the cut fails its proof.
        """
        from explorer.export.explored import write_network

        return write_network(Path(folder), self.session)

    def report(self, path: str | Path) -> Path:
        """Write what was found as one HTML file; returns its path. Raises ExplorerError as `export` does."""
        from explorer.export.explored import write_html

        return write_html(Path(path), self.session)

    def replay(self) -> str:
        """A Python script of the public API that reproduces the state as it is now."""
        from explorer.export.explored import Explored

        return Explored.of(self.session).replay()

    def close(self) -> None:
        """Stop all work and remove the widgets; nothing of ours keeps the network alive any more."""
        if "session" in vars(self):  # ipywidgets closes also what failed to be built
            self.session.close()
            self.session.unobserve_all()
        if self.comm is not None:
            from explorer.panels.closing import close_parts

            close_parts(self)
        super().close()

    def _repr_mimebundle_(self, **keywords: Any) -> dict[str, str] | None:
        from explorer.panels.bokeh_document import publish_bokehjs

        publish_bokehjs()
        for document in (*self._bars.documents, *self._views.documents):
            document.redisplay()
        return super()._repr_mimebundle_(**keywords)
