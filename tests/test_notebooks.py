"""The notebooks are thin, without outputs, and run."""

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
MOST_CODE_CELLS = 5

every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)


def code_cells(path: Path) -> list[NotebookNode]:
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


def test_the_explorer_notebook_is_one_collapsed_cell():
    (cell,) = code_cells(ROOT / "notebooks" / "explorer.ipynb")
    assert cell.source == 'from explorer.app import Explorer\n\nExplorer("resnet20")'
    assert cell.metadata.jupyter.source_hidden is True


@every_notebook
def test_is_stored_without_outputs(path):
    for cell in code_cells(path):
        assert cell.outputs == []
        assert cell.execution_count is None


@every_notebook
def test_is_thin(path):
    cells = code_cells(path)
    assert 1 <= len(cells) <= MOST_CODE_CELLS
    words = [line.split(maxsplit=1)[0] for cell in cells for line in cell.source.splitlines() if line.strip()]
    assert not {"def", "class", "async"} & set(words)


# A live search on fewer images; what a notebook has to print.
SMALLER = {"dmcp.ipynb": {"subset(2000)": "subset(300)", "subset(1000)": "subset(100)"}}
SAYS = {
    "dmcp.ipynb": (
        "9 of 9: search",
        r"found: (39\.[5-9]|40\.[0-5])% of the MACs, .* 100 of 100 images",
        r"uniform: (39\.[5-9]|40\.[0-5])% of the MACs, .* 100 of 100 images",
    ),
    "repair.ipynb": (
        "refitted, v = 1.79",
        r"l1   50% of the MACs, nothing +[12]\d\.\d%",
        r"obs  50% of the MACs, layer after layer +9[1-4]\.\d%",
        r"obs  20% of the MACs, layer after layer +8[5-9]\.\d%",
    ),
    "instances.ipynb": (
        r"subnetworks   9[0-2]\.\d% of 2000 images right, (3|4|5)\d\.\d% of the MACs",
        r"(1[89]\d\d|2000) different subnetworks for 2000 images",
        r"rank correlation of MACs and loss: 0\.[3-9]",
        r"whole .*\n(.*\n)*uniform .*\n(.*\n)*static ",
        r"logits differ by at most \d+e-0[5-9]",
        r"gathered against dense: (faster|slower|same)",
    ),
}


@pytest.mark.slow
@every_notebook
def test_runs(path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.read(path, as_version=4)
    for large, small in SMALLER.get(path.name, {}).items():
        (cell,) = (cell for cell in notebook.cells if large in cell.source)
        cell.source = cell.source.replace(large, small)
    NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    shown = {kind for output in outputs for kind in output.get("data", {})}
    assert "application/vnd.jupyter.widget-view+json" in shown
    printed = "".join(output.text for output in outputs if output.output_type == "stream")
    for words in SAYS.get(path.name, ()):
        assert re.search(words, printed), f"{words} is not in {printed[-2000:]}"
