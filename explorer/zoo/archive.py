"""torch.export archives (.pt2), read without torch.export.load, which runs code of the file.

`torch.export.load` unpickles sample inputs, constants and tensor subclasses without restriction, evaluates size
expressions as Python, imports modules that the file names and loads compiled libraries (decision 10). Of an
archive only three things are needed, and these are data: the graph as JSON, and tensors as raw bytes. What would
have to be unpickled or compiled is refused; operators come from a list (`aten.py`); names are checked, since
torch.fx writes them into the source of forward().
"""

import json
import math
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from explorer.errors import BadInput
from explorer.graph.randomness import same_random_numbers
from explorer.zoo.archived_graph import SCALAR_TYPES, is_name, rebuild_module
from explorer.zoo.built import Built, sample_input
from explorer.zoo.files import DAMAGED, refused, require_sums, shortened

MAJOR = 8  # of the schema of the JSON files; the minor versions add fields
AGAIN = (
    "Export it again: torch.export.save(torch.export.export(model.eval(), (torch.randn(2, 3, 224, 224),), "
    'dynamic_shapes=({0: torch.export.Dim("batch")},)), "model.pt2"), with your size of images.'
)


def load_archive(path: Path) -> Built:
    """The network of an archive as a torch.fx.GraphModule of real modules, in eval mode, on the CPU.

    Names of parameters and buffers are those of the exported network. Raises BadInput for archives that are
    damaged, too old, or hold what could run code; for operators that are not known to be harmless; and for
    networks that take several inputs or batches of one size only.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            content = _Content(path, archive)
            require_sums(archive)
            program = content.program()
            tensors = content.tensors("weights") | content.tensors("constants")
    except BadInput:
        raise
    except (zipfile.BadZipFile, EOFError, OSError, RuntimeError, UnicodeDecodeError) as error:
        raise refused(path, f"cannot be read ({error}). {DAMAGED}") from error
    except Exception as error:  # whatever content that is made up, or damaged without a checksum, comes to
        raise refused(path, f"is no archive as torch.export.save writes it ({error!r}). {DAMAGED}") from error
    try:
        model, shape = rebuild_module(program["graph_module"], tensors)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, RuntimeError, SyntaxError) as error:
        reason = str(error) if isinstance(error, BadInput) else f"its graph is not consistent ({error!r})"
        raise refused(path, f"cannot be rebuilt: {reason} {AGAIN}") from error
    model.eval()
    if shape is not None:
        _require_batches(path, model, shape)
    used = {id(tensor) for tensor in (*model.parameters(), *model.buffers())}
    unused = [name for name, tensor in tensors.items() if id(tensor) not in used]
    left_out = f"{path.name}: tensors that its forward does not use were left out: {shortened(unused, 5)}."
    return Built(
        path.stem.encode(errors="replace").decode(),  # a file's name may hold bytes that are no text
        model,
        shape=shape,
        notes=(left_out,) if unused else (),
        no_constructor=(
            "A network from an archive has no class that a Python file could import: export it as an archive again, "
            "or pass constructor=."
        ),
    )


def _require_batches(path: Path, model: nn.Module, shape: tuple[int, ...]) -> None:
    """Raise BadInput unless two inputs at once are answered as one by one."""
    two = sample_input((2, *shape[1:]))
    try:
        with torch.no_grad(), same_random_numbers():
            first, second, both = (tree_leaves(model(images)) for images in (two[:1], two[1:], two))
        each = [torch.cat(pair) for pair in zip(first, second, strict=True)]
    except Exception as error:  # operators of the archive may raise anything
        raise refused(
            path, f"was exported for batches of one size only ({type(error).__name__}: {error}). {AGAIN}"
        ) from error
    if not all(_close(alone, together) for alone, together in zip(each, both, strict=True)):
        raise refused(path, f"mixes the images of a batch, as it was exported for one size of batch. {AGAIN}")


def _close(first: Tensor, second: Tensor) -> bool:
    """Equal but for the noise of float arithmetic."""
    scale = float(first.abs().max())
    return first.shape == second.shape and torch.allclose(first, second, rtol=1e-3, atol=1e-4 * scale)


class _Content:
    """The entries of an archive that hold data."""

    def __init__(self, path: Path, archive: zipfile.ZipFile) -> None:
        self.path = path
        self.archive = archive
        infos = archive.infolist()
        if any(info.compress_type != zipfile.ZIP_STORED for info in infos):
            raise refused(path, f"is compressed, as torch.export.save never does. {AGAIN}")
        self.entries = {info.filename.partition("/")[2]: info.filename for info in infos}
        if any(name.startswith("data/aotinductor/") for name in self.entries):
            raise refused(path, f"holds compiled code (AOTInductor), which is not run. {AGAIN}")

    def _json(self, entry: str) -> Any:
        if entry not in self.entries:
            raise refused(self.path, f"has no {entry}: it is older than torch 2.9, or not complete. {AGAIN}")
        return json.loads(self.archive.read(self.entries[entry]))

    def program(self) -> Any:
        """The exported program: its only one."""
        models = [name for name in self.entries if name.startswith("models/") and name.endswith(".json")]
        if len(models) != 1:
            raise refused(self.path, f"holds {len(models)} networks; expected one. {AGAIN}")
        self.model = models[0].removeprefix("models/").removesuffix(".json")
        program = self._json(models[0])
        version = program["schema_version"]["major"]
        if version != MAJOR:
            raise refused(
                self.path,
                f"has version {version} of the archive's schema; this explorer reads version {MAJOR}. {AGAIN}",
            )
        return program

    def tensors(self, kind: str) -> dict[str, Tensor]:
        """The tensors of data/weights or data/constants by name; one object for tensors that are tied."""
        config = self._json(f"data/{kind}/{self.model}_{kind}_config.json")["config"]
        bases: dict[tuple[str, int], Tensor] = {}
        views: dict[str, Tensor] = {}
        tensors: dict[str, Tensor] = {}
        for name, row in config.items():
            if not is_name(name):
                raise refused(self.path, f"names a tensor {name!r}, which is no name of a module's tensor.")
            if row["use_pickle"] or not row["path_name"].startswith(("weight_", "tensor_")):
                raise refused(
                    self.path,
                    f"holds {name} as a pickled object, which could run code; it was not opened. {AGAIN}",
                )
            meta = row["tensor_meta"]
            key = row["path_name"], meta["dtype"]
            if key not in bases:
                bases[key] = self._base(f"data/{kind}/{key[0]}", meta["dtype"])
            place = json.dumps([key, meta["sizes"], meta["strides"], meta["storage_offset"]])
            if place not in views:
                view = self._view(name, bases[key], meta)
                views[place] = nn.Parameter(view, bool(meta["requires_grad"])) if row["is_param"] else view
            tensors[name] = views[place]
        return tensors

    def _base(self, entry: str, dtype: int) -> Tensor:
        content = bytearray(self.archive.read(self.entries[entry]))
        kind = SCALAR_TYPES[dtype]
        return torch.frombuffer(content, dtype=kind) if content else torch.empty(0, dtype=kind)

    def _view(self, name: str, base: Tensor, meta: Mapping[str, Any]) -> Tensor:
        sizes, strides = ([int(each["as_int"]) for each in meta[row]] for row in ("sizes", "strides"))
        offset = int(meta["storage_offset"]["as_int"])
        last = offset + sum((size - 1) * stride for size, stride in zip(sizes, strides, strict=True))
        count = math.prod(map(int, sizes))
        sound = min([offset, *sizes, *strides]) >= 0 and count <= len(base)
        if not sound or (count and last >= len(base)):
            raise refused(self.path, f"holds fewer numbers than {name} has. {DAMAGED}")
        return base.as_strided(sizes, strides, offset)
