"""Colours by role, for light and dark themes, and the script that repaints figures when the theme changes.

Hues are those of Okabe & Ito 2008 ("Color Universal Design"): blue for what is kept, orange for the
selection; of two picked images green for the first and purple for the second. Kept and removed also differ in
form (solid, dashed outline), first and second in their place, so colour never speaks alone.
"""

from typing import TypeVar

from bokeh.models import CustomJS, Model

LIGHT = {
    "paper": "#ffffff",
    "ink": "#1f2933",
    "soft": "#5f6b78",
    "line": "#d9dee4",
    "pale": "#e9eff5",
    "kept": "#0072b2",
    "cut": "#8298aa",
    "fixed": "#8b96a1",
    "chosen": "#e69f00",
    "lost": "#d55e00",
    "first": "#009e73",
    "second": "#cc79a7",
}
DARK = {
    "paper": "#111417",
    "ink": "#e6eaee",
    "soft": "#9aa7b3",
    "line": "#39424b",
    "pale": "#1e2833",
    "kept": "#56b4e9",
    "cut": "#6f879b",
    "fixed": "#77838f",
    "chosen": "#e69f00",
    "lost": "#d55e00",
    "first": "#009e73",
    "second": "#cc79a7",
}

M = TypeVar("M", bound=Model)


def paint(model: M, **roles: str) -> M:
    """Give properties of a model the colour of a role, and note the role so that the theme can change it."""
    for name, role in roles.items():
        setattr(model, name, LIGHT[role])
    model.tags = [*model.tags, *(f"{name}={role}" for name, role in roles.items())]
    return model


def theme_script(root: Model) -> CustomJS:
    """A script for `document_ready`: paints all below `root` for JupyterLab's theme, now and when it changes.

    The colours stay in the browser (`silent`): they are nobody's state. A page without JupyterLab's mark
    follows the reader's preference of the system.
    """
    painted = [model for model in root.references() if any("=" in str(tag) for tag in model.tags)]
    return CustomJS(args={"root": root, "painted": painted, "light": LIGHT, "dark": DARK}, code=_THEME)


_THEME = """
export default ({root, painted, light, dark}) => {
  const get = (table, key) => table instanceof Map ? table.get(key) : table[key]
  const repaint = () => {
    const mark = document.body.dataset.jpThemeLight
    const is_dark = mark == null ? matchMedia("(prefers-color-scheme: dark)").matches : mark == "false"
    const table = is_dark ? dark : light
    for (const model of painted) {
      const changes = {}
      for (const tag of model.tags) {
        const [property, role] = String(tag).split("=")
        if (role != null) changes[property] = get(table, role)
      }
      model.setv(changes, {silent: true})
      model.change.emit()
    }
  }
  repaint()
  const observer = new MutationObserver(() => {
    if (root.document == null) observer.disconnect()
    else repaint()
  })
  observer.observe(document.body, {attributes: true, attributeFilter: ["data-jp-theme-light"]})
}
"""
