"""What a forward reads of modules and sizes while it is traced, and the trace takes as constants.

Widths, such as `self.conv.out_channels`: after a shrink the forward would compute with other numbers than the
traced network did. `self.training`: where no one reads it, the training forward is that of eval. And under
torch.export, which writes all sizes as numbers, sizes of tensors.
"""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.overrides import TorchFunctionMode

WIDTHS = (
    "in_channels", "out_channels", "groups", "num_features", "in_features", "out_features", "num_groups",
    "num_channels", "num_parameters",
)  # fmt: skip
WATCHED = (*WIDTHS, "eps", "momentum")  # a folded batch norm has none of the latter any more
ENGINE = str(Path(__file__).parent)
TORCH = str(Path(torch.__file__).parent) + "/"
BETWEEN = ("__torch_function__", "handle_torch_function", "__len__")  # of torch.export's own modes
OURS = ("call_module", "_whole", "answered", "_standing_in")  # of our tracer, between torch and the user
CHECKING = "multi_head_attention_forward"  # compares sizes with numbers that it was given

Widths = dict[tuple[str, str], str]
"""(module, attribute) -> the user's line that read it, "" where unknown."""


@dataclass
class Reads:
    """What was read: numbers of layers, whether any module of the user's asked for its mode, and sizes.

    `sizes` maps (shape of a tensor, dimension) to the user's line. `given` are the numbers that can be followed.
    `noting` ends with the trace: what the explorer then does with the numbers is no reading of the user's. It
    pauses where a function says by itself which sizes matter (graph/exported).
    """

    widths: Widths = field(default_factory=dict)
    training: bool = False
    noting: bool = True
    sizes: dict[tuple[tuple[int, ...], int], str] = field(default_factory=dict)
    given: list["Width"] = field(default_factory=list)


class Width(int):
    """A number that the forward read from a module, which knows where: it can be followed to where it is used.

    Its value is `times * number // parts` of the attribute's. Products with whole numbers and divisions without a
    rest can be followed too; any other use makes a plain number of it, and is noted among the widths read.
    """

    source: tuple[str, str]  # (module, attribute)
    line: str
    times: int
    parts: int
    root: "Width"  # the number as it was read, of which this is a product or a share
    followed: bool  # of a root: that it was used as a size of channels
    _reads: Reads

    def __new__(
        cls, value: int, source: tuple[str, str], line: str, reads: Reads, times: int = 1, parts: int = 1
    ) -> "Width":
        width = super().__new__(cls, value)
        width.source, width.line, width.times, width.parts, width._reads = source, line, times, parts, reads
        width.root, width.followed = width, False
        return width

    def __reduce__(self) -> tuple[Any, ...]:  # a copy of it is a plain number
        return int, (int(self),)

    def note(self) -> None:
        """It is used in a way that the explorer cannot follow."""
        if self._reads.noting:
            self._reads.widths.setdefault(self.source, self.line)

    def _scaled(self, value: int, times: int, parts: int) -> "Width":
        width = Width(value, self.source, self.line, self._reads, self.times * times, self.parts * parts)
        width.root = self.root
        return width

    def __mul__(self, other: Any) -> Any:
        if type(other) is int and other > 0 and self.parts == 1:
            return self._scaled(int.__mul__(self, other), other, 1)
        return _noted_operation("__mul__")(self, other)

    __rmul__ = __mul__

    def __floordiv__(self, other: Any) -> Any:
        if type(other) is int and other > 0 and int.__mod__(self, other) == 0:
            return self._scaled(int.__floordiv__(self, other), 1, other)
        return _noted_operation("__floordiv__")(self, other)

    __hash__ = int.__hash__


def _noted_operation(name: str) -> Any:
    plain = getattr(int, name)

    def operation(self: Width, *others: Any) -> Any:
        if not any(isinstance(other, fx.Proxy) for other in others):  # whose own operator is asked then
            self.note()
        return plain(self, *others)

    return operation


for _name in (
    "add", "radd", "sub", "rsub", "rfloordiv", "truediv", "rtruediv", "mod", "rmod", "divmod", "rdivmod", "pow", "rpow",
    "neg", "abs", "int", "index", "round", "trunc", "floor", "ceil",
    "format", "str", "repr", "eq", "ne", "lt", "le", "gt", "ge", "bool", "float", "and", "or", "xor",
    "lshift", "rshift", "invert",
):  # fmt: skip
    setattr(Width, f"__{_name}__", _noted_operation(f"__{_name}__"))


@lru_cache(maxsize=4096)
def is_torchs(code: CodeType) -> bool:
    """Whether code is torch's, or our tracer's between torch and the user."""
    return code.co_filename.startswith(TORCH) or code.co_name in OURS


def users_line(frame: FrameType | None) -> str:
    """file:line of the innermost frame outside torch and its tracer, "" where that is the explorer itself."""
    while frame is not None and is_torchs(frame.f_code):
        frame = frame.f_back
    if frame is None or frame.f_code.co_filename.startswith(ENGINE):
        return ""
    return f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"


@contextmanager
def recorded_reads(modules: Mapping[str, nn.Module], followed: bool = False) -> Iterator[Reads]:
    """Note what is read of modules by name inside the context.

    `followed`: whole numbers, those of the user's own modules too, are given out as a `Width`, and are noted only
    where they are used in a way that cannot be followed.

    Classes get properties meanwhile, which answer for all objects as before: a subclass in their place would be
    seen by `type(module)` and by __init_subclass__. What torch's own code reads of numbers does not count. For what is
    read past the class, as in vars(self)["width"], the objects' dictionaries note it.
    """
    reads = Reads()
    names: dict[int, str] = {}
    for name, module in modules.items():
        names.setdefault(id(module), name)
    added: list[tuple[type, str]] = []
    counting = [each for each in modules.values() if any(type(value) is int for value in vars(each).values())]
    try:
        for kind in {type(module): module for module in modules.values()}.items():
            for attribute, watch in _watches(*kind, names, reads, followed):
                setattr(kind[0], attribute, watch)
                added.append((kind[0], attribute))
        for module in counting:
            module.__dict__ = _Held(vars(module), names[id(module)], reads)
        yield reads
    finally:
        reads.noting = False
        for module in counting:
            module.__dict__ = dict(dict.items(vars(module)))
        for owner, attribute in added:
            delattr(owner, attribute)


def _watches(
    kind: type[nn.Module], module: nn.Module, names: dict[int, str], reads: Reads, followed: bool
) -> Iterator[tuple[str, property]]:
    """Properties for the numbers that a class's objects hold, and for the mode of a user's class."""
    users = not kind.__module__.startswith("torch.nn")
    own = [name for name, value in vars(module).items() if type(value) is int] if users and followed else []
    for attribute in {*WATCHED, *own}:
        if attribute in vars(module) and not hasattr(kind, attribute):
            yield attribute, _number(attribute, names, reads, followed)
    if users and not hasattr(kind, "training"):
        yield "training", _mode(names, reads)


def _stored(attribute: str) -> Any:
    def put(module: Any, value: Any) -> None:
        vars(module)[attribute] = value

    return put


def _number(attribute: str, names: dict[int, str], reads: Reads, followed: bool) -> property:
    def get(module: Any) -> Any:
        try:
            value = vars(module)[attribute]
        except KeyError:
            raise AttributeError(attribute) from None
        if (name := names.get(id(module))) is not None and reads.noting:
            caller = sys._getframe(1)
            if not caller.f_code.co_filename.startswith(TORCH):  # a layer may read its own
                if followed and type(value) is int and value > 1:
                    reads.given.append(Width(value, (name, attribute), users_line(caller), reads))
                    return reads.given[-1]
                reads.widths.setdefault((name, attribute), users_line(caller))
        return value

    return property(get, _stored(attribute))


class _Held(dict[str, Any]):
    """The attributes of a module's object, which note the numbers that the user's code reads from them."""

    def __init__(self, held: dict[str, Any], name: str, reads: Reads) -> None:
        super().__init__(held)
        self._name, self._reads = name, reads

    def __reduce__(self) -> tuple[Any, ...]:  # a copy of it is a plain dictionary
        return dict, (dict(dict.items(self)),)

    def _note(self, attributes: Any) -> None:
        caller = sys._getframe(2)
        if self._reads.noting and not caller.f_code.co_filename.startswith((TORCH, ENGINE)):
            for attribute in attributes:
                if type(super().get(attribute)) is int:
                    self._reads.widths.setdefault((self._name, attribute), users_line(caller))

    def __getitem__(self, attribute: str) -> Any:
        self._note((attribute,))
        return super().__getitem__(attribute)

    def get(self, attribute: str, default: Any = None) -> Any:
        self._note((attribute,))
        return super().get(attribute, default)

    def setdefault(self, attribute: str, default: Any = None) -> Any:
        self._note((attribute,))
        return super().setdefault(attribute, default)

    def __iter__(self) -> Iterator[str]:  # else ** would not ask for the items one by one
        return super().__iter__()

    def values(self) -> Any:
        self._note(self)
        return super().values()

    def items(self) -> Any:
        self._note(self)
        return super().items()

    def copy(self) -> dict[str, Any]:
        self._note(self)
        return super().copy()


def _mode(names: dict[int, str], reads: Reads) -> property:
    def get(module: Any) -> bool:
        reads.training |= id(module) in names
        return bool(vars(module)["training"])

    return property(get, _stored("training"))


class RecordedSizes(TorchFunctionMode):
    """Notes the sizes that the user's code reads from tensors, one entry per dimension that is looked at."""

    def __init__(self, reads: Reads) -> None:
        super().__init__()
        self._reads = reads

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if not self._reads.noting:
            return result
        name = getattr(func, "__name__", "")
        if getattr(func, "__self__", None) is Tensor.shape:
            name = "shape"
        if name in ("shape", "size", "__len__", "numel", "nelement") and args:
            frame: FrameType | None = sys._getframe(1)
            while frame is not None and is_torchs(frame.f_code) and frame.f_code.co_name in BETWEEN:
                frame = frame.f_back
            if frame is not None and (not is_torchs(frame.f_code) or frame.f_code.co_name == CHECKING):
                return self._noted(name, args, kwargs or {}, result, users_line(frame))
        return result

    def _noted(self, name: str, args: Any, kwargs: Any, result: Any, line: str) -> Any:
        with torch._C.DisableTorchFunction():
            shape = tuple(int(side) for side in args[0].shape)
        if isinstance(result, tuple):
            return _Sizes(result, shape, self._reads, line)
        dims = range(len(shape))
        if name == "size":
            dim = args[1] if len(args) > 1 else kwargs["dim"]
            dims = range(dim % len(shape), dim % len(shape) + 1)
        for each in (0,) if name == "__len__" else dims:
            self._reads.sizes.setdefault((shape, each), line)
        return result


class _Sizes(tuple):  # type: ignore[type-arg]
    """A shape that notes which of its sizes are looked at."""

    def __new__(cls, sizes: Any, *_: Any) -> "_Sizes":
        return super().__new__(cls, sizes)

    def __init__(self, _sizes: Any, shape: tuple[int, ...], reads: Reads, line: str) -> None:
        self._shape, self._reads, self._line = shape, reads, line

    def _note(self, dims: Any) -> None:
        for dim in dims:
            self._reads.sizes.setdefault((self._shape, dim), self._line)

    def __getitem__(self, item: Any) -> Any:
        picked = range(len(self._shape))[item]
        self._note([picked] if isinstance(picked, int) else picked)
        return super().__getitem__(item)

    def __iter__(self) -> Iterator[Any]:
        self._note(range(len(self._shape)))
        return super().__iter__()
