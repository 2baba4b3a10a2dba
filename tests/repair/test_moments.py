"""What is gathered: numpy's covariance of patches collected by hand, in any batches and in either precision."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import explorer
from explorer.data import Images, identity
from explorer.repair import gather, moments, sequential
from tests.networks import IMAGE, Written, conv, inputs_like, pooled
from tests.repair.nets import collected, half_plan, images_like, plain


def far_from_zero() -> nn.Module:
    """Its second layer reads what varies by a thousandth of its mean."""
    torch.manual_seed(0)
    model = Written(
        lambda m, x: m.f(pooled(m.b(1e-3 * m.a(x).relu() + 1).relu())),
        a=conv(3, 8),
        b=nn.Conv2d(8, 6, 3),
        f=nn.Linear(6, 4),
    )
    return model.eval()


@pytest.mark.parametrize(("wide", "precision"), [(1024, 1e-9), (0, 1e-4)])
@pytest.mark.parametrize("network", [plain, far_from_zero])
def test_moments_are_numpys(
    network: Callable[[], nn.Module], wide: int, precision: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moments, "WIDE", wide)
    model, images = network(), images_like(IMAGE)
    graph = explorer.trace(model, IMAGE)
    observed = gather(model, graph, images)
    assert set(observed.moments) == set(observed.readers)
    for name, found in observed.moments.items():
        rows = collected(model, name.removesuffix(".weight"), images.inputs()).numpy()
        expected = np.cov(rows.T, bias=True)
        assert found.rows == len(rows)
        np.testing.assert_allclose(found.mean[0], rows.mean(0), rtol=1e-5, atol=1e-6)
        wrong = np.abs(found.covariance[0].double().numpy() - expected).max()
        assert wrong <= precision * expected.diagonal().mean()


def test_a_sample_of_patches_stands_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """With as few rows as a sixteenth of all, means are within five standard errors."""
    monkeypatch.setattr(moments, "FEWEST_ROWS", 256)
    monkeypatch.setattr(moments, "ROWS_PER_UNKNOWN", 1)
    model, images = plain(), images_like(IMAGE)
    graph = explorer.trace(model, IMAGE)
    found = gather(model, graph, images).moments["b.0.weight"]
    rows = collected(model, "b.0", images.inputs())
    assert found.rows == 256
    assert bool(((found.mean[0] - rows.mean(0)).abs() < 5 * rows.std(0) / 16).all())


def test_images_that_memory_does_not_hold_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer images are used in sequence, and smaller batches to gather; the repair still helps."""
    model = plain()
    graph = explorer.trace(model, IMAGE)
    plan, images, fresh = half_plan(graph), images_like(IMAGE, 200), inputs_like(IMAGE, 50, 7)
    seen = list[int]()

    def recording(pixels: Tensor) -> Tensor:
        seen.append(len(pixels))
        return identity(pixels)

    for module, fits in ((moments, 20), (sequential, 200)):
        monkeypatch.setattr(module, "fitting", lambda *_args, fits=fits: fits)
    found = explorer.repair(model, graph, plan, "refit_sequential", Images(images.pixels, None, recording))
    assert sorted(set(seen)) == [1, 5, 100]
    with torch.no_grad():
        wanted = model(fresh)
        errors = [
            float((each(fresh) - wanted).square().mean())
            for each in (found, explorer.shrink(model, graph, plan))
        ]
    assert errors[0] < 0.7 * errors[1]
