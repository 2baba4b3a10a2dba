"""What a file is, judged by its content and not by its name, without reading more than its beginning."""

import zipfile
from difflib import get_close_matches
from pathlib import Path
from typing import Literal

from torch.serialization import get_unsafe_globals_in_checkpoint

from explorer.errors import BadInput, require_path

Kind = Literal["safetensors", "torch zip", "torch pickle", "archive", "other"]

CONVERT = (
    "In the environment that made it, save the tensors alone: "
    'safetensors.torch.save_file(model.state_dict(), "weights.safetensors").'
)
DAMAGED = "It is damaged or was cut off, as an interrupted download or copy is: get it again."
OTHERS: tuple[tuple[bytes, str], ...] = (
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself: fetch that with git lfs pull"),
    (b"\x1f\x8b", "a gzip archive: unpack it first"),
    (b"BZh", "a bzip2 archive: unpack it first"),
    (b"\xfd7zXZ", "an xz archive: unpack it first"),
    (b"7z\xbc\xaf", "a 7z archive: unpack it first"),
    (b"\x89HDF", f"an HDF5 file, as Keras writes it, and holds nothing of torch. {CONVERT}"),
    (b"\x93NUMPY", f"a NumPy array, not a state dict. {CONVERT}"),
    (b"GGUF", f"a GGUF file, made for llama.cpp, and holds nothing for torch. {CONVERT}"),
    (b"{", "JSON text, such as a configuration: the weights are in another file, often beside it"),
)


def require_file(path: str | Path) -> Path:
    """The path of a file that is there and can be read. Raises BadInput, with near names for a missing one."""
    path = require_path("A file", path)
    if path.is_dir():
        inside = sorted(each.name for each in path.iterdir() if each.is_file())
        files = f"It holds {shortened(inside, 5)}" if inside else "There are no files in it"
        raise BadInput(f"{path} is a folder; expected one file. {files}.")
    if not path.exists():
        raise BadInput(f"There is no file {path}. {_near(path)}")
    try:
        with path.open("rb") as content:
            first = content.read(1)
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}. Check who may read it.") from error
    if not first:
        raise refused(path, f"is empty (0 bytes). {DAMAGED}")
    return path


def _near(path: Path) -> str:
    folder = path.parent
    if not folder.is_dir():
        return f"There is no folder {folder} either: give the whole path."
    names = sorted(each.name for each in folder.iterdir())
    close = get_close_matches(path.name, names, n=3)
    return f"Near names in its folder: {', '.join(close)}." if close else "Check the path."


def kind_of(path: Path) -> tuple[Kind, str]:
    """What the file is, and for "other" why nothing can be done with it (the end of a sentence)."""
    with path.open("rb") as content:
        head = content.read(512)
    if _is_safetensors(head, path.stat().st_size):
        return "safetensors", ""
    if head.startswith(b"PK\x03\x04"):
        return _kind_of_zip(path)
    if head.startswith(b"\x80"):
        return "torch pickle", ""
    text = head.lstrip().lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "other", "a web page: the address led to a page, not to the file. Download the file itself"
    for start, words in OTHERS:
        if head.startswith(start):
            return "other", words
    return "other", f"neither safetensors nor what torch.save or torch.export.save writes. {DAMAGED}"


def _is_safetensors(head: bytes, size: int) -> bool:
    """8 bytes, the length of a JSON object, and its opening brace."""
    return head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= max(size, 100 * 2**20)


def _kind_of_zip(path: Path) -> tuple[Kind, str]:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except Exception as error:  # noqa: BLE001 (a damaged directory raises whatever its bytes come to)
        return "other", f"a zip archive that cannot be read ({error}). {DAMAGED}"
    names = [entry.filename for entry in entries]
    inner = {name.partition("/")[2] for name in names}
    if "constants.pkl" in inner and any(name.startswith("code/") for name in inner):
        return "other", (
            "a TorchScript archive, which is a program. Load it where it was made, with torch.jit.load, and save "
            "its tensors: safetensors.torch.save_file(dict(scripted.state_dict()), 'weights.safetensors')"
        )
    if "archive_format" in inner or any(name.startswith("models/") for name in inner):
        return "archive", ""
    if "data.pkl" in inner:
        compressed = any(entry.compress_type != zipfile.ZIP_STORED for entry in entries)
        return (
            ("other", f"compressed, as torch.save never does. {CONVERT}") if compressed else ("torch zip", "")
        )
    if "serialized_exported_program.json" in names:
        return (
            "other",
            "a torch.export archive of torch 2.8 or older: export the network again with a newer torch",
        )
    if any(name.endswith(".npy") for name in names):
        return "other", f"a NumPy archive (npz), not a state dict. {CONVERT}"
    return "other", f"a zip archive of {shortened(names, 3)}: unpack it first"


def require_sums(archive: zipfile.ZipFile) -> None:
    """Read all entries once, keeping none, and raise unless the checksums are theirs.

    What is raised is BadZipFile, or anything else that damage can come to. Compressed entries must be refused before.
    """
    if not any(entry.CRC for entry in archive.infolist()):
        return  # torch.serialization.set_crc32_options(False) writes none: all are 0
    if (bad := archive.testzip()) is not None:
        raise zipfile.BadZipFile(f"the checksum of {bad} is not that of its content")


def refused(path: Path, why: str) -> BadInput:
    """A refusal of the file, for what `why` says of it; nothing of it was run."""
    return BadInput(f"{path} {why}" if why.endswith((".", "?")) else f"{path} {why}.")


def runs_code(path: Path, call: str) -> BadInput:
    """A refusal of a pickle that calls a class or function when it is read; it was not read."""
    return refused(
        path,
        f"wants to run code when it is opened (it calls {call}), as a whole pickled network or the settings of a "
        f"training run do; it was refused and nothing was run. {CONVERT} Elsewhere, and only if you trust who made "
        f"it: torch.load({str(path)!r}, weights_only=False) runs that code; save the state dict that is in it.",
    )


def require_no_code(path: Path) -> None:
    """Raise BadInput if a zip of torch.save calls what is no plain tensor or container; nothing is run."""
    try:
        calls = get_unsafe_globals_in_checkpoint(str(path))
    except Exception as error:  # whatever the reader raises on bytes that are damaged or made up
        raise refused(path, f"cannot be read as what torch.save writes. {DAMAGED}") from error
    if calls:
        raise runs_code(path, sorted(calls)[0])


def shortened(names: list[str], most: int = 10) -> str:
    """The first `most` names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def size_text(count: int) -> str:
    """A number of bytes, in kB or MB."""
    return f"{count / 1e6:,.1f} MB" if count >= 1e6 else f"{count / 1e3:,.1f} kB"
