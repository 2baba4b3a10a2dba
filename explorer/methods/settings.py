"""What a method can be told: declared once, as fields of a frozen dataclass; checks, widgets and docs read them."""

import math
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, Literal

from explorer.errors import BadInput, UnknownName, require_name, require_whole

Kind = Literal["share", "whole", "number", "choice"]


@dataclass(frozen=True)
class Setting:
    """One setting: a share in [0, 1], a whole number, a number, or one of `choices`; all from `low` to `high`.

    `shown`: it is offered to people; the others are for code.
    """

    name: str
    kind: Kind
    default: Any
    low: float = -math.inf
    high: float = math.inf
    choices: tuple[str, ...] = ()
    shown: bool = False

    def check(self, value: object) -> None:
        """Raise BadInput or UnknownName unless the value is one that this setting can have."""
        if self.kind == "choice":
            require_name(self.name, value, self.choices)
            return
        if self.kind == "whole":
            require_whole(self.name, value, int(self.low))
        number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not number or not self.low <= value <= self.high:  # type: ignore[operator]
            what = "a whole number" if self.kind == "whole" else "a number"
            raise BadInput(
                f"{self.name} must be {what} {self._range}, not {value!r}; {self.default!r} is the usual one."
            )

    @property
    def _range(self) -> str:
        if math.isinf(self.high):
            return f"of at least {self.low:g}"
        return f"from {self.low:g} to {self.high:g}"


def share(default: float, low: float = 0.0, high: float = 1.0, shown: bool = False) -> Any:
    """A field that is a share."""
    return _field("share", default, low, high, shown=shown)


def whole(default: int, low: int, high: float = math.inf, shown: bool = False) -> Any:
    """A field that is a whole number."""
    return _field("whole", default, low, high, shown=shown)


def number(default: float, low: float, high: float = math.inf, shown: bool = False) -> Any:
    """A field that is a number."""
    return _field("number", default, low, high, shown=shown)


def choice(default: str, *others: str, shown: bool = False) -> Any:
    """A field that is one of a few names."""
    return _field("choice", default, choices=(default, *others), shown=shown)


def _field(
    kind: Kind,
    default: Any,
    low: float = -math.inf,
    high: float = math.inf,
    choices: tuple[str, ...] = (),
    shown: bool = False,
) -> Any:
    return field(
        default=default,
        metadata={"kind": kind, "low": low, "high": high, "choices": choices, "shown": shown},
    )


def declared(settings: type) -> tuple[Setting, ...]:
    """The settings that a dataclass declares, in order."""
    found = []
    for each in fields(settings):
        assert each.default is not MISSING, f"{each.name} has no default"
        found.append(Setting(each.name, default=each.default, **each.metadata))
    return tuple(found)


def checked(method: str, settings: type, given: Mapping[str, object]) -> Any:
    """An instance of the dataclass `settings` with the given values.

    Raises UnknownName for a setting that the method does not have, BadInput for a value out of range.
    """
    known = {setting.name: setting for setting in declared(settings)}
    for name, value in given.items():
        if name not in known:
            raise UnknownName(f"setting of {method}", name, known)
        known[name].check(value)
    return settings(**given)
