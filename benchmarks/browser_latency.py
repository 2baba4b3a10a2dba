"""From a key and from a drag to the repaint, in a real browser: python benchmarks/browser_latency.py

Drags are echoed by the page itself; the same page's keys on Keep go to the kernel and back. The ratio of the two says
what the way through the kernel costs; both run alternately, while the accuracy is being evaluated all the time.
"""

import shutil
import statistics
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # the browser's helpers are the tests' own

from explorer.launch import NOTEBOOK  # noqa: E402
from tests.ui.conftest import FLAGS  # noqa: E402
from tests.ui.lab import FIND, LabNotebook, LabServer  # noqa: E402

ROUNDS, REPEATS = 6, 5

# From the event to the frame after the one in which the bars were found changed.
WATCH = f"""event => {{
    const rows = ({FIND})('bars-rows')
    const drawn = () => JSON.stringify([rows.data.kept, rows.data.chosen])
    window.latency = new Promise(done => {{
        const started = () => {{
            const before = drawn(), start = performance.now()
            const look = () => drawn() === before
                ? requestAnimationFrame(look)
                : requestAnimationFrame(() => done(performance.now() - start))
            look()
        }}
        document.addEventListener(event, started, {{capture: true, once: true}})
    }})
}}"""


def keydown(page: Page) -> float:
    page.locator(".pe-keep .noUi-handle").focus()
    page.evaluate(WATCH, "keydown")
    page.keyboard.press("ArrowLeft")
    return page.evaluate("() => window.latency")


def drags(notebook: LabNotebook) -> list[float]:
    """Moves of one drag, two channels each."""
    page = notebook.page
    ends = zip(*(notebook.column("bars-handles", name) for name in ("x", "low", "high", "unit")), strict=True)
    x, low, high, unit = max(ends)
    left, top = notebook.pixel("bars", x, (low + high) / 2)
    channel = notebook.pixel("bars", x + unit, 0)[0] - left
    page.mouse.move(left, top)
    page.mouse.down()
    found = []
    for step in range(1, REPEATS + 1):
        page.evaluate(WATCH, "pointermove")
        page.mouse.move(left - 2 * step * channel, top)
        found.append(page.evaluate("() => window.latency"))
    page.mouse.up()
    page.wait_for_function(
        f"() => ({FIND})('bars-answer').data.number[0] === ({FIND})('bars-ask').data.number[0]"
    )
    return found


def described(name: str, found: list[float]) -> str:
    ordered = sorted(found)
    return (
        f"{name:<28} median {statistics.median(ordered):5.0f} ms   "
        f"90 % {ordered[int(0.9 * len(ordered))]:5.0f} ms   n = {len(ordered)}"
    )


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        notebook_file, private = Path(folder) / "notebooks" / NOTEBOOK, Path(folder) / "private"
        notebook_file.parent.mkdir()
        private.mkdir()
        shutil.copyfile(ROOT / "notebooks" / NOTEBOOK, notebook_file)
        server = LabServer(notebook_file, private)
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        try:
            context = browser.new_context(viewport={"width": 1280, "height": 720})
            notebook = LabNotebook.open(context, server, NOTEBOOK, private, 120)
            notebook.run_all()
            notebook.wait_drawn("bars")
            assert notebook.kernel("Out[1].session.wait(120)")
            keys, moves = [], []
            for _ in range(ROUNDS):
                keys += [keydown(notebook.page) for _ in range(REPEATS)]
                moves += drags(notebook)
                notebook.kernel("Out[1].undo()")
                assert notebook.kernel("Out[1].wait(120)")
            notebook.close()
        finally:
            browser.close()
            server.stop()
    print(described("keydown on Keep -> repaint", keys))
    print(described("drag of a bar -> repaint", moves))
    print(
        f"the way through the kernel: {statistics.median(keys) / statistics.median(moves):.1f} x the page's own"
    )


if __name__ == "__main__":
    main()
