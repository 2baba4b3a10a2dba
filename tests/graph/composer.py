"""Networks composed at random, as Python source: what fails prints as a class that can be pasted and run.

A `Spec` is a short list of steps. Each step is the name of a block (tests/graph/blocks.py) and two integers that
choose its options; a step that does not fit what it is given is passed over. A `Writer` collects the lines of
`__init__` and `forward` that the blocks write.
"""

import linecache
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

T = TypeVar("T")
CLASSES = 5
SIZES = {1: (12,), 2: (8, 8), 3: (4, 4, 4)}


@dataclass(frozen=True)
class Var:
    """A tensor of the network being written: its name in the source, and its shape without the batch."""

    name: str
    shape: tuple[int, ...]

    @property
    def channels(self) -> int:
        return self.shape[0]

    @property
    def size(self) -> tuple[int, ...]:
        """Lengths of the spatial axes."""
        return self.shape[1:]


@dataclass
class Writer:
    """The source of a network as blocks add to it; `x` is the tensor that the next block takes."""

    dims: int
    inputs: list[Var]
    x: Var = field(init=False)
    earlier: list[Var] = field(default_factory=list)
    setup: list[str] = field(default_factory=list)
    body: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.x = self.inputs[0]

    def module(self, expression: str) -> str:
        """A new submodule or parameter; the name by which forward calls it."""
        name = f"self.m{len(self.setup)}"
        self.setup.append(f"{name} = {expression}")
        return name

    def let(self, expression: str, shape: Sequence[int]) -> Var:
        """A new variable of forward."""
        var = Var(f"x{len(self.body)}", tuple(shape))
        self.body.append(f"{var.name} = {expression}")
        return var

    def go(self, expression: str, shape: Sequence[int] | None = None) -> None:
        """Replace x by an expression of the given shape (default: x's own)."""
        self.x = self.let(expression, self.x.shape if shape is None else shape)

    def line(self, text: str) -> None:
        self.body.append(text)

    def nn(self, kind: str, *args: object, **options: object) -> str:
        """A new module of torch.nn; `Conv`, `BatchNorm` and the like get the number of dimensions."""
        if kind in (
            "Conv",
            "ConvTranspose",
            "BatchNorm",
            "InstanceNorm",
            "MaxPool",
            "AvgPool",
            "Dropout",
        ) or (kind.startswith("Adaptive")):
            kind = f"{kind}{self.dims}d"
        given = [repr(arg) for arg in args] + [f"{name}={value!r}" for name, value in options.items()]
        return self.module(f"nn.{kind}({', '.join(given)})")

    def conv(self, x: Var, outputs: int, kernel: int = 3, **options: object) -> Var:
        """A convolution that keeps the spatial sizes."""
        layer = self.nn("Conv", x.channels, outputs, kernel, padding=kernel // 2, **options)
        return self.let(f"{layer}({x.name})", (outputs, *x.size))

    @property
    def spatial(self) -> tuple[int, ...]:
        """The spatial axes' places in a tensor with a batch."""
        return tuple(range(2, self.dims + 2))


def pick(options: Sequence[T], choice: int) -> T:
    return options[choice % len(options)]


Block = Callable[[Writer, int, int], None]


@dataclass(frozen=True, repr=False)
class Spec:
    """How a random network is built. Its repr is the network's source, which runs as it stands."""

    dims: int
    steps: tuple[tuple[str, int, int], ...]
    head: tuple[str, int]
    output: str = "tensor"
    seed: int = 0
    two_inputs: bool = False

    @cached_property
    def _written(self) -> tuple[str, tuple[tuple[int, ...], ...]]:
        from tests.graph.blocks import BLOCKS
        from tests.graph.heads import HEADS, OUTPUTS, TOKENS
        from tests.graph.movers import MOVES

        size = SIZES[self.dims]
        inputs = [Var("x", (3, *size))] + ([Var("z", (2, *size))] if self.two_inputs else [])
        writer = Writer(self.dims, inputs)
        writer.x = writer.conv(writer.x, 8)
        if self.two_inputs:
            other = writer.conv(inputs[1], 8)
            writer.go(
                f"{writer.x.name} + {other.name}" if self.seed % 2 else f"{writer.x.name} * {other.name}"
            )
        for name, a, b in self.steps:
            before = writer.x
            (BLOCKS | MOVES | TOKENS)[name](writer, a, b)
            if writer.x != before:
                writer.earlier.append(before)
        features = writer.x
        HEADS[self.head[0]](writer, self.head[1])
        returned = OUTPUTS[self.output](writer, features)
        lines = ["class Network(nn.Module):", "    def __init__(self):", "        super().__init__()"]
        lines += [f"        {line}" for line in writer.setup]
        lines += ["", f"    def forward(self, {', '.join(var.name for var in inputs)}):"]
        lines += [f"        {line}" for line in writer.body]
        lines += [f"        {line}" for line in returned]
        return "\n".join(lines), tuple(var.shape for var in inputs)

    @property
    def source(self) -> str:
        return self._written[0]

    @property
    def example(self) -> Any:
        """Zeros of one example: a tensor, or a tuple for two inputs."""
        given = self.batch(1, None)
        return given if self.two_inputs else given[0]

    def batch(self, count: int, seed: int | None) -> tuple[Tensor, ...]:
        """Random inputs, float32 (zeros without a seed)."""
        shapes = [(count, *shape) for shape in self._written[1]]
        if seed is None:
            return tuple(torch.zeros(shape) for shape in shapes)
        generator = torch.Generator().manual_seed(seed)
        return tuple(torch.randn(shape, generator=generator) for shape in shapes)

    def build(self) -> nn.Module:
        """The network, initialised with the seed; the global random state is left alone."""
        return build(self.source, self.seed)

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__dataclass_fields__)
        return f"Spec({fields})\n{self.source}\n"


def build(source: str, seed: int = 0) -> nn.Module:
    """The network that a source defines as the class `Network`."""
    file = f"<composed {hash(source) & 0xFFFFFFFF:08x}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)  # for tracebacks
    names: dict[str, Any] = {"torch": torch, "nn": nn, "F": F}
    exec(compile(source, file, "exec"), names)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return names["Network"]()
