"""Two explorers on one page, in two languages: each one's scripts make ready its own root."""

import nbformat
import pytest

from explorer.launch import NOTEBOOK
from explorer.strings import Strings
from tests.ui.lab import ROOT

pytestmark = pytest.mark.ui

CELL = """
from torch import nn, zeros
from explorer.app import Explorer

model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3))
Explorer(model, example=zeros(1, 1, 8, 8), language="{language}")
"""
READY = """() => [...document.querySelectorAll(".pruning-explorer")].map((root) => [
    root.lang, root.dataset.lmSuppressShortcuts, root.dataset.peControls,
    root.querySelector(".pe-keep .noUi-handle")?.ariaLabel,
    root.querySelector(".pe-tabs [role=tablist]")?.ariaLabel,
])"""


def test_each_root_is_made_ready_with_the_words_of_its_language(open_notebook, lab):
    languages = ["en", "ko"]
    cells = [nbformat.v4.new_code_cell(CELL.format(language=language)) for language in languages]
    metadata = nbformat.read(ROOT / "notebooks" / NOTEBOOK, as_version=4).metadata
    two = nbformat.v4.new_notebook(metadata=metadata, cells=cells)
    nbformat.write(two, lab.folder / "two.ipynb")
    notebook = open_notebook("two.ipynb", height=1400)
    notebook.run_all()
    words = [Strings(language) for language in languages]
    expected = [[each.language, "true", "true", each("keep"), each("tabs")] for each in words]
    notebook.page.wait_for_function(
        f"expected => JSON.stringify(({READY})()) === JSON.stringify(expected)", arg=expected, timeout=60_000
    )
    popover = "lang => getComputedStyle(document.querySelector(`[lang=${lang}] .pe-popover p`)).wordBreak"
    breaks = [notebook.page.evaluate(popover, language) for language in languages]
    assert breaks == ["normal", "keep-all"]
    notebook.page.screenshot(path=notebook.screenshots / "two.png")
