"""torch.export archives: the network without its class, for any batch size where that can be; told where not."""

import inspect
import io

import pytest
import torch
from torch import nn

from explorer.errors import ExplorerError
from explorer.export import program
from explorer.export.program import Trial, archive, check_archive, program_of, trials
from tests.export.conftest import cut_of, own_network


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 6, 3)
        self.norm = nn.BatchNorm2d(6)
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        return self.head(torch.relu(self.norm(self.conv(x))).mean((2, 3)))


class OneImage(Small):
    def forward(self, x):
        return super().forward(x).reshape(1, 3)


class TwoInputs(Small):
    def forward(self, x, shift):
        maps = self.conv(x + shift)
        return {"logits": self.head(maps.mean((2, 3))), "maps": (maps,)}


class Undecided(Small):
    def forward(self, x):
        y = super().forward(x)
        if y.sum() > 0:
            y = y + 1
        return y


IMAGE = torch.randn(1, 2, 6, 6, generator=torch.Generator().manual_seed(5))


def reloaded(model, example):
    made = program_of(model, example)
    return made, torch.export.load(io.BytesIO(archive(made, {"about.txt": "text"}))).module()


@pytest.fixture(scope="module")
def resnet20(cuts):
    """The archive of a cut."""
    return archive(program_of(cuts["resnet20"].model, cuts["resnet20"].network.example), {})


def test_an_archive_answers_as_the_model_for_any_batch_size(cut, resnet20):
    loaded = torch.export.load(io.BytesIO(resnet20)).module()
    for batch in (1, 2, 7):
        images = torch.randn(batch, 1, 28, 28)
        with torch.no_grad():
            torch.testing.assert_close(loaded(images), cut.model(images), rtol=1e-6, atol=1e-6)


def test_an_archive_of_other_weights_is_refused(cut, resnet20):
    other = trials(cut.network.model, cut.network.example, any_batch=True)
    with pytest.raises(ExplorerError, match=r"The torch\.export archive would be another network"):
        check_archive(resnet20, other)


def test_a_forward_for_one_image_becomes_an_archive_for_one_image():
    model = OneImage().eval()
    made, loaded = reloaded(model, IMAGE)
    assert not made.any_batch
    torch.testing.assert_close(loaded(IMAGE), model(IMAGE))
    assert [len(trial.inputs[0]) for trial in trials(model, IMAGE, any_batch=False)] == [1, 1]


def test_several_inputs_and_outputs():
    model, example = TwoInputs().eval(), (IMAGE, IMAGE.flip(3))
    made, loaded = reloaded(model, example)
    assert made.any_batch
    inputs = torch.randn(3, 2, 6, 6), torch.randn(3, 2, 6, 6)
    torch.testing.assert_close(loaded(*inputs), model(*inputs))
    check_archive(archive(made, {}), trials(model, example, any_batch=True))


def test_a_removed_block_is_exported():
    from tests.export.blocks import Residual

    cut = cut_of(own_network(Residual(), IMAGE), removed=["body.0"])
    made, loaded = reloaded(cut.model, IMAGE)
    assert made.any_batch
    images = torch.randn(5, 2, 6, 6)
    torch.testing.assert_close(loaded(images), cut.model(images))


def test_what_defeats_torch_export_is_named_with_its_line(capfd):
    with pytest.raises(ExplorerError) as refused:
        program_of(Undecided(), IMAGE)
    lines, start = inspect.getsourcelines(Undecided.forward)
    (line,) = (start + place for place, text in enumerate(lines) if "if y.sum() > 0" in text)
    assert f"depends on the numbers in its input ({__file__}:{line})" in str(refused.value)
    assert capfd.readouterr() == ("", "")


def test_the_model_stays_as_it_was():
    model = Small().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    random = torch.get_rng_state()
    made = program_of(model, IMAGE)
    check_archive(archive(made, {}), trials(model, IMAGE, any_batch=True))
    assert model.training
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_trials_differ_from_the_example_and_hold_what_the_model_answers():
    model = Small().eval()
    first, one, three = trials(model, IMAGE, any_batch=True)
    assert torch.equal(first.inputs[0], IMAGE)
    assert [len(each.inputs[0]) for each in (first, one, three)] == [1, 1, 3]
    assert not torch.equal(one.inputs[0], IMAGE)
    assert len({float(image.sum()) for image in three.inputs[0]}) == 3
    torch.testing.assert_close(three.wanted[0], model(three.inputs[0]).detach())


def test_whole_numbers_are_left_alone():
    indices = program._like(torch.tensor([[3, 1]]), 2)
    assert indices.tolist() == [[3, 1], [3, 1]]


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ([torch.tensor([[1.0, 2.0], [3.0, 4.004]])], r"differ by 0\.004 at a scale of 4"),
        ([torch.tensor([[1.0, 2.0], [3.0, torch.nan]])], "differ by nan"),
        ([torch.zeros(2, 3)], r"shapes \[\(2, 3\)\], the network with \[\(2, 2\)\]"),
        ([], "with shapes"),
    ],
)
def test_other_answers_are_refused(found, words):
    trial = Trial((torch.zeros(2, 1),), (torch.tensor([[1.0, 2.0], [3.0, 4.0]]),), (), {})
    program.require_same("The file", list(trial.wanted), trial, 1e-4)
    program.require_same("The file", [trial.wanted[0] + 0.0003], trial, 1e-4)
    with pytest.raises(ExplorerError, match=words):
        program.require_same("The file", found, trial, 1e-4)
