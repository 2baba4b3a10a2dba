"""Constructors: what an exported file could import and call, and that it makes the same network."""

import functools
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torchvision
from torch import nn

from explorer.errors import BadInput
from explorer.zoo import load
from tests.zoo import own_networks
from tests.zoo.own_networks import Inside, Needy, Plain, make

EXAMPLE = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
HERE = "tests.zoo.own_networks"

GIVEN: dict[str, tuple[object, Callable[[], nn.Module], str, str]] = {
    "text": (f"{HERE}:Plain", Plain, f"from {HERE} import Plain", "Plain()"),
    "class": (Plain, Plain, f"from {HERE} import Plain", "Plain()"),
    "function": (functools.partial(make, 9), lambda: Plain(9), f"from {HERE} import make", "make(9)"),
    "keywords": (
        functools.partial(functools.partial(Plain, 9), classes=3),
        lambda: Plain(9, 3),
        f"from {HERE} import Plain",
        "Plain(9, classes=3)",
    ),
    "class method": (
        functools.partial(Plain.wide, classes=2),
        lambda: Plain.wide(2),
        f"from {HERE} import Plain",
        "Plain.wide(classes=2)",
    ),
    "text of a class method": (f"{HERE}:Plain.wide", Plain.wide, f"from {HERE} import Plain", "Plain.wide()"),
}


@pytest.mark.parametrize(("given", "made", "line", "expression"), GIVEN.values(), ids=GIVEN)
def test_a_constructor_becomes_an_import_and_an_expression(
    given: object, made: Callable[[], nn.Module], line: str, expression: str
) -> None:
    model = made()
    constructor = load(model, example=EXAMPLE, constructor=given).constructor
    assert (constructor.import_line, constructor.expression) == (line, expression)
    scope: dict[str, Any] = {}
    exec(f"{line}\nmodel = {expression}", scope)  # as an exported file does
    again = scope["model"].eval()
    again.load_state_dict(model.state_dict())
    assert torch.equal(again(EXAMPLE), model.eval()(EXAMPLE))


def test_a_factory_is_a_source_and_its_own_constructor(monkeypatch: pytest.MonkeyPatch) -> None:
    random = torch.get_rng_state()
    network = load(f"{HERE}:Plain.wide", example=EXAMPLE)
    assert torch.equal(torch.get_rng_state(), random)
    assert network.model.conv.out_channels == 12
    assert (network.name, network.constructor.expression) == ("Plain.wide", "Plain.wide()")
    again = load(f"{HERE}:Plain.wide", example=EXAMPLE)
    assert again.weights_key == network.weights_key  # untrained weights are the same every time
    monkeypatch.setattr(own_networks, "wrapped", lambda: nn.DataParallel(Plain()), raising=False)
    wrapped = load(f"{HERE}:wrapped", example=EXAMPLE)
    assert (
        wrapped.constructor is None or wrapped.constructor.name == "Plain"
    )  # it does not make what is explored
    with pytest.raises(BadInput, match="untrained"):
        load(f"{HERE}:Plain", example=EXAMPLE, weights=None)


def test_a_class_without_arguments_is_its_own_constructor() -> None:
    network = load(Plain(), example=EXAMPLE)
    assert (network.constructor.module, network.constructor.name) == (HERE, "Plain")
    assert network.no_constructor == ""


def test_finding_a_constructor_draws_no_random_numbers() -> None:
    model = Plain()
    random = torch.get_rng_state()
    load(model, example=EXAMPLE)
    load(model, example=EXAMPLE, constructor=Plain)
    assert torch.equal(torch.get_rng_state(), random)


def of_main() -> nn.Module:
    cls = type("Mine", (Plain,), {"__module__": "__main__"})
    return cls()


def nested() -> nn.Module:
    class Local(Plain):
        pass

    return Local()


WITHOUT: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "other sizes": (
        lambda: Plain(9),
        r"Plain\(\) makes another network: Other shapes: conv.weight is \(6, 3, 3, 3\)",
    ),
    "other settings": (lambda: Plain(stride=2), r"same tensors that answers differently: strides"),
    "arguments": (lambda: Needy(6), r"Needy takes arguments \(width\) that are not known"),
    "a notebook": (
        of_main,
        "Mine is defined in a notebook or in the program itself; move it to a Python file",
    ),
    "a function": (nested, "Local is made inside a function"),
    "put together": (
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten()),
        r"Sequential\(\) makes another network: It has no 0.weight, 0.bias",
    ),
}


@pytest.mark.parametrize(("made", "reason"), WITHOUT.values(), ids=WITHOUT)
def test_where_there_is_no_constructor_the_reason_is_given(
    made: Callable[[], nn.Module], reason: str
) -> None:
    network = load(made(), example=EXAMPLE)
    assert network.constructor is None
    with pytest.raises(BadInput, match=reason):
        raise BadInput(network.no_constructor)


TORCHVISION: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "plain": (torchvision.models.resnet18, "resnet18()"),
    "own classes": (
        functools.partial(torchvision.models.resnet50, num_classes=10),
        "resnet50(num_classes=10)",
    ),
    "auxiliary heads": (
        functools.partial(torchvision.models.googlenet, init_weights=False, num_classes=5),
        "googlenet(aux_logits=True, transform_input=False, init_weights=False, num_classes=5)",
    ),
}


@pytest.mark.parametrize(("made", "expression"), TORCHVISION.values(), ids=TORCHVISION)
def test_a_module_of_torchvision_finds_its_builder(made: Callable[[], nn.Module], expression: str) -> None:
    network = load(made(), example=torch.rand(1, 3, 64, 64))
    assert network.constructor.import_line.startswith("from torchvision.models import ")
    assert network.constructor.expression == expression


def test_a_changed_module_of_torchvision_has_none() -> None:
    model = torchvision.models.resnet18()
    model.relu = nn.GELU()
    network = load(model, example=torch.rand(1, 3, 64, 64))
    assert network.constructor is None
    assert "ResNet takes arguments (block, layers) that are not known" in network.no_constructor


def test_a_bundled_network_and_its_file() -> None:
    network = load("vgg")
    assert network.constructor is None
    assert "carry its source" in network.no_constructor


REFUSED: dict[str, tuple[object, str]] = {
    "a module": (Plain(), r"constructor is a Plain; expected what makes the network"),
    "a number": (3, "constructor is a int"),
    "no colon": ("tests.zoo", "a module and a name with a colon between"),
    "no module": ("no.such.module:Net", "module no.such.module cannot be imported: No module named"),
    "no name": (f"{HERE}:Net", "has no Net"),
    "no callable": (f"{HERE}:__name__", "is a str, not a class or function"),
    "a lambda": (lambda: Plain(), "is made inside a function"),
    "an object": (
        functools.partial(make, torch.tensor(6)),
        r"the argument tensor\(6\), which Python source cannot",
    ),
    "one that raises": (f"{HERE}:broken", "raised OSError: no such disk"),
    "one without result": (f"{HERE}:nothing", "returned a NoneType; expected an nn.Module"),
    "one that needs more": (Needy, "raised TypeError: .*width"),
    "another network": (Inside, r"It has no conv.weight.* Only it has backbone.conv.weight"),
    "other shapes": (
        functools.partial(Plain, 7),
        r"conv.weight is \(7, 3, 3, 3\) there and \(6, 3, 3, 3\) in the",
    ),
    "other settings": (functools.partial(Plain, stride=2), "answers differently: strides, activations"),
}


@pytest.mark.parametrize(("given", "message"), REFUSED.values(), ids=REFUSED)
def test_other_constructors_are_refused(given: object, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        load(Plain(), example=EXAMPLE, constructor=given)


def test_a_name_that_means_something_else_now_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_networks, "Plain", Needy)
    with pytest.raises(BadInput, match=r"own_networks.Plain is something else now"):
        load(Plain(), example=EXAMPLE, constructor=Plain)


def test_a_module_without_a_file_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    module = type(sys)("made_up")
    exec(
        "from tests.zoo.own_networks import Plain as Base\nclass Net(Base):\n    pass",
        module.__dict__,
    )
    monkeypatch.setitem(sys.modules, "made_up", module)
    network = load(module.Net(), example=EXAMPLE)
    assert "made_up has no source file that holds Net" in network.no_constructor
