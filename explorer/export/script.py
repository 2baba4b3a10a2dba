"""The Python file that rebuilds a shrunk network: it needs torch and safetensors only.

It carries the source of the network's class, the sizes that modules keep of themselves, the functions of
`rebuild.py`, and where blocks were removed the layers of `emptied.py`. All widths come from the weights file
beside it, so the two cannot disagree.
"""

import ast
import inspect
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from explorer import emptied
from explorer.data import Normalize
from explorer.errors import BadInput, ExplorerError
from explorer.export import rebuild
from explorer.export.report import Report
from explorer.export.table import accuracy_text
from explorer.values import ChannelGraph
from explorer.zoo import Network

LIBRARIES = ("torch", "safetensors")
LINE = 110
IMPORTS = (
    "import torch",
    "from pathlib import Path",
    "from safetensors.torch import load_file",
    "from torch import Tensor",
    "from torch import nn",
)
ABOUT = """\
{name} with {share:.1f} % of its MACs and {params:,} of {of:,} parameters. Made by Pruning Explorer.

    python {module}.py          prints its size and runs it once
    from {module} import load   load() gives the network in eval mode, ready to use or to train on

It needs torch and safetensors, and {weights} beside this file.

{facts}

How it works: {cls} is the class of the dense network, as it was written. The tensors in the weights
file are smaller. `rebuild` puts them in their places and corrects the numbers that modules keep of their
own size (SIZES); forward() needs no change.
"""
SCRIPT = '''\
"""{about}"""

{imports}

WEIGHTS = Path(__file__).with_name("{weights}")
INPUT_SHAPE = {shape}
{normalize}

# The dense network.
{network_about}


{network}


# What modules keep of their own size. A row (module, attribute, tensor, dimension, numerator, denominator)
# means: attribute = length of the tensor's dimension * numerator / denominator.
SIZES = [
{sizes}]


{rebuild}


def load(path: str | Path = WEIGHTS) -> nn.Module:
    """The shrunk network with its weights, in eval mode."""
    return {load}.eval()


def main() -> None:
    """Load the network, run it once and say how large it is."""
    model = load()
    parameters = sum(parameter.numel() for parameter in model.parameters())
    with torch.inference_mode():
        logits = model({image})
    print(f"{{parameters:,}} parameters; logits of one input: {{tuple(logits.shape)}}")


if __name__ == "__main__":
    main()
'''


@dataclass(frozen=True)
class Definition:
    """How the script comes by the dense class: lines of import, source to carry, expression that makes it."""

    imports: tuple[str, ...]
    source: str
    about: str
    make: str


def embedded(network: Network) -> Definition:
    """The definition of a bundled network: the source of its file. Raises BadInput for another network."""
    name = type(network.model).__name__
    if network.source is None:
        raise BadInput(
            f"The class {name} cannot be written into a Python file: only networks that ship with the "
            "explorer can be exported so far. Keep your module's source and save network.state_dict()."
        )
    return _definition(Path(network.source).read_text(encoding="utf-8"), f"{name}()")


def _definition(text: str, make: str) -> Definition:
    """Split a module's source into its docstring, its imports and the rest."""
    tree = ast.parse(text)
    head = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            _require_allowed(node)
    start = max((node.end_lineno or 0 for node in [*head, *_docstring(tree)]), default=0)
    source = "\n".join(text.splitlines()[start:]).strip("\n")
    about = (ast.get_docstring(tree) or "").partition("\n")[0]
    return Definition(tuple(_single_imports(head)), source, about, make)


def _single_imports(nodes: Iterable[ast.Import | ast.ImportFrom]) -> Iterator[str]:
    """Lines that import one name each."""
    for node in nodes:
        for alias in node.names:
            if isinstance(node, ast.Import):
                yield ast.unparse(ast.Import([alias]))
            else:
                yield ast.unparse(ast.ImportFrom(node.module, [alias], 0))


def _docstring(tree: ast.Module) -> list[ast.stmt]:
    return tree.body[:1] if ast.get_docstring(tree) is not None else []


def _require_allowed(node: ast.Import | ast.ImportFrom) -> None:
    relative = isinstance(node, ast.ImportFrom) and node.level > 0
    names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
    for name in names:
        top = name.partition(".")[0]
        if relative or not (top in LIBRARIES or top in sys.stdlib_module_names):
            raise ExplorerError(
                f"The network's source imports {'.' if relative else ''}{name}; an exported file may import "
                f"{', '.join(LIBRARIES)} and Python's own modules only."
            )


def _import_block(lines: Iterable[str]) -> str:
    """Sorted and merged: Python's own modules, then the others; `import x` before `from x import y`."""
    plain: set[str] = set()
    members: dict[str, set[str]] = {}
    for line in lines:
        if line.startswith("import "):
            plain.add(line)
        else:
            module, _, name = line.removeprefix("from ").partition(" import ")
            members.setdefault(module, set()).add(name)
    froms = {module: f"from {module} import {', '.join(sorted(names))}" for module, names in members.items()}
    blocks = []
    for own in (True, False):
        block = [line for line in sorted(plain) if (_top(line.split()[1]) in sys.stdlib_module_names) is own]
        block += [
            line for module, line in sorted(froms.items()) if (_top(module) in sys.stdlib_module_names) is own
        ]
        if block:
            blocks.append("\n".join(block))
    return "\n\n".join(blocks)


def _top(module: str) -> str:
    return module.partition(".")[0]


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
    quoted = [tuple(f'"{cell}"' if isinstance(cell, str) else str(cell) for cell in row) for row in rows]
    return "".join(f"    ({', '.join(row)}),\n" for row in quoted)


def _inputs(network: Network) -> tuple[str, str]:
    """What the inputs are, in words; and the constants and function that make them of images."""
    shape = f"float32 (N, {', '.join(str(side) for side in network.example.shape[1:])})"
    rule = network.normalize
    if not isinstance(rule, Normalize):
        return f"{shape}, normalised as in training", ""
    code = (
        f"MEAN, STD = {rule.mean!r}, {rule.std!r}\n\n\n"
        "def normalize(images: Tensor) -> Tensor:\n"
        '    """Images in [0, 1] -> inputs."""\n'
        "    return (images - MEAN) / STD\n"
    )
    return f"{shape}: pixels in [0, 1], then (pixel - {rule.mean:g}) / {rule.std:g}", code


def _about(network: Network, report: Report, weights: str, inputs: str, removed: Sequence[str]) -> str:
    """The script's docstring, between its quotes."""
    dense, now = report.dense, report.now
    outputs = "logits"
    if network.data is not None:
        outputs = f"logits of {len(network.data.classes)} classes: {', '.join(network.data.classes)}"
    measured = [
        f"Accuracy, {after.seen:,} {split} images: {accuracy_text(after)}; dense {accuracy_text(before)}."
        for split, before, after in (
            ("explore", dense.explore, now.explore),
            ("final", dense.final, now.final),
        )
        if before is not None and after is not None
    ]
    facts = [f"Inputs: {inputs}.", f"Outputs: {outputs}.", f"After cutting: {report.request.recovery.label}."]
    if removed:
        facts.append(f"Removed whole: {', '.join(removed)}.")
    text = ABOUT.format(
        name=network.name,
        share=now.cost.macs / dense.cost.macs * 100,
        params=now.cost.params,
        of=dense.cost.params,
        module=weights.removesuffix(".safetensors"),
        weights=weights,
        facts="\n".join(textwrap.fill(fact, LINE) for fact in [*facts, *measured]),
        cls=type(network.model).__name__,
    )
    return text.replace("\\", "\\\\").replace('"""', "'''")


def script_text(
    network: Network, graph: ChannelGraph, report: Report, weights: str, removed: Sequence[str] = ()
) -> str:
    """The Python file, for weights in a file of the name `weights` beside it.

    `removed` are the groups of width 0. Raises BadInput for a network whose class cannot be carried.
    """
    dense = embedded(network)
    carried = [
        _definition(inspect.getsource(module), "")
        for module in ((rebuild, emptied) if removed else (rebuild,))
    ]
    load = f"rebuild({dense.make}, load_file(path), SIZES)"
    inputs, normalize = _inputs(network)
    image = "torch.zeros(1, *INPUT_SHAPE)"
    return SCRIPT.format(
        about=_about(network, report, weights, inputs, removed),
        imports=_import_block(
            [*IMPORTS, *dense.imports, *(line for part in carried for line in part.imports)]
        ),
        weights=weights,
        shape=tuple(graph.input_shape),
        normalize=normalize,
        network_about=textwrap.fill(dense.about, LINE, initial_indent="# ", subsequent_indent="# "),
        network=dense.source,
        sizes=_table(sizes(graph)),
        rebuild="\n\n\n".join(part.source for part in carried),
        load=f"replace_emptied({load})" if removed else load,
        image=f"normalize({image})" if normalize else image,
    )
