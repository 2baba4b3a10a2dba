"""Pictures (PIL) of any size and mode become images of one shape, as torchvision's evaluation transforms do it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from explorer.errors import BadInput, require_name, require_whole
from explorer.memory import GIB, available

GREY_MODES = ("1", "L", "LA", "I;16", "I;16B", "I;16L")
AROUND = 8 / 7  # the shorter side before the crop, in sizes of it: 256 for 224
INTERPOLATIONS = ("bilinear", "bicubic")
MOST_BYTES = 4 * GIB  # of the pixels of one split


@dataclass(frozen=True)
class Crop:
    """Resize the shorter side to `resize` pixels, then cut out the centre of `size` (height, width).

    `resize` None: 8/7 of the larger side of `size` (256 for 224), and pictures that have the size already stay as
    they are. A picture that is smaller than the crop after resizing is enlarged further, so that it fills it.
    `channels` is 1 (grey) or 3 (RGB); None: 1 if the pictures are grey. Raises BadInput.
    """

    size: tuple[int, int]
    resize: int | None = None
    channels: Literal[1, 3] | None = None
    interpolation: str = "bilinear"

    def __post_init__(self) -> None:
        for side in self.size:
            require_whole("A side of a crop, in pixels,", side, 1)
        if self.resize is not None:
            require_whole("The shorter side before a crop, in pixels,", self.resize, 1)
        if self.channels not in (1, 3, None):
            raise BadInput(f"A crop has 1 channel (grey) or 3 (RGB), not {self.channels!r}.")
        require_name("interpolation", self.interpolation, INTERPOLATIONS)


def as_crop(size: int | Sequence[int] | Crop | None) -> Crop | None:
    """A side in pixels or (height, width) as a Crop; a Crop and None as they are. Raises BadInput."""
    if size is None or isinstance(size, Crop):
        return size
    if isinstance(size, int):
        return Crop((size, size))
    if not isinstance(size, Sequence) or len(size) != 2:
        raise BadInput(f"size is a side in pixels, (height, width) or a Crop, not {size!r}.")
    return Crop((size[0], size[1]))


def require_room(count: int, shape: Sequence[int], source: str, advice: str) -> None:
    """Raise BadInput where `count` uint8 images (channels, H, W) are more than MOST_BYTES, or than memory has room for.

    `source` says whose pictures they are, `advice` is a sentence on what to do next.
    """
    needed, most = count * math.prod(shape), min(MOST_BYTES, available())
    if needed > most:
        raise BadInput(
            f"{count:,} pictures of {' x '.join(map(str, shape[-2:]))} from {source} would take "
            f"{needed / GIB:,.1f} GiB of memory, and at most {most / GIB:.1f} GiB are taken for them. {advice}"
        )


def channels_of(picture: Any) -> Literal[1, 3]:
    """1 for a grey picture, else 3."""
    return 1 if picture.mode in GREY_MODES else 3


def as_pixels(picture: Any, crop: Crop | None, channels: Literal[1, 3] | None = None) -> Tensor:
    """A PIL picture as uint8 (channels, H, W), cropped if there is a crop; transparency is dropped.

    `channels` None: as the crop says, else as the picture has. Raises what the decoder raises.
    """
    channels = channels or (crop.channels if crop else None) or channels_of(picture)
    if picture.mode.startswith("I;16"):  # PIL would cut off at 255
        picture = _from_16_bits(picture)
    if "transparency" in picture.info:
        picture = picture.convert("RGBA")
    picture = picture.convert("L" if channels == 1 else "RGB")
    if crop is not None and (crop.resize is not None or picture.size != crop.size[::-1]):
        picture = _cropped(picture, crop)
    array = np.array(picture, dtype=np.uint8)
    return torch.from_numpy(array.reshape(*array.shape[:2], channels)).permute(2, 0, 1)


def _cropped(picture: Any, crop: Crop) -> Any:
    from PIL import Image

    width, height = picture.size
    resize = round(AROUND * max(crop.size)) if crop.resize is None else crop.resize
    short = min(width, height)
    # torchvision's rule: the longer side is rounded down.
    resized = (resize if width == short else int(resize * width / short),
               resize if height == short else int(resize * height / short))  # fmt: skip
    fill = max(crop.size[1] / resized[0], crop.size[0] / resized[1], 1.0)
    if fill > 1:
        resized = (max(round(resized[0] * fill), crop.size[1]), max(round(resized[1] * fill), crop.size[0]))
    if resized != picture.size:
        rule = Image.Resampling.BICUBIC if crop.interpolation == "bicubic" else Image.Resampling.BILINEAR
        picture = picture.resize(resized, rule)
    top, left = (round((have - want) / 2.0) for have, want in zip(resized[::-1], crop.size, strict=True))
    return picture.crop((left, top, left + crop.size[1], top + crop.size[0]))


def _from_16_bits(picture: Any) -> Any:
    from PIL import Image

    return Image.fromarray((np.asarray(picture).astype(np.uint16) >> 8).astype(np.uint8))
