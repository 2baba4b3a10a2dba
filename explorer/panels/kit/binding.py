"""How a panel hangs on the session: renders that run on any thread, gestures whose errors reach the status line."""

import logging
import operator
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from traitlets import HasTraits

from explorer.errors import ExplorerError

if TYPE_CHECKING:
    from explorer.session import Session

log = logging.getLogger(__name__)


class Binding:
    """Connects one panel's widgets with the session.

    A *render* reads the session and sets widgets. Renders are serial and always read the latest traits, so
    it does not matter which thread's change comes last. A *gesture* calls the session; it holds no lock of
    ours, because the session may hold its own while it tells us of changes. A widget that a render sets makes
    no gesture.
    """

    def __init__(self, session: "Session") -> None:
        self._session = session
        self._lock = threading.RLock()
        self._renderer: int | None = None
        self._renders: list[Callable[[], None]] = []
        self._active = True
        self._depth = 0
        self._failed: list[Exception] = []

    def render(self, function: Callable[[], None], *traits: str) -> None:
        """Run `function` now and after each change of the session's traits; once for all that change together."""
        self._renders.append(function)
        seen: list[Any] = []

        def changed(_change: object = None) -> None:
            if not self._active:
                return
            with self._rendering():
                now = [getattr(self._session, trait) for trait in traits]
                if len(seen) == len(now) and all(map(operator.is_, seen, now)):
                    return
                seen[:] = now
                self._run(function)

        self._session.observe(changed, list(traits))
        changed()

    @property
    def active(self) -> bool:
        """Whether renders run. A pane that is not seen needs none; when it is shown again, all run."""
        return self._active

    @active.setter
    def active(self, active: bool) -> None:
        self._active = active
        if active:
            self.refresh()

    def gesture(self, widget: HasTraits, trait: str, function: Callable[[Any], None]) -> None:
        """Run `function(new value)` when a person changes the widget's trait."""
        widget.observe(lambda change: self.act(function, change["new"]), trait)

    def act(self, function: Callable[..., None], *arguments: object) -> None:
        """Run a gesture, unless one of our own renders caused it. If it fails, widgets show the session again."""
        if self._renderer == threading.get_ident():
            return
        if not self._guarded(function, *arguments):
            self.refresh()

    def refresh(self) -> None:
        """Run all renders: something of the panel's own changed that no trait tells of."""
        for render in self._renders:
            with self._rendering():
                self._run(render)

    @contextmanager
    def _rendering(self) -> Iterator[None]:
        """Renders one after the other. What failed is told without our lock: the session's comes before it."""
        with self._lock:
            self._depth += 1
            try:
                yield
            finally:
                self._depth -= 1
                failed: list[Exception] = []
                if not self._depth:
                    failed, self._failed = self._failed, []
        for error in failed:
            self._session.report(error)

    def _run(self, function: Callable[[], None]) -> None:
        outer, self._renderer = self._renderer, threading.get_ident()
        try:
            function()
        except Exception as error:
            if not isinstance(error, ExplorerError):
                log.exception("A panel failed")
            self._failed.append(error)
        finally:
            self._renderer = outer

    def _guarded(self, function: Callable[..., None], *arguments: object) -> bool:
        """An exception in a widget's callback would be seen by nobody: put it into the status line."""
        try:
            function(*arguments)
        except Exception as error:
            if not isinstance(error, ExplorerError):
                log.exception("A panel failed")
            self._session.report(error)
            return False
        return True


class Switched(Binding):
    """The binding of a tab with several panes: where it sleeps or wakes, `wake()` has the pane that is shown follow."""

    def __init__(self, session: "Session", wake: Callable[[], None]) -> None:
        self._wake = wake
        super().__init__(session)

    @property
    def active(self) -> bool:
        return self._active

    @active.setter
    def active(self, active: bool) -> None:
        self._active = active
        self._wake()
