"""Patches times weights are what the layer itself answers, and torch's own patches where torch has them."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from explorer.capture import READERS
from explorer.repair.patches import Places, as_matrix, as_weight, output_sides, patches
from explorer.repair.readers import as_convolution
from tests.networks import examples

pytestmark = pytest.mark.filterwarnings("ignore:Using padding=.same. with even kernel")
SIDES = {1: (11,), 2: (9, 7), 3: (5, 6, 4)}


def all_places(inputs: Tensor, weight: Tensor, given: Mapping[str, Any], transposed: bool) -> Places:
    positions = int(torch.tensor(output_sides(inputs, weight, given, transposed)).prod())
    return Places.drawn(len(inputs), positions, positions, torch.Generator())


def met(layer: nn.Module, x: Tensor) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """What the layer's function is really given (after a padding of the module's own), and its answer."""
    seen: list[Any] = []

    class Seen(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            answer = func(*args, **(kwargs or {}))
            if func in READERS:
                seen.append((dict(zip(READERS[func], args, strict=False)) | (kwargs or {}), answer))
            return answer

    with torch.no_grad(), Seen():
        layer(x)
    ((named, answer),) = seen
    return named.pop("input"), answer, named


def check(layer: Any, x: Tensor, groups: int = 1, transposed: bool = False) -> None:
    layer, x = layer.double(), x.double()
    given, answer, named = met(layer, x)
    weight = named.pop("weight").detach()
    inputs, as_conv = as_convolution(given, weight)
    places = all_places(inputs, as_conv, named, transposed)
    found = patches(inputs, as_conv, named, transposed, places)
    matrix = as_matrix(weight, transposed, groups)
    rows = found.reshape(*found.shape[:2], groups, -1)
    ours = torch.einsum("npgi,goi->npgo", rows, matrix).flatten(2)
    if layer.bias is not None:
        ours = ours + layer.bias.detach()
    expected = places.of(as_convolution(answer, weight)[0])
    assert expected.shape[1] == answer[0].numel() // len(layer.bias)
    torch.testing.assert_close(ours, expected)
    torch.testing.assert_close(as_weight(matrix.flatten(0, 1), weight, transposed), weight)


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize(
    "options",
    [
        {}, {"stride": 2}, {"padding": 1}, {"dilation": 2}, {"stride": 2, "padding": 2, "dilation": 2},
        {"padding": "same"}, {"padding": "valid"}, {"padding": "same", "dilation": 2},
        {"padding": 1, "padding_mode": "reflect"},
        {"padding": 1, "padding_mode": "circular", "stride": 2}, {"groups": 2, "padding": 1}, {"groups": 4},
    ],
    ids=str,
)  # fmt: skip
def test_patches_times_weights_are_the_convolution(dims: int, options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    layer = getattr(nn, f"Conv{dims}d")(4, 8, 2 if dims == 3 else 3, **options)
    check(layer, torch.randn(3, 4, *SIDES[dims]), options.get("groups", 1))


def test_sides_that_differ() -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(2, 3, (3, 2), stride=(1, 2), padding=(2, 0), dilation=(2, 3))
    check(layer, torch.randn(2, 2, 9, 8))
    check(nn.Conv2d(2, 3, (4, 1), padding="same"), torch.randn(2, 2, 9, 8))


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize(
    "options",
    [
        {}, {"stride": 2}, {"stride": 2, "padding": 1}, {"stride": 3, "output_padding": 2, "padding": 1},
        {"dilation": 2}, {"stride": 2, "dilation": 2, "padding": 2, "output_padding": 1}, {"padding": 2},
    ],
    ids=str,
)  # fmt: skip
def test_patches_times_weights_are_the_transposed_convolution(dims: int, options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    layer = getattr(nn, f"ConvTranspose{dims}d")(4, 5, 3, **options)
    check(layer, torch.randn(2, 4, *SIDES[dims]), transposed=True)


@pytest.mark.parametrize("shape", [(5, 6), (3, 4, 6), (2, 3, 4, 6)])
def test_patches_of_linear_layers(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    check(nn.Linear(6, 4), torch.randn(shape))


@examples(40)
@given(
    st.integers(1, 4), st.integers(1, 3), st.integers(0, 3), st.integers(1, 2), st.integers(9, 12), st.integers(0, 99)
)  # fmt: skip
def test_patches_are_those_of_unfold(
    kernel: int, stride: int, padding: int, dilation: int, side: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(2, 3, side, side + 1, generator=generator)
    options = {"stride": stride, "padding": padding, "dilation": dilation}
    weight = torch.zeros(1, 3, kernel, kernel)
    unfolded = functional.unfold(x, kernel, **options).transpose(1, 2)
    assert len(unfolded[0]) == len(all_places(x, weight, options, False).flat[0])
    count = min(5, unfolded.shape[1])
    places = Places.drawn(2, unfolded.shape[1], count, generator)
    found = patches(x, weight, options, False, places)
    for image in range(2):
        assert torch.equal(found[image].flatten(1), unfolded[image, places.flat[image]])
        assert len(set(places.flat[image].tolist())) == count


def test_inputs_without_images_of_their_own() -> None:
    weight = torch.zeros(4, 3)
    assert as_convolution(torch.zeros(3), weight)[0].shape == (1, 3, 1)
    assert as_convolution(torch.zeros(3, 8, 8), torch.zeros(4, 3, 3, 3))[0].shape == (1, 3, 8, 8)


def test_no_channels_have_no_patches() -> None:
    places = Places.drawn(2, 16, 5, torch.Generator().manual_seed(0))
    assert patches(torch.zeros(2, 0, 4, 4), torch.zeros(3, 0, 1, 1), {}, False, places).numel() == 0
