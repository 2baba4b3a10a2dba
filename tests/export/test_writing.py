"""What an export writes, and that it writes everything or nothing."""

import errno
import json
import os
import resource
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import explorer
from explorer.errors import BadInput, ExplorerError
from explorer.export import check_folder, export, script, writing
from explorer.export.files import staged
from explorer.strings import Message, Strings
from explorer.zoo.constructor import Constructor
from tests.export.blocks import Residual
from tests.export.conftest import cut_of, own_network

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


@pytest.mark.parametrize("name", ["../../evil", "/evil", "a/b", 'a"b\\c', "n" * 300, ""])
def test_no_name_leads_out_of_the_folder(cut, tmp_path, name):
    folder = tmp_path / "chosen" / "folder"
    paths = export(folder, replace(cut.network, name=name), *cut.all[1:], formats=("network", "archive"))
    assert {path.parent for path in paths.values()} == {folder}
    assert len(contents(folder)) == 5
    assert [each.name for each in tmp_path.rglob("*") if each.is_dir()] == ["chosen", "folder"]


@pytest.mark.parametrize("folder", [None, 5, b"out", "a\0b", "x" * 300, "~nobody-of-this-name/out"])
def test_what_cannot_be_a_folder_is_refused_in_words(cut, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput, match=r"(?i)the folder (is|cannot be) .*path"):
        export(folder, *cut.all)
    assert contents(tmp_path) == {}


def test_a_name_that_is_too_long_is_not_said_to_lack_space(cut, tmp_path):
    with pytest.raises(ExplorerError, match=r"File name too long.*Please name another folder"):
        export(tmp_path / "none" / ("x" * 300), *cut.all)
    assert contents(tmp_path) == {}


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
    assert found["source"] == {
        "class": "ResNet20",
        "constructor": None,
        "no_constructor": "",
        "weights_key": cut.network.weights_key,
    }
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
    assert found["recovery"] == {"bn": False, "epochs": 0, "repair": "none", "label": "no recovery"}
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


def without_constructor():
    """A cut of a network that no Python file can import."""
    return cut_of(own_network(Residual(), torch.randn(1, 2, 6, 6), reason="Its class is in a notebook."))


def test_without_a_constructor_an_archive_stands_in_for_the_script_and_it_is_said(tmp_path):
    cut, said = without_constructor(), []
    paths = export(tmp_path, *cut.all, say=said.append)
    assert list(paths) == ["weights", "widths", "archive", "picture"]
    assert paths["archive"].name == "Residual_pruned.pt2"
    assert [Strings().say(message) for message in said] == [
        "A torch.export archive (.pt2) stands in for the Python file. Its class is in a notebook."
    ]
    texts = {"Residual_widths.json": ""}
    loaded = torch.export.load(paths["archive"], extra_files=texts).module()
    images = torch.randn(4, 2, 6, 6)
    torch.testing.assert_close(loaded(images), cut.model(images))
    assert texts["Residual_widths.json"] == paths["widths"].read_text()
    found = json.loads(paths["widths"].read_text())
    assert found["source"]["no_constructor"] == "Its class is in a notebook."


def test_formats_are_written_alone_or_together(tmp_path):
    constructor = Constructor("tests.export.blocks", "Residual")
    cut = cut_of(own_network(Residual(), torch.randn(1, 2, 6, 6), constructor))
    assert list(export(tmp_path / "one", *cut.all, formats=["onnx"])) == ["onnx"]
    assert [path.name for path in (tmp_path / "one").iterdir()] == ["Residual_pruned.onnx"]
    paths = export(tmp_path / "all", *cut.all, formats=("archive", "network", "onnx"))
    assert list(paths) == ["weights", "widths", "script", "archive", "onnx", "picture"]
    assert sorted(contents(tmp_path / "all")) == sorted(path.name for path in paths.values())
    source = json.loads(paths["widths"].read_text())["source"]
    assert source["constructor"] == {
        "import": "from tests.export.blocks import Residual",
        "expression": "Residual()",
    }


@pytest.mark.parametrize(
    ("formats", "words"),
    [
        (("tflite",), "no format 'tflite'. Known: network, onnx, archive"),
        ("onnx", "expected one or more of network, onnx, archive, as a tuple"),
        ((), "expected one or more"),
    ],
)
def test_formats_that_there_are_not_are_refused(formats, words, cut, tmp_path):
    with pytest.raises(ExplorerError, match=words):
        export(tmp_path / "new", *cut.all, formats=formats)
    assert not (tmp_path / "new").exists()


ALL_FORMATS = ("network", "onnx", "archive")


@pytest.fixture(scope="module")
def residual():
    constructor = Constructor("tests.export.blocks", "Residual")
    return cut_of(own_network(Residual(), torch.randn(1, 2, 6, 6), constructor))


def test_a_batch_that_cannot_be_left_open_is_said(residual, tmp_path, monkeypatch):
    real, said = writing.program_of, []
    monkeypatch.setattr(writing, "program_of", lambda *arguments: replace(real(*arguments), any_batch=False))
    export(tmp_path, *residual.all, formats=("archive", "network"), say=said.append)
    assert said == [Message.of("export_one_image", names="Residual_pruned.pt2")]
    assert "One image at a time" in Strings().say(*said)


@pytest.fixture
def older(tmp_path):
    """A folder with files of an earlier export, and one of the user's."""
    folder = tmp_path / "out"
    folder.mkdir()
    for name in (*(name.format("Residual") for name in writing.FILES.values()), "notes.txt"):
        (folder / name).write_text(f"older {name}")
    return folder


def test_a_disk_that_fills_up_midway_leaves_the_former_files(residual, older, tmp_path, monkeypatch):
    """As a small disk does: every write takes what is left, and fails if that is not all."""
    real, before = Path.write_bytes, contents(older)
    sizes = {kind: len(content) for kind, content in contents_of(residual, monkeypatch).items()}
    total = sum(sizes.values())
    for room in (0, 1, sizes["weights"] - 1, total // 2, total - 1):
        left = room

        def write(path, content):
            nonlocal left
            taken, left = content[:left], left - len(content[:left])
            real(path, taken)
            if len(taken) < len(content):
                raise OSError(errno.ENOSPC, "No space left on device")
            return len(content)

        monkeypatch.setattr(Path, "write_bytes", write)
        for folder in (older, tmp_path / "new"):
            with pytest.raises(ExplorerError, match=r"Nothing was written: .*No space left on device"):
                export(folder, *residual.all, formats=ALL_FORMATS)
        assert contents(older) == before
        assert not (tmp_path / "new").exists()


def contents_of(residual, monkeypatch) -> dict[str, bytes]:
    """What an export would write; torch's exporters run once, since they take seconds."""
    made = writing._programs(
        residual.network,
        residual.model,
        {"widths": b""},
        {"onnx": "o", "archive": "a"},
        residual.report,
        lambda message: None,
    )
    monkeypatch.setattr(writing, "_programs", lambda *arguments: made)
    names = {kind: name for kind, name in writing.FILES.items() if kind not in made}
    return {**writing._contents(*residual.all, names=names), **made}


def test_a_limit_of_the_operating_system_leaves_the_former_files(residual, older, monkeypatch):
    """A real half-written file: the system refuses to let files grow beyond a limit."""
    before = contents(older)
    contents_of(residual, monkeypatch)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1500, hard))
    try:
        with pytest.raises(ExplorerError, match=r"Nothing was written: .*File too large"):
            export(older, *residual.all, formats=ALL_FORMATS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert contents(older) == before


def test_a_script_that_does_not_run_is_never_written(cuts, tmp_path, monkeypatch):
    monkeypatch.setattr(script, "sizes", lambda graph: [])  # the depthwise convolutions keep their old groups
    with pytest.raises(ExplorerError, match="would not run"):
        export(tmp_path / "new", *cuts["mobilenetv2"].all)
    assert not (tmp_path / "new").exists()


def test_a_script_of_another_network_is_never_written(cut, tmp_path, monkeypatch):
    stored = writing.stored_tensors

    def rolled(*arguments):
        tensors = stored(*arguments)
        return {**tensors, "classifier.weight": tensors["classifier.weight"].roll(1, 1)}

    monkeypatch.setattr(writing, "stored_tensors", rolled)
    with pytest.raises(ExplorerError, match="would rebuild another network"):
        export(tmp_path / "new", *cut.all)
    assert not (tmp_path / "new").exists()
