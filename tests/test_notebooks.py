"""The notebooks are thin, without outputs, and run."""

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


@pytest.mark.slow
@every_notebook
def test_runs(path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    last = [cell for cell in notebook.cells if cell.cell_type == "code"][-1]
    shown = {kind for output in last.outputs for kind in output.get("data", {})}
    assert "application/vnd.jupyter.widget-view+json" in shown
