"""The command that records a run: its parts on toys; what it merges and resumes."""

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
import torch

import explorer
from explorer.chains import Comparison, Contender, Recorded
from explorer.methods.recording import read_recorded, read_supernet
from explorer.methods.road import Found
from explorer.zoo.network import Network
from tests.methods.toys import ended_run, small_network

SCRIPTS = Path(__file__).parents[2] / "scripts"
ADDED = ["residual-64-32-16", "--target", "0.2", "--add-comparison-to", "resnet20"]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The script as a module, with toys in the place of networks; every search comes to the same structure, which
    is not the uniform one."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    module = import_module("record_dmcp")
    search = module.search

    def searched(*arguments: object, **settings: object) -> Found:
        found = search(*arguments, **settings)
        return replace(found, run=replace(found.run, widths={"conv1": 7, "conv2": 22}))

    monkeypatch.setattr(module, "search", searched)
    monkeypatch.setattr(module, "order_curves", partial(module.order_curves, shares=(0.5, 1.0)))
    monkeypatch.setattr(module, "_network", lambda name, quick: small_network(name))
    yield module
    for name in ("record_dmcp", "unbalanced", "fashion_mnist"):
        sys.modules.pop(name, None)


def options(tmp_path: Path, *more: str) -> list[str]:
    search = ["--set", "warm_up=0", "--set", "epochs=2", "--set", "batch=16"]
    training = ["--seeds", "2", "--retrain-epochs", "1"]
    return [*search, *training, "--work", str(tmp_path / "work"), "--folder", str(tmp_path / "out"), *more]


def read(tmp_path: Path, network: Network) -> Recorded:
    found = read_recorded(network, explorer.trace(network.model, network.example), tmp_path / "out")
    assert found is not None
    return found


def test_record_then_add_then_record_again(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script.main(["resnet20", "--target", "0.5", *options(tmp_path)])
    said = capsys.readouterr().out
    assert said.count("training ") == 4 + 1  # two structures, two seeds; and the table's line on the search
    network = small_network("resnet20")
    first = read(tmp_path, network)
    assert first.run.ended
    assert first.run.target == 0.5
    assert len(first.order) == 6
    assert [len(each.retrained) for each in first.comparisons[0].contenders] == [2, 2, 0, 0]
    assert read_supernet(network, tmp_path / "out") is not None
    assert first.command == (
        "python scripts/record_dmcp.py resnet20 --target 0.5 --set warm_up=0 --set epochs=2 --set batch=16 "
        "--seeds 2 --retrain-epochs 1 --retrain-start scratch"
    )
    supernet = (tmp_path / "out" / "resnet20.safetensors").read_bytes()

    script.main([*ADDED, *options(tmp_path)])
    both = read(tmp_path, network)
    assert [each.network for each in both.comparisons] == ["resnet20", "residual-64-32-16"]
    assert both.comparisons[0] == first.comparisons[0]
    assert both.run.alphas.tolist() == first.run.alphas.tolist()
    assert (tmp_path / "out" / "resnet20.safetensors").read_bytes() == supernet
    assert len(both.command.splitlines()) == 2
    assert read_recorded(small_network("residual-64-32-16"), explorer.trace(network.model, network.example),
                         tmp_path / "out") is None  # fmt: skip

    capsys.readouterr()
    script.main(["resnet20", "--target", "0.5", *options(tmp_path)])
    said = capsys.readouterr().out
    assert "was searched before" in said
    assert said.count("training ") == 1, "nothing is trained again"
    again = read(tmp_path, network)
    assert again.comparisons == both.comparisons
    assert again.command == both.command


def test_an_interrupted_recording_goes_on(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Interrupted in the search, then in the comparison; the result is that of a recording in one go."""
    script.main(["resnet20", *options(tmp_path / "whole")])
    say, say_training = script.say, script.say_training

    def interrupt_search(event: object) -> None:
        if event.step == 8:  # type: ignore[attr-defined]
            raise KeyboardInterrupt

    def interrupt_training(at: object) -> None:
        if at.number == 3:  # type: ignore[attr-defined]
            raise KeyboardInterrupt

    monkeypatch.setattr(script, "say", interrupt_search)
    with pytest.raises(SystemExit, match="goes on from where it was"):
        script.main(["resnet20", *options(tmp_path)])
    (work,) = (tmp_path / "work").iterdir()
    assert [path.name for path in work.iterdir()] == ["search.pt"]
    monkeypatch.setattr(script, "say", say)
    monkeypatch.setattr(script, "say_training", interrupt_training)
    with pytest.raises(SystemExit, match="goes on from where it was"):
        script.main(["resnet20", *options(tmp_path)])
    assert len(json.loads((work / "retrained.json").read_text())) == 2
    monkeypatch.setattr(script, "say_training", say_training)
    capsys.readouterr()
    script.main(["resnet20", *options(tmp_path)])
    assert capsys.readouterr().out.count("  training ") == 2
    network = small_network("resnet20")
    resumed, whole = read(tmp_path, network), read(tmp_path / "whole", network)
    assert resumed.comparisons == whole.comparisons
    assert resumed.run.widths == whole.run.widths
    assert resumed.order == whole.order


def test_there_must_be_a_run_to_add_to(script: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no recorded run of resnet20"):
        script.main([*ADDED, *options(tmp_path)])


def test_an_unbalanced_network_alone_is_only_told(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script.main([*ADDED[:3], *options(tmp_path)])
    assert "Nothing was written" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--set", "speed=3"], "'speed' is none of target"),
        (["--set", "epochs=x"], "'x' is no value of epochs"),
        (["--retrain-start", "loaded"], "invalid choice"),
    ],
)
def test_wrong_options_are_refused(
    script: ModuleType, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        script.main(["resnet20", *words])
    assert said in capsys.readouterr().err


# ---- the table --------------------------------------------------------------------------------------------


def comparison(network: str, target: float, accuracy: float = 0.8) -> Comparison:
    widths = (("conv1", 7), ("conv2", 22))
    contenders = (
        Contender("dmcp", 0.4, widths, 0.7, (accuracy, accuracy + 0.02)),
        Contender("uniform", 0.4, widths, 0.6, (0.79, 0.8)),
        Contender("largest", 1.0, widths, 0.9, ()),
    )
    return Comparison(network, target, 80, 4, "scratch", contenders)


def test_the_table_by_hand(script: ModuleType) -> None:
    said = script.table(ended_run(small_network()), comparison("small", 0.4)).splitlines()
    assert said[0] == (
        "small, target 40% of MACs; search 78 s, as much as 9.0 epochs of training the dense network"
    )
    assert said[2].split() == ["dmcp", "40.0%", "70.00%", "81.00%", "80.00", "82.00", "+-", "1.41"]
    assert said[4].split() == ["largest", "100.0%", "90.00%"]
    # differences of 1 and 2 points: mean 1.5, standard error 0.5, t of one degree of freedom 12.706
    assert said[5] == "dmcp - uniform: +1.50 (-4.85 to +7.85) points, seeds 2: open"
    assert said[6].split() == ["dmcp", "conv1:7", "conv2:22"]


def test_comparisons_are_merged_with_their_commands(script: ModuleType) -> None:
    run = Recorded(ended_run(small_network()))
    one = script.with_comparison(run, None, comparison("a", 0.4), "first")
    two = script.with_added(one, comparison("b", 0.2), "second")
    three = script.with_added(two, comparison("c", 0.2), "third")
    again = script.with_added(three, comparison("b", 0.2, 0.9), "second, better")
    assert [each.network for each in again.comparisons] == ["a", "b", "c"]
    assert again.comparisons[1].contenders[0].retrained[0] == 0.9
    assert again.command == "first\nsecond, better\nthird"
    anew = script.with_comparison(run, again, comparison("a", 0.3), "other target")
    assert [(each.network, each.target) for each in anew.comparisons] == [("a", 0.3), ("b", 0.2), ("c", 0.2)]
    assert anew.command == "other target\nsecond, better\nthird"
    moved = script.with_comparison(run, again, comparison("c", 0.2), "c alone")
    assert moved.command == "c alone\nsecond, better"


# ---- unbalanced networks ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "share"), [("residual-16-32-64", 0.4), ("residual-32-32-32", 0.7), ("residual-64-32-16", 0.9)]
)
def test_unbalanced_networks_spend_where_they_say(script: ModuleType, name: str, share: float) -> None:
    """Share of the MACs that the stem and the first stage have, at least (the balanced one: at most)."""
    unbalanced = import_module("unbalanced")
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
