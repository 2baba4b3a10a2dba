"""The images that ship with the package: a class-balanced part of Fashion-MNIST (MIT, Zalando SE).

`scripts/make_bundled_images.py` chose them and says how the files are laid out.
"""

import lzma
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from typing import NamedTuple

import torch
from torch import Tensor

from explorer.data.images import Data, Images, Split
from explorer.data.tasks import CLASSIFICATION
from explorer.errors import ExplorerError

CLASSES = (
    "T-shirt",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)
SIDE = 28


class BundledSplit(NamedTuple):
    """Pixels uint8 (N, 1, 28, 28), labels int64 (N,) and positions in the full set's file int64 (N,)."""

    pixels: Tensor
    labels: Tensor
    source: Tensor


@cache
def read_bundled(split: Split) -> BundledSplit:
    """A split from the package's files, read once per process.

    `source` counts in the 60,000 training images for train, in the 10,000 test images for explore and final.
    Raises ExplorerError if the file is missing or damaged.
    """
    name = f"{split}.xz"
    try:
        content = lzma.decompress((files("explorer.data") / "fashion_mnist" / name).read_bytes())
    except (OSError, lzma.LZMAError) as error:
        raise ExplorerError(
            f"The bundled images explorer/data/fashion_mnist/{name} cannot be read ({error}). "
            "Install the package again."
        ) from error
    area = SIDE * SIDE
    count = len(content) // (area + 1 + 2)
    buffer = torch.frombuffer(bytearray(content), dtype=torch.uint8)
    pixels, labels, source = buffer.split([count * area, count, count * 2])
    return BundledSplit(
        pixels.view(count, 1, SIDE, SIDE),
        labels.long(),
        source[0::2].long() + 256 * source[1::2].long(),
    )


class BundledImages(Images):
    """Images of a bundled split, read when their pixels or labels are first asked for."""

    split: Split
    labelled = True  # said without reading them

    def __init__(self, split: Split, normalize: Callable[[Tensor], Tensor]) -> None:
        object.__setattr__(self, "split", split)
        object.__setattr__(self, "normalize", normalize)
        object.__setattr__(self, "task", CLASSIFICATION)

    def __getattr__(self, name: str) -> Tensor:  # called only for what __init__ has not set
        if name not in ("pixels", "labels"):
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        content = read_bundled(self.split)
        object.__setattr__(self, "pixels", content.pixels)
        object.__setattr__(self, "labels", content.labels)
        return getattr(content, name)


def fashion_mnist(normalize: Callable[[Tensor], Tensor]) -> Data:
    """10,000 training, 2,000 explore and 2,000 final images 1 x 28 x 28 of 10 classes.

    Every split is interleaved by class (0..9, 0..9, ...), so that its prefixes are balanced.
    """
    return Data(
        "Fashion-MNIST",
        CLASSES,
        BundledImages("train", normalize),
        BundledImages("explore", normalize),
        BundledImages("final", normalize),
    )
