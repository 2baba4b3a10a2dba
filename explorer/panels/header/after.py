"""After cutting: what is done to the weights, and beside each choice what it gives for the cut as it stands."""

from functools import partial
from html import escape
from typing import TYPE_CHECKING

from ipywidgets import HTML, Box, HBox, ToggleButton

from explorer.panels.kit.binding import Binding
from explorer.panels.kit.words import classed, filled, shown, tag
from explorer.strings import Strings
from explorer.values import Estimate, Recovery

if TYPE_CHECKING:
    from explorer.records import Given
    from explorer.session import Session


class AfterCutting(HBox):
    """A button for each recovery that the session offers, by its kind; at the end `train`, which opens the training."""

    def __init__(self, session: "Session", strings: Strings, train: ToggleButton) -> None:
        self._session, self._strings, self.train = session, strings, train
        data = session.network.data
        self._no_images = data is None or data.train is None
        shown(train, not self._no_images)
        self._binding = binding = Binding(session)
        self.choices = {recovery.kind: recovery for recovery in session.offered}
        self.buttons = {name: ToggleButton(description=strings(f"after_{name}")) for name in self.choices}
        self.numbers = {name: HTML().add_class("pe-gives") for name in self.choices}
        binding.render(self._render, "request", "given")
        for name, button in self.buttons.items():
            binding.gesture(button, "value", partial(self._choose, name))
        parts = [
            Box([self.buttons[name], self.numbers[name]]).add_class("pe-choice") for name in self.choices
        ]
        help_text = strings("after_no_data") if self._no_images else strings("after_help")
        label = HTML(tag("pe-soft", strings("after"), help_text)).add_class("pe-after-label")
        super().__init__([label, HBox(parts).add_class("pe-choices"), train])
        self.add_class("pe-after")

    @property
    def value(self) -> str | None:
        """The kind that is chosen; None if it is another, such as training."""
        asked = self._session.request.recovery.kind
        return asked if asked in self.choices else None

    def _choose(self, name: str, on: bool) -> None:
        if on:
            self._session.propose(recovery=self.choices[name])
        self._binding.refresh()  # the one that is chosen stays pressed

    def _render(self) -> None:
        chosen = self.value
        filled(self.train, self._session.request.recovery.epochs > 0)
        for name, recovery in self.choices.items():
            given = self._session.given.get(recovery.code)
            button = self.buttons[name]
            button.value = name == chosen
            button.tooltip = self._help(name, recovery, given)
            self.numbers[name].value = gives_html(given)
            classed(self.numbers[name], "pe-other-cut", given is not None and not given.current)

    def _help(self, name: str, recovery: Recovery, given: "Given | None") -> str:
        """What the choice does, and what it gives."""
        strings = self._strings
        lines = [strings(f"after_{name}_help")]
        if recovery.repair != "none" and recovery.bn:
            lines.append(strings("after_then_bn"))
        if name == "refit":
            lines.append(strings("after_refit_rest"))
        if given is not None:
            lines.append(
                strings("after_gives" if given.current else "after_gave", **_counted(given.estimate))
            )
        elif not self._no_images:
            lines.append(strings("after_unknown"))
        return "\n".join(lines)


def _counted(estimate: Estimate) -> dict[str, str]:
    share = {"accuracy": estimate.value, "low": estimate.low, "high": estimate.high}
    return {name: estimate.digits(value) for name, value in share.items()} | {"images": f"{estimate.of:,}"}


def _short(estimate: Estimate) -> str:
    return f"{estimate.shown:.0f}" if estimate.percent else f"{estimate.shown:.3g}"


def gives_html(given: "Given | None") -> str:
    """The accuracy in whole percent, or a dash while it is not known."""
    text = "–" if given is None else _short(given.estimate)
    return f"<span>{escape(text)}</span>"
