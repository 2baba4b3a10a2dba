"""Forward hooks of a user's modules: which only look, and what the trace does about those that may change an output.

A hook that collects outputs is everyday; one that returns something else than it was given changes the network, and
what it does cannot be followed: it is never called while a network is read, since it would see zeros that are
nobody's. So its code is read instead. In the hollow copy a changing hook leaves a mark, an operator without a rule,
that freezes what it touches.
"""

import builtins
import dis
import functools
import inspect
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils._pytree import tree_map

COLLECTING = ("append", "appendleft", "add", "extend", "update", "put", "__setitem__")  # they return nothing
SILENT = ("CACHE", "EXTENDED_ARG", "NOP")
WRITING = (
    "getattr",
    "setattr",
    "delattr",
    "exec",
    "eval",
    "map",
)  # builtins that may do anything to what they get
HARMLESS_IN_PLACE = ("detach_", "requires_grad_")
UNKNOWN = object()
Known = dict[tuple[str, str], Any]
"""What an instruction loads that is not local to a hook: (its name, the variable) -> the value now."""

_LIBRARY = torch.library.Library("pruning_explorer", "DEF")
_LIBRARY.define("changed_by_hook(Tensor x, str reason) -> Tensor")
_LIBRARY.impl("changed_by_hook", lambda x, _: x.clone(), "CompositeExplicitAutograd")
CHANGED = torch.ops.pruning_explorer.changed_by_hook.default


def mark_changing_hooks(modules: dict[str, nn.Module]) -> None:
    """Put a mark in place of the hooks of every module (of a hollow copy) that may change its output; drop others."""
    for name, module in modules.items():
        changing = [hook for hook in module._forward_hooks.values() if not only_looks(hook)]
        for held in (
            module._forward_hooks, module._forward_hooks_with_kwargs, module._forward_hooks_always_called
        ):  # fmt: skip
            held.clear()
        if changing and name:  # the outputs of the whole network stay anyway
            reason = f"{name} has a forward hook that may change its output ({_described(changing[0])})"
            module.register_forward_hook(functools.partial(_mark, reason))


def marked(module: nn.Module, output: Any) -> Any:
    """The output of a module as its mark leaves it: for modules that torch.fx does not look into."""
    for hook in module._forward_hooks.values():
        output = hook(module, (), output)
    return output


def _mark(reason: str, _module: nn.Module, _args: Any, output: Any) -> Any:
    def mark(leaf: Any) -> Any:
        return CHANGED(leaf, reason) if isinstance(leaf, (Tensor, fx.Proxy)) else leaf

    return tree_map(mark, output)


def only_looks(hook: Callable[..., Any]) -> bool:
    """Whether a forward hook's code returns nothing and writes into neither its module nor its output.

    What has no Python code to read, or calls a function that is not built in, may change the output.
    """
    bound: list[Any] = []  # arguments that are bound already
    while isinstance(hook, functools.partial):
        bound, hook = [*hook.args, *bound], hook.func
    function: Any = getattr(hook, "__func__", hook)
    if function is not hook:
        bound = [hook.__self__, *bound]  # type: ignore[attr-defined]
    elif not isinstance(hook, FunctionType):  # an object that can be called
        function, bound = type(hook).__call__, [hook, *bound]
    if not isinstance(function, FunctionType) or function.__code__.co_argcount <= len(bound):
        return False
    code = function.__code__
    steps = [step for step in dis.get_instructions(code) if step.opname not in SILENT]
    known = {("LOAD_FAST", name): value for name, value in zip(code.co_varnames, bound, strict=False)}
    known |= {("LOAD_GLOBAL", name): function.__globals__.get(name, UNKNOWN) for name in code.co_names}
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        with suppress(ValueError):  # an empty cell
            known["LOAD_DEREF", name] = cell.cell_contents
    return not any(_changes(steps, place, known) for place in range(len(steps)))


def _changes(steps: list[dis.Instruction], place: int, known: Known) -> bool:
    """Whether an instruction returns something, or may write into what the hook is given, or calls what may."""
    step, name = steps[place], steps[place].opname
    if name == "RETURN_CONST":
        return step.argval is not None
    if name == "RETURN_VALUE":
        before = steps[place - 1]
        nothing = before.opname == "LOAD_CONST" and before.argval is None
        return not (nothing or _collects(steps, place - 1))
    if name in ("LOAD_METHOD", "LOAD_ATTR"):
        called = str(step.argval)
        if called.startswith("__") or called in COLLECTING:
            return not _apart(steps, place - 1, known, called)
        return called.endswith("_") and called not in HARMLESS_IN_PLACE
    if name == "STORE_ATTR":
        return not _apart(steps, place - 1, known, "__setattr__", step.argval)
    if name == "STORE_SUBSCR" or (name == "BINARY_OP" and step.argrepr.endswith("=")):
        called = "__setitem__" if name == "STORE_SUBSCR" else "__iadd__"
        return not _apart(steps, _start(steps, place - 1) - 1, known, called)
    if name == "LOAD_GLOBAL" and "NULL" in step.argrepr:  # a function that is called
        return step.argval in WRITING or not hasattr(builtins, str(step.argval))
    keywords = step.argval if isinstance(step.argval, tuple) and name in ("KW_NAMES", "LOAD_CONST") else ()
    return name in ("PUSH_NULL", "MAKE_FUNCTION") or "out" in keywords or "inplace" in keywords


def _apart(steps: list[dis.Instruction], end: int, known: Known, *called: str) -> bool:
    """Whether the expression that ends here begins with something that is not local to the hook.

    Where what it comes to is known, `called` must be no code of the user's, which may change what it is given.
    """
    start = _start(steps, end)
    first = steps[start]
    place = first.opname, first.argval
    if place not in known:
        return first.opname in ("LOAD_NAME", "COPY")
    value = known[place]
    for step in steps[start + 1 : end + 1]:
        reading = value is not UNKNOWN and step.opname == "LOAD_ATTR"
        value = inspect.getattr_static(value, step.argval, UNKNOWN) if reading else UNKNOWN
    return value is UNKNOWN or not any(
        _is_users(inspect.getattr_static(value, each, None)) for each in called
    )


def _is_users(called: Any) -> bool:
    """Whether something that is called, or set, runs Python code of neither torch's nor Python's own containers."""
    home = (getattr(called, "__module__", None) or "").partition(".")[0]
    return isinstance(called, property) or (
        isinstance(called, FunctionType) and home not in ("torch", "collections", "queue")
    )


def _collects(steps: list[dis.Instruction], end: int) -> bool:
    """Whether the expression that ends here is a call such as `seen.append(output)`, whose value is None."""
    if not steps[end].opname.startswith("CALL"):
        return False
    method = None
    for step in steps[_start(steps, end) + 1 : end]:
        if step.opname not in ("LOAD_ATTR", "LOAD_METHOD"):
            break
        method = step.argval
    return method in COLLECTING


def _start(steps: list[dis.Instruction], end: int) -> int:
    """Where the code of the expression that ends here begins: it puts one value on the stack."""
    missing = 1
    for place in range(end, -1, -1):
        missing -= dis.stack_effect(steps[place].opcode, steps[place].arg, jump=False)
        if missing <= 0:
            return place
    return 0


def _described(hook: Callable[..., Any]) -> str:
    """The hook's name and, where it has code, file:line."""
    while isinstance(hook, functools.partial):
        hook = hook.func
    code = getattr(hook, "__code__", None) or getattr(type(hook).__call__, "__code__", None)
    name = getattr(hook, "__qualname__", type(hook).__qualname__)
    return f"{name}, {Path(code.co_filename).name}:{code.co_firstlineno}" if code is not None else name
