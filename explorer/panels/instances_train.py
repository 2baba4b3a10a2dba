"""Training a dynamic method: which one, its settings as it declares them, and the buttons of a training under way."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from ipywidgets import HTML, Button, HBox, ToggleButtons

from explorer.errors import ExplorerError
from explorer.panels.chain_search import number
from explorer.panels.popover import Popover
from explorer.panels.setting_fields import range_words, setting_field, setting_value
from explorer.panels.words import shown, tag

if TYPE_CHECKING:
    from collections.abc import Callable

    from explorer.records import Search
    from explorer.session import Session
    from explorer.strings import Strings

NAMES = ("manidp", "fbs")


class InstanceTraining(HBox):
    """The button *Train…* with the settings of ManiDP and FBS, and the buttons of a training that runs or was stopped.

    `act` runs a gesture and reports what goes wrong. `refusal` says why none can begin, "" if one can.
    """

    def __init__(self, session: Session, strings: Strings, act: Callable[..., None]) -> None:
        from explorer import methods  # loads torch, which a session has loaded
        from explorer.methods.settings import declared

        self._session, self._strings = session, strings
        self.settings = {
            name: [each for each in declared(methods.METHODS[name].settings) if each.shown] for name in NAMES
        }
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
        self.about, self.cost, self.answer = HTML(), HTML(), HTML().add_class("pe-search-answer")
        self.start = Button(description=strings("search_begin"), tooltip=strings("instance_begin_help"))
        self.start.add_class("pe-primary")
        self.drop = Button(description=strings("search_drop"), tooltip=strings("dynamic_drop_help"))
        title = HTML(f"<h4>{escape(strings('instance_train_title'))}</h4>")
        parts = [title, self.method, self.about, *self.forms.values(), self.cost]
        foot = HBox([self.start, self.drop]).add_class("pe-search-foot")
        self.popover = Popover(
            strings("instance_train"), strings("instance_train_help"), [*parts, foot, self.answer]
        )
        self.popover.add_class("pe-search").add_class("pe-instance-training")
        self.stop = Button(description=strings("search_stop"), tooltip=strings("dynamic_stop_help"))
        self.resume = Button(description=strings("search_resume"), tooltip=strings("dynamic_resume_help"))
        self.resume.add_class("pe-primary")
        super().__init__([self.stop, self.resume, self.popover])
        self.add_class("pe-search-controls")
        self.method.observe(lambda _change: self._tell(), "value")
        for fields in self.fields.values():
            for field in fields.values():
                field.observe(lambda _change: self._tell(), "value")
        self.start.on_click(lambda _button: act(self._start))
        self.stop.on_click(lambda _button: act(session.stop_search, "instances"))
        self.resume.on_click(lambda _button: act(session.resume_search, "instances"))
        self.drop.on_click(lambda _button: act(self._drop))
        self.refusal = self._why_not()
        if self.refusal:
            self.popover.opener.disabled = True
            self.popover.opener.tooltip = self.refusal
        self._tell()

    @property
    def values(self) -> dict[str, Any]:
        """What the fields of the chosen method say, as it takes them."""
        name = str(self.method.value)
        fields = self.fields[name]
        return {each.name: setting_value(each, fields[each.name].value) for each in self.settings[name]}

    def render(self, search: Search | None) -> None:
        """Show the buttons that the state of the training has a use for."""
        running = search is not None and search.state == "running"
        shown(self.stop, running)
        shown(self.resume, search is not None and search.resumable and not running)
        shown(self.popover, not running)
        shown(self.drop, search is not None)

    def _why_not(self) -> str:
        """Why none can begin; "" if one can."""
        data, say = self._session.network.data, self._strings
        if data is None or data.train is None:
            return say("instance_no_train_images")
        if not data.train.labelled:
            return say("instance_no_labels")
        return "" if self._session.graph.folds else say("instance_no_norm")

    def _start(self) -> None:
        """A refusal is said where the settings are, and only there: they are still seen."""
        if self._problem():
            return  # which is said already
        try:
            self._session.start_search(self.method.value, **self.values)
        except ExplorerError as error:
            self._answer(str(error))
        else:
            self._answer("")
            self.popover.opener.value = False

    def _drop(self) -> None:
        self._session.drop_search("instances")
        self.popover.opener.value = False

    def _tell(self) -> None:
        """Say what the method does, and what a training with these settings will cost or why there can be none."""
        say, name = self._strings, str(self.method.value)
        self.about.value = f"<p>{escape(say(f'instance_method_{name}_about'))}</p>"
        for method, form in self.forms.items():
            shown(form, method == name)
        if self.refusal:
            return
        problem = self._problem()
        self._answer(problem)
        shown(self.cost, not problem)
        data = self._session.network.data
        if not problem and data is not None and data.train is not None:
            from explorer.methods.instance_training import planned_epochs

            epochs = number(planned_epochs(name, self.values["epochs"], len(data.train)))
            self.cost.value = f"<p>{tag('pe-soft', say('search_takes', epochs=epochs))}</p>"

    def _answer(self, words: str) -> None:
        self.answer.value = f'<p role="alert">{escape(words)}</p>' if words else ""

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
