"""Data sets by name: torchvision downloads them, and they become splits of the size that a network takes."""

import os
import shutil
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from explorer.cache import cache_folder
from explorer.data.bundled import CLASSES
from explorer.data.folders import image_folder
from explorer.data.images import Data, Images, identity
from explorer.data.pictures import Crop, as_crop, as_pixels, require_room
from explorer.errors import BadInput, ExplorerError, require_name, require_path
from explorer.interrupts import held_interrupts
from explorer.memory import is_lack

TRAIN, JUDGED = 10_000, 2_000  # images of a split, at most
MOST_BYTES = 256 * 2**20  # of the pixels of a split: 1,783 pictures of 224 x 224
ARCHIVES = (".tgz", ".tar.gz")  # are not needed once they are unpacked
SECONDS = 30  # to wait for an answer of the server that has the files
DIGITS = tuple("0123456789")
# Imagenette's in the order of its folders, as ImageNet's class names are in torchvision.
TEN_OF_IMAGENET = (
    *("tench", "English springer", "cassette player", "chain saw", "church"),
    *("French horn", "garbage truck", "gas pump", "golf ball", "parachute"),
)


@dataclass(frozen=True)
class NamedSet:
    """How `torchvision.datasets` makes the training and the test images of a data set.

    `classes` () are those that torchvision names. `side` is of the crop where the network has none; None: all pictures
    have one size. `needs` is a package that torchvision reads the files with.
    """

    title: str
    kind: str
    train: Mapping[str, object]
    test: Mapping[str, object]
    megabytes: int
    classes: tuple[str, ...] = ()
    side: int | None = None
    needs: str = ""

    @property
    def of_imagenet(self) -> bool:
        """Whether its classes are some of ImageNet's."""
        return self.classes == TEN_OF_IMAGENET


_FLAGS = {"train": True}, {"train": False}
_SPLITS = {"split": "train"}, {"split": "test"}
NAMED = {
    "cifar10": NamedSet("CIFAR-10", "CIFAR10", *_FLAGS, 170),
    "cifar100": NamedSet("CIFAR-100", "CIFAR100", *_FLAGS, 169),
    "mnist": NamedSet("MNIST", "MNIST", *_FLAGS, 12, DIGITS),
    "fashion_mnist": NamedSet("Full Fashion-MNIST", "FashionMNIST", *_FLAGS, 31, CLASSES),
    "svhn": NamedSet("SVHN", "SVHN", *_SPLITS, 246, DIGITS, needs="scipy"),
    "stl10": NamedSet("STL-10", "STL10", *_SPLITS, 2640),
    "imagenette": NamedSet(
        "Imagenette",
        "Imagenette",
        {"split": "train", "size": "320px"},
        {"split": "val", "size": "320px"},
        342,
        TEN_OF_IMAGENET,
        224,
    ),
    "food101": NamedSet("Food-101", "Food101", *_SPLITS, 4996, side=224),
}


def is_named(source: object) -> bool:
    """Whether it is the name of a data set, whatever folders there are: one of the same name is "./name"."""
    return isinstance(source, str) and source in NAMED


def pictures_of(
    source: str | Path,
    size: int | tuple[int, int] | Crop | None = None,
    normalize: Callable[[Tensor], Tensor] | None = None,
) -> Data:
    """A data set by its name, as `named_set` reads it, or a folder, as `image_folder` does."""
    if is_named(source):
        return named_set(str(source), size, normalize)
    if isinstance(source, str) and not any(mark in source for mark in ("/", os.sep)):
        path = require_path("An image folder", source)
        if not path.exists():
            raise BadInput(
                f"There is no folder {source}, and no data set of that name. Pass a folder of pictures or of class "
                f"folders, or one of: {', '.join(NAMED)}."
            )
    return image_folder(source, size, normalize)


def named_set(
    name: str,
    size: int | tuple[int, int] | Crop | None = None,
    normalize: Callable[[Tensor], Tensor] | None = None,
    root: str | Path | None = None,
) -> Data:
    """A data set of torchvision as uint8 images: a key of `NAMED`, such as "cifar10".

    What is not yet in the folder `name` of `root` (None: the user's cache) is downloaded, with a bar on stderr.
    Training images are at most 10,000, explore and final images at most 2,000 each, both from the test images; of large
    pictures fewer. Always the same ones, at random. `size` and `normalize` are as `image_folder` has them: pictures are
    resized, cropped, and made grey or RGB as a Crop says; without it they stay as they are, those of many sizes become
    224 x 224.

    Raises UnknownName, and BadInput for what can neither be found nor downloaded, or not be read.
    """
    require_name("data set", name, NAMED)
    row = NAMED[name]
    folder = (cache_folder() / "data" if root is None else require_path("A folder of data sets", root)) / name
    crop = as_crop(size) or (Crop((row.side, row.side)) if row.side else None)
    test = _opened(row, folder, row.test)
    names = row.classes or tuple(str(each) for each in test.classes)
    drawn = _drawn(row, test, crop, 2 * JUDGED, 2 * MOST_BYTES)
    half = len(drawn) // 2
    explore, final = (_read(row, test, rows, crop, normalize) for rows in (drawn[:half], drawn[half:]))
    del test  # it may hold all of its pictures
    train = _opened(row, folder, row.train)
    return Data(
        row.title,
        names,
        _read(row, train, _drawn(row, train, crop, TRAIN, MOST_BYTES), crop, normalize),
        explore,
        final,
    )


def full_fashion_mnist(root: str | Path, normalize: Callable[[Tensor], Tensor]) -> Data:
    """All 60,000 training images; explore and final are the first and second half of the 10,000 test images.

    torchvision downloads what is not yet in `root`/FashionMNIST/raw (30 MB). The bundled explore and final
    images come from the same halves. Raises ExplorerError without torchvision or when offline.
    """
    row = NAMED["fashion_mnist"]
    train, test = (_opened(row, Path(root), split) for split in (row.train, row.test))
    half = len(test.data) // 2
    return Data(
        row.title,
        row.classes,
        Images(train.data.unsqueeze(1), train.targets, normalize),
        Images(test.data[:half].unsqueeze(1), test.targets[:half], normalize),
        Images(test.data[half:].unsqueeze(1), test.targets[half:], normalize),
    )


def renumbered(data: Data, classes: Sequence[str]) -> Data:
    """The data with labels that are positions in `classes`, among which all of its own class names are."""
    places = torch.tensor([classes.index(name) for name in data.classes], dtype=torch.int64)
    splits = (
        images if images is None or images.labels is None else replace(images, labels=places[images.labels])
        for images in (data.train, data.explore, data.final)
    )
    return Data(data.name, tuple(classes), *splits)  # type: ignore[arg-type]


# ---- torchvision -----------------------------------------------------------------------------------------


def _opened(row: NamedSet, folder: Path, split: Mapping[str, object]) -> Any:
    """torchvision's data set, downloaded if it is not in the folder."""
    if row.needs and find_spec(row.needs) is None:
        raise BadInput(f"torchvision reads {row.title} with {row.needs}. Run: pip install {row.needs}.")
    try:
        with held_interrupts():
            datasets = import_module("torchvision.datasets")  # takes 170 MB of memory: only when asked for
    except ImportError as error:
        raise ExplorerError(
            f"{row.title} is read by torchvision, which is not installed: pip install torchvision, or pass images of "
            "your own, such as a folder."
        ) from error
    kind = getattr(datasets, row.kind)
    try:
        try:
            return kind(folder, **split)
        except RuntimeError:  # it is not there
            _download(kind, folder, split)
            return kind(folder, **split)
    except Exception as error:  # readers may raise anything on files that are damaged
        _require_memory(row, error)
        given = "".join(f", {name}={value!r}" for name, value in split.items())
        raise BadInput(
            f"{row.title} is not in {folder}, or not whole, and could not be downloaded ({error}). It has "
            f"{row.megabytes:,} MB: go online once; or, on a computer that is, run torchvision.datasets.{row.kind}("
            f"'data', download=True{given}) and copy what is in its folder data to {folder}. Without it: pass "
            "images of your own, such as a folder."
        ) from error


def _download(kind: Callable[..., Any], folder: Path, split: Mapping[str, object]) -> None:
    """Download and unpack into the folder; what is cut off leaves nothing there that torchvision would take for all."""
    part = folder / ".part"
    shutil.rmtree(part, ignore_errors=True)
    with _talking():
        kind(part, download=True, **split)
    for each in part.iterdir():
        if not each.name.endswith(ARCHIVES):
            shutil.rmtree(folder / each.name, ignore_errors=True)  # of another time, and damaged
            shutil.move(each, folder / each.name)
    shutil.rmtree(part)


@contextmanager
def _talking() -> Iterator[None]:
    """Inside, a server that does not answer is given up, and what torchvision prints goes where its bars are."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(SECONDS)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        socket.setdefaulttimeout(before)


def _require_memory(row: NamedSet, error: Exception) -> None:
    """Raise BadInput if the error says that memory ran out: then the files may be sound."""
    if is_lack(error):
        raise BadInput(f"Memory ran out while {row.title} was read. Free memory first.") from error


def _drawn(row: NamedSet, source: Any, crop: Crop | None, most: int, most_bytes: int) -> list[int]:
    """Places of different pictures, at random: at most so many, and so many bytes of pixels."""
    if not len(source):
        raise BadInput(f"{row.title} in {source.root} has no pictures. Delete that folder and load it again.")
    each = _picture(row, source, 0, crop)[0].numel()
    order = torch.randperm(len(source), generator=torch.Generator().manual_seed(0))
    return order[: min(most, max(2, most_bytes // each))].tolist()


def _read(
    row: NamedSet,
    source: Any,
    rows: Sequence[int],
    crop: Crop | None,
    normalize: Callable[[Tensor], Tensor] | None,
) -> Images:
    shape = _picture(row, source, rows[0], crop)[0].shape
    advice = "Pass explorer.data.named_set(name, size=) of a smaller size, or free memory first."
    require_room(len(rows), shape, row.title, advice)
    pixels = torch.empty((len(rows), *shape), dtype=torch.uint8)
    labels = torch.empty(len(rows), dtype=torch.int64)
    for place, index in enumerate(rows):
        pixels[place], labels[place] = _picture(row, source, index, crop)
    return Images(pixels, labels, normalize or identity)


def _picture(row: NamedSet, source: Any, index: int, crop: Crop | None) -> tuple[Tensor, int]:
    try:
        picture, label = source[index]
        return as_pixels(picture, crop), int(label)
    except Exception as error:  # a decoder may raise anything
        _require_memory(row, error)
        raise BadInput(
            f"Picture {index} of {row.title} cannot be read ({error}). Delete {source.root} and load it again."
        ) from error
