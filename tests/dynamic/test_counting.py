import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import explorer
from explorer.dynamic.counting import macs
from explorer.errors import BadInput
from explorer.instances import Site, Sites
from tests.counting import counted_macs
from tests.networks import Written, conv, examples, graph_of, pooled


def sites_of(graph, chosen, ahead=None):
    """Sites at the `chosen` layers; `readers` {layer: producer} read what a site drops, None for what stays."""
    every, columns, start = [], {}, 0
    names = [layer.name for layer in graph.layers]
    for name in chosen:
        place, size = names.index(name), len(graph.layers[names.index(name)].out_units)
        every.append(Site(name, place, start, size, ahead=(ahead or {}).get(name, "")))
        columns[name] = np.arange(start, start + size, dtype=np.int32)
        start += size
    return tuple(every), columns


def built(graph, every, inputs, outputs):
    def side(known, units):
        return [
            known.get(layer.name, np.full(len(getattr(layer, units)), -1, dtype=np.int32))
            for layer in graph.layers
        ]

    return Sites(every, tuple(side(inputs, "in_units")), tuple(side(outputs, "out_units")))


def chain(model, shape=(1, 3, 8, 8)):
    return explorer.trace(model.eval(), torch.zeros(shape))


def plain(a=6, b=5):
    """Three convolutions and a classifier; the sites are the second and the third."""
    torch.manual_seed(0)
    model = Written(
        lambda m, x: m.head(pooled(m.c(m.b(m.a(x))))), a=conv(3, 4), b=conv(4, a), c=conv(a, b), head=nn.Linear(b, 2)
    )  # fmt: skip
    graph = chain(model)
    every, columns = sites_of(graph, ("b", "c"))
    return model, graph, built(graph, every, {"c": columns["b"], "head": columns["c"]}, columns)


def separable():
    """A stem, a 1 x 1 expansion that feeds only the depthwise convolution behind it, and a projection."""
    torch.manual_seed(0)
    model = Written(
        lambda m, x: m.head(pooled(m.project(m.depthwise(m.expand(m.stem(x)))))),
        stem=conv(3, 4), expand=nn.Conv2d(4, 6, 1), depthwise=conv(6, 12, groups=6, stride=2),
        project=nn.Conv2d(12, 5, 1), head=nn.Linear(5, 2),
    )  # fmt: skip
    return model, chain(model)


def grouped():
    torch.manual_seed(0)
    model = Written(
        lambda m, x: m.head(pooled(m.b(m.a(x)))), a=conv(3, 12), b=conv(12, 8, groups=4), head=nn.Linear(8, 2)
    )
    graph = chain(model)
    every, columns = sites_of(graph, ("a", "b"))
    return model, graph, built(graph, every, {"b": columns["a"], "head": columns["b"]}, columns)


def drawn(count, channels, seed=0):
    draw = np.random.default_rng(seed)
    return draw.random((count, channels)) < draw.random((count, 1))


def by_slices(graph, sites, keep):
    """Elements of every conv group's weight, sliced for one image, times the positions that it is applied at."""
    total = graph.terms.other_macs
    for layer, inputs, outputs, positions in zip(
        graph.layers, sites.inputs, sites.outputs, graph.terms.positions, strict=True
    ):
        weight = np.zeros(graph.shapes[layer.weight])
        there = [np.array([column < 0 or keep[column] for column in side]) for side in (inputs, outputs)]
        groups = len(there[0]) // weight.shape[1]
        for rows, given_, kept in zip(
            np.split(weight, groups), np.split(there[0], groups), np.split(there[1], groups), strict=True
        ):
            total += rows[kept][:, given_].size * int(positions)
    return total


def test_a_chain_counts_kept_outputs_times_kept_inputs():
    _, graph, sites = plain()
    keep = np.zeros((1, 11), dtype=bool)
    keep[0, [0, 2, 5]] = True  # three of b
    keep[0, [6, 10]] = True  # two of c
    a, b, c, head = 4 * 3 * 9 * 64, 3 * 4 * 9 * 64, 2 * 3 * 9 * 64, 2 * 2
    assert macs(graph, sites, keep).tolist() == [a + b + c + head]
    assert macs(graph, sites, keep, module_macs=100).tolist() == [a + b + c + head + 100]


def test_all_channels_cost_what_the_dense_network_does_and_none_what_stays():
    for model, graph, sites in (plain(), grouped()):
        keep = np.stack([np.ones(sites.channels, dtype=bool), np.zeros(sites.channels, dtype=bool)])
        dense, none = macs(graph, sites, keep).tolist()
        assert dense == explorer.cost(graph).macs == counted_macs(model, torch.zeros(1, 3, 8, 8))
        assert none == counted_macs(model.a, torch.zeros(1, 3, 8, 8)) * (
            graph.layers[0].name not in sites.by_layer
        )


def test_a_network_of_the_kept_widths_really_executes_as_many():
    _, graph, sites = plain()
    for keep in drawn(8, sites.channels, seed=3):
        b, c = (int(keep[site.columns].sum()) for site in sites.every)
        if b and c:
            narrow, *_ = plain(b, c)
            found = macs(graph, sites, keep[None])[0]
            assert found == counted_macs(narrow, torch.zeros(1, 3, 8, 8))


def test_a_depthwise_layer_and_the_one_ahead_of_it_run_the_same_channels():
    _, graph = separable()
    own = np.arange(6, dtype=np.int32).repeat(2)
    ahead = np.arange(6, dtype=np.int32)
    site = Site("depthwise", 2, 0, 6, ahead="expand")
    sites = built(
        graph,
        (site,),
        {"depthwise": ahead, "project": own},
        {"expand": ahead, "depthwise": own},
    )
    keep = np.array([[True, False, True, True, False, False]])
    stem, expand, depthwise, project = 4 * 3 * 9 * 64, 3 * 4 * 64, 3 * 2 * 9 * 16, 5 * 6 * 16
    assert macs(graph, sites, keep).tolist() == [stem + expand + depthwise + project + 2 * 5]


def test_a_depthwise_layer_of_its_own_choice_needs_input_and_output():
    _, graph = separable()
    every, columns = sites_of(graph, ("expand", "depthwise"))
    sites = built(graph, every, {"depthwise": columns["expand"], "project": columns["depthwise"]}, columns)
    keep = drawn(20, 18, seed=1)
    both = keep[:, 6:] & keep[:, :6].repeat(2, axis=1)
    stem, head = 4 * 3 * 9 * 64, 2 * 5
    expected = stem + head + keep[:, :6].sum(1) * 4 * 64 + both.sum(1) * 9 * 16 + keep[:, 6:].sum(1) * 5 * 16
    assert macs(graph, sites, keep).tolist() == expected.tolist()


@pytest.mark.parametrize("network", [plain, grouped])
def test_every_image_costs_the_elements_of_its_slices(network):
    _, graph, sites = network()
    keep = drawn(30, sites.channels, seed=2)
    assert macs(graph, sites, keep).tolist() == [by_slices(graph, sites, row) for row in keep]


def test_inputs_in_any_order_and_with_repetitions():
    """Flattened maps repeat a channel for every position; a concatenation mixes channels that stay with others."""
    _, graph, sites = plain()
    mixed = np.array([3, -1, 3, 0, -1, 5], dtype=np.int32)
    odd = built(graph, sites.every, {"c": mixed}, {"b": sites.outputs[1], "c": sites.outputs[2]})
    keep = drawn(30, sites.channels, seed=4)
    assert macs(graph, odd, keep).tolist() == [by_slices(graph, odd, row) for row in keep]


def test_conv_groups_of_which_only_some_inputs_or_outputs_can_go():
    _, graph, sites = grouped()
    keep = drawn(30, sites.channels, seed=5)
    own = sites.outputs[1]
    some = np.where(np.arange(12) % 3, sites.inputs[1], -1).astype(np.int32)
    for inputs, outputs in (
        (sites.inputs[1], np.full_like(own, -1)),
        (np.full_like(some, -1), own),
        (some, own),
    ):
        odd = built(graph, sites.every, {"b": inputs}, {"a": sites.outputs[0], "b": outputs})
        assert macs(graph, odd, keep).tolist() == [by_slices(graph, odd, row) for row in keep]


def test_depthwise_channels_of_which_some_always_stay():
    _, graph = separable()
    every, columns = sites_of(graph, ("expand",))
    given_ = np.array([0, 1, -1, -1, 4, 5], dtype=np.int32)
    own = np.array([0, 0, -1, -1, 2, -1, -1, -1, -1, 4, 5, -1], dtype=np.int32)
    sites = built(graph, every, {"depthwise": given_}, {"expand": columns["expand"], "depthwise": own})
    keep = drawn(30, sites.channels, seed=6)
    assert macs(graph, sites, keep).tolist() == [by_slices(graph, sites, row) for row in keep]


@examples(25)
@given(st.integers(0, 10_000), st.sampled_from([plain, grouped]))
def test_dropping_a_channel_never_costs_more(seed, network):
    _, graph, sites = network()
    keep = drawn(1, sites.channels, seed)[0]
    without = np.repeat(keep[None], sites.channels, axis=0)
    np.fill_diagonal(without, False)
    assert (macs(graph, sites, without) <= macs(graph, sites, keep[None])[0]).all()


def test_tables_of_other_sites_are_refused():
    _, graph, sites = plain()
    with pytest.raises(BadInput, match="11 columns"):
        macs(graph, sites, np.ones((2, 10), dtype=bool))
    with pytest.raises(BadInput, match="True and False"):
        macs(graph, sites, np.ones((2, 11)))
    assert macs(graph, sites, np.ones((0, 11), dtype=bool)).shape == (0,)


def test_a_whole_network_of_many_images():
    graph = graph_of("resnet20")
    chosen = [layer.name for layer in graph.layers if layer.name.endswith(("conv1", "conv2"))][:18]
    every, columns = sites_of(graph, chosen)
    readers = {name: columns[name.replace("conv2", "conv1")] for name in chosen if name.endswith("conv2")}
    sites = built(graph, every, readers, columns)
    keep = drawn(40, sites.channels)
    found = macs(graph, sites, keep)
    assert found.tolist() == [by_slices(graph, sites, row) for row in keep]
    assert len(set(found.tolist())) > 30
