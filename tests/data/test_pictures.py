"""Pictures become images as torchvision's evaluation transforms make them."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as vision

from explorer.data.pictures import Crop, as_crop, as_pixels
from explorer.errors import BadInput


def noise(height: int, width: int, channels: int = 3) -> Image.Image:
    shape = (height, width) if channels == 1 else (height, width, channels)
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))


@pytest.mark.parametrize("shape", [(30, 50), (77, 31), (64, 64), (500, 33)])
@pytest.mark.parametrize(
    ("side", "resize", "interpolation"), [(24, 32, "bilinear"), (24, 25, "bicubic"), (29, 37, "bilinear")]
)
def test_the_crop_is_torchvisions(shape: tuple[int, int], side: int, resize: int, interpolation: str) -> None:
    picture = noise(*shape)
    resized = vision.resize(picture, [resize], InterpolationMode(interpolation), antialias=True)
    expected = vision.pil_to_tensor(vision.center_crop(resized, [side]))
    got = as_pixels(picture, Crop((side, side), resize, interpolation=interpolation))
    assert got.dtype == torch.uint8
    assert torch.equal(got, expected)


def test_the_shorter_side_is_8_7_of_the_crop_where_nothing_else_is_said() -> None:
    picture = noise(300, 400)
    assert torch.equal(as_pixels(picture, Crop((224, 224))), as_pixels(picture, Crop((224, 224), 256)))


def test_a_picture_of_the_size_stays_as_it_is_unless_it_is_to_be_resized() -> None:
    picture = noise(28, 28)
    whole = vision.pil_to_tensor(picture)
    assert torch.equal(as_pixels(picture, Crop((28, 28))), whole)
    assert not torch.equal(as_pixels(picture, Crop((28, 28), 32)), whole)


def test_a_crop_larger_than_the_resized_picture_is_filled() -> None:
    flat = Image.new("RGB", (40, 10), (7, 8, 9))
    pixels = as_pixels(flat, Crop((24, 30), 12))
    assert pixels.shape == (3, 24, 30)
    assert pixels.flatten(1).unique(dim=1).flatten().tolist() == [7, 8, 9]


@pytest.mark.parametrize(
    ("picture", "channels", "expected"),
    [
        (Image.new("L", (1, 1), 77), None, [77]),
        (Image.new("L", (1, 1), 77), 3, [77, 77, 77]),
        (Image.new("1", (1, 1), 1), None, [255]),
        (Image.new("RGB", (1, 1), (10, 20, 30)), None, [10, 20, 30]),
        (Image.new("RGB", (1, 1), (50, 50, 50)), 1, [50]),
        (Image.new("RGBA", (1, 1), (10, 20, 30, 0)), None, [10, 20, 30]),
        (Image.new("RGB", (1, 1), (10, 20, 30)).quantize(2), None, [10, 20, 30]),
        (Image.fromarray(np.array([[256 * 9 + 200]], dtype=np.uint16)), None, [9]),
    ],
    ids=["grey", "grey as RGB", "black and white", "RGB", "RGB as grey", "alpha", "palette", "16 bits"],
)
def test_every_mode_becomes_grey_or_rgb(
    picture: Image.Image, channels: int | None, expected: list[int]
) -> None:
    crop = Crop((1, 1), channels=channels)  # type: ignore[arg-type]
    assert as_pixels(picture, crop).flatten().tolist() == expected


def test_a_side_or_a_pair_is_a_crop() -> None:
    assert as_crop(32) == Crop((32, 32))
    assert as_crop([20, 30]) == Crop((20, 30))
    assert as_crop(Crop((8, 8), 9)) == Crop((8, 8), 9)
    assert as_crop(None) is None


@pytest.mark.parametrize("size", [0, -3, True, 2.5, "224", (224,), (1, 2, 3), (0, 5), ("a", "b")])
def test_what_is_no_size_is_refused(size: object) -> None:
    with pytest.raises(BadInput, match=r"size|side"):
        as_crop(size)  # type: ignore[arg-type]


def test_a_crop_of_other_channels_or_interpolation_is_refused() -> None:
    with pytest.raises(BadInput, match="not 4"):
        Crop((2, 2), channels=4)  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="shorter side"):
        Crop((2, 2), resize=0)
    with pytest.raises(Exception, match="Known: bilinear, bicubic"):
        Crop((2, 2), interpolation="lanczos")
