"""Widths that the user's forward reads from a layer, such as `self.conv.out_channels`.

torch.fx takes them as constants, so that after a shrink the forward would compute with other numbers than the
traced network did. They are noted while it traces.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from torch import nn

WIDTHS = frozenset((
    "in_channels", "out_channels", "groups", "num_features", "in_features", "out_features", "num_groups",
    "num_channels", "num_parameters",
))  # fmt: skip
ENGINE = str(Path(__file__).parent)

Reads = dict[tuple[str, str], str]
"""(module, attribute) -> the user's line that read it, "" where unknown."""


def users_line(frame: FrameType | None) -> str:
    """file:line of the innermost frame outside torch, "" where that is the explorer itself."""
    while frame is not None and "/torch/" in frame.f_code.co_filename:
        frame = frame.f_back
    if frame is None or frame.f_code.co_filename.startswith(ENGINE):
        return ""
    return f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"


@contextmanager
def recorded_reads(model: nn.Module) -> Iterator[Reads]:
    """Note which widths of torch's own layers are read inside the context; the model must be a copy of ours.

    What torch's own code reads does not count: layers do so where torch.export enters them.
    """
    reads: Reads = {}
    kinds = [
        (module, type(module), _recording(type(module), name, reads))
        for name, module in model.named_modules()
        if type(module).__module__.startswith("torch.nn") and WIDTHS & vars(module).keys()
    ]
    for module, _, recording in kinds:
        module.__class__ = recording
    try:
        yield reads
    finally:
        for module, kind, _ in kinds:
            module.__class__ = kind


def _recording(kind: type[nn.Module], name: str, reads: Reads) -> type[nn.Module]:
    """A class like `kind` whose objects note when their widths are read."""

    def get(module: Any, attribute: str) -> Any:
        if attribute in WIDTHS:
            caller = sys._getframe(1)
            if "/torch/" not in caller.f_code.co_filename:  # a layer may read its own widths
                reads.setdefault((name, attribute), users_line(caller))
        return object.__getattribute__(module, attribute)

    return type(kind.__name__, (kind,), {"__module__": kind.__module__, "__getattribute__": get})
