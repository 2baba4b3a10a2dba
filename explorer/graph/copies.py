"""Copies of a network that take no memory, for reading it: the user's own is neither run nor changed."""

import copy
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from explorer.errors import CannotTrace
from explorer.graph.hooks import mark_changing_hooks

INTERNAL = frozenset(vars(nn.Module()))  # dictionaries of tensors, modules and hooks that every module has
COPYING = frozenset(("__deepcopy__", "__reduce__", "__reduce_ex__", "__getstate__", "__setstate__"))
SCRIPTED = (
    "is TorchScript, a compiled program whose modules cannot be replaced. Pass the nn.Module that it was made from; "
    "its weights are model.load_state_dict(scripted.state_dict())."
)
PLAIN = (bool, int, float, str, type(None), torch.dtype)


class _Detached(TorchFunctionMode):
    """Lets deepcopy copy tensors that were computed from weights, which torch refuses: their values are copied."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is Tensor.__deepcopy__ and not args[0].is_leaf:
            tensor, memo = args
            return memo.setdefault(id(tensor), tensor.detach().clone())
        return func(*args, **(kwargs or {}))


def deep_copy(model: nn.Module, memo: dict[int, Any] | None = None) -> Any:
    """copy.deepcopy, also of a model that holds outputs of a former run, as hooks that collect them leave behind."""
    with _Detached():
        return copy.deepcopy(model, memo)


@dataclass(frozen=True, eq=False)
class Twin:
    """A hollow copy of a model: every parameter is one zero seen at all its positions, every buffer is zeros.

    `modules` are all its modules by every name that they have. `state` are the model's own tensors in the order of
    its state dict, and `tensors` maps every name there to the first name of the same tensor. Buffers that no state
    dict holds are constants to the explorer, since files of weights could not carry their new sizes. `hooked` are
    the names of modules with a hook before their forward, which may change their inputs or weights.
    """

    module: nn.Module
    modules: dict[str, nn.Module]
    state: dict[str, Tensor]
    hooked: frozenset[str]

    @cached_property
    def tensors(self) -> dict[str, str]:
        first: dict[int, str] = {}
        return {name: first.setdefault(id(tensor), name) for name, tensor in self.state.items()}

    @property
    def name(self) -> str:
        return type(self.module).__name__

    @property
    def forward(self) -> Any:
        """The function that is the forward: the class's, or that of a method which was set on the object."""
        own = vars(self.module).get("forward")
        return type(self.module).forward if own is None else own.__func__

    def train(self, mode: bool) -> None:
        """Set the mode as module.train(mode) does, which a class may have its own way of."""
        if any(type(module).train is not nn.Module.train for module in self.modules.values()):
            self.module.train(mode)
            return
        for module in self.modules.values():
            vars(module)["training"] = mode


def hollow_copy(model: nn.Module) -> Twin:
    """The hollow copy of a model. Hooks of the forward are left out: a user's hooks must not see the zeros.

    Raises CannotTrace for what cannot be copied.
    """
    if isinstance(model, torch.jit.ScriptModule):
        raise CannotTrace(f"{type(model).__name__} {SCRIPTED}")
    for name, module in model.named_modules():
        own = vars(module).get("forward")
        if own is not None and not isinstance(getattr(own, "__self__", None), nn.Module):
            raise CannotTrace(
                f"{name or type(model).__name__} has a forward that was set on the object and is no method of a "
                "module, so that copies would share it with the original. Write it as a method of the class."
            )
    try:
        return _hollow_copy(model)
    except Exception as error:  # attributes of a user's class may be anything
        raise CannotTrace(
            f"{type(model).__name__} cannot be copied ({type(error).__name__}: {error}), and the explorer works on "
            "copies only. Run lazy modules once, and keep computed tensors, locks and open files out of its attributes."
        ) from error


def _hollow_copy(model: nn.Module) -> Twin:
    memo: dict[int, Any] = {}
    for parameter in model.parameters():
        zero = torch.zeros((), dtype=parameter.dtype).expand(parameter.shape)
        memo[id(parameter)] = nn.Parameter(zero, requires_grad=False)
    for buffer in model.buffers():
        memo[id(buffer)] = torch.zeros(buffer.shape, dtype=buffer.dtype)
    with _Detached():
        twin = _copied(model, memo)
    modules: dict[str, nn.Module] = {}
    _named(twin, "", modules)
    hooked = frozenset(name for name, module in modules.items() if module._forward_pre_hooks)
    mark_changing_hooks(modules)
    for module in modules.values():
        module._forward_pre_hooks.clear()
    # Not a user's own state_dict, which may name tensors otherwise.
    state = nn.Module.state_dict(model, keep_vars=True).items()
    return Twin(twin, modules, {name: each for name, each in state if isinstance(each, Tensor)}, hooked)


def _copied(module: nn.Module, memo: dict[int, Any]) -> nn.Module:
    """A deep copy, quicker than copy.deepcopy: what every module has in the same way is not taken apart."""
    if id(module) in memo:
        known: nn.Module = memo[id(module)]
        return known
    kind = type(module)
    if _copies_itself(kind):  # type: ignore[arg-type]  # classes are hashable
        return copy.deepcopy(module, memo)
    twin = kind.__new__(kind)
    memo[id(module)] = twin
    memo.setdefault(id(memo), []).append(module)  # as deepcopy does: an id stays taken while its object lives
    held = vars(twin)
    for name, value in vars(module).items():
        if name in INTERNAL:
            held[name] = value.copy() if isinstance(value, dict) else value
    for tensors in (twin._parameters, twin._buffers):
        for name, tensor in tensors.items():
            tensors[name] = None if tensor is None else memo[id(tensor)]
    for name, child in module._modules.items():
        twin._modules[name] = None if child is None else _copied(child, memo)
    for name, value in vars(module).items():
        if name not in INTERNAL:
            held[name] = value if _is_plain(value) else copy.deepcopy(value, memo)
    return twin


def _is_plain(value: Any) -> bool:
    """Numbers, texts, and tuples of them, which no copy is needed of."""
    return isinstance(value, PLAIN) or (
        type(value) is tuple and all(isinstance(each, PLAIN) for each in value)
    )


@lru_cache(maxsize=256)
def _copies_itself(kind: type) -> bool:
    """Whether a class says by itself how it is copied or pickled."""
    own = {name for each in kind.__mro__ if each not in (nn.Module, object) for name in vars(each)}
    return not own.isdisjoint(COPYING)


def _named(module: nn.Module, prefix: str, found: dict[str, nn.Module]) -> None:
    found[prefix] = module
    for name, child in module._modules.items():
        if child is not None:
            _named(child, f"{prefix}.{name}" if prefix else name, found)
