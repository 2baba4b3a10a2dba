"""A form for the settings of a training beside the explorer, and the buttons of one that runs or was stopped."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from ipywidgets import HTML, Button, HBox, Widget

from explorer.errors import ExplorerError
from explorer.panels.popover import Popover
from explorer.panels.words import shown, tag

if TYPE_CHECKING:
    from explorer.records import Search
    from explorer.session import Session
    from explorer.strings import Strings

FEWEST = 4  # batches of an epoch where there are fewer images than in a usual batch


@dataclass(frozen=True)
class Form:
    """What a form says: `refusal`, why no training can begin ("" if one can); `asked()`, the method and its settings;
    `problem()`, what is wrong with them ("" if nothing is); `epochs()`, as many of training the dense network as it
    will cost. `kind` is the method's; `help` the tooltips of the buttons "begin", "stop", "resume" and "drop".
    """

    kind: str
    help: Mapping[str, str]
    refusal: str
    asked: Callable[[], tuple[str, dict[str, Any]]]
    problem: Callable[[], str]
    epochs: Callable[[], float]


class TrainingControls(HBox):
    """The form, with `parts` above its foot, behind a button of the text `opener`; `act` runs a gesture and reports
    what goes wrong.
    """

    def __init__(
        self,
        session: Session,
        strings: Strings,
        act: Callable[..., None],
        form: Form,
        opener: tuple[str, str],
        parts: Sequence[Widget],
    ) -> None:
        self._session, self._strings, self._form = session, strings, form
        self.refusal = form.refusal
        self.cost, self.answer = HTML(), HTML().add_class("pe-search-answer")
        self.start, self.stop, self.resume, self.drop = (
            Button(description=strings(f"search_{name}"), tooltip=form.help[name])
            for name in ("begin", "stop", "resume", "drop")
        )
        self.start.add_class("pe-primary")
        self.resume.add_class("pe-primary")
        foot = HBox([self.start, self.drop]).add_class("pe-search-foot")
        self.popover = Popover(*opener, [*parts, self.cost, foot, self.answer]).add_class("pe-search")
        super().__init__([self.stop, self.resume, self.popover])
        self.add_class("pe-search-controls")
        self.start.on_click(lambda _button: act(self._start))
        self.stop.on_click(lambda _button: act(session.stop_search, form.kind))
        self.resume.on_click(lambda _button: act(session.resume_search, form.kind))
        self.drop.on_click(lambda _button: act(self._drop))
        if self.refusal:
            self.popover.opener.disabled = True
            self.popover.opener.tooltip = self.refusal
        self.tell()

    def render(self, search: Search | None) -> None:
        """Show the buttons that the state of the training has a use for."""
        running = search is not None and search.state == "running"
        shown(self.stop, running)
        shown(self.resume, search is not None and search.resumable and not running)
        shown(self.popover, not running)
        shown(self.drop, search is not None)

    def tell(self) -> None:
        """Say what a training with these settings will cost, or why there can be none."""
        from explorer.methods import memory_short  # loads torch, which a session has loaded

        if self.refusal:
            return
        problem = self._form.problem()
        self._answer(problem)
        shown(self.cost, not problem)
        if not problem:
            epochs = number(self._form.epochs())
            words = [tag("pe-soft", self._strings("search_takes", epochs=epochs))]
            if short := memory_short(self._session.graph, *self._form.asked()):
                needed, left = (f"{amount:.1f}" for amount in short)
                words.append(tag("", self._strings("search_memory", needed=needed, left=left)))
            self.cost.value = f"<p>{' '.join(words)}</p>"

    def _start(self) -> None:
        """A refusal is said where the settings are, and only there: they are still seen."""
        if self._form.problem():
            return  # which is said already
        method, settings = self._form.asked()
        try:
            self._session.start_search(method, **settings)
        except ExplorerError as error:
            self._answer(str(error))
        else:
            self._answer("")
            self.popover.opener.value = False

    def _drop(self) -> None:
        self._session.drop_search(self._form.kind)
        self.popover.opener.value = False

    def _answer(self, words: str) -> None:
        self.answer.value = f'<p role="alert">{escape(words)}</p>' if words else ""


def fitting_batch(session: Session, usual: int) -> dict[str, int]:
    """The setting of a smaller batch, where there are fewer training images than in a usual one; else none."""
    data = session.network.data
    few = data is not None and data.train is not None and len(data.train) < usual
    return {"batch": max(4, len(data.train) // FEWEST)} if few else {}  # type: ignore[union-attr, arg-type]


def number(epochs: float) -> str:
    """Epochs in two digits: "0.4", "7.5", "14"."""
    return f"{epochs:.0f}" if epochs >= 9.95 else f"{epochs:.1f}"
