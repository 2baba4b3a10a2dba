"""What a forward is given: as many inputs as it takes by position, one image each."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import explorer
from explorer.allocate import plan_widths

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
            r"Named.forward takes \(x, \*, after\), .* gives 2 .* by the names",
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


class InDict(Pair):
    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        return super().forward(batch["before"], batch["after"])


class InList(Pair):
    def forward(self, inputs: list[Tensor]) -> Tensor:
        return super().forward(inputs[0], inputs[1])


class Nested(Pair):
    def forward(self, x: Tensor, *, more: dict[str, list[Tensor]]) -> Tensor:
        return super().forward(x, more["after"][0])


class Optional(Pair):
    def forward(self, x: Tensor, after: Tensor | None = None, scale: float = 1.0) -> Tensor:
        return super().forward(x, x if after is None else after) * scale


class Surplus(Pair):
    def forward(self, batch: dict[str, Tensor], **_: object) -> Tensor:
        return super().forward(batch["before"], batch["after"])


class OnlyExported(Pair):
    """torch.fx cannot follow a condition on what it does not know."""

    def forward(self, batch: dict[str, Tensor], *, after: Tensor) -> Tensor:
        x = batch["x"]
        return super().forward(x, after if x.mean().shape == torch.Size([]) and len(x) > 0 else x)


FORMS = [
    (Pair, lambda a, b: (a, b), lambda m, a, b: m(a, b)),
    (Pair, lambda a, b: [a, b], lambda m, a, b: m(a, b)),
    (Pair, lambda a, b: {"after": b, "x": a}, lambda m, a, b: m(a, b)),
    (Named, lambda a, b: {"after": b, "x": a}, lambda m, a, b: m(a, after=b)),
    (InDict, lambda a, b: {"after": b, "before": a}, lambda m, a, b: m({"before": a, "after": b})),
    (Surplus, lambda a, b: {"after": b, "before": a}, lambda m, a, b: m({"before": a, "after": b})),
    (InList, lambda a, b: [a, b], lambda m, a, b: m([a, b])),
    (InList, lambda a, b: ([a, b],), lambda m, a, b: m([a, b])),
    (Nested, lambda a, b: {"x": a, "more": {"after": [b]}}, lambda m, a, b: m(a, more={"after": [b]})),
    (Optional, lambda a, b: {"x": a, "after": b}, lambda m, a, b: m(a, b)),
    (OnlyExported, lambda a, b: {"batch": {"x": a}, "after": b}, lambda m, a, b: m({"x": a}, after=b)),
]


@pytest.mark.parametrize(
    ("kind", "made", "called"), FORMS, ids=lambda x: getattr(x, "__name__", "").strip("<>")
)
def test_several_inputs_in_any_form_are_pruned_as_the_forward_is_called_plan_widths(
    kind: type[Net], made: Callable[..., object], called: Callable[..., Tensor]
) -> None:
    torch.manual_seed(0)
    a, b = torch.randn(4, 3, 12, 12), torch.randn(4, 3, 12, 12)
    example = made(EXAMPLE, EXAMPLE)
    model = explorer.live_weights(kind(), example)
    graph = explorer.trace(model, example)
    assert graph.key == explorer.trace(Pair(), (EXAMPLE, EXAMPLE)).key
    plan = explorer.allocate(graph, explorer.score(model, graph, "l1"), keep=0.5, cost="macs")
    small = explorer.shrink(model, graph, plan)
    assert type(small) is kind
    assert list(small.state_dict()) == list(model.state_dict())
    assert small.c.out_channels < model.c.out_channels
    assert explorer.prove(model, graph, plan, made(a, b)).ok
    torch.testing.assert_close(
        called(small, a, b), called(explorer.mask(model, graph, plan), a, b), rtol=1e-4, atol=1e-5
    )
    assert not torch.allclose(called(model, a, b), called(model, b, a))
    assert explorer.measure_latency(model, example, 2, runs=1).batch == 2
    assert explorer.load(kind(), example=example).example.shape == EXAMPLE.shape


def test_a_forward_that_only_torch_export_follows_is_given_its_dict() -> None:
    example = {"batch": {"x": EXAMPLE}, "after": EXAMPLE}
    assert explorer.trace(OnlyExported(), example).front_end == "torch.export"


def test_blocks_are_removed_whole_from_a_network_that_is_given_a_dict() -> None:
    class Skips(InDict):
        def forward(self, batch: dict[str, Tensor]) -> Tensor:
            return self.f(self.c(batch["before"]).mean((2, 3))) + self.g(self.d(batch["after"]).mean((2, 3)))

        def __init__(self) -> None:
            super().__init__()
            self.g = nn.Linear(8, 4)

    example = {"before": EXAMPLE, "after": EXAMPLE}
    model = explorer.live_weights(Skips(), example)
    graph = explorer.trace(model, example)
    plan = plan_widths(graph, explorer.score(model, graph, "l1"), {"d": 0})
    a, b = torch.randn(2, 3, 12, 12), torch.randn(2, 3, 12, 12)
    small = explorer.shrink(model, graph, plan)
    wanted = model.f(model.c(a).mean((2, 3))) + model.g.bias
    torch.testing.assert_close(small({"before": a, "after": b}), wanted)
