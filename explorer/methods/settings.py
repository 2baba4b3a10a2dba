"""What a method can be told: declared once, as fields of a frozen dataclass; checks, widgets and docs read them."""

import math
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from numbers import Real
from typing import Any, Literal

from explorer.errors import BadInput, UnknownName, require_name, require_whole

MOST = 2.0**62  # beyond it are no numbers that torch's generators and clocks take
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

    def checked(self, value: object) -> Any:
        """The value as the type that this setting has; equal values come to one.

        Raises BadInput or UnknownName unless it is one that this setting can have.
        """
        if self.kind == "choice":
            require_name(self.name, value, self.choices)
            return value
        if self.kind == "whole":
            require_whole(self.name, value, int(self.low))
        flag = isinstance(value, bool)  # which Python takes for a number
        number: Any = value if isinstance(value, Real) and not flag else math.nan
        if not self.low <= number <= self.high:
            what = "a whole number" if self.kind == "whole" else "a number"
            raise BadInput(
                f"{self.name} must be {what} {self._range}, not {value!r}; {self.default!r} is the usual one."
            )
        return int(number) if self.kind == "whole" else float(number)

    @property
    def _range(self) -> str:
        if self.high >= MOST:
            return f"of at least {self.low:g}"
        return f"from {self.low:g} to {self.high:g}"


def share(default: float, low: float = 0.0, high: float = 1.0, shown: bool = False) -> Any:
    """A field that is a share."""
    return _field("share", default, low, high, shown=shown)


def whole(default: int, low: int, high: float = MOST, shown: bool = False) -> Any:
    """A field that is a whole number."""
    return _field("whole", default, low, high, shown=shown)


def number(default: float, low: float, high: float = MOST, shown: bool = False) -> Any:
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
    for name in given:
        if name not in known:
            raise UnknownName(f"setting of {method}", name, known)
    return settings(**{name: known[name].checked(value) for name, value in given.items()})
