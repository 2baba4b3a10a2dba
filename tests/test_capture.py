"""Calls that are hard to watch: weights by keyword, torch's attention, windows, sequences before images."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import explorer
from explorer.capture import run
from explorer.data.images import Images, identity
from explorer.errors import ExplorerError
from explorer.observe import channels, maps
from explorer.values import ChannelGraph, full_plan
from tests.networks import IMAGE, Written, conv, inputs_like, pooled

INPUTS, LABELS = inputs_like(IMAGE, 6), torch.arange(6) % 4
IMAGES = Images(INPUTS, LABELS, identity)


def made(forward: Callable[[Any, Tensor], Tensor], **modules: nn.Module) -> Any:
    return Written(forward, **modules).eval()


def small(forward: Callable[[Any, Tensor], Tensor]) -> Any:
    torch.manual_seed(0)
    return made(forward, a=conv(3, 8), b=conv(8, 8), f=nn.Linear(8, 4))


def number(graph: ChannelGraph, name: str) -> int:
    return next(place for place, layer in enumerate(graph.layers) if layer.name == name)


def plainly(m: Any, x: Tensor) -> Tensor:
    return m.f(pooled(m.b(m.a(x).relu()).relu()))


def by_keyword(m: Any, x: Tensor) -> Tensor:
    x = functional.conv2d(x, weight=m.a.weight, bias=m.a.bias, padding=1).relu()
    x = functional.conv2d(input=x, weight=m.b.weight, bias=m.b.bias, padding=1).relu()
    return functional.linear(pooled(x), bias=m.f.bias, weight=m.f.weight)


@pytest.mark.parametrize("criterion", ["taylor", "mean_activation"])
def test_weights_and_inputs_by_keyword_are_met(criterion: str) -> None:
    found, expected = (
        explorer.score(model, explorer.trace(model, IMAGE), criterion, data=(INPUTS, LABELS))
        for model in (small(by_keyword), small(plainly))
    )
    for ours, theirs in zip(found.by_group.values(), expected.by_group.values(), strict=True):
        assert theirs.any()
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_activations_of_weights_by_keyword() -> None:
    model = small(by_keyword)
    graph = explorer.trace(model, IMAGE)
    seen, own = channels.maps(model, graph, 0, 3, INPUTS)
    with torch.inference_mode():
        torch.testing.assert_close(torch.from_numpy(seen), model.a(INPUTS).relu()[:, 3])
    assert not own


def windows(m: Any, x: Tensor) -> Tensor:
    x = m.a(x).relu()
    n = x.shape[0]
    x = x.unflatten(2, (2, 4)).unflatten(4, (2, 4)).permute(0, 2, 4, 1, 3, 5).reshape(n * 4, -1, 4, 4)
    x = m.b(x).relu().mean((2, 3))
    return m.f(x.reshape(n, 4, -1).mean(1))


def sequence_first(m: Any, x: Tensor) -> Tensor:
    x = m.a(x).relu().flatten(2).permute(2, 0, 1)
    return m.f(m.second(m.first(x).relu()).relu().mean(0))


def sequence() -> Any:
    torch.manual_seed(0)
    return made(
        sequence_first, a=conv(3, 8), first=nn.Linear(8, 8), second=nn.Linear(8, 8), f=nn.Linear(8, 4)
    )


@pytest.mark.parametrize(
    ("model", "layer", "images"),
    [(small(windows), "b", 6), (sequence(), "first", 6), (sequence(), "first", 64)],
    ids=["windows", "sequence first", "as many steps as images"],
)
def test_windows_and_sequences_are_refused_in_words(model: nn.Module, layer: str, images: int) -> None:
    graph = explorer.trace(model, IMAGE)
    inputs = inputs_like(IMAGE, images)
    labels = torch.arange(images) % 4
    words = f"What {layer} computes cannot be told apart by image: for .* images.* l1, l2, "
    with pytest.raises(ExplorerError, match=words):
        explorer.score(model, graph, "taylor", data=(inputs, labels))
    place = number(graph, layer)
    words = words.replace(layer, ".*")
    data = Images(inputs, labels, identity)
    for rows in (torch.arange(min(images, 6)), torch.arange(1)):
        with pytest.raises(ExplorerError, match=words):
            channels.activations(model, graph, place, data, rows)
    with pytest.raises(ExplorerError, match=words):
        channels.maps(model, graph, place, 0, inputs)
    plan = full_plan(graph)
    with pytest.raises(ExplorerError, match=words):
        maps.compare(model, model, graph, plan, place, inputs[:1], inputs)


def test_criteria_that_the_words_name_rank_windows_and_sequences() -> None:
    model = sequence()
    graph = explorer.trace(model, IMAGE)
    for criterion in ("l1", "l2", "fpgm", "mean_activation"):
        found = explorer.score(model, graph, criterion, data=(INPUTS, LABELS))
    with torch.inference_mode():
        expected = model.a(INPUTS).relu().mean((0, 2, 3))
    np.testing.assert_allclose(found.by_group["a"], expected, rtol=1e-5)


def attend(m: Any, x: Tensor) -> Tensor:
    x = m.a(x).flatten(2).transpose(1, 2)
    x = x + m.attention(x, x, x, need_weights=False)[0]
    return m.f((x + m.second(m.first(x).relu())).mean(1))


@pytest.mark.parametrize("images", [6, 16], ids=["", "as many images as tokens"])
def test_projections_inside_attention_are_seen_by_image(images: int) -> None:
    torch.manual_seed(0)
    model = made(
        attend,
        a=nn.Conv2d(3, 8, 2, 2),
        attention=nn.MultiheadAttention(8, 2, batch_first=True),
        first=nn.Linear(8, 12),
        second=nn.Linear(12, 8),
        f=nn.Linear(8, 4),
    )
    graph = explorer.trace(model, IMAGE)
    inputs = inputs_like(IMAGE, images)
    with torch.inference_mode():
        tokens = model.a(inputs).flatten(2).transpose(1, 2)
        projected = functional.linear(tokens, model.attention.in_proj_weight, model.attention.in_proj_bias)
        mixed = model.attention(tokens, tokens, tokens)[0]
        plain = model(inputs)
    for layer, expected in (("attention.in_proj", projected), ("attention.out_proj", mixed)):
        seen, own = channels.maps(model, graph, number(graph, layer), 5, inputs)
        assert own
        np.testing.assert_allclose(seen.reshape(images, 16), expected[:, :, 5], rtol=1e-4, atol=1e-5)
    scores = explorer.score(model, graph, "taylor", data=(inputs, torch.arange(images) % 4))
    assert (scores.by_group["first"] > 0).any()
    with torch.inference_mode():
        torch.testing.assert_close(model(inputs), plain)


def unmet(m: Any, x: Tensor) -> Tensor:
    x = m.a(x).relu()
    # Graphs are of one image; with more, what the call is given is a view of the weight.
    weight = m.b.weight if x.shape[0] == 1 else m.b.weight[:]
    return m.f(pooled(functional.conv2d(x, weight, m.b.bias, padding=1).relu()))


def test_calls_that_are_not_met_are_named() -> None:
    model = small(unmet)
    graph = explorer.trace(model, IMAGE)
    words = "ran without a call of b that could be seen"
    for criterion in ("taylor", "apoz", "mean_activation"):
        with pytest.raises(ExplorerError, match=words):
            explorer.score(model, graph, criterion, data=(INPUTS, LABELS))
    for layer in (0, 1):  # the reader, the layer itself
        with pytest.raises(ExplorerError, match=words):
            channels.activations(model, graph, layer, IMAGES, torch.arange(6))
        with pytest.raises(ExplorerError, match=words):
            channels.maps(model, graph, layer, 0, INPUTS)
    with pytest.raises(ExplorerError, match=words):
        maps.compare(model, model, graph, full_plan(graph), 1, INPUTS[:2], INPUTS)


def test_what_a_call_is_given_and_answers_is_told() -> None:
    model = small(by_keyword)
    graph = explorer.trace(model, IMAGE)
    given, answers = dict[int, Any](), dict[int, Tensor]()
    with torch.no_grad():
        run(model, graph, INPUTS, lambda _, x: x, answers.__setitem__, given.__setitem__)
        first = model.a(INPUTS)
    names = [layer.name for layer in graph.layers]
    assert names == ["a", "b", "f"]
    assert [each.get("padding", 0) for each in given.values()] == [1, 1, 0]
    assert all(
        each["bias"] is model.get_parameter(f"{name}.bias")
        for name, each in zip(names, given.values(), strict=True)
    )
    assert not any({"input", "weight"} & set(each) for each in given.values())
    assert torch.equal(answers[0], first)
