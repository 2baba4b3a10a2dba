"""Images: what they refuse, how inputs are made, and what their key depends on."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from explorer.data import Data, Images, Normalize, fashion_mnist, identity
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
    "sparse": (grey().float().to_sparse(), r"cannot be a tensor that is torch\.sparse_coo"),
    "meta": (grey().to("meta"), "cannot be a tensor that is on the meta device"),
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
    "too few": (LABELS[:2], r"3 images and labels of shape \(2,\)"),
    "negative": (LABELS - 1, "Label -1 is out of range"),
    "NaN": (LABELS / 0, "target of image 0 holds NaN or infinite"),
    "complex": (LABELS + 1j, "torch.complex64"),
    "a list": ([0, 1, 2], "not list"),
}


@pytest.mark.parametrize(("labels", "message"), BAD_LABELS.values(), ids=BAD_LABELS)
def test_bad_labels_are_refused(labels: Tensor, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        Images(grey(), labels, identity)


def test_a_normalisation_that_cannot_be_called_is_refused() -> None:
    with pytest.raises(BadInput, match="normalize is a tuple"):
        Images(grey(), LABELS, (0.5, 0.25))


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (
            lambda images: images[:, 5],
            r"normalize cannot take images of shape \(3, 1, 2, 2\) .*IndexError.*Normalize",
        ),
        (lambda images: None, "normalize answered .* with NoneType"),
        (
            lambda images: images[:1],
            r"normalize answered .* with shape \(1, 1, 2, 2\), not with as many inputs",
        ),
    ],
)
def test_a_normalisation_that_fails_is_said_to(rule: Callable[[Tensor], Tensor], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        Images(grey(), LABELS, rule).inputs()


def test_images_may_have_no_labels() -> None:
    images = Images(grey(), None, identity)
    assert (len(images), images.labelled) == (3, False)
    assert repr(images) == "<3 images without labels of shape (1, 2, 2)>"
    part = images.subset(2)
    assert (len(part), part.labels) == (2, None)
    labelled = Images(grey(), LABELS, identity)
    assert labelled.labelled
    assert images.key not in (labelled.key, part.key)
    assert images.key == Images(grey(), None, identity).key


def test_bundled_images_say_that_they_have_labels_without_being_read() -> None:
    images = fashion_mnist(identity).explore
    assert images.labelled
    assert "pixels" not in vars(images)


def test_explore_and_final_images_both_have_labels_or_none() -> None:
    with_labels, without = Images(grey(), LABELS, identity), Images(grey(), None, identity)
    for explore, final in ((with_labels, without), (without, with_labels)):
        with pytest.raises(BadInput, match="only one of the two has labels"):
            Data("mine", ("a", "b", "c"), None, explore, final)
    assert Data("mine", (), with_labels, without, None).train is with_labels


def test_every_channel_may_have_its_own_mean_and_std() -> None:
    pixels = torch.tensor([0.5, 0.2, 0.8]).view(1, 3, 1, 1).expand(2, 3, 2, 2)
    rule = Normalize((0.5, 0.1, 0.4), (1.0, 0.1, 0.2))
    assert rule(pixels)[1, :, 1, 0].tolist() == pytest.approx([0.0, 1.0, 2.0], abs=1e-6)
    mixed = Normalize(0.5, [1.0, 0.1, 0.2])  # type: ignore[arg-type]
    assert mixed(pixels)[0, :, 0, 0].tolist() == pytest.approx([0.0, -3.0, 1.5], abs=1e-5)


def test_a_normalisation_is_a_value_that_can_be_written_down() -> None:
    one, three = Normalize(0.5, 0.25), Normalize((0.5, 0.4, 0.3), (1, 2, 3))
    for rule in (one, three):
        assert eval(repr(rule), {"Normalize": Normalize}) == rule
        assert hash(rule) == hash(Normalize(rule.mean, rule.std))
    assert repr(one) == "Normalize(mean=0.5, std=0.25)"
    assert Normalize(torch.tensor([0.5, 0.4, 0.3]), np.array([1, 2, 3])).std == (1.0, 2.0, 3.0)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("mean", "std", "words"),
    [
        (0.5, 0.0, "std is 0.0; it must be above 0"),
        (0.5, (1.0, -1.0), "above 0"),
        (float("nan"), 1.0, "mean is nan; expected a number"),
        ("0.5", 1.0, "mean is '0.5'"),
        (None, 1.0, "mean is None"),
        ((), 1.0, r"mean is \(\)"),
        (0.5, ("a", "b"), "std is"),
        ((0.1, 0.2), (0.1, 0.2, 0.3), "different numbers of channels"),
    ],
)
def test_what_is_no_normalisation_is_refused(mean: object, std: object, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        Normalize(mean, std)  # type: ignore[arg-type]


def test_images_of_other_channels_are_refused() -> None:
    rule = Normalize((0.5, 0.4, 0.3), 1.0)
    with pytest.raises(BadInput, match=r"images of 3 channels.*\(2, 1, 4, 4\)"):
        rule(torch.zeros(2, 1, 4, 4))
