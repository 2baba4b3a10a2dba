"""Training beside the explorer: how many epochs, how far it is, and what to do with the result."""

from html import escape
from typing import TYPE_CHECKING

from ipywidgets import HTML, BoundedIntText, Button, HBox, ToggleButton

from explorer.panels.binding import Binding
from explorer.panels.words import shown
from explorer.records import Training
from explorer.strings import Strings

if TYPE_CHECKING:
    from explorer.session import Session

EPOCHS = 50


class TrainingStrip(HBox):
    """Stands at the right end of the last line while `opener` is pressed, or while something trains."""

    def __init__(self, session: "Session", strings: Strings) -> None:
        self._session, self._strings = session, strings
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
        self.start = Button(
            description=strings("train_start"), tooltip=strings("train_start_help")
        ).add_class("pe-primary")
        self.use = Button(description=strings("train_use"), tooltip=strings("train_use_help")).add_class(
            "pe-primary"
        )
        self.stop = Button(description=strings("train_stop"), tooltip=strings("train_stop_help"))
        super().__init__([self.epochs, self.start, self.progress, self.use, self.stop])
        self.add_class("pe-training")
        self._binding = binding = Binding(session)
        binding.render(self._render, "training")
        self.opener.observe(lambda _change: binding.refresh(), "value")
        self.start.on_click(lambda _button: binding.act(session.train, self.epochs.value))
        self.stop.on_click(lambda _button: binding.act(session.stop_training))
        self.use.on_click(lambda _button: binding.act(session.use_trained))

    def _render(self) -> None:
        training = self._session.training
        ready = training is not None and training.ready
        shown(self, self.opener.value or training is not None)
        shown(self.epochs, training is None)
        shown(self.start, training is None)
        shown(self.progress, training is not None)
        shown(self.use, ready)
        shown(self.stop, training is not None)
        self.stop.description = self._strings("train_drop" if ready else "train_stop")
        self.progress.value = "" if training is None else progress_html(self._strings, training)


def progress_html(strings: Strings, training: Training) -> str:
    """How far a training is: a bar, the loss and the time that is left."""
    share = training.step / training.of if training.of else 0.0
    if training.ready:
        words = strings("train_ready")
    elif training.seconds_left is None:
        words = strings("train_starting")
    elif training.seconds_left > 99:
        minutes = round(training.seconds_left / 60)
        words = strings("train_running_long", loss=f"{training.loss:.2f}", minutes=minutes)
    else:
        seconds = max(1, round(training.seconds_left))
        words = strings("train_running", loss=f"{training.loss:.2f}", seconds=seconds)
    label = escape(strings("train_progress", percent=f"{100 * share:.0f}"))
    bar = (
        ""
        if training.ready
        else (
            f'<span class="pe-bar" role="progressbar" aria-valuemin="0" aria-valuemax="100" '
            f'aria-valuenow="{100 * share:.0f}" aria-label="{label}">'
            f'<span style="width:{100 * share:.0f}%"></span></span>'
        )
    )
    return f'<div class="pe-line">{bar}<span>{escape(words)}</span></div>'
