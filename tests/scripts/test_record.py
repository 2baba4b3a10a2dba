"""The command that records a run of any method: what it trains, keeps, resumes, merges and refuses."""

import json
from pathlib import Path

import pytest
import torch

import explorer
from explorer.methods.measuring import Measuring
from explorer.methods.recording import read_network, read_recorded
from scripts import record, unbalanced
from tests.methods.toys import small_network

SETTINGS = {
    "dmcp": ["--set", "warm_up=0", "--set", "epochs=2", "--set", "batch=16", "--set", "target=0.5"],
    "slimming": ["--set", "epochs=2", "--set", "fine_tune=1", "--set", "batch=16"],
}


@pytest.fixture(autouse=True)
def toys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Toys in the place of networks."""
    monkeypatch.setattr(record, "_network", lambda name, _quick: small_network(name))


def made(tmp_path: Path, method: str, *more: str, network: str = "resnet20") -> None:
    folders = ["--work", str(tmp_path / "work"), "--folder", str(tmp_path / "out")]
    record.main([method, network, *SETTINGS[method], "--seeds", "2", *folders, *more])


def read(tmp_path: Path, method: str):  # type: ignore[no-untyped-def]
    network = small_network("resnet20")
    return read_recorded(network, explorer.trace(network.model, network.example), method, tmp_path / "out")


@pytest.mark.parametrize("method", SETTINGS)
def test_what_is_recorded_is_read_again_and_nothing_is_trained_twice(
    method: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made(tmp_path, method)
    found = read(tmp_path, method)
    assert found.run.ended
    assert found.run.method == method
    assert found.command.startswith(f"python -m scripts.record {method} resnet20 --set ")
    network = small_network("resnet20")
    graph = explorer.trace(network.model, network.example)
    assert read_network(network, graph, method, tmp_path / "out") is not None
    capsys.readouterr()
    made(tmp_path, method)
    assert "step" not in capsys.readouterr().out
    assert read(tmp_path, method).evidence == found.evidence


def test_contenders_have_the_same_cost_and_an_accuracy_for_every_seed(tmp_path: Path) -> None:
    made(tmp_path, "slimming")
    evidence = read(tmp_path, "slimming").evidence
    assert [each.name for each in evidence.contenders] == ["slimming", "one_shot", "uniform"]
    assert (evidence.before, evidence.after, evidence.seeds) == (2, 1, (0, 1))
    own = evidence.contenders[0]
    for each in evidence.contenders:
        assert len(each.accuracies) == 2
        assert each.shares == pytest.approx(own.shares, abs=0.05)


def test_an_interrupted_recording_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(tmp_path / "whole", "slimming")

    def interrupt(event: object) -> None:
        if event.step == 12:  # type: ignore[attr-defined]
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(record, "say", interrupt)
        with pytest.raises(SystemExit, match="goes on from where it was"):
            made(tmp_path, "slimming")
    begun: list[int] = []
    search = record.search

    def noted(*arguments: object, **settings: object) -> object:
        begun.append(len(list(Path(str(arguments[3])).parent.glob("search.pt"))))
        return search(*arguments, **settings)  # type: ignore[arg-type]

    monkeypatch.setattr(record, "search", noted)
    made(tmp_path, "slimming")
    assert begun == [1, 0], "the first goes on from its snapshot"
    assert read(tmp_path, "slimming").evidence == read(tmp_path / "whole", "slimming").evidence


def test_a_comparison_is_added_to_another_networks_run(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no recorded run of resnet20"):
        made(tmp_path, "dmcp", "--add-to", "resnet20", network="residual-64-32-16")
    made(tmp_path, "dmcp")
    first = read(tmp_path, "dmcp")
    made(tmp_path, "dmcp", "--add-to", "resnet20", network="residual-64-32-16")
    both = read(tmp_path, "dmcp")
    assert both.evidence.comparisons[0] == first.evidence.comparisons[0]
    assert [each.network for each in both.evidence.comparisons] == ["resnet20", "residual-64-32-16"]
    assert len(both.command.splitlines()) == 2


def test_accuracies_are_remembered_in_a_file(tmp_path: Path) -> None:
    measuring = Measuring(None, None, None, (0,), tmp_path, None)  # type: ignore[arg-type]
    measuring.remembered["a"] = 0.5
    assert json.loads((tmp_path / "accuracies.json").read_text()) == {"a": 0.5}
    assert measuring.remembered["a"] == 0.5


@pytest.mark.parametrize(
    ("words", "said"),
    [("speed=3", "'speed' is none of the settings of dmcp"), ("epochs=x", "no value of epochs")],
)
def test_wrong_settings_are_refused(words: str, said: str) -> None:
    with pytest.raises(SystemExit, match=said):
        record.main(["dmcp", "resnet20", "--set", words])


@pytest.mark.parametrize(
    ("name", "share"), [("residual-16-32-64", 0.4), ("residual-32-32-32", 0.7), ("residual-64-32-16", 0.9)]
)
def test_unbalanced_networks_spend_where_they_say(name: str, share: float) -> None:
    """Share of the MACs that the stem and the first stage have, at least (the balanced one: at most)."""
    state = torch.get_rng_state()
    network, twin = unbalanced.load(name), unbalanced.load(name)
    assert torch.equal(torch.get_rng_state(), state)
    assert network.weights_key == twin.weights_key
    assert (network.name, network.trained) == (name, False)
    graph = explorer.trace(network.model, network.example)
    cost = explorer.cost(graph)
    early = sum(
        macs
        for layer, macs in zip(graph.layers, cost.layer_macs, strict=True)
        if layer.name.startswith(("stem", "stage1"))
    )
    assert (early / cost.macs > share) == (name != "residual-16-32-64")
