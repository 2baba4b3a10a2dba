"""Recorded runs: a training that was run once, with what was measured after it, in a file that ships with the package.

`<network>-<method>.safetensors` holds the run, its evidence (`codec`) and the trained network, parameters as float16
and buffers as they are. It names the weights that the run began with, so that it is shown for those weights only.
`python -m scripts.record` makes it.
"""

import json
import os
import re
import tempfile
from importlib.resources import as_file, files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from explorer.errors import BadInput, ExplorerError, require_name
from explorer.evaluate.estimates import as_module
from explorer.graph.randomness import own_torch_numbers
from explorer.methods import METHODS
from explorer.methods.codec import Arrays, decode, encode
from explorer.runs import Recorded
from explorer.values import ChannelGraph
from explorer.zoo.network import Network

FORMAT = "2"
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")  # of a network whose run can be a file
MODEL = "model."  # begins the names of the network's tensors


def write_recorded(
    folder: str | Path, recorded: Recorded[Any, Any], weights_key: str, network: nn.Module
) -> Path:
    """Write the file of a recorded run and its trained network, whole or not at all; returns where.

    `weights_key` is that of the network that the run began with (`Network.weights_key`). Raises BadInput for a
    network's name that is no file's name and for weights that float16 cannot hold, ExplorerError where the folder
    cannot be written to.
    """
    run = recorded.run
    if not NAME.fullmatch(run.network):
        raise BadInput(
            f"A recorded run is a file named after its network, and {run.network!r} is no name for a file."
        )
    arrays: Arrays = {}
    content = encode(recorded, arrays)
    tensors = {name: torch.from_numpy(each.copy()) for name, each in arrays.items()}
    tensors |= {f"{MODEL}{name}": each for name, each in _stored(network).items()}
    marks = {
        "format": FORMAT,
        "weights": weights_key,
        "graph": run.graph_key,
        "content": json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")),
    }
    path = Path(folder) / f"{run.network}-{run.method}.safetensors"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
        os.close(handle)
        try:
            save_file(tensors, temporary, marks)
            Path(temporary).chmod(0o644)  # temporary files are for the owner only
            Path(temporary).replace(path)
        finally:
            Path(temporary).unlink(missing_ok=True)
    except (OSError, SafetensorError) as error:
        raise ExplorerError(
            f"The recorded run of {run.network} could not be written to {folder} ({error}). Free some space or name "
            "another folder."
        ) from error
    return path


def read_recorded(
    network: Network, graph: ChannelGraph, method: str, folder: str | Path | None = None
) -> Recorded[Any, Any] | None:
    """The recorded run of a method on this network with these very weights, None if there is none.

    `folder`: the package's own, unless another is named. Raises UnknownName for another method, ExplorerError for a
    file that cannot be read, or does not hold what it should.
    """
    found = _read(network, graph, method, folder, "value.")
    if found is None:
        return None
    file, marks, tensors = found
    known = METHODS[method]
    try:
        content = json.loads(marks["content"])
        arrays = {name: each.numpy() for name, each in tensors.items()}
        run, evidence = decode(known.run, content["run"], arrays, "run"), content["evidence"]
        if evidence is not None and known.evidence is not None:
            evidence = decode(known.evidence, evidence, arrays, "evidence")
        return Recorded(run, evidence, decode(str, content["command"], arrays, "command"))
    except (ValueError, KeyError, TypeError) as error:
        raise _unreadable(file, network.name, method, error) from error


def read_network(
    network: Network, graph: ChannelGraph, method: str, folder: str | Path | None = None
) -> nn.Module | None:
    """The trained network of a recorded run, in eval mode; None where `read_recorded` gives None.

    Weights were rounded to float16 and come back in the network's own dtype. Raises as `read_recorded`.
    """
    recorded, found = (
        read_recorded(network, graph, method, folder),
        _read(network, graph, method, folder, MODEL),
    )
    if recorded is None or found is None:
        return None
    file, _marks, tensors = found
    stored = {name.removeprefix(MODEL): each for name, each in tensors.items()}
    with own_torch_numbers(), torch.inference_mode(False), torch.no_grad():
        rebuilt = METHODS[method].rebuilt(network, graph, recorded.run).eval()
        own = _tensors(rebuilt)
        odd = [name for name in {**own, **stored} if _shape(stored, name) != _shape(own, name)]
        if odd:
            why = f"{odd[0]} has shape {_shape(stored, odd[0])}, the network's {_shape(own, odd[0])}"
            raise _unreadable(file, network.name, method, why)
        for name, tensor in own.items():
            tensor.copy_(stored[name])
    return rebuilt


def _read(
    network: Network, graph: ChannelGraph, method: str, folder: str | Path | None, begins: str
) -> tuple[Traversable, dict[str, str], dict[str, Tensor]] | None:
    """The file, its metadata and the tensors whose names begin so; None if there is none of these very weights."""
    require_name("method", method, METHODS)
    if not NAME.fullmatch(network.name):
        return None
    place: Traversable = files("explorer.methods") / "recorded" if folder is None else Path(folder)
    file = place / f"{network.name}-{method}.safetensors"
    if not file.is_file():
        return None
    try:
        with as_file(file) as path, safe_open(path, framework="pt") as content:
            marks = content.metadata() or {}
            if marks.get("format") != FORMAT:
                raise _unreadable(file, network.name, method, f"it is not of format {FORMAT}")
            if (marks.get("weights"), marks.get("graph")) != (network.weights_key, graph.key):
                return None
            names = [name for name in content.keys() if name.startswith(begins)]  # noqa: SIM118
            return file, marks, {name: content.get_tensor(name) for name in names}
    except (OSError, SafetensorError, RuntimeError, ValueError) as error:
        raise _unreadable(file, network.name, method, error) from error


def _unreadable(file: Traversable, name: str, method: str, why: object) -> ExplorerError:
    return ExplorerError(
        f"The recorded run {file} cannot be read ({why}). Install the package again, or record it anew: "
        f"python -m scripts.record {method} {name}."
    )


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    """Parameters, each tie once, and the buffers that a state dict has."""
    saved = nn.Module.state_dict(model)  # not a user's own
    buffers = {name: buffer for name, buffer in model.named_buffers() if name in saved}
    return {**dict(model.named_parameters()), **buffers}


def _stored(network: nn.Module) -> dict[str, Tensor]:
    """Tensors as the file holds them. Raises BadInput for weights beyond float16."""
    stored = {}
    for name, tensor in _tensors(as_module(network)).items():
        kind = (
            torch.float16 if isinstance(tensor, nn.Parameter) and tensor.is_floating_point() else tensor.dtype
        )
        stored[name] = tensor.detach().to(kind).contiguous().clone()
        if isinstance(tensor, nn.Parameter) and not torch.isfinite(stored[name]).all():
            raise BadInput(
                f"{name} of the trained network holds numbers that do not fit into {kind}, so it is not stored: its "
                "training broke down. Train again with a lower rate."
            )
    return stored


def _shape(tensors: dict[str, Tensor], name: str) -> tuple[int, ...] | None:
    return tuple(tensors[name].shape) if name in tensors else None
