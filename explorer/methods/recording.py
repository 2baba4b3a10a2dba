"""Recorded runs: a search that was run once, with what was measured after it, in files that ship with the package.

`<network>.json` holds the run, its order curves and comparisons; `<network>.safetensors` the supernet, parameters
as float16 and buffers (the statistics of batch norm) as float32. Both name the weights that the run began with, so that
they are shown for those weights only. `scripts/record_dmcp.py` makes them.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from importlib.resources import as_file
from importlib.resources.abc import Traversable
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from explorer.chains import ChainRun, Recorded
from explorer.errors import BadInput, ExplorerError
from explorer.evaluate.estimates import as_module
from explorer.graph.copies import deep_copy
from explorer.methods.record_fields import FORMAT, recorded_of
from explorer.methods.recorded_files import NAME, recorded_file, unreadable, write_whole
from explorer.values import ChannelGraph
from explorer.zoo.network import Network

ALPHA_DECIMALS = 3  # a transition probability to 0.0003
SHARE_DECIMALS = 5
LOSS_DIGITS = 4


def write_recorded(
    folder: str | Path, recorded: Recorded, weights_key: str, supernet: nn.Module | None = None
) -> None:
    """Write both files of a recorded run, each atomically; without a supernet its file stays as it is.

    `weights_key` is that of the network that the run began with (`Network.weights_key`). Alphas are rounded to 3
    decimals, shares and accuracies to 5, losses to 4 digits. Raises BadInput for a network's name that is no file's
    name and for weights that float16 cannot hold, ExplorerError where the folder cannot be written to.
    """
    name = recorded.run.network
    if not NAME.fullmatch(name):
        raise BadInput(
            f"A recorded run is a file named after its network, and {name!r} is no name for a file."
        )
    text = _as_text(recorded, weights_key)
    tensors = None if supernet is None else _stored(as_module(supernet))
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if tensors is not None:
            marks = {"weights": weights_key, "graph": recorded.run.graph_key}
            write_whole(folder / f"{name}.safetensors", lambda path: save_file(tensors, path, marks))
        write_whole(folder / f"{name}.json", lambda path: path.write_text(text, encoding="utf-8"))
    except OSError as error:
        raise ExplorerError(
            f"The recorded run of {name} could not be written to {folder} ({error.strerror or error}). Free some "
            "space or name another folder."
        ) from error


def read_recorded(network: Network, graph: ChannelGraph, folder: str | Path | None = None) -> Recorded | None:
    """The recorded run of this network with these very weights, None if there is none.

    `folder`: the package's own, unless another is named. Raises ExplorerError for a file that cannot be read, or
    does not hold what it should.
    """
    file = recorded_file(network.name, ".json", folder)
    if file is None:
        return None
    try:
        return _recorded(json.loads(file.read_text(encoding="utf-8")), network, graph)
    except (OSError, ValueError) as error:  # a damaged file is no text, no JSON, or not of our values
        raise _unreadable(file, network.name, error) from error


def read_supernet(network: Network, folder: str | Path | None = None) -> nn.Module | None:
    """The supernet of the recorded run of this network with these very weights: a module in eval mode, or None.

    Weights were rounded to float16 and come back in the network's own dtype. Raises ExplorerError for a file
    that cannot be read, or whose tensors are not the network's.
    """
    file = recorded_file(network.name, ".safetensors", folder)
    if file is None:
        return None
    try:
        with as_file(file) as path, safe_open(path, framework="pt") as content:
            if (content.metadata() or {}).get("weights") != network.weights_key:
                return None
            stored = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, RuntimeError) as error:
        raise _unreadable(file, network.name, error) from error
    with torch.inference_mode(False), torch.no_grad():
        supernet = deep_copy(network.model)
        supernet.eval()
        tensors = _tensors(supernet)
        odd = [name for name in {**tensors, **stored} if _shape(stored, name) != _shape(tensors, name)]
        if odd:
            why = f"{odd[0]} has shape {_shape(stored, odd[0])}, the network's {_shape(tensors, odd[0])}"
            raise _unreadable(file, network.name, why)
        for name, tensor in tensors.items():
            tensor.copy_(stored[name])
    return supernet


# ---- files -----------------------------------------------------------------------------------------------


def _unreadable(file: Traversable, name: str, why: object) -> ExplorerError:
    return unreadable(file, f"python scripts/record_dmcp.py {name}", why)


# ---- contents --------------------------------------------------------------------------------------------


def _recorded(content: object, network: Network, graph: ChannelGraph) -> Recorded | None:
    """The run in a JSON, None if it is of another network. Raises ValueError."""
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError(f"it is not of format {FORMAT}")
    if (content.get("graph"), content.get("weights")) != (graph.key, network.weights_key):
        return None
    recorded = recorded_of(content)
    sizes = {group.id: group.size for group in graph.prunable}
    for chain in recorded.run.chains:
        if sizes.get(chain.group) != chain.size:
            raise ValueError(f"{chain.group} has no {chain.size} units in this network")
    return recorded


def _as_text(recorded: Recorded, weights_key: str) -> str:
    run = recorded.run
    content = {
        "format": FORMAT,
        "graph": run.graph_key,
        "weights": weights_key,
        "command": recorded.command,
        "run": _run(run),
        "order": [_rounded(asdict(curve)) for curve in recorded.order],
        "comparisons": [_rounded(asdict(comparison)) for comparison in recorded.comparisons],
    }
    return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n"


def _run(run: ChainRun) -> dict[str, object]:
    """What a run says; its chains' first alphas are those of the first frame."""
    return {
        "network": run.network,
        "cost": run.cost,
        "target": run.target,
        "chains": [[chain.group, chain.size, chain.least, chain.step] for chain in run.chains],
        "of": run.of,
        "warm_up": run.warm_up,
        "steps": run.steps.tolist(),
        "alphas": np.round(run.alphas.astype(np.float64), ALPHA_DECIMALS).tolist(),
        "shares": np.round(run.shares, SHARE_DECIMALS).tolist(),
        "losses": {name: _losses(values.tolist()) for name, values in run.losses.items()},
        "settings": dict(run.settings),
        "widths": dict(run.widths),
        "training": {**asdict(run.training), "seconds": round(run.training.seconds, 1)},
    }


def _losses(values: Iterable[float]) -> list[float | None]:
    """To a few digits; JSON has no NaN."""
    return [float(f"{value:.{LOSS_DIGITS}g}") if np.isfinite(value) else None for value in values]


def _rounded(value: object) -> object:
    """The same with all floats rounded."""
    if isinstance(value, float):
        return round(value, SHARE_DECIMALS)
    if isinstance(value, Mapping):
        return {name: _rounded(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(each) for each in value]
    return value


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    """Parameters, each tie once, and the buffers that a state dict has."""
    saved = nn.Module.state_dict(model)  # not a user's own
    buffers = {name: buffer for name, buffer in model.named_buffers() if name in saved}
    return {**dict(model.named_parameters()), **buffers}


def _stored(model: nn.Module) -> dict[str, Tensor]:
    """Tensors as the file holds them. Raises BadInput for weights beyond float16."""
    stored = {}
    for name, tensor in _tensors(model).items():
        if tensor.is_floating_point():
            kind = torch.float16 if isinstance(tensor, nn.Parameter) else torch.float32
            stored[name] = tensor.detach().to(kind).contiguous().clone()
            if not torch.isfinite(stored[name]).all():
                raise BadInput(
                    f"{name} of the supernet holds numbers that do not fit into {kind}, so it is not stored: its "
                    "training broke down. Search again with a lower rate."
                )
        else:
            stored[name] = tensor.detach().contiguous().clone()
    return stored


def _shape(tensors: Mapping[str, Tensor], name: str) -> tuple[int, ...] | None:
    return tuple(tensors[name].shape) if name in tensors else None
