"""The final check: a look at images that no choice has seen, and how often that was done."""

from html import escape
from typing import TYPE_CHECKING

from ipywidgets import HTML, Button

from explorer.panels.kit.binding import Binding
from explorer.panels.kit.popover import Popover
from explorer.panels.kit.words import percent
from explorer.records import FinalCheck, recovered
from explorer.strings import Strings
from explorer.values import Cost, Estimate

if TYPE_CHECKING:
    from explorer.session import Session


class FinalLook(Popover):
    """Says what a look costs, looks, and shows the last answer. Without final images it says why not."""

    def __init__(self, session: "Session", strings: Strings) -> None:
        self._session, self._strings = session, strings
        data = session.network.data
        possible = data is not None and data.final is not None
        self.look = Button(description=strings("final_look")).add_class("pe-primary")
        self.answer = HTML().add_class("pe-final-answer")
        about = HTML("<p>" + escape(strings("final_about")) + "</p>")
        help_text = strings("final_help" if possible else "final_none")
        super().__init__(strings("final"), help_text, [about, self.look, self.answer])
        self.opener.disabled = not possible
        self.add_class("pe-final")
        binding = Binding(session)
        binding.render(self._render, "final_checks")
        self.look.on_click(lambda _button: binding.act(session.check_final))

    def _render(self) -> None:
        checks = self._session.final_checks
        if checks:
            self.opener.description = self._strings("final_again", count=len(checks))
            self.answer.value = answer_html(self._strings, checks[-1], self._session.dense_cost)


def answer_html(strings: Strings, check: FinalCheck, dense: Cost) -> str:
    """Accuracy of the state and of the dense network with intervals, and which look it was."""
    share = percent(check.cost.macs / dense.macs if dense.macs else 1.0)
    state = strings("final_now", state=strings.say(recovered(check.recovery)), share=share)
    rows = _row(strings, state, check.now) + _row(strings, strings("final_dense"), check.dense)
    looks = escape(strings("final_looks", count=check.number))
    return f'<table role="status">{rows}</table><p class="pe-soft">{looks}</p>'


def _row(strings: Strings, name: str, estimate: Estimate) -> str:
    numbers = {"accuracy": estimate.value, "low": estimate.low, "high": estimate.high}
    words = {key: estimate.digits(value) for key, value in numbers.items()}
    text = strings("final_itself") if estimate.counts == "itself" else strings("final_accuracy", **words)
    return f"<tr><th>{escape(name)}</th><td>{escape(text)}</td></tr>"
