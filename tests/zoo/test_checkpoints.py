"""Weights from files: what fits is found and told, what does not is refused with the way out, nothing is run."""

import io
import pickle
import random
import zipfile
from collections import Counter, OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from explorer.errors import BadInput
from explorer.surgery import shrink
from explorer.zoo import Network, load
from explorer.zoo.checkpoints import read_checkpoint
from tests.networks import graph_of, random_plan
from tests.zoo.own_networks import Inside, Plain

EXAMPLE = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def trained(seed: int = 1, kind: Callable[[], nn.Module] = Plain) -> nn.Module:
    """A network whose weights and batch norm statistics are nobody's initial ones."""
    torch.manual_seed(seed)
    model = kind()
    with torch.no_grad():
        for value in model.state_dict().values():
            if value.is_floating_point():
                value.copy_(torch.rand_like(value) + 0.1)
    return model.eval()


def filled(path: Path, model: nn.Module | None = None) -> Network:
    return load(model or Plain(), example=EXAMPLE, weights=path)


def saved(path: Path, content: Any, **options: Any) -> Path:
    torch.save(content, path, **options)
    return path


def renamed(state: dict[str, Tensor], rule: Callable[[str], str]) -> dict[str, Tensor]:
    return OrderedDict((rule(name), value) for name, value in state.items())


WRITERS: dict[str, Callable[[Path, dict[str, Tensor]], Path]] = {
    "safetensors": lambda path, state: save_file(state, path) or path,
    "zip": saved,
    "legacy": lambda path, state: saved(path, state, _use_new_zipfile_serialization=False),
    "in a checkpoint": lambda path, state: saved(
        path, {"epoch": 3, "model_state_dict": state, "optimizer": {"state": {0: {"exp_avg": torch.ones(3)}}}}
    ),
    "deep inside": lambda path, state: saved(
        path, {"trainer": {"callbacks": [], "net": state}, "loss": torch.ones(())}
    ),
    "of DataParallel": lambda path, state: saved(path, renamed(state, "module.{}".format)),
    "of a wrapper": lambda path, state: saved(path, renamed(state, "student.encoder.{}".format)),
    "of a compiled part": lambda path, state: saved(
        path, renamed(state, lambda name: name.replace("norm.", "norm._orig_mod."))
    ),
    "with other dots": lambda path, state: saved(
        path, renamed(state, lambda name: name.replace("norm.", "no.rm."))
    ),
    "without counters": lambda path, state: saved(
        path, {name: value for name, value in state.items() if "num_batches" not in name}
    ),
    "counted by thop": lambda path, state: saved(path, {**state, "conv.total_ops": torch.zeros(1)}),
}


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".anything"])
@pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS)
def test_a_file_is_found_out_by_its_content_and_its_names(
    tmp_path: Path, writer: Callable[[Path, dict[str, Tensor]], Path], suffix: str
) -> None:
    model = trained()
    network = filled(writer(tmp_path / f"weights{suffix}", model.state_dict()))
    assert torch.equal(network.model(EXAMPLE), model(EXAMPLE))
    assert network.trained


def test_what_was_adapted_is_told(tmp_path: Path) -> None:
    state = renamed(trained().half().state_dict(), "module.{}".format)
    notes = " ".join(filled(saved(tmp_path / "a.pt", {"net": state})).notes)
    assert "the weights under 'net' were taken" in notes
    assert "without 'module.'" in notes
    assert "8 tensors are float16 and were converted to float32" in notes
    assert filled(saved(tmp_path / "b.pt", trained().state_dict())).notes == ()


def test_weights_of_a_part_are_put_into_the_whole(tmp_path: Path) -> None:
    model = trained()
    network = filled(saved(tmp_path / "a.pt", model.state_dict()), Inside())
    assert torch.equal(network.model(EXAMPLE), model(EXAMPLE))
    assert "with 'backbone.' before their names" in network.notes[0]


def test_the_model_is_taken_before_its_moving_average_and_the_other_is_named(tmp_path: Path) -> None:
    model = trained(1)
    content = {"ema": trained(2).state_dict(), "model": model.state_dict()}
    network = filled(saved(tmp_path / "a.pt", content))
    assert torch.equal(network.model(EXAMPLE), model(EXAMPLE))
    assert "under 'model' were taken; not used: ema" in network.notes[0]


@pytest.mark.parametrize(
    ("write", "left_out"),
    [
        (lambda state: {**renamed(state, "net.{}".format), "loss.weight": torch.ones(4)}, {"loss.weight"}),
        (lambda state: {**state, "criterion.centres": torch.ones(2, 3)}, {"criterion.centres"}),
        (lambda state: {**state, "total_ops": torch.zeros(1), "conv.total_params": torch.zeros(1)},
         {"total_ops", "conv.total_params"}),
        (lambda state: {"n_averaged": torch.tensor(5), **renamed(state, "module.{}".format)}, {"n_averaged"}),
        (lambda state: {**renamed(state, "backbone.{}".format), "neck.weight": torch.ones(3)}, {"neck.weight"}),
    ],
    ids=["Lightning", "beside the network", "thop", "AveragedModel", "outside of the prefix"],
)  # fmt: skip
def test_what_was_saved_beside_the_network_is_left_out_and_named(
    tmp_path: Path, write: Callable[[dict[str, Tensor]], dict[str, Tensor]], left_out: set[str]
) -> None:
    model = trained()
    network = filled(saved(tmp_path / "a.pt", write(model.state_dict())))
    assert torch.equal(network.model(EXAMPLE), model(EXAMPLE))
    (note,) = (note for note in network.notes if f"({len(left_out)})" in note)
    assert set(note.rpartition(": ")[2].rstrip(".").split(", ")) == left_out


def test_a_deeper_network_is_not_cut_off_at_the_depth_of_a_smaller_one(tmp_path: Path) -> None:
    def deep(layers: int) -> nn.Module:
        return nn.Sequential(*(nn.Conv2d(3, 3, 1) for _ in range(layers)))

    for wrap in ("{}", "module.{}"):
        path = saved(tmp_path / "a.pt", renamed(deep(3).state_dict(), wrap.format))
        with pytest.raises(BadInput, match=r"2\.weight"):
            filled(path, deep(2))


def test_a_moving_average_beside_the_network_in_one_state_dict_is_not_taken(tmp_path: Path) -> None:
    model = trained(1)
    both = renamed(trained(2).state_dict(), "ema_net.{}".format) | renamed(
        model.state_dict(), "net.{}".format
    )
    network = filled(saved(tmp_path / "a.pt", both))
    assert torch.equal(network.model(EXAMPLE), model(EXAMPLE))
    assert any("ema_net.conv.weight" in note for note in network.notes)


def test_the_given_module_is_not_changed(tmp_path: Path) -> None:
    model, path = Plain(), saved(tmp_path / "a.pt", trained().state_dict())
    before = {name: value.clone() for name, value in model.state_dict().items()}
    filled(path, model)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_the_network_outlives_its_file(tmp_path: Path) -> None:
    model = trained()
    network = filled(path := saved(tmp_path / "a.pt", model.state_dict()))
    path.write_bytes(b"")
    assert torch.equal(network.model(EXAMPLE), model(EXAMPLE))


def test_a_tied_tensor_may_be_there_once(tmp_path: Path) -> None:
    def tied() -> nn.Module:
        model = nn.Sequential(
            nn.Conv2d(3, 3, 3, padding=1, bias=False), nn.Conv2d(3, 3, 3, padding=1, bias=False)
        )
        model[1].weight = model[0].weight
        return model

    model = trained(kind=tied)
    path = tmp_path / "a.safetensors"
    save_file({"0.weight": model[0].weight.detach()}, path)
    assert torch.equal(filled(path, tied()).model(EXAMPLE), model(EXAMPLE))


@pytest.mark.parametrize("name", ["vgg", "resnet20"])
def test_a_bundled_network_takes_a_file(name: str, tmp_path: Path) -> None:
    state = {key: value.double() for key, value in load(name).model.state_dict().items()}
    path = saved(tmp_path / "a.pt", state)
    network = load(name, weights=path)
    assert network.weights_key == load(name).weights_key
    assert network.normalize == load(name).normalize
    assert "converted to float32" in network.notes[0]


def test_untrained_weights_are_said_to_be_and_are_the_same_every_time() -> None:
    random = torch.get_rng_state()
    network = load("vgg", weights=None)
    assert not network.trained
    assert network.notes == ("vgg is untrained: its weights are random.",)
    assert "untrained" in repr(network)
    assert network.weights_key == load("vgg", weights=None).weights_key != load("vgg").weights_key
    assert torch.equal(torch.get_rng_state(), random)


# ---- what does not fit -----------------------------------------------------------------------------------


def test_all_that_differs_is_listed(tmp_path: Path) -> None:
    state = trained().state_dict()
    del state["norm.bias"]
    state["extra.weight"] = torch.ones(2)
    state["conv.weight"] = torch.ones(6, 3, 5, 5)
    with pytest.raises(BadInput) as refusal:
        filled(saved(tmp_path / "a.pt", state))
    message = str(refusal.value)
    assert "Missing in the file (1): norm.bias." in message
    assert "Not in the network (1): extra.weight." in message
    assert "conv.weight is (6, 3, 5, 5) in the file and (6, 3, 3, 3) in the network" in message
    assert "a.pt does not fit Plain: 7 of its 9 tensors" in message


def test_long_lists_are_shortened(tmp_path: Path) -> None:
    surplus = {f"other.{place}.weight": torch.ones(1) for place in range(25)}
    with pytest.raises(
        BadInput, match=r"Not in the network \(25\): (other\.\d+\.weight,? ?){10}and 15 more\."
    ):
        filled(saved(tmp_path / "a.pt", {**trained().state_dict(), **surplus}))


def test_another_number_of_classes_is_said(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.pt", trained(kind=lambda: Plain(classes=7)).state_dict())
    with pytest.raises(
        BadInput, match=r"Only the number of classes differs: build the network with 7 classes"
    ):
        filled(path)


def test_weights_of_a_shrunk_network_get_a_clear_word(tmp_path: Path) -> None:
    graph = graph_of("vgg")
    small = shrink(load("vgg").model, graph, random_plan(graph, 0))
    path = saved(tmp_path / "a.pt", small.state_dict())
    with pytest.raises(
        BadInput, match=r"smaller in the file, as in a network that was pruned.* pass what its load\(\)"
    ):
        load("vgg", weights=path)


def test_weights_of_another_network_get_a_clear_word(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.pt", {"layer": torch.ones(3)})
    with pytest.raises(BadInput, match=r"0 of its 9 tensors .* The file is of another network"):
        filled(path)


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    state = trained().state_dict()
    state["head.weight"][0, 0] = torch.inf
    with pytest.raises(BadInput, match=r"Plain: 1 of 24 numbers in head.weight are NaN or infinite"):
        filled(saved(tmp_path / "a.pt", state))


def test_complex_and_sparse_tensors_are_refused(tmp_path: Path) -> None:
    state = trained().state_dict()
    for value in (state["conv.bias"].to(torch.complex64), state["conv.bias"].to_sparse()):
        with pytest.raises(BadInput, match=r"conv.bias is .* expected dense real numbers"):
            filled(saved(tmp_path / "a.pt", {**state, "conv.bias": value}))


# ---- what is no checkpoint -------------------------------------------------------------------------------


class Evil:
    """Pickled, it is an instruction to create a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("form", ["zip", "legacy", "pickle", "beside weights"])
def test_no_file_runs_code(tmp_path: Path, form: str, protocol: int) -> None:
    path, evil, mark = tmp_path / "a.pt", Evil(tmp_path / "mark"), tmp_path / "mark"
    if form == "pickle":
        path.write_bytes(pickle.dumps(evil, protocol))
    else:
        content = {**trained().state_dict(), "x": evil} if form == "beside weights" else evil
        saved(path, content, pickle_protocol=protocol, _use_new_zipfile_serialization=form != "legacy")
    with pytest.raises(
        BadInput, match=r"run(ning)? code[\s\S]*safetensors.torch.save_file\(model.state_dict\(\)"
    ):
        filled(path)
    with pytest.raises(BadInput):
        load(path)
    assert not mark.exists()


def test_a_whole_pickled_network_is_refused_with_the_way_to_convert_it(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.pt", trained())
    with pytest.raises(BadInput, match=r"\(it calls \S*Plain\), as a whole pickled network .* was refused"):
        filled(path)


def test_a_pickled_network_is_no_source_and_is_not_called_a_file_of_weights(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.pt", trained())
    with pytest.raises(BadInput, match=r"\(it calls \S+\)"):
        load(path)


def test_tensors_of_other_names_and_the_shapes_that_are_missing_are_paired(tmp_path: Path) -> None:
    state = renamed(trained().state_dict(), lambda name: name.replace("head.", "fc."))
    with pytest.raises(BadInput) as refusal:
        filled(saved(tmp_path / "a.pt", state))
    pairs = {("head.weight", "fc.weight"), ("head.bias", "fc.bias")}
    assert all(f"{ours} may be {theirs}" in str(refusal.value) for ours, theirs in pairs)
    renamed_again = {**state, "head.weight": state["fc.weight"], "head.bias": state["fc.bias"]}
    del renamed_again["fc.weight"], renamed_again["fc.bias"]
    assert filled(saved(tmp_path / "b.pt", renamed_again)).notes == ()


def cut(path: Path, share: float = 0.5) -> Path:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path


def packed(path: Path, **entries: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name.replace("__", "/").replace("_dot_", "."), content)
    return path


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def scripted(path: Path) -> Path:
    """The entries of a TorchScript archive."""
    return packed(
        path, a__constants_dot_pkl=b"\x80\x02)Rq.", a__data_dot_pkl=b"\x80\x02.", a__code___x_dot_py=b""
    )


def array(path: Path) -> Path:
    buffer = io.BytesIO()
    np.savez(buffer, a=np.ones(3))
    return written(path, buffer.getvalue())


def large(path: Path) -> Path:
    with path.open("wb") as file:
        file.write((8).to_bytes(8, "little") + b"{}      ")
        file.truncate(64 * 2**20)
    return path


DAMAGE = r"damaged or was cut off.*get it again"
FILES: dict[str, tuple[Callable[[Path], Path], str]] = {
    "empty": (lambda path: written(path, b""), r"is empty \(0 bytes\)"),
    "truncated zip": (lambda path: cut(saved(path, trained().state_dict())), DAMAGE),
    "truncated pickle": (
        lambda path: cut(saved(path, trained().state_dict(), _use_new_zipfile_serialization=False), 0.9),
        DAMAGE,
    ),
    "truncated safetensors": (
        lambda path: cut(save_file(trained().state_dict(), path) or path, 0.9),
        rf"cannot be read as safetensors .*{DAMAGE}",
    ),
    "web page": (
        lambda path: written(path, b"\n<!DOCTYPE html><html>"),
        "a web page: .* Download the file itself",
    ),
    "LFS": (lambda path: written(path, b"version https://git-lfs.github.com/spec/v1\n"), "git lfs pull"),
    "JSON": (lambda path: written(path, b'{"hidden": 3}'), "JSON text"),
    "gzip": (lambda path: written(path, b"\x1f\x8b\x08\0\0\0"), "unpack it first"),
    "HDF5": (lambda path: written(path, b"\x89HDF\r\n\x1a\n"), "Keras"),
    "noise": (lambda path: written(path, bytes(range(200))), rf"neither safetensors nor .*{DAMAGE}"),
    "npz": (array, "NumPy archive"),
    "another zip": (lambda path: packed(path, readme_dot_md=b"x"), r"a zip archive of readme.md: unpack it"),
    "TorchScript": (scripted, r"TorchScript archive.* torch.jit.load"),
    "a tensor": (lambda path: saved(path, torch.ones(3)), "holds a Tensor, not a state dict"),
    "a list": (lambda path: saved(path, [torch.ones(3)]), "holds a list, not a state dict"),
    "settings": (
        lambda path: saved(path, {"lr": 0.1, "steps": [1]}),
        "a dictionary of lr, steps, not a state",
    ),
    "nothing": (lambda path: saved(path, {}), "an empty dictionary"),
    "no tensors": (lambda path: save_file({}, path) or path, "holds no tensors"),
    "far too large": (large, r"has 67.1 MB, and the weights of this network have 0.9 kB.* was not read"),
}


@pytest.mark.parametrize("name", ["weights.pt", "weights.safetensors"])
@pytest.mark.parametrize(("make", "message"), FILES.values(), ids=FILES)
def test_other_files_are_refused_in_words(
    tmp_path: Path, make: Callable[[Path], Path], message: str, name: str
) -> None:
    path = make(tmp_path / name)
    with pytest.raises(BadInput, match=rf"(?s){message}") as refusal:
        filled(path)
    assert name in str(refusal.value)


@pytest.mark.parametrize("name", ["weights.pt", "weights.safetensors"])  # torch maps one of them
def test_a_flipped_bit_is_refused_or_changes_nothing(tmp_path: Path, name: str) -> None:
    """In the padding between tensors and in what nobody reads it is harmless."""
    state = trained().state_dict()
    content, path = saved(tmp_path / "sound", state).read_bytes(), tmp_path / name
    draw, ends = random.Random(0), Counter[str]()
    for _ in range(150):
        place = draw.randrange(len(content))
        path.write_bytes(
            content[:place] + bytes([content[place] ^ 1 << draw.randrange(8)]) + content[place + 1 :]
        )
        try:
            ((_, found),) = read_checkpoint(path, Plain()).states
        except BadInput:
            ends["refused"] += 1
            continue
        assert list(found) == list(state)
        for key, value in state.items():
            torch.testing.assert_close(found[key], value, rtol=0, atol=0)
        ends["harmless"] += 1
    assert min(ends["refused"], ends["harmless"]) > 20


def test_a_file_that_was_written_without_checksums_is_read(tmp_path: Path) -> None:
    before = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        path = saved(tmp_path / "weights.pt", trained().state_dict())
    finally:
        torch.serialization.set_crc32_options(before)
    assert torch.equal(filled(path).model.state_dict()["conv.weight"], trained().state_dict()["conv.weight"])


def test_a_compressed_state_dict_is_refused(tmp_path: Path) -> None:
    source, path = saved(tmp_path / "a.pt", trained().state_dict()), tmp_path / "b.pt"
    with zipfile.ZipFile(source) as plain, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as small:
        for name in plain.namelist():
            small.writestr(name, plain.read(name))
    with pytest.raises(BadInput, match=r"compressed, as torch\.save never does"):
        filled(path)


def test_a_missing_file_names_its_neighbours(tmp_path: Path) -> None:
    saved(tmp_path / "resnet_best.pt", {})
    with pytest.raises(BadInput, match=r"There is no file .*resnet_bst.pt\. Near names .* resnet_best.pt\."):
        filled(tmp_path / "resnet_bst.pt")
    with pytest.raises(BadInput, match=r"There is no folder .*nowhere either"):
        filled(tmp_path / "nowhere" / "a.pt")


def test_a_folder_is_refused_with_what_it_holds(tmp_path: Path) -> None:
    saved(tmp_path / "a.pt", {})
    with pytest.raises(BadInput, match=r"is a folder; expected one file\. It holds a\.pt\."):
        filled(tmp_path)


@pytest.mark.parametrize("weights", [{}, 3, True, nn.Linear(2, 2)])
def test_weights_of_another_type_are_refused(weights: object) -> None:
    with pytest.raises(BadInput, match=r'expected "default", None \(untrained\) or the path of a file'):
        load("vgg", weights=weights)


def test_a_module_cannot_be_untrained() -> None:
    with pytest.raises(BadInput, match="Plain comes with its weights"):
        load(Plain(), example=EXAMPLE, weights=None)


def test_a_file_of_weights_is_no_source(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.pt", trained().state_dict())
    for source in (path, str(path)):
        with pytest.raises(BadInput, match=r"holds weights, not a network.*load\(network, weights="):
            load(source)
