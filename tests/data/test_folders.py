"""Image folders on disk: what is read, in which order, with which labels; and what is refused."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from explorer.data import Crop, Data, Images, Normalize, as_data, as_images, folders, image_folder, pictures
from explorer.data.folders import require_all_classes
from explorer.errors import BadInput


def paint(path: Path, value: int, size: tuple[int, int] = (4, 4), mode: str = "RGB") -> None:
    """A picture of one colour, which says which file it was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value if mode == "L" else (value, value, value)).save(path)


def fill(folder: Path, classes: dict[str, int], first: int = 0) -> dict[str, set[int]]:
    """So many pictures of every class, all of different colours; the colours by class."""
    colours: dict[str, set[int]] = {}
    for name, count in classes.items():
        colours[name] = set(range(first, first + count))
        for colour in colours[name]:
            paint(folder / name / f"{colour}.png", colour)
        first += count
    return colours


def colours_of(images: Images) -> list[int]:
    assert images.pixels.flatten(1).unique(dim=1).shape[1] == 1
    return images.pixels[:, 0, 0, 0].tolist()


def labels_of(images: Images) -> list[int]:
    assert images.labels is not None
    return images.labels.tolist()


def test_class_folders_give_labels_in_the_order_of_their_names(tmp_path: Path) -> None:
    colours = fill(tmp_path, {"dog": 3, "cat": 2, "bird": 1})
    data = image_folder(tmp_path)
    assert (data.name, data.classes) == (tmp_path.name, ("bird", "cat", "dog"))
    assert (data.train, data.final) == (None, None)
    assert data.explore.pixels.dtype == torch.uint8
    assert data.explore.pixels.shape == (6, 3, 4, 4)
    names = [data.classes[label] for label in labels_of(data.explore)]
    for name, colour in zip(names, colours_of(data.explore), strict=True):
        assert colour in colours[name]
    assert Counter(names) == {"dog": 3, "cat": 2, "bird": 1}


def test_the_limit_is_spread_evenly_over_the_classes_and_so_is_every_prefix(tmp_path: Path) -> None:
    fill(tmp_path, {"a": 10, "b": 2, "c": 10})
    images = image_folder(tmp_path, limit=9).explore
    assert Counter(labels_of(images)) in ({0: 4, 1: 2, 2: 3}, {0: 3, 1: 2, 2: 4})
    assert sorted(labels_of(images)[:3]) == [0, 1, 2]
    assert len(image_folder(tmp_path, limit=99).explore) == 22


def test_the_seed_chooses_the_pictures(tmp_path: Path) -> None:
    fill(tmp_path, {"a": 30, "b": 30})
    one, again, other = (colours_of(image_folder(tmp_path, limit=10, seed=s).explore) for s in (1, 1, 2))
    assert one == again
    assert set(one) != set(other)


def test_a_folder_of_pictures_alone_has_no_labels(tmp_path: Path) -> None:
    for colour in range(5):
        paint(tmp_path / f"{colour}.png", colour)
    data = image_folder(tmp_path, normalize=Normalize(0.5, 0.5))
    assert not data.explore.labelled
    assert data.classes == ()
    assert sorted(colours_of(data.explore)) == [0, 1, 2, 3, 4]
    expected = (data.explore.pixels.float() / 255 - 0.5) / 0.5
    assert torch.equal(data.explore.inputs(), expected)
    assert image_folder(tmp_path, classes=["x", "y"]).classes == ("x", "y")


def test_train_val_and_test_are_the_splits(tmp_path: Path) -> None:
    train = fill(tmp_path / "train", {"a": 3, "b": 3}, 0)
    val = fill(tmp_path / "val", {"a": 2, "b": 2}, 100)
    test = fill(tmp_path / "test", {"b": 2, "a": 1}, 200)
    data = image_folder(tmp_path)
    assert data.train is not None
    assert data.final is not None
    for images, colours in ((data.train, train), (data.explore, val), (data.final, test)):
        assert set(colours_of(images)) == colours["a"] | colours["b"]
        for label, colour in zip(labels_of(images), colours_of(images), strict=True):
            assert colour in colours["ab"[label]]


@pytest.mark.parametrize("held", ["val", "test", "Validation"])
def test_without_one_of_val_and_test_the_other_is_split_in_two_balanced_halves(
    tmp_path: Path, held: str
) -> None:
    fill(tmp_path / "train", {"a": 1, "b": 1})
    colours = fill(tmp_path / held, {"a": 8, "b": 8}, 100)
    data, again = image_folder(tmp_path, limit=4), image_folder(tmp_path, limit=4)
    assert data.final is not None
    assert again.final is not None
    assert data.explore.key == again.explore.key
    for images in (data.explore, data.final):
        assert Counter(labels_of(images)) == {0: 2, 1: 2}
    both = colours_of(data.explore) + colours_of(data.final)
    assert len(set(both)) == 8
    assert set(both) <= colours["a"] | colours["b"]


def test_a_class_that_only_one_split_has_does_not_move_the_labels(tmp_path: Path) -> None:
    fill(tmp_path / "train", {"a": 1, "b": 1, "c": 1})
    fill(tmp_path / "val", {"b": 2, "c": 2}, 100)
    data = image_folder(tmp_path)
    assert data.classes == ("a", "b", "c")
    assert set(labels_of(data.explore)) == {1, 2}


def test_unlabelled_splits_may_stand_beside_labelled_training_images(tmp_path: Path) -> None:
    fill(tmp_path / "train", {"a": 1, "b": 1})
    for colour in range(4):
        paint(tmp_path / "val" / f"{colour}.png", colour)
    data = image_folder(tmp_path)
    assert data.train is not None
    assert data.train.labelled
    assert not data.explore.labelled
    assert data.final is not None
    assert sorted(colours_of(data.explore) + colours_of(data.final)) == [0, 1, 2, 3]


def test_labels_can_be_positions_in_the_networks_own_classes(tmp_path: Path) -> None:
    fill(tmp_path, {"tench": 1, "church": 1})
    data = image_folder(tmp_path, classes=["goldfish", "church", "tench"])
    assert data.classes == ("goldfish", "church", "tench")
    assert sorted(labels_of(data.explore)) == [1, 2]
    with pytest.raises(BadInput, match=r"not among the 2 classes given: tench\."):
        image_folder(tmp_path, classes=["church", "goldfish"])


def test_as_many_class_folders_as_logits_are_wanted(tmp_path: Path) -> None:
    fill(tmp_path, {"a": 1, "b": 1})
    data = image_folder(tmp_path)
    require_all_classes(data, 2, "Net")
    with pytest.raises(BadInput, match=r"2 class folders, and Net has 1000 logits.*classes=\["):
        require_all_classes(data, 1000, "Net")


def test_pictures_of_all_sizes_are_cropped_to_one(tmp_path: Path) -> None:
    paint(tmp_path / "a" / "wide.png", 10, (40, 20))
    paint(tmp_path / "a" / "high.JPG", 10, (21, 50))
    assert image_folder(tmp_path, size=16).explore.pixels.shape == (2, 3, 16, 16)
    assert image_folder(tmp_path, size=(8, 12)).explore.pixels.shape == (2, 3, 8, 12)
    assert image_folder(tmp_path, size=Crop((8, 8), channels=1)).explore.pixels.shape == (2, 1, 8, 8)
    with pytest.raises(
        BadInput,
        match=r"differ in size: .*(50 x 21|20 x 40).* data=explorer\.data\.image_folder\(path, size=224\)\.$",
    ):
        image_folder(tmp_path)


def test_grey_pictures_have_one_channel_unless_there_are_coloured_ones(tmp_path: Path) -> None:
    paint(tmp_path / "a.png", 10, mode="L")
    assert image_folder(tmp_path).explore.pixels.shape == (1, 1, 4, 4)
    paint(tmp_path / "b.png", 20)
    images = image_folder(tmp_path).explore
    assert images.pixels.shape == (2, 3, 4, 4)
    assert sorted(colours_of(images)) == [10, 20]


def test_other_files_and_hidden_ones_are_ignored(tmp_path: Path) -> None:
    paint(tmp_path / "a" / "1.png", 1)
    paint(tmp_path / "a" / ".2.png", 2)
    paint(tmp_path / ".ipynb_checkpoints" / "3.png", 3)
    paint(tmp_path / "__MACOSX" / "3.png", 3)
    (tmp_path / "a" / "notes.txt").write_text("no picture")
    (tmp_path / "README.md").write_text("no picture")
    data = image_folder(tmp_path)
    assert data.classes == ("a",)
    assert colours_of(data.explore) == [1]


def test_a_broken_picture_is_left_out_another_taken_and_both_said(tmp_path: Path) -> None:
    fill(tmp_path, {"a": 12})
    whole = (tmp_path / "a" / "3.png").read_bytes()
    (tmp_path / "a" / "3.png").write_bytes(whole[: len(whole) // 2])
    with pytest.warns(UserWarning, match=r"cannot be read: 3\.png\."):
        images = image_folder(tmp_path, limit=11).explore
    assert sorted(colours_of(images)) == [0, 1, 2, *range(4, 12)]


def test_many_broken_pictures_are_refused_with_a_list(tmp_path: Path) -> None:
    fill(tmp_path, {"a": 10})
    for name in range(7):
        (tmp_path / "a" / f"{name}.png").write_bytes(b"not a picture")
    with pytest.raises(BadInput, match=r"7 of the pictures .* cannot be read: .*and 2 more"):
        image_folder(tmp_path)


def test_a_file_of_another_format_is_not_opened_whatever_its_name(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n")
    with pytest.raises(BadInput, match="3 of the pictures"):
        image_folder(tmp_path)


def test_more_memory_than_a_person_may_want_is_refused_before_it_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path, {"a": 10})
    monkeypatch.setattr(pictures, "MOST_BYTES", 9 * 3 * 4 * 4)
    with pytest.raises(BadInput, match=r"10 pictures of 4 x 4 .* GiB of memory.* size=.*limit="):
        image_folder(tmp_path)
    assert len(image_folder(tmp_path, limit=9).explore) == 9


def test_a_size_that_memory_has_no_room_for_is_refused_before_a_picture_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path, {"a": 24})
    monkeypatch.setattr(folders, "as_pixels", lambda *_given: pytest.fail("a picture was decoded"))
    for size in (20_000, 10**6, (10**6, 300)):
        with pytest.raises(BadInput, match=r"24 pictures of .* GiB of memory.* size=.*limit="):
            image_folder(tmp_path, size=size)
    monkeypatch.setattr(pictures, "available", lambda: 24 * 3 * 40 * 40 - 1)
    with pytest.raises(BadInput, match="24 pictures of 40 x 40"):
        image_folder(tmp_path, size=40)


@pytest.mark.parametrize(
    "lack", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried ...")]
)
def test_a_lack_of_memory_is_never_called_a_damaged_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lack: Exception
) -> None:
    fill(tmp_path, {"a": 3})

    def short_of_memory(*_given: object) -> None:
        raise lack

    monkeypatch.setattr(folders, "as_pixels", short_of_memory)
    with pytest.raises(BadInput, match=r"Memory ran out while .*png was read.*size=") as refused:
        image_folder(tmp_path)
    assert "damaged" not in str(refused.value)


def test_what_is_no_image_folder_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.png").write_bytes(b"")
    (tmp_path / "none" / "a").mkdir(parents=True)
    paint(tmp_path / "deep" / "a" / "b" / "1.png", 1)
    paint(tmp_path / "mixed" / "1.png", 1)
    paint(tmp_path / "mixed" / "a" / "2.png", 2)
    paint(tmp_path / "training" / "train" / "a" / "1.png", 1)
    paint(tmp_path / "twice" / "val" / "a" / "1.png", 1)
    paint(tmp_path / "twice" / "valid" / "a" / "1.png", 1)
    paint(tmp_path / "single" / "val" / "1.png", 1)
    fill(tmp_path / "odd" / "val", {"a": 2})
    paint(tmp_path / "odd" / "test" / "1.png", 1)
    for name, words in {
        "missing": "There is no folder",
        "file.png": "is a file; expected a folder",
        "empty": "holds no pictures",
        "none": r"holds no pictures\. Their names end in \.jpg",
        "deep": r"too deep: a holds folders again \(b\)",
        "mixed": r"both pictures \(1\.png\) and folders \(a\)",
        "training": "training images only.*add a folder val",
        "twice": "several folders of one split: val, valid",
        "single": "One image cannot be split",
        "odd": "only one of the two has labels",
    }.items():
        with pytest.raises(BadInput, match=words):
            image_folder(tmp_path / name)
    for wrong in (0, -1, 1.5, None):
        with pytest.raises(BadInput, match="limit must be a whole number"):
            image_folder(tmp_path / "single", limit=wrong)  # type: ignore[arg-type]


def test_a_path_is_a_data_source(tmp_path: Path) -> None:
    fill(tmp_path, {"a": 2, "b": 2})
    for path in (tmp_path, str(tmp_path)):
        data = as_data(path, Normalize(0.5, 0.5), size=8)
        assert isinstance(data, Data)
        assert data.explore.pixels.shape == (4, 3, 8, 8)
        assert data.explore.normalize == Normalize(0.5, 0.5)
        assert as_images(path, "explore").pixels.shape == (4, 3, 4, 4)


def test_pictures_on_disk_are_read_as_torchvision_reads_them(tmp_path: Path) -> None:
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import PILToTensor

    draw = np.random.default_rng(0)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for number in range(3):
            pixels = draw.integers(0, 256, (6, 5, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{number}.jpg")
    ours = image_folder(tmp_path).explore
    theirs = ImageFolder(tmp_path, PILToTensor())
    both = [
        sorted((int(label), bytes(image.numpy())) for image, label in pairs)
        for pairs in (zip(ours.pixels, labels_of(ours), strict=True), theirs)
    ]
    assert both[0] == both[1]
