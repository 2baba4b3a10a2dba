"""trace: refuses in words what it cannot read, and leaves the user's model and the world alone."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import explorer
from explorer.graph import rules, units
from explorer.zoo.networks import NETWORKS
from tests.evaluate.toys import fingerprint
from tests.networks import BUNDLED, IMAGE, Concatenation, Sum, Written, conv, graph_of, groups_of, pooled


def depends_on_data(m: nn.Module, x: Tensor) -> Tensor:
    if x.sum() > 0:
        x = -x
    return m.f(pooled(m.c(x)))


def test_control_flow_on_data_is_refused_with_its_line() -> None:
    model = Written(depends_on_data, c=conv(3, 8), f=nn.Linear(8, 4))
    line = depends_on_data.__code__.co_firstlineno + 1
    with pytest.raises(explorer.CannotTrace, match=rf"test_trace.py:{line}\)") as caught:
        explorer.trace(model, IMAGE)
    assert "Control flow that depends on the data" in str(caught.value)


@pytest.mark.parametrize("shape", [(1, 1, 8, 8), (1, 3, 2, 2, 2), (3,), (1, 12)])
def test_an_example_of_the_wrong_shape_is_refused(shape: tuple[int, ...]) -> None:
    model = nn.Sequential(conv(3, 8), nn.Flatten(), nn.Linear(512, 4))
    with pytest.raises(explorer.ExplorerError, match="example"):
        explorer.trace(model, torch.zeros(shape))


@pytest.mark.parametrize("example", [None, [1, 2], "image"])
def test_an_example_that_is_no_tensor_is_refused(example: object) -> None:
    with pytest.raises(explorer.BadInput, match="example input"):
        explorer.trace(conv(3, 8), example)  # type: ignore[arg-type]


def test_a_model_that_is_no_module_is_refused() -> None:
    with pytest.raises(explorer.BadInput, match=r"network\.model"):
        explorer.trace("resnet20", IMAGE)  # type: ignore[arg-type]


def test_a_model_without_layers_is_refused() -> None:
    with pytest.raises(explorer.CannotTrace, match="nothing to prune"):
        explorer.trace(nn.Sequential(nn.ReLU(), nn.Flatten()), IMAGE)


def test_an_untraceable_training_forward_is_refused_only_if_it_has_weights_of_its_own() -> None:
    def forward(m: nn.Module, x: Tensor) -> Tensor:
        if m.training and x.sum() > 0:
            x = m.d(x) if hasattr(m, "d") else -x
        return m.f(pooled(m.c(x)))

    assert groups_of(Written(forward, c=conv(3, 8), f=nn.Linear(8, 4)))["c"].prunable
    with pytest.raises(explorer.CannotTrace):
        explorer.trace(Written(forward, c=conv(3, 8), f=nn.Linear(8, 4), d=conv(3, 3)), IMAGE)


def draws_random_numbers(m: nn.Module, x: Tensor) -> Tensor:
    if torch.rand(1).item() < 2:  # drawn while the forward is traced
        x = x + torch.randn(1)
    return m.f(nn.functional.dropout(pooled(m.n(m.c(x))), training=True))


@pytest.mark.parametrize("training", [False, True])
def test_the_model_and_the_random_state_are_left_alone(training: bool) -> None:
    model = Written(draws_random_numbers, c=conv(3, 8), n=nn.BatchNorm2d(8), f=nn.Linear(8, 4)).train(
        training
    )
    model(torch.randn(2, 3, 8, 8)).sum().backward()
    seen: list[object] = []
    model.c.register_forward_hook(lambda *given: seen.append(given))
    before = fingerprint(model)
    explorer.trace(model, IMAGE)
    assert fingerprint(model) == before
    assert seen == []


def test_the_model_is_left_alone_when_it_cannot_be_traced() -> None:
    model = Written(depends_on_data, c=conv(3, 8), f=nn.Linear(8, 4)).train()
    before = fingerprint(model)
    with pytest.raises(explorer.CannotTrace):
        explorer.trace(model, IMAGE)
    assert fingerprint(model) == before


@pytest.mark.parametrize("name", BUNDLED)
def test_the_key_belongs_to_the_architecture(name: str) -> None:
    torch.manual_seed(7)
    again = explorer.trace(NETWORKS[name]().train(), torch.ones(3, 1, 28, 28))
    assert again.key == graph_of(name).key
    assert explorer.cost(again) == explorer.cost(graph_of(name))  # of one example, whatever the batch
    assert len({graph_of(other).key for other in BUNDLED}) == len(BUNDLED)


def test_layers_have_shapes_without_the_batch() -> None:
    first = graph_of("resnet20").layers[0]
    assert (first.name, first.kind, first.weight) == ("stem", "conv", "stem.weight")
    assert (first.in_shape, first.out_shape, first.kernel) == ((1, 28, 28), (16, 28, 28), (3, 3))
    assert first.in_units.tolist() == [[-1, -1]]
    assert first.out_units.tolist() == [[0, unit] for unit in range(16)]


def test_arrays_of_a_graph_cannot_be_written() -> None:
    graph = graph_of("vgg")
    for array in (graph.groups[0].slots[0].unit, graph.layers[0].out_units, graph.terms.coefficient):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0


def test_an_unknown_group_is_refused_with_the_known_ones() -> None:
    with pytest.raises(explorer.BadInput, match=r"stage1\.0"):
        graph_of("vgg").group("stage9")


def test_a_squeeze_that_takes_the_batch_away_can_be_traced() -> None:
    model = Written(
        lambda m, x: m.f(torch.nn.functional.adaptive_avg_pool2d(m.c(x), 1).squeeze()),
        c=conv(3, 8), f=nn.Linear(8, 4),
    )  # fmt: skip
    assert [layer.name for layer in explorer.trace(model, IMAGE).layers] == ["c", "f"]


def test_a_rule_that_fails_is_refused_with_the_place(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(call: object) -> None:
        raise IndexError("out of range")

    monkeypatch.setitem(rules.FUNCTIONS, torch.relu, fail)
    model = Written(lambda m, x: m.f(pooled(torch.relu(m.c(x)))), c=conv(3, 8), f=nn.Linear(8, 4))
    with pytest.raises(explorer.CannotTrace, match=r"relu at relu \(test_trace.py:\d+\): IndexError"):
        explorer.trace(model, IMAGE)


def test_units_of_uneven_multiplicity_are_called_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(units, "_signatures", lambda roots, places: np.zeros(len(roots), np.uint64))
    parts = Sum(Concatenation(conv(3, 8), conv(3, 4)), Concatenation(conv(3, 5), conv(3, 7)))
    with pytest.raises(explorer.ExplorerError, match="fault of the explorer"):
        explorer.trace(nn.Sequential(parts, conv(12, 3), nn.Flatten()), IMAGE)


def test_reading_a_plain_network_does_not_load_torchs_compiler() -> None:
    """It takes seconds and 100 MB, which a student's first screen cannot afford."""
    code = (
        "import sys, torch, explorer\n"
        "from explorer.zoo.networks import NETWORKS\n"
        "for name in NETWORKS: explorer.trace(NETWORKS[name](), torch.zeros(1, 1, 28, 28))\n"
        "print([name for name in ('sympy', 'torch._dynamo', 'torchvision') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_example_that_is_refused_without_a_word_is_refused_in_words() -> None:
    def forward(m: nn.Module, x: Tensor) -> Tensor:
        torch._assert(x.size(2) == 7, "")
        return m.f(pooled(m.c(x)))

    with pytest.raises(explorer.CannotTrace, match=r"does not run on an example of shape .*: AssertionError"):
        explorer.trace(Written(forward, c=conv(3, 8), f=nn.Linear(8, 4)), IMAGE)
