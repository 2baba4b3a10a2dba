"""How to make the dense network again: what an exported Python file imports and calls.

A constructor is an importable callable and literal arguments. It counts only if it was called and made the
same network: the same tensors and, with the same weights, the same answer.
"""

import ast
import functools
import importlib
import inspect
import re
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from explorer.errors import BadInput
from explorer.graph.inputs import Batch, call_model
from explorer.zoo.files import shortened

HOW = (
    'Pass constructor="package.module:Name", a class or function in a Python file, or functools.partial of it with '
    "plain numbers and strings as arguments."
)
FACTORY = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")
FACTORIES = (
    'A network that Python makes is named "package.module:name": a class or a function without arguments, in a file of '
    "the working directory or in an installed package."
)


@dataclass(frozen=True)
class Constructor:
    """`name` (with dots for what is inside a class) of the module `module`, called with literals."""

    module: str
    name: str
    args: tuple[object, ...] = ()
    kwargs: Mapping[str, object] = field(default_factory=dict)

    @property
    def import_line(self) -> str:
        """The line that makes `expression` valid, such as "from torchvision.models import resnet18"."""
        return f"from {self.module} import {self.name.partition('.')[0]}"

    @property
    def expression(self) -> str:
        """The call, such as "resnet18(num_classes=10)"."""
        given = [*map(repr, self.args), *(f"{name}={value!r}" for name, value in self.kwargs.items())]
        return f"{self.name}({', '.join(given)})"

    def build(self, how: str = HOW) -> nn.Module:
        """Import and call it; random numbers drawn on the way do not count. Raises BadInput that ends with `how`."""
        make = _imported(self.module, self.name, how)
        try:
            with torch.random.fork_rng(devices=[]):
                model = make(*self.args, **self.kwargs)
        except Exception as error:  # a user's constructor may raise anything
            raise BadInput(
                f"{self.expression} of {self.module} raised {type(error).__name__}: {error}. {how}"
            ) from error
        if not isinstance(model, nn.Module):
            raise BadInput(
                f"{self.expression} of {self.module} returned a {type(model).__name__}; expected an nn.Module. {how}"
            )
        return model


def is_factory(text: str) -> bool:
    """Whether a text has the form "package.module:name"."""
    return FACTORY.fullmatch(text) is not None


def made_by(text: str) -> tuple[nn.Module, Constructor]:
    """The network that "package.module:name" makes, and the constructor that it is.

    This imports the module, from the working directory too, and calls what has the name: the user's own code runs.
    Raises BadInput.
    """
    module, _colon, name = text.partition(":")
    constructor = Constructor(module, name)
    with _working_directory_too():
        return constructor.build(FACTORIES), constructor


@contextmanager
def _working_directory_too() -> Iterator[None]:
    """Inside, modules are looked for in the working directory first, as `python -m` does."""
    here = str(Path.cwd())
    if here in sys.path or "" in sys.path:
        yield
        return
    sys.path.insert(0, here)
    try:
        yield
    finally:
        with suppress(ValueError):  # the module took it out itself
            sys.path.remove(here)


def as_constructor(value: object) -> Constructor:
    """The constructor that a user gave: "package.module:name", a callable, or a functools.partial of one.

    Raises BadInput for what a Python file could not import or write down.
    """
    if isinstance(value, Constructor):
        return value
    if isinstance(value, str):
        module, colon, name = value.partition(":")
        if not (colon and module and name):
            raise BadInput(
                f"constructor is {value!r}; expected a module and a name with a colon between. {HOW}"
            )
        _imported(module, name, HOW)
        return Constructor(module, name)
    given = value if isinstance(value, functools.partial) else None
    args, kwargs = (given.args, dict(given.keywords)) if given else ((), {})
    value = given.func if given else value
    if isinstance(value, nn.Module) or not callable(value):
        raise BadInput(f"constructor is a {type(value).__name__}; expected what makes the network. {HOW}")
    for each in (*args, *kwargs.values()):
        if not _is_literal(each):
            raise BadInput(f"constructor gets the argument {each!r}, which Python source cannot spell. {HOW}")
    if reason := not_importable(value):
        raise BadInput(f"constructor {value!r} cannot be imported by an exported file: {reason}. {HOW}")
    return Constructor(value.__module__, getattr(value, "__qualname__", ""), args, kwargs)


def not_importable(value: object) -> str:
    """Why a class or function cannot be imported by another program; "" if it can."""
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if not module or not name:
        return "it has no module and name"
    if name.endswith("<lambda>") or "<locals>" in name:
        return f"{name} is made inside a function"
    if module == "__main__":
        return f"{name} is defined in a notebook or in the program itself; move it to a Python file"
    try:
        file = inspect.getsourcefile(inspect.unwrap(value))  # type: ignore[arg-type]
        found = _imported(module, name, HOW)
    except (TypeError, OSError, BadInput):
        return f"{module} has no source file that holds {name}"
    if file is None or not Path(file).is_file():
        return f"{module} is no file"
    return "" if found == value else f"{module}.{name} is something else now"


def require_same(constructor: Constructor, model: nn.Module, example: Batch, answer: Any) -> None:
    """Raise BadInput unless the constructor makes the same network as `model`, which answers `example` so."""
    made = constructor.build()
    if difference := _difference(made, model):
        raise BadInput(f"The constructor {constructor.expression} makes another network: {difference}")
    made.load_state_dict(model.state_dict(), assign=True)
    made.eval()
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            again = call_model(made, example)
    except Exception as error:  # a user's forward may raise anything
        raise BadInput(
            f"The network that {constructor.expression} makes cannot take the example: {type(error).__name__}: {error}."
        ) from error
    if not _same_answer(again, answer):
        raise BadInput(
            f"The constructor {constructor.expression} makes a network with the same tensors that answers "
            "differently: strides, activations or other settings differ. Pass the arguments that the network was "
            "made with, in functools.partial."
        )


def first_same(
    likely: Iterable[Constructor], model: nn.Module, example: Batch, answer: Any
) -> Constructor | None:
    """The first constructor that makes the same network as `model`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nobody asked for these calls
        for constructor in likely:
            with suppress(BadInput):
                require_same(constructor, model, example, answer)
                return constructor
    return None


def own_class(model: nn.Module, example: Batch, answer: Any) -> tuple[Constructor | None, str]:
    """The class of a module as its constructor, if it needs no arguments; else None and the reason."""
    cls = type(model)
    name = cls.__name__
    if reason := not_importable(cls):
        return None, f"The class {name} cannot be imported by an exported file: {reason}."
    try:
        needed = [
            each.name
            for each in inspect.signature(cls).parameters.values()
            if each.default is each.empty and each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
        ]
    except (TypeError, ValueError):
        needed = ["unknown arguments"]
    if needed:
        return None, f"{name} takes arguments ({shortened(needed, 5)}) that are not known. {HOW}"
    constructor = Constructor(cls.__module__, cls.__qualname__)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # nobody asked for this call
            require_same(constructor, model, example, answer)
    except BadInput as error:
        return None, str(error) if str(error).endswith(HOW) else f"{error} {HOW}"
    return constructor, ""


def _imported(module: str, name: str, how: str) -> Any:
    try:
        value: Any = importlib.import_module(module)
    except (Exception, SystemExit) as error:  # the user's module may raise anything, or be a script that ends
        raise BadInput(f"The module {module} cannot be imported: {error}. {how}") from error
    for part in name.split("."):
        if not hasattr(value, part):
            raise BadInput(f"The module {module} has no {name}. {how}")
        value = getattr(value, part)
    if not callable(value) or isinstance(value, nn.Module):
        raise BadInput(f"{module}:{name} is a {type(value).__name__}, not a class or function. {how}")
    return value


def _is_literal(value: object) -> bool:
    try:
        return bool(ast.literal_eval(repr(value)) == value)
    except (ValueError, SyntaxError, TypeError):
        return False


def _difference(made: nn.Module, model: nn.Module) -> str:
    """How the names and shapes of the tensors differ; "" if they are the same."""
    ours, theirs = (
        {name: tuple(value.shape) for name, value in each.state_dict().items() if isinstance(value, Tensor)}
        for each in (model, made)
    )
    missing = [name for name in ours if name not in theirs]
    surplus = [name for name in theirs if name not in ours]
    shapes = [
        f"{name} is {theirs[name]} there and {shape} in the network"
        for name, shape in ours.items()
        if name in theirs and theirs[name] != shape
    ]
    parts = []
    if missing:
        parts.append(f"It has no {shortened(missing)}.")
    if surplus:
        parts.append(f"Only it has {shortened(surplus)}.")
    if shapes:
        parts.append(f"Other shapes: {shortened(shapes)}.")
    return " ".join(parts)


def _same_answer(first: Any, second: Any) -> bool:
    """All tensors equal, but for the noise of float arithmetic: 1e-4 of the largest number."""
    pairs = [[leaf for leaf in tree_leaves(answer) if isinstance(leaf, Tensor)] for answer in (first, second)]
    if len(pairs[0]) != len(pairs[1]):
        return False
    return all(
        a.shape == b.shape
        and bool((a.double() - b.double()).abs().max() <= 1e-4 * b.double().abs().max() + 1e-12)
        for a, b in zip(*pairs, strict=True)
    )
