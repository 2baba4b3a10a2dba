"""The images that ship with the package: sizes, balance, roles, and that they are really Fashion-MNIST."""

import lzma
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest
import torch

from explorer.data import Data, bundled, fashion_mnist, identity
from explorer.data.bundled import read_bundled
from explorer.errors import ExplorerError

COUNTS = {"train": 10_000, "explore": 2_000, "final": 2_000}
SCRIPTS = Path(__file__).parents[2] / "scripts"
FULL = Path("/usr/share/datasets/fashion-mnist")  # Debian's dataset-fashion-mnist
needs_full = pytest.mark.skipif(not FULL.exists(), reason="dataset-fashion-mnist is not installed")


def as_set(pixels: torch.Tensor) -> set[bytes]:
    return {image.numpy().tobytes() for image in pixels}


def test_files_are_small_and_carry_their_licence() -> None:
    folder = files("explorer.data") / "fashion_mnist"
    sizes = [len((folder / f"{split}.xz").read_bytes()) for split in COUNTS]
    assert sum(sizes) <= 8_000_000
    assert max(sizes) < 4_000_000
    licence = (folder / "LICENSE").read_text()
    assert "Zalando SE" in licence
    assert "Permission is hereby granted, free of charge" in licence


@pytest.mark.parametrize("split", COUNTS)
def test_every_prefix_of_a_split_is_balanced(split: str) -> None:
    content = read_bundled(split)
    assert content.pixels.shape == (COUNTS[split], 1, 28, 28)
    assert content.pixels.dtype == torch.uint8
    assert torch.equal(content.labels, torch.arange(COUNTS[split]) % 10)


def test_no_image_is_in_two_splits_or_twice_in_one() -> None:
    sets = {split: as_set(read_bundled(split).pixels) for split in COUNTS}
    assert {split: len(images) for split, images in sets.items()} == COUNTS
    assert len(set.union(*sets.values())) == sum(COUNTS.values())


def test_explore_and_final_images_are_from_different_halves_of_the_test_set() -> None:
    explore, final = read_bundled("explore").source, read_bundled("final").source
    assert explore.min() >= 0
    assert explore.max() < 5_000 <= final.min()
    assert final.max() < 10_000


@needs_full
@pytest.mark.parametrize("split", COUNTS)
def test_images_are_those_of_the_full_set(split: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    from fashion_mnist import read_split

    images, labels = read_split(FULL, "train" if split == "train" else "t10k")
    content = read_bundled(split)
    assert (images[content.source.numpy()] == content.pixels[:, 0].numpy()).all()
    assert (labels[content.source.numpy()] == content.labels.numpy()).all()


@needs_full
@pytest.mark.slow
def test_the_script_makes_the_same_files_again(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPTS / "make_bundled_images.py"), "--out", str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True)
    for split in COUNTS:
        shipped = (files("explorer.data") / "fashion_mnist" / f"{split}.xz").read_bytes()
        made = (tmp_path / f"{split}.xz").read_bytes()
        # Not the compressed bytes, which depend on the version of liblzma.
        assert lzma.decompress(made) == lzma.decompress(shipped)


def test_a_split_is_read_when_its_images_are_first_used(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def spy(split: str) -> bundled.BundledSplit:
        asked.append(split)
        return read_bundled(split)

    monkeypatch.setattr(bundled, "read_bundled", spy)
    data = fashion_mnist(identity)
    assert data.train is not None
    assert asked == []
    assert len(data.explore) == 2_000
    assert data.explore.inputs(slice(0, 3)).shape == (3, 1, 28, 28)
    assert asked == ["explore"]


def test_bundled_data_is_a_data_of_ten_classes() -> None:
    data = fashion_mnist(identity)
    assert type(data) is Data
    assert data.name == "Fashion-MNIST"
    assert len(set(data.classes)) == 10
    assert [len(images) for images in (data.train, data.explore, data.final)] == list(COUNTS.values())
    with pytest.raises(AttributeError, match="no attribute 'pixel'"):
        _ = data.explore.pixel


def test_a_damaged_file_is_an_error_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "fashion_mnist").mkdir()
    (tmp_path / "fashion_mnist" / "final.xz").write_bytes(b"not xz")
    monkeypatch.setattr(bundled, "files", lambda _: tmp_path)
    for split in ("final", "explore"):  # damaged, missing
        with pytest.raises(ExplorerError, match=rf"{split}.xz cannot be read .* Install the package again"):
            read_bundled.__wrapped__(split)
