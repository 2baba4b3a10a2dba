"""What the chain view shows of a search: one figure at a time, each with its Bokeh document, built when first seen."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from bokeh.models import CustomJS
from ipywidgets import HTML, Widget
from numpy.typing import NDArray

from explorer.chains import Chain, draws
from explorer.figures import (
    chain_budget,
    chain_compare,
    chain_curve,
    chain_map,
    chain_order,
    chain_published,
)
from explorer.figures.palette import theme_script
from explorer.figures.view import Columns, View, update
from explorer.panels.kit.bokeh_document import BokehDocument
from explorer.panels.kit.page import IN_DASHBOARD, keys_script
from explorer.panels.kit.sights import BuiltWhenSeen
from explorer.published import STRUCTURES

if TYPE_CHECKING:
    from bokeh.model import Model

    from explorer.chains import Comparison, OrderCurve
    from explorer.panels.chain.replay import Replay
    from explorer.strings import Strings
    from explorer.values import ChannelGraph

DRAWN = 2000  # networks of the histogram
VIEWS = ("layer", "map", "budget", "order", "compare", "papers")
REPLAYED = ("layer", "map", "budget")  # those that a step of the search changes


# The replay's slider gets a name for screen readers, which ipywidgets gives only beside it.
_NAMED = f"""{IN_DASHBOARD}
export default ({{figure, label}}) => {{
  inDashboard(figure, (root) => {{
    root.querySelector(".pe-chain-slider .noUi-handle")?.setAttribute("aria-label", label)
  }})
}}
"""


@dataclass(frozen=True, eq=False)
class Seen:
    """What there is to be seen: the replay, the selected `group` and its layer's `name`.

    `why` says why the layer has no chain, "" where it has one; `width` is the group's in the bars; `names` are layers'
    by group, in the graph's order. `order` and `comparisons` are what was measured after the search.
    """

    replay: Replay
    group: str
    name: str
    why: str
    width: int | None
    names: Mapping[str, str]
    order: Sequence[OrderCurve]
    comparisons: Sequence[Comparison]
    page: int = 0


class Sight(ABC):
    """One figure. `render` shows what there is; `sentences` say it."""

    def __init__(self, view: View, strings: Strings, heard: Sequence[tuple[Model, str]] = ()) -> None:
        self.view, self._strings = view, strings
        named = CustomJS(args={"figure": view.root, "label": strings("chain_slider")}, code=_NAMED)
        scripts = theme_script(view.root), keys_script(strings, [view.root]), named
        self.document = BokehDocument(view.root, scripts, heard)
        self.widgets: tuple[Widget, ...] = (self.document,)

    def pages(self, _seen: Seen) -> int:
        """How many pages there are to be turned."""
        return 1

    def missing(self, _seen: Seen) -> str:
        """Why there is nothing to be seen; "" where there is."""
        return ""

    def render(self, seen: Seen) -> None:
        self._draw(self._tables(seen))

    @abstractmethod
    def sentences(self, seen: Seen) -> list[str]:
        """The view in words, for screen readers."""

    @abstractmethod
    def _tables(self, seen: Seen) -> Mapping[str, Columns]:
        """The figure's columns."""

    def _draw(self, tables: Mapping[str, Columns]) -> None:
        with self.document.batch():
            update(self.view, tables)


class LayerSight(Sight):
    """The selected layer's chain; `moved(group, place, probability)` is called while a point is dragged."""

    def __init__(self, strings: Strings, scale: float, moved: Callable[[str, int, float], None]) -> None:
        view = chain_curve.build(scale)
        self._moved = moved
        self._asked = 0
        self._ask, self._answer = chain_curve.make_draggable(view, scale)
        super().__init__(view, strings, heard=[(self._ask, "data")])
        self._ask.on_change("data", lambda _name, _old, new: self._hear(new))

    def _hear(self, asked: Mapping[str, list[Any]]) -> None:
        self._asked = asked["number"][0]
        self._moved(asked["group"][0], asked["place"][0], asked["probability"][0])

    def render(self, seen: Seen) -> None:
        """What the browser drew in advance is sent again even where nothing changed here."""
        tables = self._tables(seen)
        with self.document.batch():
            if self._answer.data["number"][0] != self._asked:
                self._answer.data = {"number": [self._asked]}
                for name in chain_curve.ECHOED:
                    source = self.view.sources[name]
                    if source.data == tables[name]:
                        source.trigger("data", source.data, source.data)
            update(self.view, tables)

    def _tables(self, seen: Seen) -> Mapping[str, Columns]:
        return chain_curve.columns(self._shown(seen), self._strings, seen.why)

    def sentences(self, seen: Seen) -> list[str]:
        return chain_curve.describe(seen.name, self._shown(seen), self._strings, seen.why)

    @staticmethod
    def _shown(seen: Seen) -> chain_curve.Shown | None:
        place = seen.replay.place(seen.group)
        if place is None:
            return None
        return chain_curve.Shown(seen.replay.chains[place], seen.replay.first[place], seen.width)


class MapSight(Sight):
    """All layers' chains; `select(group)` is called when one is tapped."""

    def __init__(self, strings: Strings, scale: float, select: Callable[[str], None]) -> None:
        view = chain_map.build(scale=scale)
        tapped = chain_map.make_tappable(view)
        super().__init__(view, strings, heard=[(tapped, "data")])
        tapped.on_change("data", lambda _name, _old, new: select(new["group"][0]))

    def _tables(self, seen: Seen) -> Mapping[str, Columns]:
        return chain_map.columns(self._shown(seen), self._strings)

    def sentences(self, seen: Seen) -> list[str]:
        return chain_map.describe(self._shown(seen), self._strings)

    @staticmethod
    def _shown(seen: Seen) -> chain_map.Shown:
        rows = (chain_map.Row(seen.names[chain.group], chain) for chain in seen.replay.chains)
        return chain_map.Shown(tuple(rows), seen.group)


class BudgetSight(Sight):
    """The expected cost over the steps, and the costs of networks drawn from the chains of this one."""

    def __init__(self, strings: Strings, scale: float, graph: ChannelGraph) -> None:
        super().__init__(chain_budget.build(scale), strings)
        self._graph = graph

    def _tables(self, seen: Seen) -> Mapping[str, Columns]:
        return chain_budget.columns(self._shown(seen), self._strings)

    def sentences(self, seen: Seen) -> list[str]:
        return chain_budget.describe(self._shown(seen), self._strings)

    def _shown(self, seen: Seen) -> chain_budget.Shown:
        replay = seen.replay
        edited = replay.share(self._graph) if replay.changed else None
        drawn = drawn_shares(self._graph, replay.chains, replay.run.cost)
        return chain_budget.Shown(replay.run, replay.frame, drawn, edited)


class OrderSight(Sight):
    """Which channels carry the information, before the search and after."""

    def __init__(self, strings: Strings, scale: float) -> None:
        super().__init__(chain_order.build(scale), strings)

    def missing(self, seen: Seen) -> str:
        return "" if seen.order else self._strings("chain_no_order")

    def _tables(self, seen: Seen) -> Mapping[str, Columns]:
        return chain_order.columns(seen.order, self._strings)

    def sentences(self, seen: Seen) -> list[str]:
        return chain_order.describe(seen.order, self._strings)


class CompareSight(Sight):
    """The structure that was found beside a uniform one, as many comparisons at a time as there is room for."""

    def __init__(self, strings: Strings, scale: float) -> None:
        super().__init__(chain_compare.build(scale), strings)

    def missing(self, seen: Seen) -> str:
        return "" if self.pages(seen) else self._strings("chain_no_compare")

    def pages(self, seen: Seen) -> int:
        return len(chain_compare.pages(seen.comparisons))

    def _tables(self, seen: Seen) -> Mapping[str, Columns]:
        pages = chain_compare.pages(seen.comparisons)
        shown = pages[seen.page % len(pages)] if pages else ()
        return chain_compare.columns(shown, self._strings)

    def sentences(self, seen: Seen) -> list[str]:
        return chain_compare.describe(seen.comparisons, self._strings)


class PapersSight(Sight):
    """A structure that was published on every page, and below it the accuracies that papers report."""

    def __init__(self, strings: Strings, scale: float) -> None:
        super().__init__(chain_published.build(scale), strings)
        self.widgets = (self.document, HTML(chain_published.table_html(strings)).add_class("pe-chain-papers"))

    def pages(self, _seen: Seen) -> int:
        return len(STRUCTURES)

    def _tables(self, seen: Seen) -> Mapping[str, Columns]:
        return chain_published.columns(STRUCTURES[seen.page % len(STRUCTURES)], self._strings)

    def sentences(self, seen: Seen) -> list[str]:
        return chain_published.describe(STRUCTURES[seen.page % len(STRUCTURES)], self._strings)


class Sights(BuiltWhenSeen[Sight]):
    """All views by name, each built when it is first asked for."""

    def __init__(
        self,
        strings: Strings,
        scale: float,
        graph: ChannelGraph,
        moved: Callable[[str, int, float], None],
        select: Callable[[str], None],
    ) -> None:
        builders: dict[str, Callable[[], Sight]] = {
            "layer": lambda: LayerSight(strings, scale, moved),
            "map": lambda: MapSight(strings, scale, select),
            "budget": lambda: BudgetSight(strings, scale, graph),
            "order": lambda: OrderSight(strings, scale),
            "compare": lambda: CompareSight(strings, scale),
            "papers": lambda: PapersSight(strings, scale),
        }
        super().__init__(builders)


def drawn_shares(
    graph: ChannelGraph, chains: Sequence[Chain], cost: str, count: int = DRAWN
) -> NDArray[np.float64]:
    """Costs of networks drawn from the chains, as shares of the dense one's, float64 (count,)."""
    from explorer.costs import totals  # loads torch, which a session has loaded

    widths = np.repeat(graph.sizes[None].astype(np.float64), count, axis=0)  # whole numbers multiply slower
    widths[:, [graph.index[chain.group] for chain in chains]] = draws(chains, count)
    return np.asarray(totals(graph, widths, cost) / totals(graph, graph.sizes, cost))
