"""The dashboard: composes panels over one session. `Explorer("resnet20")` as a cell's last line shows it."""

from collections.abc import Mapping
from typing import Any

from ipywidgets import HTML, VBox
from torch import Tensor, nn

from explorer.allocate import ALLOCATIONS
from explorer.criteria import CRITERIA
from explorer.data import DataSource
from explorer.errors import BadInput
from explorer.panels.bokeh_document import publish_bokehjs
from explorer.panels.charts import Charts
from explorer.panels.header import Header
from explorer.panels.keep import Keep
from explorer.panels.scorecard import Scorecard
from explorer.panels.status import Status
from explorer.panels.style import scale_class, stylesheet
from explorer.session import Session
from explorer.values import Estimate, Plan
from explorer.zoo.loading import load


class Explorer(VBox):
    """Prune a network by hand and see what it costs.

    `source`: a bundled network's name or an `nn.Module`; `data`: images to evaluate on, as `explorer.load`
    takes them; `example`: an input for a module, batch of one; `scale`: 1.25 for a lecture (1,040 px wide). Raises
    ExplorerError for unknown names, keywords and data that do not fit.
    """

    def __init__(
        self,
        source: str | nn.Module,
        data: DataSource | None = None,
        example: Tensor | None = None,
        scale: float = 1.0,
        **unknown: object,
    ) -> None:
        if unknown:
            names = ", ".join(sorted(unknown))
            raise BadInput(f"Explorer does not know {names}. It takes source, data, example and scale.")
        if not 0.5 <= scale <= 3:
            raise BadInput(f"scale is {scale!r}; expected 0.5 to 3, such as 1.25 for a lecture.")
        self.session = Session(load(source, data=data, example=example))
        has_data = self.session.network.data is not None
        criteria = {name: c.label for name, c in CRITERIA.items() if has_data or not c.needs_data}
        self._charts = Charts(self.session, criteria, scale)
        super().__init__(
            [
                HTML(stylesheet(scale)).add_class("pe-css"),
                Header(self.session, criteria, ALLOCATIONS),
                Scorecard(self.session),
                Keep(self.session),
                self._charts,
                Status(self.session),
            ]
        )
        self.add_class("pruning-explorer").add_class(scale_class(scale))

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

        `plan` is up to date when it returns, `estimate` follows (`session.wait()`). Raises ExplorerError.
        """
        changes: dict[str, object] = {}
        if keep is not None:
            changes["keep"] = keep
        if widths is not None:
            changes["widths"] = tuple(sorted(widths.items()))
        if changes:
            self.session.propose(wait=True, **changes)

    def network(self) -> nn.Module:
        """The network as it is now, cut and recovered: a copy in eval mode."""
        return self.session.pruned()

    def close(self) -> None:
        """Stop the session's work and remove the widgets."""
        if "session" in vars(self):  # ipywidgets closes also what failed to be built
            self.session.close()
        super().close()

    def _repr_mimebundle_(self, **keywords: Any) -> dict[str, str] | None:
        publish_bokehjs()
        self._charts.document.redisplay()
        return super()._repr_mimebundle_(**keywords)
