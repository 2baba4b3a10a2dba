"""Snapshots: a training between two steps, as a value and as a file."""

import os
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from explorer.errors import BadInput, ExplorerError
from explorer.zoo.files import require_sums

FORMAT = 2  # of a snapshot's file
NO_SNAPSHOT = (
    "{path} is not a snapshot of a search, or is damaged or of another version: delete it, or name another."
)


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A training between two steps: all that is needed to go on. `key` says of what (see `search_key`)."""

    method: str
    key: str
    step: int
    of: int
    seconds: float
    macs: int
    content: Mapping[str, Any] = field(repr=False)

    def __post_init__(self) -> None:
        for name, kind in _FIELDS.items():
            if not isinstance(getattr(self, name), kind):
                raise BadInput(f"A snapshot's {name} is a {kind.__name__}, not {getattr(self, name)!r}.")
        object.__setattr__(self, "content", MappingProxyType(dict(self.content)))

    def save(self, path: str | Path) -> None:
        """Write it to a file, whole or not at all. Raises ExplorerError if the file cannot be written."""
        path = Path(path)
        try:
            handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
            try:
                with os.fdopen(handle, "wb") as file:
                    fields = {name: getattr(self, name) for name in _FIELDS}
                    torch.save({**fields, "content": dict(self.content), "format": FORMAT}, file)
                Path(name).replace(path)
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise
        except (OSError, RuntimeError) as error:  # torch raises the latter, such as for a disk that is full
            raise ExplorerError(
                f"The snapshot cannot be written to {path} ({error}): name another file."
            ) from error

    @classmethod
    def load(cls, path: str | Path) -> "Snapshot":
        """Read a snapshot; no code in the file is run. Raises BadInput for a file that is no such one."""
        try:
            with Path(path).open("rb") as file, zipfile.ZipFile(file) as archive:
                require_sums(archive)  # torch itself does not look at them
                file.seek(0)
                found = torch.load(file, weights_only=True)
        except OSError as error:
            raise BadInput(f"The snapshot {path} cannot be read ({error.strerror or error}).") from error
        except Exception as error:  # what torch raises for a damaged file is not documented
            raise BadInput(NO_SNAPSHOT.format(path=path)) from error
        if not isinstance(found, dict) or set(found) != {*_FIELDS, "format"} or found.pop("format") != FORMAT:
            raise BadInput(NO_SNAPSHOT.format(path=path))
        return cls(**found)


_FIELDS = {
    "method": str,
    "key": str,
    "step": int,
    "of": int,
    "seconds": float,
    "macs": int,
    "content": Mapping,
}
