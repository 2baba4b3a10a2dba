"""The training road on the last line: how far a training or a search is, and what to do with what it comes to."""

from html import escape
from typing import TYPE_CHECKING

from ipywidgets import HTML, BoundedIntText, Button, HBox, ToggleButton

from explorer.panels.binding import Binding
from explorer.panels.words import shown, tag
from explorer.records import Search, Training
from explorer.strings import Strings

if TYPE_CHECKING:
    from explorer.session import Session

EPOCHS = 50
PHASES = {"warm-up": "search_warm_up", "search": "search_search"}
LOSSES = "full", "sub", "chains", "cost"


class TrainingStrip(HBox):
    """Stands at the right end of the last line while `opener` is pressed, or while something trains or waits.

    A training, which ends by itself, stands before a search. A search that does not run is put aside when a person
    opens the strip to train, or has used its widths; it stays in the session.
    """

    def __init__(self, session: "Session", strings: Strings) -> None:
        self._session, self._strings = session, strings
        self._aside: Search | None = None
        self.opener = ToggleButton(description=strings("after_train"), tooltip=strings("after_train_help"))
        self.opener.add_class("pe-train")
        self.epochs = BoundedIntText(
            value=1,
            min=1,
            max=EPOCHS,
            description=strings("train_epochs"),
            tooltip=strings("train_epochs_help"),
        ).add_class("pe-epochs")
        self.progress = HTML().add_class("pe-training-progress")
        self.start = self._button("train_start").add_class("pe-primary")
        self.use = self._button("train_use").add_class("pe-primary")
        self.use_widths = self._button("search_use").add_class("pe-primary")
        self.resume = self._button("search_resume").add_class("pe-primary")
        self.stop = self._button("train_stop")
        self.stop_search = self._button("search_stop")
        self.drop = self._button("search_drop")
        super().__init__(
            [
                *(self.epochs, self.start, self.progress, self.use, self.stop),
                *(self.use_widths, self.resume, self.stop_search, self.drop),
            ]
        )
        self.add_class("pe-training")
        self._binding = binding = Binding(session)
        binding.render(self._render, "training", "search")
        self.opener.observe(self._opened, "value")
        for button, gesture in (
            (self.start, lambda: session.train(self.epochs.value)),
            (self.stop, session.stop_training),
            (self.use, session.use_trained),
            (self.use_widths, self._use_widths),
            (self.resume, session.resume_search),
            (self.stop_search, session.stop_search),
            (self.drop, session.drop_search),
        ):
            button.on_click(lambda _button, gesture=gesture: binding.act(gesture))

    def _button(self, key: str) -> Button:
        return Button(description=self._strings(key), tooltip=self._strings(f"{key}_help"))

    def _opened(self, _change: object) -> None:
        search = self._session.search
        if self.opener.value and search is not None and search.state != "running":
            self._aside = search
        self._binding.refresh()

    def _use_widths(self) -> None:
        search = self._session.search
        if search is not None and search.run is not None:
            self._session.use_widths(search.run.widths)
            self._aside = search
            self._binding.refresh()

    def _render(self) -> None:
        training, search = self._session.training, self._session.search
        ready = training is not None and training.ready
        told = None if training is not None or search is self._aside else search
        state = "" if told is None else told.state
        free = training is None and told is None
        searching = search is not None and search.state == "running"
        self.opener.disabled = searching and not self.opener.value
        self.opener.tooltip = self._strings("after_train_later" if searching else "after_train_help")
        shown(self, self.opener.value or not free)
        for widget, on in (
            (self.epochs, free),
            (self.start, free),
            (self.progress, not free),
            (self.use, ready),
            (self.stop, training is not None),
            (self.use_widths, state == "ready"),
            (self.resume, told is not None and told.resumable),
            (self.stop_search, state == "running"),
            (self.drop, state not in ("", "running")),
        ):
            shown(widget, on)
        self.stop.description = self._strings("train_drop" if ready else "train_stop")
        if training is not None:
            self.progress.value = progress_html(self._strings, training)
        else:
            self.progress.value = "" if told is None else search_html(self._strings, told)


def progress_html(strings: Strings, training: Training) -> str:
    """How far a training is: a bar, the loss and the time that is left."""
    if training.ready:
        return _line("", strings("train_ready"))
    if training.seconds_left is None:
        words = strings("train_starting")
    elif training.seconds_left > 99:
        minutes = round(training.seconds_left / 60)
        words = strings("train_running_long", loss=f"{training.loss:.2f}", minutes=minutes)
    else:
        seconds = max(1, round(training.seconds_left))
        words = strings("train_running", loss=f"{training.loss:.2f}", seconds=seconds)
    return _line(_bar(strings, "train_progress", training.step, training.of), words)


def search_html(strings: Strings, search: Search) -> str:
    """How far a search is: a bar, what it does, its loss and the time that is left; all losses in the tooltip."""
    bar = _bar(strings, "search_progress", search.step, search.of)
    if search.state == "ready":
        return _line("", strings("search_found"))
    if search.state == "failed":
        return _line(bar, strings("search_failed"), search.error)
    if search.state == "stopped":
        return _line(bar, strings("search_paused"))
    if not search.losses:
        return _line(bar, strings("search_starting"))
    losses = {name: f"{search.losses[name]:.3g}" if name in search.losses else "–" for name in LOSSES}
    words = strings(PHASES[search.phase], loss=losses["full"], left=_time_left(strings, search.seconds_left))
    return _line(bar, words, strings("search_losses", **losses))


def _time_left(strings: Strings, seconds: float | None) -> str:
    if seconds is None:
        return "…"
    if seconds <= 99:
        return strings("search_seconds", seconds=max(1, round(seconds)))
    if seconds <= 99 * 60:
        return strings("search_minutes", minutes=round(seconds / 60))
    return strings("search_hours", hours=round(seconds / 3600))


def _bar(strings: Strings, key: str, step: int, of: int) -> str:
    percent = f"{100 * step / of if of else 0:.0f}"
    label = escape(strings(key, percent=percent))
    return (
        f'<span class="pe-bar" role="progressbar" aria-valuemin="0" aria-valuemax="100" '
        f'aria-valuenow="{percent}" aria-label="{label}">'
        f'<span style="width:{percent}%"></span></span>'
    )


def _line(bar: str, words: str, help_text: str = "") -> str:
    return f'<div class="pe-line">{bar}{tag("", words, help_text)}</div>'
