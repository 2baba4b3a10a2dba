"""Training a dynamic method: which one, and its settings as it declares them."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from ipywidgets import HTML, HBox, ToggleButtons

from explorer.errors import ExplorerError
from explorer.panels.setting_fields import range_words, setting_field, setting_value
from explorer.panels.training_controls import Form, TrainingControls, fitting_batch
from explorer.panels.words import shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from explorer.session import Session
    from explorer.strings import Strings

NAMES = ("manidp", "fbs")


class InstanceTraining(TrainingControls):
    """The button *Train…* with the settings of ManiDP and FBS, and the buttons of a training that runs or was stopped.

    `act` runs a gesture and reports what goes wrong. `refusal` says why none can begin, "" if one can.
    """

    def __init__(self, session: Session, strings: Strings, act: Callable[..., None]) -> None:
        from explorer import methods  # loads torch, which a session has loaded
        from explorer.methods.settings import declared

        self._session, self._strings = session, strings
        chosen = {name: methods.METHODS[name].settings for name in NAMES}
        self.settings = {
            name: [each for each in declared(settings) if each.shown] for name, settings in chosen.items()
        }
        self._batches = {name: settings().batch for name, settings in chosen.items()}
        self.fields = {
            name: {each.name: setting_field(each, strings, _key) for each in settings}
            for name, settings in self.settings.items()
        }
        self.method = ToggleButtons(
            options=[(strings(f"instance_method_{name}"), name) for name in NAMES],
            tooltips=[strings(f"instance_method_{name}_help") for name in NAMES],
        ).add_class("pe-segments")
        self.forms = {
            name: HBox(list(fields.values())).add_class("pe-search-fields")
            for name, fields in self.fields.items()
        }
        self.about = HTML()
        title = HTML(f"<h4>{escape(strings('instance_train_title'))}</h4>")
        form = Form(
            kind="instances",
            help={
                "begin": strings("instance_begin_help"),
                "stop": strings("dynamic_stop_help"),
                "resume": strings("dynamic_resume_help"),
                "drop": strings("dynamic_drop_help"),
            },
            refusal=self._why_not(),
            asked=lambda: (str(self.method.value), self.values),
            problem=self._problem,
            epochs=self._epochs,
        )
        opener = strings("instance_train"), strings("instance_train_help")
        parts = [title, self.method, self.about, *self.forms.values()]
        super().__init__(session, strings, act, form, opener, parts)
        self.popover.add_class("pe-instance-training")
        self.method.observe(lambda _change: self._turn(), "value")
        for fields in self.fields.values():
            for field in fields.values():
                field.observe(lambda _change: self.tell(), "value")
        self._turn()

    @property
    def values(self) -> dict[str, Any]:
        """What the fields of the chosen method say, as it takes them; of few images a smaller batch."""
        name = str(self.method.value)
        fields = self.fields[name]
        said = {each.name: setting_value(each, fields[each.name].value) for each in self.settings[name]}
        return said | fitting_batch(self._session, self._batches[name])

    def _why_not(self) -> str:
        """Why none can begin; "" if one can."""
        data, say = self._session.network.data, self._strings
        if data is None or data.train is None:
            return say("instance_no_train_images")
        if data.train.class_numbers is None:
            return say("instance_no_labels")
        return "" if self._session.graph.folds else say("instance_no_norm")

    def _turn(self) -> None:
        """Show the chosen method's settings, and say what it does."""
        name = str(self.method.value)
        self.about.value = f"<p>{escape(self._strings(f'instance_method_{name}_about'))}</p>"
        for method, form in self.forms.items():
            shown(form, method == name)
        self.tell()

    def _epochs(self) -> float:
        from explorer.methods.instance_training import planned_epochs

        data = self._session.network.data
        images = 0 if data is None or data.train is None else len(data.train)
        return planned_epochs(str(self.method.value), self.values["epochs"], images)

    def _problem(self) -> str:
        """What is wrong with what the fields say, in the words of the form; "" if nothing is."""
        values = self.values
        for setting in self.settings[str(self.method.value)]:
            try:
                setting.checked(values[setting.name])
            except ExplorerError:
                return range_words(setting, self._strings, _key)
        return ""


def _key(name: str) -> str:
    return f"instance_set_{name}"
