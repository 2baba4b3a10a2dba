"""Files that appear together: all of them, or none."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import EDQUOT, EFBIG, ENOSPC
from pathlib import Path

from explorer.errors import BadInput, ExplorerError, require_path


def check_folder(folder: str | Path) -> Path:
    """The folder, with ~ put right. Raises BadInput unless it can be written to, or can be made."""
    folder = require_path("The folder", folder)
    existing = next(
        path for path in (folder, *folder.absolute().parents) if path.exists() or path.is_symlink()
    )
    if not existing.is_dir():
        raise BadInput(f"{existing} is not a folder, so nothing can be written there: name another folder.")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise BadInput(f"{existing} cannot be written to: name another folder.")
    return folder


@contextmanager
def staged(folder: Path) -> Iterator[Path]:
    """A temporary folder whose files move into `folder` at the end, replacing those of the same name.

    After an exception, in the block or while moving, `folder` is as it was, and gone if it was not there.
    Other files in it are never touched. Raises BadInput if `folder`, or a name in it that a file should
    get, cannot take it, and ExplorerError in place of OSError.
    """
    check_folder(folder)
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Inside the folder: moving is atomic within one file system only.
        stage = Path(tempfile.mkdtemp(prefix=".pruning-explorer-", dir=folder))
        try:
            yield stage
            _publish(stage, folder)
        finally:
            shutil.rmtree(stage, ignore_errors=True)
    except BaseException as error:
        for path in made:
            with suppress(OSError):
                path.rmdir()
        if isinstance(error, OSError):
            space = "Free some space or" if error.errno in (ENOSPC, EDQUOT, EFBIG) else "Please"
            raise ExplorerError(
                f"Nothing was written: {folder} could not take the files ({error.strerror or error}). {space} name "
                "another folder."
            ) from error
        raise


def _publish(stage: Path, folder: Path) -> None:
    """Move all files of `stage` into `folder`; on failure take them back and restore what they replaced."""
    files = sorted(stage.iterdir())
    for file in files:
        if (folder / file.name).is_dir():
            raise BadInput(
                f"{folder / file.name} is a folder, and a file of that name is to be written: move it."
            )
    backups = Path(tempfile.mkdtemp(dir=stage))
    for file in files:
        if os.path.lexists(folder / file.name):
            shutil.copy2(folder / file.name, backups / file.name, follow_symlinks=False)
    try:
        for file in files:
            file.replace(folder / file.name)
    except BaseException:
        for file in files:
            if file.exists():
                continue  # was not moved
            if os.path.lexists(backups / file.name):
                (backups / file.name).replace(folder / file.name)
            else:
                (folder / file.name).unlink()
        raise


def write_text(path: str | Path, text: str) -> Path:
    """Write one file as UTF-8, whole or not at all, its folder made if need be. Raises as `staged` does."""
    path = require_path("The file", path)
    with staged(path.parent) as stage:
        (stage / path.name).write_text(text, encoding="utf-8")
    return path
