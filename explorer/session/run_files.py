"""Snapshots of searches on disk, so that a search outlives its kernel: a few files in the user's cache folder."""

import time
from contextlib import suppress
from functools import cached_property
from pathlib import Path

from explorer.cache import cache_folder
from explorer.errors import BadInput, ExplorerError
from explorer.methods.snapshots import Snapshot

KEPT = 8  # searches; the one that was not written to for longest goes first
ABANDONED = 24 * 3600  # seconds after which nobody is writing a file any more


class RunFiles:
    """The latest snapshot of every search, one file for each `Snapshot.key`; at most KEPT of them.

    The folder, the user's own unless one is given, is looked for when it is first needed, and made when it is first
    written to.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._given = folder

    @cached_property
    def folder(self) -> Path:
        return self._given or cache_folder() / "searches"

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
        try:
            found = Snapshot.load(self._path(key))
        except (BadInput, OSError):  # damaged, or of another version: the search begins anew and replaces it
            return None
        return found if found.key == key else None

    def remove(self, key: str) -> None:
        """Forget a search; nothing happens if it has no file."""
        with suppress(OSError):  # a folder that cannot be written to may have one of long ago
            self._path(key).unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.pt"

    def _tidy(self) -> None:
        """Remove the oldest searches, and what programs that were killed were writing."""
        with suppress(OSError):  # another process tidies at the same time; what was saved is saved
            for path in self.folder.glob(".*.pt-*"):
                if time.time() - path.stat().st_mtime > ABANDONED:
                    path.unlink(missing_ok=True)
            files = sorted(self.folder.glob("*.pt"), key=lambda path: path.stat().st_mtime_ns)
            for path in files[:-KEPT]:
                path.unlink(missing_ok=True)
