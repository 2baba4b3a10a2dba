"""Python files of networks of one's own: made again by their constructors, whatever tensors and sizes they have."""

import importlib
import runpy
import sys
from dataclasses import replace

import pytest
import torch
import torchvision
from safetensors.torch import load_file

import explorer
from explorer.data import Normalize
from explorer.errors import BadInput, ExplorerError
from explorer.export import export
from explorer.export.definition import definition, imported
from explorer.export.program import archive, check_archive, program_of, trials
from explorer.zoo.constructor import Constructor
from tests.export.conftest import cut_of, own_network
from tests.export.test_script import require_same_answers, run_guarded

# What a user's own file may hold: attributes that repeat sizes, tied weights, a mask outside the state dict,
# two inputs, several outputs, names that the exported file uses itself.
MODULE = """
import torch
from torch import nn


class Own(nn.Module):
    def __init__(self, width=8, classes=3):
        super().__init__()
        self.first = nn.Conv2d(2, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.depthwise = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.last = nn.Conv2d(width, 6, 1)
        self.head = nn.Linear(6, classes)

    def forward(self, x):
        x = torch.relu(self.norm(self.first(x)))
        return self.head(torch.relu(self.last(self.depthwise(x))).mean((2, 3)))


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(5, 8)
        self.second = nn.Linear(8, 8)
        self.third = nn.Linear(8, 8)
        self.third.weight = self.second.weight
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        x = torch.relu(self.first(x))
        return self.head(torch.relu(self.third(torch.relu(self.second(x)))))


class Gated(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 1)
        self.last = nn.Conv2d(4, 32, 1)
        self.register_buffer("gate", torch.arange(4.0).view(4, 1, 1), persistent=False)
        self.head = nn.Linear(32, 3)

    def forward(self, x):
        return self.head(torch.relu(self.last(self.conv(x) * self.gate)).mean((2, 3)))


class Outer:
    class Inner(Own):
        pass


class Named(nn.Module):
    def __init__(self, name):
        super().__init__()
        self.name = name
        self.first = nn.Conv2d(2, 8, 3, padding=1)
        self.add_module(name, nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8)))
        self.last = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        x = getattr(self, self.name)(torch.relu(self.first(x)))
        return self.head(torch.relu(self.last(torch.relu(x))).mean((2, 3)))


class Several(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.other = nn.Conv2d(2, 8, 3), nn.Conv2d(2, 8, 3)
        self.head = nn.Linear(8, 3)

    def forward(self, batch, *, more):
        z = torch.relu(self.conv(batch["x"])) - torch.relu(self.other(more[0]))
        return self.head(z.mean((2, 3)))


def load(width):
    return Own(width, classes=4)
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """An importable file of the user's, in the folder that scripts are run in."""
    (tmp_path / "own_module.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("own_module")
    del sys.modules["own_module"]


def made(module, name, *args, **kwargs) -> Constructor:
    return Constructor(module.__name__, name, args, kwargs)


def cuts_of(module):
    image, vector = torch.randn(1, 2, 6, 6), torch.randn(1, 5)
    return {
        "own": cut_of(own_network(module.Own(), image, made(module, "Own"))),
        "arguments": cut_of(
            own_network(module.Own(12, classes=4), image, made(module, "Own", 12, classes=4))
        ),
        "double": cut_of(own_network(module.Own().double(), image.double(), made(module, "Own"))),
        "tied": cut_of(own_network(module.Tied(), vector, made(module, "Tied"))),
        "not in the state dict": cut_of(own_network(module.Gated(), image, made(module, "Gated"))),
        "inside a class": cut_of(own_network(module.Outer.Inner(), image, made(module, "Outer.Inner"))),
        "a name of ours": cut_of(own_network(module.load(width=10), image, made(module, "load", width=10))),
    }


def test_scripts_import_the_users_constructor_and_answer_as_the_model(module, tmp_path):
    cuts = cuts_of(module)
    inputs, answers, printed = run_guarded(cuts, tmp_path, "own_module")
    require_same_answers(cuts, inputs, answers)
    assert len(printed) == len(cuts)
    assert answers["double"].dtype == torch.float64


def test_scripts_and_archives_of_several_inputs_answer_as_the_model(module, tmp_path, capsys):
    image = torch.zeros(1, 2, 6, 6)
    example = {"more": [image], "batch": {"x": image}}
    cut = cut_of(own_network(module.Several(), example, made(module, "Several")))
    script = str(export(tmp_path, *cut.all)["script"])
    runpy.run_path(script, run_name="__main__")
    assert capsys.readouterr().out.endswith("logits of one input: (1, 3)\n")
    x, y = torch.randn(4, 2, 6, 6), torch.randn(4, 2, 6, 6)
    program = program_of(cut.model, cut.network.example)
    check_archive(archive(program, {}), trials(cut.model, cut.network.example, any_batch=True))
    with torch.no_grad():
        wanted = cut.model({"x": x}, more=[y])
        torch.testing.assert_close(runpy.run_path(script)["load"]()({"x": x}, more=[y]), wanted)
        torch.testing.assert_close(program.exported.module()({"x": x}, more=[y]), wanted)


ODD = ["class", 'a"b', "a\\b", "a\nb", 'q"""q', "{x}", "é b-c"]


def named(module, name):
    return cut_of(own_network(module.Named(name), torch.randn(1, 2, 6, 6), made(module, "Named", name)))


def test_parts_may_have_any_name(module, tmp_path):
    cuts = {f"name {place}": named(module, name) for place, name in enumerate(ODD)}
    require_same_answers(cuts, *run_guarded(cuts, tmp_path, "own_module")[:2])


@pytest.mark.parametrize("name", ODD)
def test_an_archive_is_written_of_any_name_or_refused_in_words(module, tmp_path, name):
    cut = named(module, name)
    if name in ODD[-2:]:
        assert export(tmp_path / "out", *cut.all, formats=("archive",))["archive"].is_file()
        return
    with pytest.raises(ExplorerError, match=r"Nothing was written.*Python file takes any name"):
        export(tmp_path / "out", *cut.all, formats=("archive",))
    assert not (tmp_path / "out").exists()


def test_torchvisions_networks_are_made_by_torchvision(tmp_path):
    options = {
        "resnet18": {"num_classes": 5},
        "mobilenet_v2": {"num_classes": 5},
        "googlenet": {"num_classes": 5, "aux_logits": True, "init_weights": False},
    }
    example = torch.randn(1, 3, 64, 64)
    cuts = {
        name: cut_of(
            own_network(
                getattr(torchvision.models, name)(**chosen),
                example,
                Constructor("torchvision.models", name, (), chosen),
            )
        )
        for name, chosen in options.items()
    }
    inputs, answers, _printed = run_guarded(cuts, tmp_path, "torchvision")
    require_same_answers(cuts, inputs, answers)
    for cut in cuts.values():
        dense = dict(cut.network.model.named_modules())
        rows = {(row[0], row[1]) for row in explorer.export.script.sizes(cut.graph)}
        changed = {
            (name, attribute)
            for name, module in cut.model.named_modules()
            for attribute, value in vars(module).items()
            if isinstance(value, int) and value != getattr(dense[name], attribute)
        }
        assert changed
        assert changed <= rows


def test_the_file_says_what_it_needs_and_how_it_makes_the_network(module, tmp_path):
    cut = cut_of(own_network(module.Own(12), torch.randn(1, 2, 6, 6), made(module, "Own", 12)))
    text = export(tmp_path / "out", *cut.all)["script"].read_text()
    assert "It needs torch, the module own_module, and Own_pruned.safetensors beside this file." in text
    assert "\nfrom own_module import Own\n" in text
    assert "rebuild(Own(12), read_tensors(path), SIZES)" in text
    assert "class Own" not in text


def test_a_normalisation_per_channel_is_written(module, tmp_path):
    network = own_network(module.Own(), torch.randn(1, 2, 6, 6), made(module, "Own"))
    rule = Normalize((0.25, 0.5), (0.125, 0.75))
    path = export(tmp_path, *cut_of(replace(network, normalize=rule)).all)["script"]
    namespace = {"__name__": "exported", "__file__": str(path)}
    exec(path.read_text(), namespace)
    images = torch.rand(3, 2, 4, 4)
    torch.testing.assert_close(namespace["normalize"](images), rule(images))
    assert "(pixel - (0.25, 0.5)) / (0.125, 0.75) per channel." in " ".join(path.read_text().split())


def test_a_constructor_of_a_name_of_ours_is_imported_under_another():
    found = imported(Constructor("pack.nets", "load", (3,)), taken=["load"])
    assert found.imports == ("from pack.nets import load as dense_load",)
    assert found.make == "dense_load(3)"
    inner = imported(Constructor("pack", "Path.Net"), taken=["Path"])
    assert (*inner.imports, inner.make) == ("from pack import Path as dense_Path", "dense_Path.Net()")


def test_a_removed_block_of_ones_own_network(tmp_path):
    made = Constructor("tests.export.blocks", "Residual")
    from tests.export.blocks import Residual

    cut = cut_of(own_network(Residual(), torch.randn(1, 2, 6, 6), made), removed=["body.0"])
    assert cut.plan.widths["body.0"] == 0
    path = export(tmp_path, *cut.all)["script"]
    namespace = {"__name__": "exported", "__file__": str(path)}
    exec(path.read_text(), namespace)
    x = torch.randn(4, 2, 6, 6)
    torch.testing.assert_close(namespace["load"]()(x), cut.model(x))
    assert "Removed whole: body.0." in path.read_text()


def test_another_networks_constructor_is_found_out_and_nothing_is_written(module, tmp_path):
    network = own_network(module.Own(12), torch.randn(1, 2, 6, 6), made(module, "Tied"))
    with pytest.raises(
        ExplorerError, match=r"would not run .* Nothing was written\. Tied\(\) of own_module may not"
    ):
        export(tmp_path / "out", *cut_of(network).all)
    assert not (tmp_path / "out").exists()


def test_tied_weights_are_stored_once_and_memory_that_is_shared_is_stored_twice(module, tmp_path):
    tied = cut_of(own_network(module.Tied(), torch.randn(1, 5), made(module, "Tied")))
    stored = load_file(export(tmp_path, *tied.all)["weights"])
    assert "second.weight" in stored
    assert "third.weight" not in stored
    shared = tied.model
    shared.first.bias.data = shared.head.weight.data.view(-1)[: len(shared.first.bias)]  # the same memory
    stored = load_file(export(tmp_path, *replace(tied, model=shared).all)["weights"])
    assert torch.equal(stored["first.bias"], shared.first.bias)
    assert torch.equal(stored["head.weight"], shared.head.weight)


def test_without_a_constructor_there_is_no_definition(module):
    network = own_network(module.Own(), torch.randn(1, 2, 6, 6), reason="Own is defined in a notebook.")
    with pytest.raises(BadInput, match=r"cannot be written as a Python file: Own is defined in a notebook\."):
        definition(network)
