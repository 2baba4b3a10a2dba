"""What the controls cannot do as ipywidgets, as a script of the page: shortcuts, popovers, pressed states."""

from bokeh.model import Model
from bokeh.models import CustomJS

from explorer.panels.kit.page import IN_DASHBOARD
from explorer.strings import Strings


def controls_script(strings: Strings, figure: Model) -> CustomJS:
    """A script for `document_ready` of a figure of the dashboard.

    Ctrl+Z and Ctrl+Shift+Z press undo and redo, except where text is typed; Escape and a press elsewhere close
    popovers, and a popover that closes with the focus in it gives it back to its button. Toggles and tabs tell
    screen readers whether they are pressed, which ipywidgets shows by colour only. The root stays when another
    network is shown: what it listens to is prepared once, what its new parts are called each time.
    """
    labels = {name: strings(name) for name in ("undo", "redo", "tabs", "after")}
    return CustomJS(args={"figure": figure, **labels}, code=IN_DASHBOARD + _CONTROLS)


_CONTROLS = """
const TYPED = "textarea, input:not([type=checkbox])"

const tell = (root) => {
  for (const button of root.querySelectorAll("button.widget-toggle-button")) {
    const on = String(button.classList.contains("mod-active"))
    const opener = button.matches(".pe-opener") ? "aria-expanded" : "aria-pressed"
    const name = button.closest(".pe-tabs") ? "aria-selected" : opener
    if (button.getAttribute(name) !== on) button.setAttribute(name, on)
  }
  const shut = document.activeElement?.closest(".pe-popover.pe-shut")
  if (shut != null && root.contains(shut)) shut.parentElement.querySelector(".pe-opener").focus()
}

const name = (root, {undo, redo, tabs, after}) => {
  root.querySelector(".pe-undo").setAttribute("aria-label", undo)
  root.querySelector(".pe-redo").setAttribute("aria-label", redo)
  const list = root.querySelector(".pe-tabs button").parentElement
  list.setAttribute("role", "tablist")
  list.setAttribute("aria-label", tabs)
  for (const tab of list.children) tab.setAttribute("role", "tab")
  const choices = root.querySelector(".pe-choices")
  choices.setAttribute("role", "group")
  choices.setAttribute("aria-label", after)
  for (const group of root.querySelectorAll(".widget-toggle-buttons:not(.pe-tabs)")) {
    group.setAttribute("role", "group")
    group.setAttribute("aria-label", group.querySelector("label")?.innerText ?? "")
  }
}

const prepare = (root) => {
  const press = (button) => root.querySelector(button)?.click()
  const close = (spared) => {
    for (const opener of root.querySelectorAll(".pe-opener.mod-active")) {
      if (!opener.parentElement.contains(spared)) opener.click()
    }
  }
  root.addEventListener("keydown", (event) => {
    if (event.key === "Escape") close(null)
    const undoes = (event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z"
    if (!undoes || event.target.closest(TYPED)) return
    event.preventDefault()
    press(event.shiftKey ? ".pe-redo" : ".pe-undo")
  })
  root.addEventListener("pointerdown", (event) => close(event.target))
  const watch = new MutationObserver(() => tell(root))
  watch.observe(root, {subtree: true, childList: true, attributes: true, attributeFilter: ["class"]})
  tell(root)
}

export default ({figure, ...labels}) => {
  inDashboard(figure, (root) => {
    name(root, labels)
    if (root.dataset.peControls) return
    root.dataset.peControls = "true"
    prepare(root)
  })
}
"""
