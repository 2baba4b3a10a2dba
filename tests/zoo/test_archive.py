"""torch.export archives: what is rebuilt answers as the exported program does; what could run code is refused."""

import io
import json
import os
import pickle
import random
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional

import explorer
from explorer.errors import BadInput
from explorer.zoo import Network, load
from tests.networks import random_plan
from tests.zoo.own_networks import Plain
from tests.zoo.test_checkpoints import Evil

# torch's exporter warns of its own parts' age.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


class Mixed(nn.Module):
    """Every kind of layer that is rebuilt as a module, and operators in between."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1, stride=2, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU(inplace=True),
            nn.Conv2d(8, 8, 3, groups=8, padding="same", dilation=2),
            nn.PReLU(8),
            nn.GroupNorm(2, 8),
            nn.ConvTranspose2d(8, 8, 3, stride=2, padding=1, output_padding=1),
            nn.InstanceNorm2d(8, affine=True),
            nn.Hardswish(inplace=True),
        )
        self.scale = nn.Parameter(torch.rand(8, 1, 1))
        self.register_buffer("shift", torch.rand(8, 1, 1), persistent=False)
        self.twice = nn.Conv2d(8, 8, 1)
        self.norm = nn.LayerNorm(8)
        self.drop = nn.Dropout(0.3)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        y = self.twice(self.twice(self.body(x))) * self.scale + self.shift
        n, c, h, w = y.shape
        y = y.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)
        y = functional.hardtanh(y, 0.0, 6.0) + torch.tensor([0.5])
        y = functional.interpolate(
            functional.pad(y[:, :, 1:-1], (1, 1, 1, 1)), scale_factor=2, mode="nearest"
        )
        y = torch.cat([functional.max_pool2d(y, 2), y.flip(1)[:, :, ::2, ::2]], 1).chunk(2, 1)[1]
        y = y * 1.5
        y += functional.avg_pool2d(y, 3, 1, 1)
        return self.head(self.drop(self.norm(torch.flatten(functional.adaptive_avg_pool2d(y, 1), 1))))


def live(model: nn.Module, example: Tensor) -> nn.Module:
    """In eval mode, with batch norm statistics and affine weights that matter."""
    torch.manual_seed(2)
    model.train()(torch.cat([example, torch.rand_like(example)]))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.rand_like(parameter)
    return model.eval()


def small(name: str, **options: Any) -> Callable[[], nn.Module]:
    return lambda: torchvision.models.get_model(name, weights=None, **options)


NETWORKS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "mixed": (Mixed, 8),
    "resnet18": (small("resnet18", num_classes=7), 32),
    "mobilenet_v3_small": (small("mobilenet_v3_small", num_classes=7), 32),
    "densenet": (lambda: torchvision.models.DenseNet(4, (2, 2), 8, num_classes=7), 32),
    "shufflenet": (small("shufflenet_v2_x0_5", num_classes=7), 32),
    "swin": (lambda: torchvision.models.SwinTransformer([4, 4], 8, [1, 1], [2, 2], [4, 4], num_classes=7), 32),
    "vit": (lambda: torchvision.models.VisionTransformer(32, 8, 2, 2, 8, 16, num_classes=7), 32),
}  # fmt: skip


FIXED = ("swin", "vit")  # their windows and heads are reshaped by numbers that hold the batch


def exported(path: Path, model: nn.Module, example: Tensor, **options: Any) -> torch.export.ExportedProgram:
    program = torch.export.export(model, (example,), **options)
    torch.export.save(program, path)
    return program


def two(example: Tensor) -> dict[str, Any]:
    """Two images, and that their number may vary."""
    return {
        "example": torch.cat([example, example * 0.5]),
        "dynamic_shapes": ({0: torch.export.Dim("batch")},),
    }


@pytest.mark.parametrize(
    ("name", "batch"),
    [(name, batch) for name in NETWORKS for batch in ("one", "any") if batch == "any" or name not in FIXED],
)
def test_what_is_rebuilt_answers_as_the_program_does(tmp_path: Path, name: str, batch: str) -> None:
    made, side = NETWORKS[name]
    example = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    model = live(made(), example)
    options = two(example) if batch == "any" else {"example": example}
    exported(path := tmp_path / "net.pt2", model, **options)
    network = load(path)
    inputs = torch.rand(3, 3, side, side)
    with torch.no_grad():
        torch.testing.assert_close(network.model(inputs), model(inputs), rtol=1e-5, atol=1e-5)
    ours, theirs = network.model.state_dict(), model.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(value, theirs[key]) for key, value in ours.items())
    layers = (nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm2d, nn.LayerNorm, nn.GroupNorm, nn.PReLU)
    for path_, module in model.named_modules():
        if isinstance(module, layers) and path_ != "twice":
            again = network.model.get_submodule(path_)
            assert type(again) is type(module)
            for attribute in ("in_channels", "out_channels", "stride", "padding", "dilation", "groups", "eps",
                              "output_padding", "momentum", "num_features", "num_groups", "num_channels"):  # fmt: skip
                if hasattr(module, attribute):
                    assert getattr(again, attribute) == getattr(module, attribute), (path_, attribute)
    assert network.example.shape == example.shape
    assert "has no class" in network.no_constructor


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small"])
def test_an_archive_is_traced_pruned_proven_and_trained(tmp_path: Path, name: str) -> None:
    made, side = NETWORKS[name]
    example = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    model = live(made(), example)
    exported(path := tmp_path / "net.pt2", model, example)
    network = load(path)
    graph = explorer.trace(network.model, network.example)
    assert len(graph.layers) == len(explorer.trace(model, example).layers)
    assert len(graph.prunable) == len(explorer.trace(model, example).prunable)
    plan = random_plan(graph, 0)
    proof = explorer.prove(network.model, graph, plan, torch.rand(4, 3, side, side))
    assert proof.ok
    assert proof.conclusive
    shrunk = explorer.shrink(network.model, graph, plan).train()
    shrunk(torch.rand(4, 3, side, side)).sum().backward()
    assert all(parameter.grad is not None for parameter in shrunk.parameters())


def test_dropout_drops_in_training_only_and_at_its_place(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Dropout(0.3), nn.Identity()).eval()
    exported(path := tmp_path / "net.pt2", model, torch.ones(1, 3, 8, 8))
    rebuilt = load(path).model
    many = torch.ones(50, 3, 8, 8)
    assert torch.equal(rebuilt(many), many.flatten(1))
    assert type(rebuilt.get_submodule("1")) is nn.Dropout
    dropped = rebuilt.train()(many)
    assert abs(float((dropped == 0).float().mean()) - 0.3) < 0.03  # 6 standard deviations of 9,600 draws


def test_modules_may_have_names_that_are_no_identifiers(tmp_path: Path) -> None:
    model = nn.Sequential()
    for name in ("a b", "{x}", "é-1", "it's"):
        model.add_module(name, nn.Conv2d(3, 3, 3))
    example = torch.randn(1, 3, 12, 12)
    exported(tmp_path / "odd.pt2", model.eval(), **two(example))
    network = explorer.load(tmp_path / "odd.pt2")
    assert list(network.model.state_dict()) == list(model.state_dict())
    torch.testing.assert_close(network.model(example), model(example))


def test_tied_weights_stay_tied(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)).eval()
    model[1].weight = model[0].weight
    example = torch.rand(1, 3, 4, 4)
    exported(path := tmp_path / "net.pt2", model, example)
    rebuilt = load(path).model
    torch.testing.assert_close(rebuilt(example), model(example))
    assert rebuilt.get_parameter("0.weight") is rebuilt.get_parameter("1.weight")


def test_what_the_forward_does_not_use_is_left_out_and_told(tmp_path: Path) -> None:
    model = Plain().eval()
    model.unused = nn.Linear(2, 2)
    exported(path := tmp_path / "net.pt2", model, torch.rand(1, 3, 8, 8))
    network = load(path)
    assert "left out: unused.weight, unused.bias." in network.notes[0]


class Applied(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function
        self.conv = nn.Conv2d(3, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.conv(x))


OPERATORS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu in place": lambda x: functional.relu_(x + 1),
    "leaky relu": lambda x: functional.leaky_relu(x, 0.2, inplace=True),
    "elu": lambda x: functional.elu(x, 0.7),
    "gelu": lambda x: functional.gelu(x, approximate="tanh"),
    "sigmoid in place": lambda x: (x * 2).sigmoid_(),
    "softplus": functional.softplus,
    "clamp": lambda x: x.clamp(-0.1, 0.2) + x.clamp(min=0),
    "number minus": lambda x: 1 - x,
    "scaled": lambda x: torch.add(x, x.abs(), alpha=3) / 2 + x**2,
    "instance norm": functional.instance_norm,
    "shared batch norm": lambda x: functional.batch_norm(x, torch.zeros(4), torch.ones(4)),
    "unit length": lambda x: functional.normalize(x, dim=1),
    "softmax": lambda x: x.softmax(1) + x.log_softmax(-1),
    "pools": lambda x: functional.adaptive_max_pool2d(x, 2) + functional.avg_pool2d(x, 4),
    "lp pool": lambda x: functional.lp_pool2d(x.abs() + 1, 2, 2),
    "to a size": lambda x: functional.interpolate(x, (5, 7), mode="bilinear", align_corners=True),
    "to a scale": lambda x: functional.interpolate(x, scale_factor=1.5, mode="bicubic", align_corners=False),
    "paddings": lambda x: functional.pad(functional.pad(x, (1, 2)), (1, 1, 1, 1), mode="reflect"),
    "split": lambda x: torch.cat([x.split(3, 1)[1], *x.split([1, 3], 1), x.unbind(1)[0][:, None]], 1),
    "indices": lambda x: x[:, [2, 0]] + x[:, 1:3] + x[:, -1:],
    "steps": lambda x: x[..., 1::2, :-1] + x[:, :, ::2, 1:],
    "turned": lambda x: x.roll(1, 2).movedim(1, -1).flip(2).swapaxes(1, 2).unflatten(-1, (2, 2)),
    "chosen": lambda x: torch.where(x > 0, x, x.mean((2, 3), keepdim=True)).masked_fill(x > 1, 0.0),
    "statistics": lambda x: x.var((2, 3)) + x.std((2, 3)) + x.amax((2, 3)) + x.logsumexp((2, 3)),
    "products": lambda x: (
        torch.einsum("nchw,nchv->nwv", x, x) + x.flatten(1, 2).transpose(1, 2) @ x.flatten(1, 2)
    ),
    "shuffles": lambda x: functional.pixel_shuffle(functional.channel_shuffle(x, 2), 2),
    "types": lambda x: x.double().float().type_as(x).expand_as(x).contiguous().view_as(x),
    "repeated": lambda x: x.repeat(1, 2, 1, 1) + x.repeat_interleave(2, 1),
}


@pytest.mark.parametrize("function", OPERATORS.values(), ids=OPERATORS)
def test_operators_answer_as_they_did(tmp_path: Path, function: Callable[[Tensor], Tensor]) -> None:
    example = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    model = Applied(function).eval()
    exported(path := tmp_path / "net.pt2", model, example)
    torch.testing.assert_close(load(path).model(example), model(example))


class Several(Plain):
    """Answers with a dictionary."""

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        features = self.norm(self.conv(x))
        return {"logits": self.head(features.mean((2, 3))), "features": features}


def test_several_outputs_become_a_tuple(tmp_path: Path) -> None:
    example = torch.rand(1, 3, 8, 8)
    model = Several().eval()
    exported(path := tmp_path / "net.pt2", model, example)
    logits, features = load(path).model(example)
    torch.testing.assert_close(logits, model(example)["logits"])
    torch.testing.assert_close(features, model(example)["features"])


def test_frozen_parameters_stay_frozen(tmp_path: Path) -> None:
    model = Plain().eval()
    model.conv.weight.requires_grad_(False)
    exported(path := tmp_path / "net.pt2", model, torch.rand(1, 3, 8, 8))
    rebuilt = load(path).model
    assert {name for name, value in rebuilt.named_parameters() if not value.requires_grad} == {"conv.weight"}


def test_an_archive_takes_weights_from_a_file_and_a_constructor(tmp_path: Path) -> None:
    example = torch.rand(1, 3, 8, 8)
    other = live(Plain(), example)
    exported(path := tmp_path / "net.pt2", Plain().eval(), example)
    torch.save(other.state_dict(), tmp_path / "other.pt")
    network = load(str(path), weights=tmp_path / "other.pt", constructor=Plain)
    torch.testing.assert_close(network.model(example), other(example))
    assert network.constructor.expression == "Plain()"


# ---- refused ---------------------------------------------------------------------------------------------


class TwoInputs(nn.Module):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x + y


class Folded(nn.Module):
    """Mixes images when it is run on another batch than it was exported with."""

    def forward(self, x: Tensor) -> Tensor:
        return (x - x.mean(0)).flatten(1) @ torch.ones(x[0].numel(), 2)


def test_networks_that_do_not_take_one_batch_of_images_are_refused(tmp_path: Path) -> None:
    example = torch.rand(1, 3, 4, 4)
    path = tmp_path / "net.pt2"
    torch.export.save(torch.export.export(TwoInputs(), (example, example)), path)
    with pytest.raises(BadInput, match=r"takes 2 inputs; .*Export it again: torch.export.save"):
        load(path)
    exported(path, Folded(), example)
    with pytest.raises(BadInput, match=r"mixes the images of a batch.*Dim\("):
        load(path)


@pytest.mark.parametrize("name", FIXED)
def test_a_batch_that_is_written_everywhere_is_refused_with_the_way_out(tmp_path: Path, name: str) -> None:
    made, side = NETWORKS[name]
    exported(path := tmp_path / "net.pt2", made().eval(), torch.rand(1, 3, side, side))
    with pytest.raises(BadInput, match=r"was exported for batches of one size only .* torch.export.Dim\("):
        load(path)


def test_an_export_in_training_mode_is_refused(tmp_path: Path) -> None:
    exported(path := tmp_path / "net.pt2", Plain().train(), torch.rand(2, 3, 8, 8))
    with pytest.raises(BadInput, match="in training mode"):
        load(path)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    exported(path := tmp_path / "net.pt2", Plain().eval(), torch.rand(1, 3, 8, 8))
    return path


def changed(path: Path, change: Callable[[str, bytes], bytes | None], **more: bytes) -> None:
    """Rewrite the entries of an archive; None leaves one out."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    root = next(iter(entries)).partition("/")[0]
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in {
            **entries,
            **{f"{root}/{name}": content for name, content in more.items()},
        }.items():
            if (new := change(name, content)) is not None:
                archive.writestr(name, new)


def in_json(entry: str, edit: Callable[[Any], None]) -> Callable[[str, bytes], bytes]:
    def change(name: str, content: bytes) -> bytes:
        if not name.endswith(entry):
            return content
        value = json.loads(content)
        edit(value)
        return json.dumps(value).encode()

    return change


def nodes(program: Any) -> Any:
    return program["graph_module"]["graph"]["nodes"]


def rename_weight(config: Any) -> None:
    config["config"]['conv.weight"); import os; ("'] = config["config"].pop("conv.weight")


def keyword_of_code(program: Any) -> None:
    nodes(program)[0]["inputs"][0] |= {"kind": 2, "name": "x=open('mark', 'w')) #"}
    nodes(program)[0]["target"] = "torch.ops.aten.neg.default"


EDITS: dict[str, tuple[str, Callable[[Any], Any], str]] = {
    "pickled weight": (
        "model_weights_config.json",
        lambda config: config["config"]["conv.weight"].update(use_pickle=True),
        "conv.weight as a pickled object, which could run code; it was not opened",
    ),
    "name of code": ("model_weights_config.json", rename_weight, "which is no name of a module's tensor"),
    "keyword of code": ("model.json", keyword_of_code, "arguments that have no names"),
    "foreign operator": (
        "model.json",
        lambda program: nodes(program)[0].update(target="torch.ops.mine.run.default"),
        "calls torch.ops.mine.run.default, which is no operator of torch itself",
    ),
    "python function": (
        "model.json",
        lambda program: nodes(program)[0].update(target="os.system"),
        "calls os.system, which is no operator",
    ),
    "operator that writes files": (
        "model.json",
        lambda program: nodes(program)[0].update(target="torch.ops.aten.from_file.default"),
        "aten.from_file.default, which is not known to be harmless",
    ),
    "unknown operator": (
        "model.json",
        lambda program: nodes(program)[0].update(target="torch.ops.aten.nothing.default"),
        "which this version of torch does not have",
    ),
    "another schema": (
        "model.json",
        lambda program: program["schema_version"].update(major=9),
        "has version 9 of the archive's schema",
    ),
    "too few numbers": (
        "model_weights_config.json",
        lambda config: config["config"]["conv.weight"]["tensor_meta"]["sizes"][0].update(as_int=10**9),
        "holds fewer numbers than conv.weight has",
    ),
    "another shape": (
        "model_weights_config.json",
        lambda config: config["config"]["norm.weight"]["tensor_meta"]["sizes"][0].update(as_int=5),
        "was exported for batches|cannot be rebuilt|BatchNorm",
    ),
    "unknown value": (
        "model.json",
        lambda program: nodes(program)[1]["inputs"][0].update(arg={"as_tensor": {"name": "nobody"}}),
        r"its graph is not consistent \(KeyError\('nobody'\)\)",
    ),
    "no graph": (
        "model.json",
        lambda program: program.pop("graph_module"),
        "its graph is not consistent",
    ),
}


@pytest.mark.parametrize(("entry", "edit", "message"), EDITS.values(), ids=EDITS)
def test_edited_archives_are_refused(
    archive: Path, entry: str, edit: Callable[[Any], Any], message: str
) -> None:
    changed(archive, in_json(entry, edit))
    with pytest.raises(BadInput, match=message) as refusal:
        load(archive)
    assert "net.pt2" in str(refusal.value)


def test_pickles_in_an_archive_are_never_opened(archive: Path, tmp_path: Path) -> None:
    """torch.export.load opens the sample inputs without restriction; the constants only if they are named so."""
    buffer = io.BytesIO()
    torch.save(Evil(tmp_path / "mark"), buffer)
    evil = buffer.getvalue()
    changed(archive, lambda name, content: evil if "sample_inputs" in name else content)
    assert load(archive).model is not None
    opaque = in_json(
        "model_constants_config.json",
        lambda config: config["config"].update(
            x={"path_name": "opaque_obj_0", "use_pickle": True, "is_param": False}
        ),
    )
    changed(archive, opaque, **{"data/constants/opaque_obj_0": pickle.dumps(Evil(tmp_path / "mark"))})
    with pytest.raises(BadInput, match="x as a pickled object"):
        load(archive)
    assert not (tmp_path / "mark").exists()


def test_size_expressions_are_not_evaluated(tmp_path: Path) -> None:
    example = torch.rand(1, 3, 8, 8)
    exported(path := tmp_path / "net.pt2", Plain().eval(), **two(example))
    mark = tmp_path / "mark"
    expression = f"__import__('pathlib').Path({str(mark)!r}).touch()"

    def edit(program: Any) -> None:
        sizes = program["graph_module"]["graph"]["tensor_values"].values()
        for each in (size for value in sizes for size in value["sizes"] if "as_expr" in size):
            each["as_expr"]["expr_str"] = expression

    changed(path, in_json("model.json", edit))
    assert isinstance(load(path), Network)
    assert not mark.exists()


def test_compiled_code_is_refused(archive: Path) -> None:
    changed(archive, lambda _, content: content, **{"data/aotinductor/model/lib.so": b"\x7fELF"})
    with pytest.raises(BadInput, match="holds compiled code"):
        load(archive)


def test_damaged_and_incomplete_archives_are_refused(archive: Path) -> None:
    content = archive.read_bytes()
    archive.write_bytes(content[: len(content) // 2])
    with pytest.raises(BadInput, match="damaged or was cut off"):
        load(archive)
    archive.write_bytes(content)
    changed(archive, lambda name, content: None if name.endswith("weights_config.json") else content)
    with pytest.raises(BadInput, match=r"older than torch 2\.9, or not complete"):
        load(archive)


def test_a_flipped_bit_is_refused_or_changes_nothing(archive: Path) -> None:
    sound, images = load(archive).model, torch.rand(2, 3, 8, 8)
    content, draw, refused = archive.read_bytes(), random.Random(0), 0
    for _ in range(120):
        place = draw.randrange(len(content))
        archive.write_bytes(
            content[:place] + bytes([content[place] ^ 1 << draw.randrange(8)]) + content[place + 1 :]
        )
        try:
            found = load(archive).model
        except BadInput:
            refused += 1
        else:
            assert torch.equal(found(images), sound(images))
    assert refused > 60


@pytest.mark.skipif(sys.platform != "linux", reason="file names are texts there")
def test_a_file_name_that_is_no_text_gives_a_name_that_can_be_written(archive: Path) -> None:
    path = archive.rename(archive.with_name(os.fsdecode(b"net\xff.pt2")))
    network = load(path)
    assert (network.name, network.file_name) == ("net?", "net_")


def test_a_damaged_name_in_the_directory_is_refused_in_words(archive: Path) -> None:
    content = archive.read_bytes()
    place = content.rindex(b"data/weights")
    archive.write_bytes(content[:place] + b"\xff" + content[place + 1 :])
    for use in (
        lambda: load(archive),
        lambda: load(Plain(), example=torch.rand(1, 3, 8, 8), weights=archive),
    ):
        with pytest.raises(BadInput, match="damaged or was cut off"):
            use()


def test_an_archive_given_as_weights_is_refused_with_the_way_to_load_it(archive: Path) -> None:
    with pytest.raises(BadInput, match=r"a network and not only weights: load\("):
        load(Plain(), example=torch.rand(1, 3, 8, 8), weights=archive)
