"""Network.weights_key: a key of the weights' content."""

import copy

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
