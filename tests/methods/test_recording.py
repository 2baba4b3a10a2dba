"""Recorded runs of every method: there and back, for whose weights, and what is said of a file that is damaged."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

import explorer
from explorer.errors import BadInput, ExplorerError
from explorer.instances import InstanceEvidence, Rival, agreement, cosines
from explorer.methods import METHODS, codec, search
from explorer.methods.effects import SIMILAR_IMAGES, as_stored, effect_of
from explorer.methods.evidence import Contender, WidthsEvidence
from explorer.methods.recording import read_network, read_recorded, write_recorded
from explorer.runs import Recorded
from tests.dynamic.toys import network_of
from tests.evaluate.toys import fingerprint
from tests.methods.searches import SETTINGS
from tests.methods.toys import recorded_run, small_network

PLACE = Path(str(files("explorer.methods") / "recorded"))


@pytest.fixture(scope="module", params=METHODS)
def made(request):
    """A network, its graph, what a method came to and that as recorded, with evidence that the method has."""
    method = request.param
    network = network_of("residual")
    found = search(network, method, **SETTINGS[method])
    evidence: Any = None
    if method == "manidp":
        effect = effect_of(
            "whole", explorer.subnetworks(network, as_stored(found.network)), {"level": 0.5}, 0
        )
        evidence = InstanceEvidence((effect,), (Rival("dense", 1.0, 0.5, 40),))
    elif method == "slimming":
        evidence = WidthsEvidence(40, 2, 1, (0, 1), (Contender("slimming", (0.4, 0.4), (0.7, 0.8)),))
    elif method == "dmcp":
        evidence = recorded_run(small_network()).evidence
    graph = explorer.trace(network.model, network.example)
    run = replace(found.run, network=network.name)
    return network, graph, found, Recorded(run, evidence, "a command")


def written(made, folder):
    network, _graph, found, recorded = made
    return write_recorded(folder, recorded, network.weights_key, found.network)


def same(one: Any, other: Any) -> None:
    """Equal as the codec sees them: JSON and every array, NaN where there is NaN."""
    ours, theirs = {}, {}
    assert codec.encode(one, ours) == codec.encode(other, theirs)
    assert set(ours) == set(theirs)
    for name, values in ours.items():
        np.testing.assert_array_equal(values, theirs[name])
        assert values.dtype == theirs[name].dtype, name


def test_what_is_read_is_what_was_written(made, tmp_path):
    network, graph, found, recorded = made
    before, state = fingerprint(network.model), torch.random.get_rng_state()
    written(made, tmp_path)
    method = recorded.run.method
    read = read_recorded(network, graph, method, tmp_path)
    assert type(read.run) is METHODS[method].run
    assert read.run.ended
    same(read, recorded)
    back = read_network(network, graph, method, tmp_path)
    assert not back.training
    for name, parameter in found.network.named_parameters():
        torch.testing.assert_close(
            back.get_parameter(name), parameter.half().to(parameter.dtype), rtol=0, atol=0
        )
    for name, buffer in found.network.named_buffers():
        torch.testing.assert_close(back.get_buffer(name), buffer, rtol=0, atol=0, equal_nan=True)
    plan = METHODS[method].plan(graph, read.run, back)
    assert plan == found.plan
    assert fingerprint(network.model) == before
    assert torch.equal(torch.random.get_rng_state(), state)
    write_recorded(tmp_path / "again", read, network.weights_key, back)
    same(read_recorded(network, graph, method, tmp_path / "again"), read)


def test_other_weights_another_graph_and_another_name_have_none(made, tmp_path):
    network, graph, _found, recorded = made
    written(made, tmp_path)
    method = recorded.run.method
    other = explorer.load(network.model, data=network.data)
    with torch.no_grad():
        other.model.classifier.bias.add_(1)
    larger = explorer.trace(network.model, torch.cat([network.example] * 2, dim=2))
    asked = [(other, graph), (network, larger), (replace(network, name="../x"), graph)]
    for each, its in [*asked, (replace(network, name=""), graph), (replace(network, name="other"), graph)]:
        assert read_recorded(each, its, method, tmp_path) is None
        assert read_network(each, its, method, tmp_path) is None
    assert read_recorded(network, graph, method, tmp_path / "nothing") is None
    with pytest.raises(explorer.UnknownName, match="dmcpp"):
        read_recorded(network, graph, "dmcpp")


def changed(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    """Does something to the JSON in a file."""

    def apply(path: Path) -> None:
        with safe_open(path, framework="pt") as stored:
            marks = dict(stored.metadata())
        content = json.loads(marks["content"])
        change(content)
        save_file(load_file(path), path, {**marks, "content": json.dumps(content)})

    return apply


def without(name: str) -> Callable[[Path], object]:
    """Takes a tensor out of a file."""

    def apply(path: Path) -> None:
        with safe_open(path, framework="pt") as stored:
            marks = stored.metadata()
        tensors = load_file(path)
        del tensors[name]
        save_file(tensors, path, marks)

    return apply


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "cut off": (lambda path: path.write_bytes(path.read_bytes()[:500]), "cannot be read"),
    "no file of tensors": (lambda path: path.write_bytes(b"\xff\xfe{}"), "cannot be read"),
    "without evidence": (changed(lambda c: c.pop("evidence")), "evidence"),
    "with more": (changed(lambda c: c["run"].update(more=1)), "run: expected the fields"),
    "an array less": (without("value.run.steps"), r"run\.steps: expected an array"),
    "a frame too few": (
        changed(lambda c: c["run"]["losses"].update(task={"array": "value.run.short"})),
        "array",
    ),
    "steps in words": (changed(lambda c: c["run"].update(of="x")), r"run\.of: expected int, found x"),
    "a true number": (changed(lambda c: c["run"].update(of=True)), r"run\.of: expected int, found True"),
    "widths in a list": (changed(lambda c: c["run"].update(widths=[])), r"run\.widths: expected an object"),
    "a command of nothing": (changed(lambda c: c.update(command=None)), "command: expected str"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_told_with_where_and_what_to_do(damage, made, tmp_path):
    network, graph, _found, recorded = made
    change, words = DAMAGES[damage]
    path = written(made, tmp_path)
    change(path)
    method = recorded.run.method
    for read in (read_recorded, read_network):
        with pytest.raises(ExplorerError, match=words) as caught:
            read(network, graph, method, tmp_path)
        assert path.name in str(caught.value)
        assert f"python -m scripts.record {method} {network.name}" in str(caught.value)


def test_series_of_another_length_are_no_run(made):
    run = made[3].run
    with pytest.raises(ValueError, match="frames"):
        replace(run, steps=run.steps[:-1])


def test_a_network_of_other_shapes_is_refused(made, tmp_path):
    network, graph, _found, recorded = made
    write_recorded(tmp_path, recorded, network.weights_key, nn.Sequential(nn.Linear(2, 3)))
    with pytest.raises(ExplorerError, match="has shape None"):
        read_network(network, graph, recorded.run.method, tmp_path)


def test_what_cannot_be_written_leaves_what_was_there(made, tmp_path):
    network, _graph, found, recorded = made
    path = written(made, tmp_path)
    before = path.read_bytes()
    with torch.no_grad():
        large = read_network(network, made[1], recorded.run.method, tmp_path)
        next(iter(large.parameters())).flatten()[0] = 1e5
    with pytest.raises(BadInput, match=r"do not fit into torch.float16"):
        write_recorded(tmp_path, recorded, network.weights_key, large)
    named = replace(recorded, run=replace(recorded.run, network="a/b"))
    with pytest.raises(BadInput, match="'a/b' is no name for a file"):
        write_recorded(tmp_path, named, network.weights_key, found.network)
    with pytest.raises(ExplorerError, match="could not be written"):
        write_recorded(path, recorded, network.weights_key, found.network)
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
    assert path.read_bytes() == before


# ---- the codec --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Inner:
    name: str
    values: tuple[float, ...]
    pair: tuple[str, int]


@dataclass(frozen=True)
class Outer:
    inner: tuple[Inner, ...]
    table: dict[str, bool]
    array: np.ndarray[Any, np.dtype[np.float32]]
    perhaps: float | None


def test_a_value_by_hand():
    value = Outer((Inner("a", (0.5, float("nan")), ("b", 3)),), {"x": True}, np.ones(2, np.float32), None)
    arrays: dict[str, Any] = {}
    content = codec.encode(value, arrays)
    assert content == {
        "inner": [{"name": "a", "values": [0.5, None], "pair": ["b", 3]}],
        "table": {"x": True},
        "array": {"array": "value.array"},
        "perhaps": None,
    }
    back = codec.decode(Outer, json.loads(json.dumps(content)), arrays)
    assert back.inner[0].pair == ("b", 3)
    assert np.isnan(back.inner[0].values[1])
    assert back.array is arrays["value.array"]


# ---- what is measured, and what ships ---------------------------------------------------------------------


def test_an_effect_is_what_its_images_say():
    network = network_of("residual")
    found = search(network, "manidp", epochs=2, batch=16)
    seen = explorer.subnetworks(network, found.network)
    effect = effect_of("whole", seen, found.run.settings, 0)
    assert effect.mean_share == pytest.approx(seen.mean_share)
    assert effect.accuracy == seen.accuracy
    assert effect.by_quintile == pytest.approx(seen.by_quintile)
    first = seen.sites.every[0].columns
    r, t = cosines(seen.features[:, first]), cosines(seen.saliency[:, first])
    assert effect.agreements[0] == pytest.approx(agreement(r, t), nan_ok=True)
    assert len(seen) <= SIMILAR_IMAGES


@pytest.mark.parametrize("path", sorted(PLACE.glob("*.safetensors")), ids=lambda path: path.stem)
def test_what_ships_fits_its_network_and_is_small(path):
    name, method = path.stem.rsplit("-", 1)
    network = explorer.load(name)
    graph = explorer.trace(network.model, network.example)
    recorded = read_recorded(network, graph, method)
    assert recorded is not None, f"{path.name} is not of the bundled weights: record it again"
    assert recorded.run.ended
    assert recorded.evidence is not None
    assert read_network(network, graph, method) is not None
    assert path.stat().st_size < 1_200_000


@pytest.fixture(scope="module")
def shipped():
    network = explorer.load("resnet20")
    graph = explorer.trace(network.model, network.example)
    evidence = read_recorded(network, graph, "manidp").evidence
    return network, evidence, read_network(network, graph, "manidp")


def test_the_shipped_network_answers_as_recorded(shipped):
    network, evidence, dynamic = shipped
    seen = explorer.subnetworks(network, dynamic)
    whole = evidence.effects[0]
    assert whole.name == "whole"
    assert len(seen) == 2000
    # Other processors round otherwise: a saliency on its threshold may fall on the other side.
    assert (np.abs(seen.shares - whole.macs) > 1e-3).mean() < 0.02
    assert (seen.right != whole.right).mean() < 0.005


def test_recorded_terms_show_what_they_are_there_for(shipped):
    """The bounds of a run that is sound, and each term's own sign."""
    effects = {effect.name: effect for effect in shipped[1].effects}
    rivals = {rival.name: rival for rival in shipped[1].rivals}
    whole = effects["whole"]
    assert whole.correlation > 0.3
    assert whole.mean_share < 0.65
    assert rivals["longer"].accuracy - whole.accuracy < 0.015  # trained as long: that alone costs some
    assert whole.macs[~whole.right].mean() > whole.macs[whole.right].mean()
    assert effects["strong_similarity"].agreement - effects["no_similarity"].agreement > 0.15
    assert effects["no_sparsity"].mean_share > whole.mean_share
    assert len(set(effects["fbs"].macs.tolist())) == 1
