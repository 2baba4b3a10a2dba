"""From scratch means from scratch; and a structure that is trained again learns."""

import copy

import pytest
import torch
from torch import Tensor, nn

from explorer.data import Data, Images, identity
from explorer.errors import BadInput, UnknownName
from explorer.evaluate.recovery import TrainingStep, recover
from explorer.methods.retraining import accuracy_of, fresh, require_labelled, retrained
from explorer.zoo.networks import NETWORKS
from tests.evaluate.toys import Toy, fingerprint, images_of, livened
from tests.networks import LayerScale, Written, conv, pooled


@pytest.fixture
def model() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return livened(Toy()).eval()


# ---- fresh ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NETWORKS)
def test_fresh_weights_are_those_of_a_new_network(name: str) -> None:
    """Convolutions and linear layers: uniform up to 1 / sqrt(inputs of a filter); batch norm: 1, 0, 0, 1."""
    used = NETWORKS[name]()
    with torch.no_grad():
        for tensor in used.state_dict().values():
            tensor.fill_(9)
    modules = [module for module in fresh(used, seed=3).modules() if list(module.parameters(recurse=False))]
    assert modules
    for module in modules:
        if isinstance(module, nn.BatchNorm2d):
            first = nn.BatchNorm2d(module.num_features).state_dict()
            assert all(torch.equal(value, first[key]) for key, value in module.state_dict().items())
            continue
        assert isinstance(module, nn.Conv2d | nn.Linear)
        limit = module.weight[0].numel() ** -0.5
        for parameter in module.parameters(recurse=False):
            assert 0.5 * limit < parameter.abs().max() <= limit


def test_the_seed_decides_and_nothing_else_moves(model: nn.Module) -> None:
    before = fingerprint(model)
    first, second, other = fresh(model, 1), fresh(model, 1), fresh(model, 2)
    assert fingerprint(model) == before  # global random numbers too
    weight = first.get_parameter("conv1.weight")
    assert torch.equal(weight, second.get_parameter("conv1.weight"))
    assert not torch.equal(weight, other.get_parameter("conv1.weight"))
    assert not first.training


def test_a_parameter_of_the_users_own_is_named() -> None:
    model = Written(lambda m, x: m.f(pooled(m.s(m.c(x)))), c=conv(3, 4), s=LayerScale(4), f=nn.Linear(4, 2))
    with pytest.raises(BadInput, match=r"Written cannot start from scratch, .* initialises s\.scale anew"):
        fresh(model)


def test_a_reset_that_forgets_a_parameter_is_noticed() -> None:
    class Forgetful(nn.Linear):
        def reset_parameters(self) -> None:
            nn.init.zeros_(self.bias)

    with pytest.raises(BadInput, match=r"0\.weight"):
        fresh(nn.Sequential(Forgetful(3, 2)))


def test_weights_behind_a_parametrisation_are_noticed() -> None:
    model = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(3, 2)))
    with pytest.raises(BadInput, match=r"0\.parametrizations\.weight\.original0"):
        fresh(model)


def test_many_parameters_are_counted() -> None:
    model = nn.Sequential(*(LayerScale(2) for _ in range(5)))
    with pytest.raises(BadInput, match=r"0\.scale, 1\.scale, 2\.scale and 2 more"):
        fresh(model)


def test_a_module_that_resets_itself_has_the_last_word() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear, self.scale = nn.Linear(3, 2), nn.Parameter(torch.ones(2))

        def reset_parameters(self) -> None:
            nn.init.constant_(self.scale, 0.5)
            nn.init.zeros_(self.linear.bias)

    found = fresh(Scaled())
    assert found.get_parameter("scale").tolist() == [0.5, 0.5]
    assert found.get_parameter("linear.bias").tolist() == [0, 0]


def test_attention_and_tied_weights_start_anew() -> None:
    attention = nn.MultiheadAttention(4, 2)
    weight = fresh(attention).get_parameter("in_proj_weight")
    assert torch.isfinite(weight).all()
    assert not torch.equal(weight, attention.in_proj_weight)
    tied = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    tied[1].weight = tied[0].weight
    again = fresh(tied)
    assert again.get_parameter("0.weight") is again[1].weight  # type: ignore[index]


# ---- retrained --------------------------------------------------------------------------------------------


def test_from_scratch_old_weights_do_not_matter(model: nn.Module) -> None:
    images = images_of(64)
    other = copy.deepcopy(model)
    with torch.no_grad():
        other.get_parameter("conv1.weight").mul_(-3)
    one, two = (retrained(each, images, 1, seed=4).state_dict() for each in (model, other))
    assert all(torch.equal(one[key], two[key]) for key in one)
    third = retrained(other, images, 1, seed=5).state_dict()
    assert not torch.equal(one["conv1.weight"], third["conv1.weight"])


def test_from_the_supernet_it_is_recovery_without_its_bn_statistics(model: nn.Module) -> None:
    images = images_of(300)
    expected = recover(model, images, bn=False, epochs=1, seed=2).state_dict()
    found = retrained(model, images, 1, seed=2, start="supernet").state_dict()
    assert all(torch.equal(found[key], expected[key]) for key in expected)


def test_it_learns_and_tells_every_step(model: nn.Module) -> None:
    before, told = fingerprint(model), list[TrainingStep]()
    network = retrained(model, images_of(300, seed=1), 4, progress=told.append)
    assert fingerprint(model) == before
    assert [step.step for step in told] == list(range(1, 13))
    assert accuracy_of(network, images_of(200)) > 0.5  # four classes


def test_check_may_stop_it(model: nn.Module) -> None:
    class Enough(Exception):
        pass

    def check() -> None:
        raise Enough

    with pytest.raises(Enough):
        retrained(model, images_of(8), 1, check=check)
    with pytest.raises(Enough):
        accuracy_of(model, images_of(8), check)


def test_another_start_is_refused(model: nn.Module) -> None:
    with pytest.raises(UnknownName, match="Known: scratch, supernet"):
        retrained(model, images_of(8), 1, start="loaded")


def test_accuracy_is_the_share_of_right_answers() -> None:
    class Says(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.one_hot(x[:, 0, 0, 0].long(), 4).float()

    pixels = torch.tensor([0.0, 1, 2, 3, 3]).view(5, 1, 1, 1)
    assert accuracy_of(Says(), Images(pixels, torch.tensor([0, 1, 2, 0, 0]), identity)) == pytest.approx(
        3 / 5
    )


def test_data_without_training_images_or_labels_are_refused() -> None:
    labelled = images_of(8)
    bare = Images(labelled.pixels, None, identity)
    assert require_labelled(Data("toys", (), labelled, labelled, None)) == (labelled, labelled)
    for data, words in [
        (None, "needs images as explorer.Data"),
        (Data("toys", (), None, labelled, None), "needs images as explorer.Data"),
        (Data("toys", (), bare, labelled, None), "images of toys have none"),
        (Data("toys", (), labelled, bare, None), "images of toys have none"),
    ]:
        with pytest.raises(BadInput, match=words):
            require_labelled(data)
