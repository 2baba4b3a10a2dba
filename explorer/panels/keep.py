"""The budget and what follows a cut: the Keep slider, what its share is of, and After cutting."""

import math

from ipywidgets import HTML, Dropdown, HBox, IntSlider, ToggleButtons, VBox

from explorer.panels.binding import Binding
from explorer.panels.strings import STRINGS
from explorer.panels.words import tag
from explorer.session import Session
from explorer.values import Recovery

RECOVERIES = ("none", "bn", "1")
COSTS = ("macs", "params", "channels")


class Keep(HBox):
    """Moves the session's request: `keep` in whole percent, `cost`, `recovery`."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.slider = IntSlider(
            value=100,
            min=1,
            max=100,
            description=STRINGS["keep"],
            tooltip=STRINGS["keep_help"],
            readout=False,
        ).add_class("pe-keep")
        self.reach = HTML().add_class("pe-reach")
        self.value_text = HTML().add_class("pe-keep-value")
        self.cost = Dropdown(
            options=[(STRINGS[f"cost_{name}"], name) for name in COSTS], tooltip=STRINGS["cost_help"]
        ).add_class("pe-cost")
        self.after = _after(session)
        binding = Binding(session)
        binding.render(self._render, "request", "reach")
        binding.gesture(self.slider, "value", lambda value: session.propose(keep=value / 100))
        binding.gesture(self.cost, "value", lambda name: session.propose(cost=name))
        binding.gesture(self.after, "value", lambda code: session.propose(recovery=Recovery.parse(code)))
        after_label = HTML(tag("pe-soft", STRINGS["after"], STRINGS["after_help"]))
        super().__init__(
            [
                VBox([self.slider, self.reach]).add_class("pe-track"),
                self.value_text,
                self.cost,
                HBox([after_label, self.after]).add_class("pe-after"),
            ]
        )
        self.add_class("pe-keep-row")

    def _render(self) -> None:
        request = self._session.request
        low = max(1, math.ceil(100 * self._session.reach[0] - 1e-6))
        value = round(100 * request.keep)
        with self.slider.hold_trait_notifications():
            self.slider.min = min(low, value)
            self.slider.value = value
        self.cost.value = request.cost
        if request.recovery.code in {code for _label, code in self.after.options}:
            self.after.value = request.recovery.code
        text = STRINGS["custom"] if request.widths else f"{value} %"
        self.value_text.value = tag("pe-strong", text)
        self.reach.value = tag("pe-soft", STRINGS["reach"].format(low=low))


def _after(session: Session) -> ToggleButtons:
    """Without training images only "nothing" can be chosen, and the button says why."""
    data = session.network.data
    if data is None or data.train is None:
        return ToggleButtons(options=[(STRINGS["after_no_data"], "none")])
    return ToggleButtons(
        options=[(STRINGS[f"after_{code}"], code) for code in RECOVERIES],
        value="bn",
        tooltips=[STRINGS[f"after_{code}_help"] for code in RECOVERIES],
    )
