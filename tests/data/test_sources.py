"""Every kind of data a user may pass gives the same images, and bad data a clear error."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from explorer.data import Crop, Data, Images, Normalize, as_data, as_images, fashion_mnist, identity
from explorer.errors import BadInput, UnknownName

PIXELS = torch.linspace(-2, 2, 5 * 3 * 4 * 4).view(5, 3, 4, 4)
LABELS = torch.tensor([0, 2, 1, 0, 2])


class Listed(Dataset):
    """A map-style data set that never raises IndexError, with labels as Python numbers."""

    classes = ("cat", "dog", "bird")

    def __init__(self, items: list) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, place: int) -> object:
        return self.items[place % len(self.items)]


class Failing(Dataset):
    """Says that it has `count` items, and has five, of which one fails; of item 0 it is the length."""

    def __init__(self, count: int, fails: int = -1) -> None:
        self.count, self.fails = count, fails

    def __len__(self) -> int:
        if self.fails == 0:
            raise OSError("no disk")
        return self.count

    def __getitem__(self, place: int) -> tuple[Tensor, Tensor]:
        if place == self.fails:
            raise OSError("no disk")
        return PIXELS[place], LABELS[place]


class Streamed(IterableDataset):
    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        yield from zip(PIXELS, LABELS, strict=True)


class FailingStream(Streamed):
    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        yield from super().__iter__()
        raise KeyError("gone")


SOURCES = {
    "tensors": (PIXELS, LABELS),
    "list of tensors": [PIXELS, LABELS.to(torch.int32)],
    "doubles": (PIXELS.double(), LABELS.to(torch.uint8)),
    "arrays": (PIXELS.numpy(), LABELS.numpy()),
    "with gradient": (PIXELS.clone().requires_grad_(), LABELS),
    "Images": Images(PIXELS, LABELS, identity),
    "TensorDataset": TensorDataset(PIXELS, LABELS),
    "Dataset": Listed([(x, int(y)) for x, y in zip(PIXELS, LABELS, strict=True)]),
    "Dataset of numpy labels": Listed([(x, y) for x, y in zip(PIXELS, LABELS.numpy(), strict=True)]),
    "IterableDataset": Streamed(),
    "DataLoader": DataLoader(TensorDataset(PIXELS, LABELS), batch_size=2),
}


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_every_source_gives_the_same_images(source: object) -> None:
    images = as_images(source, "explore")
    assert torch.equal(images.inputs(), PIXELS)
    assert torch.equal(images.labels, LABELS)
    data = as_data(source)
    assert data.explore.key == images.key
    assert (data.train, data.final) == (None, None)


UNLABELLED = {
    "tensor": PIXELS,
    "array": PIXELS.numpy(),
    "Images": Images(PIXELS, None, identity),
    "TensorDataset": TensorDataset(PIXELS),
    "Dataset": Listed(list(PIXELS)),
    "DataLoader": DataLoader(TensorDataset(PIXELS), batch_size=2),
    "DataLoader of a Dataset": DataLoader(Listed(list(PIXELS)), batch_size=2),
}
NAMED = ("Dataset", "DataLoader of a Dataset")  # they have the attribute `classes`


@pytest.mark.parametrize("name", UNLABELLED)
def test_every_source_of_images_alone_gives_them_without_labels(name: str) -> None:
    source = UNLABELLED[name]
    images = as_images(source, "explore")
    assert torch.equal(images.inputs(), PIXELS)
    assert images.labels is None
    data = as_data(source)
    assert data.explore.key == images.key
    assert data.classes == (Listed.classes if name in NAMED else ())


def test_pictures_of_a_data_set_become_bytes() -> None:
    grey, coloured = Image.new("L", (3, 2), 51), Image.new("RGB", (3, 2), (255, 0, 102))
    images = as_images(Listed([(grey, 1), (grey, 0)]), "explore")
    assert images.pixels.dtype == torch.uint8
    assert images.pixels.shape == (2, 1, 2, 3)
    assert images.inputs()[0, 0, 0, 0].item() == pytest.approx(0.2)
    inputs = as_data(Listed([coloured]), Normalize((0.5, 0.0, 0.2), (0.5, 1.0, 0.1))).explore.inputs()
    assert inputs[0, :, 0, 0].tolist() == pytest.approx([1.0, 0.0, 2.0])


def test_pictures_of_a_data_set_are_cropped_to_a_size() -> None:
    pictures = [(Image.new("RGB", (30, 20)), 0), (Image.new("L", (8, 9)), 1)]
    assert as_data(Listed(pictures), size=Crop((6, 6), channels=3)).explore.pixels.shape == (2, 3, 6, 6)


def test_a_size_that_memory_has_no_room_for_is_refused_before_a_picture_is_decoded() -> None:
    pictures = Listed([(Image.new("RGB", (3, 2)), 0)] * 24)
    with pytest.raises(
        BadInput, match=r"24 pictures of 20000 x 20000 from the data set .* GiB.*smaller size="
    ):
        as_data(pictures, size=20_000)


def test_bytes_of_a_pair_are_divided_by_255() -> None:
    pixels = torch.full((2, 1, 1, 1), 51, dtype=torch.uint8)
    assert as_images((pixels, LABELS[:2]), "train").inputs().flatten().tolist() == pytest.approx([0.2, 0.2])


def test_normalize_is_applied_to_a_source_that_has_none() -> None:
    data = as_data((PIXELS, LABELS), Normalize(1.0, 2.0), "mine")
    assert torch.equal(data.explore.inputs(), (PIXELS - 1) / 2)
    assert data.name == "mine"
    with pytest.raises(BadInput, match="Both normalize and Images"):
        as_data(data.explore, identity)


def test_class_names_are_those_of_the_data_set_or_numbers() -> None:
    items = [(x, int(y)) for x, y in zip(PIXELS, LABELS, strict=True)]
    assert as_data(Listed(items)).classes == ("cat", "dog", "bird")
    assert as_data(DataLoader(Listed(items))).classes == ("cat", "dog", "bird")
    assert as_data((PIXELS, LABELS)).classes == ("0", "1", "2")


def test_a_data_gives_its_splits() -> None:
    data = fashion_mnist(identity)
    assert as_data(data) is data
    assert as_images(data, "final") is data.final
    with pytest.raises(UnknownName, match=r"no split 'test'. Known: train, explore, final"):
        as_images(data, "test")


def test_a_missing_split_is_named() -> None:
    data = as_data((PIXELS, LABELS), name="mine")
    with pytest.raises(BadInput, match="mine has no train images"):
        as_images(data, "train")


def test_a_label_beyond_the_classes_is_refused() -> None:
    data = Data("mine", ("a", "b"), None, Images(PIXELS, LABELS, identity), None)
    with pytest.raises(
        BadInput, match=r"Label 2 among the explore images .* 2 classes, so labels go from 0 to 1"
    ):
        as_images(data, "explore")


def test_a_shuffled_loader_does_not_move_the_random_numbers() -> None:
    loader = DataLoader(TensorDataset(PIXELS, LABELS), batch_size=2, shuffle=True)
    before = torch.get_rng_state()
    images = as_images(loader, "explore")
    assert torch.equal(torch.get_rng_state(), before)
    assert sorted(images.labels.tolist()) == sorted(LABELS.tolist())


BAD = {
    "nothing": (None, "Data cannot be a NoneType. Accepted: a pair of tensors"),
    "a path": ("images/", "There is no folder images"),
    "a triple": ((PIXELS, LABELS, LABELS), r"The data is a tuple of 3, .* pick=\(0, 1\)"),
    "lists": (([1.0], [0]), "The images are a float, not a tensor"),
    "labels in a list": ((PIXELS, [0, 1]), "The labels are a list"),
    "texts": ((np.array(["a"]), LABELS), "array of dtype <U1 cannot be images"),
    "whole numbers": ((PIXELS.long(), LABELS), "dtype torch.int64; expected uint8"),
    "no channels": ((PIXELS[:, 0], LABELS), r"not shape \(5, 4, 4\)"),
    "empty pair": ((PIXELS[:0], LABELS[:0]), "data set is empty"),
    "empty Dataset": (Listed([]), "data set is empty"),
    "empty DataLoader": (DataLoader(TensorDataset(PIXELS[:0], LABELS[:0])), "data set is empty"),
    "NaN": ((PIXELS.log(), LABELS), "NaN or infinite pixels"),
    "three-element tuples": (
        TensorDataset(PIXELS, LABELS, LABELS),
        r"Item 0 .* a tuple of 3, not \(image, label\)",
    ),
    "a dictionary": (
        Listed([{"picture": PIXELS[0]}]),
        "Item 0 of the data is a dict with the keys 'picture', .* pick=",
    ),
    "a dictionary of two pictures": (
        Listed([{"image": PIXELS[0], "mask": PIXELS[0, 0], "label": 0}]),
        "Item 0 of the data is a dict with the keys 'image', 'mask', 'label', .* pick=",
    ),
    "a generator": ((each for each in [(PIXELS[0], 0)]), "generator. It can be read only once"),
    "an iterator": (iter(DataLoader(TensorDataset(PIXELS, LABELS))), "It can be read only once"),
    "a split": (
        torch.utils.data.random_split(TensorDataset(PIXELS, LABELS), [2, 3]),
        r"a list of 2 Subsets: .*data\[0\]",
    ),
    "a tensor without channels": (PIXELS[:, 0], r"not shape \(5, 4, 4\)"),
    "labels of some": (Listed([(PIXELS[0], 1), PIXELS[1]]), "1 of 2 items of the data have a label"),
    "pictures of two sizes": (
        Listed([(Image.new("L", (4, 4)), 0), (Image.new("L", (5, 4)), 1)]),
        r"number 1 has \(1, 4, 5\) and the first \(1, 4, 4\)",
    ),
    "pictures": (Listed([("cat.png", 0)]), "image of item 0 is a str, not a tensor.*ToTensor"),
    "label names": (Listed([(PIXELS[0], "cat")]), "label of item 0 is a str"),
    "sizes differ": (
        Listed([(PIXELS[0], 0), (PIXELS[0, :, :2], 1)]),
        r"number 1 has \(3, 2, 4\) and the first \(3, 4, 4\)",
    ),
    "no length": (Dataset(), "Dataset has no length"),
    "a length that fails": (Failing(5, 0), r"Failing has no length \(no disk\)"),
    "an item that fails": (Failing(5, 3), "Item 3 of Failing cannot be had: OSError: no disk"),
    "a batch that fails": (
        DataLoader(Failing(5, 3), 2),
        "Batch 1 of DataLoader cannot be had: OSError: no disk",
    ),
    "fewer items than its length": (Failing(9), "Item 5 of Failing .* IndexError.* Is its __len__ larger"),
    "a stream that fails": (FailingStream(), "Item 5 of FailingStream cannot be had: KeyError: 'gone'"),
    "labels of two shapes": (
        Listed([(PIXELS[0], LABELS[:1]), (PIXELS[0], LABELS[:2])]),
        "of Listed cannot be put together",
    ),
    "a huge label": (Listed([(PIXELS[0], 10**30)]), "label of item 0 is no class number"),
    "sparse": (PIXELS.to_sparse(), r"Images cannot be a tensor that is torch\.sparse_coo.*to_dense"),
    "sparse items": (Listed([(PIXELS[0].to_sparse(), 0)]), r"image of item 0 cannot be .*torch\.sparse_coo"),
    "meta": ((PIXELS.to("meta"), LABELS), "Images cannot be a tensor that is on the meta device"),
    "meta labels": ((PIXELS, LABELS.to("meta")), "Labels cannot be a tensor that is on the meta device"),
    "sparse labels": ((PIXELS, LABELS.to_sparse()), "Labels cannot be a tensor that is torch.sparse_coo"),
}


class Unnamed(Listed):
    @property
    def classes(self) -> list[str]:
        raise OSError("no disk")


@pytest.mark.parametrize("wrapped", [False, True])
def test_classes_that_cannot_be_had_are_refused_in_words(wrapped: bool) -> None:
    source = Unnamed([(PIXELS[0], 0)])
    with pytest.raises(BadInput, match="classes of Unnamed cannot be had: OSError: no disk"):
        as_data(DataLoader(source) if wrapped else source)


@pytest.mark.parametrize(("source", "message"), BAD.values(), ids=BAD)
def test_bad_data_is_refused_in_words(source: object, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        as_images(source, "explore")
    with pytest.raises(BadInput, match=message):
        as_data(source)
