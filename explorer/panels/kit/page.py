"""What only the page itself can do: keep keys inside the dashboard, and tell when a pointer is held down in it."""

from collections.abc import Sequence

from bokeh.model import Model
from bokeh.models import ColumnDataSource, CustomJS

from explorer.strings import Strings


def keys_script(strings: Strings, figures: Sequence[Model]) -> CustomJS:
    """A script for `document_ready`: keys pressed in the figures' dashboard never reach JupyterLab.

    Measured: with a widget focused, `d d` deletes the notebook's cell. Lumino looks for the attribute from the
    focused element outwards and stops where a shortcut's selector matches, which in Notebook 7 is that element:
    so it gets the attribute too. Other listeners get no event. The root takes the focus of a click on anything that
    is not a control; figures, which have no keys, are not in the tab order. Screen readers and line breaks get to
    know the language of the texts. Tooltips hang on the page's body: those of figures that are no more on the page
    are put away, or they would stay for good.
    """
    texts = {"keep": strings("keep"), "language": strings.language}
    return CustomJS(args={**texts, "figures": list(figures)}, code=IN_DASHBOARD + _KEYS)


# `inDashboard(figure, then)` calls `then(root)` with the root of the figure's dashboard when its controls are on
# the page: Notebook 7 draws figures before, and widgets come in any order. It gives up when the figure is gone.
IN_DASHBOARD = """
const CONTROLS = [".pe-tabs button", ".pe-keep .noUi-handle", ".pe-undo", ".pe-redo"]

const inDashboard = (figure, then) => {
  if (figure.document == null) return
  const root = Bokeh.index.find_one(figure)?.root.el.closest(".pruning-explorer")
  if (root?.isConnected && CONTROLS.every((control) => root.querySelector(control))) then(root)
  else requestAnimationFrame(() => inDashboard(figure, then))
}
"""


_KEYS = """
export default ({keep, language, figures}) => {
  for (const figure of figures) {
    Bokeh.index.find_one(figure)?.canvas_view?.events_el?.removeAttribute("tabindex")
  }
  for (const tooltip of Bokeh.index.query((view) => view.model.type === "Tooltip")) {
    if (!tooltip.target?.isConnected) tooltip.model.clear()
  }
  inDashboard(figures[0], (root) => {
    root.querySelector(".pe-keep .noUi-handle").setAttribute("aria-label", keep)
    if (root.dataset.lmSuppressShortcuts) return
    root.dataset.lmSuppressShortcuts = "true"
    root.addEventListener("focusin", ({target}) => { target.dataset.lmSuppressShortcuts = "true" })
    root.lang = language
    root.tabIndex = -1
    root.addEventListener("keydown", (event) => event.stopPropagation())
  })
}
"""


def press_source() -> ColumnDataSource:
    """One row, `down`: whether a pointer is held down in the dashboard. To be heard by its document."""
    return ColumnDataSource({"down": [False]}, name="pressed")


def press_script(figure: Model, pressed: ColumnDataSource) -> CustomJS:
    """A script for `document_ready`: writes to `pressed` when a pointer goes down anywhere in the figure's
    dashboard and when it is let go, wherever that is.

    A release waits for 200 ms, since what a slider was moved to last may still be on its way.
    """
    return CustomJS(args={"figure": figure, "pressed": pressed}, code=_PRESS)


_PRESS = """
export default ({figure, pressed}) => {
  if (pressed.listening) return
  pressed.listening = new AbortController()
  let letting_go = null
  const say = (down) => {
    clearTimeout(letting_go)
    letting_go = null
    if (pressed.data.down[0] !== down) pressed.data = {down: [down]}
  }
  const on = (name, listener) => {
    const checked = (event) => {
      if (figure.document == null) pressed.listening.abort()
      else listener(event)
    }
    document.addEventListener(name, checked, {capture: true, signal: pressed.listening.signal})
  }
  on("pointerdown", (event) => {
    const root = Bokeh.index.find_one(figure)?.el?.closest(".pruning-explorer")
    const inside = root != null && event.composedPath().includes(root)
    if (inside && letting_go != null) say(false)
    if (inside) say(true)
  })
  for (const name of ["pointerup", "pointercancel"]) {
    on(name, () => {
      if (pressed.data.down[0]) letting_go = setTimeout(() => say(false), 200)
    })
  }
}
"""
