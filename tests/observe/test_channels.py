import math

import numpy as np
import pytest
import torch
from torch import nn

import explorer
from explorer.data.images import Images, identity
from explorer.errors import BadInput
from explorer.observe import channels
from tests.networks import Written, conv, graph_of, pooled, untrained


def images(count, shape=(1, 28, 28), seed=0):
    draw = torch.Generator().manual_seed(seed)
    return Images(
        torch.rand((count, *shape), generator=draw), torch.zeros(count, dtype=torch.int64), identity
    )


def hooked(model, name, inputs, output=False):
    """What a module is given or returns, seen by a hook of the test's own."""
    seen = []
    handle = model.get_submodule(name).register_forward_hook(
        lambda _module, args, out: seen.append((out if output else args[0]).detach().clone())
    )
    with torch.inference_mode():
        model(inputs)
    handle.remove()
    return seen[0]


def number(graph, name):
    return next(place for place, layer in enumerate(graph.layers) if layer.name == name)


@pytest.mark.parametrize(
    ("network", "layer", "reader"),
    [
        ("resnet20", "stage2.0.conv1", "stage2.0.conv2"),
        ("resnet20", "stage2.0.conv2", "stage2.1.conv1"),
        ("mobilenetv2", "blocks.1.expand.0", "blocks.1.depthwise.0"),
        ("vgg", "stage3.3", "classifier"),
        ("resnet20", "classifier", None),
    ],
)
def test_channels_are_seen_where_they_are_read_first(network, layer, reader):
    graph = graph_of(network)
    found = channels.place_of(graph, number(graph, layer)).reader
    assert (None if found is None else graph.layers[found].name) == reader


def test_statistics_equal_those_of_a_hooks_record():
    graph, model, data = graph_of("resnet20"), untrained("resnet20"), images(7)
    found = channels.activations(model, graph, number(graph, "stage3.0.conv1"), data, torch.arange(7))
    given = hooked(model, "stage3.0.conv2", data.inputs())  # 7 x 7 maps: all positions are drawn
    flat = given.transpose(0, 1).flatten(1).numpy()
    assert found.images == 7
    np.testing.assert_allclose(
        found.quartiles, np.quantile(flat, (0.25, 0.5, 0.75), axis=1), rtol=1e-4, atol=1e-6
    )
    np.testing.assert_allclose(found.zeros, (flat == 0).mean(1), atol=1e-6)
    highest = given.amax((2, 3)).numpy()
    assert found.strongest.tolist() == np.argsort(-highest, axis=0)[:5].T.tolist()
    np.testing.assert_allclose(found.peaks, -np.sort(-highest, axis=0)[:5].T, rtol=1e-5)


def test_a_layer_that_nobody_reads_shows_its_own_output():
    graph, model, data = graph_of("resnet20"), untrained("resnet20"), images(4)
    found = channels.activations(model, graph, number(graph, "classifier"), data, torch.arange(4))
    with torch.inference_mode():
        logits = model(data.inputs()).numpy()
    np.testing.assert_allclose(found.quartiles[1], np.median(logits, axis=0), rtol=1e-4, atol=1e-6)
    assert found.strongest.shape == (10, 4)


def test_flattened_and_joined_channels_are_found_in_the_readers_input():
    def forward(self, x):
        y = torch.cat([torch.relu(self.a(x)), torch.relu(self.b(x))], dim=1)
        return self.head(y.flatten(1))

    torch.manual_seed(0)
    model = Written(forward, a=conv(1, 2), b=conv(1, 3), head=nn.Linear(5 * 16, 2)).eval()
    graph = explorer.trace(model, torch.zeros(1, 1, 4, 4))
    data = images(6, (1, 4, 4))
    found = channels.activations(model, graph, number(graph, "b"), data, torch.arange(6))
    given = hooked(model, "head", data.inputs()).reshape(6, 5, 16)[:, 2:]
    np.testing.assert_allclose(found.zeros, (given == 0).float().mean((0, 2)), atol=1e-6)
    seen, own = channels.maps(model, graph, number(graph, "b"), 1, data.inputs())
    assert not own
    np.testing.assert_allclose(seen, given[:, 1].reshape(6, 4, 4).numpy(), rtol=1e-5)


def test_many_positions_are_sampled_near_the_quartiles_of_all():
    torch.manual_seed(0)
    model = Written(lambda m, x: pooled(m.b(m.a(x))), a=conv(1, 3), b=conv(3, 2)).eval()
    graph = explorer.trace(model, torch.zeros(1, 1, 20, 20))
    data = images(40, (1, 20, 20))
    found = channels.activations(model, graph, 0, data, torch.arange(40))
    flat = hooked(model, "b", data.inputs()).transpose(0, 1).flatten(1).numpy()
    exact = np.quantile(flat, (0.25, 0.5, 0.75), axis=1)
    np.testing.assert_allclose(found.quartiles, exact, atol=0.1 * float(flat.std()))


def test_the_sample_is_spread_over_all_images_and_smaller_for_costly_networks():
    data = images(100, (1, 2, 2))
    assert channels.sample(data, 1).tolist() == list(range(100))
    few = channels.sample(data, 10**9).tolist()
    assert len(few) == 20
    assert (few[0], few[-1]) == (0, 99)
    assert max(np.diff(few)) <= 6


def test_no_images_are_refused():
    with pytest.raises(BadInput, match="at least one image"):
        channels.activations(
            untrained("vgg"), graph_of("vgg"), 0, images(3), torch.zeros(0, dtype=torch.int64)
        )


def test_a_check_that_raises_ends_the_work():
    def stop():
        raise InterruptedError

    with pytest.raises(InterruptedError):
        channels.activations(untrained("vgg"), graph_of("vgg"), 0, images(3), torch.arange(3), stop)


def test_maps_are_what_the_reader_is_given_or_the_layers_own_after_global_pooling():
    graph, model, inputs = graph_of("resnet20"), untrained("resnet20"), images(3).inputs()
    seen, own = channels.maps(model, graph, number(graph, "stage1.0.conv1"), 5, inputs)
    assert not own
    np.testing.assert_allclose(seen, hooked(model, "stage1.0.conv2", inputs)[:, 5].numpy(), rtol=1e-5)
    seen, own = channels.maps(model, graph, number(graph, "stage3.2.conv2"), 5, inputs)
    assert own
    np.testing.assert_allclose(
        seen, hooked(model, "stage3.2.conv2", inputs, output=True)[:, 5].numpy(), rtol=1e-5
    )


def test_filters_are_means_over_the_input_channels():
    model, graph = untrained("resnet20"), graph_of("resnet20")
    weight = model.stage2[0].conv1.weight.detach().numpy()
    found = channels.filters(model, graph, number(graph, "stage2.0.conv1"))
    assert found.shape == (32, 3, 3)
    np.testing.assert_allclose(found[7], weight[7].mean(axis=0), rtol=1e-5, atol=1e-7)


def test_filters_of_transposed_and_linear_layers():
    torch.manual_seed(0)
    up, head = nn.ConvTranspose2d(4, 6, 2, 2), nn.Linear(6, 3)
    model = Written(lambda m, x: m.head(pooled(m.up(x))), up=up, head=head).eval()
    graph = explorer.trace(model, torch.zeros(1, 4, 4, 4))
    found = channels.filters(model, graph, 0)
    np.testing.assert_allclose(found[4], up.weight[:, 4].mean(0).detach().numpy(), rtol=1e-5)
    lines = channels.filters(model, graph, 1)
    assert lines.shape == (3, 2, 3)
    np.testing.assert_allclose(lines.reshape(3, 6), head.weight.detach().numpy())
    odd = Written(lambda m, x: m.head(x), head=nn.Linear(5, 1)).eval()
    last = channels.filters(odd, explorer.trace(odd, torch.zeros(1, 5)), 0)
    assert last.shape == (1, 2, 3)
    assert math.isnan(last[0, 1, 2])


def test_filters_of_one_position_show_every_weight():
    model, graph = untrained("resnet20"), graph_of("resnet20")
    weight = model.stage2[0].shortcut[0].weight.detach().numpy()  # 1 x 1, 16 inputs
    found = channels.filters(model, graph, number(graph, "stage2.0.shortcut.0"))
    assert found.shape == (32, 4, 4)
    np.testing.assert_array_equal(found[9].flatten(), weight[9].flatten())


def test_the_model_is_left_as_it_was():
    model, graph = untrained("resnet20"), graph_of("resnet20")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    channels.activations(model, graph, 3, images(2), torch.arange(2))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())
