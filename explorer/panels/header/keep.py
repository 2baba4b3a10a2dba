"""The budget and what follows a cut: the Keep slider, what its share is of, and After cutting."""

import math
from html import escape
from typing import TYPE_CHECKING

from ipywidgets import HTML, Box, Dropdown, HBox, IntSlider, ToggleButton

from explorer.panels.header.after import AfterCutting
from explorer.panels.kit.binding import Binding
from explorer.panels.kit.words import percent, tag
from explorer.strings import Strings

if TYPE_CHECKING:
    from explorer.session import Session

COSTS = ("macs", "params", "channels")


class Keep(HBox):
    """Moves Keep in whole percent, and its `cost`. `train` is the button that opens the training."""

    def __init__(self, session: "Session", strings: Strings, train: ToggleButton) -> None:
        self._session, self._strings = session, strings
        self.slider = IntSlider(
            value=100,
            min=0,
            max=100,
            description=strings("keep"),
            tooltip=strings("keep_help"),
            readout=False,
        ).add_class("pe-keep")
        self.reach = HTML().add_class("pe-reach")
        self.value_text = HTML().add_class("pe-keep-value")
        self.cost = Dropdown(
            options=[(strings(f"cost_{name}"), name) for name in COSTS], tooltip=strings("cost_help")
        ).add_class("pe-cost")
        self.after = AfterCutting(session, strings, train)
        self._binding = binding = Binding(session)
        binding.render(self._render, "request", "reach", "share", "custom")
        binding.gesture(self.slider, "value", self._move)
        binding.gesture(self.cost, "value", lambda name: session.propose(cost=name))
        super().__init__(
            [
                Box([self.slider, self.reach]).add_class("pe-track"),
                self.value_text,
                self.cost,
                self.after,
            ]
        )
        self.add_class("pe-keep-row")

    def _move(self, value: int) -> None:
        self._session.move_keep(value / 100)
        self._binding.refresh()  # at its limit Keep did not move, and the handle comes back

    def _render(self) -> None:
        session, strings = self._session, self._strings
        request = session.request
        self.slider.value = round(100 * request.keep)
        self.cost.value = request.cost
        share = percent(session.share if session.custom else request.keep)
        text = tag("pe-strong", share)
        if session.custom:
            text += tag("pe-soft pe-custom", strings("custom"), strings("custom_help"))
        self.value_text.value = text
        self.reach.value = reach_html(strings, *session.reach)


def reach_html(strings: Strings, low: float, high: float) -> str:
    """The parts of the track that Keep cannot reach, shaded; the limits in words for screen readers."""
    ends = {"low": math.ceil(100 * low - 1e-6), "high": math.floor(100 * high + 1e-6)}
    below = _shade("pe-below", low, strings("reach_low_help"))
    above = _shade("pe-above", 1 - high, strings("reach_high_help"))
    return f"{below}{above}{tag('pe-hidden', strings('reach', **ends))}"


def _shade(css: str, share: float, help_text: str) -> str:
    if share < 0.02:  # less than can be seen
        return ""
    return f'<span class="{css}" style="width:{100 * share:.1f}%" title="{escape(help_text)}"></span>'
