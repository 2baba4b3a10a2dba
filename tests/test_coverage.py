"""What can be pruned, why the rest cannot, and how small a network gets: against counts made by hand."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import explorer
from explorer.coverage import CAUSES, NAMING, cause_of
from explorer.errors import BadInput
from explorer.strings import Strings
from tests.graph.test_reasons import FROZEN
from tests.networks import IMAGE, Written, conv, graph_of, pooled

STRINGS = Strings("en")


def coverage_of(model: nn.Module) -> explorer.Coverage:
    return explorer.coverage(explorer.trace(model, IMAGE))


def half_frozen() -> nn.Module:
    """Convs 3 -> 8 -> 8 -> 6, a softmax over the second's channels, pooling, 6 -> 4."""

    def forward(m: Any, x: Tensor) -> Tensor:
        return m.f(pooled(m.c(torch.softmax(m.b(m.a(x)), 1))))

    return Written(forward, a=conv(3, 8), b=conv(8, 8), c=conv(8, 6), f=nn.Linear(6, 4))


def test_every_layer_says_what_of_it_can_go() -> None:
    found = coverage_of(half_frozen())
    counts = {each.name: (each.outputs, each.prunable, each.inputs, each.shrinkable) for each in found.layers}
    assert counts == {"a": (8, 8, 3, 0), "b": (8, 0, 8, 8), "c": (6, 6, 8, 0), "f": (4, 0, 6, 6)}
    assert [(each.cause, each.operator) for each in found.layers] == [
        ("", ""),
        ("mixes", "softmax"),
        ("", ""),
        ("outputs", ""),
    ]
    assert "softmax" in found.layers[1].reason
    assert found.channels_share == (8 + 6) / (8 + 8 + 6 + 4)
    assert found.prunable_layers == 2
    assert found.macs_share == 1  # every layer has outputs or inputs that can go


def test_the_smallest_network_has_one_unit_per_group_and_is_counted_by_hand() -> None:
    found = coverage_of(half_frozen())
    height, width = IMAGE.shape[2:]
    taps = 9 * height * width
    assert found.least_macs == (3 * 1 + 1 * 8 + 8 * 1) * taps + 1 * 4
    assert found.least_params == (3 + 8 + 8) * 9 + (1 + 8 + 1) + 1 * 4 + 4
    assert (found.removed, found.bare_macs, found.bare_params) == ((), found.least_macs, found.least_params)


def residual() -> nn.Module:
    """3 -> 8, a block 8 -> 5 -> 8 beside a skip, 8 -> 4."""

    def forward(m: Any, x: Tensor) -> Tensor:
        x = m.a(x)
        return m.f(pooled(x + m.c(m.b(x))))

    return Written(forward, a=conv(3, 8), b=conv(8, 5), c=conv(5, 8), f=nn.Linear(8, 4))


@pytest.mark.parametrize("model", [half_frozen(), residual()], ids=["chain", "residual"])
def test_the_smallest_network_is_what_shrinking_to_it_gives(model: nn.Module) -> None:
    graph = explorer.trace(model, IMAGE)
    found = explorer.coverage(graph)
    scores = explorer.score(model, graph, "l1", seed=0)
    least = {group.id: 1 for group in graph.prunable}
    bare = {**least, **dict.fromkeys(found.removed, 0)}
    for widths, macs, params in (
        (least, found.least_macs, found.least_params),
        (bare, found.bare_macs, found.bare_params),
    ):
        plan = explorer.plan_widths(graph, scores, widths)
        small = explorer.shrink(model, graph, plan)
        assert sum(parameter.numel() for parameter in small.parameters()) == params
        assert explorer.cost(graph, plan).macs == macs


def test_groups_that_can_go_together_only_in_part_leave_a_way_for_the_image() -> None:
    """Two towers: each can go alone, both cannot."""

    def forward(m: Any, x: Tensor) -> Tensor:
        return m.f(pooled(torch.cat([m.a(x), m.b(x)], 1)))

    graph = explorer.trace(Written(forward, a=conv(3, 8), b=nn.Conv2d(3, 6, 1), f=nn.Linear(14, 4)), IMAGE)
    assert sum(not reason for reason in explorer.removable(graph).values()) == 2
    found = explorer.coverage(graph)
    assert found.removed == ("a",)  # the 3 x 3 convolution costs more
    assert 0 < found.bare_macs < found.least_macs
    assert found.bare_params < found.least_params


@pytest.mark.parametrize("name", FROZEN)
def test_every_reason_that_the_graph_gives_has_a_cause(name: str) -> None:
    model, operator = FROZEN[name]
    found = next(each for each in coverage_of(model).layers if each.name == "c")
    assert found.cause in CAUSES
    if found.cause in NAMING:
        assert found.operator
        assert found.operator in found.reason
    words = next(each for each in coverage_of(model).hindrances if "c" in each.layers).words(STRINGS)
    assert "test_reasons.py" not in words
    assert operator  # the graph's own tests say that the reason names it


def test_layers_of_one_cause_stand_together_wherever_they_are() -> None:
    def forward(m: Any, x: Tensor) -> Tensor:
        return m.f(pooled(torch.softmax(m.b(torch.softmax(m.a(x), 1)), 1)))

    found = coverage_of(Written(forward, a=conv(3, 8), b=conv(8, 8), f=nn.Linear(8, 4)))
    assert [(each.cause, each.operator, each.layers) for each in found.hindrances] == [
        ("mixes", "softmax", ("a", "b")),
        ("outputs", "", ("f",)),
    ]
    assert len({each.reason for each in found.layers}) == 3  # the reasons name two places
    assert found.macs_share == 0


def test_what_is_tied_to_the_image_says_so() -> None:
    def forward(m: Any, x: Tensor) -> Tensor:
        return m.f(pooled(x + m.c(x)))

    found = coverage_of(Written(forward, c=conv(3, 3), f=nn.Linear(3, 4)))
    assert found.layers[0].cause == "image"


def test_a_layer_whose_channels_are_in_no_group_says_so() -> None:
    graph = explorer.trace(half_frozen(), IMAGE)
    a, *others = graph.layers
    without = replace(a, out_units=np.full_like(a.out_units, -1))
    found = explorer.coverage(replace(graph, layers=(without, *others))).layers[0]
    assert (found.group, found.prunable, found.cause, found.reason) == ("", 0, "no_group", "")


def test_a_reason_of_no_known_form_is_told_without_its_places() -> None:
    assert cause_of("odd at block.3 (net.py:12) is odd in head.0") == ("other", "odd is odd")


FORMS: dict[str, Callable[[], explorer.Coverage]] = {
    "resnet20": lambda: explorer.coverage(graph_of("resnet20")),
    "half frozen": lambda: coverage_of(half_frozen()),
}


def test_as_text_it_tells_the_shares_the_smallest_and_the_causes() -> None:
    found = coverage_of(half_frozen())
    lines = str(found).splitlines()
    assert lines[0] == (
        "Can be pruned: 2 of 4 layers, 54 % of their channels; a plan can change 100 % of the MACs."
    )
    assert f"{found.least_macs:,} MACs" in lines[1]
    assert lines[3:] == [
        "Cannot be pruned:",
        "1 layer: softmax mixes the channels (b)",
        "1 layer: the network's outputs: classes (f)",
    ]


@pytest.mark.parametrize("form", FORMS)
def test_the_table_has_a_line_per_layer_with_columns_below_each_other(form: str) -> None:
    found = FORMS[form]()
    head, *lines = found.table().splitlines()
    assert [line.split()[0] for line in lines] == [each.name for each in found.layers]
    end = head.index("outputs") + len("outputs")
    assert all(
        line[:end].split()[-1] == f"{each.outputs:,}" for line, each in zip(lines, found.layers, strict=True)
    )
    assert sum(each.macs for each in found.layers) == found.macs


def test_what_is_no_graph_is_refused() -> None:
    with pytest.raises(BadInput, match=r"explorer\.trace"):
        explorer.coverage(half_frozen())  # type: ignore[arg-type]
