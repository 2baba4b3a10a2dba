"""Starting a search: its settings as the method declares them, what it will cost, and how far it is."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
from ipywidgets import HTML, Button, HBox

from explorer.chains import Chain, chain_of
from explorer.errors import ExplorerError
from explorer.panels.popover import Popover
from explorer.panels.setting_fields import range_words, setting_field, setting_value
from explorer.panels.words import shown, tag

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from explorer.records import Search
    from explorer.session import Session
    from explorer.strings import Strings
    from explorer.values import ChannelGraph

FEWEST = 4  # batches of an epoch where there are fewer images than in a usual batch


class SearchControls(HBox):
    """The button *Search…* with its settings, and the buttons of a search that runs or was stopped.

    `act` runs a gesture and reports what goes wrong. `refusal` says why no search can begin, "" if one can.
    """

    def __init__(self, session: Session, strings: Strings, act: Callable[..., None]) -> None:
        from explorer.methods import METHODS  # loads torch, which a session has loaded
        from explorer.methods.settings import declared

        self._session, self._strings = session, strings
        method = METHODS["dmcp"]
        self._batch = method.settings().batch
        self.settings = [each for each in declared(method.settings) if each.shown]
        self.fields = {each.name: setting_field(each, strings, _key) for each in self.settings}
        self.cost, self.answer = HTML(), HTML().add_class("pe-search-answer")
        self.start = Button(description=strings("search_begin"), tooltip=strings("search_begin_help"))
        self.start.add_class("pe-primary")
        self.drop = Button(description=strings("search_drop"), tooltip=strings("search_drop_help"))
        rows = [HBox(list(self.fields.values())).add_class("pe-search-fields"), self.cost]
        foot = HBox([self.start, self.drop]).add_class("pe-search-foot")
        title = HTML(f"<h4>{escape(strings('search_title'))}</h4><p>{escape(strings('search_about'))}</p>")
        self.popover = Popover(strings("search"), strings("search_help"), [title, *rows, foot, self.answer])
        self.popover.add_class("pe-search")
        self.popover.opener.add_class("pe-search-opener")
        self.stop = Button(description=strings("search_stop"), tooltip=strings("search_stop_help"))
        self.resume = Button(description=strings("search_resume"), tooltip=strings("search_resume_help"))
        self.resume.add_class("pe-primary")
        super().__init__([self.stop, self.resume, self.popover])
        self.add_class("pe-search-controls")
        for field in self.fields.values():
            field.observe(lambda _change: self._tell(), "value")
        self.start.on_click(lambda _button: act(self._start))
        self.stop.on_click(lambda _button: act(session.stop_search))
        self.resume.on_click(lambda _button: act(session.resume_search))
        self.drop.on_click(lambda _button: act(self._drop))
        self.refusal = self._why_not()
        if self.refusal:
            self.popover.opener.disabled = True
            self.popover.opener.tooltip = self.refusal
        self._tell()

    @property
    def values(self) -> dict[str, Any]:
        """What the fields say, as the method takes it."""
        said = {each.name: setting_value(each, self.fields[each.name].value) for each in self.settings}
        data = self._session.network.data
        if data is not None and data.train is not None and len(data.train) < self._batch:
            said["batch"] = max(4, len(data.train) // FEWEST)
        return said

    def render(self, search: Search | None) -> None:
        """Show the buttons that the state of the search has a use for."""
        running = search is not None and search.state == "running"
        shown(self.stop, running)
        shown(self.resume, search is not None and search.resumable and not running)
        shown(self.popover, not running)
        shown(self.drop, search is not None)

    def _why_not(self) -> str:
        """Why no search can begin; "" if one can."""
        data, say = self._session.network.data, self._strings
        if not self._session.graph.prunable:
            return say("search_nothing")
        if data is None or data.train is None:
            return say("search_no_images")
        return "" if data.train.labelled else say("search_no_labels")

    def _start(self) -> None:
        """A refusal is said where the settings are, and only there: they are still seen."""
        if self._problem():
            return  # which is said already
        try:
            self._session.start_search(**self.values)
        except ExplorerError as error:
            self._answer(str(error))
        else:
            self._answer("")
            self.popover.opener.value = False

    def _drop(self) -> None:
        self._session.drop_search()
        self.popover.opener.value = False

    def _tell(self) -> None:
        """Say what a search with these settings will cost, or why there can be none."""
        if self.refusal:
            return
        problem = self._problem()
        self._answer(problem)
        shown(self.cost, not problem)
        if not problem:
            epochs = number(planned_epochs(self._session.graph, self.values))
            self.cost.value = f"<p>{tag('pe-soft', self._strings('search_takes', epochs=epochs))}</p>"

    def _answer(self, words: str) -> None:
        self.answer.value = f'<p role="alert">{escape(words)}</p>' if words else ""

    def _problem(self) -> str:
        """What is wrong with what the fields say, in the words of the form; "" if nothing is."""
        say, values = self._strings, self.values
        for setting in self.settings:
            try:
                setting.checked(values[setting.name])
            except ExplorerError:
                return range_words(setting, say, _key)
        least = reachable_share(self._session.graph, values["cost"])
        if values["target"] >= least:
            return ""
        share = f"{math.ceil(1000 * least) / 10:.1f} %"  # rounded up, so that it can be asked for
        return say("search_reach", share=say(f"chain_share_{values['cost']}", percent=share))


def reachable_share(graph: ChannelGraph, cost: str) -> float:
    """The smallest share of a cost that a search can come to: that of the least widths; 0 where none can begin."""
    from explorer.methods.structure import reachable

    chains = _usual_chains(graph)
    return reachable(graph, chains, cost) if chains else 0.0


def planned_epochs(graph: ChannelGraph, settings: Mapping[str, Any]) -> float:
    """About as many epochs of training the dense network as a DMCP search costs, in MACs of forward passes.

    Every step runs the full network, the least one and two others, which have about the mean of all widths; while
    the chains are trained too, the full network once more.
    """
    from explorer.costs import totals

    chains = _usual_chains(graph)
    widths = np.stack([graph.sizes, graph.sizes]).astype(np.float64)
    places = [graph.index[chain.group] for chain in chains]
    widths[:, places] = [[chain.least for chain in chains], [chain.widths.mean() for chain in chains]]
    least, mean = totals(graph, widths, "macs") / totals(graph, graph.sizes, "macs")
    step = 1 + least + 2 * mean
    return float(settings["warm_up"] * step + settings["epochs"] * (step + 1))


def _usual_chains(graph: ChannelGraph) -> list[Chain]:
    """The chains that a search begins with."""
    from explorer.methods import METHODS

    usual = METHODS["dmcp"].settings()
    chains = [chain_of(group, usual.alpha, usual.divisions) for group in graph.prunable]
    return [chain for chain in chains if chain.states]


def number(epochs: float) -> str:
    """Epochs in two digits: "0.4", "7.5", "14"."""
    return f"{epochs:.0f}" if epochs >= 9.95 else f"{epochs:.1f}"


def _key(name: str) -> str:
    return f"search_set_{name}"
