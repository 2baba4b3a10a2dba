"""A JupyterLab started as `pruning-explorer` starts it, and a notebook of it in a browser."""

import ast
import json
import os
import secrets
import socket
import subprocess
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import BrowserContext, Page

from explorer.launch import command, environment

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 120
IDLE = "() => window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'"
# Bokeh's models are looked up by name: a view names its sources and figures.
FIND = """name => {
    for (const document of window.Bokeh?.documents ?? []) {
        const model = document.get_model_by_name(name)
        if (model != null) return model
    }
    return null
}"""


class Server:
    """A running web server on a port of its own, in an environment of its own; `log` is what it printed."""

    def __init__(self, name: str, arguments: Callable[[int], list[str]], private: Path) -> None:
        """`arguments` gives the command line for a port; `private` is a folder for settings and the log."""
        self._name = name
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self.address = f"http://127.0.0.1:{self._port}"
        self._log = private / "server.log"
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                arguments(self._port),
                env=environment(_isolated(private)),
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._wait_until_listening()

    @property
    def log(self) -> str:
        return self._log.read_text()

    def _wait_until_listening(self) -> None:
        for _ in range(START_SECONDS * 10):
            try:
                socket.create_connection(("127.0.0.1", self._port)).close()
            except ConnectionRefusedError:
                with suppress(subprocess.TimeoutExpired):
                    self._process.wait(0.1)
                    raise AssertionError(f"{self._name} stopped while starting:\n{self.log}") from None
            else:
                return
        raise AssertionError(f"{self._name} does not listen after {START_SECONDS} s:\n{self.log}")

    def stop(self) -> None:
        """Stop the server; it stops its kernels."""
        self._process.terminate()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class LabServer(Server):
    """A running JupyterLab with a folder and token of its own."""

    def __init__(self, notebook: Path, private: Path) -> None:
        self.folder = notebook.parent
        self.token = secrets.token_hex(16)
        extra = [
            "--ServerApp.ip=127.0.0.1",
            "--ServerApp.port_retries=0",
            "--KernelManager.shutdown_wait_time=2",
            f"--IdentityProvider.token={self.token}",
            "--LabApp.expose_app_in_browser=True",
        ]

        def arguments(port: int) -> list[str]:
            return command(notebook, browser=False, port=port, extra=extra, as_root=os.geteuid() == 0)

        super().__init__("JupyterLab", arguments, private)


def _isolated(private: Path) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("JUPYTER", "IPYTHON"))}
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {
        **kept,
        "PYTHONPATH": path,
        "OMP_NUM_THREADS": "1",  # sums are then rounded as in the tests' own process
        "IPYTHONDIR": str(private / "ipython"),
        "JUPYTER_CONFIG_DIR": str(private / "config"),
        "JUPYTER_DATA_DIR": str(private / "data"),
        "JUPYTER_RUNTIME_DIR": str(private / "runtime"),
        "JUPYTERLAB_SETTINGS_DIR": str(private / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(private / "workspaces"),
    }


def kept_inside(context: BrowserContext, server: Server) -> list[str]:
    """Lets pages of the context reach the server only; the list fills with what they ask for elsewhere."""
    outside: list[str] = []

    def admit(route: Any) -> None:
        url = route.request.url
        if url.startswith((server.address, "data:", "blob:")):
            route.continue_()
        else:
            outside.append(url)
            route.abort()

    context.route("**/*", admit)
    return outside


@dataclass(frozen=True)
class LabNotebook:
    """A notebook in the browser; `outside` and `errors` collect requests elsewhere and JavaScript errors."""

    context: BrowserContext
    page: Page
    outside: list[str]
    errors: list[str]
    screenshots: Path

    @classmethod
    def open(
        cls, context: BrowserContext, server: LabServer, name: str, screenshots: Path, timeout: float
    ) -> "LabNotebook":
        """Open `name` alone and wait (`timeout` in seconds) until its kernel is idle."""
        errors: list[str] = []
        outside = kept_inside(context, server)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(f"{server.address}/doc/tree/{name}?token={server.token}")
        page.wait_for_function(IDLE, timeout=timeout * 1000)
        return cls(context, page, outside, errors, screenshots)

    def run_all(self) -> None:
        """Run all cells to their end; an exception in one of them fails, and so does anything on stderr."""
        finished = self.page.evaluate("() => window.jupyterapp.commands.execute('notebook:run-all-cells')")
        kinds = [f'[data-mime-type="application/vnd.jupyter.{kind}"]' for kind in ("error", "stderr")]
        texts = self.page.locator(", ".join(kinds)).all_inner_texts()
        assert finished, f"a cell failed: {texts}"
        assert texts == [], texts

    def kernel(self, expression: str) -> Any:
        """The value of a Python expression in the notebook's kernel; it must be one that JSON can carry.

        `Out[1]` is what the first cell that ran displayed. Not to be called while a cell runs.
        """
        reply = self.page.evaluate(
            """async expression => {
                const {kernel} = window.jupyterapp.shell.currentWidget.sessionContext.session
                const done = await kernel.requestExecute({
                    code: '', silent: true, store_history: false,
                    user_expressions: {value: `__import__("json").dumps(${expression})`},
                }).done
                return done.content.user_expressions?.value ?? done.content
            }""",
            expression,
        )
        assert reply["status"] == "ok", f"{expression}: {reply.get('ename')}: {reply.get('evalue')}"
        return json.loads(ast.literal_eval(reply["data"]["text/plain"]))

    def column(self, source: str, column: str) -> list[Any]:
        """One column of the named Bokeh data source, as the browser has it."""
        return self.page.evaluate(
            f"([name, column]) => Array.from(({FIND})(name).data[column])", [source, column]
        )

    def wait_column(self, source: str, column: str, values: list[Any], timeout: float = 60) -> None:
        """Wait (`timeout` in seconds) until that column has these values."""
        self.page.wait_for_function(
            f"""([name, column, values]) => {{
                const model = ({FIND})(name)
                return model && JSON.stringify(Array.from(model.data[column])) === JSON.stringify(values)
            }}""",
            arg=[source, column, values],
            timeout=timeout * 1000,
        )

    def wait_drawn(self, model: str, timeout: float = 60) -> None:
        """Wait until the view of the named Bokeh model (a figure, a layout) is drawn."""
        self.page.wait_for_function(
            f"name => {{const m = ({FIND})(name); return m && Bokeh.index.find_one(m)?.has_finished()}}",
            arg=model,
            timeout=timeout * 1000,
        )

    def pixel(self, figure: str, x: object, y: object) -> tuple[float, float]:
        """Scroll the named figure into view; where the point (x, y) of its axes lies then, for the mouse."""
        left, top = self.page.evaluate(
            f"""([name, x, y]) => {{
                const view = Bokeh.index.find_one(({FIND})(name))
                view.el.scrollIntoView({{block: 'center'}})
                const box = view.el.getBoundingClientRect()
                return [box.x + view.frame.x_scale.compute(x), box.y + view.frame.y_scale.compute(y)]
            }}""",
            [figure, x, y],
        )
        return left, top

    def screenshot(self, name: str) -> Path:
        """A picture of the window as `name`.png in the folder for screenshots."""
        self.screenshots.mkdir(parents=True, exist_ok=True)
        path = self.screenshots / f"{name}.png"
        self.page.screenshot(path=path)
        return path

    def close(self) -> None:
        """Stop the kernel and leave."""
        self.page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")
        self.context.close()
