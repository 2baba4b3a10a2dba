"""Data sets by name, from small files in their own formats or stand-ins: never a network in these tests."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torch import nn
from torchvision.datasets import Imagenette

from explorer.data import Crop, Data, as_data, as_images, full_fashion_mnist, identity, named, named_set
from explorer.data.named import NAMED
from explorer.errors import BadInput, ExplorerError, UnknownName
from explorer.zoo import load


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the named sets, empty, on a computer without a network."""

    def offline(*_: object, **__: object) -> None:
        raise URLError("no network")

    for module in ("mnist", "cifar", "svhn", "stl10", "imagenette", "food101"):
        for function in ("download_and_extract_archive", "download_url"):
            monkeypatch.setattr(f"torchvision.datasets.{module}.{function}", offline, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "pruning-explorer" / "data"


def write_idx(path: Path, array: np.ndarray) -> None:
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes()
    path.write_bytes(header + array.tobytes())


def write_set(root: Path, split: str, count: int, kind: str = "FashionMNIST") -> np.ndarray:
    """Every picture has its number in its first two pixels; labels are numbers modulo 10."""
    folder = root / kind / "raw"
    folder.mkdir(parents=True, exist_ok=True)
    images = np.zeros((count, 28, 28), np.uint8)
    images[:, 0, 0], images[:, 0, 1] = np.arange(count) % 256, np.arange(count) // 256
    images[:, 9, 9] = 7 if split == "train" else 8
    write_idx(folder / f"{split}-images-idx3-ubyte", images)
    write_idx(folder / f"{split}-labels-idx1-ubyte", (np.arange(count) % 10).astype(np.uint8))
    return images


def numbers(images: Any) -> list[int]:
    first = images.pixels[:, 0, 0, :2].long()
    return (first[:, 0] + 256 * first[:, 1]).tolist()


def test_a_set_is_split_without_an_image_in_two_splits(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(named, "TRAIN", 50)
    monkeypatch.setattr(named, "JUDGED", 20)
    write_set(cache / "mnist", "train", 300, "MNIST")
    write_set(cache / "mnist", "t10k", 90, "MNIST")
    data = named_set("mnist")
    assert (len(data.train), len(data.explore), len(data.final)) == (50, 20, 20)
    assert set(data.train.pixels[:, 0, 9, 9].tolist()) == {7}
    assert set(data.explore.pixels[:, 0, 9, 9].tolist()) == set(data.final.pixels[:, 0, 9, 9].tolist()) == {8}
    assert not set(numbers(data.explore)) & set(numbers(data.final))
    for images in (data.train, data.explore, data.final):
        assert len(set(numbers(images))) == len(images)
        assert images.labels.tolist() == [number % 10 for number in numbers(images)]
    assert data.classes == tuple("0123456789")
    again = named_set("mnist")
    assert (again.train.key, again.explore.key, again.final.key) == (
        data.train.key,
        data.explore.key,
        data.final.key,
    )


def test_a_small_test_set_is_halved_and_memory_is_bounded(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_set(cache / "fashion_mnist", "train", 300)
    write_set(cache / "fashion_mnist", "t10k", 31)
    data = named_set("fashion_mnist")
    assert (len(data.train), len(data.explore) + len(data.final)) == (300, 31)
    monkeypatch.setattr(named, "MOST_BYTES", 10 * 3 * 56 * 56)
    large = named_set("fashion_mnist", Crop((56, 56), channels=3))
    assert (len(large.train), len(large.explore), len(large.final)) == (10, 10, 10)
    assert large.explore.pixels.shape[1:] == (3, 56, 56)


class Coloured:
    """A stand-in for torchvision's data sets: 40 pictures 3 x 32 x 32, there once they were downloaded."""

    asked: list[dict[str, Any]] = []  # noqa: RUF012
    classes = [f"class {number}" for number in range(10)]  # noqa: RUF012

    cut_off = False

    def __init__(self, root: Path, download: bool = False, **split: Any) -> None:
        self.root = root
        self.asked.append({"download": download, **split})
        mark = root / "mark"
        if download:
            root.mkdir(parents=True)
            mark.touch()
            (root / "all.tar.gz").touch()
            if self.cut_off:
                raise KeyboardInterrupt
        if not mark.exists():
            raise RuntimeError("Dataset not found")

    def __len__(self) -> int:
        return 40

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        return Image.new("RGB", (32, 32), (index, 2 * index, 99)), index % 10


@pytest.fixture
def coloured(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Coloured]]:
    Coloured.asked.clear()
    for kind in ("CIFAR10", "STL10"):
        monkeypatch.setattr(f"torchvision.datasets.{kind}", Coloured)
    return Coloured


def test_what_is_not_there_is_downloaded_once(coloured: type[Coloured], cache: Path) -> None:
    assert len(named_set("stl10").explore) == 20
    assert [each["download"] for each in coloured.asked] == [False, True, False, False]
    assert [each["split"] for each in coloured.asked] == ["test", "test", "test", "train"]
    assert [path.name for path in (cache / "stl10").iterdir()] == ["mark"]
    assert named_set("stl10").classes == tuple(coloured.classes)


def test_a_download_that_was_cut_off_is_made_again(
    coloured: type[Coloured], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coloured, "cut_off", True)
    with pytest.raises(KeyboardInterrupt):
        named_set("stl10")
    monkeypatch.setattr(coloured, "cut_off", False)
    coloured.asked.clear()
    named_set("stl10")
    assert [each["download"] for each in coloured.asked] == [False, True, False, False]


def test_pictures_become_what_the_network_takes(coloured: type[Coloured]) -> None:
    network = load("resnet20", data="cifar10")  # grey, 28 x 28
    assert network.data.explore.pixels.shape == (20, 1, 28, 28)
    assert network.data.explore.normalize == network.normalize
    assert network.classes == network.data.classes or len(network.classes) == 10
    small = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10)
    )
    network = load(small, data="cifar10", example=torch.zeros(1, 1, 20, 20))
    assert network.data.train.pixels.shape == (40, 1, 20, 20)
    with pytest.raises(BadInput, match=r"example=.*torch\.zeros\(1, 3, 32, 32\)"):
        load(small, data="cifar10")
    wide = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10)
    )
    assert load(wide, data="cifar10").example.shape == (1, 3, 32, 32)


def test_grey_pictures_become_rgb(cache: Path) -> None:
    write_set(cache / "mnist", "train", 20, "MNIST")
    write_set(cache / "mnist", "t10k", 20, "MNIST")
    wide = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10)
    )
    pixels = load(wide, data="mnist", example=torch.zeros(1, 3, 28, 28)).data.explore.pixels
    assert pixels.shape == (10, 3, 28, 28)
    assert torch.equal(pixels[:, 0], pixels[:, 2])


def test_a_network_of_other_classes_is_refused(coloured: type[Coloured]) -> None:
    with pytest.raises(BadInput, match=r"CIFAR-10 has 10 classes, and alexnet has 1000 logits"):
        load("alexnet", weights=None, data="cifar10")


# ---- Imagenette ------------------------------------------------------------------------------------------


@pytest.fixture
def imagenette(cache: Path) -> dict[int, int]:
    """Pictures in the folders of Imagenette, red of another strength for every class; the number in ImageNet by red."""
    categories = torchvision.models.get_model_weights("resnet18").DEFAULT.meta["categories"]
    numbers = {}
    for place, (folder, names) in enumerate(Imagenette._WNID_TO_CLASS.items()):
        numbers[20 * place] = categories.index(names[0])
        for split in ("train", "val"):
            path = cache / "imagenette" / "imagenette2-320" / split / folder
            path.mkdir(parents=True)
            for number in range(2):
                Image.new("RGB", (40 + number, 32), (20 * place, 0, 0)).save(path / f"{number}.JPEG")
    return numbers


def labels_are(data: Data, numbers: dict[int, int]) -> bool:
    images = (data.train, data.explore, data.final)
    reds = [round(float(red) / 20) * 20 for each in images for red in each.pixels[:, 0].float().mean((1, 2))]
    return [numbers[red] for red in reds] == [label for each in images for label in each.labels.tolist()]


def test_imagenettes_labels_are_imagenets_where_a_network_names_its_classes(
    imagenette: dict[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    (folder := tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    model = torchvision.models.get_model("shufflenet_v2_x0_5", weights=None)
    torch.save(model.state_dict(), folder / "shufflenetv2_x0.5-f707e7126e.pth")
    network = load("shufflenet_v2_x0_5", data="imagenette")
    assert labels_are(network.data, imagenette)
    assert network.data.classes == network.classes
    assert network.data.explore.pixels.shape[1:] == (3, 224, 224)
    assert [network.classes[label] for label in (0, 217, 701)] == ["tench", "English springer", "parachute"]


def test_imagenettes_labels_are_imagenets_for_any_thousand_logits(imagenette: dict[int, int]) -> None:
    network = load("shufflenet_v2_x0_5", weights=None, data="imagenette")
    assert labels_are(network.data, imagenette)
    assert len(network.data.classes) == 1000


def test_imagenettes_labels_are_its_own_for_ten_logits(imagenette: dict[int, int]) -> None:
    ten = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10)
    )
    network = load(ten, data="imagenette", example=torch.zeros(1, 3, 16, 16))
    own = {red: place for place, red in enumerate(imagenette)}
    assert labels_are(network.data, own)
    assert len(network.data.train) == 20


# ---- names and folders, and what is refused --------------------------------------------------------------


def test_a_folder_of_a_sets_name_needs_a_separator(
    coloured: type[Coloured], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cifar10").mkdir()
    for number in range(3):
        Image.new("L", (5, 5), number).save(tmp_path / "cifar10" / f"{number}.png")
    assert len(as_data("cifar10").explore) == len(as_images("cifar10", "explore")) == 20
    for folder in ("./cifar10", Path("cifar10"), str(tmp_path / "cifar10")):
        assert len(as_data(folder).explore) == len(as_images(folder, "explore")) == 3


def test_a_name_that_is_neither_lists_the_sets() -> None:
    with pytest.raises(BadInput) as refusal:
        as_data("cifar11")
    assert "There is no folder cifar11" in str(refusal.value)
    assert all(name in str(refusal.value) for name in NAMED)
    with pytest.raises(UnknownName, match="Did you mean 'cifar10'"):
        named_set("cifar11")


@pytest.mark.parametrize("name", NAMED)
def test_offline_says_what_to_do(name: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(named, "find_spec", lambda _name: SimpleNamespace())
    with pytest.raises(BadInput) as refusal:
        named_set(name)
    message = str(refusal.value)
    assert "could not be downloaded" in message
    assert f"torchvision.datasets.{NAMED[name].kind}('data', download=True" in message
    assert str(cache / name) in message


def test_the_way_out_offline_is_true(cache: Path, tmp_path: Path) -> None:
    write_set(tmp_path / "elsewhere", "train", 20, "MNIST")  # as torchvision itself leaves it in its root
    write_set(tmp_path / "elsewhere", "t10k", 20, "MNIST")
    cache.mkdir(parents=True)
    (tmp_path / "elsewhere").rename(cache / "mnist")
    assert len(named_set("mnist").train) == 20


def test_a_package_that_the_files_need_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(named, "find_spec", lambda _name: None)
    with pytest.raises(BadInput, match="pip install scipy"):
        named_set("svhn")


def test_damaged_files_are_an_error_in_words(cache: Path, imagenette: dict[int, int]) -> None:
    broken = cache / "imagenette" / "imagenette2-320" / "val" / "n01440764" / "0.JPEG"
    broken.write_bytes(b"no picture")
    with pytest.raises(BadInput, match="of Imagenette cannot be read"):
        named_set("imagenette")


def test_the_full_set_has_the_test_images_in_two_halves(tmp_path: Path) -> None:
    train, test = write_set(tmp_path, "train", 7), write_set(tmp_path, "t10k", 4)
    data = full_fashion_mnist(tmp_path, identity)
    assert torch.equal(data.train.pixels, torch.from_numpy(train).unsqueeze(1))
    assert torch.equal(data.explore.pixels, torch.from_numpy(test[:2]).unsqueeze(1))
    assert torch.equal(data.final.pixels, torch.from_numpy(test[2:]).unsqueeze(1))
    assert data.final.labels.tolist() == [2, 3]
    assert len(data.classes) == 10


def test_the_full_set_offline_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ExplorerError, match=r"could not be downloaded"):
        full_fashion_mnist(tmp_path, identity)


def test_without_torchvision_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision.datasets", None)
    with pytest.raises(ExplorerError, match="pip install torchvision"):
        full_fashion_mnist(tmp_path, identity)
