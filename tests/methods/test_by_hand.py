"""A whole search beside the same one written by hand for one network: the same at every step, and so at its end."""

import pytest
import torch

from tests.methods.by_hand import CLIP, Beside


def test_a_search_is_the_one_by_hand() -> None:
    """In float64 the two stay together, whatever the weights go through: rates that rise and fall, decay, clipping."""
    beside = Beside(32, 8, torch.float64, warm_up=2, epochs=4, rate=0.1, alpha_rate=0.1, weight_decay=0.01)
    run, loop = beside.run, beside.loop
    shared, alphas = run._supernet.parameters, run._gates.alphas
    assert run.of == 24
    for number in range(run.of):
        search, by_hand = beside.calls(number)
        assert dict(search()) == pytest.approx(dict(by_hand()), rel=1e-6)
        for name, parameter in loop.model.named_parameters():
            torch.testing.assert_close(shared[name].grad, parameter.grad, rtol=1e-5, atol=1e-9)
            torch.testing.assert_close(shared[name], parameter, rtol=1e-6, atol=1e-9)
        joined = torch.cat([loop.alphas[group] for group in beside.groups])
        torch.testing.assert_close(alphas, joined, rtol=1e-7, atol=1e-9)
    assert (joined != 2).all()
    assert min(loop.norms) < CLIP < max(loop.norms)
