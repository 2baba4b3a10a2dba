"""Values as JSON and arrays: what frozen dataclasses of plain types become in a file, and how they are read again.

Types say what a file must hold: every field, of its type, or the file is refused with the place where it is not.
"""

import math
import types
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")
Arrays = dict[str, NDArray[Any]]
ARRAY = "array"  # the one field of what stands for an array


def encode(value: object, arrays: Arrays, place: str = "value") -> Any:
    """JSON of a value; its arrays go into `arrays`, by where they stand.

    Takes dataclasses, mappings by text, sequences, texts, numbers (NaN as null), truth values and None.
    """
    if isinstance(value, np.ndarray):
        arrays[place] = np.ascontiguousarray(value)
        return {ARRAY: place}
    if is_dataclass(value):
        names = [each.name for each in fields(value)]
        return {name: encode(getattr(value, name), arrays, f"{place}.{name}") for name in names}
    if isinstance(value, Mapping):
        return {name: encode(each, arrays, f"{place}.{name}") for name, each in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [encode(each, arrays, f"{place}.{number}") for number, each in enumerate(value)]
    return None if isinstance(value, float) and math.isnan(value) else value


def decode(kind: type[T], value: Any, arrays: Mapping[str, NDArray[Any]], place: str = "value") -> T:
    """The value of a JSON that `encode` made. Raises ValueError, saying where, for what should not be there."""
    found: Any = _decode(kind, value, arrays, place)
    return found


def _decode(kind: Any, value: Any, arrays: Mapping[str, NDArray[Any]], place: str) -> Any:
    origin, within = get_origin(kind), get_args(kind)
    if kind in (Any, object):
        return value
    if origin is types.UnionType and type(None) in within:
        return None if value is None else _decode(within[0], value, arrays, place)
    if origin is np.ndarray:
        if not isinstance(value, dict) or value.get(ARRAY) not in arrays:
            raise _unlike("an array", value, place)
        return arrays[value[ARRAY]]
    if origin is tuple:
        if not isinstance(value, list) or (within[-1] is not ... and len(value) != len(within)):
            raise _unlike("a list" if within[-1] is ... else f"a list of {len(within)}", value, place)
        kinds = [within[0]] * len(value) if within[-1] is ... else within
        return tuple(
            _decode(each, item, arrays, f"{place}.{number}")
            for number, (each, item) in enumerate(zip(kinds, value, strict=True))
        )
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(value, dict):
            raise _unlike("an object", value, place)
        return {name: _decode(within[1], each, arrays, f"{place}.{name}") for name, each in value.items()}
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        names = [each.name for each in fields(kind)]
        if not isinstance(value, dict) or set(value) != set(names):
            raise _unlike(f"the fields {', '.join(names)}", ", ".join(value or ()), place)
        return kind(  # type: ignore[operator]
            **{name: _decode(hints[name], value[name], arrays, f"{place}.{name}") for name in names}
        )
    if kind is float and value is None:
        return math.nan
    known = {float: int | float, int: int, str: str, bool: bool}[kind]
    if not isinstance(value, known) or (isinstance(value, bool) and kind is not bool):
        raise _unlike(kind.__name__, value, place)
    return kind(value)


def _unlike(expected: str, found: object, place: str) -> ValueError:
    return ValueError(f"{place}: expected {expected}, found {str(found)[:200]}")
