"""The Python file that rebuilds a shrunk network: it needs torch only, and a user's network its own module.

It carries the source of a bundled network's class or imports the constructor of a user's, and carries the
sizes that modules keep of themselves, the functions of `reader.py` and `rebuild.py`, and where blocks were
removed the layers of `emptied.py`. All widths come from the weights file beside it, so the two cannot disagree.
"""

import ast
import inspect
import json
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

import torch

from explorer import emptied
from explorer.data import Normalize
from explorer.export import reader, rebuild
from explorer.export.definition import Definition, carried, definition, import_block
from explorer.export.report import Report
from explorer.export.table import accuracy_text
from explorer.graph.inputs import arguments, form_of, tensors_of, with_form
from explorer.values import ChannelGraph, Estimate
from explorer.zoo import Network

LINE = 110
LISTED_CLASSES = 20
IMPORTS = (
    "import torch",
    "from pathlib import Path",
    "from torch import Tensor",
    "from torch import nn",
)
OWN_NAMES = ("INPUT_SHAPE", "INPUT_SHAPES", "MEAN", "SIZES", "STD", "WEIGHTS", "load", "main", "normalize")
ABOUT = """\
{name} with {share:.1f} % of its MACs and {params:,} of {of:,} parameters. Made by Pruning Explorer.

    python {module}.py          prints its size and runs it once
    from {module} import load   load() gives the network in eval mode, ready to use or to train on

{needs}

{facts}

{how}
"""
HOW = (
    "How it works: {cls} is the class of the dense network, as it was written. The tensors in the weights file "
    "are smaller. `rebuild` puts them in their places and corrects the numbers that modules keep of their own "
    "size (SIZES); forward() needs no change."
)
HOW_IMPORTED = (
    "How it works: {make} makes the dense network. The tensors in the weights file are smaller. `rebuild` puts "
    "them in their places and corrects the numbers that modules keep of their own size (SIZES); forward() needs "
    "no change."
)
SCRIPT = '''\
"""{about}"""

{imports}

WEIGHTS = Path(__file__).with_name("{weights}")
{shape}
{normalize}

{network}# What modules keep of their own size. A row (module, attribute, tensor, dimension, numerator, denominator)
# means: attribute = length of the tensor's dimension * numerator / denominator.
SIZES = [
{sizes}]


{carried}


def load(path: str | Path = WEIGHTS) -> nn.Module:
    """The shrunk network with its weights, in eval mode."""
    return {load}.eval()


def main() -> None:
    """Load the network, run it once and say how large it is."""
    model = load()
    parameters = sum(parameter.numel() for parameter in model.parameters())
    with torch.inference_mode():
        logits = model({zeros})
    shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
    print(f"{{parameters:,}} parameters; logits of one input: {{shape}}")


if __name__ == "__main__":
    main()
'''


NETWORK = """\
# The dense network.
{about}


{source}


"""


def sizes(graph: ChannelGraph) -> list[tuple[str, str, str, int, int, int]]:
    """The graph's attributes that a plan can change, once each, in the order of the tensors."""
    changing = {(slot.tensor, slot.dim) for group in graph.prunable for slot in group.slots}
    order = {name: place for place, name in enumerate(graph.shapes)}
    found: dict[tuple[str, str], tuple[str, str, str, int, int, int]] = {}
    for row in sorted(graph.attributes, key=lambda row: (order[row[2]], row[1])):
        if (row[2], row[3]) in changing:
            found.setdefault(row[:2], row)
    return list(found.values())


def _table(rows: Iterable[tuple[str, str, str, int, int, int]]) -> str:
    # As JSON has them, strings are Python's too, in double quotes; a module may have any name.
    quoted = [tuple(json.dumps(cell, ensure_ascii=False) for cell in row) for row in rows]
    return "".join(f"    ({', '.join(row)}),\n" for row in quoted)


def _inputs(network: Network) -> tuple[str, str]:
    """What the inputs are, in words; and the constants and the function that make them of images."""
    inputs = tensors_of(network.example)
    shapes = "; ".join(
        f"{str(each.dtype).removeprefix('torch.')} (N, {', '.join(str(side) for side in each.shape[1:])})"
        for each in inputs
    )
    rule = network.normalize
    if not isinstance(rule, Normalize) or len(inputs) > 1:
        return f"{shapes}, as in training", ""
    mean, std = rule.mean, rule.std
    if isinstance(mean, float) and isinstance(std, float):
        constants, shown = f"MEAN, STD = {mean!r}, {std!r}", f"(pixel - {mean:g}) / {std:g}"
    else:
        constants = f"MEAN = {_per_channel(mean)}\nSTD = {_per_channel(std)}"
        shown = f"(pixel - {_shown(mean)}) / {_shown(std)} per channel"
    code = (
        f"{constants}\n\n\n"
        "def normalize(images: Tensor) -> Tensor:\n"
        '    """Images in [0, 1] -> inputs."""\n'
        "    return (images - MEAN) / STD\n"
    )
    return f"{shapes}: pixels in [0, 1], then {shown}", code


def _per_channel(value: float | tuple[float, ...]) -> str:
    return repr(value) if isinstance(value, float) else f"torch.tensor({list(value)}).view(-1, 1, 1)"


def _shown(value: float | tuple[float, ...]) -> str:
    return f"{value:g}" if isinstance(value, float) else f"({', '.join(f'{each:g}' for each in value)})"


class Source(str):
    """An expression, which stays what it is where what holds it is written as Python."""

    __repr__ = str.__str__


def _shapes(network: Network) -> tuple[str, str]:
    """The constant with the shapes of one example, and the arguments that are zeros of them."""
    inputs = tensors_of(network.example)
    dtypes = ["" if each.dtype == torch.float32 else f", dtype={each.dtype}" for each in inputs]
    shapes = [tuple(each.shape[1:]) for each in inputs]
    if len(inputs) == 1:
        return f"INPUT_SHAPE = {shapes[0]}", f"torch.zeros(1, *INPUT_SHAPE{dtypes[0]})"
    zeros: Any = [
        Source(f"torch.zeros(1, *INPUT_SHAPES[{place}]{dtype})") for place, dtype in enumerate(dtypes)
    ]
    args, kwargs = arguments(network.model, with_form(zeros, form_of(network.example)))
    given = [*map(repr, args), *(f"{name}={value!r}" for name, value in kwargs.items())]
    return f"INPUT_SHAPES = {shapes}", ", ".join(given)


def _accuracy(split: str, before: Estimate, after: Estimate) -> str:
    if after.counts != "accuracy":
        return f"{split.capitalize()} images, without labels: {after}."
    if after.measure != "accuracy":
        return f"{split.capitalize()} images: {after}; dense {accuracy_text(before)}."
    return f"Accuracy, {after.seen:,} {split} images: {accuracy_text(after)}; dense {accuracy_text(before)}."


def _logits(network: Network, graph: ChannelGraph) -> str:
    """What the outputs of a classifier are."""
    outputs = "logits"
    classes = network.classes if network.data is None else network.data.classes
    if {graph.layers[layer].out_shape[0] for places in graph.exits for layer in places} == {1}:
        outputs = "one logit, above 0 for the second of the classes " + ", ".join(classes or ("0", "1"))
    elif classes:
        outputs = f"logits of {len(classes):,} classes"
        outputs += f": {', '.join(classes)}" if len(classes) <= LISTED_CLASSES else ""
    return outputs


def _about(
    network: Network,
    graph: ChannelGraph,
    report: Report,
    weights: str,
    inputs: str,
    removed: Sequence[str],
    dense: Definition,
) -> str:
    """The script's docstring, between its quotes."""
    data = network.data
    if data is not None and data.explore.task is not None and not data.explore.task.classifies:
        outputs = f"those of the network, judged as for {data.explore.task.name}"
    else:
        outputs = _logits(network, graph)
    splits = {
        "explore": (report.dense.explore, report.now.explore),
        "final": (report.dense.final, report.now.final),
    }
    facts = [f"Inputs: {inputs}.", f"Outputs: {outputs}.", f"After cutting: {report.request.recovery.label}."]
    if removed:
        facts.append(f"Removed whole: {', '.join(removed)}.")
    facts += [
        _accuracy(split, before, after) for split, (before, after) in splits.items() if before and after
    ]
    needs = f"It needs torch and {weights} beside this file."
    how = HOW.format(cls=type(network.model).__name__)
    if dense.needs:
        needs = f"It needs torch, the module {dense.needs}, and {weights} beside this file."
        how = HOW_IMPORTED.format(make=dense.make)
    text = ABOUT.format(
        name=network.name,
        share=report.now.cost.macs / (report.dense.cost.macs or 1) * 100,
        params=report.now.cost.params,
        of=report.dense.cost.params,
        module=weights.removesuffix(".safetensors"),
        needs=textwrap.fill(needs, LINE),
        facts="\n".join(textwrap.fill(fact, LINE) for fact in facts),
        how=textwrap.fill(how, LINE),
    )
    return text.replace("\\", "\\\\").replace('"""', "'''")


def script_text(
    network: Network, graph: ChannelGraph, report: Report, weights: str, removed: Sequence[str] = ()
) -> str:
    """The Python file, for weights in a file of the name `weights` beside it.

    `removed` are the groups of width 0. Raises BadInput for a network whose class cannot be written.
    """
    modules = (reader, rebuild, emptied) if removed else (reader, rebuild)
    parts = [carried(inspect.getsource(module), "") for module in modules]
    lines = [*IMPORTS, *(line for part in parts for line in part.imports)]
    dense = definition(network, taken=[*OWN_NAMES, *_names([*lines, *(part.source for part in parts)])])
    load = f"rebuild({dense.make}, read_tensors(path), SIZES)"
    inputs, normalize = _inputs(network)
    shape, zeros = _shapes(network)
    about = textwrap.fill(dense.about, LINE, initial_indent="# ", subsequent_indent="# ")
    return SCRIPT.format(
        about=_about(network, graph, report, weights, inputs, removed, dense),
        imports=import_block([*lines, *dense.imports]),
        weights=weights,
        shape=shape,
        normalize=normalize,
        network=NETWORK.format(about=about, source=dense.source) if dense.source else "",
        sizes=_table(sizes(graph)),
        carried="\n\n\n".join(part.source for part in parts),
        load=f"replace_emptied({load})" if removed else load,
        zeros=f"normalize({zeros})" if normalize else zeros,
    )


def _names(sources: Iterable[str]) -> set[str]:
    """The names that pieces of source import or define at their top."""
    found: set[str] = set()
    for node in (node for source in sources for node in ast.parse(source).body):
        if isinstance(node, ast.Import | ast.ImportFrom):
            found |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.Assign):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
    return found
