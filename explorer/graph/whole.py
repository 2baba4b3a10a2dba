"""Functions of packages that are not imported here, which a trace takes whole, however the user's code came by them.

A name may be imported into any module, or kept in a closure, a dictionary or a partial, so that no search for it is
complete. For the time of a trace the functions themselves are given other code, which hands their calls over.
"""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import CodeType, FunctionType
from typing import Any

WHOLE = {
    "einops.einops": ("rearrange", "reduce", "repeat"),
    "torchvision.ops.deform_conv": ("deform_conv2d",),
}

Receive = Callable[[Any, Callable[..., Any], Any, Any], Any]
"""(the function, one that computes what it does, args, kwargs) -> what is returned."""

_handed: Any = None  # found in the globals of the function that has this code, under a name of its own


def _standing_in(*args: Any, **kwargs: Any) -> Any:
    return _handed(*args, **kwargs)


@contextmanager
def handed_over(receive: Receive) -> Iterator[None]:
    """Calls of this thread go to `receive` meanwhile; those of others are answered as ever."""
    thread = threading.get_ident()
    replaced: list[tuple[FunctionType, CodeType, str, FunctionType]] = []

    def answered(function: Any, computed: Any, /, *args: Any, **kwargs: Any) -> Any:
        if threading.get_ident() != thread:
            return computed(*args, **kwargs)
        return receive(function, computed, args, kwargs)

    try:
        for home, names in WHOLE.items():
            for name in names:
                function = getattr(sys.modules.get(home), name, None)
                if not isinstance(function, FunctionType) or function.__closure__:
                    continue
                code, key = function.__code__, f"_handed_{name}"
                computed = FunctionType(code, function.__globals__, name, function.__defaults__)
                computed.__kwdefaults__ = function.__kwdefaults__
                function.__globals__[key] = partial(answered, function, computed)
                replaced.append((function, code, key, computed))
                function.__code__ = _standing_in.__code__.replace(co_names=(key,))
        yield
    finally:
        for function, code, key, computed in replaced:
            function.__code__ = code
            function.__globals__[key] = computed  # another thread may be about to call it
