"""Where channels can be dropped, and which layers notice."""

import numpy as np
import pytest
import torch
from torch import nn

import explorer
from explorer.dynamic.sites import find_sites
from explorer.errors import BadInput
from tests.dynamic.toys import MODELS, network_of
from tests.evaluate.toys import fingerprint


def sites_of(network, normed=True):
    graph = explorer.trace(network.model, network.example)
    return graph, find_sites(network.model, graph, network.example, normed)


@pytest.mark.parametrize(
    ("kind", "layers"),
    [
        ("residual", ["one.a.0", "one.b.0", "two.a.0", "two.b.0"]),  # neither the stem nor the projection
        ("inverted", ["depthwise.0", "project.0", "head.0"]),
        ("chain", ["two.0", "three.0", "four.0"]),
        ("shuffled", ["left.0", "right.0", "grouped.0", "last.0"]),
    ],
)
def test_sites_are_convolutions_before_batch_norm_but_the_stem_and_shortcuts(kind, layers):
    _graph, sites = sites_of(network_of(kind))
    assert [site.layer for site in sites.every] == layers
    assert [site.start for site in sites.every] == np.cumsum([0, *(s.size for s in sites.every)])[
        :-1
    ].tolist()
    assert all(site.norm for site in sites.every)


def test_bundled_networks_have_the_sites_of_the_paper():
    """resnet20: both convolutions of nine blocks; no stem, no projection."""
    graph, sites = sites_of(explorer.load("resnet20"))
    assert len(sites.every) == 18
    assert [site.rectified for site in sites.every] == [True, False] * 9
    reads = {
        layer.name: int((columns >= 0).sum())
        for layer, columns in zip(graph.layers, sites.inputs, strict=True)
    }
    assert reads["stage1.0.conv2"] == 16
    assert reads["stage1.1.conv1"] == 0  # it reads the sum, which stays whole
    assert reads["classifier"] == 0


def test_a_layer_before_a_depthwise_one_runs_the_same_channels():
    graph, sites = sites_of(network_of("inverted"))
    site = sites.by_layer["depthwise.0"]
    assert site.ahead == "expand.0"
    places = {layer.name: place for place, layer in enumerate(graph.layers)}
    own = np.arange(site.start, site.start + site.size)
    for layer, side in (
        ("expand.0", sites.outputs),
        ("depthwise.0", sites.outputs),
        ("depthwise.0", sites.inputs),
    ):
        np.testing.assert_array_equal(side[places[layer]], own)
    np.testing.assert_array_equal(sites.inputs[places["project.0"]], own)


def test_rectified_is_where_a_relu_follows():
    assert [site.rectified for site in sites_of(network_of("inverted"))[1].every] == [True, False, True]
    assert [site.rectified for site in sites_of(network_of("chain"))[1].every] == [False, True, True]


def test_behind_a_sigmoid_a_dropped_channel_is_not_zero_so_its_reader_runs_whole():
    graph, sites = sites_of(network_of("chain"))
    columns = {layer.name: read for layer, read in zip(graph.layers, sites.inputs, strict=True)}
    assert (columns["three.0"] == -1).all()
    assert (columns["four.0"] >= 0).all()


def test_concatenated_towers_keep_their_own_columns_and_a_sum_has_none():
    graph, sites = sites_of(network_of("shuffled"))
    columns = {layer.name: read for layer, read in zip(graph.layers, sites.inputs, strict=True)}
    np.testing.assert_array_equal(columns["grouped.0"], np.arange(12))
    np.testing.assert_array_equal(columns["last.0"], np.arange(12, 20))
    assert (columns["classifier"] == -1).all()


def test_without_batch_norm_only_the_training_free_choice_has_sites():
    network = network_of("bare")
    with pytest.raises(BadInput, match=r"batch norm.*most active"):
        sites_of(network)
    _graph, sites = sites_of(network, normed=False)
    assert [(site.layer, site.norm) for site in sites.every] == [("two", "")]


def test_a_network_whose_only_convolution_reads_the_image_has_none():
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 16, 4))
    network = explorer.load(model, example=torch.zeros(1, 1, 6, 6))
    with pytest.raises(BadInput, match="the first one reads the image"):
        sites_of(network, normed=False)


@pytest.mark.parametrize("kind", MODELS)
def test_finding_sites_leaves_the_model_alone(kind):
    network = network_of(kind)
    before = fingerprint(network.model)
    sites_of(network)
    assert fingerprint(network.model) == before
