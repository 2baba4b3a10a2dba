"""What a forward reads of modules while it is traced, and the trace takes as constants.

Widths, such as `self.conv.out_channels`: after a shrink the forward would compute with other numbers than the
traced network did. And `self.training`: where no one reads it, the training forward is that of eval.
"""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from types import CodeType, FrameType
from typing import Any

from torch import nn

WIDTHS = frozenset((
    "in_channels", "out_channels", "groups", "num_features", "in_features", "out_features", "num_groups",
    "num_channels", "num_parameters",
))  # fmt: skip
ENGINE = __file__.rpartition("/")[0]

Widths = dict[tuple[str, str], str]
"""(module, attribute) -> the user's line that read it, "" where unknown."""


@dataclass
class Reads:
    """What was read: widths of torch's layers, and whether any module of the user's asked for its mode."""

    widths: Widths = field(default_factory=dict)
    training: bool = False


@lru_cache(maxsize=4096)
def _is_torchs(code: CodeType) -> bool:
    return "/torch/" in code.co_filename or code.co_name == "call_module"


def users_line(frame: FrameType | None) -> str:
    """file:line of the innermost frame outside torch and its tracer, "" where that is the explorer itself."""
    while frame is not None and (
        "/torch/" in frame.f_code.co_filename or frame.f_code.co_name == "call_module"
    ):
        frame = frame.f_back
    if frame is None or frame.f_code.co_filename.startswith(ENGINE):
        return ""
    return f"{frame.f_code.co_filename.rpartition('/')[2]}:{frame.f_lineno}"


@contextmanager
def recorded_reads(modules: Mapping[str, nn.Module]) -> Iterator[Reads]:
    """Note what is read of modules by name inside the context; they must be a copy of ours.

    What torch's own code reads of widths does not count: layers do so where torch.export enters them.
    """
    reads = Reads()
    names: dict[int, str] = {}
    for name, module in modules.items():
        names.setdefault(id(module), name)
    kinds = {id(module): (module, type(module)) for module in modules.values()}.values()
    watching: dict[type[nn.Module], type[nn.Module]] = {}
    put = object.__setattr__  # nn.Module's own looks for tensors first
    for module, kind in kinds:
        if kind not in watching:
            watching[kind] = _watching(kind, names, reads, bool(WIDTHS & vars(module).keys()))
        put(module, "__class__", watching[kind])
    try:
        yield reads
    finally:
        for module, kind in kinds:
            put(module, "__class__", kind)


def _watching(
    kind: type[nn.Module], names: dict[int, str], reads: Reads, has_widths: bool
) -> type[nn.Module]:
    """A class like `kind` whose objects note what is read of them; `kind` itself for torch's without widths."""
    if not kind.__module__.startswith("torch.nn"):
        return type(kind.__name__, (kind,), {"__module__": kind.__module__, "training": _mode(reads)})
    if not has_widths:
        return kind

    def get(module: Any, attribute: str) -> Any:
        if attribute in WIDTHS:
            caller = sys._getframe(1)
            if "/torch/" not in caller.f_code.co_filename:  # a layer may read its own widths
                reads.widths.setdefault((names[id(module)], attribute), users_line(caller))
        return object.__getattribute__(module, attribute)

    return type(kind.__name__, (kind,), {"__module__": kind.__module__, "__getattribute__": get})


def _mode(reads: Reads) -> property:
    def get(module: Any) -> bool:
        reads.training = True
        return bool(vars(module)["training"])

    def put(module: Any, value: bool) -> None:
        vars(module)["training"] = value

    return property(get, put)
