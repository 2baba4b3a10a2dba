import math

import pytest
import torch
from torch import nn

from explorer.errors import BadInput
from explorer.observe.answers import top_classes


class Fixed(nn.Module):
    """Logits whose softmax is 1/2, 1/8, 3/8 for the first image, and its mirror for the second."""

    def forward(self, images):
        return torch.tensor([[4.0, 1.0, 3.0], [3.0, 1.0, 4.0]]).log()


def test_the_most_probable_classes_come_first_with_their_probabilities():
    first, second = top_classes(Fixed(), torch.zeros(2, 1, 4, 4), count=2)
    assert [label for label, _share in first] == [0, 2]
    assert [label for label, _share in second] == [2, 0]
    assert [share for _label, share in first] == pytest.approx([1 / 2, 3 / 8])


def test_fewer_classes_than_asked_for_are_all_there():
    (only,) = top_classes(nn.Flatten(), torch.tensor([[[[math.log(3.0), 0.0]]]]))
    assert [label for label, _share in only] == [0, 1]
    assert [share for _label, share in only] == pytest.approx([0.75, 0.25])


def test_images_that_the_network_cannot_take_are_refused():
    with pytest.raises(BadInput, match="Linear"):
        top_classes(nn.Linear(3, 2), torch.zeros(1, 1, 4, 4))
