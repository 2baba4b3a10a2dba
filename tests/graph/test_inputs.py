"""What a forward is given: as many inputs as it takes by position, one image each."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import explorer

EXAMPLE = torch.zeros(1, 3, 12, 12)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.c, self.d, self.f = nn.Conv2d(3, 8, 3), nn.Conv2d(3, 8, 3), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.f(self.c(x).mean((2, 3)))


class Named(Net):
    def forward(self, x: Tensor, *, after: Tensor) -> Tensor:
        return self.f((self.c(x) + self.d(after)).mean((2, 3)))


class Pair(Net):
    def forward(self, x: Tensor, after: Tensor) -> Tensor:
        return self.f((self.c(x) + self.d(after)).mean((2, 3)))


class Any(Net):
    def forward(self, *given: Tensor, scale: float = 1.0) -> Tensor:
        return self.f((self.c(given[0]) + self.d(given[1]) * scale).mean((2, 3)))


@pytest.mark.parametrize(
    ("model", "example", "said"),
    [
        (
            Net(),
            (EXAMPLE, EXAMPLE),
            r"Net.forward takes \(x\), and the example gives 2 by position, of shape \(1, 3",
        ),
        (
            Named(),
            (EXAMPLE, EXAMPLE),
            r"Named.forward takes \(x, \*, after\), .* gives 2 .* wrap the network",
        ),
        (Named(), EXAMPLE, r"Named.forward takes \(x, \*, after\), .* gives 1 .* 'after'"),
        (Pair(), EXAMPLE, r"Pair.forward takes \(x, after\), .* gives 1 .* 'after'. Pass a tuple"),
    ],
    ids=["surplus", "by name, given by position", "by name, not given", "too few"],
)
@pytest.mark.parametrize("take", [explorer.trace, explorer.live_weights])
def test_inputs_that_a_forward_does_not_take_are_refused_in_words(
    take: Callable[..., object], model: nn.Module, example: object, said: str
) -> None:
    with pytest.raises(explorer.BadInput, match=said):
        take(model, example)


@pytest.mark.parametrize("model", [Pair(), Any()])
def test_inputs_that_a_forward_takes_are_traced(model: nn.Module) -> None:
    assert explorer.trace(model, (EXAMPLE, EXAMPLE)).more_inputs == ((3, 12, 12),)


class Halves(Net):
    def forward(self, x: Tensor) -> Tensor:
        half, z = x.shape[0] // 2, torch.relu(self.c(x))
        return self.f((z[:half] - z[half:]).mean((2, 3)))


class HalvesFirst(Net):
    def forward(self, x: Tensor) -> Tensor:
        half = x.shape[0] // 2
        return self.f((self.c(x[:half]) - self.c(x[half:])).mean((2, 3)))


class Chunks(Net):
    def forward(self, x: Tensor) -> Tensor:
        first, second = self.c(x).chunk(2, 0)
        return self.f((first - second).mean((2, 3)))


class Viewed(Net):
    def forward(self, x: Tensor) -> Tensor:
        z = self.c(x)
        return self.f(z.view(z.shape[0] // 2, 2, 8, 10, 10).mean((1, 3, 4)))


class Even(Net):
    def forward(self, x: Tensor) -> Tensor:
        assert x.shape[0] % 2 == 0, "an even batch"
        return self.f(self.c(x).mean((2, 3)))


@pytest.mark.parametrize("kind", [Halves, HalvesFirst, Chunks, Viewed, Even])
@pytest.mark.parametrize("batch", [2, 4])
def test_a_forward_that_takes_its_batch_apart_is_refused_in_words(kind: type[Net], batch: int) -> None:
    model = kind()
    example = torch.zeros(batch, 3, 12, 12)
    model(example)
    with pytest.raises(
        explorer.CannotTrace, match=rf"{kind.__name__} .* traced with one image, whatever the batch"
    ):
        explorer.trace(model, example)


def test_the_line_that_takes_the_batch_apart_is_named() -> None:
    with pytest.raises(explorer.CannotTrace, match=r"at getitem\w* \(test_inputs.py:\d+\)"):
        explorer.trace(Halves(), torch.zeros(2, 3, 12, 12))
