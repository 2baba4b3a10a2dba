"""A small network with batch norm on noise, and sessions over it."""

import pytest
import torch
from torch import nn

import explorer
from explorer.data import Data, Images, Normalize
from explorer.session import Session

WAIT = 300  # seconds: generous, only a hang reaches it


def tiny_model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Conv2d(6, 8, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 3),
    )


def tiny_data() -> Data:
    draw = torch.Generator().manual_seed(1)

    def images(count: int) -> Images:
        pixels = torch.rand((count, 1, 8, 8), generator=draw)
        return Images(pixels, torch.arange(count) % 3, Normalize(0.5, 0.5))

    return Data("noise", ("a", "b", "c"), images(96), images(150), images(30))


@pytest.fixture
def session():
    made = Session(explorer.load(tiny_model(), data=tiny_data()))
    yield made
    made.close()
    made._worker.idle(WAIT)
    made._desk.idle(WAIT)
