"""Which channels carry the information: curves of a network where that is known by hand."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import explorer
from explorer.data import Data, Images, identity
from explorer.errors import BadInput
from explorer.methods.order_claim import SHARES, order_curves
from explorer.values import ChannelGraph
from tests.evaluate.toys import fingerprint

CLASSES = 4
EXAMPLE = torch.zeros(1, 1, 1, CLASSES)


class Counter(nn.Module):
    """Image k has a single 1 at position k. Unit u sees the positions up to u % 4 if it is among `telling`, else
    nothing; the classifier reads how many telling units see the image, so that the answer is right with all of them."""

    def __init__(self, telling: slice) -> None:
        super().__init__()
        self.look = nn.Linear(CLASSES, 8, bias=False)
        self.answer = nn.Linear(8, CLASSES)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.zero_()
            for place, unit in enumerate(range(8)[telling]):
                self.look.weight[unit, place] = 1
                self.answer.weight[place, unit] = 1
            self.answer.bias[0] = 0.5  # who sees nothing says class 0

    def forward(self, x: Tensor) -> Tensor:
        return self.answer(torch.relu(self.look(x.flatten(1))))


@pytest.fixture
def data() -> Data:
    labels = torch.arange(40) % CLASSES
    images = Images(torch.eye(CLASSES)[labels].view(-1, 1, 1, CLASSES), labels, identity)
    return Data("positions", ("a", "b", "c", "d"), images, images, None)


@pytest.fixture
def graph() -> ChannelGraph:
    return explorer.trace(Counter(slice(0, 4)), EXAMPLE)


def test_by_hand(graph: ChannelGraph, data: Data) -> None:
    """Classes 1, 2, 3 are known with the 2nd, 3rd and 4th telling unit; class 0 always is, by the bias."""
    before, after = Counter(slice(4, 8)), Counter(slice(0, 4))  # the last units tell, then the first
    curves = {(curve.when, curve.which): curve for curve in order_curves(before, after, graph, data)}
    assert list(curves) == [
        (when, which) for when in ("before", "after") for which in ("first", "last", "random")
    ]
    assert all(curve.shares == SHARES and curve.images == 40 for curve in curves.values())
    rising = (0.25, 0.5, 0.75, 1, 1, 1, 1, 1)  # the units come as they are needed
    assert curves["after", "first"].accuracy == rising
    assert curves["before", "first"].accuracy == (0.25, 0.25, 0.25, 0.25, 0.25, 0.5, 0.75, 1)
    assert curves["before", "last"].accuracy == (0.5, 0.75, 1, 1, 1, 1, 1, 1)
    assert curves["after", "last"].accuracy == (0.25, 0.25, 0.25, 0.25, 0.5, 0.75, 1, 1)
    assert all(curve.accuracy[-1] == 1 for curve in curves.values())


def test_random_channels_are_the_mean_over_seeds(graph: ChannelGraph, data: Data) -> None:
    network = Counter(slice(0, 4))

    def found(*seeds: int) -> np.ndarray:
        curves = order_curves(network, network, graph, data, shares=(0.25, 0.5), seeds=seeds)
        return np.array(curves[2].accuracy)

    np.testing.assert_allclose(found(3, 5), (found(3) + found(5)) / 2)
    kept = set(np.random.default_rng(3).permutation(8)[:4].tolist())  # share 1/2
    assert found(3)[1] == (1 + len(kept & {1, 2, 3})) / 4


def test_nothing_is_measured_twice_or_changed(graph: ChannelGraph, data: Data) -> None:
    network, told = Counter(slice(0, 4)), list[tuple[int, int]]()
    before = fingerprint(network)
    order_curves(
        network, network, graph, data, shares=(0.5, 1.0), progress=lambda *at: told.append(at), images=12
    )
    assert fingerprint(network) == before
    # of each network: the first, the last and three random halves, and the whole
    assert told == [(done, 12) for done in range(12)]


def test_bad_input(graph: ChannelGraph, data: Data) -> None:
    network = Counter(slice(0, 4))
    for wrong, words in [
        ({"shares": (0.5, 1.2)}, "shares must be above 0"),
        ({"shares": ()}, "shares must be above 0"),
        ({"seeds": ()}, "at least one number"),
        ({"seeds": (-1,)}, "seed must be a whole number"),
        ({"images": 0}, "number of images"),
        ({"data": None}, "explorer.Data"),
        ({"supernet": nn.Linear(4, 4)}, "not the one that was traced"),
    ]:
        arguments = {"network_before": network, "supernet": network, "graph": graph, "data": data, **wrong}
        with pytest.raises(BadInput, match=words):
            order_curves(**arguments)  # type: ignore[arg-type]
