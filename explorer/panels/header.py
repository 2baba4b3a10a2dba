"""The first line: which network on which images, how channels are ranked, how the cut is shared."""

from collections.abc import Mapping

from ipywidgets import HTML, Dropdown, HBox

from explorer.panels.binding import Binding
from explorer.panels.strings import STRINGS
from explorer.panels.words import tag
from explorer.session import Session


class Header(HBox):
    """`criteria` and `allocations` map names to the words that people see."""

    def __init__(self, session: Session, criteria: Mapping[str, str], allocations: Mapping[str, str]) -> None:
        self._session = session
        self.title = HTML(_title(session)).add_class("pe-title")
        self.rank = _dropdown(criteria, STRINGS["rank"], STRINGS["rank_help"]).add_class("pe-rank")
        self.share = _dropdown(allocations, STRINGS["share"], STRINGS["share_help"]).add_class("pe-share")
        binding = Binding(session)
        binding.render(self._render, "request")
        binding.gesture(self.rank, "value", lambda name: session.propose(criterion=name))
        binding.gesture(self.share, "value", lambda name: session.propose(allocation=name))
        super().__init__([self.title, self.rank, self.share])
        self.add_class("pe-header")

    def _render(self) -> None:
        self.rank.value = self._session.request.criterion
        self.share.value = self._session.request.allocation


def _dropdown(labels: Mapping[str, str], description: str, help_text: str) -> Dropdown:
    options = [(label, name) for name, label in labels.items()]
    return Dropdown(
        options=options, description=description, tooltip=help_text, style={"description_width": "initial"}
    )


def _title(session: Session) -> str:
    data = session.network.data
    words = STRINGS["title_data"].format(data=data.name) if data else STRINGS["title_no_data"]
    return tag("pe-name", session.network.name) + tag("pe-soft", words)
