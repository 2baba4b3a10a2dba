"""A dynamic network: what it keeps for each image, and that the others do not matter to it."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

import explorer
from explorer.dynamic import choosing
from explorer.dynamic.evaluating import instances, rows_for, tried
from explorer.dynamic.network import most_active
from explorer.errors import BadInput
from tests.dynamic.toys import MODELS, gated, network_of
from tests.evaluate.toys import fingerprint


def inputs_of(network, count=24):
    return network.data.explore.inputs(slice(0, count))


@pytest.mark.parametrize("kind", MODELS)
def test_saliencies_are_bounded_and_multiply_what_reaches_the_threshold(kind):
    network = network_of(kind)
    dynamic = gated(network)
    with torch.no_grad():
        passed = dynamic.passed(inputs_of(network))
    assert passed.saliency.shape == (24, dynamic.sites.channels)
    assert float(passed.saliency.min()) >= 0
    assert float(passed.saliency.max()) <= 2
    for site, threshold in zip(dynamic.sites.every, dynamic.thresholds().tolist(), strict=True):
        saliency, weights = passed.saliency[:, site.columns], passed.weights[:, site.columns]
        above = saliency >= threshold
        assert torch.equal(weights[above], saliency[above])
        assert not weights[~above].any()
    assert 0 < int(passed.keep.sum()) < passed.keep.numel()


@pytest.mark.parametrize("kind", MODELS)
def test_saliencies_of_one_and_no_threshold_are_the_dense_network(kind):
    network = network_of(kind)
    dynamic = gated(network)
    for head in dynamic.heads:
        nn.init.zeros_(head.excite.weight)
        nn.init.ones_(head.excite.bias)
    dynamic.quantiles.fill_(-torch.inf)
    with torch.no_grad():
        torch.testing.assert_close(dynamic(inputs_of(network)), network.model(inputs_of(network)))


@pytest.mark.parametrize("kind", MODELS)
def test_images_do_not_influence_each_other(kind):
    network = network_of(kind)
    dynamic, inputs = gated(network), inputs_of(network)
    with torch.no_grad():
        together = dynamic(inputs)
        alone = torch.cat([dynamic(inputs[row : row + 1]) for row in range(len(inputs))])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", MODELS)
def test_the_weights_of_a_dropped_channel_matter_only_to_images_that_keep_it(kind):
    network = network_of(kind)
    dynamic, inputs = gated(network), inputs_of(network)
    with torch.no_grad():
        before = dynamic.passed(inputs)
    found = 0
    for site in dynamic.sites.every:
        for channel in range(site.size):
            kept = before.keep[:, site.start + channel]
            if not kept.any() or kept.all():
                continue
            noisy = copy.deepcopy(dynamic)
            with torch.no_grad():
                noisy.model.get_submodule(site.layer).weight[channel] += 1
                after = noisy(inputs)
            torch.testing.assert_close(after[~kept], before.logits[~kept], atol=1e-6, rtol=1e-6)
            found += bool((after[kept] - before.logits[kept]).abs().max() > 1e-5)
    assert found


@pytest.mark.parametrize("kind", ["residual", "inverted"])
def test_nothing_reads_what_an_image_has_dropped(kind):
    """Noise in the columns of the layers that read a channel, for an image that has dropped it."""
    network = network_of(kind)
    dynamic, inputs = gated(network), inputs_of(network)
    with torch.no_grad():
        before = dynamic.passed(inputs)
    checked = 0
    for place, columns in enumerate(dynamic.sites.inputs):
        name = dynamic.graph.layers[place].name
        for position, column in enumerate(columns.tolist()):
            dropped = ~before.keep[:, column] if column >= 0 else torch.zeros(len(inputs), dtype=torch.bool)
            if not dropped.any() or dynamic.graph.layers[place].kind == "depthwise conv":
                continue
            noisy = copy.deepcopy(dynamic)
            with torch.no_grad():
                noisy.model.get_submodule(name).weight[:, position] += 1
                torch.testing.assert_close(
                    noisy(inputs)[dropped], before.logits[dropped], atol=1e-6, rtol=1e-6
                )
            checked += 1
    assert checked


@pytest.mark.parametrize("kind", [*MODELS, "bare"])
def test_the_most_active_channels_are_counted_by_hand(kind):
    network = network_of(kind)
    graph = explorer.trace(network.model, network.example)
    dynamic = most_active(network, graph)
    with torch.no_grad():
        passed = dynamic.passed(inputs_of(network), 0.5)
        dense = dynamic.passed(inputs_of(network), 1.0)
        torch.testing.assert_close(dense.logits, network.model(inputs_of(network)))
    first = dynamic.sites.every[0]
    for row in range(24):
        saliency = dense.saliency[row, first.columns].tolist()
        best = sorted(range(first.size), key=lambda channel: -saliency[channel])[: -(-first.size // 2)]
        assert passed.keep[row, first.columns].nonzero().flatten().tolist() == sorted(best)
    for site in dynamic.sites.every:
        assert (passed.keep[:, site.columns].sum(1) == -(-site.size // 2)).all()
    assert dynamic.module_macs == 0


def test_thresholds_keep_the_share_that_was_asked_for():
    """Of the saliencies that they were taken from, over images and channels, up to one channel; zeros aside."""
    network = network_of("residual")
    dynamic = gated(network)
    with torch.no_grad():
        saliency = dynamic.passed(network.data.train.inputs(), 1.0).saliency
    for level in (0.2, 0.5, 0.85, 1.0):
        keep = dynamic.keep(saliency, level)
        for site in dynamic.sites.every:
            values = saliency[:, site.columns]
            alive = float((values > choosing.LEAST).float().mean())
            share = float(keep[:, site.columns].float().mean())
            assert share == pytest.approx(min(level, alive), abs=1 / site.size)


def test_winners_are_exactly_k_and_ties_give_fewer():
    saliency = torch.tensor([[0.3, 0.9, 0.1, 0.5], [0.0, 0.0, 0.0, 2.0], [1.0, 1.0, 1.0, 1.0]])
    assert choosing.winners(saliency, 0.5).tolist() == [
        [False, True, False, True],
        [False, False, False, True],
        [False, False, False, False],
    ]
    assert choosing.winners(saliency, 1.0).all()
    assert choosing.most_active(saliency, 0.5).sum(1).tolist() == [2, 2, 2]
    assert choosing.kept_of(10, 0.7) == 7  # 0.7 x 10 is 7.000000000000001
    assert choosing.above(torch.tensor([[0.0, 1e-9, 0.2]]), 0.0).tolist() == [[False, False, True]]


@pytest.mark.parametrize("kind", MODELS)
def test_folded_it_answers_the_same(kind):
    network = network_of(kind)
    dynamic = gated(network)
    with torch.no_grad():
        ours, theirs = dynamic.passed(inputs_of(network)), dynamic.folded().passed(inputs_of(network))
    torch.testing.assert_close(ours.logits, theirs.logits, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(ours.features, theirs.features, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    "make", [gated, lambda network: most_active(network, explorer.trace(network.model, network.example))]
)
def test_instances_are_what_single_passes_say(make):
    network = network_of("residual")
    dynamic, explore = make(network), network.data.explore
    rows = rows_for(dynamic, explore)
    before = fingerprint(network.model)
    *_, (estimate, found) = instances(dynamic, explore, rows, 0.6)
    assert fingerprint(network.model) == before
    assert found is not None
    assert (estimate.seen, estimate.of, estimate.correct) == (40, 40, int(found.right.sum()))
    with torch.no_grad():
        passed = dynamic.passed(explore.inputs(), 0.6)
    np.testing.assert_array_equal(found.keep, passed.keep.numpy())
    np.testing.assert_allclose(found.saliency, passed.saliency.numpy(), atol=1e-5)
    np.testing.assert_array_equal(found.predicted, passed.logits.argmax(1).numpy())
    losses = nn.functional.cross_entropy(passed.logits, explore.labels, reduction="none")
    np.testing.assert_allclose(found.losses, losses.numpy(), atol=1e-4)
    assert found.dense_macs == explorer.cost(dynamic.graph).macs
    again = tried(found, dynamic, 0.6)
    np.testing.assert_array_equal(again.keep, found.keep)
    np.testing.assert_array_equal(again.macs, found.macs)
    assert again.trial
    fewer = tried(found, dynamic, 0.3)
    assert (fewer.keep <= found.keep).all()
    assert fewer.mean_share < found.mean_share


def test_batches_of_large_images_are_as_small_as_memory_asks_for(monkeypatch):
    network = network_of("residual")
    dynamic, explore = gated(network), network.data.explore
    *_, (_, found) = instances(dynamic, explore, np.arange(40))
    monkeypatch.setattr("explorer.data.batches.SMALL", 0)
    largest = 6 * 36 + 6 * 6 * 9 + 6 + 6 * 36  # what a convolution of the first block is given and returns
    monkeypatch.setattr("explorer.data.batches.BUDGET", 3 * 2 * 4 * largest)
    steps = list(instances(dynamic, explore, np.arange(40)))
    assert len(steps) == 14  # 40 images, 3 at once
    np.testing.assert_array_equal(steps[-1][1].keep, found.keep)


def test_images_without_labels_are_held_against_the_dense_network():
    network = network_of("residual")
    dynamic = gated(network)
    pixels = explorer.Images(network.data.explore.pixels, None, network.data.explore.normalize)
    *_, (estimate, found) = instances(dynamic, pixels, rows_for(dynamic, pixels))
    with torch.no_grad():
        dense = network.model(pixels.inputs()).argmax(1).numpy()
    np.testing.assert_array_equal(found.labels, dense)
    assert estimate.counts == "agreement"
    assert estimate.divergence > 0


def test_what_cannot_be_evaluated_is_refused_in_words():
    network = network_of("chain")
    dynamic = gated(network)
    rows = rows_for(dynamic, network.data.explore)
    for level in (0, 1.5, "half", True, float("nan")):
        with pytest.raises(BadInput, match="share of the channels above 0"):
            next(instances(dynamic, network.data.explore, rows, level))
    wide = explorer.Images(
        torch.zeros(4, 3, 6, 6), torch.zeros(4, dtype=torch.int64), network.data.explore.normalize
    )
    with pytest.raises(BadInput, match=r"inputs of shape \(3, 6, 6\)"):
        next(instances(dynamic, wide, np.arange(4)))
    with torch.no_grad():
        dynamic.model.get_submodule("three.0").weight.fill_(torch.nan)
    with pytest.raises(BadInput, match=r"not finite.*NaN"):
        next(instances(dynamic, network.data.explore, rows))


def test_images_of_another_size_run_where_the_network_takes_them():
    network = network_of("residual")
    dynamic = gated(network)
    with torch.no_grad():
        assert dynamic(torch.randn(2, 1, 9, 7)).shape == (2, 4)


def test_an_image_that_keeps_no_channel_of_a_layer_is_told():
    network = network_of("residual")
    dynamic = gated(network)
    first = dynamic.sites.every[0]
    nn.init.zeros_(dynamic.heads[0].excite.weight)
    nn.init.zeros_(dynamic.heads[0].excite.bias)
    *_, (_estimate, found) = instances(dynamic, network.data.explore, rows_for(dynamic, network.data.explore))
    assert found.emptied()[first.layer] == 40
    assert np.isfinite(found.losses).all()
