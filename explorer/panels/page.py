"""What only the page itself can do: keep keys inside the dashboard and name the slider for screen readers."""

from collections.abc import Sequence

from bokeh.model import Model
from bokeh.models import CustomJS

from explorer.panels.strings import STRINGS


def keys_script(figures: Sequence[Model]) -> CustomJS:
    """A script for `document_ready`: keys pressed in the dashboard never reach JupyterLab.

    Measured: with a widget focused, `d d` deletes the notebook's cell. Lumino looks for the attribute,
    other listeners get no event. The root takes the focus of a click on anything that is not a control;
    figures, which have no keys, are not in the tab order. Tooltips hang on the page's body: those of figures
    that are no more on the page are put away, or they would stay for good.
    """
    return CustomJS(args={"keep": STRINGS["keep"], "figures": list(figures)}, code=_KEYS)


_KEYS = """
export default ({keep, figures}) => {
  for (const figure of figures) {
    Bokeh.index.find_one(figure)?.canvas_view?.events_el?.removeAttribute("tabindex")
  }
  for (const tooltip of Bokeh.index.query((view) => view.model.type === "Tooltip")) {
    if (!tooltip.target?.isConnected) tooltip.model.clear()
  }
  for (const root of document.querySelectorAll(".pruning-explorer")) {
    if (root.dataset.lmSuppressShortcuts) continue
    root.dataset.lmSuppressShortcuts = "true"
    root.tabIndex = -1
    root.addEventListener("keydown", (event) => event.stopPropagation())
    root.querySelector(".pe-keep .noUi-handle")?.setAttribute("aria-label", keep)
  }
}
"""
