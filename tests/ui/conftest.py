"""Fixtures: one JupyterLab and one Chromium for all browser tests, and `open_notebook` to open notebooks."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from explorer.launch import NOTEBOOK
from tests.ui.lab import ROOT, LabNotebook, LabServer

OpenNotebook = Callable[..., LabNotebook]
NO_NETWORK = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
FLAGS = [
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
    "--no-sandbox",  # Chromium has none for root, which containers run as
    NO_NETWORK,
]


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """The machine's Chromium; without one the tests are skipped, but fail in CI."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        complaint = f"no browser: none of {', '.join(names)} is installed"
        if os.environ.get("CI"):
            pytest.fail(complaint)
        pytest.skip(complaint)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabServer]:
    """A JupyterLab on a copy of the explorer notebook; put further notebooks into its `folder`."""
    notebook = tmp_path_factory.mktemp("notebooks") / NOTEBOOK
    shutil.copyfile(ROOT / "notebooks" / NOTEBOOK, notebook)
    server = LabServer(notebook, tmp_path_factory.mktemp("jupyter"))
    yield server
    server.stop()


@pytest.fixture
def open_notebook(
    chromium: Browser, lab: LabServer, request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[OpenNotebook]:
    """Opens a notebook of the lab's folder alone in a fresh window: `open_notebook(name, width=..., ...)`.

    At the end it fails where the page asked for anything outside or threw a JavaScript error.
    """
    opened: list[LabNotebook] = []
    screenshots = request.config.getoption("--screenshots") or tmp_path

    def open_(
        name: str = NOTEBOOK, width: int = 1280, height: int = 720, dark: bool = False, timeout: float = 120
    ) -> LabNotebook:
        context = chromium.new_context(
            viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light"
        )
        notebook = LabNotebook.open(context, lab, name, screenshots, timeout)
        opened.append(notebook)
        return notebook

    yield open_
    for notebook in opened:
        notebook.close()
    assert [url for notebook in opened for url in notebook.outside] == []
    assert [error for notebook in opened for error in notebook.errors] == []
