"""A user's nn.Module becomes a private copy; what cannot be copied and pruned is refused in words."""

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from explorer.errors import BadInput
from explorer.graph.copies import SCRIPTED, deep_copy
from explorer.zoo.built import Built
from explorer.zoo.files import shortened

FLOAT = (
    torch.ao.nn.quantized.FloatFunctional,
    torch.ao.nn.quantized.FXFloatFunctional,
)  # plain sums and products
QUANTISED = ("torch.ao.nn.quantized", "torch.ao.nn.intrinsic.quantized", "torch.nn.quantized")


def copied_module(module: nn.Module) -> Built:
    """A copy of the module in eval mode, on the CPU, without gradients; wrappers of torch are taken off.

    Raises BadInput for a module without weights yet, on the meta device, quantised, scripted, and for one that
    cannot be copied.
    """
    module, notes = _unwrapped(module)
    name = type(module).__name__
    _require_plain(name, module)
    try:
        model = deep_copy(module)
    except (RuntimeError, TypeError) as error:
        raise BadInput(
            f"{name} cannot be copied ({error}), and the explorer works on copies only. "
            "Keep locks, generators and open files out of its attributes."
        ) from error
    model.zero_grad(set_to_none=True)
    model.cpu()
    model.eval()  # on a line of its own: a user's train() may return nothing
    return Built(name, model, notes=notes)


def _unwrapped(module: nn.Module) -> tuple[nn.Module, tuple[str, ...]]:
    """The module inside torch.compile, DataParallel and DistributedDataParallel."""
    notes: list[str] = []
    while True:
        if isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
            inner = module.module
        elif isinstance(inner := getattr(module, "_orig_mod", None), nn.Module):  # of torch.compile
            pass
        else:
            return module, tuple(notes)
        notes.append(f"{type(module).__name__} was taken off: the {type(inner).__name__} inside is explored.")
        module = inner


def _require_plain(name: str, module: nn.Module) -> None:
    if isinstance(module, torch.jit.ScriptModule):
        raise BadInput(f"{name} {SCRIPTED}")
    if hidden := [key for key, each in module.named_modules() if not _is_reached(module, key, each)]:
        raise BadInput(
            f"{name} has modules of names that an attribute of nn.Module has too, or none: {shortened(hidden, 3)!r}. "
            "Give them others, with add_module or as attributes, which refuse such names."
        )
    state = module.state_dict(keep_vars=True)
    lazy = [key for key, value in state.items() if is_lazy(value)]
    if lazy:
        raise BadInput(
            f"{name} has no weights yet in {', '.join(lazy)} (lazy modules). Run it once on "
            "an input before load()."
        )
    tensors = {key: value for key, value in state.items() if isinstance(value, Tensor)}
    meta = [key for key, value in tensors.items() if value.is_meta]
    if meta:
        raise BadInput(
            f"{name} is on the meta device, which holds no numbers: {shortened(meta, 3)}. Make it on the CPU, or call "
            "model.to_empty(device='cpu') and load its weights."
        )
    quantised = [key for key, value in tensors.items() if value.is_quantized]
    quantised += [
        key
        for key, each in module.named_modules()
        if type(each).__module__.startswith(QUANTISED) and not isinstance(each, FLOAT)
    ]
    if quantised:
        raise BadInput(
            f"{name} is quantised in {shortened(quantised, 3)}. Prune the float network, and quantise what comes out."
        )


def _is_reached(module: nn.Module, name: str, part: nn.Module) -> bool:
    try:
        return module.get_submodule(name) is part
    except AttributeError:
        return False
