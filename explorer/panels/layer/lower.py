"""The lower half of the layer view: what the layer's channels answer, or the next layer dense, cut and repaired."""

from collections.abc import Callable, Mapping
from html import escape
from typing import TYPE_CHECKING

from ipywidgets import HTML, BoundedIntText, HBox, ToggleButtons

from explorer.figures import activations
from explorer.figures.activations import Answers
from explorer.figures.view import update
from explorer.panels.header.cut import Cut
from explorer.panels.kit.bokeh_document import BokehDocument
from explorer.panels.kit.words import shown, tag
from explorer.panels.layer import strips as layer_strips
from explorer.panels.layer.work import Findings, Looking, Wish
from explorer.strings import Strings

if TYPE_CHECKING:
    from explorer.evaluate.worker import LatestWins
    from explorer.session import Session


class Lower:
    """The widgets `choice`, `strip` and `next`, the figure `view`, and the worker thread that fills them.

    `told()` is called on the worker thread when there is something new to render.
    """

    def __init__(
        self, session: "Session", strings: Strings, told: Callable[[], None], scale: float = 1.0
    ) -> None:
        self._session, self._strings, self._told = session, strings, told
        self.view = activations.build(scale)
        self._wish: Wish | None = None
        self._found = Findings()
        self._portrait = self._maps = ""  # what was found last, as HTML
        self._compared: Cut | None = None  # what the maps are of
        self._readers: dict[int, int | None] = {}
        self._worker: LatestWins[Wish, Findings] | None = None
        self._looking = Looking(session)
        data, say = session.network.data, strings
        most = 0 if data is None else len(data.explore) - 1
        self.below = choice_of(
            {
                "channels": (say("layer_below_channels"), say("layer_below_own_help")),
                "next": (say("layer_below_next"), say("layer_below_next_help")),
            }
        )
        self.channel = BoundedIntText(
            min=0, description=say("layer_channel"), tooltip=say("layer_channel_help")
        )
        self.image = BoundedIntText(
            min=0,
            max=most,
            description=say("layer_image_number"),
            tooltip=say("layer_image_number_help"),
            disabled=not most,
        )
        self.choice = HBox([self.below, self.channel, self.image]).add_class("pe-layer-choice")
        self.strip, self.next = HTML().add_class("pe-layer-strip"), HTML().add_class("pe-layer-next")

    @property
    def _follows(self) -> bool:
        """Whether the next layer is shown."""
        return bool(self.below.value == "next")

    def render(self, document: BokehDocument, place: int) -> None:
        """Show layer number `place`, and ask the worker for what is not known of it."""
        most = len(self._session.graph.layers[place].out_units) - 1
        self.channel.value = min(self.channel.value, most)
        self.channel.max = most
        self.channel.disabled = self._follows
        wish = self._wanted(place)
        if wish != self._wish:
            if self._wish is None or self._wish.layer != place:
                self._found, self._portrait, self._maps = Findings(self._looking.known.get(place)), "", ""
            self._wish = wish
            if not self._follows or (wish.cut is not None and self._session.network.data is not None):
                self._ask(wish)
        self._show(document, place)

    def _wanted(self, place: int) -> Wish:
        session, cut = self._session, None
        if self._follows and session.current and (session.estimate is None or session.estimate.done):
            cut = Cut.of(session)
        channel = 0 if self._follows else self.channel.value
        return Wish(place, channel, self.image.value, self.below.value, cut)

    def _ask(self, wish: Wish) -> None:
        if self._worker is None:
            from explorer.evaluate.worker import LatestWins

            self._worker = LatestWins(self._looking.look, self._tell, self._failed)
        self._worker.submit(wish)

    def _tell(self, wish: Wish, found: Findings) -> None:
        """A result of the worker's: keep what belongs to the layer that is shown. On the worker thread."""
        portrait = layer_strips.portrait_html(found.portrait, self._strings) if found.portrait else ""
        maps = ""
        if found.comparison is not None:
            name = self._session.graph.layers[found.comparison.layer].name
            maps = layer_strips.comparison_html(found.comparison, name, self._strings)
        if self._wish is None or wish.layer != self._wish.layer:
            return
        self._portrait, self._maps = portrait or self._portrait, maps or self._maps
        if found.comparison is not None:
            self._compared = wish.cut
        before = self._found
        self._found = Findings(
            found.activations or before.activations, found.portrait, found.comparison or before.comparison
        )
        self._told()

    def _failed(self, _wish: Wish, error: BaseException) -> None:
        self._session.report(error)

    def _show(self, document: BokehDocument, place: int) -> None:
        say, reader = self._strings, self._next(place)
        with document.batch():
            self.view.root.visible = not self._follows
            update(self.view, activations.columns(self._answers(place), say, self._no_answers()))
        shown(self.strip, not self._follows)
        shown(self.next, self._follows)
        read = say("layer_below_read_help", name=reader) if reader else say("layer_below_own_help")
        self.below.tooltips = (read, say("layer_below_next_help"))
        self.strip.value = self._portrait or tag("pe-soft", say("layer_strip_empty"))
        self.next.value = self._next_html(reader)

    def _answers(self, place: int) -> Answers | None:
        found, data = self._found.activations, self._session.network.data
        if found is None or data is None:
            return None
        from explorer.observe.maps import kept_channels

        keep, of = kept_channels(self._session.graph, self._session.plan, place), len(data.explore)
        return Answers(found.quartiles, found.zeros, keep, found.images, of, self.channel.value)

    def _no_answers(self) -> str:
        return self._strings("layer_no_data" if self._session.network.data is None else "layer_counting")

    def _next(self, place: int) -> str:
        """Name of the layer that reads the channels of layer number `place`; "" if none does."""
        if place not in self._readers:
            from explorer.observe.maps import next_layer

            self._readers[place] = next_layer(self._session.graph, place)
        reader = self._readers[place]
        return "" if reader is None else self._session.graph.layers[reader].name

    def _next_html(self, name: str) -> str:
        """The next layer's maps, faded where they are of an earlier cut, or why there are none."""
        say = self._strings
        if self._session.network.data is None:
            return tag("pe-soft", say("layer_next_no_data"))
        if not name:
            return tag("pe-soft", say("layer_no_reader"))
        if not self._maps:
            return tag("pe-soft", say("layer_next_counting", name=name))
        if self._compared == Cut.of(self._session):
            return self._maps
        return f'<div class="pe-earlier-maps" title="{escape(say("layer_earlier"))}">{self._maps}</div>'

    def sentences(self, place: int) -> list[str]:
        """The lower half in words, for screen readers."""
        say, name = self._strings, self._session.graph.layers[place].name
        said = activations.describe(name, self._answers(place), say, self._no_answers())
        if self._follows and self._found.comparison is not None:
            said += layer_strips.describe(self._found.comparison, self._next(place), self.image.value, say)
        return said

    def idle(self, timeout: float | None = None) -> bool:
        """Wait until the worker has nothing to do; False if that took longer than `timeout` seconds."""
        return self._worker is None or self._worker.idle(timeout)

    def close(self) -> None:
        """End the worker thread."""
        if self._worker is not None:
            self._worker.close()


def choice_of(options: Mapping[str, tuple[str, str]]) -> ToggleButtons:
    """A choice between few names, each with its words and its tooltip."""
    labels = [(label, name) for name, (label, _help) in options.items()]
    tooltips = [help_text for _label, help_text in options.values()]
    return ToggleButtons(options=labels, tooltips=tooltips).add_class("pe-layer-toggle")
