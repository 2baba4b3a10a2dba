"""Networks and images that are not as most are: sorted images, buffers of their own, numbers drawn in eval mode."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import explorer
from explorer.data import Images, identity
from explorer.methods import events, search
from explorer.methods.retraining import fresh
from explorer.methods.snapshots import Snapshot
from tests.evaluate.toys import CLASSES, images_of
from tests.methods.searches import QUICK, graph_of, toy_network


def sorted_images(count: int) -> Images:
    """As `images_of`, class after class."""
    images = images_of(count)
    assert images.labels is not None
    order = images.labels.argsort(stable=True)
    return Images(images.pixels[order], images.labels[order], identity)


def test_images_that_lie_sorted_by_class_give_sound_statistics() -> None:
    """The first 1,024 of 2,048 are of two classes only."""
    network = toy_network(sorted_images(2048))
    found = search(network, **{**QUICK, "batch": 256, "warm_up": 3})
    assert explorer.evaluate(found.network, images_of(256, 1)).accuracy > 0.6


def test_mixed_images_are_the_first_ones_where_these_stand_for_all() -> None:
    images = images_of(64)
    assert torch.equal(images.mixed(16).pixels, images.pixels[:16])
    assert images.mixed(100) is images
    lying = sorted_images(64)
    drawn = lying.mixed(32)
    assert drawn.labels is not None
    assert set(drawn.labels.tolist()) == set(range(CLASSES))
    again = lying.mixed(32)
    assert torch.equal(drawn.pixels, again.pixels)
    unlabelled = Images(lying.pixels, None, identity).mixed(32)
    assert not torch.equal(unlabelled.pixels, lying.pixels[:32])


class Functional(nn.Module):
    """Batch norm as a function of buffers of its own, which only a train-mode forward of the whole network moves."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 8, 3, padding=1)
        self.register_buffer("mean", torch.zeros(8))
        self.register_buffer("variance", torch.ones(8))
        self.head = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        y = functional.batch_norm(self.conv(5 * x + 3), self.mean, self.variance, training=self.training)
        return self.head(torch.relu(y).mean((2, 3)))


def model_of(kind: type[nn.Module]) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return kind()


def test_buffers_of_their_own_are_the_full_networks() -> None:
    network = toy_network(model=model_of(Functional))
    found = search(network, **{**QUICK, "warm_up": 20})
    assert explorer.evaluate(found.network, network.data).accuracy > 0.6
    assert not torch.equal(found.network.get_buffer("mean"), network.model.get_buffer("mean"))


class Counting(nn.Module):
    """Its answer depends on how many training forwards there were."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(1, 8, 3), nn.Linear(8, CLASSES)
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.seen += 0.01
        return self.head(torch.relu(self.conv(x)).mean((2, 3))) * (1 + self.seen)


@pytest.mark.parametrize("kind", [Functional, Counting])
def test_stopped_and_resumed_is_as_never_stopped_with_buffers(kind: type[nn.Module]) -> None:
    network = toy_network(model=model_of(kind))
    graph = graph_of(network)
    *_, straight = events(network, graph, **QUICK)
    answers = iter([False] * 6 + [True])
    *_, halted = events(network, graph, stop=lambda: next(answers), **QUICK)
    *_, resumed = events(network, graph, resume=halted.snapshot, **QUICK)
    assert straight.found is not None
    assert resumed.found is not None
    ours, theirs = (event.found.network.state_dict() for event in (resumed, straight) if event.found)
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())


class Drawing(nn.Module):
    """Draws in eval mode too."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.norm(self.conv(x + 0.1 * torch.randn_like(x))))
        return self.head(y.mean((2, 3)))


def test_a_network_that_draws_in_eval_mode_is_repeated_and_moves_nobodys_numbers() -> None:
    network = toy_network(model=model_of(Drawing))
    state = torch.random.get_rng_state()
    first, again = (search(network, **QUICK).network.state_dict() for _ in range(2))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(tensor, again[name]) for name, tensor in first.items())


def test_a_search_within_inference_mode_trains() -> None:
    network = toy_network()
    expected = search(network, **QUICK)
    with torch.inference_mode():
        found = search(network, **QUICK)
    assert found.plan == expected.plan


def test_only_parameters_without_use_learn_nothing() -> None:
    class Unused(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.head = nn.Conv2d(1, 8, 3), nn.Linear(8, CLASSES)
            self.requires_grad_(False)
            self.unused = nn.Parameter(torch.zeros(3))

        def forward(self, x: Tensor) -> Tensor:
            return self.head(torch.relu(self.conv(x)).mean((2, 3)))

    with pytest.raises(explorer.BadInput, match="uses requires gradients"):
        search(toy_network(model=Unused()), **QUICK)


def test_from_scratch_leaves_frozen_parameters() -> None:
    model = model_of(Counting)
    assert isinstance(model, Counting)
    model.conv.requires_grad_(False)
    again = fresh(model)
    assert torch.equal(again.get_parameter("conv.weight"), model.conv.weight)
    assert not torch.equal(again.get_parameter("head.weight"), model.head.weight)


def test_a_reset_that_wants_arguments_is_named() -> None:
    class Wanting(nn.Linear):
        def reset_parameters(self, *values: Any) -> None:
            if self.in_features and not values and hasattr(self, "ready"):
                raise TypeError("reset_parameters() missing 1 required positional argument")

    layer = Wanting(4, 2)
    layer.ready = True
    nn.init.ones_(layer.weight)
    with pytest.raises(explorer.BadInput, match=r"initialises weight, bias anew"):
        fresh(layer)


def unfit(snapshot: Snapshot, **content: Any) -> Snapshot:
    fields = {name: getattr(snapshot, name) for name in Snapshot.__dataclass_fields__}
    return Snapshot(**{**fields, "content": {**snapshot.content, **content}})


def test_a_snapshot_with_another_content_is_refused_in_words() -> None:
    network = toy_network()
    graph = graph_of(network)
    kept = next(event.snapshot for event in events(network, graph, **QUICK) if event.snapshot)
    stretched = {**kept.content["tensors"], "conv1.weight": kept.content["tensors"]["conv1.weight"][:1]}
    for wrong in (
        {"tensors": stretched},
        {"tensors": None},
        {"optimisers": {}},
        {"frames": [1, 2]},
        {"tensors": {**kept.content["tensors"], "": kept.content["tensors"][""][:1]}},
    ):
        with pytest.raises(explorer.BadInput, match="does not fit the training"):
            events(network, graph, resume=unfit(kept, **wrong), **QUICK)
    with pytest.raises(explorer.BadInput, match="step is a int"):
        Snapshot(**{**{name: getattr(kept, name) for name in Snapshot.__dataclass_fields__}, "step": "2"})


def test_a_checkpoint_that_cannot_be_written_is_refused_before_any_work(tmp_path) -> None:  # type: ignore[no-untyped-def]
    network = toy_network()
    for wrong in (tmp_path / "none" / "search.pt", tmp_path, 3):
        with pytest.raises(explorer.BadInput, match=r"expected a path|cannot be written"):
            search(network, checkpoint=wrong, progress=lambda _event: pytest.fail("it began"), **QUICK)
