"""load(): names, modules, data and examples; what is refused; and that nothing of the user's is changed."""

import copy
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from explorer.data import Data, Images, Normalize, as_data, fashion_mnist, identity
from explorer.errors import BadInput, ExplorerError, UnknownName
from explorer.zoo import load, loading
from explorer.zoo.networks import NETWORKS

LABELS = torch.tensor([0, 1, 2, 0])


def small_net() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(), nn.Flatten(), nn.Linear(4 * 36, 3)
    )


def colour(count: int = 4, side: int = 8) -> Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", NETWORKS)
def test_a_bundled_network_comes_with_images_and_normalisation(name: str) -> None:
    network = load(name)
    assert network.name == name
    assert not any(module.training for module in network.model.modules())
    assert isinstance(network.normalize, Normalize)
    assert torch.equal(network.example, network.data.explore.inputs(slice(0, 1)))
    assert network.model(network.example).shape == (1, 10)
    assert Path(network.source).name == f"{name}.py"


def test_an_unknown_name_lists_the_valid_ones() -> None:
    with pytest.raises(
        UnknownName, match=r"Known: resnet20, vgg, mobilenetv2, inception. Did you mean 'resnet20'"
    ):
        load("resnet2")


@pytest.mark.parametrize("source", [None, 3, nn.Linear, ["vgg"]])
def test_other_sources_are_refused_with_what_is_accepted(source: object) -> None:
    with pytest.raises(BadInput, match=r"an nn.Module, or the name of a bundled network \(resnet20, vgg, "):
        load(source)


def test_a_class_in_place_of_a_module_gets_a_hint() -> None:
    with pytest.raises(BadInput, match="an instance, not the class"):
        load(NETWORKS["vgg"])


def test_missing_weights_are_an_error_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "files", lambda _: tmp_path)
    with pytest.raises(
        ExplorerError, match=r"vgg.safetensors cannot be read .* scripts/train_bundled.py vgg"
    ):
        load("vgg")


def test_bundled_weights_are_loaded_strictly_with_their_normalisation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "weights").mkdir()
    path = tmp_path / "weights" / "resnet20.safetensors"
    tensors = load_file(str(Path(loading.__file__).parent / "weights" / "resnet20.safetensors"))
    monkeypatch.setattr(loading, "files", lambda _: tmp_path)
    save_file(tensors, path, {"mean": "0.25", "std": "0.5"})
    assert load("resnet20").normalize == Normalize(0.25, 0.5)
    save_file({**tensors, "stem.weight": tensors["stem.weight"] * torch.nan}, path, {"mean": "0", "std": "1"})
    with pytest.raises(BadInput, match=r"resnet20: 144 of 144 numbers in stem.weight are NaN"):
        load("resnet20")
    del tensors["stem.weight"]
    save_file(tensors, path, {"mean": "0", "std": "1"})
    with pytest.raises(ExplorerError, match=r"resnet20.safetensors cannot be read [\s\S]*stem\.weight"):
        load("resnet20")


def test_a_module_is_copied_and_left_as_it_was() -> None:
    model = small_net().train()
    model(colour()).sum().backward()
    before = copy.deepcopy(model.state_dict())
    random = torch.get_rng_state()
    network = load(model, example=colour(1))
    assert network.name == "Sequential"
    assert network.source is None
    assert network.data is None
    assert network.normalize is identity
    assert not any(module.training for module in network.model.modules())
    assert all(parameter.grad is None for parameter in network.model.parameters())
    for parameter in network.model.parameters():
        nn.init.zeros_(parameter)
    assert all(module.training for module in model.modules())
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)


def test_loading_a_bundled_network_draws_no_random_numbers() -> None:
    random = torch.get_rng_state()
    load("resnet20")
    assert torch.equal(torch.get_rng_state(), random)


def test_the_example_of_a_module_is_the_first_normalised_image() -> None:
    bytes_ = (colour() * 255).to(torch.uint8)
    network = load(small_net(), data=(bytes_, LABELS), normalize=Normalize(0.5, 0.25))
    assert torch.equal(network.example, (bytes_[:1].float() / 255 - 0.5) / 0.25)
    assert network.normalize == Normalize(0.5, 0.25)
    assert network.data.train is None


def test_the_normalisation_of_data_is_that_of_the_network() -> None:
    images = Images(colour(), LABELS, Normalize(0.5, 0.25))
    assert load(small_net(), data=as_data(images)).normalize == Normalize(0.5, 0.25)


def test_a_given_example_is_taken_and_copied() -> None:
    example = colour(1)
    network = load(small_net(), data=(colour(), LABELS), example=example)
    expected = example.clone()
    example.zero_()
    assert torch.equal(network.example, expected)


def test_a_bundled_network_normalises_bytes_as_its_own_and_takes_floats_as_inputs() -> None:
    full = fashion_mnist(identity).explore
    pixels, labels = full.pixels[:4], full.labels[:4]
    network = load("resnet20", data=(pixels, labels))
    expected = network.normalize(pixels.float() / 255)
    assert torch.equal(network.data.explore.inputs(), expected)
    assert torch.equal(load("resnet20", data=(expected, labels)).data.explore.inputs(), expected)
    assert load("resnet20", data=(pixels, labels), normalize=identity).normalize is identity


def test_neither_data_nor_example_is_refused() -> None:
    with pytest.raises(BadInput, match="needs an input of Sequential: pass example="):
        load(small_net())


BAD_EXAMPLES = {
    "a list": ([[0.0]], "An example input is a tensor .*, not float"),
    "bytes": (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), "The example is torch.uint8"),
    "sparse": (colour(1).to_sparse(), r"An example input cannot be a tensor that is torch\.sparse_coo"),
    "meta": (colour(1).to("meta"), "An example input cannot be a tensor that is on the meta device"),
    "a batch": (colour(2), r"shape \(2, 3, 8, 8\); expected a batch of one"),
    "no batch": (colour(1)[0], r"shape \(3, 8, 8\); expected a batch of one"),
    "NaN": (colour(1) * torch.nan, "NaN"),
    "grey": (
        colour(1)[:, :1],
        r"Sequential cannot take an example of shape \(1, 1, 8, 8\).*expected input.*3 channels",
    ),
    "too large": (colour(1, 9), r"shape \(1, 3, 9, 9\) .*RuntimeError: mat1 and mat2"),
}


@pytest.mark.parametrize(("example", "message"), BAD_EXAMPLES.values(), ids=BAD_EXAMPLES)
def test_bad_examples_are_refused(example: Tensor, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        load(small_net(), example=example)


def test_images_that_the_network_does_not_take_are_refused_beside_a_good_example() -> None:
    with pytest.raises(BadInput, match=r"Sequential cannot take images of shape \(1, 3, 9, 9\)"):
        load(small_net(), data=(colour(side=9), LABELS), example=colour(1))
    with pytest.raises(BadInput, match=r"resnet20 cannot take images of shape \(1, 3, 8, 8\)"):
        load("resnet20", data=(colour(), LABELS))


@pytest.mark.parametrize(("tensor", "value"), [("1.running_var", torch.nan), ("5.weight", torch.inf)])
def test_weights_that_are_not_finite_are_refused_by_name(tensor: str, value: float) -> None:
    model = small_net()
    model.state_dict()[tensor].view(-1)[0] = value
    with pytest.raises(BadInput, match=rf"Sequential: 1 of \d+ numbers in {tensor} are NaN or infinite"):
        load(model, example=colour(1))


def test_a_module_without_weights_yet_is_refused() -> None:
    model = nn.Sequential(nn.LazyConv2d(4, 3))
    with pytest.raises(BadInput, match=r"no weights yet in 0.weight, 0.bias .* Run it once"):
        load(model, example=colour(1))


def test_a_module_that_cannot_be_copied_is_refused() -> None:
    model = small_net()
    model.lock = threading.Lock()
    with pytest.raises(BadInput, match=r"Sequential cannot be copied .* Keep locks"):
        load(model, example=colour(1))


@pytest.mark.parametrize("example", [None, colour(1)])
def test_labels_without_a_logit_are_refused(example: Tensor | None) -> None:
    with pytest.raises(BadInput, match=r"Label 3 is out of range: the network has 3 classes"):
        load(small_net(), data=(colour(), LABELS + 1), example=example)
    full = fashion_mnist(identity).explore
    with pytest.raises(BadInput, match=r"Label 10 is out of range: the network has 10 classes"):
        load("resnet20", data=(full.pixels[:2], torch.tensor([3, 10])))


@pytest.mark.parametrize("split", ["train", "final"])
def test_labels_of_every_split_are_checked(split: str) -> None:
    good, bad = Images(colour(), LABELS, identity), Images(colour(), LABELS + 1, identity)
    splits = {"train": good, "explore": good, "final": good, split: bad}
    with pytest.raises(BadInput, match="Label 3 is out of range"):
        load(small_net(), data=Data("mine", ("a", "b", "c", "d"), **splits))


def test_loading_a_bundled_network_does_not_read_its_training_images() -> None:
    assert "pixels" not in vars(load("resnet20").data.train)


# ---- image folders and images without labels -------------------------------------------------------------


def folder_of(root: Path, *classes: str, side: int = 12) -> Path:
    """Three RGB pictures per class; without classes three loose ones."""
    draw = np.random.default_rng(0)
    for name in classes or (".",):
        (root / name).mkdir(parents=True, exist_ok=True)
        for place in range(3):
            pixels = draw.integers(0, 256, (side, side + 4, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{place}.png")
    return root


@pytest.mark.parametrize("kind", [str, Path])
def test_pictures_of_a_folder_get_the_size_of_the_example(tmp_path: Path, kind: type) -> None:
    network = load(small_net(), kind(folder_of(tmp_path, "a", "b", "c")), colour(1), Normalize(0.5, 0.25))
    assert network.data.explore.pixels.shape == (9, 3, 8, 8)
    assert network.classes == ("a", "b", "c")
    assert network.normalize == Normalize(0.5, 0.25)
    assert network.model(network.data.explore.inputs()).shape == (9, 3)


def test_a_folder_for_a_bundled_network_becomes_its_kind_of_images(tmp_path: Path) -> None:
    network = load("vgg", folder_of(tmp_path, "coat", "trouser"))
    assert network.data.explore.pixels.shape == (6, 1, 28, 28)
    assert network.data.explore.normalize == load("vgg").normalize
    assert set(network.data.explore.labels.tolist()) == {1, 4}  # trouser and coat in Fashion-MNIST
    assert network.data.classes == network.classes == load("vgg").data.classes


def test_a_folder_with_other_classes_than_the_network_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"2 class folders, and Sequential has 3 logits"):
        load(small_net(), folder_of(tmp_path, "a", "b"), colour(1))


def test_images_without_labels_are_taken(tmp_path: Path) -> None:
    network = load(small_net(), colour())
    assert network.data.explore.labels is None
    assert load("vgg", folder_of(tmp_path)).data.explore.labels is None


def test_a_folder_is_no_source_of_a_network(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="is a folder; expected one file"):
        load(folder_of(tmp_path))


GREY = torch.rand(6, 1, 8, 8)
WAYS_OUT = {
    "channels last": (colour(6).permute(0, 2, 3, 1), r"images\.permute\(0, 3, 1, 2\)"),
    "grey": (GREY, r"images\.repeat\(1, 3, 1, 1\)"),
}


@pytest.mark.parametrize(("images", "advice"), WAYS_OUT.values(), ids=WAYS_OUT)
def test_the_way_out_that_a_refusal_names_is_one(images: Tensor, advice: str) -> None:
    with pytest.raises(BadInput, match=advice):
        load(small_net(), data=images)
    mended = eval(advice.replace("\\", ""), {"images": images})
    assert load(small_net(), data=mended).example.shape == (1, 3, 8, 8)


@pytest.mark.parametrize(
    ("labels", "advice"),
    [
        (torch.arange(6) % 3 + 1, r"labels - 1"),
        (torch.arange(6) % 4 - 1, r"images\[keep\], labels\[keep\]"),
    ],
    ids=["from 1", "without a class"],
)
def test_labels_out_of_range_are_mended_as_the_refusal_says(labels: Tensor, advice: str) -> None:
    images = colour(6)
    with pytest.raises(BadInput, match=advice):
        load(small_net(), data=(images, labels))
    names = {"images": images, "labels": labels, "keep": labels >= 0}
    mended = eval(advice.replace("\\", ""), names)
    assert load(small_net(), data=mended if isinstance(mended, tuple) else (images, mended)).data is not None


def test_an_item_of_three_is_loaded_with_a_pick() -> None:
    data = torch.utils.data.TensorDataset(colour(6), torch.arange(6), torch.arange(6) % 3)
    with pytest.raises(BadInput, match="pick="):
        load(small_net(), data=data)
    net = load(small_net(), data=data, pick=(0, 2))
    assert net.data is not None
    assert net.data.explore.labels is not None
    assert net.data.explore.labels.tolist() == [0, 1, 2, 0, 1, 2]
