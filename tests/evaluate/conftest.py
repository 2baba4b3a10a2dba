"""The fixtures of the tests of evaluation: a small network and images."""

import pytest
import torch
from torch import nn

from explorer.data import Data, Images
from tests.evaluate.toys import Toy, images_of, livened


@pytest.fixture
def model() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return livened(Toy()).eval()


@pytest.fixture
def images() -> Images:
    return images_of(330)


@pytest.fixture
def data() -> Data:
    return Data("toys", ("a", "b", "c", "d"), images_of(300, seed=1), images_of(330), None)
