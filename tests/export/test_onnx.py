"""ONNX: onnxruntime's answers are torch's; what cannot be written is said with its operator, or its command."""

import tomllib
from pathlib import Path

import onnx
import onnxruntime
import pytest
import torch
import torchvision
from torch import nn

from explorer.errors import ExplorerError
from explorer.export import check_formats, export, onnx_file
from explorer.export.onnx_file import check_onnx, onnx_bytes
from explorer.export.program import program_of, trials
from tests.export.blocks import Residual
from tests.export.conftest import cut_of, own_network
from tests.export.test_program import IMAGE, OneImage, Small, TwoInputs


def written(model, example) -> bytes:
    return onnx_bytes(program_of(model, example), "network", "about it")


def answers(content: bytes, *inputs: torch.Tensor) -> list[torch.Tensor]:
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]
    given = {name: each.numpy() for name, each in zip(names, inputs, strict=True)}
    return [torch.from_numpy(each) for each in session.run(None, given)]


def close(found: torch.Tensor, wanted: torch.Tensor) -> bool:
    return bool((found - wanted).abs().max() <= 1e-4 * wanted.abs().max())


def sides(values) -> list[list[object]]:
    return [[dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in values]


@pytest.fixture(scope="module")
def bundled(cuts):
    """The ONNX models of two cuts."""
    return {name: written(cuts[name].model, cuts[name].network.example) for name in ("resnet20", "inception")}


def test_a_bundled_networks_answers_in_onnxruntime_are_torchs(bundled, cuts):
    for name, content in bundled.items():
        for batch in (1, 6):
            images = torch.randn(batch, 1, 28, 28) * 3
            with torch.no_grad():
                wanted = cuts[name].model(images)
            (found,) = answers(content, images)
            assert found.shape == (batch, 10)
            assert close(found, wanted)
            assert not close(found.roll(1, 1), wanted)


def test_the_answers_of_other_weights_are_refused(bundled, cut):
    other = trials(cut.network.model, cut.network.example, any_batch=True)
    with pytest.raises(ExplorerError, match="The ONNX model would be another network"):
        check_onnx(bundled["resnet20"], other)


@pytest.mark.slow
def test_a_network_of_torchvision():
    cut = cut_of(own_network(torchvision.models.resnet18(num_classes=4), torch.randn(1, 3, 64, 64)))
    images = torch.randn(3, 3, 64, 64)
    (found,) = answers(written(cut.model, cut.network.example), images)
    assert close(found, cut.model(images).detach())


def test_the_file_has_plain_names_and_says_what_it_is():
    model = onnx.load_from_string(written(Small(), IMAGE))
    assert [each.name for each in model.graph.input] == ["input"]
    assert [each.name for each in model.graph.output] == ["logits"]
    assert sides(model.graph.input) == [["batch", 2, 6, 6]]
    assert sides(model.graph.output) == [["batch", 3]]
    assert (model.graph.name, model.doc_string) == ("network", "about it")


def test_one_image_at_a_time():
    content = written(OneImage(), IMAGE)
    assert sides(onnx.load_from_string(content).graph.input) == [[1, 2, 6, 6]]


def test_several_inputs_and_outputs():
    model, example = TwoInputs().eval(), (IMAGE, IMAGE.flip(3))
    content = written(model, example)
    inputs = torch.randn(3, 2, 6, 6), torch.randn(3, 2, 6, 6)
    wanted = model(*inputs)
    logits, maps = answers(content, *inputs)
    assert close(logits, wanted["logits"].detach())
    assert close(maps, wanted["maps"][0].detach())


def test_a_removed_block():
    cut = cut_of(own_network(Residual(), IMAGE), removed=["body.0"])
    images = torch.randn(4, 2, 6, 6)
    (found,) = answers(written(cut.model, IMAGE), images)
    assert close(found, cut.model(images).detach())


def test_half_precision():
    model = Small().eval().half()
    example = IMAGE.half()
    check_onnx(written(model, example), trials(model, example, any_batch=True))


def test_a_type_that_onnxruntime_has_no_kernels_for_is_refused_in_words():
    model, example = Small().eval().double(), IMAGE.double()
    content = written(model, example)
    with pytest.raises(ExplorerError, match=r"would not run in onnxruntime: .*Conv.* Nothing was written"):
        check_onnx(content, trials(model, example, any_batch=True))


class Singular(Small):
    def forward(self, x):
        return torch.linalg.svdvals(self.conv(x)).sum(1)


def test_an_operator_without_a_translation_is_named(capfd):
    with pytest.raises(ExplorerError, match=r"no translation of the operator aten\._linalg_svd\. Nothing"):
        written(Singular(), IMAGE)
    assert capfd.readouterr() == ("", "")


def test_a_model_that_onnx_finds_unsound_is_refused():
    model = onnx.load_from_string(written(Small(), IMAGE))
    model.graph.node[0].op_type = "Nothing"
    with pytest.raises(ExplorerError, match="would not run in onnxruntime"):
        check_onnx(model.SerializeToString(), trials(Small().eval(), IMAGE, any_batch=True))


def test_more_than_one_file_holds_is_refused(monkeypatch):
    monkeypatch.setattr(onnx_file, "MOST_BYTES", 1000)
    with pytest.raises(ExplorerError, match=r"and an ONNX file holds 2 GB at most\. Nothing was written"):
        written(Small(), IMAGE)


def test_without_the_extra_the_command_is_named_before_any_work(cut, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_file, "find_spec", lambda name: None if name != "onnx" else object())
    words = r"needs onnxscript, onnxruntime, not installed here\. Run: pip install 'pruning-explorer\[onnx\]'"
    with pytest.raises(ExplorerError, match=words):
        check_formats(["onnx"])
    with pytest.raises(ExplorerError, match=words):
        export(tmp_path / "new", *cut.all, formats=("network", "onnx"))
    assert not (tmp_path / "new").exists()
    check_formats(["network", "archive"])


def test_the_extra_and_the_tests_name_the_packages():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    assert {each.partition(">")[0] for each in extras["onnx"]} == set(onnx_file.PACKAGES)
    assert set(extras["onnx"]) <= set(extras["test"])


def test_a_layer_norm_and_attention_are_translated():
    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.LayerNorm(8)
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
            self.head = nn.Linear(8, 3)

        def forward(self, x):
            x = self.norm(x.flatten(2).transpose(1, 2))
            return self.head(self.attention(x, x, x, need_weights=False)[0].mean(1))

    model = Attention().eval()
    example = torch.randn(1, 8, 3, 3)
    check_onnx(written(model, example), trials(model, example, any_batch=True))
