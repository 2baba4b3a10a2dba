"""Starting a search: its settings as the method declares them, what it will cost, and how far it is."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
from ipywidgets import HTML, HBox

from explorer.chains import Chain, chain_of
from explorer.errors import ExplorerError
from explorer.panels.setting_fields import range_words, setting_field, setting_value
from explorer.panels.training_controls import Form, TrainingControls, fitting_batch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from explorer.session import Session
    from explorer.strings import Strings
    from explorer.values import ChannelGraph


class SearchControls(TrainingControls):
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
        title = HTML(f"<h4>{escape(strings('search_title'))}</h4><p>{escape(strings('search_about'))}</p>")
        form = Form(
            kind="widths",
            help={name: strings(f"search_{name}_help") for name in ("begin", "stop", "resume", "drop")},
            refusal=self._why_not(),
            asked=lambda: ("dmcp", self.values),
            problem=self._problem,
            epochs=lambda: planned_epochs(session.graph, self.values),
        )
        parts = [title, HBox(list(self.fields.values())).add_class("pe-search-fields")]
        super().__init__(session, strings, act, form, (strings("search"), strings("search_help")), parts)
        self.popover.opener.add_class("pe-search-opener")
        for field in self.fields.values():
            field.observe(lambda _change: self.tell(), "value")

    @property
    def values(self) -> dict[str, Any]:
        """What the fields say, as the method takes it; of few images a smaller batch."""
        said = {each.name: setting_value(each, self.fields[each.name].value) for each in self.settings}
        return said | fitting_batch(self._session, self._batch)

    def _why_not(self) -> str:
        """Why no search can begin; "" if one can."""
        data, say = self._session.network.data, self._strings
        if not self._session.graph.prunable:
            return say("search_nothing")
        if data is None or data.train is None:
            return say("search_no_images")
        return "" if data.train.class_numbers is not None else say("search_no_labels")

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


def _key(name: str) -> str:
    return f"search_set_{name}"
