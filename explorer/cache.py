"""Where this user's programs keep what can be made, or had, again."""

import os
import sys
import tempfile
from pathlib import Path


def cache_folder() -> Path:
    """The explorer's part of the user's cache: in $XDG_CACHE_HOME, else where the system has it. A user without a home
    directory, as in some containers, has the folder of temporary files.
    """
    return _caches() / "pruning-explorer"


def _caches() -> Path:
    if given := os.environ.get("XDG_CACHE_HOME"):
        return Path(given)
    try:
        if sys.platform == "win32":
            return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
        return Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache")
    except RuntimeError:
        return Path(tempfile.gettempdir())
