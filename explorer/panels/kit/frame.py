"""What stands in the cell's output until the dashboard does: its frame, and what is being done.

torch takes seconds to load, Bokeh another half: this module needs neither.
"""

from functools import cache
from html import escape
from pathlib import Path
from types import TracebackType

from IPython import get_ipython
from IPython.display import HTML, DisplayHandle, display

from explorer.strings import Strings


class Frame:
    """A context: shows `title` in a frame of the dashboard's size, and takes it away at the end.

    Outside a notebook nothing is shown.
    """

    def __init__(self, strings: Strings, title: str, scale: float) -> None:
        self._strings, self._title, self._scale = strings, title, scale
        self._handle: DisplayHandle | None = None

    def __enter__(self) -> "Frame":
        if hasattr(get_ipython(), "kernel"):
            self._handle = display(HTML(self._html("")), display_id=True)
        return self

    def stage(self, key: str) -> None:
        """Say what is being done; `key` is of the strings."""
        if self._handle is not None:
            self._handle.update(HTML(self._html(self._strings(key))))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._handle is not None:
            self._handle.update(HTML(""))

    def _html(self, stage: str) -> str:
        return (
            f'<style>{_rules()}</style><div class="pe-frame" style="--pe:{self._scale}"><b>{escape(self._title)}</b>'
            f'<div role="status" aria-live="polite"><i></i>{escape(stage)}</div></div>'
        )


@cache
def _rules() -> str:
    return (Path(__file__).parents[1] / "css" / "frame.css").read_text("utf-8")
