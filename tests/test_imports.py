"""Imports point down, and the engine loads nothing that it does not need."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import explorer

PACKAGE = Path(explorer.__file__).parent

# Lowest first; parts of one row do not import each other. The zoo stands above the data, because a loaded
# network brings its images.
ROWS: list[set[str]] = [
    {"errors", "interrupts", "memory", "cache", "literature"}, {"values", "strings", "emptied"}, {"records"}, {"runs"},
    {"chains", "instances", "paired", "published", "published_dynamic"}, {"charts"}, {"graph"},
    {"costs", "surgery", "data"}, {"zoo"}, {"capture"}, {"repair"}, {"criteria", "allocate", "coverage"},
    {"evaluate", "observe"}, {"dynamic"}, {"methods"}, {"export"}, {"session"}, {"figures", "panels"}, {"app"},
    {"jupyter", "launch"}, {"cli"}, {"__main__"},
]  # fmt: skip
HEIGHT = {part: height for height, row in enumerate(ROWS) for part in row}
ALLOWED_BESIDE = {("panels", "figures")}  # the panels show the figures
INTERFACE = {"bokeh", "ipywidgets", "IPython", "jupyter_bokeh", "jupyterlab"}


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            module = node.module or ""
            yield from (
                (f"{module}.{alias.name}" for alias in node.names) if module == "explorer" else (module,)
            )


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


FILES = sorted(path for path in PACKAGE.rglob("*.py") if part_of(path) != "__init__")


VALUES = {
    "values",
    "records",
    "runs",
    "chains",
    "instances",
    "paired",
    "charts",
    "published",
    "published_dynamic",
}


def misplaced(path: Path) -> Iterator[str]:
    """What a file imports from beside it or above, in words."""
    part = part_of(path)
    for module in imports(path):
        names = module.split(".")
        if names[0] != "explorer":
            continue
        where = f"{path.relative_to(PACKAGE)} imports {module}"
        if len(names) == 1:  # the engine's public names
            if HEIGHT[part] <= HEIGHT["session"]:
                yield f"{where}: the engine must name the module"
            continue
        other = names[1]
        if other == part or (part, other) in ALLOWED_BESIDE:
            continue
        if HEIGHT[other] >= HEIGHT[part]:
            yield f"{where}, which is not below"
        elif part == "figures" and other not in {"errors", "strings", *VALUES}:
            yield f"{where}: figures see values only"


def test_imports_point_down() -> None:
    assert [words for path in FILES for words in misplaced(path)] == []


def test_every_part_has_its_place() -> None:
    assert {part_of(path) for path in FILES} <= set(HEIGHT)


def test_the_top_level_names_only_the_engine() -> None:
    parts = {
        module.split(".")[1] for module in imports(PACKAGE / "__init__.py") if module.startswith("explorer.")
    }
    assert parts
    assert all(HEIGHT[part] < HEIGHT["session"] for part in parts)


def test_the_engine_names_no_interface_library() -> None:
    engine = [path for path in FILES if HEIGHT[part_of(path)] <= HEIGHT["session"]]
    named = {path: {module.split(".")[0] for module in imports(path)} & INTERFACE for path in engine}
    assert {path: names for path, names in named.items() if names} == {}


def loaded_after(code: str) -> set[str]:
    """All modules that a fresh interpreter has loaded after running some code."""
    program = f"{code}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=PACKAGE.parent, check=True
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_importing_the_engine_loads_no_interface_no_torchvision_no_compiler() -> None:
    unwanted = INTERFACE | {"torchvision", "torch._dynamo"}
    assert not loaded_after("import explorer") & unwanted


WRONG_EXAMPLE = """
import torch, explorer
try:
    explorer.trace(torch.nn.Conv2d(3, 8, 3), torch.zeros(1, 1, 8, 8))
except explorer.CannotTrace as error:
    assert "does not run on an example" in str(error)
"""


def test_refusing_an_example_loads_no_compiler() -> None:
    assert not loaded_after(WRONG_EXAMPLE) & {"torch._dynamo", "sympy"}


WHOLE_ROAD = """
import torch, explorer
from explorer.zoo.networks import NETWORKS
net = explorer.load({source})
graph = explorer.trace(net.model, net.example)
few = net.data.explore.subset(32)
scores = explorer.score(net, graph, "taylor", data=few)
plan = explorer.allocate(graph, scores, keep=0.5)
explorer.cost(graph, plan)
small = explorer.shrink(net.model, graph, plan)
assert explorer.evaluate(small, few).seen == 32
"""


def test_the_whole_road_of_a_bundled_network_loads_no_torchvision_and_no_compiler() -> None:
    shipped = (PACKAGE / "zoo" / "weights" / "resnet20.safetensors").is_file()
    images = "(torch.zeros(8, 1, 28, 28), torch.zeros(8, dtype=torch.int64))"
    source = "'resnet20'" if shipped else f"NETWORKS['resnet20'](), data={images}"
    assert not loaded_after(WHOLE_ROAD.format(source=source)) & (INTERFACE | {"torchvision", "torch._dynamo"})
