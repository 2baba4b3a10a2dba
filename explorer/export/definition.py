"""How an exported Python file comes by the dense network: its class carried as source, or imported."""

import ast
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from explorer.errors import BadInput, ExplorerError
from explorer.zoo import Network

if TYPE_CHECKING:
    from explorer.zoo.constructor import Constructor

ALIAS = "dense_"


@dataclass(frozen=True)
class Definition:
    """Lines of import, source to carry, a sentence about it, and the expression that makes the dense network.

    `needs` is the user's module that is imported; "" where all is carried.
    """

    imports: tuple[str, ...]
    source: str
    about: str
    make: str
    needs: str = ""


def can_be_written(network: Network) -> bool:
    """Whether there is a way to make the dense network in a Python file."""
    return network.source is not None or network.constructor is not None


def definition(network: Network, taken: Iterable[str] = ()) -> Definition:
    """The carried source of a bundled network, else the import of its constructor.

    `taken` are names that the file uses itself: a constructor of such a name is imported under another.
    Raises BadInput for a network that has neither.
    """
    if network.source is not None:
        return carried(Path(network.source).read_text(encoding="utf-8"), f"{type(network.model).__name__}()")
    if network.constructor is not None:
        return imported(network.constructor, taken)
    raise BadInput(f"{network.name} cannot be written as a Python file: {network.no_constructor}")


def imported(constructor: "Constructor", taken: Iterable[str] = ()) -> Definition:
    """A constructor that the file imports."""
    line, expression = constructor.import_line, constructor.expression
    top = constructor.name.partition(".")[0]
    if top in taken:
        line, expression = f"{line} as {ALIAS}{top}", f"{ALIAS}{expression}"
    return Definition((line,), "", "", expression, constructor.module)


def carried(text: str, make: str) -> Definition:
    """A module's source, split into its docstring, its imports and the rest.

    Raises ExplorerError if it imports more than torch and Python's own modules.
    """
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
        if relative or not (_top(name) == "torch" or _top(name) in sys.stdlib_module_names):
            raise ExplorerError(
                f"The network's source imports {'.' if relative else ''}{name}; an exported file may import "
                "torch and Python's own modules only."
            )


def import_block(lines: Iterable[str]) -> str:
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
