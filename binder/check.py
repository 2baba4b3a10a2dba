"""Start the explorer as Binder does, run its notebook on the server's kernel, and report the memory of both.

    taskset -c 0 python binder/check.py

Where the CPU index of PyTorch cannot be reached, what is installed stands in for the pins, and this says so.
Fails where the notebook fails, or where server and kernel together exceed Binder's 2 GB.
"""

import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from jupyter_client.blocking.client import BlockingKernelClient

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOK = "notebooks/explorer.ipynb"
LIMIT_MB = 2048  # of a Binder session
PATIENCE = 600  # seconds for any one step
# Cut the network, and wait until the accuracy of what is left is counted.
WORK = """
explorer = Out[1]
explorer.set(keep=0.5)
if not explorer.session.wait(timeout=300):
    raise TimeoutError(f"no estimate: {explorer.session.stage}: {explorer.session.error}")
"""
RESULT = "f'{explorer.estimate.accuracy:.1%} of {explorer.estimate.seen} images at half of the MACs'"


def pins() -> dict[str, str]:
    """Package -> exact version, as binder/requirements.txt pins them."""
    lines = (ROOT / "binder" / "requirements.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith(("#", "-")))


def substitutions() -> list[str]:
    """One sentence for every pin that something else stands in for."""
    return [
        f"{name}=={version(name)} (installed) stands in for the pin {name}=={pin}"
        for name, pin in pins().items()
        if version(name) != pin
    ]


class Server:
    """JupyterLab behind binder/start, with settings of its own."""

    def __init__(self, private: Path) -> None:
        self.token = secrets.token_hex(16)
        kept = {key: value for key, value in os.environ.items() if not key.startswith("JUPYTER")}
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self.address = f"http://127.0.0.1:{self._port}"
        arguments = ["lab", "--ip=127.0.0.1", f"--port={self._port}", "--no-browser", "--allow-root"]
        self._log = private / "lab.log"
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                [
                    *(ROOT / "binder" / "start", sys.executable, "-m", "jupyter", *arguments),
                    f"--IdentityProvider.token={self.token}",
                ],
                cwd=ROOT,
                env=kept
                | {
                    "IPYTHONDIR": str(private / "ipython"),
                    "JUPYTER_CONFIG_DIR": str(private / "config"),
                    "JUPYTER_DATA_DIR": str(private / "data"),
                    "JUPYTER_RUNTIME_DIR": str(private / "runtime"),
                },
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._wait_until_listening()

    def _wait_until_listening(self) -> None:
        for _ in range(PATIENCE * 10):
            try:
                socket.create_connection(("127.0.0.1", self._port)).close()
            except ConnectionRefusedError:
                with suppress(subprocess.TimeoutExpired):
                    self.process.wait(0.1)
                    raise SystemExit(f"JupyterLab stopped while starting:\n{self._log.read_text()}") from None
            else:
                return
        raise SystemExit(f"JupyterLab does not listen after {PATIENCE} s:\n{self._log.read_text()}")

    def ask(self, path: str, body: object = None) -> Any:
        """GET, or POST where there is a body; the answer as JSON or text."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"token {self.token}", "Content-Type": "application/json"}
        with urlopen(Request(self.address + path, data, headers), timeout=PATIENCE) as reply:
            text = reply.read().decode()
            return json.loads(text) if "json" in reply.headers["Content-Type"] else text

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(60)


def memory(process: int) -> dict[str, float]:
    """MB of a process: resident (rss), its fair share (pss) and the most that was resident so far (peak)."""
    fields = {}
    for name in ("status", "smaps_rollup"):
        for line in Path(f"/proc/{process}/{name}").read_text().splitlines():
            key, *values = line.split()
            if values[-1:] == ["kB"]:
                fields[key] = int(values[-2]) / 1024
    return {"rss": fields["Rss:"], "pss": fields["Pss:"], "peak": fields["VmHWM:"]}


def run(client: BlockingKernelClient, code: str, expression: str = "None") -> str:
    """Run code in the kernel, storing history as a notebook does; the repr of `expression` afterwards."""
    printed: list[str] = []

    def keep(message: dict[str, Any]) -> None:
        if message["msg_type"] == "error":
            printed.extend(message["content"]["traceback"])

    reply = client.execute_interactive(
        code, output_hook=keep, user_expressions={"value": expression}, timeout=PATIENCE
    )["content"]
    value = reply.get("user_expressions", {}).get("value", {})
    if reply["status"] != "ok" or value["status"] != "ok":
        raise SystemExit("The notebook failed:\n" + "\n".join(printed or [str(value)]))
    return str(value["data"]["text/plain"])


def kernel_of(server: Server, private: Path) -> BlockingKernelClient:
    """Open the notebook's page and start a kernel for it, as a browser does; a client of that kernel."""
    if "jupyter-config-data" not in server.ask(f"/doc/tree/{NOTEBOOK}"):
        raise SystemExit(f"/doc/tree/{NOTEBOOK} is not a page of JupyterLab")
    wanted = {"path": NOTEBOOK, "name": "", "type": "notebook", "kernel": {"name": "python3"}}
    kernel = server.ask("/api/sessions", wanted)["kernel"]["id"]
    client = BlockingKernelClient(connection_file=str(private / "runtime" / f"kernel-{kernel}.json"))
    client.load_connection_file()
    client.start_channels()
    client.wait_for_ready(timeout=PATIENCE)
    return client


def explore(server: Server, private: Path) -> dict[str, dict[str, float]]:
    """Run the notebook, cut the network; prints times and accuracy, returns the memory of the processes."""
    started = time.monotonic()
    client = kernel_of(server, private)
    for cell in json.loads((ROOT / NOTEBOOK).read_text())["cells"]:
        if cell["cell_type"] == "code":
            run(client, "".join(cell["source"]))
    shown = time.monotonic()
    result = run(client, WORK, RESULT)
    counted = time.monotonic()
    kernel = int(run(client, "import os", "os.getpid()"))
    used = {"server": memory(server.process.pid), "kernel": memory(kernel)}
    client.stop_channels()
    print(
        f"  {shown - started:.1f} s until the notebook had run; {counted - shown:.1f} s more until: {result}"
    )
    return used


def main() -> None:
    """Report, and exit with a message where something is wrong."""
    cores = len(os.sched_getaffinity(0))
    print(f"Binder check on {cores} core{'s' if cores > 1 else ''}")
    for sentence in substitutions():
        print(f"  note: {sentence}")
    with tempfile.TemporaryDirectory(prefix="binder-check-") as folder:
        server = Server(Path(folder))
        try:
            used = explore(server, Path(folder))
        finally:
            server.stop()
    for name, megabytes in used.items():
        print(f"  {name}: " + ", ".join(f"{kind} {value:.0f} MB" for kind, value in megabytes.items()))
    total = sum(megabytes["peak"] for megabytes in used.values())
    print(f"  together at most {total:.0f} MB of Binder's {LIMIT_MB} MB")
    if total > LIMIT_MB:
        raise SystemExit("That does not fit into a Binder session.")


if __name__ == "__main__":
    main()
