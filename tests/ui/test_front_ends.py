"""The explorer outside JupyterLab: Notebook 7 and Voila show it, and it answers."""

import os
import secrets
import shutil
import sys
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from explorer.launch import NOTEBOOK
from tests.ui.lab import IDLE, ROOT, Server, kept_inside

pytestmark = pytest.mark.ui

# Voila's page looks these up for its own buttons, and does without offline.
DECORATION = ("fontawesome", "font-awesome")


def opened(browser: Browser, server: Server, path: str) -> tuple[Page, list[str]]:
    """A page of the server, and what it asks for elsewhere as long as it is open: nothing there can be reached."""
    context = browser.new_context(viewport={"width": 1280, "height": 720})
    outside = kept_inside(context, server)
    page = context.new_page()
    page.goto(f"{server.address}/{path}")
    return page, outside


def move_keep_and_see(page: Page, screenshot: Path) -> None:
    """The dashboard is drawn; five keys on Keep cut the network, and its accuracy is counted to the end."""
    page.wait_for_selector(".pruning-explorer .pe-keep .noUi-handle", timeout=180_000)
    page.wait_for_selector(
        ".pruning-explorer .bk-Figure canvas, .pruning-explorer .bk-Canvas", timeout=60_000, state="attached"
    )
    counted = "() => /2,000/.test(document.querySelector('.pe-accuracy')?.innerText)"
    page.wait_for_function(counted, timeout=120_000)
    page.locator(".pe-keep .noUi-handle").focus()
    for _ in range(5):
        page.keyboard.press("ArrowLeft")
    page.wait_for_function(
        "() => document.querySelector('.pe-keep-value').innerText.includes('95')", timeout=60_000
    )
    page.wait_for_function(
        f"() => ({counted})() && document.querySelector('.pe-accuracy').innerText.includes('BN')",
        timeout=120_000,
    )
    screenshot.parent.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=screenshot)


@pytest.fixture
def screenshots(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return Path(request.config.getoption("--screenshots") or tmp_path)


def served(name: str, tmp_path: Path, options: list[str]) -> Server:
    notebook = tmp_path / "notebooks" / NOTEBOOK
    notebook.parent.mkdir()
    shutil.copyfile(ROOT / "notebooks" / NOTEBOOK, notebook)
    root = ["--allow-root"] if os.geteuid() == 0 and name == "notebook" else []

    def arguments(port: int) -> list[str]:
        given = [option.format(port=port, folder=notebook.parent, notebook=notebook) for option in options]
        return [sys.executable, "-m", name, *given, *root]

    return Server(name, arguments, tmp_path)


def test_voila_shows_the_explorer_as_a_page(chromium, tmp_path, screenshots):
    server = served(
        "voila", tmp_path, ["{notebook}", "--port={port}", "--no-browser", "--show_tracebacks=True"]
    )
    try:
        page, outside = opened(chromium, server, "")
        move_keep_and_see(page, screenshots / "voila.png")
        assert [url for url in outside if not any(word in url.lower() for word in DECORATION)] == []
        page.context.close()
    finally:
        server.stop()


def test_notebook_7_shows_the_explorer(chromium, tmp_path, screenshots):
    token = secrets.token_hex(16)
    options = [
        "--ServerApp.root_dir={folder}",
        "--ServerApp.port={port}",
        "--ServerApp.port_retries=0",
        "--no-browser",
        f"--IdentityProvider.token={token}",
        "--JupyterNotebookApp.expose_app_in_browser=True",
    ]
    server = served("notebook", tmp_path, options)
    try:
        page, outside = opened(chromium, server, f"notebooks/{NOTEBOOK}?token={token}")
        page.wait_for_function(IDLE, timeout=120_000)
        assert page.evaluate("() => window.jupyterapp.commands.execute('notebook:run-all-cells')")
        move_keep_and_see(page, screenshots / "notebook7.png")
        assert [url for url in outside if not any(word in url.lower() for word in DECORATION)] == []
        page.context.close()
    finally:
        server.stop()
