"""Fields for the settings that a method declares: a widget for each, what it says, and what it can be, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ipywidgets import Dropdown, FloatText

if TYPE_CHECKING:
    from explorer.methods.settings import Setting
    from explorer.strings import Strings


def setting_field(setting: Setting, strings: Strings, method: str) -> Any:
    """The widget for a setting of a method; shares are read in percent."""
    label = f"{method}_set_{setting.name}"
    words = {"description": strings(label), "tooltip": strings(f"{label}_help")}
    if setting.kind == "choice":
        options = [(strings(f"{label}_{name}"), name) for name in setting.choices]
        return Dropdown(options=options, value=setting.default, **words)
    usual = round(100 * setting.default, 6) if setting.kind == "share" else setting.default
    return FloatText(value=usual, step=1, **words)  # without bounds, which would change what is typed


def setting_value(setting: Setting, value: Any) -> Any:
    """What a field says, as the method takes it."""
    if setting.kind == "share":
        return value / 100
    return int(value) if setting.kind == "whole" and value.is_integer() else value


def range_words(setting: Setting, strings: Strings, method: str) -> str:
    """What a setting can be, in the words and the unit of its field."""
    from explorer.methods.settings import MOST  # loads torch, which a session has loaded

    times = 100 if setting.kind == "share" else 1
    what = "whole" if setting.kind == "whole" else "number"
    words = {"name": strings(f"{method}_set_{setting.name}"), "low": f"{times * setting.low:g}"}
    if setting.high >= MOST:
        return strings(f"search_least_{what}", **words)
    return strings(f"search_range_{what}", high=f"{times * setting.high:g}", **words)
