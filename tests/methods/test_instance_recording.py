"""A trained dynamic network and what was measured of it, written and read back; damaged files; the one that ships."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import explorer
from explorer.dynamic.network import Dynamic
from explorer.errors import ExplorerError
from explorer.instances import RecordedInstances, Rival, agreement, cosines
from explorer.methods import search
from explorer.methods.instance_recording import (
    SIMILAR_IMAGES,
    as_stored,
    effect_of,
    read_recorded_dynamic,
    read_recorded_instances,
    write_recorded_instances,
)
from tests.dynamic.toys import network_of


@pytest.fixture(scope="module")
def trained():
    network = network_of("residual")
    found = search(network, "manidp", epochs=2, batch=16)
    seen = explorer.subnetworks(network, as_stored(found.network))
    effect = effect_of("whole", seen, found.run.settings, 0, "a command")
    recorded = RecordedInstances(found.run, (effect,), (Rival("dense", 1.0, 0.5, 40),), "all")
    return network, explorer.trace(network.model, network.example), found, recorded


def written(trained, folder):
    network, graph, found, recorded = trained
    recorded = replace(recorded, run=replace(recorded.run, network=network.name))
    write_recorded_instances(folder, recorded, network.weights_key, found.network)
    return network, graph, recorded


def test_what_is_read_is_what_was_written(trained, tmp_path):
    network, graph, recorded = written(trained, tmp_path)
    read = read_recorded_instances(network, graph, tmp_path)
    ours, theirs = read.effects[0], recorded.effects[0]
    for name in ("macs", "losses", "right"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))
    assert ours.agreements == pytest.approx(theirs.agreements, rel=1e-4, nan_ok=True)
    assert (ours.name, dict(ours.settings), ours.command) == (
        theirs.name,
        dict(theirs.settings),
        theirs.command,
    )
    assert read.rivals == recorded.rivals
    np.testing.assert_array_equal(read.run.steps, recorded.run.steps)
    np.testing.assert_allclose(read.run.shares, recorded.run.shares, rtol=1e-4)
    assert np.isnan(read.run.shares[0])
    assert read.run.ended
    dynamic = read_recorded_dynamic(network, graph, tmp_path)
    for name, tensor in trained[2].network.state_dict().items():
        torch.testing.assert_close(dynamic.state_dict()[name], tensor, rtol=0, atol=0)
    inputs = network.data.explore.inputs()
    with torch.no_grad():
        torch.testing.assert_close(dynamic(inputs), trained[2].network(inputs), rtol=0, atol=0)


def test_an_effect_is_what_its_images_say(trained):
    network, _graph, found, recorded = trained
    seen, effect = explorer.subnetworks(network, found.network), recorded.effects[0]
    assert effect.mean_share == pytest.approx(seen.mean_share)
    assert effect.accuracy == seen.accuracy
    assert effect.by_quintile == pytest.approx(seen.by_quintile)
    first = seen.sites.every[0].columns
    r, t = cosines(seen.features[:, first]), cosines(seen.saliency[:, first])
    assert effect.agreements[0] == pytest.approx(agreement(r, t), nan_ok=True)
    assert len(seen) <= SIMILAR_IMAGES


def test_other_weights_have_no_recorded_run(trained, tmp_path):
    network, graph, _recorded = written(trained, tmp_path)
    other = explorer.load(network.model, data=network.data)
    with torch.no_grad():
        other.model.classifier.bias.add_(1)
    assert read_recorded_instances(other, graph, tmp_path) is None
    assert read_recorded_dynamic(other, graph, tmp_path) is None
    assert read_recorded_instances(network, graph, tmp_path / "nothing") is None


@pytest.mark.parametrize("ending", ["json", "safetensors"])
def test_a_damaged_file_says_what_to_do(trained, tmp_path, ending):
    network, graph, recorded = written(trained, tmp_path)
    file = tmp_path / f"{recorded.run.network}-manidp.{ending}"
    file.write_bytes(file.read_bytes()[:50])
    with pytest.raises(ExplorerError, match=r"cannot be read .*record_manidp"):
        read_recorded_instances(network, graph, tmp_path)
    with pytest.raises(ExplorerError, match=r"cannot be read .*record_manidp"):
        read_recorded_dynamic(network, graph, tmp_path)


def test_a_failed_write_leaves_the_former_files(trained, tmp_path):
    network, graph, recorded = written(trained, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with torch.no_grad():
        bad = as_stored(search(network, "manidp", epochs=1, batch=16).network)
        bad.heads[0].excite.bias.fill_(1e9)
    with pytest.raises(ExplorerError, match="float16"):
        write_recorded_instances(tmp_path, recorded, network.weights_key, bad)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert read_recorded_instances(network, graph, tmp_path) is not None


# ---- the one that ships -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shipped():
    network = explorer.load("resnet20")
    graph = explorer.trace(network.model, network.example)
    return network, graph, read_recorded_instances(network, graph), read_recorded_dynamic(network, graph)


def test_the_shipped_network_answers_as_recorded(shipped):
    network, _graph, recorded, dynamic = shipped
    assert isinstance(dynamic, Dynamic)
    seen = explorer.subnetworks(network, dynamic)
    whole = recorded.effects[0]
    assert whole.name == "whole"
    assert len(seen) == 2000
    # Other processors round otherwise: a saliency on its threshold may fall on the other side.
    assert (np.abs(seen.shares - whole.macs) > 1e-3).mean() < 0.02
    assert (seen.right != whole.right).mean() < 0.005


def test_recorded_terms_show_what_they_are_there_for(shipped):
    """The bounds of a run that is sound, and each term's own sign."""
    effects = {effect.name: effect for effect in shipped[2].effects}
    rivals = {rival.name: rival for rival in shipped[2].rivals}
    whole = effects["whole"]
    assert whole.correlation > 0.3
    assert whole.mean_share < 0.65
    assert rivals["longer"].accuracy - whole.accuracy < 0.015  # trained as long: that alone costs some
    assert whole.macs[~whole.right].mean() > whole.macs[whole.right].mean()
    assert effects["strong_similarity"].agreement - effects["no_similarity"].agreement > 0.15
    assert effects["no_sparsity"].mean_share > whole.mean_share
    assert len(set(effects["fbs"].macs.tolist())) == 1
