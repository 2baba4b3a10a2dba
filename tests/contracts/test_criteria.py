"""What every criterion keeps to: finite scores, repeatable, blind to the order of channels, and no traces left."""

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import explorer
from explorer.criteria import CRITERIA
from explorer.data import Data, Images, identity
from tests.evaluate.toys import fingerprint
from tests.networks import IMAGE, Written, conv, inputs_like, pooled


def forward(m: nn.Module, x: Tensor) -> Tensor:
    y = torch.relu(m.n1(m.c1(x)))
    y = torch.relu(m.n2(m.c2(y)) + m.n3(m.c3(y)))
    return m.f(m.drop(pooled(y)))


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    written = Written(
        forward, c1=conv(3, 6), n1=nn.BatchNorm2d(6), c2=conv(6, 8), n2=nn.BatchNorm2d(8), c3=conv(6, 8),
        n3=nn.BatchNorm2d(8), f=nn.Linear(8, 4), drop=nn.Dropout(),
    )  # fmt: skip
    return explorer.live_weights(written, IMAGE)


@pytest.fixture
def data() -> tuple[Tensor, Tensor]:
    return inputs_like(IMAGE, 150), torch.arange(150) % 4


criteria = pytest.mark.parametrize("criterion", CRITERIA)


@criteria
def test_names_and_words(criterion: str) -> None:
    rule = CRITERIA[criterion]
    assert rule.name == criterion
    assert rule.label
    assert rule.about.endswith((".", ")"))


@criteria
def test_scores_are_finite_float32_of_every_unit(criterion: str, model: nn.Module, data: tuple) -> None:
    graph = explorer.trace(model, IMAGE)
    scores = explorer.score(model, graph, criterion, data=data)
    assert scores.criterion == criterion
    assert {name: values.shape for name, values in scores.by_group.items()} == {"c1": (6,), "c2": (8,)}
    assert all(
        values.dtype == np.float32 and np.isfinite(values).all() for values in scores.by_group.values()
    )
    assert len(set(scores.by_group["c1"].tolist())) > 1


@criteria
def test_the_same_seed_gives_the_same_scores(criterion: str, model: nn.Module, data: tuple) -> None:
    graph = explorer.trace(model, IMAGE)
    torch.manual_seed(1)
    first = explorer.score(model, graph, criterion, data=data, seed=5)
    torch.manual_seed(2)
    assert explorer.score(model, graph, criterion, data=data, seed=5).key == first.key


@criteria
def test_the_mode_that_the_model_is_found_in_does_not_matter(
    criterion: str, model: nn.Module, data: tuple
) -> None:
    graph = explorer.trace(model, IMAGE)
    expected = explorer.score(model, graph, criterion, data=data).key
    assert explorer.score(model.train(), graph, criterion, data=data).key == expected


@criteria
@pytest.mark.parametrize("fails", [False, True])
def test_nothing_is_left_behind(criterion: str, fails: bool, model: nn.Module, data: tuple) -> None:
    graph = explorer.trace(model, IMAGE)
    model.train()(data[0][:4]).sum().backward()
    handle = model.c1.register_forward_hook(lambda *_: None)

    def explode(images: Tensor) -> Tensor:
        if fails and len(images) < 128:  # in the second batch
            raise KeyError("the user's normalisation failed")
        return images

    images = Images(data[0], data[1], explode)
    before = fingerprint(model)
    if fails and CRITERIA[criterion].needs_data:
        with pytest.raises(explorer.BadInput, match="the user's normalisation failed"):
            explorer.score(model, graph, criterion, data=images)
    else:
        explorer.score(model, graph, criterion, data=images)
    assert fingerprint(model) == before
    handle.remove()


@criteria
def test_images_are_asked_for_where_they_are_needed(criterion: str, model: nn.Module) -> None:
    graph = explorer.trace(model, IMAGE)
    if CRITERIA[criterion].needs_data:
        with pytest.raises(explorer.BadInput, match="looks at images and there are none"):
            explorer.score(model, graph, criterion)
    else:
        assert len(explorer.score(model, graph, criterion).by_group) == 2


@pytest.mark.parametrize("criterion", sorted(set(CRITERIA) - {"order", "random"}))  # those two score places
def test_the_order_of_channels_does_not_matter(criterion: str, model: nn.Module, data: tuple) -> None:
    graph = explorer.trace(model, IMAGE)
    order = torch.tensor([3, 0, 7, 5, 1, 2, 6, 4])
    moved = copy.deepcopy(model)
    with torch.no_grad():
        for slot in graph.group("c2").slots:
            tensor = moved.state_dict()[slot.tensor]
            tensor.copy_(tensor.index_select(slot.dim, order))
    expected = explorer.score(model, graph, criterion, data=data).by_group["c2"][order]
    found = explorer.score(moved, graph, criterion, data=data).by_group["c2"]
    np.testing.assert_allclose(found, expected, rtol=2e-3)


@criteria
def test_training_images_are_used_where_there_are_some(criterion: str, model: nn.Module, data: tuple) -> None:
    graph = explorer.trace(model, IMAGE)
    train, other = Images(*data, identity), Images(data[0] + 1, data[1], identity)
    whole = Data("toy", ("a", "b", "c", "d"), train, other, other)
    assert (
        explorer.score(model, graph, criterion, data=whole).key
        == explorer.score(model, graph, criterion, data=train).key
    )


@criteria
def test_bad_input_is_refused_in_words(criterion: str, model: nn.Module, data: tuple) -> None:
    graph = explorer.trace(model, IMAGE)
    other = explorer.trace(nn.Sequential(conv(3, 8), nn.Flatten(), nn.Linear(512, 4)), IMAGE)
    for wrong, words in [
        ((None, graph), "nn.Module"),
        ((model, other), "not the one that was traced"),
        ((model, "g"), "trace"),
    ]:
        with pytest.raises(explorer.BadInput, match=words):
            explorer.score(*wrong, criterion, data=data)  # type: ignore[arg-type]
    broken = copy.deepcopy(model)
    with torch.no_grad():
        broken.c2.weight[0, 0, 0, 0] = torch.nan
    with pytest.raises(explorer.BadInput, match=r"1 of \d+ numbers in c2\.weight are NaN"):
        explorer.score(broken, graph, criterion, data=data)
    if CRITERIA[criterion].needs_data:
        with pytest.raises(explorer.BadInput, match=r"cannot take inputs of shape .*1, 8, 8"):
            explorer.score(model, graph, criterion, data=(data[0][:, :1], data[1]))
        with pytest.raises(explorer.BadInput, match="empty"):
            explorer.score(model, graph, criterion, data=(data[0][:0], data[1][:0]))


def test_batch_norm_statistics_that_are_no_numbers_are_refused(model: nn.Module) -> None:
    graph = explorer.trace(model, IMAGE)
    model.get_buffer("n2.running_var")[3] = torch.nan
    with pytest.raises(explorer.BadInput, match=r"1 of 8 numbers in n2\.running_var are NaN"):
        explorer.score(model, graph, "l1")


@pytest.mark.parametrize("criterion", [["l1"], {}, None, 3])
def test_a_criterion_that_is_no_name_is_refused_with_the_known_ones(
    model: nn.Module, criterion: object
) -> None:
    with pytest.raises(explorer.UnknownName, match="Known: l1, l2"):
        explorer.score(model, explorer.trace(model, IMAGE), criterion)  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", [-1, "a", 0.5, None, True])
def test_a_seed_that_is_no_whole_number_is_refused(model: nn.Module, seed: object) -> None:
    with pytest.raises(explorer.BadInput, match="seed must be a whole number, at least 0"):
        explorer.score(model, explorer.trace(model, IMAGE), "random", seed=seed)  # type: ignore[arg-type]


def test_an_unknown_criterion_is_refused_with_the_known_ones(model: nn.Module) -> None:
    with pytest.raises(explorer.UnknownName, match="Did you mean 'taylor'") as caught:
        explorer.score(model, explorer.trace(model, IMAGE), "tailor")
    assert all(name in str(caught.value) for name in CRITERIA)


def test_labels_out_of_range_are_refused(model: nn.Module, data: tuple) -> None:
    with pytest.raises(explorer.BadInput, match="Label 4 is out of range"):
        explorer.score(model, explorer.trace(model, IMAGE), "taylor", data=(data[0], data[1] + 1))


def test_a_model_that_returns_no_logits_is_refused(data: tuple) -> None:
    model = Written(lambda m, x: {"maps": m.f(pooled(m.c(x)))[:1]}, c=conv(3, 8), f=nn.Linear(8, 4))
    with pytest.raises(explorer.BadInput, match="row of logits"):
        explorer.score(model, explorer.trace(model, IMAGE), "taylor", data=data)
