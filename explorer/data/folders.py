"""Image folders on disk: class subfolders, the splits train, val and test, or pictures alone without labels."""

import random
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from explorer.data.images import Data, Images, identity
from explorer.data.pictures import Crop, as_crop, as_pixels, channels_of, require_room
from explorer.errors import BadInput, require_path, require_whole
from explorer.memory import is_lack

ENDINGS = (".jpg", ".jpeg", ".png", ".ppm", ".pgm", ".bmp", ".tif", ".tiff", ".webp")
FORMATS = ("JPEG", "PNG", "PPM", "BMP", "TIFF", "WEBP")  # others may start programs, such as Ghostscript
SPLITS = {"train": "train", "val": "explore", "valid": "explore", "validation": "explore", "test": "final"}
LIMIT = 2000
MOST_BROKEN = 0.1  # share of the pictures that may be broken
LISTED = 5  # names in a message
SIZED = (
    "Read them at the size that the network takes, such as data=explorer.data.image_folder(path, size=224)"
)


@dataclass(frozen=True)
class _Content:
    """The pictures of a folder by class; without classes all under ""."""

    folder: Path
    files: dict[str, list[Path]]

    @property
    def labelled(self) -> bool:
        return "" not in self.files


def image_folder(
    path: str | Path,
    size: int | tuple[int, int] | Crop | None = None,
    normalize: Callable[[Tensor], Tensor] | None = None,
    limit: int = LIMIT,
    seed: int = 0,
    classes: Sequence[str] | None = None,
) -> Data:
    """The pictures of a folder as uint8 images, at most `limit` of each split, equally many of every class.

    - Subfolders that hold pictures are classes. Labels are their positions in the sorted names, or in `classes`,
      the network's class names in the order of its logits, where that is given.
    - Subfolders `train` and `val` (or `valid`, `validation`) and `test` that hold such folders are splits: val
      becomes the explore images, test the final ones. Where one of the two is missing, the other is split in two.
    - A folder of pictures alone has no labels.

    `size` is the side of the square, (height, width), or a Crop, that pictures are resized and cropped to, as
    torchvision's evaluation transforms do; None: they must all be of one size. `normalize` maps images in [0, 1]
    to inputs (None: they are inputs). `seed` chooses the pictures. Files of other types and hidden ones are
    ignored. A few pictures that cannot be read are left out with a warning; others are taken in their place.

    Raises BadInput for what is no such folder, for many unreadable pictures, and for classes that are not in
    `classes`.
    """
    require_whole("limit", limit, 1)
    require_whole("seed", seed, 0)
    crop = as_crop(size)
    root = require_path("An image folder", path)
    found = _splits(root)
    names = _class_names(found, classes)
    judging = [split for split in found if split != "train"]
    halved = len(judging) == 1 and found[judging[0]].folder != root
    read = {
        split: _read(
            content, names, crop, normalize or identity, limit * (1 + (halved and split in judging)), seed
        )
        for split, content in found.items()
    }
    explore, final = read[judging[0]], read.get("final")
    if halved:
        explore, final = _halves(explore)
    return Data(root.resolve().name, names, read.get("train"), explore, final)


# ---- what is there ---------------------------------------------------------------------------------------


def _splits(root: Path) -> dict[str, _Content]:
    """The content of every split; a folder that is not divided is all "explore"."""
    if not root.exists():
        raise BadInput(f"There is no folder {root}. Pass a folder of pictures, or of class folders.")
    if not root.is_dir():
        raise BadInput(f"{root} is a file; expected a folder of pictures, or of class folders.")
    folders = _folders(root)
    names = [folder.name.lower() for folder in folders]
    if not folders or not set(names) <= set(SPLITS):
        return {"explore": _content(root)}
    order = sorted(zip(names, folders, strict=True), key=lambda pair: list(SPLITS).index(pair[0]))
    splits = {SPLITS[name]: _content(folder) for name, folder in order}
    if len(splits) < len(folders):
        raise BadInput(f"{root} has several folders of one split: {', '.join(names)}. Keep one of them.")
    if list(splits) == ["train"]:
        raise BadInput(
            f"{root} has training images only, and none to judge a network on: add a folder val, or pass "
            f"{folders[0]} itself."
        )
    return splits


def _content(folder: Path) -> _Content:
    """The pictures of a folder of classes, or of pictures alone. Raises BadInput where it is neither."""
    folders, loose = _folders(folder), _pictures(folder)
    if folders and loose:
        raise BadInput(
            f"{folder} holds both pictures ({_some(loose)}) and folders ({_some(folders)}). Expected either "
            "pictures alone, which have no labels, or one folder per class."
        )
    if loose:
        return _Content(folder, {"": loose})
    for each in folders:
        if deeper := _folders(each):
            raise BadInput(
                f"The folders in {folder} are too deep: {each.name} holds folders again ({_some(deeper)}). Pass "
                "a folder whose subfolders are the classes and hold the pictures themselves."
            )
    files = {each.name: _pictures(each) for each in folders}
    if not any(files.values()):
        raise BadInput(f"{folder} holds no pictures. Their names end in {', '.join(ENDINGS)}.")
    return _Content(folder, files)


def _folders(folder: Path) -> list[Path]:
    return [each for each in _listing(folder) if each.is_dir()]


def _pictures(folder: Path) -> list[Path]:
    return [each for each in _listing(folder) if each.suffix.lower() in ENDINGS and each.is_file()]


def _listing(folder: Path) -> list[Path]:
    """What is in a folder, by name; hidden files, and folders that systems leave behind, are not."""
    try:
        seen = [each for each in folder.iterdir() if not each.name.startswith((".", "__"))]
    except OSError as error:
        raise BadInput(f"The folder {folder} cannot be read: {error}.") from error
    return sorted(seen, key=lambda each: each.name)


def _class_names(found: dict[str, _Content], classes: Sequence[str] | None) -> tuple[str, ...]:
    """The names by label; () where neither folders nor `classes` name any."""
    names = sorted({name for content in found.values() for name in content.files} - {""})
    if classes is None:
        return tuple(names)
    if unknown := [name for name in names if name not in classes]:
        raise BadInput(
            f"These class folders are not among the {len(classes)} classes given: {_listed(unknown)}. Rename "
            "them, or leave classes out: labels are then the positions in the sorted names."
        )
    return tuple(classes)


def require_all_classes(data: Data, logits: int, network: str) -> None:
    """Raise BadInput unless a folder's classes are as many as the network's logits: only then do positions agree."""
    if data.explore.labelled and len(data.classes) != logits:
        raise BadInput(
            f"{data.name} has {len(data.classes)} class folders, and {network} has {logits} logits: labels, the "
            "positions in the sorted names, would not be its classes. Name the network's classes in the order of "
            "its logits: data=explorer.data.image_folder(path, size, classes=[...])."
        )


# ---- reading ---------------------------------------------------------------------------------------------


def _read(
    content: _Content,
    names: tuple[str, ...],
    crop: Crop | None,
    normalize: Callable[[Tensor], Tensor],
    limit: int,
    seed: int,
) -> Images:
    """At most `limit` images, interleaved by class, so that prefixes are balanced too."""
    order = list(_interleaved(content.files, seed))
    wanted = min(limit, len(order))
    channels = (crop.channels if crop else None) or _channels(path for _name, path in order[:wanted])
    room = f"{SIZED}, or with a smaller limit=."
    if crop:  # before any is decoded: one picture alone may be too large
        require_room(wanted, (channels, *crop.size), str(content.folder), room)
    pixels: Tensor | None = None
    labels: list[int] = []
    broken: list[Path] = []
    for name, path in order:
        if len(labels) == wanted:
            break
        picture = _opened(path, lambda picture: as_pixels(picture, crop, channels))
        if picture is None:
            broken.append(path)
            continue
        if pixels is None:
            require_room(wanted, picture.shape, str(content.folder), room)
            pixels = torch.empty((wanted, *picture.shape), dtype=torch.uint8)
        if picture.shape != pixels.shape[1:]:
            raise BadInput(
                f"The pictures of {content.folder} differ in size: {path.name} is {_size(picture)}, the first "
                f"{_size(pixels)} (height x width). {SIZED}."
            )
        pixels[len(labels)] = picture
        labels.append(names.index(name) if content.labelled else 0)
    if pixels is None or len(broken) > max(1, MOST_BROKEN * len(order)):
        raise BadInput(
            f"{len(broken)} of the pictures of {content.folder} cannot be read: {_some(broken)}. Are they "
            "damaged, or of another type than their names say?"
        )
    if broken:
        warnings.warn(
            f"Left out of {content.folder}, since they cannot be read: {_some(broken)}.", stacklevel=3
        )
    return Images(pixels[: len(labels)], torch.tensor(labels) if content.labelled else None, normalize)


def _interleaved(files: dict[str, list[Path]], seed: int) -> Iterator[tuple[str, Path]]:
    """(class, picture) in rounds: one picture of every class that has any left, both in a random order."""
    draw = random.Random(seed)
    shuffled = [(name, draw.sample(paths, len(paths))) for name, paths in files.items()]
    draw.shuffle(shuffled)
    for turn in range(max(len(paths) for _name, paths in shuffled)):
        yield from ((name, paths[turn]) for name, paths in shuffled if turn < len(paths))


def _opened(path: Path, use: Callable[[Any], Any]) -> Any:
    """What `use` makes of the picture in a file; None if it cannot be read. Raises BadInput if memory runs out."""
    from PIL import Image

    try:
        with Image.open(path, formats=FORMATS) as picture:
            return use(picture)
    except Exception as error:  # a decoder may raise anything
        if is_lack(error):
            raise BadInput(
                f"Memory ran out while {path} was read; the picture may be sound. {SIZED}, or free memory first."
            ) from error
        return None


def _channels(paths: Iterator[Path]) -> Any:
    """1 if all pictures are grey, else 3; only their heads are read."""
    return max((_opened(path, channels_of) or 1 for path in paths), default=3)


def _halves(images: Images) -> tuple[Images, Images]:
    """Two halves, both balanced as the whole: every round of classes goes to one of them in turn."""
    if len(images) < 2:
        raise BadInput("One image cannot be split into explore and final images: add a folder test.")
    rows = torch.arange(len(images))
    if images.labels is None:
        turn = rows
    else:  # how many images of the same class came before
        turn = torch.tensor([int((images.labels[:row] == images.labels[row]).sum()) for row in rows.tolist()])
    sides = [rows[turn % 2 == side] for side in (0, 1)]
    if not len(sides[1]):
        sides = [rows[0::2], rows[1::2]]
    first, second = (
        Images(images.pixels[side], None if images.labels is None else images.labels[side], images.normalize)
        for side in sides
    )
    return first, second


def _size(picture: Tensor) -> str:
    return " x ".join(str(side) for side in picture.shape[-2:])


def _some(paths: Sequence[Path]) -> str:
    return _listed([path.name for path in paths])


def _listed(names: Sequence[str]) -> str:
    """The first few names, and how many there are beside them."""
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more
