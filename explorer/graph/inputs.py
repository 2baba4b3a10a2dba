"""Example inputs: one tensor, or a tuple of tensors for a network whose forward takes several."""

import inspect
from typing import Any

import torch
from torch import Tensor, nn

from explorer.errors import BadInput

Example = Tensor | tuple[Tensor, ...]


def as_inputs(example: Any) -> tuple[Tensor, ...]:
    """The tensors that a forward is given. Raises BadInput for what is no batch of inputs."""
    inputs = tuple(example) if isinstance(example, tuple | list) else (example,)
    for each in inputs or (None,):
        if isinstance(each, Tensor):
            require_dense("An example input", each)
        if not isinstance(each, Tensor) or each.dim() < 2:
            got = tuple(each.shape) if isinstance(each, Tensor) else type(each).__name__
            raise BadInput(
                f"An example input is a tensor such as (1, channels, height, width), not {got}. For a network of "
                "several inputs pass a tuple of such tensors, in the order of its forward."
            )
    return inputs


def inputs_of(model: nn.Module, example: Any) -> tuple[Tensor, ...]:
    """The tensors that the model's forward is given by position. Raises BadInput where it takes more or fewer."""
    inputs = as_inputs(example)
    try:
        signature = inspect.signature(model.forward)
    except (TypeError, ValueError):  # a compiled one tells when it runs
        return inputs
    try:
        signature.bind(*inputs)
    except TypeError as error:
        taken = [each.replace(annotation=each.empty) for each in signature.parameters.values()]
        shapes = ", ".join(str(tuple(each.shape)) for each in inputs)
        raise BadInput(
            f"{type(model).__name__}.forward takes {inspect.Signature(taken)}, and the example gives {len(inputs)} by "
            f"position, of shape {shapes}: {error}. Pass a tuple of one tensor for every input, in the order of the "
            "forward. Inputs by name only cannot be given: wrap the network in a module that takes them by position."
        ) from error
    return inputs


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


def zeros_like_batch(inputs: tuple[Tensor, ...], batch: int) -> tuple[Tensor, ...]:
    """Zeros of the inputs' shapes and types, of another batch size."""
    return tuple(torch.zeros((batch, *each.shape[1:]), dtype=each.dtype) for each in inputs)
