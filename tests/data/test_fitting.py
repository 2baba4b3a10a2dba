"""What a network and its images are asked in one place: inputs, logits, labels, sound weights."""

from typing import NamedTuple

import pytest
import torch
from torch import nn

from explorer.data.fitting import first_not_finite, require_finite, require_labels, require_logits, taking
from explorer.errors import BadInput, Interrupted


def test_what_a_forward_raises_is_said_with_shape_dtype_and_hint() -> None:
    inputs = torch.zeros(2, 3)
    with pytest.raises(BadInput) as caught, taking("Net", inputs, "Try others."):
        raise KeyError("missing")
    assert str(caught.value) == (
        "Net cannot take inputs of shape (2, 3) (torch.float32): KeyError: 'missing'. Try others."
    )
    assert isinstance(caught.value.__cause__, KeyError)


@pytest.mark.parametrize("error", [Interrupted("enough"), KeyboardInterrupt()])
def test_what_is_no_fault_of_the_inputs_passes_through(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, taking("Net", torch.zeros(1), ""):
        raise error
    assert caught.value is error


def test_logits_are_one_row_per_input() -> None:
    logits = torch.zeros(2, 4)
    assert require_logits("Net", logits, 2) is logits
    for answer in (logits[0], logits[:1], [logits[:1]], [], torch.zeros(2, 4, 1)):
        with pytest.raises(BadInput, match="one row of logits per input"):
            require_logits("Net", answer, 2)


class Outputs(NamedTuple):
    logits: torch.Tensor
    aux_logits: torch.Tensor


def test_of_an_answer_that_names_its_logits_those() -> None:
    logits = torch.zeros(2, 4)
    assert require_logits("Net", Outputs(logits, torch.ones(2, 4)), 2) is logits
    with pytest.raises(BadInput, match="one row of logits per input"):
        require_logits("Net", Outputs(logits[0], logits), 2)


def test_every_label_needs_a_logit() -> None:
    require_labels(torch.tensor([0, 3]), torch.zeros(1, 4))
    with pytest.raises(BadInput, match=r"Label 4 .* 4 classes, so labels go from 0 to 3"):
        require_labels(torch.tensor([4, 0]), torch.zeros(1, 4))


def test_the_first_tensor_that_is_not_finite_is_named() -> None:
    model = nn.BatchNorm2d(4)
    assert first_not_finite(model) == ""
    require_finite("Net", model)
    model.get_buffer("running_var")[1:3] = torch.inf
    with pytest.raises(BadInput, match="Net: 2 of 4 numbers in running_var are NaN or infinite"):
        require_finite("Net", model)
