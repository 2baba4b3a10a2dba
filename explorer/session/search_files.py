"""Snapshots of searches on disk, so that a search outlives its kernel: a few files in the user's cache folder."""

import os
import sys
from contextlib import suppress
from pathlib import Path

from explorer.errors import BadInput, ExplorerError
from explorer.methods.road import Snapshot

KEPT = 8  # searches; the one that was not written to for longest goes first


def cache_folder() -> Path:
    """Where this user's programs keep what can be made again: $XDG_CACHE_HOME, else as the system has it."""
    if given := os.environ.get("XDG_CACHE_HOME"):
        return Path(given)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    return Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache")


class SearchFiles:
    """The latest snapshot of every search, one file for each `Snapshot.key`; at most KEPT of them.

    `folder` is made when it is first written to.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = cache_folder() / "pruning-explorer" / "searches" if folder is None else folder

    def save(self, snapshot: Snapshot) -> None:
        """Take the place of the search's last snapshot. Raises ExplorerError where nothing can be written."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            snapshot.save(self._path(snapshot.key))
            self._tidy()
        except (OSError, RuntimeError) as error:  # torch raises the latter, such as for a disk that is full
            raise ExplorerError(f"{self.folder} cannot be written to ({error}).") from error

    def load(self, key: str) -> Snapshot | None:
        """The last snapshot of a search; None if there is none that can be read."""
        path = self._path(key)
        if not path.is_file():
            return None
        try:
            found = Snapshot.load(path)
        except BadInput:  # damaged, or of another version: the search begins anew and replaces it
            return None
        return found if found.key == key else None

    def remove(self, key: str) -> None:
        """Forget a search; nothing happens if it has no file."""
        with suppress(OSError):  # a folder that cannot be written to may have one of long ago
            self._path(key).unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.pt"

    def _tidy(self) -> None:
        with suppress(FileNotFoundError):  # another process tidies at the same time
            files = sorted(self.folder.glob("*.pt"), key=lambda path: path.stat().st_mtime_ns)
            for path in files[:-KEPT]:
                path.unlink(missing_ok=True)
