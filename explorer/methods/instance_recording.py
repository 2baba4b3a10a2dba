"""Recorded instance subnetworks: a training that was run once, and what its terms do, in files that ship.

`<network>-manidp.json` holds the run, settings and rivals, `<network>-manidp.safetensors` the trained network
(parameters as float16, statistics and thresholds as float32) and every image's MACs, loss and outcome of each way of
training. Both name the weights that the run began with, so that they are shown for those only.
`scripts/record_manidp.py` makes them.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from importlib.resources import as_file
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from explorer.dynamic.heads import SaliencyModule
from explorer.dynamic.network import Dynamic
from explorer.dynamic.sites import find_sites
from explorer.errors import BadInput, ExplorerError
from explorer.instances import Effect, InstanceRun, Instances, RecordedInstances, Rival, agreement, cosines
from explorer.methods.manidp import inputs_of
from explorer.methods.recorded_files import NAME, recorded_file, unreadable, write_whole
from explorer.records import TrainingCost
from explorer.values import ChannelGraph
from explorer.zoo.network import Network

FORMAT = 1
SIMILAR_IMAGES = 1_000  # that similarities are measured on
_ARRAYS = ("macs", "losses", "right")


def effect_of(
    name: str, found: Instances, settings: Mapping[str, object], seed: int, command: str = ""
) -> Effect:
    """What one way of training came to: of the images `found` is of, similarities on at most SIMILAR_IMAGES of them."""
    rows = np.linspace(0, len(found) - 1, min(len(found), SIMILAR_IMAGES)).round().astype(np.int64)
    agreements, apart = [], []
    for site in found.sites.every:
        r, t = (cosines(table[rows, site.columns]) for table in (found.features, found.saliency))
        agreements.append(agreement(r, t))
        apart.append(float(np.square(t - r).mean()))
    return Effect(
        name,
        settings,
        seed,
        found.shares.astype(np.float32),
        found.losses,
        found.right,
        tuple(agreements),
        float(np.mean(apart)),
        command,
    )


def as_stored(dynamic: Dynamic) -> Dynamic:
    """The same network with its parameters rounded in place to float16, as a file holds them."""
    with torch.no_grad():
        for parameter in dynamic.parameters():
            parameter.copy_(parameter.half())
    return dynamic


def write_recorded_instances(
    folder: str | Path, recorded: RecordedInstances, weights_key: str, dynamic: Dynamic
) -> None:
    """Write both files, each atomically.

    Raises BadInput for a network's name that is no file's name and for weights that float16 cannot hold, ExplorerError
    where the folder cannot be written to.
    """
    if not NAME.fullmatch(recorded.run.network):
        raise BadInput(
            f"A recorded run is a file named after its network, and {recorded.run.network!r} is no name for a file."
        )
    name, folder = f"{recorded.run.network}-manidp", Path(folder)
    tensors: dict[str, Tensor] = {}
    own = dict(dynamic.named_parameters())
    for key, tensor in dynamic.state_dict().items():
        kind = torch.float16 if key in own else tensor.dtype
        tensors[f"dynamic.{key}"] = tensor.detach().to(kind).contiguous().clone()
        if key in own and not torch.isfinite(tensors[f"dynamic.{key}"]).all():
            raise BadInput(
                f"{key} holds numbers that do not fit into float16: its training broke down. Train again with a lower "
                "rate."
            )
    for effect in recorded.effects:
        tensors[f"effect.{effect.name}.macs"] = torch.from_numpy(effect.macs.copy())
        tensors[f"effect.{effect.name}.losses"] = torch.from_numpy(effect.losses.copy())
        tensors[f"effect.{effect.name}.right"] = torch.from_numpy(effect.right.astype(np.uint8))
    marks = {"weights": weights_key, "graph": recorded.run.graph_key}
    text = _as_text(recorded, weights_key)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / f"{name}.safetensors", lambda path: save_file(tensors, path, marks))
        write_whole(folder / f"{name}.json", lambda path: path.write_text(text, encoding="utf-8"))
    except OSError as error:
        raise ExplorerError(
            f"The recorded run of {recorded.run.network} could not be written to {folder} ({error.strerror or error}). "
            "Free some space or name another folder."
        ) from error


def read_recorded_instances(
    network: Network, graph: ChannelGraph, folder: str | Path | None = None
) -> RecordedInstances | None:
    """The recorded run of this network with these very weights, None if there is none.

    `folder`: the package's own, unless another is named. Raises ExplorerError for files that cannot be read.
    """
    text, arrays = (
        recorded_file(network.name, f"-manidp.{ending}", folder) for ending in ("json", "safetensors")
    )
    if text is None or arrays is None:
        return None
    try:
        content = json.loads(text.read_text(encoding="utf-8"))
        if _key(content) != (graph.key, network.weights_key):
            return None
        with as_file(arrays) as path, safe_open(path, framework="np") as stored:
            known = {
                each["name"]: [stored.get_tensor(f"effect.{each['name']}.{part}") for part in _ARRAYS]
                for each in content["effects"]
            }
        return _recorded(content, known)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise _unreadable(text, network.name, error) from error


def read_recorded_dynamic(
    network: Network, graph: ChannelGraph, folder: str | Path | None = None
) -> Dynamic | None:
    """The trained network of the recorded run, in eval mode; None if there is none for these very weights.

    Raises ExplorerError for a file that cannot be read, or whose tensors are not such a network's.
    """
    file = recorded_file(network.name, "-manidp.safetensors", folder)
    if file is None:
        return None
    try:
        with as_file(file) as path, safe_open(path, framework="pt") as stored:
            marks = stored.metadata() or {}
            if (marks.get("weights"), marks.get("graph")) != (network.weights_key, graph.key):
                return None
            names = [name for name in stored.keys() if name.startswith("dynamic.")]  # noqa: SIM118
            tensors = {name.removeprefix("dynamic."): stored.get_tensor(name) for name in names}
        recorded = read_recorded_instances(network, graph, folder)
        if recorded is None:
            raise _unreadable(file, network.name, "the .json beside it is missing, or of another run")
        with torch.inference_mode(False), torch.no_grad():
            sites = find_sites(network.model, graph, network.example, normed=True)
            clamp = float(str(recorded.run.settings["clamp"]))
            heads: list[nn.Module] = [
                SaliencyModule(inputs_of(network.model, site), site.size, clamp) for site in sites.every
            ]
            level = float(str(recorded.run.settings["level"]))
            dynamic = Dynamic(network.name, network.model, graph, sites, "manidp", heads, level)
            own = dynamic.state_dict()
            dynamic.load_state_dict({name: each.to(own[name].dtype) for name, each in tensors.items()})
    except (OSError, SafetensorError, RuntimeError, KeyError, ValueError) as error:
        raise _unreadable(file, network.name, error) from error
    return dynamic.eval()


# ---- files -----------------------------------------------------------------------------------------------


def _unreadable(file: Traversable, name: str, why: object) -> ExplorerError:
    return unreadable(file, f"python scripts/record_manidp.py {name}", why)


def _as_text(recorded: RecordedInstances, weights_key: str) -> str:
    run = recorded.run
    content = {
        "format": FORMAT,
        "graph": run.graph_key,
        "weights": weights_key,
        "command": recorded.command,
        "run": {
            "network": run.network,
            "method": run.method,
            "of": run.of,
            "per_epoch": run.per_epoch,
            "steps": run.steps.tolist(),
            "shares": _numbers(run.shares.tolist()),
            "levels": _numbers(run.levels.tolist()),
            "losses": {name: _numbers(values.tolist()) for name, values in run.losses.items()},
            "settings": dict(run.settings),
            "training": {**asdict(run.training), "seconds": round(run.training.seconds, 1)},
        },
        "effects": [
            {
                "name": effect.name,
                "settings": dict(effect.settings),
                "seed": effect.seed,
                "agreements": _numbers(effect.agreements),
                "apart": round(effect.apart, 5),
                "command": effect.command,
            }
            for effect in recorded.effects
        ],
        "rivals": [asdict(rival) for rival in recorded.rivals],
    }
    return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n"


def _key(content: dict[str, Any]) -> tuple[str, str]:
    """Of which network a file is. Raises ValueError for another format."""
    if content["format"] != FORMAT:
        raise ValueError(f"it is not of format {FORMAT}")
    return content["graph"], content["weights"]


def _numbers(values: Any) -> list[float | None]:
    """To five digits; JSON has no NaN."""
    return [float(f"{value:.5g}") if np.isfinite(value) else None for value in values]


def _known(values: list[float | None]) -> list[float]:
    return [float("nan") if value is None else value for value in values]


def _recorded(content: dict[str, Any], arrays: Mapping[str, list[Any]]) -> RecordedInstances:
    run = content["run"]
    return RecordedInstances(
        InstanceRun(
            run["network"],
            content["graph"],
            run["method"],
            run["of"],
            run["per_epoch"],
            np.array(run["steps"]),
            np.array(_known(run["shares"])),
            np.array(_known(run["levels"])),
            {name: np.array(_known(values)) for name, values in run["losses"].items()},
            run["settings"],
            TrainingCost(**run["training"]),
            ended=True,
        ),
        tuple(
            Effect(
                name=each["name"],
                settings=each["settings"],
                seed=each["seed"],
                agreements=tuple(_known(each["agreements"])),
                apart=each["apart"],
                command=each["command"],
                **dict(zip(_ARRAYS, arrays[each["name"]], strict=True)),
            )
            for each in content["effects"]
        ),
        tuple(Rival(**rival) for rival in content["rivals"]),
        content["command"],
    )
