"""The explorer outside JupyterLab: Notebook 7 and Voila show it, and it answers."""

import os
import secrets
import shutil
import sys
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from explorer.launch import NOTEBOOK
from tests.ui.lab import ROOT, Server

pytestmark = pytest.mark.ui

# What both front ends look up for decoration only, and do without offline.
DECORATION = ("fonts.", "fontawesome", "font-awesome", "mathjax")


def opened(browser: Browser, server: Server, path: str) -> tuple[Page, list[str]]:
    """A page of the server, and what it asks for elsewhere: nothing outside can be reached."""
    outside: list[str] = []
    page = browser.new_context(viewport={"width": 1280, "height": 720}).new_page()

    def admit(route):
        url = route.request.url
        if url.startswith((server.address, "data:", "blob:")):
            route.continue_()
        else:
            outside.append(url)
            route.abort()

    page.context.route("**/*", admit)
    page.goto(f"{server.address}/{path}")
    return page, [url for url in outside if not any(word in url.lower() for word in DECORATION)]


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
        assert outside == []
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
        idle = (
            "() => window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'"
        )
        page.wait_for_function(idle, timeout=120_000)
        assert page.evaluate("() => window.jupyterapp.commands.execute('notebook:run-all-cells')")
        move_keep_and_see(page, screenshots / "notebook7.png")
        assert outside == []
        page.context.close()
    finally:
        server.stop()
