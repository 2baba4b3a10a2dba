"""Modules as they come: wrappers are taken off, what cannot be pruned is refused in words."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import explorer
from explorer.errors import BadInput
from explorer.evaluate.folding import fold
from explorer.zoo import load
from tests.zoo.own_networks import Inside, Plain, Silent

EXAMPLE = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))

WRAPPED: dict[str, tuple[Callable[[nn.Module], nn.Module], str]] = {
    "DataParallel": (nn.DataParallel, "DataParallel was taken off: the Plain inside is explored."),
    "compiled": (torch.compile, "OptimizedModule was taken off: the Plain inside is explored."),
    "both": (lambda model: torch.compile(nn.DataParallel(model)), "OptimizedModule was taken off"),
}


@pytest.mark.parametrize(("wrap", "note"), WRAPPED.values(), ids=WRAPPED)
def test_wrappers_are_taken_off(wrap: Callable[[nn.Module], nn.Module], note: str) -> None:
    model = Plain()
    network = load(wrap(model), example=EXAMPLE)
    assert type(network.model) is Plain
    assert network.name == "Plain"
    assert note in network.notes[0]
    assert torch.equal(network.model(EXAMPLE), model.eval()(EXAMPLE))


def test_a_module_is_not_mistaken_for_a_wrapper() -> None:
    network = load(Inside(), example=EXAMPLE)
    assert type(network.model) is Inside
    assert network.notes == ()


def test_a_train_that_returns_nothing_is_no_trouble() -> None:
    model = Silent()
    network = load(model, example=EXAMPLE)
    assert type(network.model) is Silent
    assert not any(module.training for module in network.model.modules())
    assert model.training
    scores = explorer.score(network.model, explorer.trace(network.model, EXAMPLE), "l1")
    assert set(scores.by_group) == {"conv"}
    assert torch.equal(explorer.recover(network.model, None, bn=False)(EXAMPLE), network.model(EXAMPLE))
    folded = fold(network.model, [("conv", "norm")])
    torch.testing.assert_close(folded(EXAMPLE), network.model(EXAMPLE))


def on_meta() -> nn.Module:
    with torch.device("meta"):
        return Plain()


def quantised() -> nn.Module:
    model = Plain()
    model.register_buffer("scale", torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8))
    return model


def with_quantised_layer() -> nn.Module:
    return nn.Sequential(nn.Flatten(), torch.ao.nn.quantized.Linear(192, 2))


def with_hidden_part() -> nn.Module:
    model = Plain()
    model._modules["train"] = nn.Linear(2, 2)  # add_module would refuse it
    return model


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "on meta": (
        on_meta,
        r"meta device, which holds no numbers: conv.weight, conv.bias, norm.weight and 6 more",
    ),
    "quantised": (quantised, "is quantised in scale. Prune the float network"),
    "hidden": (with_hidden_part, "has modules of names that an attribute of nn.Module has too.*'train'"),
    "quantised layer": (with_quantised_layer, r"Sequential is quantised in 1"),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch deprecates quantisation in this form
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(("made", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_pruned_is_refused(made: Callable[[], nn.Module], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        load(made(), example=EXAMPLE)


@pytest.mark.filterwarnings("ignore::FutureWarning")  # torch deprecates TorchScript
def test_torchscript_is_refused() -> None:
    with pytest.raises(BadInput, match=r"is TorchScript, .*load_state_dict\(scripted.state_dict\(\)\)"):
        load(torch.jit.trace(Plain().eval(), EXAMPLE), example=EXAMPLE)
