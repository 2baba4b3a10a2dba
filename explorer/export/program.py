"""The network as a torch.export program: what an archive (.pt2) holds, and what ONNX is made from.

A program is the network's operations with its weights, in eval mode: to use, not to train on. It needs no class.
"""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from keyword import iskeyword
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from explorer.errors import ExplorerError
from explorer.graph.copies import deep_copy
from explorer.graph.inputs import Batch, Example, arguments, as_inputs, call_model, mapped, tensors_of
from explorer.graph.quiet import quiet

if TYPE_CHECKING:
    from torch.export import ExportedProgram

BATCHES = (1, 3)
TOLERANCE = 1e-5  # x scale of the outputs: the same operators, in another memory
UNWRITABLE = re.compile(r'["\x00-\x1f\x7f]')
PLACE = re.compile(r'File "([^"]+)", line (\d+), in \w+')


@dataclass(frozen=True, eq=False)
class Program:
    """An exported network. `any_batch`: it takes any number of images at once; otherwise one."""

    exported: "ExportedProgram"
    any_batch: bool


@dataclass(frozen=True, eq=False)
class Trial:
    """Inputs, what the network is called with for them, and all tensors that it answers."""

    inputs: tuple[Tensor, ...]
    wanted: tuple[Tensor, ...]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


def program_of(model: nn.Module, example: Example) -> Program:
    """Export a copy of a model in eval mode, for any batch size where torch.export can, else for one image.

    Raises ExplorerError where torch.export cannot: with the line of the user's code that defeated it.
    """
    from torch.export import Dim, export

    _require_names(model)
    inputs = as_inputs(example)
    # torch.export takes a batch of one for a constant
    args, kwargs = arguments(model, mapped(inputs, lambda each: torch.cat([each, each])))
    twin = deep_copy(model)
    twin.eval()
    with quiet(), torch.no_grad(), torch.random.fork_rng(devices=[]):
        try:
            batch = Dim("batch")
            shapes = tree_map(lambda _: {0: batch}, (*args, *kwargs.values()))
            return Program(export(twin, args, kwargs, dynamic_shapes=shapes), True)
        except Exception:  # noqa: BLE001 (whatever torch.export or a user's forward may raise)
            try:
                return Program(export(twin, *arguments(model, inputs)), False)
            except Exception as error:
                raise ExplorerError(
                    f"torch.export cannot take {type(model).__name__}: {_why(error)}. Nothing was written. Move "
                    "control flow that depends on the data out of forward; the Python file needs no torch.export."
                ) from error


def _require_names(model: nn.Module) -> None:
    """Raise ExplorerError for names that torch.export would write into Python source as they are."""
    for name in (*dict(model.named_parameters()), *dict(model.named_buffers())):
        if any(iskeyword(part) or UNWRITABLE.search(part) for part in name.split(".")):
            raise ExplorerError(
                f"torch.export cannot take {type(model).__name__}: its part {name!r} has a word of Python, a quote or "
                "a control character in its name. Nothing was written. Rename it; the Python file takes any name."
            )


def _why(error: Exception) -> str:
    """The first line of torch.export's message, and the last line of code that it names."""
    text = str(error)
    places = PLACE.findall(text)
    first = text.strip().partition("\n")[0].strip(" .") or type(error).__name__
    if "data-dependent" in first:
        first = "what it does depends on the numbers in its input"
    return f"{first} ({places[-1][0]}:{places[-1][1]})" if places else first


def archive(program: Program, texts: dict[str, str]) -> bytes:
    """A .pt2 file, with named texts beside the program. `torch.export.load` reads it."""
    from torch.export import save

    file = io.BytesIO()
    with quiet():
        save(program.exported, file, extra_files=texts)
    return file.getvalue()


def check_archive(content: bytes, trials: Sequence[Trial]) -> None:
    """Raise ExplorerError unless the network that a .pt2 file holds answers as it should."""
    from torch.export import load

    try:
        with quiet(), torch.no_grad():
            loaded = load(io.BytesIO(content)).module()
            answers = [tensors(loaded(*trial.args, **trial.kwargs)) for trial in trials]
    except Exception as error:  # whatever the program that was read back may raise
        raise ExplorerError(
            f"The torch.export archive would not run ({_why(error)}). Nothing was written. Are there unusual "
            "characters in the names of modules? The Python file takes any name."
        ) from error
    for found, trial in zip(answers, trials, strict=True):
        require_same("The torch.export archive", found, trial, TOLERANCE)


# ---- comparing -------------------------------------------------------------------------------------------


def tensors(answer: object) -> tuple[Tensor, ...]:
    """All tensors of an answer, in order."""
    return tuple(leaf for leaf in tree_leaves(answer) if isinstance(leaf, Tensor))


def trials(model: nn.Module, example: Example, any_batch: bool) -> list[Trial]:
    """The example and inputs like it, for one batch size or two, and what the model answers in eval mode."""
    twin = deep_copy(model)
    twin.eval()
    first = as_inputs(example)
    chosen = [first, *(_like(first, batch) for batch in (BATCHES if any_batch else BATCHES[:1]))]
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        return [
            Trial(tensors_of(each), tensors(call_model(twin, each)), *arguments(model, each))
            for each in chosen
        ]


def _like(inputs: Batch, batch: int) -> Batch:
    """Seeded noise on inputs, of another batch size; whole numbers stay, since they may be indices."""
    draw = torch.Generator().manual_seed(batch)

    def noisy(each: Tensor) -> Tensor:
        copies = each.repeat(batch, *[1] * (each.dim() - 1))
        if each.is_floating_point():
            noise = torch.randn(copies.shape, generator=draw).to(each.dtype)
            copies = copies + noise * max(float(each.abs().amax()), 1e-3)
        return copies

    return mapped(inputs, noisy)


def require_same(what: str, found: Sequence[Tensor], trial: Trial, tolerance: float) -> None:
    """Raise ExplorerError unless tensors are the wanted ones, up to tolerance x their largest number."""
    batch = len(trial.inputs[0])
    shapes = [tuple(each.shape) for each in found], [tuple(each.shape) for each in trial.wanted]
    if shapes[0] != shapes[1]:
        raise ExplorerError(
            f"{what} would answer {batch} images with shapes {shapes[0]}, the network with {shapes[1]}. Nothing "
            "was written."
        )
    for mine, wanted in zip(found, trial.wanted, strict=True):
        if wanted.numel() == 0:
            continue
        difference = float((mine.double() - wanted.double()).abs().max())
        scale = float(wanted.double().abs().max())
        limit = max(tolerance, 8 * torch.finfo(wanted.dtype).eps) if wanted.is_floating_point() else 0.0
        if not difference <= limit * scale:  # NaN too
            raise ExplorerError(
                f"{what} would be another network: for a batch of {batch} its outputs differ by {difference:.3g} "
                f"at a scale of {scale:.3g}. Nothing was written. This is a fault of the explorer or of its "
                "exporter: please report it with the network."
            )
