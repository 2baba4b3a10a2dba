"""The full set through torchvision, from tiny idx files and without the network."""

import sys
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch

from explorer.data import full_fashion_mnist, identity
from explorer.errors import ExplorerError


def write_idx(path: Path, array: np.ndarray) -> None:
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes()
    path.write_bytes(header + array.tobytes())


def write_set(root: Path, split: str, count: int) -> np.ndarray:
    folder = root / "FashionMNIST" / "raw"
    folder.mkdir(parents=True, exist_ok=True)
    images = np.arange(count * 28 * 28).reshape(count, 28, 28).astype(np.uint8)
    write_idx(folder / f"{split}-images-idx3-ubyte", images)
    write_idx(folder / f"{split}-labels-idx1-ubyte", np.arange(count, dtype=np.uint8) % 10)
    return images


def test_the_test_images_are_halved_into_explore_and_final(tmp_path: Path) -> None:
    train, test = write_set(tmp_path, "train", 7), write_set(tmp_path, "t10k", 4)
    data = full_fashion_mnist(tmp_path, identity)
    assert torch.equal(data.train.pixels, torch.from_numpy(train).unsqueeze(1))
    assert torch.equal(data.explore.pixels, torch.from_numpy(test[:2]).unsqueeze(1))
    assert torch.equal(data.final.pixels, torch.from_numpy(test[2:]).unsqueeze(1))
    assert data.final.labels.tolist() == [2, 3]
    assert len(data.classes) == 10


def test_offline_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise URLError("no network")

    monkeypatch.setattr("torchvision.datasets.mnist.download_and_extract_archive", offline)
    with pytest.raises(ExplorerError, match=r"could not be downloaded[\s\S]*no network[\s\S]*bundled images"):
        full_fashion_mnist(tmp_path, identity)


def test_without_torchvision_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision.datasets", None)
    with pytest.raises(ExplorerError, match="pip install torchvision"):
        full_fashion_mnist(tmp_path, identity)
