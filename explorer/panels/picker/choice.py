"""What a network is loaded from, kept so that it can be loaded again; and files that came from the browser."""

from __future__ import annotations

import shutil
import weakref
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path, PurePosixPath, PureWindowsPath
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any

from explorer.errors import BadInput, ExplorerError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from explorer.data import DataSource
    from explorer.data.picking import Pick
    from explorer.data.tasks import Task
    from explorer.graph.inputs import Example
    from explorer.session.history import History
    from explorer.zoo import Network


OURS = ("images", "ready", "criterion")  # fields of Choice that `load` does not take


class Upload:
    """A file of the reader's computer, written piece by piece into a folder that only this user may read.

    It is deleted with this object, at the latest when Python ends. Raises BadInput for a name without a file.
    """

    def __init__(self, name: str) -> None:
        self.name = PurePosixPath(PureWindowsPath(name).name).name
        if self.name in ("", ".", ".."):
            raise BadInput(f"A file cannot be named {name!r}.")
        folder = mkdtemp(prefix="pruning-explorer-")  # mode 700
        self.path = Path(folder) / self.name
        self._delete = weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)

    def append(self, content: bytes) -> None:
        """Write what comes next."""
        with self.path.open("ab") as file:
            file.write(content)

    def delete(self) -> None:
        """Delete the file now; a second time nothing happens."""
        self._delete()


@dataclass(frozen=True, eq=False)
class Choice:
    """What `explorer.load` is given; `source` and `weights` may be uploads. A user's module is held, not copied.

    `images`: whether images that a bundled network brings by itself are wanted. `ready` is shown in place of what
    the rest would load: a network that was made of that one. `criterion` ranks its channels at first ("": the usual).
    """

    source: str | Path | nn.Module | Upload
    data: DataSource | str | Path | None = None
    example: Example | None = None
    weights: str | Path | Upload | None = "default"
    normalize: Callable[[Tensor], Tensor] | None = None
    constructor: str | Callable[..., nn.Module] | None = None
    task: str | Task | None = None
    loss: Callable[..., Tensor] | None = None
    score: Callable[..., Tensor] | None = None
    pick: Pick | None = None
    images: bool = True
    ready: Network | None = None
    criterion: str = ""

    @property
    def title(self) -> str:
        """A name of the source for people, before anything is loaded."""
        if isinstance(self.source, str | Path | Upload):
            return self.source.name if isinstance(self.source, Path | Upload) else self.source
        return type(self.source).__name__

    def load(self) -> Network:
        """What `explorer.load` makes of it, or the network that is ready. Raises ExplorerError as that does."""
        if self.ready is not None:
            return self.ready
        from explorer.zoo import load

        given: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name not in OURS and value is not field.default:
                given[field.name] = value.path if isinstance(value, Upload) else value
        try:
            network = load(**given)
        except ExplorerError as error:
            said = str(error)
            for upload in (self.source, self.weights):
                if isinstance(upload, Upload):  # its folder means nothing to the reader
                    said = said.replace(str(upload.path), upload.name)
            if said == str(error):
                raise
            raise BadInput(said) from error
        return network if self.images else replace(network, data=None)

    def history(self, network: Network) -> History | None:
        """What a session over the loaded network begins with; None for its usual beginning."""
        if not self.criterion:
            return None
        from explorer.session.choices import first_request
        from explorer.session.history import History

        return History(replace(first_request(network), criterion=self.criterion))
