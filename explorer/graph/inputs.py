"""What a network is given: a tensor, or several in a tuple, a list or a dict, by position or by name.

Everything that runs a network calls it by `call_model`, and `arguments` alone decides how its forward gets the tensors.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

from explorer.errors import BadInput

CASTABLE = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
SEVERAL = (
    "For a network of several inputs pass a tuple of such tensors, in the order of its forward, or the list or dict "
    "that its forward takes; a dict whose keys are the forward's parameters is given by name."
)


@dataclass(frozen=True, eq=False)
class Inputs:
    """Several inputs of a network, a batch of each. `form` is what holds them, with their numbers for the tensors.

    Seen from outside it is a batch of the first, which pictures are drawn of: `shape`, `dtype` and `len` are that
    one's, and `inputs[rows]` are rows of all.
    """

    tensors: tuple[Tensor, ...]
    form: Any

    @property
    def given(self) -> Any:
        """The tuple, list or dict of tensors."""
        return tree_map(self.tensors.__getitem__, self.form)

    @property
    def shape(self) -> torch.Size:
        return self.tensors[0].shape

    @property
    def dtype(self) -> torch.dtype:
        return self.tensors[0].dtype

    def __len__(self) -> int:
        return len(self.tensors[0])

    def __getitem__(self, rows: slice | Tensor) -> "Inputs":
        return self.map(lambda each: each[rows])

    def __iter__(self) -> Iterator[Tensor]:
        return iter(self.tensors)

    def numel(self) -> int:
        return sum(each.numel() for each in self.tensors)

    def map(self, change: Callable[[Tensor], Tensor]) -> "Inputs":
        return Inputs(tuple(change(each) for each in self.tensors), self.form)


Batch = Tensor | Inputs
Example = Batch | tuple[Any, ...] | list[Any] | dict[str, Any]


def with_form(tensors: tuple[Tensor, ...], form: Any) -> Batch:
    """The tensors in their form; None: one alone, or several by position."""
    return (
        tensors[0]
        if form is None and len(tensors) == 1
        else Inputs(tensors, form or tuple(range(len(tensors))))
    )


def form_of(batch: Batch) -> Any:
    """What holds the tensors; None for one alone."""
    return batch.form if isinstance(batch, Inputs) else None


def tensors_of(batch: Batch) -> tuple[Tensor, ...]:
    """The tensors in their order."""
    return batch.tensors if isinstance(batch, Inputs) else (batch,)


def mapped(batch: Batch, change: Callable[[Tensor], Tensor]) -> Batch:
    """Every tensor changed."""
    return batch.map(change) if isinstance(batch, Inputs) else change(batch)


def as_inputs(example: Any) -> Batch:
    """One tensor or several in their form. Raises BadInput for what is no batch of inputs."""
    if isinstance(example, Inputs):
        return example
    leaves, spec = tree_flatten(example)
    for each in leaves or (None,):
        if isinstance(each, Tensor):
            require_dense("An example input", each)
        if not isinstance(each, Tensor) or each.dim() < 2:
            got = tuple(each.shape) if isinstance(each, Tensor) else type(each).__name__
            raise BadInput(
                f"An example input is a tensor such as (1, channels, height, width), not {got}. {SEVERAL}"
            )
    form = tree_unflatten(range(len(leaves)), spec)
    return leaves[0] if form in (0, (0,), [0]) else Inputs(tuple(leaves), form)


def inputs_of(model: nn.Module, example: Any) -> Batch:
    """The example as the model is given it, in its type. Raises BadInput where the forward takes more or fewer."""
    inputs = cast(model, as_inputs(example))
    signature = _signature(model)
    if signature is None:  # a compiled one tells when it runs
        return inputs
    args, kwargs = arguments(model, inputs)
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        taken = [each.replace(annotation=each.empty) for each in signature.parameters.values()]
        shapes = ", ".join(str(tuple(each.shape)) for each in tensors_of(inputs))
        raise BadInput(
            f"{type(model).__name__}.forward takes {inspect.Signature(taken)}, and the example gives {len(args)} by "
            f"position, of shape {shapes}: {error}. Pass a tuple of one tensor for every input, in the order of the "
            "forward, or a dict of them by the names of its parameters; as data ((first, second), labels)."
        ) from error
    return inputs


def arguments(model: nn.Module, inputs: Batch) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """What the forward is called with, by position and by name.

    A tuple goes by position, item by item, and so does a list where the forward takes so many items; another list is
    one argument. A dict goes by name where all its keys are parameters of the forward, or where the forward takes
    it in no other way; another dict is one argument.
    """
    if not isinstance(inputs, Inputs):
        return (inputs,), {}
    given = inputs.given
    if isinstance(given, tuple):
        return given, {}
    signature = _signature(model)
    if signature is not None and isinstance(given, Mapping):
        named = {each.name for each in signature.parameters.values() if each.kind in NAMED}
        bound = _bound(signature, (), given)
        if bound is not None and (named >= given.keys() or _bound(signature, (given,), {}) is None):
            return bound.args, bound.kwargs
    if isinstance(given, list) and (signature is None or _bound(signature, given, {}) is not None):
        return tuple(given), {}
    return (given,), {}


def call_model(model: nn.Module, inputs: Batch) -> Any:
    """The model's answer to inputs, which are cast to its type."""
    inputs = cast(model, inputs)
    if not isinstance(inputs, Inputs):
        return model(inputs)
    args, kwargs = arguments(model, inputs)
    return model(*args, **kwargs)


def cast(model: nn.Module, inputs: Batch) -> Batch:
    """Inputs of floats in the type of the model's first floats: images are float32, networks may be halves."""
    dtype = next((each.dtype for each in model.parameters() if each.is_floating_point()), None)
    if dtype not in CASTABLE:
        return inputs
    return mapped(inputs, lambda each: each.to(dtype) if each.dtype in CASTABLE else each)


def _signature(model: nn.Module) -> inspect.Signature | None:
    try:
        return inspect.signature(model.forward)
    except (TypeError, ValueError):
        return None


def _bound(
    signature: inspect.Signature, args: Any, kwargs: Mapping[str, Any]
) -> inspect.BoundArguments | None:
    try:
        return signature.bind(*args, **kwargs)
    except TypeError:
        return None


def require_dense(what: str, tensor: Tensor) -> None:
    """Raise BadInput for a tensor whose numbers do not all lie in memory: sparse, nested, or on the meta device."""
    if tensor.is_meta or tensor.is_nested or tensor.layout != torch.strided:
        found = (
            "on the meta device" if tensor.is_meta else "nested" if tensor.is_nested else str(tensor.layout)
        )
        raise BadInput(
            f"{what} cannot be a tensor that is {found}: not all of its numbers are in memory. Pass a dense one on the "
            "CPU; a sparse one becomes it by tensor.to_dense()."
        )


def zeros_like_batch(inputs: Batch, batch: int) -> Batch:
    """Zeros of the inputs' shapes and types, of another batch size."""
    return mapped(inputs, lambda each: torch.zeros((batch, *each.shape[1:]), dtype=each.dtype))
