"""The dashboard's look: our own colours for what has a meaning, the rules in `css/` for the rest.

The rules keep the dashboard within 848 x 496 px at scale 1; surfaces and text follow JupyterLab's theme.
"""

from functools import cache
from pathlib import Path

from explorer.figures.palette import DARK, LIGHT

_ERROR = {"light": "#b54708", "dark": "#ff9b57"}
_READY = {"light": "#009e73", "dark": "#2fc08f"}


def scale_class(scale: float) -> str:
    """The CSS class that a dashboard's root carries besides `pruning-explorer`."""
    return f"pe-scale-{round(scale * 100)}"


def stylesheet(scale: float = 1.0) -> str:
    """A <style> element for one dashboard; every size is a multiple of `--pe`, the scale."""
    root = f".{scale_class(scale)}"
    light = _rule(root, LIGHT, "light")
    dark = _rule(f'[data-jp-theme-light="false"] {root}', DARK, "dark")
    return f"<style>{light}{dark}{root}{{--pe:{scale}}}{_rules()}</style>"


def _rule(selector: str, table: dict[str, str], theme: str) -> str:
    colours = "".join(f"--pe-{role}:{value};" for role, value in table.items())
    return f"{selector}{{{colours}--pe-error:{_ERROR[theme]};--pe-ready:{_READY[theme]}}}"


@cache
def _rules() -> str:
    """All panels' rules; `base.css` first, so that theirs win."""
    files = sorted(
        (Path(__file__).parents[1] / "css").glob("*.css"), key=lambda file: (file.stem != "base", file.stem)
    )
    return "\n".join(file.read_text("utf-8") for file in files)
