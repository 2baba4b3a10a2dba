"""FBS: begins with the network's own answers, keeps exactly k channels, and suppresses the others wholly."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

import explorer
from explorer.dynamic.counting import macs
from explorer.dynamic.evaluating import instances, rows_for
from explorer.dynamic.sites import attached, find_sites
from explorer.methods import METHODS, search
from explorer.methods.fbs import without_affine
from tests.dynamic.toys import MODELS, network_of

QUICK = {"epochs": 2, "batch": 16, "density": 0.5, "rate": 0.02}


def begun(network, **settings):
    graph = explorer.trace(network.model, network.example)
    subject = type("Subject", (), {"network": network, "graph": graph, "images": network.data.train})()
    return METHODS["fbs"].begin(subject, METHODS["fbs"].settings(batch=16, **settings))._dynamic.eval()


@pytest.mark.parametrize("kind", MODELS)
def test_without_predictions_of_its_own_it_is_the_dense_network(kind):
    """Scales of batch norm become what is predicted for zeros, negative ones too (by turning the filter)."""
    network = network_of(kind)
    for module in network.model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data[::2] *= -1
    dynamic = begun(network)
    for head in dynamic.heads:
        nn.init.zeros_(head.linear.weight)
    inputs = network.data.explore.inputs()
    with torch.no_grad():
        torch.testing.assert_close(
            dynamic.passed(inputs, 1.0).logits, network.model(inputs), atol=1e-4, rtol=1e-4
        )


def test_scales_and_shifts_are_taken_out_of_batch_norm():
    network = network_of("chain")
    graph = explorer.trace(network.model, network.example)
    sites = find_sites(network.model, graph, network.example, normed=True)
    plain, scales, shifts = without_affine(network.model, sites.every)
    for site, scale, shift in zip(sites.every, scales, shifts, strict=True):
        norm, theirs = plain.get_submodule(site.norm), network.model.get_submodule(site.norm)
        assert (norm.weight == 1).all()
        assert (norm.bias == 0).all()
        assert not norm.weight.requires_grad
        torch.testing.assert_close(scale, theirs.weight.abs())
        torch.testing.assert_close(shift, theirs.bias)


def test_exactly_k_channels_stay_and_the_others_are_zero_with_their_shifts():
    network = network_of("residual")
    found = search(network, "fbs", **QUICK)
    dynamic, outputs = found.network, {}

    inputs = network.data.explore.inputs()
    with torch.no_grad():
        passed = dynamic.passed(inputs)
        again = copy.deepcopy(dynamic)
        hooks = [
            again.model.get_submodule(site.norm).register_forward_hook(
                lambda _m, _i, y, name=site.layer: outputs.setdefault(name, []).append(y)
            )
            for site in again.sites.every
        ]
        # Hooks of ours run before those that weight, so they see what enters the weighting.
        again.passed(inputs)
        for hook in hooks:
            hook.remove()
    for k, site in enumerate(dynamic.sites.every):
        keep = passed.keep[:, site.columns]
        assert (keep.sum(1) == -(-site.size // 2)).all()
        (before,) = outputs[site.layer]
        after = before * passed.weights[:, site.columns, None, None]
        after = after + (dynamic.shifts[k] * keep)[:, :, None, None]
        assert not after[~keep].any()
        assert after[keep].any()


def test_suppressed_channels_reach_their_readers_as_zeros():
    network = network_of("residual")
    dynamic = search(network, "fbs", **QUICK).network
    inputs, seen = network.data.explore.inputs(), {}
    with torch.no_grad():
        passed = dynamic.passed(inputs)
        hook = dynamic.model.one.b[0].register_forward_pre_hook(
            lambda _m, args: seen.setdefault("x", args[0])
        )
        dynamic.passed(inputs)
        hook.remove()
    keep = passed.keep[:, dynamic.sites.every[0].columns]
    assert not seen["x"][~keep].any()


def test_macs_are_the_same_for_all_images_and_quadratic_inside_a_block():
    network = network_of("residual")
    dynamic = search(network, "fbs", **QUICK).network
    explore = network.data.explore
    *_, (_estimate, found) = instances(dynamic, explore, rows_for(dynamic, explore))
    assert len(set(found.macs.tolist())) == 1
    full = np.ones((1, dynamic.sites.channels), dtype=bool)
    assert found.dense_macs == macs(dynamic.graph, dynamic.sites, full)[0]
    layers = {layer.name: layer for layer in dynamic.graph.layers}
    spatial = {name: int(np.prod(layers[name].out_shape[1:])) for name in layers}
    saved = sum(
        9 * spatial[f"{block}.{conv}.0"] * (inputs * outputs - kept_in * -(-outputs // 2))
        for block, conv, inputs, outputs, kept_in in (
            ("one", "a", 6, 6, 6), ("one", "b", 6, 6, 3), ("two", "a", 6, 8, 6), ("two", "b", 8, 8, 4)
        )
    )  # fmt: skip
    assert found.macs[0] == found.dense_macs - saved + dynamic.module_macs


def test_hooks_are_gone_after_an_exception():
    network = network_of("residual")
    dynamic = begun(network)
    with pytest.raises(explorer.errors.BadInput, match="cannot take inputs"):
        dynamic(torch.zeros(2, 3, 6, 6))
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in dynamic.model.modules())
    with (
        pytest.raises(RuntimeError),
        attached(dynamic.model, dynamic.sites.every, lambda k, x: None, lambda k, y: y),
    ):
        raise RuntimeError
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in dynamic.model.modules())
