"""That a network and images fit each other: inputs that it takes, logits and labels, weights that are numbers."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn

from explorer.errors import BadInput, ExplorerError
from explorer.graph.inputs import Batch, tensors_of

HALVES = (torch.float16, torch.bfloat16)  # a loss, and shares of 2,000 images, need more digits
FIRST = "logits", "out"  # of several outputs, those that the network is judged by, if there are any


@contextmanager
def taking(name: str, inputs: Batch, hint: str, what: str = "inputs") -> Iterator[None]:
    """Around a forward of the network `name`: what it raises becomes BadInput that ends with the hint."""
    try:
        yield
    except ExplorerError:
        raise
    except Exception as error:  # a user's forward may raise anything
        if "not implemented for" in str(error):
            hint = "This machine's torch lacks that operation for its type of numbers: pass model.float()."
        shapes = ", ".join(f"{tuple(each.shape)} ({each.dtype})" for each in tensors_of(inputs))
        raise BadInput(
            f"{name} cannot take {what} of shape {shapes}: {type(error).__name__}: {error}. {hint}"
        ) from error


def require_logits(name: str, answer: Any, count: int) -> Tensor:
    """Class logits (count, classes) of the answer of the network `name` to `count` inputs. Raises BadInput for others.

    A single logit z (count, 1) tells two classes apart by its sign and becomes (0, z): the softmax of these is z's
    sigmoid, their cross-entropy the binary one; it may come as (count,). Everything that judges, scores or trains asks
    here. Of several outputs, `chosen_output`. Halves become float32.
    """
    found = chosen_output(answer)[1]
    if found is not None:
        answer = found[:, None] if found.dim() == 1 else found
    if not isinstance(answer, Tensor) or answer.dim() != 2 or len(answer) != count:
        got = f"shape {tuple(answer.shape)}" if isinstance(answer, Tensor) else type(answer).__name__
        raise BadInput(
            f"{name} answered {count} inputs with {got}; expected one row of logits per input, "
            f"({count}, classes). Wrap the network so that it returns the logits."
        )
    answer = answer.float() if answer.dtype in HALVES else answer
    return torch.cat([torch.zeros_like(answer), answer], 1) if answer.shape[1] == 1 else answer


def chosen_output(answer: Any) -> tuple[str, Tensor | None]:
    """The tensor of an answer that a network is judged by, and its name or place if there are several.

    That is `logits` or `out`, else the first one of a mapping, a dataclass, a tuple or a list: googlenet and
    inception_v3 return auxiliary logits beside theirs in train mode, which then have no say.
    """
    if isinstance(answer, Tensor):
        return "", answer
    if is_dataclass(answer) and not isinstance(answer, type):
        answer = {each.name: getattr(answer, each.name) for each in fields(answer)}
    elif isinstance(answer, tuple) and hasattr(answer, "_asdict"):
        answer = answer._asdict()
    elif isinstance(answer, tuple | list):
        answer = {str(place): each for place, each in enumerate(answer)}
    if not isinstance(answer, Mapping):
        return "", None
    named = {str(key): each for key, each in answer.items() if isinstance(each, Tensor)}
    name = next((name for name in (*FIRST, *named) if name in named), "")
    return name, named.get(name)


def require_labels(labels: Tensor, logits: Tensor) -> None:
    """Raise BadInput if a label of int64 (N,) has no logit in (any, classes)."""
    if (most := int(labels.max())) >= logits.shape[1]:
        advice = "Check that data and network have the same classes."
        if int(labels.min()) > 0 and most == logits.shape[1]:
            advice = "No label is 0: if they are counted from 1, pass labels - 1."
        raise BadInput(
            f"Label {most} is out of range: the network has {logits.shape[1]} classes, so labels go from 0 to "
            f"{logits.shape[1] - 1}. {advice}"
        )


def first_not_finite(model: nn.Module) -> str:
    """The first weights or buffer of the state dict that hold NaN or infinity, in words; "" if none does."""
    for name, value in model.state_dict().items():
        if isinstance(value, Tensor) and value.is_floating_point() and not torch.isfinite(value).all():
            bad = int((~torch.isfinite(value)).sum())
            return f"{bad} of {value.numel()} numbers in {name} are NaN or infinite"
    return ""


def require_finite(name: str, model: nn.Module) -> None:
    """Raise BadInput if any weight or buffer of the network `name` is NaN or infinite."""
    if bad := first_not_finite(model):
        raise BadInput(
            f"{name}: {bad}. Load a sound checkpoint into the network; this one has probably diverged in "
            "training."
        )
