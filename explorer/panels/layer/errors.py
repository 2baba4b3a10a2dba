"""What the layers that read the selected group lose, by width: worked out on a worker thread, then only looked up."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from explorer.figures import reader_errors
from explorer.figures.reader_errors import ReaderErrors
from explorer.figures.view import update
from explorer.panels.kit.words import tag
from explorer.strings import Strings
from explorer.values import ChannelGroup

if TYPE_CHECKING:
    from explorer.evaluate.worker import LatestWins
    from explorer.repair.errors import Errors
    from explorer.session import Session


@dataclass(frozen=True)
class _Wish:
    """A group, and the order in which its units stay."""

    group: str
    order: tuple[int, ...]


class ErrorCurve:
    """The figure `view`, and the worker thread that fills it.

    `told()` is called on the worker thread when there is something new to render.
    """

    def __init__(
        self, session: "Session", strings: Strings, told: Callable[[], None], scale: float = 1.0
    ) -> None:
        self._session, self._strings, self._told, self._scale = session, strings, told, scale
        self.view = reader_errors.build(scale)
        self._wish: _Wish | None = None
        self._found: tuple[_Wish, Errors] | None = None
        self._failed: _Wish | None = None
        self._worker: LatestWins[_Wish, Errors] | None = None

    def render(self, group: ChannelGroup | None) -> None:
        """Show a prunable group at the plan's width, and have the worker do what is not known of it."""
        wish = None if self._without(group) else self._wanted(group)
        if wish is not None and wish != self._wish:
            self._ask(wish)
        self._wish = wish
        update(self.view, reader_errors.columns(*self._shown(group), self._scale))

    def _without(self, group: ChannelGroup | None) -> str:
        """Why there is nothing to show of the group; "" if there is."""
        session, say, data = self._session, self._strings, self._session.network.data
        if group is None or not group.prunable:
            return say("layer_all_stay")
        if session.scores is None or group.id not in session.scores.by_group:
            return say("layer_no_scores")
        return say("layer_error_no_images") if data is None or data.train is None else ""

    def _wanted(self, group: ChannelGroup | None) -> _Wish | None:
        """What is kept first, each part from the highest score down: a drag goes through these widths."""
        scores = self._session.scores
        if group is None or scores is None:
            return None
        order = np.lexsort((-scores.by_group[group.id], ~self._session.plan.keep[group.id]))
        return _Wish(group.id, tuple(order.tolist()))

    def _ask(self, wish: _Wish) -> None:
        if self._worker is None:
            from explorer.evaluate.worker import LatestWins

            self._worker = LatestWins(self._work, self._tell, self._report)
        self._worker.submit(wish)

    def _work(self, wish: _Wish, publish: Callable[["Errors"], None], check: Callable[[], None]) -> None:
        from explorer.repair.errors import errors_of

        session = self._session
        observed = session.observed(check)
        group, order = session.graph.group(wish.group), np.array(wish.order)
        publish(errors_of(session.network.model, session.graph, group, order, observed, check))

    def _tell(self, wish: _Wish, found: "Errors") -> None:
        self._found = wish, found
        self._told()

    def _report(self, wish: _Wish, error: BaseException) -> None:
        self._failed = wish
        self._session.report(error)
        self._told()

    @property
    def _errors(self) -> "Errors | None":
        """What is known of what is shown."""
        return self._found[1] if self._found is not None and self._found[0] == self._wish else None

    def _shown(self, group: ChannelGroup | None) -> tuple[ReaderErrors | None, Strings, str]:
        """What the chart shows, or why it shows nothing."""
        say, found = self._strings, self._errors
        if message := self._without(group):
            return None, say, message
        if found is None:
            failed = self._wish is not None and self._failed == self._wish
            return None, say, say("layer_error_failed" if failed else "layer_error_counting")
        if group is None or not found.layers:
            return None, say, say("layer_error_no_layers")
        return ReaderErrors(found.cut, found.refitted, self._session.plan.widths[group.id]), say, ""

    def _readers(self, found: "Errors") -> str:
        if len(found.layers) == 1:
            return found.layers[0]
        return self._strings("layer_error_several", count=len(found.layers))

    def caption(self) -> str:
        """Whose errors these are, as HTML; in the tooltip which layers, and why others are left out."""
        say, found = self._strings, self._errors
        if found is None or not found.layers:
            return tag("pe-soft", say("layer_error_caption_none"), say("layer_chart_error_help"))
        words = say("layer_error_caption", name=found.layers[0])
        if len(found.layers) > 1:
            words = say("layer_error_caption_several", count=len(found.layers))
        more = [say("layer_chart_error_help"), say("layer_error_of", names=", ".join(found.layers))]
        more += [say("layer_error_left_out", reason=reason) for reason in found.left_out]
        return tag("pe-soft pe-cut-off", words, "\n".join(more))

    def sentences(self, group: ChannelGroup | None) -> list[str]:
        """The chart in words, for screen readers."""
        say, found = self._strings, self._errors
        shown, _say, message = self._shown(group)
        said = reader_errors.describe(self._readers(found) if found else "", shown, say, message)
        reasons = found.left_out if found else ()
        return said + [say("layer_error_left_out", reason=reason) for reason in reasons]

    def idle(self, timeout: float | None = None) -> bool:
        """Wait until the worker has nothing to do; False if that took longer than `timeout` seconds."""
        return self._worker is None or self._worker.idle(timeout)

    def close(self) -> None:
        """End the worker thread."""
        if self._worker is not None:
            self._worker.close()
