"""`export`: the shrunk network as files."""

import copy
from pathlib import Path
from types import MappingProxyType
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from explorer.errors import BadInput, ExplorerError
from explorer.export.files import staged
from explorer.export.picture import bars, captions, image_name, svg
from explorer.export.report import Report
from explorer.export.script import script_text
from explorer.export.widths import widths_text
from explorer.surgery import removed_positions
from explorer.values import ChannelGraph, Plan
from explorer.zoo import Network

ROUNDING = 1e-6  # x scale of the logits: where weights lie in memory decides the order of sums
FILES = MappingProxyType(
    {
        "weights": "{}_pruned.safetensors",
        "widths": "{}_widths.json",
        "script": "{}_pruned.py",
        "picture": "{}_widths.svg",
    }
)


def export(
    folder: str | Path, network: Network, graph: ChannelGraph, plan: Plan, model: nn.Module, report: Report
) -> dict[str, Path]:
    """Write `model`, the network shrunk to the plan and recovered (not folded), into a folder.

    Returns the paths of "weights" (safetensors), "widths" (JSON), "script" (a Python file that rebuilds the
    network and needs torch and safetensors only) and "picture" (SVG). The folder is made if need be; files
    of the same names are replaced, others stay; either all are written or none. Before that the script is
    run, and must give the model's logits. Raises BadInput for a model that is not the plan's, a
    network whose class cannot be carried, or a folder that cannot be used, and ExplorerError when writing
    fails.
    """
    _check_model(graph, plan, model)
    names = {kind: name.format(network.name) for kind, name in FILES.items()}
    removed = [name for name, width in plan.widths.items() if width == 0]
    texts = {
        "widths": widths_text(network, graph, plan, report),
        "script": script_text(network, graph, report, names["weights"], removed),
        "picture": svg(bars(graph, plan), *_captions(network, report)),
    }
    weights = safetensors.torch.save(stored_tensors(graph, model))
    folder = Path(folder)
    with staged(folder) as stage:
        (stage / names["weights"]).write_bytes(weights)
        for kind, text in texts.items():
            (stage / names[kind]).write_text(text, encoding="utf-8")
        _check_script(stage / names["script"], model, network.example)
    return {kind: folder / name for kind, name in names.items()}


def stored_tensors(graph: ChannelGraph, model: nn.Module) -> dict[str, Tensor]:
    """The model's state dict as a file holds it: contiguous, tied tensors once."""
    tied = dict(graph.ties)
    return {
        name: tensor.detach().contiguous() for name, tensor in model.state_dict().items() if name not in tied
    }


def _check_model(graph: ChannelGraph, plan: Plan, model: nn.Module) -> None:
    expected = {name: list(shape) for name, shape in graph.shapes.items()}
    for (name, dim), gone in removed_positions(graph, plan).items():
        if name in expected:
            expected[name][dim] -= int(gone.sum())
    shapes = {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
    tied = dict(graph.ties)
    for name in [*expected, *shapes]:
        wanted = expected.get(tied.get(name, name))
        if shapes.get(name) != wanted:
            raise BadInput(
                f"The model is not the network shrunk to this plan: {name} has shape "
                f"{shapes.get(name, 'none')}, the plan says {wanted or 'none'}. Pass "
                "explorer.shrink(network.model, graph, plan), recovered or not."
            )


def _captions(network: Network, report: Report) -> tuple[str, str, str]:
    """Title, subtitle and the input's name for the picture."""
    dense, now = report.dense, report.now
    titles = captions(network.name, now.cost, dense.cost, report.request.recovery, now.explore, dense.explore)
    return *titles, image_name(network)


def _check_script(path: Path, model: nn.Module, example: Tensor) -> None:
    """Run the script as it stands beside its weights; its network must answer as the model does."""
    namespace: dict[str, Any] = {"__name__": path.stem, "__file__": str(path)}
    with torch.random.fork_rng(devices=[]), torch.no_grad():  # the dense class draws initial weights
        wanted = copy.deepcopy(model).eval()(example)
        try:
            exec(compile(path.read_text(encoding="utf-8"), path.name, "exec"), namespace)
            difference = float((namespace["load"]()(example) - wanted).abs().max())
        except Exception as error:  # whatever a network's own source may raise
            raise ExplorerError(
                f"The written script would not run ({type(error).__name__}: {error}). Nothing was written. This "
                "is a fault of the explorer: please report it."
            ) from error
    if not difference <= ROUNDING * max(1.0, float(wanted.abs().max())):  # NaN too
        raise ExplorerError(
            f"The written script would rebuild another network: its logits differ by {difference:g}. Nothing "
            "was written. This is a fault of the explorer: please report it."
        )
