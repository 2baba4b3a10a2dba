"""What the README says is so: figures, the commands, the Python example."""

import re
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn
from torch.utils.data import TensorDataset

import explorer
from explorer.data import Data, Images, identity
from explorer.zoo.networks import NETWORKS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_the_table_of_networks_is_true():
    for name in NETWORKS:
        network = explorer.load(name)
        cost = explorer.cost(explorer.trace(network.model, network.example))
        card = (ROOT / "explorer" / "zoo" / "weights" / f"{name}.md").read_text()
        (accuracy,) = re.findall(r"\*\*([\d.]+ ?%)\*\*", card)
        row = f"| `{name}` | {accuracy} | {cost.params:,} | {cost.macs / 1e6:.1f} M |"
        assert row in README


EXAMPLES = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_the_examples_run_as_they_are_printed(capsys):
    example, _, own, *_ = EXAMPLES
    quick = example.replace("epochs=1", "epochs=0")
    assert quick != example, "the example trains one epoch; the test leaves that out"
    exec(compile(quick, "README.md", "exec"), {})
    printed = capsys.readouterr().out
    assert "classifier 10" in printed
    assert "outputs (classes)" in printed

    made = torch.Generator().manual_seed(0)
    names = {
        "explorer": explorer,
        "model": nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 2)),
        **{f"{part}_inputs": torch.rand((6, 3, 8, 8), generator=made) for part in ("train", "test")},
        **{f"{part}_labels": torch.arange(6) % 2 for part in ("train", "test")},
    }
    exec(compile(own, "README.md", "exec"), names)
    assert len(names["net"].data.train) == 6


def test_the_ways_of_loading_work_as_they_are_printed(tmp_path, monkeypatch, capsys):
    """All but the download of torchvision's weights."""
    monkeypatch.chdir(tmp_path)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    )
    images = torch.rand(6, 3, 8, 8)
    torch.save({f"module.{name}": tensor for name, tensor in model.state_dict().items()}, "checkpoint.pt")
    save_file(explorer.load("resnet18", weights=None).model.state_dict(), "mine.safetensors")
    Path("photos").mkdir()
    Image.new("RGB", (300, 260), "red").save("photos/red.png")
    batch = {0: torch.export.Dim("batch")}
    torch.export.save(torch.export.export(model.eval(), (images,), dynamic_shapes=(batch,)), "model.pt2")
    names = {"explorer": explorer, "model": model, "images": images, "labels": torch.arange(6) % 2}
    names["dataset"] = TensorDataset(images, names["labels"])
    text = EXAMPLES[1].replace('load("resnet50")', 'load("resnet50", weights=None)')
    assert text != EXAMPLES[1]
    exec(compile(text, "README.md", "exec"), names)
    assert "Can be pruned: 1 of 2 layers" in capsys.readouterr().out


def test_other_tasks_load_as_they_are_printed(capsys):
    images = torch.rand(6, 3, 8, 8)
    names = {
        "explorer": explorer,
        "denoiser": nn.Sequential(nn.Conv2d(3, 4, 3, 1, 1), nn.ReLU(), nn.Conv2d(4, 3, 1)),
        "noisy": images,
        "clean": images.flip(0),
        "images": images,
        "boxes": images[:, :, 0, :4].mean(1),
        "detector": nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 4)),
        "f": lambda outputs, boxes: (outputs - boxes).abs().mean(),
        "g": lambda outputs, boxes: -(outputs - boxes).abs().mean(1),
    }
    exec(compile(EXAMPLES[3], "README.md", "exec"), names)
    assert "score" in capsys.readouterr().out


def test_the_search_runs_as_it_is_printed(tmp_path, monkeypatch):
    """On a small network, and shorter."""
    monkeypatch.chdir(tmp_path)
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3, 2), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 16, 2)
    )
    made = torch.Generator().manual_seed(0)
    images = Images(torch.rand((32, 1, 14, 14), generator=made), torch.arange(32) % 2, identity)
    net = explorer.load(model, data=Data("noise", ("even", "odd"), images, images, None))
    short = EXAMPLES[4].replace("target=0.4,", "target=0.4, warm_up=1, epochs=1, batch=8,")
    assert short != EXAMPLES[4]
    names = {"explorer": explorer, "net": net}
    exec(compile(short, "README.md", "exec"), names)
    assert not Path("search.pt").exists()
    graph = explorer.trace(names["small"], net.example)
    share = explorer.cost(graph).macs / explorer.cost(explorer.trace(net.model, net.example)).macs
    assert abs(share / 0.4 - 1) < 0.15, "as near as a unit of these few can come"


def test_network_slimming_trains_as_it_is_printed():
    """On a small network, and shorter."""
    layers = [
        nn.Conv2d(1, 6, 3, 2),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Conv2d(6, 8, 3),
        nn.BatchNorm2d(8),
        nn.ReLU(),
    ]
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2))
    made = torch.Generator().manual_seed(0)
    images = Images(torch.rand((32, 1, 14, 14), generator=made), torch.arange(32) % 2, identity)
    net = explorer.load(model, data=Data("noise", ("even", "odd"), images, images, None))
    short = EXAMPLES[5].replace("epochs=6", "epochs=1, fine_tune=1, batch=8")
    assert short != EXAMPLES[5]
    names = {"explorer": explorer, "net": net}
    exec(compile(short, "README.md", "exec"), names)
    assert names["narrow"][0].out_channels + names["narrow"][3].out_channels == 14 - 7 - 1


def test_the_instance_subnetworks_are_made_as_it_is_printed(tmp_path, monkeypatch, capsys):
    """On a small network, and shorter."""
    monkeypatch.chdir(tmp_path)
    layers = [nn.Conv2d(1, 6, 3, 2), nn.ReLU(), nn.Conv2d(6, 8, 3), nn.BatchNorm2d(8), nn.ReLU()]
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2))
    made = torch.Generator().manual_seed(0)
    images = Images(torch.rand((32, 1, 14, 14), generator=made), torch.arange(32) % 2, identity)
    net = explorer.load(model, data=Data("noise", ("even", "odd"), images, images, None))
    short = EXAMPLES[6].replace("epochs=8,", "epochs=1, batch=8,")
    assert short != EXAMPLES[6]
    names = {"explorer": explorer, "net": net}
    exec(compile(short, "README.md", "exec"), names)
    assert not Path("manidp.pt").exists()
    assert " of the MACs, " in capsys.readouterr().out
    assert (names["active"].source, names["own"].source) == ("active", "manidp")
    kept = names["own"].keep[names["own"].order[0]]
    assert list(names["easiest"]) == ["2"]
    assert names["easiest"]["2"].tolist() == kept.tolist()
    level = explorer.subnetworks(net, names["found"].network)
    torch.testing.assert_close(
        names["logits"].argmax(1), torch.from_numpy(level.predicted[:1].astype("int64"))
    )


def test_ci_runs_the_readmes_test_command():
    script = (ROOT / ".ci" / "run").read_text()
    for part in ("-e '.[test]'", "-m pytest"):
        assert part in README
        assert part in script
