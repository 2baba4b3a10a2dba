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
TERMS = "task", "sparsity", "similarity"
KEYS = {
    "widths": {
        "progress": "search_progress",
        "starting": "search_starting",
        "stopped": "search_paused",
        "not_kept": "search_stopped_not_kept",
        "failed": "search_failed",
        "ready": "search_found",
        "resume": "search_resume_help",
        "stop": "search_stop_help",
        "drop": "search_drop_help",
    },
    "instances": {
        "progress": "dynamic_progress",
        "starting": "dynamic_starting",
        "stopped": "dynamic_paused",
        "not_kept": "dynamic_stopped_not_kept",
        "failed": "dynamic_failed",
        "ready": "dynamic_found",
        "resume": "dynamic_resume_help",
        "stop": "dynamic_stop_help",
        "drop": "dynamic_drop_help",
    },
}
"""What is said of a search over widths, and of a training of instance subnetworks."""


class TrainingStrip(HBox):
    """Stands at the right end of the last line while `opener` is pressed, or while something trains or waits.

    A training, which ends by itself, stands before a search over widths and a training of instance subnetworks; of
    these two the one that runs stands first. What does not run is put aside when a person opens the strip to train, or
    has used what it came to; it stays in the session.
    """

    def __init__(self, session: "Session", strings: Strings) -> None:
        self._session, self._strings = session, strings
        self._aside: list[Search] = []
        self._kind = "widths"  # of the search that is told of
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
        self.show_own = self._button("dynamic_show").add_class("pe-primary")
        self.resume = self._button("search_resume").add_class("pe-primary")
        self.stop = self._button("train_stop")
        self.stop_search = self._button("search_stop")
        self.drop = self._button("search_drop")
        super().__init__(
            [
                *(self.epochs, self.start, self.progress, self.use, self.stop),
                *(self.use_widths, self.show_own, self.resume, self.stop_search, self.drop),
            ]
        )
        self.add_class("pe-training")
        self._binding = binding = Binding(session)
        binding.render(self._render, "training", "search", "instance_search")
        self.opener.observe(self._opened, "value")
        for button, gesture in (
            (self.start, lambda: session.train(self.epochs.value)),
            (self.stop, session.stop_training),
            (self.use, session.use_trained),
            (self.use_widths, self._use_widths),
            (self.show_own, self._show_own),
            (self.resume, lambda: session.resume_search(self._kind)),
            (self.stop_search, lambda: session.stop_search(self._kind)),
            (self.drop, lambda: session.drop_search(self._kind)),
        ):
            button.on_click(lambda _button, gesture=gesture: binding.act(gesture))

    def _button(self, key: str) -> Button:
        return Button(description=self._strings(key), tooltip=self._strings(f"{key}_help"))

    def _searches(self) -> dict[str, Search]:
        """What was begun last, by kind."""
        found = {"widths": self._session.search, "instances": self._session.instance_search}
        return {kind: search for kind, search in found.items() if search is not None}

    def _told(self) -> Search | None:
        """The search that is told of while nothing trains; `_kind` is then its kind."""
        known = {kind: each for kind, each in self._searches().items() if each not in self._aside}
        running = [kind for kind, search in known.items() if search.state == "running"]
        for kind in (*running, *known):
            self._kind = kind
            return known[kind]
        return None

    def _opened(self, _change: object) -> None:
        if self.opener.value:
            self._aside += [each for each in self._searches().values() if each.state != "running"]
        self._binding.refresh()

    def _use_widths(self) -> None:
        search = self._session.search
        if search is not None and search.run is not None:
            self._session.use_widths(search.run.widths)
            self._aside.append(search)
            self._binding.refresh()

    def _show_own(self) -> None:
        search = self._session.instance_search
        if search is not None:
            self._session.show_instances("own")
            self._aside.append(search)
            self._binding.refresh()

    def _render(self) -> None:
        training, searches = self._session.training, self._searches().values()
        self._aside = [each for each in self._aside if each in searches]
        ready = training is not None and training.ready
        told = None if training is not None else self._told()
        state = "" if told is None else told.state
        free = training is None and told is None
        searching = any(search.state == "running" for search in searches)
        self.opener.disabled = searching and not self.opener.value
        self.opener.tooltip = self._strings("after_train_later" if searching else "after_train_help")
        shown(self, self.opener.value or not free)
        for widget, on in (
            (self.epochs, free),
            (self.start, free),
            (self.progress, not free),
            (self.use, ready),
            (self.stop, training is not None),
            (self.use_widths, state == "ready" and self._kind == "widths"),
            (self.show_own, state == "ready" and self._kind == "instances"),
            (self.resume, told is not None and told.resumable),
            (self.stop_search, state == "running"),
            (self.drop, state not in ("", "running")),
        ):
            shown(widget, on)
        self.stop.description = self._strings("train_drop" if ready else "train_stop")
        if training is not None:
            self.progress.value = progress_html(self._strings, training)
        else:
            self.progress.value = "" if told is None else search_html(self._strings, told, self._kind)
        for button, word in ((self.resume, "resume"), (self.stop_search, "stop"), (self.drop, "drop")):
            button.tooltip = self._strings(KEYS[self._kind][word])


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


def search_html(strings: Strings, search: Search, kind: str = "widths") -> str:
    """How far a search of a kind of KEYS is: a bar, what it does, its loss and the time that is left; all losses in
    the tooltip."""
    keys = KEYS[kind]
    bar = _bar(strings, keys["progress"], search.step, search.of)
    if search.state == "ready":
        return _line("", strings(keys["ready"]))
    if search.state == "failed":
        return _line(bar, strings(keys["failed"]), search.error)
    if search.state == "stopped":
        places = {"step": search.step, "of": search.of, "folder": search.not_kept}
        return _line(
            bar, strings(keys["stopped"]), strings(keys["not_kept"], **places) if search.not_kept else ""
        )
    if not search.losses:
        return _line(bar, strings(keys["starting"]))
    names = LOSSES if kind == "widths" else TERMS
    losses = {name: f"{search.losses[name]:.3g}" if name in search.losses else "–" for name in names}
    left = _time_left(strings, search.seconds_left)
    if kind == "widths":
        words = strings(PHASES[search.phase], loss=losses["full"], left=left)
        return _line(bar, words, strings("search_losses", **losses))
    words = strings("dynamic_running", loss=losses["task"], left=left)
    return _line(bar, words, strings("dynamic_losses", **losses))


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
