"""The blocks that random networks are composed of: each writes the lines of one construction.

A block takes the writer, whose `x` is (channels, *spatial), and two integers for its options, and leaves a new
`x`. One that does not fit (odd channels to be halved, two dimensions needed) leaves everything as it is.
"""

import math

from tests.graph.composer import Block, Var, Writer, pick

WIDTHS = (4, 6, 8, 9, 12)
ACTIVATIONS = (
    "torch.relu({})", "F.gelu({})", "torch.sigmoid({})", "F.silu({})", "{}.tanh()", "F.leaky_relu({}, 0.2)",
    "F.hardswish({})", "F.softplus({})", "{}.clamp(-1, 1)", "F.elu({})", "F.relu({}, inplace=True)", "{}.relu_()",
)  # fmt: skip


def plain(w: Writer, a: int, b: int) -> None:
    w.x = w.conv(w.x, pick(WIDTHS, a), pick((3, 1), b), bias=b % 2 == 0)


def strided(w: Writer, a: int, b: int) -> None:
    if min(w.x.size) >= 4:
        layer = w.nn(
            "Conv",
            w.x.channels,
            pick(WIDTHS, a),
            3,
            stride=2,
            padding=pick((2, 1), b),
            dilation=pick((2, 1), b),
        )
        w.go(f"{layer}({w.x.name})", (pick(WIDTHS, a), *((n + 1) // 2 for n in w.x.size)))


def activation(w: Writer, a: int, b: int) -> None:
    w.go(pick(ACTIVATIONS, a).format(w.x.name))


def activation_module(w: Writer, a: int, b: int) -> None:
    options = (
        "ReLU",
        "SiLU",
        "GELU",
        "Hardswish",
        "Sigmoid",
        "ReLU6",
        "Softplus",
        "Mish",
        "CELU",
        "Softsign",
    )
    w.go(f"{w.nn(pick(options, a))}({w.x.name})")


def prelu(w: Writer, a: int, b: int) -> None:
    """One slope, or one per channel; module or function."""
    slopes = w.x.channels if a % 2 else 1
    if b % 2:
        w.go(f"F.prelu({w.x.name}, {w.module(f'nn.Parameter(torch.full(({slopes},), 0.25))')})")
    else:
        w.go(f"{w.nn('PReLU', slopes)}({w.x.name})")


def batch_norm(w: Writer, a: int, b: int) -> None:
    w.go(f"{w.nn('BatchNorm', w.x.channels, affine=a % 3 != 1)}({w.x.name})")


def functional_batch_norm(w: Writer, a: int, b: int) -> None:
    norm = w.nn("BatchNorm", w.x.channels)
    w.go(f"F.batch_norm({w.x.name}, {norm}.running_mean, {norm}.running_var, {norm}.weight, {norm}.bias)")


def instance_norm(w: Writer, a: int, b: int) -> None:
    if math.prod(w.x.size) > 1:
        norm = w.nn("InstanceNorm", w.x.channels, affine=a % 2 == 0, track_running_stats=b % 3 == 2)
        w.go(f"torch.relu({norm}({w.x.name}))")


def group_norm(w: Writer, a: int, b: int) -> None:
    groups = [g for g in range(1, w.x.channels + 1) if w.x.channels % g == 0]
    number, one = pick(groups, a), math.prod(w.x.size) == 1
    if one and number == w.x.channels:
        return
    if b % 3 == 2:
        weight = w.module(f"nn.Parameter(torch.ones({w.x.channels}))")
        w.go(f"torch.relu(F.group_norm({w.x.name}, {number}, {weight}))")
    else:
        w.go(f"torch.relu({w.nn('GroupNorm', number, w.x.channels, affine=b % 3 == 0)}({w.x.name}))")


def layer_norm_2d(w: Writer, a: int, b: int) -> None:
    """Over the channels, the spatial axes, or both."""
    shape = pick((w.x.shape, w.x.size, w.x.size[-1:]), a)
    if math.prod(shape) > 1:
        w.go(f"torch.relu({w.nn('LayerNorm', list(shape))}({w.x.name}))")


def response_norm(w: Writer, a: int, b: int) -> None:
    w.go(f"{w.nn('LocalResponseNorm', 3)}({w.x.name})")


def residual(w: Writer, a: int, b: int) -> None:
    x = w.x
    w.x = w.conv(w.x, pick(WIDTHS, a), 1)
    batch_norm(w, b, 0)
    activation(w, b, 0)
    y = w.conv(w.x, x.channels)
    sums = (f"{y.name} + {x.name}", f"torch.relu({x.name}.add({y.name}))", f"{y.name} - 0.5 * {x.name}")
    w.x = w.let(pick(sums, b), x.shape)


def add_earlier(w: Writer, a: int, b: int) -> None:
    same = [var for var in w.earlier if var.shape == w.x.shape and var.name != w.x.name]
    if same:
        join = pick(
            ("{} + {}", "{} * {}", "torch.add({}, {}, alpha=0.5)", "torch.maximum({}, {})", "{} - {}"), b
        )
        w.go(join.format(w.x.name, pick(same, a).name))


def cat_earlier(w: Writer, a: int, b: int) -> None:
    same = [var for var in (*w.earlier, w.x) if var.size == w.x.size and var.channels + w.x.channels <= 24]
    if same:
        other = pick(same, a)
        w.go(
            f"torch.cat([{w.x.name}, {other.name}], {pick((1, -len(w.x.shape)), b)})",
            (w.x.channels + other.channels, *w.x.size),
        )


def cat_pixels(w: Writer, a: int, b: int) -> None:
    """Two tensors side by side along a spatial axis: their channels must be the same ones."""
    x, y = w.x, w.conv(w.x, w.x.channels, 1)
    if x.size[0] <= 12:
        w.go(f"torch.cat([{x.name}, {y.name}], 2)", (x.channels, 2 * x.size[0], *x.size[1:]))


def towers(w: Writer, a: int, b: int) -> None:
    first, second = w.conv(w.x, pick((4, 5, 6), a)), w.conv(w.x, pick((3, 4, 6), b), 1)
    w.go(f"torch.cat(({first.name}, {second.name}), dim=1)", (first.channels + second.channels, *w.x.size))


def squeeze_excitation(w: Writer, a: int, b: int) -> None:
    """With 1 x 1 convolutions, with linears and a view, or with linears and an expand."""
    x, ones = w.x, (1,) * w.dims
    if a % 3 == 0:
        down = w.conv(Var(f"{x.name}.mean({w.spatial}, keepdim=True)", (x.channels, *ones)), 4, 1)
        gate = w.conv(Var(f"torch.relu({down.name})", down.shape), x.channels, 1)
        w.go(f"{x.name} * torch.sigmoid({gate.name})", x.shape)
        return
    down, up = w.nn("Linear", x.channels, 4), w.nn("Linear", 4, x.channels)
    pooled = w.let(f"{w.nn('AdaptiveAvgPool', 1)}({x.name}).view({x.name}.size(0), -1)", (x.channels,))
    gate = w.let(f"torch.sigmoid({up}(torch.relu({down}({pooled.name}))))", (x.channels,))
    tail = "".join(", 1" for _ in ones)
    if a % 3 == 1:
        viewed = f"{gate.name}.view({x.name}.size(0), {x.name}.size(1){tail})"
        w.go(f"{x.name} * {viewed}" + (f".expand_as({x.name})" if b % 2 else ""), x.shape)
    else:
        w.go(f"{gate.name}[(...,) + (None,) * {w.dims}] * {x.name}", x.shape)


def channel_attention_1d(w: Writer, a: int, b: int) -> None:
    """A convolution along the channels, as in ECA: every channel mixes with its neighbours."""
    conv = w.module("nn.Conv1d(1, 1, 3, padding=1)")
    gate = w.let(f"{conv}({w.x.name}.flatten(2).mean(2).unsqueeze(1)).transpose(1, 2)", (w.x.channels, 1))
    tail = "".join(", 1" for _ in w.x.size)
    w.go(f"{w.x.name} * torch.sigmoid({gate.name}).reshape({w.x.name}.size(0), -1{tail})", w.x.shape)


def spatial_gate(w: Writer, a: int, b: int) -> None:
    x = w.x
    if a % 2:
        gate = w.conv(x, 1, 1)
    else:
        both = f"torch.cat([{x.name}.mean(1, keepdim=True), {x.name}.amax(1, keepdim=True)], 1)"
        gate = w.conv(Var(both, (2, *x.size)), 1)
    w.x = w.let(f"torch.sigmoid({gate.name}) * {x.name}", x.shape)


def grouped(w: Writer, a: int, b: int) -> None:
    fitting = [g for g in (2, 3, 4) if w.x.channels % g == 0]
    if fitting:
        groups = pick(fitting, a)
        w.x = w.conv(w.x, groups * pick((1, 2, 3), b), pick((3, 1), a), groups=groups)


def depthwise(w: Writer, a: int, b: int) -> None:
    w.x = w.conv(
        w.x,
        w.x.channels * (1 if w.x.channels > 12 else pick((1, 2, 3), a)),
        groups=w.x.channels,
        bias=b % 2 == 0,
    )


def transposed(w: Writer, a: int, b: int) -> None:
    if max(w.x.size) > 12 // w.dims:
        return
    fitting = [g for g in (1, 2, 3, w.x.channels) if w.x.channels % g == 0]
    groups = pick(fitting, a)
    outputs = groups * pick((1, 2), b)
    layer = w.nn("ConvTranspose", w.x.channels, outputs, 2, stride=2, groups=groups)
    w.go(f"{layer}({w.x.name})", (outputs, *(2 * n for n in w.x.size)))


def pooling(w: Writer, a: int, b: int) -> None:
    if min(w.x.size) < 3:
        return
    halves = tuple((n - 1) // 2 + 1 for n in w.x.size)
    d = w.dims
    if b % 4 == 0:
        kind = pick(("MaxPool", "AvgPool"), a)
        w.go(f"{w.nn(kind, 3, stride=2, padding=1)}({w.x.name})", (w.x.channels, *halves))
    elif b % 4 == 1:
        kind = pick(("max_pool", "avg_pool"), a)
        w.go(f"F.{kind}{d}d({w.x.name}, 3, 2, 1)", (w.x.channels, *halves))
    elif b % 4 == 2:
        kind = pick(("AdaptiveAvgPool", "AdaptiveMaxPool"), a)
        w.go(f"{w.nn(kind, 3)}({w.x.name})", (w.x.channels, *(3,) * d))
    else:
        w.go(f"F.adaptive_{pick(('avg', 'max'), a)}_pool{d}d({w.x.name}, 2)", (w.x.channels, *(2,) * d))


def reduction(w: Writer, a: int, b: int) -> None:
    """Statistics over pixels, or over channels, that scale what they were taken from."""
    over = pick((w.spatial, (1,)), a)
    if math.prod(w.x.size) == 1:
        return
    text = pick(("mean({}, keepdim=True)", "amax({}, keepdim=True)", "sum({}, keepdim=True)", "std({}, keepdim=True)",
                 "amin({}, True)", "square().sum({}, keepdim=True)", "var({}, keepdim=True)",
                 "logsumexp({}, keepdim=True)"), b)  # fmt: skip
    w.go(f"{w.x.name} * torch.sigmoid({w.x.name}.{text.format(over)})")


def soft(w: Writer, a: int, b: int) -> None:
    """Softmax over pixels or over channels, as attention weights."""
    if a % 3 == 0:
        w.go(f"{w.x.name} * F.softmax({w.x.name}, dim=1)")
    elif a % 3 == 1:
        w.go(f"{w.x.name} * {w.x.name}.flatten(2).softmax(-1).view_as({w.x.name})")
    else:
        w.go(f"{w.x.name} * {w.nn('Softmax', dim=pick((2, -1), b))}({w.x.name})")


def normalize(w: Writer, a: int, b: int) -> None:
    w.go(f"F.normalize({w.x.name}, dim={pick((1, 2), a)})")


def layer_scale(w: Writer, a: int, b: int) -> None:
    shape = (w.x.channels, *(1,) * w.dims)
    shape = pick((shape, (1, *shape), w.x.shape, w.x.size), b)
    scale = w.module(f"nn.Parameter(torch.ones({shape}))")
    w.go(
        pick(("{0} * {1}", "{0} + {1}", "torch.addcmul({0}, {0}, {1})", "{0} / (1 + {1} * {1})"), a).format(
            w.x.name, scale
        )
    )


def functional_conv(w: Writer, a: int, b: int) -> None:
    """A convolution on parameters of the network's own; grouped, transposed, or with the weight standardised."""
    c, outputs, d = w.x.channels, pick(WIDTHS, a), w.dims
    if b % 4 == 0:
        weight = w.module(f"nn.Parameter(torch.randn{(outputs, c, *(3,) * d)} * 0.2)")
        bias = w.module(f"nn.Parameter(torch.randn({outputs}))")
        w.go(f"F.conv{d}d({w.x.name}, {weight}, {bias}, padding=1)", (outputs, *w.x.size))
    elif b % 4 == 1:
        weight = w.module(f"nn.Parameter(torch.randn{(c, 1, *(3,) * d)})")
        w.go(f"F.conv{d}d({w.x.name}, {weight}, padding=1, groups={w.x.name}.size(1))")
    elif b % 4 == 2:
        weight = w.module(f"nn.Parameter(torch.randn{(c, outputs, *(1,) * d)})")
        w.go(f"F.conv_transpose{d}d({w.x.name}, {weight})", (outputs, *w.x.size))
    else:
        weight = w.module(f"nn.Parameter(torch.randn{(outputs, c, *(1,) * d)})")
        centred = f"{weight} - {weight}.mean({tuple(range(1, d + 2))}, keepdim=True)"
        w.go(f"F.conv{d}d({w.x.name}, {centred})", (outputs, *w.x.size))


def reused(w: Writer, a: int, b: int) -> None:
    """One module called twice, two layers with one weight, or two layers with one bias."""
    c = w.x.channels
    if a % 3 == 0:
        layer = w.nn("Conv", c, c, 3, padding=1)
        w.go(
            f"{layer}(torch.sigmoid({layer}({w.x.name})))"
            if b % 2
            else f"{layer}({w.x.name}) + {layer}({w.x.name}.flip(-1))"
        )
        return
    outputs = c if a % 3 == 1 else pick(WIDTHS, b)
    first, second = w.nn("Conv", c, outputs, 1), w.nn("Conv", outputs if a % 3 == 1 else c, outputs, 1)
    tied = "weight" if a % 3 == 1 else "bias"
    w.setup.append(f"{second}.{tied} = {first}.{tied}")
    if a % 3 == 1:
        w.go(f"{second}(torch.tanh({first}({w.x.name})))")
    else:
        w.go(f"{first}({w.x.name}) * torch.sigmoid({second}({w.x.name}))", (outputs, *w.x.size))


def chosen(w: Writer, a: int, b: int) -> None:
    """Elementwise on two or three tensors: comparisons, choices, mixtures."""
    x = w.x
    other = w.conv(x, x.channels, pick((1, 3), b))
    ways = (
        "torch.where({x} > 0.1, {x}, {y})", "{x} * ({y} > 0)", "{x}.masked_fill({y} < 0, 0.3)",
        "torch.lerp({x}, {y}, 0.4)", "torch.addcmul({x}, {x}, {y}, value=0.5)", "torch.max({x}, {y})",
        "torch.fmax({x}, {y}) + {x}.min({y})", "torch.clamp({x}, max={y})", "({x} * torch.ones_like({y})).clip(0, 2)",
        "{x} + {y}.new_zeros({y}.shape) + torch.zeros({x}.shape, dtype={x}.dtype)",
    )  # fmt: skip
    w.go(pick(ways, a).format(x=x.name, y=other.name), x.shape)


def like_another(w: Writer, a: int, b: int) -> None:
    """Sizes taken from another tensor, and values with their places."""
    x = w.x.name
    ways = (
        "{x} * {x}.mean({s}, keepdim=True).expand_as({x})", "{x} * {x}.flatten(2).softmax(-1).view_as({x})",
        "{x} * {x}.flatten(2).max(2).values.reshape({x}.size(0), -1, *{ones})",
        "{x} / (torch.var_mean({x}, {s}, keepdim=True)[0] + torch.std_mean({x}, {s}, keepdim=True)[0] + 1)",
        "{x} / (torch.linalg.vector_norm({x}, dim={s}, keepdim=True) + 1)", "{x}.sort(-1)[0]",
    )  # fmt: skip
    w.go(pick(ways, a).format(x=x, s=w.spatial, ones=(1,) * w.dims))


def gated(w: Writer, a: int, b: int) -> None:
    """GLU of a wider convolution, or of a concatenation."""
    x = w.x
    wide = w.conv(x, 2 * pick(WIDTHS, a), 1) if b % 2 else w.let(f"torch.cat([{x.name}, {x.name}.flip(-1)], 1)",
                                                                  (2 * x.channels, *x.size))  # fmt: skip
    w.go(f"F.glu({wide.name}, 1)", (wide.channels // 2, *x.size))


def windows(w: Writer, a: int, b: int) -> None:
    """Windows of an image laid out, and put together again."""
    if w.dims != 2:
        return
    x, (height, width) = w.x, w.x.size
    laid = f"F.unfold({x.name}, 3, padding=1)"
    if a % 2:
        w.go(f"F.fold(torch.tanh({laid}), ({height}, {width}), 3, padding=1)")
    else:
        w.go(f"{laid}.view({x.name}.size(0), {x.name}.size(1), 9, {height}, {width}).mean(2)")


def attributes(w: Writer, a: int, b: int) -> None:
    """Sizes of channels held by attributes of the network or by its layers."""
    x, half = w.x, pick((3, 4, 6), a)
    wide = w.conv(x, 2 * half, 1)
    number, first = w.module(str(half)), w.nn("Conv", half, pick(WIDTHS, b), 1)
    second = w.nn("Conv", half, pick(WIDTHS, b), 3, padding=1)
    parts = w.let(
        pick(
            (
                f"{wide.name}.split([{number}, {number}], 1)",
                f"{wide.name}.split(({first}.in_channels, {second}.in_channels), dim=1)",
                f"({wide.name}[:, :{number}], {wide.name}[:, {number}:])",
                f"{wide.name}.split({number} * 2 // 2, 1)",
                f"{wide.name}[:, :{2 * half}].chunk(2, 1)",
            ),
            a + b,
        ),
        (half, *x.size),
    )
    w.go(f"{first}({parts.name}[0]) + {second}({parts.name}[1])", (pick(WIDTHS, b), *x.size))


def subclasses(w: Writer, a: int, b: int) -> None:
    """Layers whose class inherits its forward, and functions that are given a layer's own number of groups."""
    c, d = w.x.channels, w.dims
    if a % 3 == 0:
        layer = w.module(
            f"type('Own', (nn.Conv{d}d,), {{'__module__': 'own'}})({c}, {c}, 3, padding=1, groups={pick((1, c), b)})"
        )
        w.go(f"{layer}({w.x.name})")
    elif a % 3 == 1:
        layer = w.nn("Conv", c, c, 3, groups=pick((1, c), b))
        own = f"{layer}.weight, {layer}.bias, {layer}.stride, 1, {layer}.dilation, {layer}.groups"
        w.go(f"F.conv{d}d({w.x.name}, {own})")
    else:
        w.go(f"{w.module(f'nn.SyncBatchNorm({c})')}({w.x.name})")


def unknown(w: Writer, a: int, b: int) -> None:
    """Operators that no rule can know, along channels or pixels."""
    ways = (
        "{}.cumsum({})",
        "{}.sort({})[0]",
        "torch.cummax({}, {})[0]",
        "F.threshold({}, 0.1, 0.2)",
        "torch.cumprod({}, {})",
    )
    w.go(pick(ways, a).format(w.x.name, pick((1, 2), b)))


BLOCKS: dict[str, Block] = {
    block.__name__: block
    for block in (
        plain, activation, batch_norm, residual, depthwise, grouped, towers, add_earlier, cat_earlier, cat_pixels,
        strided, activation_module, squeeze_excitation, spatial_gate, transposed, pooling, prelu, group_norm,
        instance_norm, layer_norm_2d, functional_batch_norm, response_norm, reduction, soft, normalize, layer_scale,
        functional_conv, reused, channel_attention_1d, chosen, like_another, gated, windows, attributes, subclasses,
        unknown,
    )
}  # fmt: skip
