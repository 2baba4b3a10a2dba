"""Training a method: which one, its settings as it declares them, what it will cost, and how far it is."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING, Any

from ipywidgets import HTML, Button, HBox, ToggleButtons

from explorer.errors import ExplorerError
from explorer.panels.kit.popover import Popover
from explorer.panels.kit.words import shown, tag
from explorer.panels.methods.setting_fields import range_words, setting_field, setting_value

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from explorer.records import Progress
    from explorer.session import Session
    from explorer.strings import Strings

FEWEST = 4  # batches of an epoch where there are fewer images than in a usual batch
BUTTONS = ("begin", "stop", "resume", "drop")


class MethodForm(HBox):
    """A button with the settings of some methods, and the buttons of a training that runs or was stopped.

    `opener` names the texts of the button; `act` runs a gesture and reports what goes wrong. `refusal` says why none of
    them can begin, "" if one can. `fields` are the widgets by method and setting.
    """

    def __init__(
        self,
        session: Session,
        strings: Strings,
        act: Callable[..., None],
        methods: Sequence[str],
        opener: str = "search",
    ) -> None:
        from explorer.methods import METHODS  # loads torch, which a session has loaded
        from explorer.methods.settings import declared

        self._session, self._strings = session, strings
        self._methods = {name: METHODS[name] for name in methods}
        self.settings = {
            name: [each for each in declared(method.settings) if each.shown]
            for name, method in self._methods.items()
        }
        self.fields: dict[str, dict[str, Any]] = {
            name: {each.name: setting_field(each, strings, name) for each in settings}
            for name, settings in self.settings.items()
        }
        self.method = ToggleButtons(
            options=[(method.label, name) for name, method in self._methods.items()],
            tooltips=[method.about for method in self._methods.values()],
        ).add_class("pe-segments")
        self.about = HTML()
        self.forms = {
            name: HBox(list(fields.values())).add_class("pe-search-fields")
            for name, fields in self.fields.items()
        }
        self.cost, self.answer = HTML(), HTML().add_class("pe-search-answer")
        self.start, self.stop, self.resume, self.drop = (
            Button(description=strings(f"search_{name}"), tooltip=strings(f"run_{name}_help"))
            for name in BUTTONS
        )
        self.start.add_class("pe-primary")
        self.resume.add_class("pe-primary")
        foot = HBox([self.start, self.drop]).add_class("pe-search-foot")
        parts = [self.method, self.about, *self.forms.values(), self.cost, foot, self.answer]
        self.popover = Popover(strings(opener), strings(f"{opener}_help"), parts).add_class("pe-search")
        self.popover.opener.add_class("pe-search-opener")
        super().__init__([self.stop, self.resume, self.popover])
        self.add_class("pe-search-controls")
        shown(self.method, len(methods) > 1)
        self._told = methods[0]  # the method whose progress is shown
        self.start.on_click(lambda _button: act(self._start))
        self.stop.on_click(lambda _button: act(session.stop_search, self._told))
        self.resume.on_click(lambda _button: act(session.resume_search, self._told))
        self.drop.on_click(lambda _button: act(self._drop))
        self.method.observe(lambda _change: self._turn(), "value")
        for fields in self.fields.values():
            for field in fields.values():
                field.observe(lambda _change: self.tell(), "value")
        self.refusal = self._why_not()
        if self.refusal:
            self.popover.opener.disabled = True
            self.popover.opener.tooltip = self.refusal
        self._turn()

    @property
    def chosen(self) -> str:
        """The method that would be trained."""
        return str(self.method.value)

    @property
    def values(self) -> dict[str, Any]:
        """What the fields of the chosen method say, as it takes them; of few images a smaller batch."""
        name, data = self.chosen, self._session.network.data
        fields = self.fields[name]
        said = {each.name: setting_value(each, fields[each.name].value) for each in self.settings[name]}
        few = data is not None and data.train is not None and len(data.train) < self._usual_batch
        return said | ({"batch": max(4, len(data.train) // FEWEST)} if few else {})  # type: ignore[union-attr, arg-type]

    @property
    def _usual_batch(self) -> int:
        return int(self._methods[self.chosen].settings().batch)

    def render(self, progress: Progress | None) -> None:
        """Show the buttons that the state of the training has a use for."""
        running = progress is not None and progress.state == "running"
        self._told = self.chosen if progress is None else progress.method
        shown(self.stop, running)
        shown(self.resume, progress is not None and progress.resumable and not running)
        shown(self.popover, not running)
        shown(self.drop, progress is not None)

    def tell(self) -> None:
        """Say what a training with these settings will cost, or why there can be none."""
        from explorer.methods import memory_short

        if self.refusal:
            return
        problem, values, data = self._problem(), self.values, self._session.network.data
        self._answer(problem)
        shown(self.cost, not problem)
        if not problem:
            graph = self._session.graph
            images = 0 if data is None or data.train is None else len(data.train)
            epochs = number(self._methods[self.chosen].epochs(graph, images, values))
            words = [tag("pe-soft", self._strings("search_takes", epochs=epochs))]
            if short := memory_short(graph, self.chosen, values):
                needed, left = (f"{amount:.1f}" for amount in short)
                words.append(tag("", self._strings("search_memory", needed=needed, left=left)))
            self.cost.value = f"<p>{' '.join(words)}</p>"

    def _why_not(self) -> str:
        """Why none can begin; "" if one can."""
        data, say, graph = self._session.network.data, self._strings, self._session.graph
        reasons = [method.refusal(graph) for method in self._methods.values()]
        if all(reasons):
            return say(reasons[0])
        if data is None or data.train is None:
            return say("search_no_images")
        return "" if data.train.class_numbers is not None else say("search_no_labels")

    def _turn(self) -> None:
        """Show the chosen method's settings, and say what it does."""
        label, about = self._methods[self.chosen].label, self._strings(f"{self.chosen}_about")
        self.about.value = f"<h4>{escape(label)}</h4><p>{escape(about)}</p>"
        for method, form in self.forms.items():
            shown(form, method == self.chosen)
        self.tell()

    def _problem(self) -> str:
        """What is wrong with what the fields say, in the words of the form; "" if nothing is."""
        say, values = self._strings, self.values
        for setting in self.settings[self.chosen]:
            try:
                setting.checked(values[setting.name])
            except ExplorerError:
                return range_words(setting, say, self.chosen)
        least = self._methods[self.chosen].least(self._session.graph, values)
        if values.get("target", 1.0) >= least:
            return ""
        share = f"{math.ceil(1000 * least) / 10:.1f} %"  # rounded up, so that it can be asked for
        return say("search_reach", share=say(f"chain_share_{values['cost']}", percent=share))

    def _start(self) -> None:
        """A refusal is said where the settings are, and only there: they are still seen."""
        if self._problem():
            return  # which is said already
        try:
            self._session.start_search(self.chosen, **self.values)
        except ExplorerError as error:
            self._answer(str(error))
        else:
            self._answer("")
            self.popover.opener.value = False

    def _drop(self) -> None:
        self._session.drop_search(self._told)
        self.popover.opener.value = False

    def _answer(self, words: str) -> None:
        self.answer.value = f'<p role="alert">{escape(words)}</p>' if words else ""


def number(epochs: float) -> str:
    """Epochs in two digits: "0.4", "7.5", "14"."""
    return f"{epochs:.0f}" if epochs >= 9.95 else f"{epochs:.1f}"
