"""Blocks that work on tokens or with channels last, and the ends of random networks: heads and what is returned."""

import math
from collections.abc import Callable

from tests.graph.blocks import ACTIVATIONS
from tests.graph.composer import CLASSES, Block, Var, Writer, pick


def channels_last(w: Writer, a: int, b: int) -> None:
    """ConvNeXt's block: depthwise, LayerNorm and an MLP with the channels last, layer scale, a residual."""
    x, c = w.x, w.x.channels
    last, first = (0, *w.spatial, 1), (0, w.dims + 1, *range(1, w.dims + 1))
    y = w.conv(x, c, groups=c) if b % 2 else x
    up, down = w.nn("Linear", c, pick((8, 12), a)), w.nn("Linear", pick((8, 12), a), c)
    moved = f"{y.name}.permute{last}" if b % 3 else f"torch.permute({y.name}, {last})"
    w.line(f"y = {w.nn('LayerNorm', c)}({moved})" if a % 2 else f"y = {moved}")
    w.line(f"y = {down}({pick(ACTIVATIONS[:6], b).format(f'{up}(y)')})")
    if a % 3:
        w.line(f"y = y * {w.module(f'nn.Parameter(torch.ones({c}))')}")
    w.x = w.let(f"{x.name} + y.permute{first}", x.shape)


def transformer(w: Writer, a: int, b: int) -> None:
    """Pixels as tokens through attention (several ways of writing it) and an MLP, and back."""
    x, c = w.x, w.x.channels
    if c % 2:
        return
    if b % 2:
        w.line(f"t = {x.name}.flatten(2).transpose(1, 2)")
    else:
        w.line(f"t = {x.name}.reshape({x.name}.size(0), {x.name}.size(1), -1).permute(0, 2, 1)")
    norm = w.nn("LayerNorm", c)
    if a % 4 == 0:
        attention = w.nn("MultiheadAttention", c, 2, batch_first=True)
        w.line(f"n = {norm}(t)")
        w.line(f"t = t + {attention}(n, n, n, need_weights={b % 3 == 0})[0]")
    elif a % 4 == 1:
        wide = w.nn("Linear", c, 3 * c)
        w.line(
            f"q, k, v = {wide}({norm}(t)).view(t.size(0), -1, 3, 2, {c // 2}).permute(2, 0, 3, 1, 4).unbind(0)"
        )
        w.line("t = t + F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)")
    elif a % 4 == 2:
        layers = [w.nn("Linear", c, 6, bias=False) for _ in range(2)] + [w.nn("Linear", c, c)]
        w.line(f"q, k, v = {', '.join(f'{layer}(t)' for layer in layers)}")
        w.line("t = t + torch.softmax(q @ k.transpose(1, 2) / 6**0.5, -1) @ v")
    hidden = pick((6, 10), a)
    up, down = w.nn("Linear", c, hidden), w.nn("Linear", hidden, c)
    w.line(f"t = t + {down}({pick(ACTIVATIONS, b).format(f'{up}({norm}(t))')})")
    if b % 3 == 0:
        spatial = ", ".join(f"{x.name}.size({dim})" for dim in w.spatial)
        w.x = w.let(f"t.transpose(1, 2).view({x.name}.size(0), -1, {spatial})", x.shape)
    elif b % 3 == 1:
        w.x = w.let(f"t.mT.unflatten(2, {x.size})", x.shape)
    else:
        w.x = w.let(f"t.permute(0, 2, 1).view_as({x.name})", x.shape)


def non_local(w: Writer, a: int, b: int) -> None:
    """Attention between pixels by matrix products of activations, or between channels."""
    x = w.x
    q, k, v = (w.conv(x, width, 1) for width in (4, 4, x.channels))
    if a % 3 == 0:
        w.line(f"m = torch.bmm({q.name}.flatten(2).transpose(1, 2), {k.name}.flatten(2)).softmax(-1)")
        w.x = w.let(f"{x.name} + ({v.name}.flatten(2) @ m.mT).view_as({x.name})", x.shape)
    elif a % 3 == 1:
        w.line(f"m = torch.einsum('bci,bcj->bij', {q.name}.flatten(2), {k.name}.flatten(2)).softmax(-1)")
        w.x = w.let(
            f"{x.name} + torch.einsum('bci,bji->bcj', {v.name}.flatten(2), m).view_as({x.name})", x.shape
        )
    else:
        w.line(f"f = {v.name}.flatten(2)")
        w.x = w.let(f"{x.name} + (torch.matmul(f, f.mT).softmax(-1) @ f).reshape({v.name}.shape)", x.shape)


TOKENS: dict[str, Block] = {block.__name__: block for block in (channels_last, transformer, non_local)}


def _pooled(w: Writer, choice: int) -> None:
    """x becomes (channels,) by one of the ways in which networks pool over all pixels."""
    x, c = w.x.name, w.x.channels
    ways: tuple[Callable[[], str], ...] = (
        lambda: f"{x}.mean({w.spatial})",
        lambda: f"torch.flatten({w.nn('AdaptiveAvgPool', 1)}({x}), 1)",
        lambda: f"{x}.flatten(2).mean(-1)",
        lambda: f"{x}.amax({w.spatial})",
        lambda: f"F.adaptive_avg_pool{w.dims}d({x}, 1).view({x}.shape[0], -1)",
        lambda: f"F.adaptive_max_pool{w.dims}d({x}, 1).reshape(-1, {x}.size(1))",
        lambda: f"F.avg_pool{w.dims}d({x}, {w.x.size}).flatten(1)",
        lambda: f"{x}.flatten(2).max(2)[0]",
        lambda: f"torch.mean({x}, {w.spatial}, keepdim=True).squeeze(-1)" + ".squeeze(-1)" * (w.dims - 1),
        lambda: f"{x}.view({x}.size(0), {x}.size(1), -1).sum(2)",
    )
    w.go(pick(ways, choice)(), (c,))


def linear_head(w: Writer, b: int) -> None:
    _pooled(w, b)
    w.go(f"{w.nn('Linear', w.x.channels, CLASSES)}({w.x.name})", (CLASSES,))


def flat_head(w: Writer, b: int) -> None:
    """All pixels of all channels into one linear layer, or a hidden one before it."""
    while math.prod(w.x.shape) > 400:
        w.go(f"{w.nn('AvgPool', 2)}({w.x.name})", (w.x.channels, *(n // 2 for n in w.x.size)))
    x, features = w.x.name, (math.prod(w.x.shape),)
    last = ", ".join(map(str, w.spatial))
    ways = (
        "{0}.flatten(1)", "{0}.contiguous().view({0}.size(0), -1)", "torch.flatten({0}, 1)",
        "{0}.transpose(1, -1).flatten(1)",
        "{0}.permute(0, " + last + ", 1).reshape({0}.size(0), -1)", f"{{0}}.contiguous().view(-1, {features[0]})",
    )  # fmt: skip
    w.go(f"{w.nn('Flatten')}({x})" if b % 7 == 0 else pick(ways, b).format(x), features)
    if b % 2:
        w.go(f"torch.relu({w.nn('Linear', w.x.channels, 7)}({w.x.name}))", (7,))
    w.go(f"{w.nn('Linear', w.x.channels, CLASSES)}({w.x.name})", (CLASSES,))


def mlp_head(w: Writer, b: int) -> None:
    _pooled(w, b // 2)
    hidden = pick((6, 10, 12), b)
    w.go(f"{w.nn('Linear', w.x.channels, hidden)}({w.x.name})", (hidden,))
    x, between = w.x.name, ("BatchNorm1d", "PReLU", "LayerNorm", "GroupNorm")
    functions = (
        "F.dropout({}, 0.3, self.training)",
        "{}.chunk(2, 1)[0]",
        "F.glu({}, 1)",
        "torch.sigmoid({0}) * {0}",
    )
    if b % 2:
        text = pick(functions, b // 2)
        halved = "chunk" in text or "glu" in text
        w.go(text.format(x), (hidden // 2 if halved else hidden,))
    else:
        kind = pick(between, b // 2)
        args = (2, hidden) if kind == "GroupNorm" else (hidden,)
        layer = w.module(f"nn.{kind}({', '.join(map(str, args))})")
        w.go(f"{layer}({x})")
    w.go(f"{w.nn('Linear', w.x.channels, CLASSES)}(torch.relu({w.x.name}))", (CLASSES,))


def functional_head(w: Writer, b: int) -> None:
    _pooled(w, b // 2)
    weight = w.module(f"nn.Parameter(torch.randn({CLASSES}, {w.x.channels}))")
    if b % 3 == 0:
        w.go(f"F.linear({w.x.name}, {weight})", (CLASSES,))
    elif b % 3 == 1:
        bias = w.module(f"nn.Parameter(torch.randn({CLASSES}))")
        w.go(f"torch.addmm({bias}, {w.x.name}, {weight}.t())", (CLASSES,))
    else:
        w.go(f"{w.x.name} @ {weight}.t()", (CLASSES,))


def convolution_head(w: Writer, b: int) -> None:
    """Classes as channels, then pooled: SqueezeNet's end."""
    w.x = w.conv(w.x, CLASSES, 1)
    _pooled(w, b)


HEADS: dict[str, Callable[[Writer, int], None]] = {
    head.__name__: head for head in (linear_head, flat_head, mlp_head, functional_head, convolution_head)
}


def _auxiliary(w: Writer, features: Var) -> str:
    head = w.nn("Linear", features.channels, CLASSES)
    return f"{head}({features.name}.flatten(2).mean(2))"


OUTPUTS: dict[str, Callable[[Writer, Var], list[str]]] = {
    "tensor": lambda w, f: [f"return {w.x.name}"],
    "tuple": lambda w, f: [f"return {w.x.name}, {_auxiliary(w, f)}"],
    "dict": lambda w, f: [f"return {{'logits': {w.x.name}, 'aux': {_auxiliary(w, f)}}}"],
    "features": lambda w, f: [f"return {{'logits': {w.x.name}, 'maps': [{f.name}]}}"],
    "auxiliary": lambda w, f: [
        "if self.training:",
        f"    return {w.x.name}, {_auxiliary(w, f)}",
        f"return {w.x.name}",
    ],
}
