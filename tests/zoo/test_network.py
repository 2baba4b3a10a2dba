"""Network.weights_key: a key of the weights' content."""

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from explorer.zoo import Network, load


def loaded(model: nn.Module) -> Network:
    return load(model, example=torch.ones(1, 2, 4, 4, dtype=next(model.parameters()).dtype))


def test_equal_weights_have_equal_keys_and_others_do_not() -> None:
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3))
    key = loaded(model).weights_key
    assert loaded(copy.deepcopy(model)).weights_key == key
    with torch.no_grad():
        model[1].running_mean[2] += 1e-6
    changed = loaded(model).weights_key
    assert changed != key
    model[1].num_batches_tracked += 1
    assert loaded(model).weights_key not in {key, changed}


def test_types_that_numpy_lacks_have_keys() -> None:
    model = nn.Conv2d(2, 3, 3).to(torch.bfloat16)
    key = loaded(model).weights_key
    assert loaded(model.to(torch.float32)).weights_key != key


def test_a_network_is_shown_in_one_line() -> None:
    assert repr(loaded(nn.Conv2d(2, 3, 3))) == "<Network Conv2d without images, inputs (1, 2, 4, 4)>"
    assert repr(load("resnet20")) == "<Network resnet20 on Fashion-MNIST, inputs (1, 1, 28, 28)>"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("resnet20", "resnet20"),
        ("Netz_Ä v1.5 (2)", "Netz_Ä v1.5 (2)"),
        ("../../evil", "_evil"),
        ("/etc/passwd", "_etc_passwd"),
        ("C:\\evil", "C_evil"),
        ("a/b", "a_b"),
        ("~root", "_root"),
        ("..", "network"),
        ("", "network"),
        (".hidden. ", "hidden"),
        ("a\0b\n\udcffc", "a_b_c"),
        ("con.v1", "_con.v1"),
        ("Ä" * 300, "Ä" * 50),
    ],
)
def test_a_name_becomes_a_files_name_that_stays_where_it_is_put(
    name: str, expected: str, tmp_path: Path
) -> None:
    found = replace(loaded(nn.Conv2d(2, 3, 3)), name=name).file_name
    assert found == expected
    (tmp_path / f"{found}_pruned.safetensors").touch()
    assert len(list(tmp_path.iterdir())) == 1
