import gc

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from explorer.data import batches
from explorer.data.batches import fitting, split_evenly


@given(st.integers(0, 400), st.integers(1, 150))
def test_parts_keep_the_order_are_even_and_as_few_as_possible(rows: int, batch: int) -> None:
    parts = split_evenly(torch.arange(rows), batch)
    assert [int(row) for part in parts for row in part] == list(range(rows))
    sizes = [len(part) for part in parts]
    assert all(0 < size <= batch for size in sizes)
    assert not sizes or max(sizes) - min(sizes) <= 1
    assert (len(parts) - 1) * batch < rows or rows == 0


def test_a_batch_holds_as_many_images_as_the_budget_has_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """By hand: the convolution is given 1 x 256 x 256 numbers and returns 4 times as many; ReLU is in place."""
    model = nn.Sequential(nn.Conv2d(1, 4, 1, bias=False), nn.ReLU(inplace=True)).eval()
    one, kib = torch.zeros(1, 1, 256, 256), 1024
    weights, given, made = 4 * 4, 256 * kib, 1024 * kib
    monkeypatch.setattr(batches, "BUDGET", 10 * 2 * (weights + given + made))
    assert [fitting(model, one, usual) for usual in (4, 10, 50)] == [4, 10, 10]
    monkeypatch.setattr(batches, "BUDGET", 6 * 1.5 * made)
    assert fitting(model, one, 50, gradients=True) == 6
    monkeypatch.setattr(batches, "BUDGET", 1)
    assert fitting(model, one, 50) == 1
    assert fitting(model, torch.zeros(1, 1, 28, 28), 50) == 50  # small images: nothing is run or changed
    assert fitting(model, torch.zeros(1, 3, 256, 256), 50) == 50  # which cannot be run


def test_a_network_is_measured_once_for_a_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    model, ran = nn.Conv2d(1, 4, 1, bias=False), list[int]()
    model.register_forward_hook(lambda module, inputs, output: ran.append(output.shape[-1]))
    for side in (128, 256, 256, 512, 256):
        fitting(model, torch.zeros(1, 1, side, side), 50)
    fitting(model, torch.zeros(1, 1, 512, 512), 50, gradients=True)
    assert ran == [256, 512]
    batches_of = len(batches._KNOWN)
    del model
    gc.collect()
    assert len(batches._KNOWN) == batches_of - 1
