"""Files of recorded runs: where they lie, how they are written, and what is said of one that cannot be read."""

import os
import re
import tempfile
from collections.abc import Callable
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from explorer.errors import ExplorerError

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")  # of a network whose run can be a file


def recorded_file(network: str, ending: str, folder: str | Path | None) -> Traversable | None:
    """The file of a network, its name and `ending`, if there is one; `folder` None: the package's own."""
    if not NAME.fullmatch(network):
        return None
    place: Traversable = files("explorer.methods") / "recorded" if folder is None else Path(folder)
    file = place / f"{network}{ending}"
    return file if file.is_file() else None


def unreadable(file: Traversable, command: str, why: object) -> ExplorerError:
    """What to raise for a file that is damaged or of another format; `command` records it anew."""
    return ExplorerError(
        f"The recorded run {file} cannot be read ({why}). Install the package again, or record it anew: {command}."
    )


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """`write(temporary path)` in the same folder, then move it into place: never half a file."""
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    os.close(handle)
    try:
        write(Path(temporary))
        Path(temporary).chmod(0o644)  # temporary files are for the owner only
        Path(temporary).replace(path)
    finally:
        Path(temporary).unlink(missing_ok=True)
