"""Criteria of images: Taylor's gates against autograd and finite differences, APoZ and mean activation by hand."""

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import explorer
from explorer.capture import gate_gradients
from explorer.criteria import taylor
from explorer.criteria.taylor import BATCH
from explorer.surgery import removed_positions
from explorer.values import Plan
from tests.networks import BLOCKS, IMAGE, TAILS, Recipe, Written, conv, inputs_like, pooled


def gated(m: nn.Module, x: Tensor, gate: Tensor) -> Tensor:
    return m.f(pooled(torch.relu(m.c(x)) * gate[:, :, None, None]))


def plain(m: nn.Module, x: Tensor) -> Tensor:
    return m.f(pooled(torch.relu(m.c(x))))


def test_taylor_equals_autograd_on_an_explicit_gate() -> None:
    model = Written(plain, c=conv(3, 8), f=nn.Linear(8, 4))
    images, labels = inputs_like(IMAGE, 2 * BATCH), torch.arange(2 * BATCH) % 4
    squares = []
    for rows in torch.arange(2 * BATCH).split(BATCH):
        gate = torch.ones(BATCH, 8, requires_grad=True)
        cross_entropy(gated(model, images[rows], gate), labels[rows]).backward()
        assert gate.grad is not None
        squares.append(gate.grad.sum(0).square())  # one gate for all images of the batch
    scores = explorer.score(model, explorer.trace(model, IMAGE), "taylor", data=(images, labels))
    np.testing.assert_allclose(scores.by_group["c"], torch.stack(squares).mean(0), rtol=1e-4)


def test_taylor_is_the_same_where_a_batch_comes_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Written(plain, c=conv(3, 8), f=nn.Linear(8, 4))
    images, labels = inputs_like(IMAGE, BATCH + 10), torch.arange(BATCH + 10) % 4
    graph = explorer.trace(model, IMAGE)
    whole = explorer.score(model, graph, "taylor", data=(images, labels))
    monkeypatch.setattr(taylor, "fitting", lambda *_given, **_more: 7)
    pieces = explorer.score(model, graph, "taylor", data=(images, labels))
    np.testing.assert_allclose(pieces.by_group["c"], whole.by_group["c"], rtol=1e-4)


SEVERAL_READERS = Recipe(
    ("residual", "itself twice", "called twice", "squeeze-excitation"), nn.SiLU, "flattened", 1
)
GROUPED = Recipe(
    ("positions in conv groups", "whole conv groups", "concatenation", "transposed"),
    nn.ReLU,
    "two linears",
    2,
)


@pytest.mark.parametrize("recipe", [SEVERAL_READERS, GROUPED], ids=["several readers", "grouped"])
def test_gate_gradients_equal_finite_differences_of_fading_a_unit_in_all_its_readers(recipe: Recipe) -> None:
    assert set(recipe.blocks) <= set(BLOCKS)
    assert recipe.tail in TAILS
    model = recipe.build().double()
    graph = explorer.trace(model, IMAGE.double())
    images, labels = inputs_like(IMAGE.double(), 3), torch.tensor([0, 3, 1])
    found = gate_gradients(model, graph, images, labels)
    reads = {(slot.tensor, slot.dim) for group in graph.groups for slot in group.slots if slot.reads}

    def losses(group: str, unit: int, gate: float) -> Tensor:
        keep = {g.id: np.ones(g.size, dtype=bool) for g in graph.prunable}
        keep[group][unit] = False
        faded = copy.deepcopy(model)
        with torch.no_grad():
            for (tensor, dim), rows in removed_positions(graph, Plan(graph.key, keep)).items():
                if (tensor, dim) in reads:
                    weight = faded.get_parameter(tensor)
                    weight.index_copy_(
                        dim,
                        rows.nonzero().flatten(),
                        weight.index_select(dim, rows.nonzero().flatten()) * gate,
                    )
            return cross_entropy(faded(images), labels, reduction="none")

    step = 1e-5
    for group in graph.prunable:
        for unit in (0, group.size - 1):
            slope = (losses(group.id, unit, 1 + step) - losses(group.id, unit, 1 - step)) / (2 * step)
            np.testing.assert_allclose(found[group.id][:, unit], slope, rtol=1e-4, atol=1e-8)


def test_taylor_of_a_channel_that_nothing_uses_is_zero() -> None:
    model = Written(plain, c=conv(3, 8), f=nn.Linear(8, 4))
    with torch.no_grad():
        model.f.weight[:, 5] = 0
    scores = explorer.score(
        model, explorer.trace(model, IMAGE), "taylor", data=(inputs_like(IMAGE, 8), torch.arange(8) % 4)
    )
    assert scores.comparable
    assert scores.by_group["c"][5] == 0
    assert (np.delete(scores.by_group["c"], 5) > 0).all()


def brightness() -> nn.Module:
    """Three channels of a grey image x: relu(x), relu(-x), relu(x + 10)."""
    model = nn.Sequential(
        nn.Conv2d(1, 3, 1),
        nn.ReLU(),
        nn.Conv2d(3, 2, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(2, 2),
    )
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([1.0, -1.0, 1.0]).reshape(3, 1, 1, 1))
        model[0].bias.copy_(torch.tensor([0.0, 0.0, 10.0]))
    return model


QUARTER = torch.tensor([[2.0, -1.0], [-1.0, 0.0]]).expand(300, 1, 2, 2).contiguous()  # more than one batch


@pytest.mark.parametrize(
    ("criterion", "expected"), [("apoz", [1 / 4, 2 / 4, 1]), ("mean_activation", [2 / 4, 2 / 4, 10])]
)
def test_activations_by_hand(criterion: str, expected: list[float]) -> None:
    model = brightness()
    graph = explorer.trace(model, QUARTER[:1])
    scores = explorer.score(model, graph, criterion, data=(QUARTER, torch.zeros(300, dtype=torch.int64)))
    np.testing.assert_allclose(scores.by_group["0"], expected, rtol=1e-6)


def test_all_batches_count() -> None:
    model = brightness()
    graph = explorer.trace(model, QUARTER[:1])
    mixed = torch.cat([QUARTER[:150], torch.zeros(150, 1, 2, 2)])
    found = explorer.score(model, graph, "apoz", data=(mixed, torch.zeros(300, dtype=torch.int64)))
    np.testing.assert_allclose(found.by_group["0"], [1 / 8, 1 / 4, 1], rtol=1e-6)


@pytest.mark.parametrize("criterion", ["taylor", "apoz", "mean_activation"])
def test_functional_calls_between_layers_do_not_shift_what_is_measured(criterion: str) -> None:
    def forward(m: nn.Module, x: Tensor) -> Tensor:
        if m.detour:
            nn.functional.linear(x, torch.ones(1, 8))
        return plain(m, x)

    model = Written(forward, c=conv(3, 8), f=nn.Linear(8, 4))
    data = inputs_like(IMAGE, 8), torch.arange(8) % 4
    found = []
    for model.detour in (False, True):
        found.append(explorer.score(model, explorer.trace(model, IMAGE), criterion, data=data).by_group["c"])
    assert found[0].tolist() == found[1].tolist()


def test_readers_whose_result_is_thrown_away_do_not_matter() -> None:
    model = Written(
        lambda m, x: (y := m.c(x), m.d(y), m.f(pooled(y)))[2], c=conv(3, 8), d=conv(8, 8), f=nn.Linear(8, 4)
    )
    data = inputs_like(IMAGE, 8), torch.arange(8) % 4
    assert (explorer.score(model, explorer.trace(model, IMAGE), "taylor", data=data).by_group["c"] > 0).all()


def test_a_network_without_prunable_groups_has_no_scores() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 4))
    data = inputs_like(IMAGE, 8), torch.arange(8) % 4
    assert dict(explorer.score(model, explorer.trace(model, IMAGE), "taylor", data=data).by_group) == {}


def test_a_module_with_a_part_called_model_is_scored_whole() -> None:
    model = Written(lambda m, x: m.f(pooled(m.model(x))), model=nn.Sequential(conv(3, 8)), f=nn.Linear(8, 4))
    assert list(explorer.score(model, explorer.trace(model, IMAGE), "l1").by_group) == ["model.0"]
