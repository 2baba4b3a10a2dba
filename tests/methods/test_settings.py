"""Declared settings: what they accept, what type they come to, what they refuse."""

from dataclasses import dataclass

import numpy as np
import pytest

import explorer
from explorer.methods import METHODS
from explorer.methods.settings import checked, choice, declared, number, share, whole


@dataclass(frozen=True)
class Few:
    part: float = share(0.4, low=0.1, shown=True)
    count: int = whole(3, low=1)
    rate: float = number(0.5, low=0)
    kind: str = choice("one", "other")


def test_what_is_declared_is_read_back() -> None:
    assert [(each.name, each.kind, each.default, each.shown) for each in declared(Few)] == [
        ("part", "share", 0.4, True),
        ("count", "whole", 3, False),
        ("rate", "number", 0.5, False),
        ("kind", "choice", "one", False),
    ]
    assert declared(Few)[3].choices == ("one", "other")


def test_equal_values_come_to_one_of_the_settings_type() -> None:
    plain = checked("few", Few, {"part": 1.0, "count": 5, "rate": 2.0})
    for part, count, rate in ((1, np.int64(5), 2), (np.float64(1), 5, np.float32(2))):
        same = checked("few", Few, {"part": part, "count": count, "rate": rate})
        assert same == plain
        assert [type(value) for value in (same.part, same.count, same.rate)] == [float, int, float]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("part", 0.05, "part must be a number from 0.1 to 1, not 0.05; 0.4 is the usual one"),
        ("part", float("nan"), "part must be a number"),
        ("part", True, "part must be a number"),
        ("part", "0.5", "part must be a number"),
        ("part", None, "part must be a number"),
        ("count", 0, "at least 1"),
        ("count", 2.0, "must be a whole number"),
        ("count", 2**70, "must be a whole number"),
        ("rate", 10**400, "rate must be a number of at least 0"),
        ("rate", float("inf"), "rate must be a number of at least 0"),
        ("kind", "third", "one, other"),
        ("kind", 1, "one, other"),
        ("tempo", 1, "no setting of few 'tempo'"),
    ],
)
def test_what_is_none_is_refused(name: str, value: object, message: str) -> None:
    with pytest.raises(explorer.ExplorerError, match=message):
        checked("few", Few, {name: value})


@pytest.mark.parametrize("name", METHODS)
def test_every_methods_own_defaults_are_allowed(name: str) -> None:
    settings = METHODS[name].settings
    defaults = {each.name: each.default for each in declared(settings)}
    assert checked(name, settings, defaults) == settings()
