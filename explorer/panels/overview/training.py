"""Training on the last line: how far a training or a search is, and what to do with what it comes to."""

from html import escape
from typing import TYPE_CHECKING

from ipywidgets import HTML, BoundedIntText, Button, HBox, ToggleButton

from explorer.panels.kit.binding import Binding
from explorer.panels.kit.words import shown, tag
from explorer.records import Progress, Training
from explorer.strings import Strings

if TYPE_CHECKING:
    from explorer.session import Session

EPOCHS = 50
WORDS = {
    "widths": (
        "search_progress",
        "search_starting",
        "search_paused",
        "search_stopped_not_kept",
        "search_failed",
    ),
    "instances": (
        *("dynamic_progress", "dynamic_starting", "dynamic_paused", "dynamic_stopped_not_kept"),
        "dynamic_failed",
    ),
}
FOUND = {"widths": "search_found", "instances": "dynamic_found"}
"""What is said of a method that yields widths, and of one that yields instance subnetworks."""


class TrainingStrip(HBox):
    """Stands at the right end of the last line while `opener` is pressed, or while something trains or waits.

    A training, which ends by itself, stands before those of methods; of these the one that runs stands first. What
    does not run is put aside when a person opens the strip to train, or has used what it came to; it stays in the
    session.
    """

    def __init__(self, session: "Session", strings: Strings) -> None:
        self._session, self._strings = session, strings
        self._aside: list[Progress] = []
        self._method = "dmcp"  # that is told of
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
        self.resume = self._button("search_resume", "run_resume").add_class("pe-primary")
        self.stop = self._button("train_stop")
        self.stop_search = self._button("search_stop", "run_stop")
        self.drop = self._button("search_drop", "run_drop")
        super().__init__(
            [
                *(self.epochs, self.start, self.progress, self.use, self.stop),
                *(self.use_widths, self.show_own, self.resume, self.stop_search, self.drop),
            ]
        )
        self.add_class("pe-training")
        self._binding = binding = Binding(session)
        binding.render(self._render, "training", "runs")
        self.opener.observe(self._opened, "value")
        for button, gesture in (
            (self.start, lambda: session.train(self.epochs.value)),
            (self.stop, session.stop_training),
            (self.use, session.use_trained),
            (self.use_widths, self._use),
            (self.show_own, self._use),
            (self.resume, lambda: session.resume_search(self._method)),
            (self.stop_search, lambda: session.stop_search(self._method)),
            (self.drop, lambda: session.drop_search(self._method)),
        ):
            button.on_click(lambda _button, gesture=gesture: binding.act(gesture))

    def _button(self, key: str, about: str = "") -> Button:
        return Button(description=self._strings(key), tooltip=self._strings(f"{about or key}_help"))

    def _begun(self) -> list[Progress]:
        """What was begun, the one that runs first, then the latest."""
        known = list(self._session.runs.progress.values())[::-1]
        return sorted(known, key=lambda each: each.state != "running")

    def _opened(self, _change: object) -> None:
        if self.opener.value:
            self._aside += [each for each in self._begun() if each.state != "running"]
        self._binding.refresh()

    def _use(self) -> None:
        """Show what the method that is told of came to."""
        progress = self._session.runs.progress.get(self._method)
        if progress is None:
            return
        if _yields(self._method) == "instances":
            self._session.show_instances("own")
        elif progress.run is not None:
            self._session.use_widths(progress.run.widths)
        self._aside.append(progress)
        self._binding.refresh()

    def _render(self) -> None:
        training, begun = self._session.training, self._begun()
        self._aside = [each for each in self._aside if each in begun]
        ready = training is not None and training.ready
        known = [] if training is not None else [each for each in begun if each not in self._aside]
        told = known[0] if known else None
        if told is not None:
            self._method = told.method
        state = "" if told is None else told.state
        free = training is None and told is None
        searching = self._session.runs.running is not None
        self.opener.disabled = searching and not self.opener.value
        self.opener.tooltip = self._strings("after_train_later" if searching else "after_train_help")
        shown(self, self.opener.value or not free)
        yields = "" if told is None else _yields(told.method)
        for widget, on in (
            (self.epochs, free),
            (self.start, free),
            (self.progress, not free),
            (self.use, ready),
            (self.stop, training is not None),
            (self.use_widths, state == "ready" and yields == "widths"),
            (self.show_own, state == "ready" and yields == "instances"),
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


def _yields(method: str) -> str:
    from explorer.methods import METHODS  # loads torch, which a session has loaded

    return METHODS[method].yields


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


def search_html(strings: Strings, progress: Progress) -> str:
    """How far the training of a method is: a bar, its phase, its first loss and the time that is left; all losses in
    the tooltip."""
    from explorer.methods import METHODS

    method = METHODS[progress.method]
    percent, starting, stopped, not_kept, failed = WORDS[method.yields]
    bar = _bar(strings, percent, progress.step, progress.of)
    if progress.state == "ready":
        return _line("", strings(FOUND[method.yields]))
    if progress.state == "failed":
        return _line(bar, strings(failed), progress.error)
    if progress.state == "stopped":
        places = {"step": progress.step, "of": progress.of, "folder": progress.not_kept}
        return _line(bar, strings(stopped), strings(not_kept, **places) if progress.not_kept else "")
    if not progress.losses:
        return _line(bar, strings(starting))
    losses = {
        name: f"{progress.losses[name]:.3g}" if name in progress.losses else "–" for name in method.losses
    }
    said = (f"{strings(f'{method.name}_loss_{name}')} {value}" for name, value in losses.items())
    words = {
        "phase": strings(f"{method.name}_phase_{progress.phase}"),
        "loss": losses[method.losses[0]],
        "left": _time_left(strings, progress.seconds_left),
    }
    return _line(bar, strings("run_line", **words), strings("run_losses", losses=", ".join(said)))


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
