"""The exported Python file: what it imports, what its network answers, how it reads."""

import json
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from explorer.errors import ExplorerError
from explorer.export import definition, export, script
from explorer.export.rebuild import rebuild
from explorer.graph.inputs import tensors_of
from explorer.zoo.networks import NETWORKS

# Runs scripts where nothing can be imported but Python's own modules, torch and the modules named.
GUARD = """
import importlib, json, runpy, sys
import torch
torch.set_num_threads(1)
allowed = ("torch", *sys.argv[4:])
assert not {"safetensors", "numpy"} & set(allowed)
sys.path.insert(0, ".")
for name in sys.argv[4:]:
    importlib.import_module(name)

class Refuse:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in sys.stdlib_module_names and top not in allowed:
            raise ImportError(f"blocked: {name}")

sys.meta_path.insert(0, Refuse())
try:
    import explorer
except ImportError as error:
    assert "blocked" in str(error)
else:
    raise AssertionError("the guard does not work")
answers = {}
inputs = torch.load(sys.argv[1])
for name, path in json.loads(sys.argv[2]).items():
    runpy.run_path(path, run_name="__main__")
    with torch.no_grad():
        answers[name] = runpy.run_path(path)["load"]()(*inputs[name])
torch.save(answers, sys.argv[3])
assert "safetensors" not in sys.modules
"""


def run_guarded(cuts, folder, *allowed):
    """Export cuts, by name, and run their scripts in a fresh Python; returns their answers and what they printed."""
    draw = torch.Generator().manual_seed(0)
    inputs, scripts = {}, {}
    for name, cut in cuts.items():
        scripts[name] = str(export(folder / name, *cut.all)["script"])
        inputs[name] = [
            torch.randn(3, *each.shape[1:], generator=draw, dtype=torch.float32).to(each.dtype)
            for each in tensors_of(cut.network.example)
        ]
    torch.save(inputs, folder / "inputs.pt")
    arguments = [str(folder / "inputs.pt"), json.dumps(scripts), str(folder / "answers.pt"), *allowed]
    done = subprocess.run(
        [sys.executable, "-I", "-c", GUARD, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return inputs, torch.load(folder / "answers.pt"), done.stdout.splitlines()


def require_same_answers(cuts, inputs, answers):
    for name, cut in cuts.items():
        with torch.no_grad():
            wanted = cut.model(*inputs[name])
        torch.testing.assert_close(answers[name], wanted, rtol=1e-6, atol=1e-6)


@pytest.fixture(scope="session")
def exported(cuts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    return {name: export(folder, *cut.all) for name, cut in cuts.items()}


def test_scripts_need_only_torch_and_answer_as_the_model(cuts, tmp_path):
    inputs, answers, printed = run_guarded(cuts, tmp_path)
    require_same_answers(cuts, inputs, answers)
    assert printed == [
        f"{cut.report.now.cost.params:,} parameters; logits of one input: (1, 10)" for cut in cuts.values()
    ]


def test_scripts_are_tidy(exported):
    paths = [str(paths["script"]) for paths in exported.values()]
    ruff = [sys.executable, "-m", "ruff"]
    options = ["--isolated", "--line-length", "110"]
    for command in (["check", "--select", "E,F,I,W,D100,D103,UP"], ["format", "--check"]):
        done = subprocess.run(
            [*ruff, *command, *options, *paths], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_docstring_says_what_the_file_is(exported, cut):
    text = exported["resnet20"]["script"].read_text()
    now = cut.report.now
    assert f"{now.cost.params:,} of 272,186 parameters" in text
    assert "(pixel - 0.25) / 0.5" in text
    assert "After cutting: no recovery." in text
    assert "Accuracy, 200 explore images: 30.0 % (24.1 to 36.7)" in text


def test_every_changed_attribute_is_in_the_table(cuts):
    for cut in cuts.values():
        rows = {(row[0], row[1]) for row in script.sizes(cut.graph)}
        for (name, dense), shrunk in zip(cut.network.model.named_modules(), cut.model.modules(), strict=True):
            for attribute, value in vars(dense).items():
                if isinstance(value, int) and value != getattr(shrunk, attribute):
                    assert (name, attribute) in rows


def test_the_loaded_network_can_be_trained(exported):
    namespace = {"__name__": "exported", "__file__": str(exported["vgg"]["script"])}
    exec(exported["vgg"]["script"].read_text(), namespace)
    model = namespace["load"]().train()
    model(torch.randn(4, 1, 28, 28)).square().mean().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("name", list(NETWORKS))
def test_widths_come_from_the_weights_file(name, cuts, exported):
    cut = cuts[name]
    dense = {key: value.clone() for key, value in cut.network.model.state_dict().items()}
    rebuilt = rebuild(NETWORKS[name](), dense, script.sizes(cut.graph)).eval()
    example = cut.network.example
    with torch.no_grad():
        torch.testing.assert_close(rebuilt(example), cut.network.model(example))


def test_rebuild_keeps_ties():
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(4, 4, bias=False)
            self.second = nn.Linear(4, 4, bias=False)
            self.second.weight = self.first.weight

    rows = [("second", "in_features", "first.weight", 1, 2, 1)]
    model = rebuild(Tied(), {"first.weight": torch.ones(3, 3)}, rows)
    assert model.second.weight is model.first.weight
    assert model.second.weight.shape == (3, 3)
    assert model.second.in_features == 6


def test_rebuild_refuses_weights_of_another_network(exported, tmp_path):
    weights = load_file(exported["resnet20"]["weights"])
    with pytest.raises(ValueError, match=r"of another network: VGG has no classifier\.never"):
        rebuild(NETWORKS["vgg"](), {"classifier.never": torch.ones(1)}, [])
    del weights["stem.weight"]
    save_file(weights, tmp_path / "short.safetensors")
    with pytest.raises(ValueError, match=r"not complete: stem.weight is missing"):
        rebuild(NETWORKS["resnet20"](), load_file(tmp_path / "short.safetensors"), [])


def test_a_source_that_imports_more_is_refused():
    with pytest.raises(ExplorerError, match=r"imports numpy\.random"):
        definition.carried('"""Doc."""\n\nimport torch\nimport numpy.random\n', "Net()")
    with pytest.raises(ExplorerError, match=r"imports \.blocks"):
        definition.carried("def f():\n    from .blocks import Block\n", "Net()")


def test_imports_are_merged_and_sorted():
    lines = [
        "from torch import nn",
        "import torch",
        "import math",
        "from torch import Tensor",
        "import torch",
    ]
    assert definition.import_block(lines) == "import math\n\nimport torch\nfrom torch import Tensor, nn"
