"""The three regularisers: values by hand, gradients, and what they do to chains on their own."""

import math

import pytest
import torch

from explorer.methods.gates import ExpectedCost, Gates
from explorer.methods.regularisers import REGULARISERS, dead_zone, log_distance, squared_log
from tests.methods.test_supernet import chains_of
from tests.networks import graph_of

TARGET = 1000e6


def slope(rule: str, expected: float, target: float = TARGET) -> float:
    at = torch.tensor(expected, dtype=torch.float64, requires_grad=True)
    REGULARISERS[rule](at, target).backward()
    assert at.grad is not None
    return at.grad.item()


def value(rule: str, expected: float) -> float:
    return REGULARISERS[rule](torch.tensor(expected, dtype=torch.float64), TARGET).item()


def test_dead_zone_by_hand() -> None:
    assert value("dead_zone", 900e6) == pytest.approx(math.log(100))
    assert value("dead_zone", 950e6) == 0 == value("dead_zone", 999e6)
    assert value("dead_zone", 1000e6) == pytest.approx(math.log(50))
    assert value("dead_zone", 1300e6) == pytest.approx(math.log(0.1 * 350))
    assert value("dead_zone", 700e6) == pytest.approx(math.log(0.1 * 300))


def test_dead_zone_is_flat_inside_and_no_ratio_reaches_its_gradient() -> None:
    assert slope("dead_zone", 960e6) == 0
    for expected in (100e6, 790e6, 810e6, 940e6):
        assert slope("dead_zone", expected) == pytest.approx(-1 / (TARGET - expected))
    for expected in (1001e6, 1190e6, 1210e6, 5000e6):
        assert slope("dead_zone", expected) == pytest.approx(1 / (expected - 0.95 * TARGET))
    assert max(abs(slope("dead_zone", e * 1e6)) for e in range(1, 3000, 7)) <= 20 / TARGET * (1 + 1e-9)


def test_the_papers_form_by_hand() -> None:
    assert value("log", 900e6) == pytest.approx(math.log(100), rel=1e-6)
    assert slope("log", 900e6) == pytest.approx(-1 / 100e6, rel=1e-6)
    assert math.isfinite(value("log", TARGET))


def test_squared_log_by_hand() -> None:
    assert value("squared_log", 2000e6) == pytest.approx(math.log(2) ** 2)
    assert value("squared_log", 500e6) == pytest.approx(math.log(2) ** 2)
    assert value("squared_log", TARGET) == 0 == slope("squared_log", TARGET)


@pytest.mark.parametrize("rule", [log_distance, dead_zone, squared_log])
@pytest.mark.parametrize("expected", [300e6, 930e6, 1100e6, 2500e6])
def test_gradients_are_those_of_differences(rule, expected: float) -> None:  # type: ignore[no-untyped-def]
    at = torch.tensor([expected / TARGET], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda share: rule(share[0] * TARGET, TARGET), (at,), eps=1e-7)


@pytest.mark.parametrize("alpha", [0.0, 2.0, 3.0])
def test_squared_log_alone_reaches_the_target(alpha: float) -> None:
    graph = graph_of("resnet20")
    chains = chains_of(graph, alpha)
    gates, expected = Gates(graph, chains), ExpectedCost(graph, chains, "macs")
    target = 0.4 * expected.dense
    optimizer = torch.optim.SGD([gates.alphas], lr=0.5, momentum=0.9, nesterov=True)
    for _ in range(320):
        optimizer.zero_grad()
        (5 * squared_log(expected(gates.expected(gates.retention())), target)).backward()
        optimizer.step()
    reached = expected(gates.expected(gates.retention())).item()
    assert abs(reached / target - 1) < 0.01
