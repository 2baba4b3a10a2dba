"""Start JupyterLab on the explorer notebook alone, quietly, the user's own Jupyter settings untouched.

Our settings lie in the folder `explorer/jupyter` and reach Jupyter through `JUPYTER_CONFIG_PATH`, which only
adds to what it finds: the user's themes, shortcuts, extensions and kernels stay, and nothing is written.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from explorer.errors import BadInput

NOTEBOOK = "explorer.ipynb"
PACKAGE = Path(__file__).resolve().parent
SETTINGS = PACKAGE / "jupyter"  # the same folder serves Binder


def notebook_for(folder: Path) -> Path:
    """The notebook to open: the checkout's own, or a copy in `folder`; a file that is there is left as it is.

    Raises BadInput where `folder` is no folder or cannot be written to.
    """
    in_checkout = PACKAGE.parent / "notebooks" / NOTEBOOK
    if in_checkout.is_file():
        return in_checkout
    if not folder.is_dir():
        raise BadInput(f"{folder} is not a folder. The notebook is copied there: name a folder that exists.")
    target = folder.resolve() / NOTEBOOK
    if not target.exists():
        try:
            shutil.copyfile(PACKAGE / "notebooks" / NOTEBOOK, target)
        except PermissionError as error:
            raise BadInput(
                f"{folder} is not writable, and the notebook is copied there: run this in a folder of yours."
            ) from error
    return target


def command(
    notebook: Path,
    browser: bool = True,
    port: int | None = None,
    extra: Sequence[str] = (),
    as_root: bool = False,
) -> list[str]:
    """The command line that serves `notebook` alone; `extra` goes to JupyterLab as it is.

    Jupyter refuses to run as root (in a container, say) unless told so, and `as_root` tells it: this server
    listens to this computer only and asks for a token.
    """
    options = [
        f"--ServerApp.root_dir={notebook.parent}",
        f"--LabApp.default_url=/doc/tree/{quote(notebook.name)}",
    ]
    if not browser:
        options.append("--no-browser")
    if port is not None:
        options.append(f"--ServerApp.port={port}")
    if as_root:
        options.append("--allow-root")
    return [sys.executable, "-m", "jupyterlab", *options, *extra]


def environment(inherited: Mapping[str, str]) -> dict[str, str]:
    """`inherited` with our settings in front of all other Jupyter settings."""
    found = inherited.get("JUPYTER_CONFIG_PATH")
    return {
        # Of two kernels named python3 the one of this Python: the user's may not have the explorer.
        "JUPYTER_PREFER_ENV_PATH": "1",
        **inherited,
        "JUPYTER_CONFIG_PATH": os.pathsep.join([str(SETTINGS), *([found] if found else [])]),
    }


def open_notebook(
    folder: Path, browser: bool = True, port: int | None = None, extra: Sequence[str] = ()
) -> int:
    """Serve the explorer notebook until the server is stopped; returns its exit code.

    Raises BadInput where the notebook cannot be put into `folder`. On POSIX this process becomes the server
    (so it does not return): signals reach it, and the memory that torch took here is given back.
    """
    notebook = notebook_for(folder)
    settings = environment(os.environ)
    if os.name == "posix":
        arguments = command(notebook, browser, port, extra, as_root=os.geteuid() == 0)
        os.execve(sys.executable, arguments, settings)
    return subprocess.call(command(notebook, browser, port, extra), env=settings)
