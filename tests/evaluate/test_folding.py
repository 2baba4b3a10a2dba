import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from explorer.errors import BadInput
from explorer.evaluate.folding import fold
from tests.evaluate.toys import FOLDS, fingerprint, livened

CONVS = {
    (1, False): nn.Conv1d,
    (2, False): nn.Conv2d,
    (3, False): nn.Conv3d,
    (1, True): nn.ConvTranspose1d,
    (2, True): nn.ConvTranspose2d,
    (3, True): nn.ConvTranspose3d,
}
NORMS = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}


@given(
    dims=st.integers(1, 3),
    transposed=st.booleans(),
    groups=st.integers(1, 3),
    inputs=st.integers(1, 3),
    outputs=st.integers(1, 3),
    bias=st.booleans(),
    affine=st.booleans(),
    seed=st.integers(0, 99),
)
def test_folded_logits_equal_the_unfolded(
    dims: int, transposed: bool, groups: int, inputs: int, outputs: int, bias: bool, affine: bool, seed: int
) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        conv = CONVS[dims, transposed](inputs * groups, outputs * groups, 3, groups=groups, bias=bias)
        x = torch.randn(2, inputs * groups, *[5] * dims)
    norm = NORMS[dims](outputs * groups, affine=affine)
    model = livened(nn.Sequential(conv, norm, nn.ReLU()), seed).eval()
    folded = fold(model, [("0", "1")])
    with torch.no_grad():
        expected, got = model[:2](x), folded[:2](x)  # type: ignore[index]
    assert isinstance(folded.get_submodule("1"), nn.Identity)
    assert (got - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_a_whole_network_keeps_its_logits_and_loses_its_batch_norms(model: nn.Module) -> None:
    x = torch.randn(5, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    folded = fold(model, FOLDS)
    expected = model(x)
    assert (folded(x) - expected).abs().max() <= 1e-5 * expected.abs().max()
    assert not [m for m in folded.modules() if isinstance(m, nn.BatchNorm2d)]


def test_the_model_is_not_changed_and_the_copy_is_in_eval_mode(model: nn.Module) -> None:
    model.train()
    found = fingerprint(model)
    folded = fold(model, FOLDS)
    assert fingerprint(model) == found
    assert not any(module.training for module in folded.modules())


def test_weights_tied_to_another_layer_stay_what_they_are() -> None:
    tied = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.Conv2d(3, 3, 1))
    tied[2].weight = tied[0].weight
    livened(tied).eval()
    weight = tied.get_parameter("0.weight")
    folded = fold(tied, [("0", "1")])
    assert torch.equal(folded.get_parameter("2.weight"), weight)
    assert not torch.equal(folded.get_parameter("0.weight"), weight)


def test_a_batch_norm_with_two_names_is_applied_under_neither() -> None:
    class TwoNames(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(2, 3, 1)
            self.norm = nn.BatchNorm2d(3)
            self.steps = nn.Sequential(self.conv, self.norm)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.steps(x)

    model = livened(TwoNames()).eval()
    x = torch.randn(2, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(fold(model, [("conv", "norm")])(x), model(x))


@pytest.mark.parametrize(
    ("pair", "words"),
    [(("classifier", "bn1"), "'classifier': Linear"), (("conv1", "dropout"), "'dropout': Dropout")],
)
def test_what_cannot_be_folded_is_named(model: nn.Module, pair: tuple[str, str], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        fold(model, [pair])


def test_a_batch_norm_without_running_statistics_cannot_be_folded() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2, track_running_stats=False)).eval()
    with pytest.raises(BadInput, match="running statistics"):
        fold(model, [("0", "1")])
