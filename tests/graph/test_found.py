"""Networks on which the fuzzer found a fault once, each as small as it could be made."""

from dataclasses import dataclass

import pytest
import torch

import explorer
from tests.graph.composer import build
from tests.graph.properties import as_images, double, wrong_costs
from tests.networks import random_plan


@dataclass(frozen=True)
class Found:
    """The lines of a network's __init__ and forward, and the shapes of its inputs."""

    setup: str
    forward: str
    shapes: tuple[tuple[int, ...], ...] = ((3, 8, 8),)

    @property
    def source(self) -> str:
        names = ", ".join("xz"[: len(self.shapes)])
        lines = ["class Network(nn.Module):", "    def __init__(self):", "        super().__init__()"]
        lines += [f"        self.{line.strip()}" for line in self.setup.strip().splitlines()]
        lines += [f"    def forward(self, {names}):"]
        lines += [f"        {line.strip()}" for line in self.forward.strip().splitlines()]
        return "\n".join(lines)

    def inputs(self, count: int) -> tuple[torch.Tensor, ...]:
        generator = torch.Generator().manual_seed(count)
        return tuple(torch.randn((count, *shape), generator=generator) for shape in self.shapes)


FOUND = {
    "stacked with channels that stay": Found(
        "s = nn.Conv2d(3, 6, 1)\na = nn.Conv2d(6, 8, 3)\nb = nn.Conv2d(8, 8, 3, padding=1)\nf = nn.Linear(16, 5)",
        """x = self.a(self.s(x))
        both = torch.stack([x.cumsum(1), self.b(x)], 1)
        return self.f(both.flatten(1, 2).mean((2, 3)))""",
    ),
    "stacked behind the channels": Found(
        "a = nn.Conv2d(3, 8, 3)\nb = nn.Conv2d(8, 8, 3, padding=1)\nf = nn.Linear(16, 5)",
        """x = self.a(x)
        both = torch.stack([x, self.b(x)], 2)
        return self.f(torch.sigmoid(both.flatten(1, 2)).mean((2, 3)))""",
    ),
    "concatenated along pixels": Found(
        "a = nn.Conv2d(3, 8, 3)\nb = nn.Conv2d(3, 8, 3)\nf = nn.Linear(8, 5)",
        "return self.f(torch.relu(torch.cat([self.a(x), self.b(x)], 2)).mean((2, 3)))",
    ),
    "instance norm without parameters": Found(
        "a = nn.Conv2d(3, 8, 3)\nn = nn.InstanceNorm2d(8)\nf = nn.Linear(8, 5)",
        "return self.f(torch.relu(self.n(self.a(x))).mean((2, 3)))",
    ),
    "two inputs": Found(
        "a = nn.Conv2d(3, 8, 3)\nb = nn.Conv2d(2, 8, 3)\nf = nn.Linear(8, 5)",
        "return self.f(torch.relu(self.a(x) * self.b(z)).mean((2, 3)))",
        ((3, 8, 8), (2, 8, 8)),
    ),
    "a view that only the real strides allow": Found(
        """a = nn.Conv2d(3, 4, 3, padding=1)
        b = nn.Linear(4, 10)
        c = nn.Linear(10, 4)
        f = nn.Linear(256, 5)""",
        """t = self.a(x).flatten(2).transpose(1, 2)
        t = t + self.c(torch.relu(self.b(t)))
        return self.f(t.transpose(1, 2).view(x.size(0), -1, 8, 8).view(-1, 256))""",
    ),
}


@pytest.mark.parametrize("name", FOUND)
def test_surgery_and_costs_are_right(name: str) -> None:
    found = FOUND[name]
    example = as_images(found.inputs(1))
    model = explorer.live_weights(build(found.source), example)
    graph = explorer.trace(model, example)
    assert graph.prunable
    for seed in range(3):
        plan = random_plan(graph, seed, share=0.5 if seed == 0 else None)
        shrunk = explorer.shrink(model, graph, plan)
        assert wrong_costs(graph, plan, shrunk, found.inputs(1)) == []
        assert explorer.prove(model.double(), graph, plan, as_images(double(found.inputs(4)))).ok
        model.float()
