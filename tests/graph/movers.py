"""Blocks that move channels and pixels: splits, slices, shuffles, stacks, padding. See tests/graph/blocks.py."""

from tests.graph.composer import Block, Var, Writer, pick


def shuffle(w: Writer, a: int, b: int) -> None:
    """Channel shuffle with sizes computed at run time, in several ways of writing it."""
    fitting = [g for g in (2, 3, 4) if w.x.channels % g == 0]
    if not fitting:
        return
    x, g = w.x.name, pick(fitting, a)
    spatial = ", ".join(f"{x}.size({dim})" for dim in w.spatial)
    halves = pick((f"{g}, {x}.size(1) // {g}", f"{g}, -1", f"{x}.shape[1] // {g}, {g}", f"-1, {g}"), b)
    whole = pick((f"{x}.size(1)", "-1", f"{x}.shape[1]"), b)
    w.line(f"y = {x}.view({x}.size(0), {halves}, {spatial}).transpose(1, 2)")
    w.go(f"y.reshape({x}.size(0), {whole}, {spatial})" if b % 5 else "y.flatten(1, 2)", w.x.shape)


def split_towers(w: Writer, a: int, b: int) -> None:
    """Halves (or chunks of uneven length) that go separate ways, then meet again."""
    x, c = w.x, w.x.channels
    if c < 2:
        return
    first = (c + 1) // 2
    ways = [
        f"{x.name}.chunk(2, 1)",
        f"torch.chunk({x.name}, 2, dim=1)",
        f"{x.name}.split([{first}, {c - first}], 1)",
    ]
    if c % 2 == 0:
        ways += [
            f"{x.name}.split({x.name}.size(1) // 2, 1)",
            f"torch.tensor_split({x.name}, 2, 1)",
            f"{x.name}.split({c // 2}, dim=1)",
        ]
        ways += [f"({x.name}[:, :{x.name}.size(1) // 2], {x.name}[:, {x.name}.size(1) // 2:])"]
    w.line(f"left, right = {pick(ways, a)}" if b % 2 else f"left, right = ({pick(ways, a)})[::-1]")
    left = Var("left", (first if b % 2 else c - first, *x.size))
    right = Var("right", (c - left.channels, *x.size))
    if b % 4 == 0 and left.channels == right.channels:
        w.go("left * torch.sigmoid(right)", left.shape)
        return
    y = w.conv(left, left.channels if b % 4 < 2 else 5)
    w.go(f"torch.cat([{y.name}, right], 1)", (y.channels + right.channels, *x.size))


def slices(w: Writer, a: int, b: int) -> None:
    c = w.x.channels
    if c < 4:
        return
    cuts = (("[:, 1:]", c - 1), ("[:, ::2]", (c + 1) // 2), ("[:, :-2]", c - 2), ("[:, [0, 2, 1]]", 3), ("[:, 1:3]", 2),
            (".narrow(1, 1, 2)", 2), ("[..., 1:, :]" if w.dims > 1 else "[..., 1:]", None),
            (f"[:, : {w.x.name}.size(1) // 2]", c // 2))  # fmt: skip
    text, channels = pick(cuts, a)
    if channels is not None:
        w.go(f"{w.x.name}{text}", (channels, *w.x.size))
    elif min(w.x.size) > 2:
        axis = w.dims - 1 if w.dims > 1 else 1
        w.go(f"{w.x.name}{text}", tuple(n - (place == axis) for place, n in enumerate(w.x.shape)))


def moves(w: Writer, a: int, b: int) -> None:
    """Flip, roll or repeat channels or pixels."""
    c, tail = w.x.channels, "".join(", 1" for _ in w.x.size)
    ways = [
        ("{}.flip(1)", c),
        ("torch.flip({}, (2,))", c),
        ("{}.roll(1, 1)", c),
        ("torch.roll({}, 1, -1)", c),
    ]
    if c <= 8:
        ways += [("{}.repeat(1, 2" + tail + ")", 2 * c), ("{}.repeat_interleave(2, 1)", 2 * c)]
    text, channels = pick(ways, a)
    w.go(text.format(w.x.name), (channels, *w.x.size))


def stacked(w: Writer, a: int, b: int) -> None:
    """Two tensors stacked, then summed, flattened, weighted or taken apart."""
    x, y = w.x, w.conv(w.x, w.x.channels)
    w.line(f"both = torch.stack([{x.name}, {y.name}], {pick((1, 2), b)})")
    axis = pick((1, 2), b)
    if a % 4 == 0:
        w.x = w.let(f"both.sum({axis})", x.shape)
    elif a % 4 == 1 and x.channels <= 12:
        w.x = w.let("both.flatten(1, 2)", (2 * x.channels, *x.size))
    elif a % 4 == 2:
        w.x = w.let(f"(both.softmax({axis}) * both).sum({axis})", x.shape)
    else:
        w.line(f"first, second = both.unbind({axis})")
        w.x = w.let("first * torch.tanh(second)", x.shape)


def radix(w: Writer, a: int, b: int) -> None:
    """Channels folded into (2, half) or (half, 2) and reduced over one of them."""
    if w.x.channels % 2:
        return
    x = w.x.name
    spatial = ", ".join(f"{x}.size({dim})" for dim in w.spatial)
    folded = pick((f"2, {x}.size(1) // 2", f"{x}.size(1) // 2, 2"), a)
    reduced = pick((".sum({})", ".amax({})", ".mean({})", ".max({})[0]"), b).format(pick((1, 2), a))
    w.go(f"{x}.reshape({x}.size(0), {folded}, {spatial}){reduced}", (w.x.channels // 2, *w.x.size))


def pixel_shuffle(w: Writer, a: int, b: int) -> None:
    if w.dims != 2:
        return
    c, (height, width) = w.x.channels, w.x.size
    if a % 2 == 0 and c % 4 == 0 and height <= 8:
        call = pick((w.nn("PixelShuffle", 2), "F.pixel_shuffle"), b) if b % 2 == 0 else "F.pixel_shuffle"
        w.go(
            f"{call}({w.x.name}" + (", 2)" if call.startswith("F.") else ")"), (c // 4, 2 * height, 2 * width)
        )
    elif height % 2 == 0 and width % 2 == 0 and c <= 6:
        w.go(f"F.pixel_unshuffle({w.x.name}, 2)", (4 * c, height // 2, width // 2))


def pad(w: Writer, a: int, b: int) -> None:
    x, grown = w.x, tuple(n + 1 for n in w.x.size)
    if max(x.size) > 12:
        return
    sides = (1, 0) * w.dims
    if a % 4 == 3:  # channels: what is padded always stays
        w.go(f"F.pad({x.name}, {(0, 0) * w.dims + (1, 2)})", (x.channels + 3, *x.size))
    elif a % 4 == 2:
        w.go(f"{w.nn(f'ReflectionPad{w.dims}d', sides)}({x.name})", (x.channels, *grown))
    else:
        w.go(f"F.pad({x.name}, {sides}" + (", value=0.5)" if a % 2 else ")"), (x.channels, *grown))


def interpolate(w: Writer, a: int, b: int) -> None:
    if max(w.x.size) > 12 // w.dims:
        return
    larger = (w.x.channels, *(2 * n for n in w.x.size))
    smooth = {1: "linear", 2: "bilinear", 3: "trilinear"}[w.dims]
    ways = (
        f"F.interpolate({w.x.name}, scale_factor=2)",
        f"F.interpolate({w.x.name}, size={larger[1:]}, mode={smooth!r})",
    )
    w.go(
        pick((*ways, f"{w.nn('Upsample', scale_factor=2)}({w.x.name})" if a % 3 == 2 else ways[0]), a), larger
    )


MOVES: dict[str, Block] = {
    block.__name__: block
    for block in (shuffle, split_towers, slices, moves, stacked, radix, pixel_shuffle, pad, interpolate)
}
