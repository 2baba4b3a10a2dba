"""The picker: what its rows make of a person's answers, what they refuse in words, and what they show afterwards."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from explorer.errors import BadInput
from explorer.panels.picker.changes import Changes
from explorer.panels.picker.choice import Choice, Upload
from explorer.panels.picker.found import image_sources, networks
from explorer.panels.picker.picker import Picker
from explorer.strings import Strings

PIXELS, LABELS = torch.zeros(4, 3, 8, 8), torch.arange(4)


class Odd:
    """A proxy of somebody's that fails when it is looked at."""

    @property
    def __class__(self):
        raise RuntimeError


class Started(Changes):
    """Notes what is to be loaded."""

    def __init__(self):
        super().__init__(lambda *_arguments: None)
        self.started = []

    def start(self, move):
        self.started.append(move)


@pytest.fixture
def variables():
    return {"mine": nn.Linear(2, 2), "pair": (PIXELS, LABELS), "_hidden": nn.Linear(1, 1), "number": 3}


@pytest.fixture
def picker(variables):
    picker = Picker(Strings("en"), Started(), lambda: variables)
    yield picker
    picker.close()


def chosen(picker):
    """What the load button asks for."""
    picker.load.click()
    assert picker.answer.value == ""
    return picker._changes.started.pop()


def refused(picker):
    """What the picker says in place of loading."""
    picker.load.click()
    assert picker._changes.started == []
    assert 'role="alert"' in picker.answer.value
    return picker.answer.value


def test_a_bundled_network_with_its_own_weights_and_images(picker):
    picker.network.bundled.value = "vgg"
    choice = chosen(picker)
    assert (choice.source, choice.weights, choice.data, choice.images) == ("vgg", "default", None, True)
    picker.images.kind.value, picker.weights.kind.value = "none", "untrained"
    choice = chosen(picker)
    assert (choice.weights, choice.images) == (None, False)


def test_a_name_of_torchvision_is_typed_and_checked_once_the_list_is_there(picker):
    picker.network.kind.value = "torchvision"
    assert "resnet18" in refused(picker)  # nothing typed yet: an example of a name
    picker.network.torchvision.value = " alexnet "
    picker.network._listing.join()
    assert len(picker.network.torchvision.options) >= 80
    choice = chosen(picker)
    assert (choice.source, choice.images, choice.example) == ("alexnet", False, None)
    picker.network.torchvision.value = "mine.nets:make"  # of one's own, as load takes it
    assert chosen(picker).source == "mine.nets:make"
    picker.network.torchvision.value = "alex"
    assert "no network alex" in refused(picker)


def test_images_follow_the_kind_of_network_unless_they_were_chosen(picker):
    picker.network.kind.value = "torchvision"
    assert picker.images.kind.value == "none"
    picker.images.kind.value = "folder"
    picker.network.kind.value = "archive"
    assert picker.images.kind.value == "folder"


def test_a_bundled_network_comes_with_its_own_weights_and_images(picker):
    network = SimpleNamespace(name="alexnet", notes=())
    picker.follow(Choice("alexnet", Path("photos"), weights=None), network)
    picker.network.kind.value = "bundled"
    choice = chosen(picker)
    assert (choice.source, choice.weights, choice.data, choice.images) == ("resnet20", "default", None, True)
    picker.weights.kind.value, picker.images.kind.value = "untrained", "none"
    picker.network.bundled.value = "vgg"
    choice = chosen(picker)
    assert (choice.source, choice.weights, choice.data, choice.images) == ("vgg", "default", None, True)
    picker.follow(Choice("resnet20", Path("photos"), weights=None), network)
    choice = chosen(picker)
    assert (choice.source, choice.weights, choice.data) == ("resnet20", None, Path("photos"))
    picker.network._listing.join()


def test_a_module_of_the_notebook_needs_a_size_or_images(picker, variables):
    picker.network.kind.value = "notebook"
    assert picker.network.notebook.options == ("mine",)
    assert "Linear does not say what it takes" in refused(picker)
    for wrong in ("3 by 4", "0 x 2", "3 x 224 x 224 x 1 x 1", "-3", "3x"):
        picker.images.size.value = wrong
        assert "is not understood" in refused(picker)
    for size in ("3 x 32 x 16", "3,32,16", "3×32 × 16", "3 32 16"):
        picker.images.size.value = size
        assert chosen(picker).example.shape == (1, 3, 32, 16)
    picker.images.kind.value = "notebook"
    choice = chosen(picker)
    assert choice.source is variables["mine"]
    assert choice.data is variables["pair"]


def test_variables_are_looked_for_again_when_the_picker_opens(picker, variables):
    picker.network.kind.value = "notebook"
    variables["another"] = nn.Conv2d(1, 1, 1)
    picker.opener.value = True
    assert picker.network.notebook.options == ("another", "mine")
    assert picker.network.notebook.value == "mine"
    variables.clear()
    picker.opener.value = False
    picker.opener.value = True
    assert "No variable" in picker.network.note.value
    assert "pe-shut" in picker.network.notebook._dom_classes
    assert "No variable" in refused(picker)


def test_what_the_notebook_has(variables):
    loader = DataLoader(TensorDataset(PIXELS, LABELS))
    variables |= {
        "loader": loader,
        "odd": Odd(),
        "lengths": (LABELS, LABELS),
        "arrays": [PIXELS.numpy(), LABELS.numpy()],
        "images": PIXELS,
        "array": PIXELS.numpy(),
        "image": PIXELS[0],
        "labels": LABELS.numpy(),
    }
    assert set(networks(variables)) == {"mine"}
    assert set(image_sources(variables)) == {"pair", "loader", "arrays", "images", "array"}


@pytest.mark.parametrize("images", [PIXELS, PIXELS.numpy()], ids=["tensor", "array"])
def test_images_without_labels_are_shown_and_loaded_again(picker, variables, images):
    variables["photos"] = images
    picker.follow(Choice(variables["mine"], images), SimpleNamespace(name="Linear", notes=()))
    assert (picker.images.kind.value, picker.images.notebook.value) == ("notebook", "photos")
    assert chosen(picker).data is images
    variables["later"], variables["other"] = PIXELS + 1, nn.Linear(2, 2)  # made since the rows looked
    picker.follow(Choice(variables["other"], variables["later"]), SimpleNamespace(name="Linear", notes=()))
    choice = chosen(picker)
    assert choice.source is variables["other"]
    assert choice.data is variables["later"]


def test_a_variable_that_no_longer_fits_is_no_answer(picker, variables):
    del variables["pair"]
    variables["photo"] = PIXELS[0]
    picker.follow(Choice(variables["mine"], variables["photo"]), SimpleNamespace(name="Linear", notes=()))
    assert (picker.images.kind.value, picker.images.notebook.value) == ("notebook", None)
    assert "No variable" in refused(picker)


def test_a_checkpoint_goes_over_any_network_but_an_archive(picker):
    picker.weights.kind.value = "checkpoint"
    assert "Choose a file first" in refused(picker)
    picker.weights.checkpoint.path.value = "~/weights.pt"
    assert chosen(picker).weights == Path("~/weights.pt")  # which load() takes
    picker.network.kind.value = "notebook"
    assert picker.weights.kind.value == "checkpoint"
    picker.network.kind.value = "archive"
    assert picker.weights.kind.value == "default"
    assert "in the archive" in picker.weights.note.value


def test_a_module_is_never_untrained_by_the_picker(picker):
    picker.weights.kind.value = "untrained"
    picker.network.kind.value = "notebook"
    assert picker.weights.kind.value == "default"


def test_a_folder_is_a_path(picker):
    picker.images.kind.value = "folder"
    assert "path of a folder" in refused(picker)
    picker.images.folder.value = "photos"
    assert chosen(picker).data == Path("photos")


def test_a_data_set_is_chosen_by_name_and_shown_again(picker):
    picker.network.kind.value, picker.network.torchvision.value = "torchvision", "resnet18"
    picker.images.kind.value, picker.images.named.value = "named", "imagenette"
    choice = chosen(picker)
    assert (choice.source, choice.data) == ("resnet18", "imagenette")
    picker.images.kind.value, picker.images.named.value = "none", "mnist"
    picker.follow(replace(choice, source="torchvision:resnet18"), SimpleNamespace(name="resnet18", notes=()))
    assert (picker.images.kind.value, picker.images.named.value) == ("named", "imagenette")
    assert (picker.network.kind.value, picker.network.torchvision.value) == ("torchvision", "resnet18")
    picker.follow(replace(choice, data="./imagenette"), SimpleNamespace(name="resnet18", notes=()))
    assert (picker.images.kind.value, chosen(picker).data) == ("folder", Path("imagenette"))
    picker.network._listing.join()


def test_it_shows_where_what_is_explored_came_from(picker, variables):
    network = SimpleNamespace(name="Linear", notes=("A sentence.",))
    picker.opener.value = True
    example = torch.zeros(1, 3, 8, 8)
    picker.follow(Choice(variables["mine"], variables["pair"], example), network)
    assert not picker.opened
    assert picker.opener.description == "Linear"
    assert (picker.network.kind.value, picker.network.notebook.value) == ("notebook", "mine")
    assert (picker.images.kind.value, picker.images.notebook.value) == ("notebook", "pair")
    assert picker.images.size.value == "3 x 8 x 8"
    assert "A sentence." in picker.answer.value
    picker.follow(Choice("alexnet", "folder", weights=None), network)
    assert (picker.network.kind.value, picker.network.torchvision.value) == ("torchvision", "alexnet")
    assert picker.weights.kind.value == "untrained"
    assert (picker.images.kind.value, picker.images.folder.value) == ("folder", "folder")
    picker.follow(Choice(Path("a/net.pt2")), network)
    assert (picker.network.kind.value, picker.network.archive.path.value) == ("archive", "a/net.pt2")
    assert (picker.weights.kind.value, picker.images.kind.value) == ("default", "none")
    picker.network._listing.join()


def test_while_something_is_loaded_the_button_stops_it(picker, monkeypatch):
    stopped = []
    monkeypatch.setattr(picker._changes, "stop", lambda: stopped.append(True))
    picker._changes.stage = "frame_network"
    assert picker.load.description == "Stop"
    assert "reading the network" in picker.progress.value
    assert "pe-shut" not in picker.progress._dom_classes
    picker.load.click()
    assert stopped == [True]
    picker._changes.stage = ""
    assert picker.load.description == "Load"
    assert "pe-shut" in picker.progress._dom_classes


def test_an_upload_is_private_named_and_deleted_with_the_last_that_holds_it(tmp_path):
    upload = Upload("C:\\models\\net.pt")
    upload.append(b"ab")
    upload.append(b"c")
    path = upload.path
    assert path.name == upload.name == "net.pt"
    assert path.read_bytes() == b"abc"
    assert path.parent.stat().st_mode & 0o077 == 0
    choice = Choice("resnet20", weights=upload)
    del upload
    assert path.exists()
    del choice
    assert not path.parent.exists()
    for name in ("", "..", "folder/.."):
        with pytest.raises(BadInput, match="cannot be named"):
            Upload(name)


def test_an_upload_that_does_not_fit_is_called_by_its_own_name():
    upload = Upload("net.pt")
    upload.append(b"no checkpoint")
    with pytest.raises(BadInput, match=r"net\.pt") as refusal:
        Choice("resnet20", weights=upload).load()
    assert str(upload.path.parent) not in str(refusal.value)
