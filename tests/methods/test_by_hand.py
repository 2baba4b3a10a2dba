"""A joint step of the method beside the same step written by hand for one network: losses and gradients are equal."""

import pytest
import torch

from tests.methods.by_hand import Beside


@pytest.fixture(scope="module")
def beside() -> Beside:
    return Beside(count=64, batch=16)


@pytest.mark.parametrize("number", [0, 5, 11, 15], ids=lambda number: f"step {number} of 16")
def test_a_step_is_the_one_by_hand(beside, number):
    """At first all widths are drawn uniformly, in the second half from the chains."""
    assert beside.run.of == 16
    search, by_hand = beside.calls(number)
    ours, theirs = search(), by_hand()
    assert dict(ours) == pytest.approx(dict(theirs), rel=1e-4)

    shared = beside.run._supernet.parameters
    for name, parameter in beside.loop.model.named_parameters():
        torch.testing.assert_close(shared[name].grad, parameter.grad, rtol=1e-3, atol=1e-5)
    alphas = torch.cat([beside.loop.alphas[group].grad for group in beside.groups])
    torch.testing.assert_close(beside.run._gates.alphas.grad, alphas, rtol=1e-3, atol=1e-6)
    assert alphas.abs().min() > 0
