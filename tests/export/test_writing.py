"""What an export writes, and that it writes everything or nothing."""

import errno
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import explorer
from explorer.errors import BadInput, ExplorerError
from explorer.export import check_folder, export, script, writing
from explorer.export.files import staged

NAMES = {
    "weights": "resnet20_pruned.safetensors",
    "widths": "resnet20_widths.json",
    "script": "resnet20_pruned.py",
    "picture": "resnet20_widths.svg",
}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def fail_at(monkeypatch, call: int, error: BaseException) -> None:
    """Let the given call of os.replace, counted from 0, raise."""
    real, calls = os.replace, []

    def replace_or_fail(*arguments, **options):
        calls.append(arguments)
        if len(calls) == call + 1:
            raise error
        return real(*arguments, **options)

    monkeypatch.setattr(os, "replace", replace_or_fail)


def test_four_files_and_nothing_else(cut, tmp_path):
    paths = export(str(tmp_path / "a" / "b"), *cut.all)
    assert paths == {kind: tmp_path / "a" / "b" / name for kind, name in NAMES.items()}
    assert sorted(contents(tmp_path / "a" / "b")) == sorted(NAMES.values())


def test_the_weights_are_the_models_and_as_large_as_the_cost_says(cuts, tmp_path):
    for cut in cuts.values():
        path = export(tmp_path, *cut.all)["weights"]
        stored = load_file(path)
        state = cut.model.state_dict()
        assert stored.keys() == state.keys()
        assert all(torch.equal(stored[name], state[name]) for name in state)
        assert path.stat().st_size == explorer.cost(cut.graph, cut.plan).file_bytes


def test_the_widths_file(cut, tmp_path):
    text = export(tmp_path, *cut.all)["widths"].read_text()
    found = json.loads(text)
    assert found["network"] == "resnet20"
    assert found["source"] == {"class": "ResNet20", "weights_key": cut.network.weights_key}
    for group in cut.graph.prunable:
        kept = cut.plan.keep[group.id].nonzero()[0].tolist()
        assert found["groups"][group.id]["kept"] == kept
        assert found["groups"][group.id]["width"] == len(kept) < group.size + 1
    assert found["groups"]["classifier"]["not_pruned"] == cut.graph.group("classifier").reason
    cost = explorer.cost(cut.graph, cut.plan)
    assert found["now"]["cost"]["macs"] == cost.macs
    assert found["dense"]["cost"]["peak_bytes"] == explorer.cost(cut.graph).peak_bytes
    assert found["now"]["explore"] == {
        "accuracy": 0.3,
        "low": pytest.approx(0.2407, abs=1e-4),
        "high": pytest.approx(0.3668, abs=1e-4),
        "correct": 60,
        "seen": 200,
    }
    assert found["recovery"] == {"bn": False, "epochs": 0, "label": "no recovery"}
    assert found["proof"]["conclusive"] is True
    assert set(found["definitions"]) >= {"macs", "params", "file_bytes", "peak_bytes", "accuracy", "latency"}
    assert '"layers": ["stem", "stage1.0.conv2"' in text  # lists on one line


def test_other_files_stay_and_an_older_export_is_replaced(cut, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / NAMES["script"]).write_text("older")
    export(tmp_path, *cut.all)
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert "def rebuild" in (tmp_path / NAMES["script"]).read_text()
    assert sorted(contents(tmp_path)) == sorted([*NAMES.values(), "notes.txt"])


def test_nothing_of_the_callers_is_changed(cut, tmp_path):
    state = {name: tensor.clone() for name, tensor in cut.model.state_dict().items()}
    random = torch.get_rng_state()
    cut.model.train()
    try:
        export(tmp_path, *cut.all)
        assert cut.model.training
    finally:
        cut.model.eval()
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(tensor, state[name]) for name, tensor in cut.model.state_dict().items())


@pytest.mark.parametrize("call", range(4))
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_while_moving_leaves_the_folder_as_it_was(call, error, cut, tmp_path, monkeypatch):
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / NAMES["weights"]).write_text("older")
    (tmp_path / NAMES["picture"]).write_text("older")
    before = contents(tmp_path)
    fail_at(monkeypatch, call, error)
    expected = ExplorerError if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(expected):
        export(tmp_path, *cut.all)
    assert contents(tmp_path) == before


def test_a_full_disk_is_said_in_words_and_a_new_folder_goes_again(cut, tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(ExplorerError, match=r"Nothing was written: .*No space left on device"):
        export(tmp_path / "a" / "b", *cut.all)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_a_files_name_is_left_alone(cut, tmp_path):
    (tmp_path / NAMES["widths"]).mkdir()
    with pytest.raises(BadInput, match=r"resnet20_widths.json is a folder"):
        export(tmp_path, *cut.all)
    assert [path.name for path in tmp_path.iterdir()] == [NAMES["widths"]]


def test_a_file_in_the_way_is_refused(tmp_path):
    (tmp_path / "out").write_text("mine")
    for folder in (tmp_path / "out", tmp_path / "out" / "deeper"):
        with pytest.raises(BadInput, match=r"out is not a folder"):
            check_folder(folder)


def test_a_folder_that_cannot_be_written_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(BadInput, match="cannot be written to"):
        check_folder(tmp_path / "new")


def test_staging_passes_other_errors_on(tmp_path):
    def interrupted() -> None:
        with staged(tmp_path / "new") as stage:
            (stage / "half").write_text("1")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_a_model_of_another_plan_is_refused(cut, tmp_path):
    with pytest.raises(BadInput, match=r"not the network shrunk to this plan: .* Pass explorer.shrink"):
        export(tmp_path / "new", cut.network, cut.graph, cut.plan, cut.network.model, cut.report)
    assert not (tmp_path / "new").exists()


def test_a_network_whose_class_cannot_be_carried_is_refused(cut, tmp_path):
    own = replace(cut.network, source=None)
    with pytest.raises(BadInput, match="The class ResNet20 cannot be written"):
        export(tmp_path / "new", own, cut.graph, cut.plan, cut.model, cut.report)
    assert not (tmp_path / "new").exists()


def test_a_script_that_does_not_run_is_never_written(cuts, tmp_path, monkeypatch):
    monkeypatch.setattr(script, "sizes", lambda graph: [])  # the depthwise convolutions keep their old groups
    with pytest.raises(ExplorerError, match="would not run"):
        export(tmp_path / "new", *cuts["mobilenetv2"].all)
    assert not (tmp_path / "new").exists()


def test_a_script_of_another_network_is_never_written(cut, tmp_path, monkeypatch):
    stored = writing.stored_tensors

    def rolled(graph, model):
        tensors = stored(graph, model)
        return {**tensors, "classifier.weight": tensors["classifier.weight"].roll(1, 1)}

    monkeypatch.setattr(writing, "stored_tensors", rolled)
    with pytest.raises(ExplorerError, match="would rebuild another network"):
        export(tmp_path / "new", *cut.all)
    assert not (tmp_path / "new").exists()
