"""More: costs beside the first three, and how the budget is spent."""

from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING

from ipywidgets import HTML, BoundedIntText, Checkbox, Dropdown

from explorer.panels.kit.binding import Binding
from explorer.panels.kit.popover import Popover
from explorer.panels.kit.words import latency_help, part_of, percent, time_of
from explorer.strings import Strings
from explorer.values import Cost, Latency

if TYPE_CHECKING:
    from explorer.session import Session

MULTIPLES = (1, 2, 4, 8, 16, 32)  # channels: phones like 8, tensor cores 32


class More(Popover):
    """`allocations` maps names to the words that people see."""

    def __init__(self, session: "Session", strings: Strings, allocations: Mapping[str, str]) -> None:
        self._session, self._strings = session, strings
        self.costs = HTML().add_class("pe-more-costs")
        self.share = Dropdown(
            options=[(label, name) for name, label in allocations.items()],
            description=strings("share"),
            tooltip=strings("share_help"),
        ).add_class("pe-share")
        widest = min((group.size for group in session.graph.prunable), default=1)
        self.minimum = BoundedIntText(
            value=1, min=1, max=widest, description=strings("minimum"), tooltip=strings("minimum_help")
        ).add_class("pe-minimum")
        self.multiple = Dropdown(
            options=MULTIPLES, description=strings("multiple"), tooltip=strings("multiple_help")
        ).add_class("pe-multiple")
        self.hold = Checkbox(description=strings("hold"), tooltip=strings("hold_help"), indent=False)
        self.hold.add_class("pe-hold")
        budget = HTML("<h4>" + escape(strings("more_budget")) + "</h4>")
        super().__init__(
            strings("more"),
            strings("more_help"),
            [self.costs, budget, self.share, self.minimum, self.multiple, self.hold],
        )
        self.add_class("pe-more")
        binding = Binding(session)
        binding.render(self._render_costs, "cost", "latency")
        binding.render(self._render_request, "request")
        binding.gesture(self.share, "value", lambda name: session.propose(allocation=name))
        binding.gesture(self.minimum, "value", lambda width: session.propose(minimum=width))
        binding.gesture(self.multiple, "value", lambda channels: session.propose(multiple=channels))
        binding.gesture(self.hold, "value", lambda on: session.propose(hold=on))

    def _render_request(self) -> None:
        request = self._session.request
        self.share.value, self.minimum.value = request.allocation, request.minimum
        if request.multiple not in self.multiple.options:  # any can be asked for in Python
            self.multiple.options = tuple(sorted((*MULTIPLES, request.multiple)))
        self.multiple.value, self.hold.value = request.multiple, request.hold

    def _render_costs(self) -> None:
        session = self._session
        self.costs.value = costs_html(self._strings, session.cost, session.dense_cost, session.latency)


def costs_html(strings: Strings, cost: Cost, dense: Cost, latency: tuple[Latency, ...]) -> str:
    """Memory, file and latencies as a table: share of the dense network's, and the amounts."""
    rows = _amount(strings, strings("memory"), cost.peak_bytes, dense.peak_bytes, strings("memory_help"))
    rows += _amount(strings, strings("file"), cost.file_bytes, dense.file_bytes, strings("file_help"))
    pairs = list(zip(latency[::2], latency[1::2], strict=True))
    for whole, now in pairs:
        name = strings("latency_batch", batch=now.batch)
        share, times = percent(now.median / whole.median), time_of(strings, now.median, whole.median)
        rows += _row(name, share, times, latency_help(strings, whole, now))
    if not pairs:
        rows += _row(strings("latency"), "–", strings("latency_none"), strings("latency_none_help"))
    title = escape(strings("more_costs"))
    return f"<h4>{title}</h4><table>{rows}</table>"


def _amount(strings: Strings, name: str, now: int, whole: int, help_text: str) -> str:
    return _row(name, percent(now / whole if whole else 1.0), part_of(strings, now, whole, "B"), help_text)


def _row(name: str, share: str, amounts: str, help_text: str) -> str:
    return (
        f'<tr title="{escape(help_text)}"><th>{escape(name)}</th>'
        f'<td class="pe-strong">{escape(share)}</td><td class="pe-soft">{escape(amounts)}</td></tr>'
    )
