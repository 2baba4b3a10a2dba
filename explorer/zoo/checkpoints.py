"""Weights from a file: safetensors, or a state dict that torch.save wrote. No file ever runs code.

A file is judged by its content, not by its name. Pickles are read by torch's restricted reader
(`weights_only=True`), which knows tensors and containers and calls nothing else.
"""

import pickle
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from explorer.zoo.files import (
    CONVERT,
    DAMAGED,
    Kind,
    kind_of,
    refused,
    require_file,
    require_sums,
    runs_code,
    shortened,
    size_text,
)

SPARE = 16 * 2**20  # bytes that a file may hold besides tensors: settings, a training log
TIMES = 10  # float64 weights, Adam's two moments and a moving average are 8 times the float32 weights
DEPTH = 4  # how deep in a training checkpoint a state dict is looked for


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """What a file holds: every state dict in it with its place ("" is the file itself), and its metadata."""

    path: Path
    states: tuple[tuple[str, Mapping[str, Tensor]], ...]
    metadata: Mapping[str, str] = field(default_factory=dict)


def read_checkpoint(path: str | Path, model: nn.Module) -> Checkpoint:
    """The tensors in a file, on the CPU, mapped from it where its format allows that.

    `model` is the network that they are meant for: a file that is far larger than it is refused before it is
    read. Raises BadInput for whatever is no readable file of tensors, with the way out.
    """
    path = require_file(path)
    kind, words = kind_of(path)
    if kind == "archive":
        raise refused(
            path, f"is a torch.export archive, a network and not only weights: load({str(path)!r})."
        )
    if kind == "other":
        raise refused(path, f"is {words}")
    _require_size(path, model)
    if kind == "safetensors":
        return _read_safetensors(path)
    content = _read_pickle(path, kind)
    states = tuple(_state_dicts(content))
    if not states:
        raise refused(path, f"holds {_in_words(content)}, not a state dict. {CONVERT}")
    return Checkpoint(path, states)


def _require_size(path: Path, model: nn.Module) -> None:
    tensors = [value for value in model.state_dict().values() if isinstance(value, Tensor)]
    own = sum(value.nbytes for value in tensors)
    size = path.stat().st_size
    if size > TIMES * own + SPARE:
        raise refused(
            path,
            f"has {size_text(size)}, and the weights of this network have {size_text(own)}: it is of another "
            "network, and was not read. Save only the tensors of this one: "
            'safetensors.torch.save_file(model.state_dict(), "weights.safetensors").',
        )


def _read_safetensors(path: Path) -> Checkpoint:
    try:
        with safe_open(path, framework="pt") as content:
            names = content.keys()
            state = {name: content.get_tensor(name) for name in names}
            metadata = content.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise refused(path, f"cannot be read as safetensors ({error}). {DAMAGED}") from error
    if not state:
        raise refused(path, f"holds no tensors. {CONVERT}")
    return Checkpoint(path, (("", state),), metadata)


def _read_pickle(path: Path, kind: Kind) -> Any:
    try:
        # Given an open file, torch does not look at its suffix; only a path can be mapped.
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickle protocols and old formats
            if kind == "torch zip":
                with zipfile.ZipFile(file) as archive:
                    require_sums(archive)  # torch itself does not look at them
                if path.suffix != ".safetensors":
                    return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
                file.seek(0)
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        wanted = re.search(r"GLOBAL ([\w.]+)", str(error))
        if wanted is None:
            raise refused(
                path, f"is no state dict that torch reads without running code. {CONVERT}"
            ) from error
        raise runs_code(path, wanted[1]) from error
    except Exception as error:  # whatever the readers raise on bytes that are damaged or made up
        first = next(iter(str(error).splitlines()), type(error).__name__)
        raise refused(path, f"cannot be read ({first}). {DAMAGED}") from error


def _state_dicts(
    content: Any, place: str = "", depth: int = DEPTH
) -> Iterator[tuple[str, Mapping[str, Tensor]]]:
    """Every mapping of names to tensors, at any of the first levels, in the order of the file."""
    if not isinstance(content, Mapping) or not depth:
        return
    tensors = {name: value for name, value in content.items() if isinstance(name, str)}
    found = {name: value for name, value in tensors.items() if isinstance(value, Tensor)}
    if found:
        yield place, content if len(found) == len(content) else found
    for name, value in tensors.items():
        yield from _state_dicts(value, f"{place}.{name}" if place else name, depth - 1)


def _in_words(content: Any) -> str:
    if isinstance(content, Mapping):
        return (
            f"a dictionary of {shortened([str(key) for key in content], 5)}"
            if content
            else "an empty dictionary"
        )
    return f"a {type(content).__name__}"
