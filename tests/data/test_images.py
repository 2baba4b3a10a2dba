"""Images: what they refuse, how inputs are made, and what their key depends on."""

import numpy as np
import pytest
import torch
from torch import Tensor

from explorer.data import Images, Normalize, identity
from explorer.errors import BadInput

LABELS = torch.tensor([0, 1, 2])


def grey(count: int = 3) -> Tensor:
    return torch.arange(count * 4, dtype=torch.uint8).view(count, 1, 2, 2)


def test_bytes_become_images_in_0_1_before_they_are_normalised() -> None:
    images = Images(
        torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1), LABELS[:2], Normalize(0.5, 0.25)
    )
    inputs = images.inputs(slice(None))
    assert inputs.dtype == torch.float32
    assert inputs.flatten().tolist() == [-2.0, 2.0]


def test_float_pixels_are_normalised_as_they_are() -> None:
    images = Images(torch.tensor([0.0, 255.0]).view(2, 1, 1, 1), LABELS[:2], Normalize(1.0, 2.0))
    assert images.inputs().flatten().tolist() == [-0.5, 127.0]


def test_rows_are_a_slice_or_positions() -> None:
    images = Images(grey(), LABELS, identity)
    positions = images.inputs(torch.tensor([2, 0]))
    assert torch.equal(positions, grey()[[2, 0]].float() / 255)
    assert torch.equal(images.inputs(slice(1, 3)), grey()[1:3].float() / 255)


def test_inputs_do_not_share_memory_with_bytes() -> None:
    images = Images(grey(), LABELS, identity)
    images.inputs().fill_(7)
    assert torch.equal(images.pixels, grey())


def test_a_subset_is_the_first_images() -> None:
    images = Images(grey(), LABELS, identity)
    part = images.subset(2)
    assert torch.equal(part.pixels, grey()[:2])
    assert part.labels.tolist() == [0, 1]
    assert images.subset(99) is images


@pytest.mark.parametrize("count", [0, -1, "a", 1.5, True, None])
def test_a_subset_of_no_whole_number_of_images_is_refused(count: object) -> None:
    with pytest.raises(BadInput, match="images in a subset must be a whole number, at least 1"):
        Images(grey(), LABELS, identity).subset(count)  # type: ignore[arg-type]


def test_the_key_is_of_pixels_labels_and_normalisation() -> None:
    key = Images(grey(), LABELS, Normalize(0.5, 0.25)).key
    assert Images(grey(), LABELS.clone(), lambda x: (x - 0.5) / 0.25).key == key
    changed = grey()
    changed[2, 0, 1, 1] += 1
    others = [
        Images(changed, LABELS, Normalize(0.5, 0.25)).key,
        Images(grey(), LABELS.flip(0), Normalize(0.5, 0.25)).key,
        Images(grey(), LABELS, Normalize(0.5, 0.5)).key,
        Images(grey().view(3, 1, 1, 4), LABELS, Normalize(0.5, 0.25)).key,
    ]
    assert len({key, *others}) == 5


BAD_PIXELS = {
    "no channels": (grey()[:, 0], r"\(N, C, H, W\), not shape \(3, 2, 2\).*unsqueeze\(1\)"),
    "not a tensor": (np.zeros((3, 1, 2, 2)), "not ndarray"),
    "empty": (grey()[:0], "data set is empty"),
    "no pixels": (torch.zeros(3, 1, 0, 2), "no pixels"),
    "whole numbers": (grey().long(), "dtype torch.int64; expected uint8"),
    "doubles": (grey().double(), "dtype torch.float64; expected uint8 .* float32"),
    "NaN": (torch.tensor([0.0, torch.nan, torch.inf]).view(3, 1, 1, 1), "2 of 3 images .* first is image 1"),
}


@pytest.mark.parametrize(("pixels", "message"), BAD_PIXELS.values(), ids=BAD_PIXELS)
def test_bad_pixels_are_refused(pixels: Tensor, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        Images(pixels, LABELS, identity)


BAD_LABELS = {
    "too few": (LABELS[:2], "3 images and 2 labels"),
    "negative": (LABELS - 1, "Label -1 is out of range"),
    "floats": (LABELS.float(), "int64 of shape .* not torch.float32"),
    "one-hot": (torch.eye(3, dtype=torch.int64), r"not torch.int64 \(3, 3\)"),
    "a list": ([0, 1, 2], "not list"),
}


@pytest.mark.parametrize(("labels", "message"), BAD_LABELS.values(), ids=BAD_LABELS)
def test_bad_labels_are_refused(labels: Tensor, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        Images(grey(), labels, identity)


def test_a_normalisation_that_cannot_be_called_is_refused() -> None:
    with pytest.raises(BadInput, match="normalize is a tuple"):
        Images(grey(), LABELS, (0.5, 0.25))
