"""The command line: what it prints and writes, and what it refuses."""

import errno
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import explorer
from explorer import cli, launch
from explorer.cli import main
from explorer.data import Data
from explorer.errors import BadInput, Interrupted


@pytest.fixture
def small_data(monkeypatch):
    """The bundled networks with few images, so that a command takes a second."""
    load = explorer.load

    def with_few_images(name):
        network = load(name)
        data = network.data
        few = Data(
            data.name, data.classes, data.train.subset(256), data.explore.subset(120), data.final.subset(80)
        )
        return replace(network, data=few)

    monkeypatch.setattr(explorer, "load", with_few_images)


@pytest.fixture
def no_work(monkeypatch):
    """Any work at all fails the test."""

    def refuse(name):
        raise AssertionError("work began")

    monkeypatch.setattr(explorer, "load", refuse)


def prune(out, *options, network="resnet20"):
    return main(["prune", network, *options, "--out", str(out)])


PROGRESS = ("Ranking the", "Cutting and", "Measuring ")


def one_line(capsys) -> str:
    """What is said besides progress: one line on stderr."""
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = (line for line in captured.err.splitlines() if not line.startswith(PROGRESS))
    return line


@pytest.mark.parametrize("code", ["merge", "refit", "refit+bn", "refit_sequential"])
def test_prune_repairs(small_data, tmp_path, capsys, code):
    assert prune(tmp_path, "--rank", "l1", "--keep-macs", "0.6", "--recover", code) == 0
    recovery = explorer.Recovery.parse(code)
    assert f"After cutting: {recovery.label}." in capsys.readouterr().out
    network = explorer.load("resnet20")
    graph = explorer.trace(network.model, network.example)
    plan = explorer.allocate(graph, explorer.score(network, graph, "l1"), keep=0.6)
    expected = explorer.repair(network.model, graph, plan, recovery.repair, network.data.train)
    expected = explorer.recover(expected, network.data, bn=recovery.bn)
    written = load_file(tmp_path / "resnet20_pruned.safetensors")
    for name, value in expected.state_dict().items():
        torch.testing.assert_close(written[name], value)


def test_prune_prints_and_writes_what_the_engine_says(small_data, tmp_path, capsys):
    out = tmp_path / "new" / "out"
    assert prune(out, "--rank", "l1", "--keep-macs", "0.6", "--recover", "bn") == 0
    captured = capsys.readouterr()
    assert captured.err.splitlines() == [
        "Ranking the channels of resnet20…",
        "Cutting and proving the cut…",
        "Measuring accuracy and latency…",
    ]
    text = captured.out

    network = explorer.load("resnet20")
    graph = explorer.trace(network.model, network.example)
    plan = explorer.allocate(graph, explorer.score(network, graph, "l1"), keep=0.6)
    model = explorer.recover(explorer.shrink(network.model, graph, plan), network.data, bn=True)
    dense, now = explorer.cost(graph), explorer.cost(graph, plan)
    rows = {line.split("  ")[0]: line for line in text.splitlines()}
    assert f"{dense.macs:,}" in rows["MACs"]
    assert f"{now.macs:,}" in rows["MACs"]
    assert f"{now.params:,}" in rows["parameters"]
    assert f"{now.peak_bytes:,}" in rows["peak activation memory"]
    assert f"{(out / 'resnet20_pruned.safetensors').stat().st_size:,} bytes" in rows["file size"]
    for split, count in (("explore", 120), ("final", 80)):
        before = explorer.evaluate(network.model, network.data, split)
        after = explorer.evaluate(model, network.data, split)
        row = rows[f"accuracy, {count} {split} images"]
        assert f"{before.accuracy * 100:.1f} % ({before.low * 100:.1f} to {before.high * 100:.1f})" in row
        assert f"{after.accuracy * 100:.1f} % ({after.low * 100:.1f} to {after.high * 100:.1f})" in row
        assert row.endswith(f"{after.accuracy / before.accuracy * 100:.1f} %")
    assert "latency, batch 1" in rows
    assert "latency, batch 64" in rows
    assert "Proof ok: " in text
    assert "After cutting: re-estimated BN." in text

    listed = [Path(line.strip()) for line in text.partition("Written:\n")[2].splitlines()]
    assert sorted(listed) == sorted(out.iterdir())
    widths = json.loads((out / "resnet20_widths.json").read_text())
    assert {
        name: group["width"] for name, group in widths["groups"].items() if "kept" in group
    } == plan.widths
    assert widths["data"] == "Fashion-MNIST"


def test_keeping_everything_is_the_identity(small_data, tmp_path, capsys):
    options = [
        "--rank",
        "random",
        "--keep-channels",
        "1",
        "--recover",
        "none",
        "--share",
        "uniform",
        "--seed",
        "4",
        "--multiple",
        "8",
    ]
    assert prune(tmp_path, *options) == 0
    text = capsys.readouterr().out
    assert "at most 100 % of channels" in text
    assert "in multiples of 8 channels" in text
    assert "After cutting: no recovery." in text
    assert "Proof not conclusive" in text
    rows = {line.split("  ")[0]: line for line in text.splitlines()}
    assert rows["MACs"].endswith("100.0 %")
    assert rows["accuracy, 120 explore images"].endswith("100.0 %")


def test_widths_in_multiples_are_written(small_data, tmp_path, capsys):
    options = ["--rank", "l1", "--keep-macs", "0.6", "--recover", "none", "--multiple", "8"]
    assert prune(tmp_path, *options) == 0
    widths = json.loads((tmp_path / "resnet20_widths.json").read_text())
    network = explorer.load("resnet20")
    graph = explorer.trace(network.model, network.example)
    plan = explorer.allocate(graph, explorer.score(network, graph, "l1"), keep=0.6, multiple=8)
    assert {n: group["width"] for n, group in widths["groups"].items() if "kept" in group} == plan.widths
    assert all(width % 8 == 0 for width in plan.widths.values())


def test_training_reports_progress_on_stderr(small_data, tmp_path, capsys):
    assert prune(tmp_path, "--rank", "l2", "--keep-params", "0.7", "--recover", "1") == 0
    captured = capsys.readouterr()
    assert "After cutting: trained 1 epoch." in captured.out
    assert "at most 70 % of parameters" in captured.out
    steps = [line for line in captured.err.splitlines() if not line.startswith(PROGRESS)]
    assert steps[-1].startswith("training: step 2 of 2, loss ")
    assert "training:" not in captured.out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--keep-macs", "0.5", "--rank", "tailor"], "no criterion 'tailor'. Known: l1, l2"),
        (["--keep-macs", "0.5", "--share", "fair"], "no allocation 'fair'. Known: global, uniform"),
        (["--keep-macs", "0.5", "--recover", "all"], "Use none, bn, a number of epochs"),
        (["--keep-macs", "0.5", "--recover", "-1"], "Recovery '-1' is not known"),
        (["--keep-macs", "50"], "--keep-macs must be a share above 0 and up to 1 (0.5 keeps half), not 50"),
        (["--keep-params", "0"], "--keep-params must be a share above 0"),
        (["--keep-channels", "nan"], "not nan"),
        (["--keep-macs", "half"], "invalid float value: 'half'"),
        (["--keep-macs", "0.5", "--keep-params", "0.5"], "not allowed with argument"),
        ([], "one of the arguments --keep-macs --keep-params --keep-channels is required"),
        (["--keep-macs", "0.5", "--seed", "-3"], "--seed must be a whole number from 0 on, not -3"),
        (["--keep-macs", "0.5", "--multiple", "0"], "--multiple must be a whole number from 1 on, not 0"),
        (["--keep-macs", "0.5", "--sed", "3"], "unrecognized arguments: --sed 3"),
        (["--keep-macs", "0.5", "--formats", "tflite"], "no format 'tflite'. Known: network, onnx, archive"),
        (["--keep-macs", "0.5", "--formats", "network,"], "no format ''"),
    ],
)
def test_bad_options_are_refused_in_one_line_before_any_work(options, words, no_work, tmp_path, capsys):
    assert prune(tmp_path / "new", *options) == 2
    assert words in one_line(capsys)
    assert not (tmp_path / "new").exists()


def test_a_missing_package_is_said_with_its_command_before_any_work(no_work, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("explorer.export.onnx_file.find_spec", lambda name: None)
    assert prune(tmp_path / "new", "--keep-macs", "0.5", "--formats", "network, onnx") == 2
    assert "Run: pip install 'pruning-explorer[onnx]'" in one_line(capsys)
    assert not (tmp_path / "new").exists()


def test_other_formats_are_written_and_listed(small_data, tmp_path, capsys):
    options = ["--rank", "l1", "--keep-macs", "0.5", "--recover", "none", "--formats", "onnx,archive"]
    assert prune(tmp_path, *options, network="vgg") == 0
    names = ["vgg_pruned.onnx", "vgg_pruned.pt2"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    written = capsys.readouterr().out.partition("Written:\n")[2]
    assert sorted(Path(line.strip()).name for line in written.splitlines()) == names


def test_an_unknown_network_is_refused_with_the_known_ones(tmp_path, capsys):
    assert prune(tmp_path / "new", "--keep-macs", "0.5", network="resnet21") == 2
    line = one_line(capsys)
    assert "no network 'resnet21'. Known: resnet20, vgg, mobilenetv2, inception" in line
    assert "Did you mean 'resnet20'?" in line
    assert not (tmp_path / "new").exists()


@pytest.fixture
def own_code(tmp_path, monkeypatch):
    """A working directory with a module of networks, pictures of its four classes, and weights."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [each for each in sys.path if each not in ("", str(tmp_path))])
    (tmp_path / "own_nets.py").write_text(
        "import torch\nfrom tests.zoo.own_networks import Plain as Small\n"
        "def needs(width): return Small(width)\ndef broken(): raise OSError('no such disk')\n"
        "ready = Small()\n"
    )
    for place, name in enumerate("abcd"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(4):
            pixels = Image.new("RGB", (12, 12), (60 * place, 10 * number, 99))
            pixels.save(tmp_path / "photos" / name / f"{number}.png")
    yield tmp_path
    sys.modules.pop("own_nets", None)


def test_a_network_of_ones_own_is_pruned_with_its_weights_and_a_folder(own_code, capsys):
    from tests.zoo.own_networks import Plain

    torch.manual_seed(3)
    model = Plain().eval()
    torch.save({"net": model.state_dict(), "loss.weight": torch.ones(2)}, own_code / "own.pt")
    options = "--weights own.pt --data photos --example 1,3,8,8 --rank l1 --keep-macs 0.7 --recover none"
    assert prune("out", *options.split(), network="own_nets:Small") == 0
    captured = capsys.readouterr()
    assert "accuracy, 16 explore images" in captured.out
    assert "the weights under 'net' were taken" in captured.err
    written = load_file(own_code / "out" / "Small_pruned.safetensors")
    network = explorer.load(model, example=torch.zeros(1, 3, 8, 8))
    graph = explorer.trace(network.model, network.example)
    plan = explorer.allocate(graph, explorer.score(network, graph, "l1"), keep=0.7)
    for name, value in explorer.shrink(model, graph, plan).state_dict().items():
        assert torch.equal(written[name], value)
    assert str(own_code) not in sys.path


@pytest.mark.parametrize("option", ["--rank taylor", "--recover bn", "--recover refit"])
def test_options_that_need_images_are_refused_without_them(option, own_code, capsys):
    options = {"--rank": "l1", "--recover": "none"} | dict([option.split()])
    given = [word for pair in options.items() for word in pair]
    shape = ["--example", "1,3,8,8", "--keep-macs", "0.7"]
    assert prune("out", *given, *shape, network="own_nets:Small") == 2
    line = one_line(capsys)
    assert option in line
    assert "--data" in line
    assert not (own_code / "out").exists()


def test_coverage_takes_what_load_takes(own_code, capsys):
    network = explorer.load("resnet18", weights=None)
    expected = str(explorer.coverage(explorer.trace(network.model, network.example)))
    for name in ("resnet18", "torchvision:resnet18"):
        assert main(["coverage", name]) == 0
        assert capsys.readouterr().out.strip() == expected
    assert main(["coverage", "own_nets:Small", "--example", "1,3,8,8"]) == 0
    assert capsys.readouterr().out.startswith("Can be pruned: ")


@pytest.mark.parametrize(
    ("network", "options", "words"),
    [
        ("no_nets:Small", "", "The module no_nets cannot be imported"),
        ("own_nets:Large", "", "own_nets has no Large"),
        ("own_nets:needs", "", "raised TypeError"),
        ("own_nets:broken", "", "raised OSError: no such disk"),
        ("own_nets:ready", "", "own_nets:ready is a Plain, not a class or function"),
        ("own_nets:torch.ones", "", "raised TypeError"),
        ("own_nets:Small", "", "example"),
        ("own_nets:Small", "--example 1,3,x", "--example is '1,3,x'"),
        ("own_nets:Small", "--example 2,3,8,8", "batch of one"),
        ("own_nets:Small", "--example 1,5,8,8", "cannot take an example"),
        ("torchvision:resnet19", "", "no network 'resnet19'"),
        ("resnet18", "--weights none.pt", "There is no file none.pt"),
        ("resnet20", "--data nowhere", "There is no folder nowhere"),
        ("photos/net.pt2", "", "There is no file photos/net.pt2"),
    ],
)
def test_what_load_refuses_is_said_in_one_line(network, options, words, own_code, capsys):
    assert main(["coverage", network, *options.split()]) == 2
    assert words in one_line(capsys)


def test_a_file_as_folder_is_refused_before_any_work(no_work, tmp_path, capsys):
    (tmp_path / "out").write_text("mine")
    assert prune(tmp_path / "out", "--keep-macs", "0.5") == 2
    assert "out is not a folder" in one_line(capsys)
    assert (tmp_path / "out").read_text() == "mine"


def test_a_budget_out_of_reach_names_the_minimum(small_data, tmp_path, capsys):
    assert prune(tmp_path / "new", "--rank", "l1", "--keep-macs", "0.0001") == 2
    assert "out of reach" in (line := one_line(capsys))
    assert "minimum" in line
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("error", [KeyboardInterrupt(), Interrupted("stopped")])
def test_an_interruption_is_said_and_nothing_is_written(error, small_data, tmp_path, capsys, monkeypatch):
    def interrupted(*arguments, **options):
        raise error

    monkeypatch.setattr(explorer, "recover", interrupted)
    assert prune(tmp_path / "new", "--rank", "l1", "--keep-macs", "0.5") == 130
    assert one_line(capsys) == "Interrupted: nothing was written."
    assert not (tmp_path / "new").exists()


def test_a_full_disk_is_said_and_nothing_is_left(small_data, tmp_path, capsys, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    assert prune(tmp_path / "new", "--rank", "l1", "--keep-macs", "0.5", "--recover", "none") == 2
    assert "No space left on device" in one_line(capsys)
    assert list(tmp_path.iterdir()) == []


def test_a_cut_that_fails_its_proof_is_not_written(small_data, tmp_path, capsys, monkeypatch):
    prove = explorer.prove

    def failed(*arguments):
        return replace(prove(*arguments), max_difference=5.0)

    monkeypatch.setattr(explorer, "prove", failed)
    assert prune(tmp_path / "new", "--rank", "l1", "--keep-macs", "0.5") == 2
    assert "failed its proof" in one_line(capsys)
    assert not (tmp_path / "new").exists()


@pytest.fixture
def opened(monkeypatch):
    calls = []

    def open_notebook(folder, browser=True, port=None):
        calls.append((folder, browser, port))
        return 7

    monkeypatch.setattr(launch, "open_notebook", open_notebook)
    return calls


def test_without_a_command_the_notebook_is_opened(opened):
    assert main([]) == 7
    assert main(["open"]) == 7
    assert main(["open", "--no-browser", "--port", "8123"]) == 7
    assert opened == [(Path.cwd(), True, None), (Path.cwd(), True, None), (Path.cwd(), False, 8123)]


def test_a_port_out_of_range_is_refused(opened, capsys):
    assert main(["open", "--port", "70000"]) == 2
    assert "Port 70000 is out of range" in one_line(capsys)
    assert opened == []


def test_what_launching_refuses_is_said(monkeypatch, capsys):
    def refuse(*arguments, **options):
        raise BadInput("This folder is\nnot writable.")

    monkeypatch.setattr(launch, "open_notebook", refuse)
    assert main([]) == 2
    assert one_line(capsys) == "pruning-explorer: This folder is not writable."


def test_an_unknown_command_is_refused(capsys):
    assert main(["prone"]) == 2
    assert "invalid choice: 'prone'" in one_line(capsys)


def test_version_and_help(capsys):
    for options in (["--version"], ["--help"], ["prune", "--help"], ["open", "--help"]):
        with pytest.raises(SystemExit) as stopped:
            main(options)
        assert stopped.value.code == 0
    text = capsys.readouterr().out
    assert f"pruning-explorer {explorer.__version__}" in text
    for word in ("resnet20, vgg, mobilenetv2, inception", "taylor", "--recover HOW", "--no-browser"):
        assert word in " ".join(text.split())


def test_the_module_is_the_command():
    done = subprocess.run(
        [sys.executable, "-m", "explorer", "prune", "nothing"],
        cwd=Path(cli.__file__).parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert torch.__name__ not in done.stdout


def test_coverage_tells_what_can_be_pruned_and_why_the_rest_cannot(capsys):
    assert main(["coverage", "resnet20"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("Can be pruned: 21 of 22 layers")
    assert "the network's outputs" in said
    assert "stage1" not in said
    assert main(["coverage", "resnet20", "--layers"]) == 0
    lines = capsys.readouterr().out.splitlines()
    network = explorer.load("resnet20", weights=None)
    names = [layer.name for layer in explorer.trace(network.model, network.example).layers]
    assert [line.split()[0] for line in lines[-len(names) :]] == names


def test_coverage_of_an_unknown_network_is_refused_in_one_line(capsys):
    assert main(["coverage", "resnet21"]) == 2
    assert "resnet20" in one_line(capsys)
