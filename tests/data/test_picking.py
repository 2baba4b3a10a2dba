"""What of an item is image and what target: by keys, by places, by a function."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from explorer.data import as_data, as_images
from explorer.errors import BadInput
from explorer.graph.inputs import Inputs

A = torch.arange(4 * 2 * 3 * 3).view(4, 2, 3, 3) / 10
B = A.flip(0)
Y = torch.tensor([2, 0, 1, 1])


class Items(Dataset[Any]):
    def __init__(self, make: Any) -> None:
        self.make = make

    def __len__(self) -> int:
        return len(A)

    def __getitem__(self, k: int) -> Any:
        if k >= len(A):
            raise IndexError(k)
        return self.make(k)


@pytest.mark.parametrize(
    "make",
    [
        lambda k: {"image": A[k], "label": Y[k]},
        lambda k: {"pixel_values": A[k], "labels": int(Y[k])},
        lambda k: {"IMG": A[k], "target": int(Y[k]), "path": f"{k}.png", "id": k},
        lambda k: {"x": A[k], "y": Y[k]},
        lambda k: {"input": A[k].numpy(), "targets": np.int32(Y[k])},
        lambda k: (A[k].numpy(), np.int64(Y[k])),
    ],
)
@pytest.mark.parametrize("wrap", [lambda d: d, lambda d: DataLoader(d, 3), list])
def test_items_whose_keys_say_it_need_no_pick(make: Any, wrap: Any) -> None:
    images = as_images(wrap(Items(make)), "explore")
    assert torch.equal(images.pixels, A)
    assert images.labels is not None
    assert torch.equal(images.labels, Y)
    assert images.more == ()


@pytest.mark.parametrize(
    ("make", "pick"),
    [
        (lambda k: (A[k], Y[k], f"{k}.png"), (0, 1)),
        (lambda k: (f"{k}.png", Y[k], A[k]), (2, 1)),
        (lambda k: {"picture": A[k], "kind": Y[k]}, ("picture", "kind")),
        (lambda k: {"all": (A[k], Y[k])}, lambda item: item["all"]),
    ],
)
def test_a_pick_says_which(make: Any, pick: Any) -> None:
    for source in (Items(make), DataLoader(Items(make), 3)):
        images = as_images(source, "explore", pick)
        assert torch.equal(images.pixels, A)
        assert images.labels is not None
        assert torch.equal(images.labels, Y)
    assert as_data(Items(make), pick=pick).classes == ("0", "1", "2")


@pytest.mark.parametrize("source", [(A, B, Y), {"a": A, "b": B, "k": Y}])
def test_a_pick_is_for_whole_tensors_too(source: Any) -> None:
    picks = ((0, 1), 2) if isinstance(source, tuple) else (("a", "b"), "k")
    images = as_images(source, "explore", picks)
    assert torch.equal(images.pixels, A)
    assert torch.equal(images.more[0], B)
    assert as_images(source, "explore", (picks[0][1], None)).labels is None


def given(inputs: Any) -> Any:
    assert isinstance(inputs, Inputs)
    return inputs.given


@pytest.mark.parametrize(
    ("make", "pick", "wanted"),
    [
        (lambda k: ((A[k], B[k]), Y[k]), None, lambda a, b: (a, b)),
        (lambda k: ([A[k], B[k]], Y[k]), None, lambda a, b: [a, b]),
        (lambda k: (A[k], B[k], Y[k]), ((0, 1), 2), lambda a, b: (a, b)),
        (lambda k: (A[k], B[k], Y[k]), ({"p": 0, "q": 1}, 2), lambda a, b: {"p": a, "q": b}),
        (
            lambda k: {"before": A[k], "after": B[k], "label": Y[k]},
            None,
            lambda a, b: {"before": a, "after": b},
        ),
        (
            lambda k: {"image": {"before": A[k], "after": B[k]}, "y": Y[k]},
            None,
            lambda a, b: {"before": a, "after": b},
        ),
    ],
)
def test_several_inputs_stay_in_their_form(make: Any, pick: Any, wanted: Any) -> None:
    rows = torch.tensor([3, 1])
    for source in (Items(make), DataLoader(Items(make), 3)):
        images = as_images(source, "explore", pick)
        found = given(images.inputs(rows))
        expected = wanted(A[rows], B[rows])
        kind = (
            list
            if isinstance(source, DataLoader) and isinstance(expected, tuple) and not pick
            else type(expected)
        )
        assert type(found) is kind
        pairs = zip(*(x.values() if isinstance(x, dict) else x for x in (found, expected)), strict=True)
        assert all(torch.equal(one, other) for one, other in pairs)
        few = images.subset(2)
        assert torch.equal(few.more[0], B[:2])
        assert few.form == images.form
        assert len({images.key, few.key}) == 2


def test_further_pictures_are_normalised_as_the_first_and_other_inputs_are_not() -> None:
    bytes_, numbers = (A * 30).byte(), torch.rand(4, 5)
    images = as_data(((bytes_, bytes_.flip(0), numbers), Y), normalize=lambda x: x - 0.5).explore
    first, second, third = given(images.inputs())
    torch.testing.assert_close(first, (A * 30).byte() / 255 - 0.5)
    torch.testing.assert_close(second, first.flip(0))
    assert torch.equal(third, numbers)


@pytest.mark.parametrize(
    ("source", "pick", "said"),
    [
        (Items(lambda k: (A[k], Y[k])), (0, 5), r"Item 0 of the data .* pick=\(0, 5\): IndexError"),
        (Items(lambda k: {"a": A[k]}), ("b", None), r"KeyError: 'b'. It has the keys 'a'. .*pick="),
        (Items(lambda k: (A[k], Y[k])), lambda item: 7, "TypeError: cannot unpack"),
        (Items(lambda k: (A[k], B[k, :, :2] if k else B[k])), (((0, 1)), None), "number 1 has"),
        (Items(lambda k: (A[k], B[k]) if k else {"x": A[k]}), (0, None), "KeyError: 0"),
        (((), Y), None, "no image among the inputs"),
        (Items(lambda k: ([], 0)), None, "no image among the inputs"),
        (((A, B[:2]), Y), None, r"4 images were given, and a further input of shape \(2, 2, 3, 3\)"),
        (((A, B.log()), Y), None, "further input holds NaN or infinite"),
    ],
)
def test_what_cannot_be_taken_apart_is_refused_in_words(source: Any, pick: Any, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        as_images(source, "explore", pick)


def test_items_of_different_forms_are_refused() -> None:
    with pytest.raises(BadInput, match="in different ways"):
        as_images(Items(lambda k: ((A[k], B[k]), 0) if k else ([A[k], B[k]], 0)), "explore")


def test_a_tensor_of_pictures_stays_without_a_pick() -> None:
    images: Tensor = as_images(A, "explore").pixels
    assert images.data_ptr() == A.data_ptr()
