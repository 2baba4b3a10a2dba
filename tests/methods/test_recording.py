"""Recorded runs: what is written comes back, belongs to its weights only, and is read strictly."""

import json
from collections.abc import Callable
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import explorer
from explorer.chains import Recorded
from explorer.errors import BadInput, ExplorerError
from explorer.methods.recording import read_recorded, read_supernet, write_recorded
from explorer.zoo.network import Network
from tests.evaluate.toys import fingerprint, livened
from tests.methods.toys import recorded_run, small_network

MOST_BYTES = 150_000


@pytest.fixture
def network() -> Network:
    return small_network()


@pytest.fixture
def recorded(network: Network) -> Recorded:
    return recorded_run(network)


@pytest.fixture
def folder(tmp_path: Path, network: Network, recorded: Recorded) -> Path:
    """With the run, and a supernet of other weights."""
    supernet = livened(explorer.recover(network, network.data, bn=False), seed=5)
    write_recorded(tmp_path, recorded, network.weights_key, supernet)
    return tmp_path


def read(network: Network, folder: Path) -> Recorded:
    found = read_recorded(network, explorer.trace(network.model, network.example), folder)
    assert found is not None
    return found


# ---- there and back ---------------------------------------------------------------------------------------


def test_a_run_comes_back(network: Network, recorded: Recorded, folder: Path) -> None:
    found = read(network, folder)
    assert found.command == recorded.command
    for name in ("network", "graph_key", "cost", "target", "of", "warm_up", "settings", "widths", "training"):
        assert getattr(found.run, name) == getattr(recorded.run, name), name
    assert found.run.steps.tolist() == recorded.run.steps.tolist()
    np.testing.assert_allclose(found.run.alphas, recorded.run.alphas, atol=6e-4)
    np.testing.assert_allclose(found.run.shares, recorded.run.shares, atol=6e-6)
    assert set(found.run.losses) == set(recorded.run.losses)
    for name, values in recorded.run.losses.items():  # NaN in the same places
        np.testing.assert_allclose(found.run.losses[name], values, rtol=6e-4)
    for frame in (0, -1):
        for mine, theirs in zip(found.run.at(frame), recorded.run.at(frame), strict=True):
            assert (mine.group, mine.least, mine.step) == (theirs.group, theirs.least, theirs.step)
            assert mine.expected == pytest.approx(theirs.expected, abs=0.01)
    assert [chain.alphas.tolist() for chain in found.run.chains] == [
        chain.alphas.tolist() for chain in found.run.at(0)
    ]


def test_measurements_come_back_with_five_decimals(
    network: Network, recorded: Recorded, folder: Path
) -> None:
    found = read(network, folder)
    assert found.order == (replace(recorded.order[0], accuracy=(0.66667, 0.9)),)
    dmcp, smallest = recorded.comparisons[0].contenders
    expected = replace(recorded.comparisons[0], contenders=(dmcp, replace(smallest, share=0.33333)))
    assert found.comparisons == (expected,)
    assert hash(found.comparisons)  # lists would have come back unhashable


def test_what_was_read_is_written_the_same(network: Network, folder: Path) -> None:
    before = (folder / "small.json").read_bytes()
    write_recorded(folder, read(network, folder), network.weights_key)
    assert (folder / "small.json").read_bytes() == before


def test_the_supernet_comes_back_rounded_to_half_precision(network: Network, tmp_path: Path) -> None:
    supernet = livened(explorer.recover(network, network.data, bn=False), seed=5)
    recorded = recorded_run(network)
    before, global_state = fingerprint(network.model), torch.get_rng_state()
    write_recorded(tmp_path, recorded, network.weights_key, supernet)
    found = read_supernet(network, tmp_path)
    assert found is not None
    assert fingerprint(network.model) == before
    assert torch.equal(torch.get_rng_state(), global_state)
    assert not found.training
    assert all(parameter.requires_grad for parameter in found.parameters())
    for name, parameter in supernet.named_parameters():
        assert torch.equal(found.get_parameter(name), parameter.half().float()), name
    for name, buffer in supernet.named_buffers():
        assert torch.equal(found.get_buffer(name), buffer), name  # batch norm's statistics as they were


def test_without_a_supernet_its_file_stays(network: Network, recorded: Recorded, folder: Path) -> None:
    before = (folder / "small.safetensors").read_bytes()
    write_recorded(folder, replace(recorded, command="other"), network.weights_key)
    assert (folder / "small.safetensors").read_bytes() == before
    assert read(network, folder).command == "other"
    assert sorted(path.name for path in folder.iterdir()) == ["small.json", "small.safetensors"]


# ---- whose run it is --------------------------------------------------------------------------------------


def test_other_weights_have_no_recorded_run(network: Network, folder: Path) -> None:
    graph = explorer.trace(network.model, network.example)
    other = small_network()
    with torch.no_grad():
        other.model.get_parameter("conv1.weight")[0, 0, 0, 0] += 1
    assert read_recorded(other, graph, folder) is None
    assert read_supernet(other, folder) is None


def test_another_graph_has_no_recorded_run(network: Network, folder: Path) -> None:
    larger = explorer.trace(network.model, torch.zeros(1, 1, 12, 12))
    assert read_recorded(network, larger, folder) is None


@pytest.mark.parametrize("name", ["other", "../small", "a/b", ".hidden", ""])
def test_other_names_have_none(name: str, network: Network, folder: Path) -> None:
    renamed = replace(network, name=name)
    assert read_recorded(renamed, explorer.trace(network.model, network.example), folder / "deeper") is None
    assert read_supernet(renamed, folder / "deeper") is None


# ---- what is refused --------------------------------------------------------------------------------------


def changed(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    def apply(path: Path) -> None:
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))

    return apply


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "cut off": (lambda path: path.write_text(path.read_text()[:500]), r"cannot be read \("),
    "no text": (lambda path: path.write_bytes(b"\xff\xfe{}"), "cannot be read"),
    "a list": (lambda path: path.write_text("[]"), "not of format 1"),
    "of another format": (changed(lambda c: c.update(format=2)), "not of format 1"),
    "without comparisons": (changed(lambda c: c.pop("comparisons")), "expected the fields .*comparisons"),
    "with more": (changed(lambda c: c["run"].update(more=1)), "run: expected the fields"),
    "a frame too few": (changed(lambda c: c["run"]["shares"].pop()), "shares is of 12 frames where there are 13"),
    "a state too few": (changed(lambda c: c["run"]["alphas"][4].pop()), "not of the 14 states"),
    "no frame": (changed(lambda c: c["run"].update(steps=[], alphas=[], shares=[], losses={})), "0 frames"),
    "an alpha in words": (changed(lambda c: c["run"]["alphas"][2].append("x")), "alphas: expected a number, found x"),
    "a true share": (changed(lambda c: c["run"].update(target=True)), "target: expected a number"),
    "a share of 2": (changed(lambda c: c["order"][0].update(accuracy=[2, 0])), "accuracy: expected a share"),
    "a cost of seconds": (changed(lambda c: c["run"].update(cost="seconds")), "cost: expected one of macs, params"),
    "half a step": (changed(lambda c: c["run"]["steps"].__setitem__(0, 0.5)), "steps: expected a whole number"),
    "widths in a list": (changed(lambda c: c["run"].update(widths=[])), "widths: expected an object"),
    "a step of 0": (changed(lambda c: c["run"]["chains"][0].__setitem__(3, 0)), "chains: expected .* above 0"),
    "a chain of 3": (changed(lambda c: c["run"]["chains"][0].pop()), "chains: expected a list of 4"),
    "a chain that does not fit": (changed(lambda c: c["run"]["chains"][0].__setitem__(1, 15)), "does not fit|states"),
    "an unknown group": (changed(lambda c: c["run"]["chains"][0].__setitem__(0, "x")), "x has no 16 units"),
    "an unknown contender": (
        changed(lambda c: c["comparisons"][0]["contenders"][0].update(name="best")),
        "comparisons: contenders: name: expected one of dmcp",
    ),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_told_with_where_and_what_to_do(
    damage: str, network: Network, folder: Path
) -> None:
    change, words = DAMAGES[damage]
    change(folder / "small.json")
    with pytest.raises(ExplorerError, match=words) as caught:
        read(network, folder)
    assert "small.json" in str(caught.value)
    assert "python scripts/record_dmcp.py small" in str(caught.value)


def test_a_supernet_of_other_shapes_is_refused(network: Network, recorded: Recorded, folder: Path) -> None:
    write_recorded(folder, recorded, network.weights_key, nn.Sequential(nn.Linear(2, 3)))
    with pytest.raises(ExplorerError, match=r"conv1\.weight has shape None, the network's \(16, 1, 3, 3\)"):
        read_supernet(network, folder)


def test_a_damaged_supernet_is_refused(network: Network, folder: Path) -> None:
    path = folder / "small.safetensors"
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(ExplorerError, match=r"small\.safetensors cannot be read"):
        read_supernet(network, folder)


def test_what_cannot_be_written_leaves_what_was_there(
    network: Network, recorded: Recorded, folder: Path
) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    large = explorer.recover(network, network.data, bn=False)
    with torch.no_grad():
        large.get_parameter("conv1.weight")[0, 0, 0, 0] = 1e5
    with pytest.raises(BadInput, match=r"conv1\.weight of the supernet .* do not fit into torch.float16"):
        write_recorded(folder, recorded, network.weights_key, large)
    named = replace(recorded, run=replace(recorded.run, network="a/b"))
    with pytest.raises(BadInput, match="'a/b' is no name for a file"):
        write_recorded(folder, named, network.weights_key)
    with pytest.raises(ExplorerError, match="could not be written"):
        write_recorded(folder / "small.json", recorded, network.weights_key)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


# ---- what ships -------------------------------------------------------------------------------------------


def test_a_run_of_usual_length_is_small(network: Network, tmp_path: Path) -> None:
    """84 states (resnet20's) in 160 frames, six times the states of the toy."""
    write_recorded(tmp_path, recorded_run(network, 160), network.weights_key)
    size = (tmp_path / "small.json").stat().st_size
    assert size * 6 < MOST_BYTES


def test_what_ships_fits_its_network_and_is_small() -> None:
    """Every recorded run of the package: readable, of the bundled weights, ended, with its supernet."""
    folder = Path(str(files("explorer.methods") / "recorded"))
    for path in sorted(folder.glob("*.json")):
        if path.stem.endswith("-manidp"):  # of instance subnetworks, with a test of its own
            continue
        network = explorer.load(path.stem)
        recorded = read_recorded(network, explorer.trace(network.model, network.example))
        assert recorded is not None, f"{path.name} is not of the bundled weights: record it again"
        assert recorded.run.ended
        assert recorded.command.startswith(f"python scripts/record_dmcp.py {path.stem}")
        assert {curve.when for curve in recorded.order} == {"before", "after"}
        assert recorded.comparisons[0].network == path.stem
        assert path.stat().st_size < MOST_BYTES
        assert read_supernet(network) is not None
