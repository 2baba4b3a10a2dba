"""`export`: the shrunk network as files."""

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from explorer.errors import BadInput, ExplorerError, require_name
from explorer.evaluate.live import unnoticed
from explorer.export.definition import can_be_written
from explorer.export.files import check_folder, staged
from explorer.export.onnx_file import check_onnx, onnx_bytes, require_onnx
from explorer.export.picture import bars, captions, image_name, svg
from explorer.export.program import archive, check_archive, program_of, tensors, trials
from explorer.export.report import Report
from explorer.export.script import script_text
from explorer.export.widths import widths_text
from explorer.graph.copies import deep_copy
from explorer.graph.inputs import call_model
from explorer.strings import Message
from explorer.surgery import removed_positions
from explorer.values import ChannelGraph, Plan
from explorer.zoo import Network

ROUNDING = 1e-6  # x scale of the logits: where weights lie in memory decides the order of sums
FILES = MappingProxyType(
    {
        "weights": "{}_pruned.safetensors",
        "widths": "{}_widths.json",
        "script": "{}_pruned.py",
        "archive": "{}_pruned.pt2",
        "onnx": "{}_pruned.onnx",
        "picture": "{}_widths.svg",
    }
)
FORMATS = ("network", "onnx", "archive")
Say = Callable[[Message], object]


def check_formats(formats: Collection[str]) -> None:
    """Raise ExplorerError unless all of `formats` are known, and the packages that they need are there."""
    if isinstance(formats, str) or not isinstance(formats, Collection) or not formats:
        raise BadInput(f"formats is {formats!r}; expected one or more of {', '.join(FORMATS)}, as a tuple.")
    for name in formats:
        require_name("format", name, FORMATS)
    if "onnx" in formats:
        require_onnx()


def export(
    folder: str | Path,
    network: Network,
    graph: ChannelGraph,
    plan: Plan,
    model: nn.Module,
    report: Report,
    formats: Collection[str] = ("network",),
    say: Say = unnoticed,
) -> dict[str, Path]:
    """Write `model`, the network shrunk to the plan and recovered (not folded), into a folder.

    `formats`: "network" writes "weights" (safetensors), "widths" (JSON), "picture" (SVG) and "script", a Python
    file that rebuilds the network from its class and needs torch and, for a network of one's own, the module
    that defines it; where that class cannot be imported (`network.no_constructor` says why), "archive" in its
    stead. "archive" is a torch.export archive (.pt2), for inference without any class; "onnx" an ONNX model.
    Returns the paths by these kinds. `say` is told what is not as asked: an archive in place of a script, a
    format that takes one image at a time only.

    The folder is made if need be; files of the same names are replaced, others stay; either all are written
    or none. Before that every file is read back and run: it must give the model's logits (ONNX in onnxruntime,
    up to 1e-4 of their scale). Raises BadInput for a model that is not the plan's, an unknown format or a
    folder that cannot be used, and ExplorerError when a package is missing, an operator cannot be exported, or
    writing fails.
    """
    check_formats(formats)
    folder = check_folder(folder)
    _check_model(graph, plan, model)
    kinds = _kinds(network, formats)
    names = {kind: FILES[kind].format(network.file_name) for kind in kinds}
    if "network" in formats and "script" not in kinds:
        say(Message.of("export_no_script", reason=network.no_constructor))
    contents = _contents(network, graph, plan, model, report, names)
    if "archive" in kinds or "onnx" in kinds:
        contents |= _programs(network, model, contents, names, report, say)
    with staged(folder) as stage:
        for kind, name in names.items():
            (stage / name).write_bytes(contents[kind])
        if "script" in kinds:
            _check_script(stage / names["script"], network, model)
    return {kind: folder / name for kind, name in names.items()}


def _kinds(network: Network, formats: Collection[str]) -> list[str]:
    """The files of these formats, in the order of FILES."""
    wanted = set(formats) - {"network"}
    if "network" in formats:
        wanted |= {"weights", "widths", "picture", "script" if can_be_written(network) else "archive"}
    return [kind for kind in FILES if kind in wanted]


def _contents(
    network: Network,
    graph: ChannelGraph,
    plan: Plan,
    model: nn.Module,
    report: Report,
    names: dict[str, str],
) -> dict[str, bytes]:
    """The files that need no exporter of torch's. The widths also lie in an archive."""
    contents = {"widths": widths_text(network, graph, plan, report).encode()}
    if "weights" in names:
        contents["weights"] = safetensors.torch.save(stored_tensors(graph, model))
    if "script" in names:
        removed = [name for name, width in plan.widths.items() if width == 0]
        contents["script"] = script_text(network, graph, report, names["weights"], removed).encode()
    if "picture" in names:
        contents["picture"] = svg(bars(graph, plan), *_captions(network, report)).encode()
    return contents


def _programs(
    network: Network,
    model: nn.Module,
    contents: dict[str, bytes],
    names: dict[str, str],
    report: Report,
    say: Say,
) -> dict[str, bytes]:
    """The files that are made from a torch.export program, checked."""
    program = program_of(model, network.example)
    tried = trials(model, network.example, program.any_batch)
    made = {}
    if "archive" in names:
        made["archive"] = archive(
            program, {FILES["widths"].format(network.file_name): contents["widths"].decode()}
        )
        check_archive(made["archive"], tried)
    if "onnx" in names:
        share = report.now.cost.macs / (report.dense.cost.macs or 1) * 100
        about = f"{network.name} with {share:.1f} % of its MACs, made by Pruning Explorer."
        made["onnx"] = onnx_bytes(program, network.name, about)
        check_onnx(made["onnx"], tried)
    if not program.any_batch:
        say(Message.of("export_one_image", names=", ".join(names[kind] for kind in made)))
    return made


def stored_tensors(graph: ChannelGraph, model: nn.Module) -> dict[str, Tensor]:
    """The model's state dict as a file holds it: contiguous, tied tensors once, each in memory of its own."""
    tied = dict(graph.ties)
    stored = {
        name: value
        for name, value in model.state_dict().items()
        if isinstance(value, Tensor) and name not in tied
    }
    seen: set[int] = set()
    for name, value in stored.items():
        storage = value.untyped_storage().data_ptr()
        stored[name] = value.detach().clone() if storage in seen else value.detach().contiguous()
        seen.add(storage)
    return stored


def _check_model(graph: ChannelGraph, plan: Plan, model: nn.Module) -> None:
    expected = {name: list(shape) for name, shape in graph.shapes.items()}
    for (name, dim), gone in removed_positions(graph, plan).items():
        if name in expected:
            expected[name][dim] -= int(gone.sum())
    state = model.state_dict().items()
    shapes = {name: list(value.shape) for name, value in state if isinstance(value, Tensor)}
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


def _check_script(path: Path, network: Network, model: nn.Module) -> None:
    """Run the script as it stands beside its weights; its network must answer as the model does."""
    namespace: dict[str, Any] = {"__name__": path.stem, "__file__": str(path)}
    with torch.random.fork_rng(devices=[]), torch.no_grad():  # the dense class draws initial weights
        dense = deep_copy(model)
        dense.eval()
        wanted = tensors(call_model(dense, network.example))
        try:
            exec(compile(path.read_text(encoding="utf-8"), path.name, "exec"), namespace)
            difference = _difference(tensors(call_model(namespace["load"](), network.example)), wanted)
        except Exception as error:  # whatever a network's own source may raise
            raise ExplorerError(
                f"The written script would not run ({type(error).__name__}: {error}). {_whose(network)}"
            ) from error
    if not difference <= ROUNDING:  # NaN too
        raise ExplorerError(
            f"The written script would rebuild another network: its logits differ by {difference:g} of their "
            f"scale. {_whose(network)}"
        )


def _difference(found: Sequence[Tensor], wanted: Sequence[Tensor]) -> float:
    """The largest difference as a share of the largest number, or of 1 if that is larger."""
    pairs = zip(found, wanted, strict=True)
    return max(
        (
            float((a.double() - b.double()).abs().max()) / max(1.0, float(b.double().abs().max()))
            for a, b in pairs
            if b.numel()
        ),
        default=0.0,
    )


def _whose(network: Network) -> str:
    made = network.constructor
    if network.source is None and made is not None:
        return (
            f"Nothing was written. {made.expression} of {made.module} may not be what made this network: pass "
            "load() another constructor, or export a torch.export archive."
        )
    return "Nothing was written. This is a fault of the explorer: please report it."
