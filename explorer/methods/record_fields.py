"""What the JSON of a recorded run must hold, field by field, and the values that it becomes."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from explorer.chains import Chain, ChainRun, Comparison, Contender, OrderCurve, Recorded
from explorer.records import TrainingCost

FORMAT = 1
Reader = Callable[[Any], Any]


def recorded_of(content: Mapping[str, Any]) -> Recorded:
    """A recorded run of its JSON. Raises ValueError, saying where, for anything that should not be there or is not."""
    read = _fields(
        format=_whole, graph=_text, weights=_text, command=_text, run=_RUN, order=_list(_ORDER),
        comparisons=_list(_COMPARISON),
    )(content)  # fmt: skip
    return Recorded(
        _run(read["run"], read["graph"]),
        tuple(OrderCurve(**each) for each in read["order"]),
        tuple(_comparison(each) for each in read["comparisons"]),
        read["command"],
    )


def _run(read: dict[str, Any], graph_key: str) -> ChainRun:
    frames, states = (
        len(read["steps"]),
        sum((size - least) // step for _, size, least, step in read["chains"]),
    )
    series = {**read["losses"], "shares": read["shares"], "alphas": read["alphas"]}
    for name, values in series.items():
        if not frames or len(values) != frames:
            raise ValueError(f"{name} is of {len(values)} frames where there are {frames} steps")
    if any(len(row) != states for row in read["alphas"]):
        raise ValueError(f"a frame of alphas is not of the {states} states that the chains have")
    chains, start = [], 0
    for group, size, least, step in read["chains"]:
        end = start + (size - least) // step
        chains.append(
            Chain(group, size, least, step, np.array(read["alphas"][0][start:end], dtype=np.float64))
        )
        start = end
    alphas = np.array(read["alphas"], dtype=np.float32).reshape(frames, states)
    losses = {
        name: np.array([math.nan if value is None else value for value in values], dtype=np.float32)
        for name, values in read["losses"].items()
    }
    own = {"chains": tuple(chains), "alphas": alphas, "losses": losses}
    return ChainRun(**{**read, **own, "training": TrainingCost(**read["training"])}, graph_key=graph_key)


def _comparison(read: dict[str, Any]) -> Comparison:
    return Comparison(**{**read, "contenders": tuple(Contender(**each) for each in read["contenders"])})


# ---- readers: each returns the value, or raises ValueError -----------------------------------------------


def _unlike(expected: str, found: object) -> ValueError:
    return ValueError(f"expected {expected}, found {str(found)[:200]}")


def _fields(**readers: Reader) -> Reader:
    """An object with exactly these fields."""

    def read(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict) or set(value) != set(readers):
            found = ", ".join(map(repr, value)) if isinstance(value, dict) else value
            raise _unlike(f"the fields {', '.join(readers)}", found)
        return {name: _named(name, reader, value[name]) for name, reader in readers.items()}

    return read


def _table(reader: Reader) -> Reader:
    """An object with any fields, all of one kind."""

    def read(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise _unlike("an object", value)
        return {name: _named(name, reader, each) for name, each in value.items()}

    return read


def _list(reader: Reader) -> Reader:
    """A list as a tuple, all of one kind."""

    def read(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise _unlike("a list", value)
        return tuple(reader(each) for each in value)

    return read


def _row(*readers: Reader) -> Reader:
    """A list of fixed length as a tuple."""

    def read(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list) or len(value) != len(readers):
            raise _unlike(f"a list of {len(readers)}", value)
        return tuple(reader(each) for reader, each in zip(readers, value, strict=True))

    return read


def _one_of(*names: str) -> Reader:
    def read(value: Any) -> str:
        if not isinstance(value, str) or value not in names:
            raise _unlike(f"one of {', '.join(names)}", value)
        return value

    return read


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise _unlike("a text", value)
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _unlike("a number", value)
    return float(value)


def _number_or_none(value: Any) -> float | None:
    return None if value is None else _number(value)


def _share(value: Any) -> float:
    if not 0 <= _number(value) <= 1:
        raise _unlike("a share between 0 and 1", value)
    return float(value)


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise _unlike("a whole number", value)
    return value


def _positive(value: Any) -> int:
    if _whole(value) == 0:
        raise _unlike("a whole number above 0", value)
    return int(value)


def _setting(value: Any) -> str | float | int | bool:
    return value if isinstance(value, str | bool | int) else _number(value)


def _named(name: str, reader: Reader, value: Any) -> Any:
    try:
        return reader(value)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


_RUN = _fields(
    network=_text,
    cost=_one_of("macs", "params"),
    target=_share,
    chains=_list(_row(_text, _positive, _positive, _positive)),
    of=_whole,
    warm_up=_whole,
    steps=_list(_whole),
    alphas=_list(_list(_number)),
    shares=_list(_number),
    losses=_table(_list(_number_or_none)),
    settings=_table(_setting),
    widths=_table(_positive),
    training=_fields(seconds=_number, macs=_whole, epoch_macs=_whole),
)
_ORDER = _fields(
    which=_one_of("first", "last", "random"),
    when=_one_of("before", "after"),
    shares=_list(_share),
    accuracy=_list(_share),
    images=_positive,
)
_COMPARISON = _fields(
    network=_text,
    target=_share,
    images=_positive,
    epochs=_positive,
    start=_one_of("scratch", "supernet"),
    contenders=_list(
        _fields(
            name=_one_of("dmcp", "uniform", "largest", "smallest"),
            share=_share,
            widths=_list(_row(_text, _positive)),
            shared=_share,
            retrained=_list(_share),
        )
    ),
)
