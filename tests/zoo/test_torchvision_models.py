"""torchvision's classifiers by name: weights from the cache, from a file or none; never a network in these tests."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import torch
import torchvision
from torch import Tensor, nn

from explorer.data import Images, identity
from explorer.errors import BadInput, UnknownName
from explorer.zoo import load, torchvision_models

SMALL = "shufflenet_v2_x0_5"
FILE = "shufflenetv2_x0.5-f707e7126e.pth"


@pytest.fixture(autouse=True)
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache and no network; returns the folder of the cache."""

    def refuse(*_: object, **__: object) -> None:
        raise URLError("Name or service not known")

    monkeypatch.setattr(torchvision_models, "urlopen", refuse)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def trained(name: str = SMALL, **options: Any) -> nn.Module:
    torch.manual_seed(1)
    return torchvision.models.get_model(name, weights=None, **options).eval()


def test_default_weights_are_read_from_the_cache(offline: Path) -> None:
    model = trained()
    torch.save(model.state_dict(), offline / FILE)
    random = torch.get_rng_state()
    network = load(SMALL)
    assert torch.equal(network.model(network.example), model(network.example))
    assert network.trained
    assert network.notes == ()
    assert len(network.classes) == 1000
    assert network.classes[0] == "tench"
    assert network.constructor.expression == "shufflenet_v2_x0_5()"
    assert network.constructor.import_line == "from torchvision.models import shufflenet_v2_x0_5"
    assert torch.equal(torch.get_rng_state(), random)


def test_the_name_may_say_that_it_is_torchvisions() -> None:
    network = load(f"torchvision:{SMALL}", weights=None)
    assert network.name == SMALL
    assert network.weights_key == load(SMALL, weights=None).weights_key
    with pytest.raises(UnknownName, match=f"{SMALL}"):
        load(f"torchvision:{SMALL}x", weights=None)


def test_offline_the_error_names_the_ways_out(offline: Path) -> None:
    with pytest.raises(BadInput) as refusal:
        load(SMALL)
    message = str(refusal.value)
    assert f"load('{SMALL}', weights=None)" in message
    assert f"load('{SMALL}', weights=path)" in message
    assert f"https://download.pytorch.org/models/{FILE}" in message
    assert f"put it at {offline / FILE}." in message


def test_with_a_network_the_weights_are_downloaded_with_their_hash(
    offline: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, asked = trained(), []

    def download(url: str, path: str, digest: str | None) -> None:
        asked.append((url, digest))
        torch.save(model.state_dict(), path)

    monkeypatch.setattr(torchvision_models, "urlopen", lambda *_, **__: (offline / "head").open("wb"))
    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    network = load(SMALL)
    assert asked == [(f"https://download.pytorch.org/models/{FILE}", "f707e7126e")]
    assert torch.equal(network.model(network.example), model(network.example))


def test_without_weights_no_images_are_needed() -> None:
    network = load(SMALL, weights=None)
    assert network.data is None
    assert network.example.shape == (1, 3, 224, 224)
    assert not network.trained
    assert network.classes == ()
    assert network.weights_key == load(SMALL, weights=None).weights_key


@pytest.mark.parametrize("name", ["resnet18", "efficientnet_v2_l", "swin_v2_t"])
def test_inputs_are_prepared_as_torchvision_prepares_them(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 5))
    monkeypatch.setattr(torchvision_models, "_build", lambda *_: tiny)
    best = torchvision.models.get_model_weights(name).DEFAULT.transforms()
    side = best.crop_size[0]
    pixels = torch.randint(
        0, 256, (2, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    network = load(name, (pixels, torch.tensor([1, 3])), weights=None)
    expected = (pixels / 255 - torch.tensor(best.mean).view(3, 1, 1)) / torch.tensor(best.std).view(3, 1, 1)
    torch.testing.assert_close(network.data.explore.inputs(), expected)
    assert (network.crop.size, network.crop.resize) == ((side, side), best.resize_size[0])
    assert network.crop.interpolation == best.interpolation.value


def test_the_networks_own_images_keep_their_normalisation() -> None:
    images = Images(torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8), torch.tensor([1, 3]), identity)
    network = load(SMALL, images, weights=None)
    assert network.data.explore.normalize is identity


@pytest.mark.parametrize("options", [{}, {"num_classes": 7}])
def test_a_fine_tuned_file_decides_the_number_of_classes(tmp_path: Path, options: dict[str, int]) -> None:
    model = trained(**options)
    torch.save({"model": model.state_dict()}, tmp_path / "mine.pt")
    network = load(SMALL, weights=tmp_path / "mine.pt")
    assert torch.equal(network.model(network.example), model(network.example))
    assert network.constructor.kwargs == options
    assert len(network.classes) == (0 if options else 1000)


def test_densenets_old_names_are_understood(tmp_path: Path) -> None:
    torch.manual_seed(1)
    models = [torchvision.models.DenseNet(4, (1, 1, 1, 1), 8).eval() for _ in range(2)]
    state = models[0].state_dict()
    old = {name.replace("norm1", "norm.1").replace("conv2", "conv.2"): value for name, value in state.items()}
    assert old.keys() != state.keys()
    torch.save(old, tmp_path / "old.pth")
    network = load(models[1], example=torch.rand(1, 3, 64, 64), weights=tmp_path / "old.pth")
    assert torch.equal(network.model(network.example), models[0](network.example))


def with_auxiliary() -> dict[str, Tensor]:
    return trained("googlenet", init_weights=False, aux_logits=True).state_dict()


def without_auxiliary() -> dict[str, Tensor]:
    return trained("googlenet", init_weights=False, aux_logits=False).state_dict()


@pytest.mark.parametrize("state", [with_auxiliary, without_auxiliary])
def test_googlenet_is_built_as_torchvision_builds_it_for_its_weights(
    offline: Path, state: Callable[[], dict[str, Tensor]]
) -> None:
    content = state()
    torch.save(content, offline / "googlenet-1378be20.pth")
    network = load("googlenet")
    own = trained("googlenet", init_weights=False, aux_logits=False, transform_input=True)
    own.load_state_dict({name: value for name, value in content.items() if not name.startswith("aux")})
    assert torch.equal(network.model(network.example), own.eval()(network.example))
    assert network.constructor.kwargs["transform_input"] is True


@pytest.mark.parametrize("auxiliary", [True, False])
def test_inception_has_the_heads_that_the_file_has(tmp_path: Path, auxiliary: bool) -> None:
    model = trained("inception_v3", init_weights=False, aux_logits=auxiliary, transform_input=True)
    torch.save(model.state_dict(), tmp_path / "mine.pt")
    network = load("inception_v3", weights=tmp_path / "mine.pt")
    assert (network.model.AuxLogits is not None) is auxiliary
    assert network.constructor.kwargs["aux_logits"] is auxiliary


@pytest.mark.parametrize(
    "name", ["googlenet", "inception_v3", "vit_h_14", "vit_b_32", "efficientnet_b7", "mnasnet1_3"]
)
def test_networks_for_default_weights_have_torchvisions_number_of_parameters(name: str) -> None:
    best = torchvision.models.get_model_weights(name).DEFAULT
    options = torchvision_models.options_for_weights(name, best.transforms().crop_size[0])
    with torch.device("meta"):
        model = torchvision.models.get_model(name, weights=None, **options)
    assert sum(parameter.numel() for parameter in model.parameters()) == best.meta["num_params"]


def test_an_unknown_name_lists_bundled_ones_and_torchvisions_near_ones() -> None:
    with pytest.raises(UnknownName) as refusal:
        load("resnet19")
    message = str(refusal.value)
    assert "Known: resnet20, vgg, mobilenetv2, inception." in message
    assert "torchvision's 80 classifiers" in message
    assert "resnet18" in message
    assert "resnet50" in message
    with pytest.raises(UnknownName, match="load by name too, such as 'resnet18'"):
        load("qqq")
