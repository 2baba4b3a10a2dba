import copy
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

from explorer.data import Data, Images, identity
from explorer.errors import BadInput, ExplorerError, Interrupted
from explorer.evaluate.estimates import evaluate
from explorer.evaluate.recovery import TrainingStep, recover, reestimate_bn, train
from tests.evaluate.toys import fingerprint, images_of


def states_equal(a: nn.Module, b: nn.Module) -> bool:
    other = b.state_dict()
    return all(torch.equal(tensor, other[name]) for name, tensor in a.state_dict().items())


def test_bn_statistics_are_the_mean_over_batches_of_the_batch_statistics(model: nn.Module) -> None:
    images = images_of(96)
    x = images.pixels
    conv1, bn1, conv2 = (model.get_submodule(name) for name in ("conv1", "bn1", "conv2"))
    assert isinstance(bn1, nn.BatchNorm2d)
    assert bn1.weight is not None
    means1, variances1, means2, variances2 = [], [], [], []
    with torch.no_grad():
        for batch in (x[:32], x[32:64], x[64:]):
            y = conv1(batch)
            mean, biased = y.mean((0, 2, 3)), y.var((0, 2, 3), unbiased=False)
            means1.append(mean)
            variances1.append(y.var((0, 2, 3), unbiased=True))
            # In train mode the next layer sees the batch's own statistics.
            y = (y - mean.view(-1, 1, 1)) / (biased + bn1.eps).sqrt().view(-1, 1, 1)
            y = torch.relu(y * bn1.weight.view(-1, 1, 1) + bn1.bias.view(-1, 1, 1))
            z = conv2(y)
            means2.append(z.mean((0, 2, 3)))
            variances2.append(z.var((0, 2, 3), unbiased=True))
    reestimate_bn(model, images, batch=32)
    for name, expected in (
        ("bn1.running_mean", means1),
        ("bn1.running_var", variances1),
        ("bn2.running_mean", means2),
        ("bn2.running_var", variances2),
    ):
        torch.testing.assert_close(
            model.get_buffer(name), torch.stack(expected).mean(0), rtol=1e-4, atol=1e-5
        )


def test_only_the_first_images_asked_for_count(model: nn.Module) -> None:
    other = copy.deepcopy(model)
    reestimate_bn(model, images_of(96), count=40)
    reestimate_bn(other, images_of(96).subset(40))
    assert states_equal(model, other)


def test_reestimation_touches_statistics_only_and_restores_modes_and_momentums(model: nn.Module) -> None:
    bn1 = model.get_submodule("bn1")
    assert isinstance(bn1, nn.BatchNorm2d)
    bn1.momentum = 0.3
    model.get_submodule("dropout").train()
    before, weights, found = copy.deepcopy(model), dict(model.named_parameters()), fingerprint(model)
    reestimate_bn(model, images_of(50))
    assert all(torch.equal(p, weights[name]) for name, p in before.named_parameters())
    assert not torch.equal(bn1.running_mean, before.get_buffer("bn1.running_mean"))  # type: ignore[arg-type]
    assert fingerprint(model)[1:] == found[1:]  # dropout off: no random number drawn


def test_momentums_are_restored_after_an_exception_too(model: nn.Module) -> None:
    def check() -> None:
        raise Interrupted("stop")

    found = fingerprint(model)
    with pytest.raises(Interrupted):
        reestimate_bn(model, images_of(50), check=check)
    assert fingerprint(model)[1:] == found[1:]


def test_a_network_without_batch_norm_is_left_alone_even_without_enough_images() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 4))
    found = fingerprint(model)
    reestimate_bn(model, images_of(1))
    assert fingerprint(model) == found


def test_a_single_image_has_no_statistics(model: nn.Module) -> None:
    with pytest.raises(BadInput, match="at least 2"):
        reestimate_bn(model, images_of(1))


def test_overflowing_statistics_are_an_error(model: nn.Module) -> None:
    with torch.no_grad():
        model.get_parameter("conv1.weight")[0, 0, 0, 0] = torch.inf
    with pytest.raises(BadInput, match=r"not finite.*conv1\.weight are NaN"):
        reestimate_bn(model, images_of(50))


@pytest.mark.parametrize(("bn", "epochs"), [(False, 0), (True, 0), (False, 1), (True, 2)])
def test_recover_leaves_the_model_and_the_random_state_alone_and_repeats(
    model: nn.Module, data: Data, bn: bool, epochs: int
) -> None:
    model.train()
    found = fingerprint(model)
    first = recover(model, data, bn=bn, epochs=epochs, seed=3)
    assert fingerprint(model) == found
    torch.rand(7)  # what the user draws between two recoveries plays no part
    second = recover(model, data, bn=bn, epochs=epochs, seed=3)
    assert states_equal(first, second)
    assert states_equal(first, model) == (not bn and not epochs)
    assert not any(module.training for module in first.modules())
    assert all(p.grad is None for p in first.parameters())


def test_another_seed_trains_another_network(model: nn.Module, data: Data) -> None:
    assert not states_equal(recover(model, data, epochs=1, seed=0), recover(model, data, epochs=1, seed=1))


def test_training_helps_a_network_that_knows_nothing(model: nn.Module, data: Data) -> None:
    with torch.no_grad():
        model.get_parameter("classifier.weight").zero_()
    recovered = recover(model, data, epochs=10)
    assert evaluate(model, data).accuracy < 0.3
    assert evaluate(recovered, data).accuracy > 0.5


def test_every_step_is_told_with_a_loss_that_falls(model: nn.Module, data: Data) -> None:
    events: list[TrainingStep] = []
    recover(model, data, epochs=4, progress=events.append)
    assert [e.step for e in events] == list(range(1, 13))  # 300 images: 3 steps an epoch
    assert {e.of for e in events} == {12}
    assert sum(e.loss for e in events[-3:]) < sum(e.loss for e in events[:3])


def test_the_first_loss_is_that_of_the_network_as_it_came(model: nn.Module) -> None:
    images = images_of(40)
    dropout = model.get_submodule("dropout")
    assert isinstance(dropout, nn.Dropout)
    dropout.p = 0.0
    before = copy.deepcopy(model).train()
    expected = nn.functional.cross_entropy(before(images.pixels), images.labels).item()
    assert next(train(model, images, epochs=1)).loss == pytest.approx(expected, rel=1e-5)


def test_stop_ends_training_between_steps_without_a_result(model: nn.Module, data: Data) -> None:
    events: list[TrainingStep] = []
    found = fingerprint(model)
    with pytest.raises(Interrupted, match="stays as it was"):
        recover(model, data, epochs=5, progress=events.append, stop=lambda: len(events) == 4)
    assert len(events) == 4
    assert fingerprint(model) == found


def test_what_stop_raises_passes_through(model: nn.Module, data: Data) -> None:
    class Mine(Exception):
        pass

    def stop() -> None:
        raise Mine

    with pytest.raises(Mine):
        recover(model, data, stop=stop)


def test_an_interrupt_is_said_in_words_and_puts_the_random_state_back(data: Data) -> None:
    class Impatient(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(36, 4)

        def forward(self, x: Tensor) -> Tensor:
            torch.rand(3)
            raise KeyboardInterrupt

    model = Impatient()
    found = fingerprint(model)
    with pytest.raises(Interrupted, match="stays as it was"):
        recover(model, data, epochs=1)
    assert fingerprint(model) == found


def test_a_loss_that_is_not_finite_is_said_in_words(model: nn.Module, data: Data) -> None:
    with torch.no_grad():
        model.get_parameter("classifier.bias")[0] = torch.nan
    found = torch.get_rng_state()
    with pytest.raises(ExplorerError, match=r"loss is nan at step 1 of 3.*classifier\.bias are NaN"):
        recover(model, data, epochs=1)
    assert torch.equal(torch.get_rng_state(), found)


@pytest.mark.parametrize("data", [None, Data("mine", ("a", "b", "c", "d"), None, images_of(8), None)])
def test_without_training_images_there_is_no_recovery_and_nothing_needs_none(
    model: nn.Module, data: Data | None
) -> None:
    with pytest.raises(BadInput, match="needs training images"):
        recover(model, data)
    assert states_equal(recover(model, data, bn=False), model)


def test_a_pair_of_tensors_is_taken_as_training_images(model: nn.Module) -> None:
    images = images_of(60)
    assert states_equal(recover(model, (images.pixels, images.labels)), recover(model, images))


def test_labels_without_a_logit_and_frozen_networks_are_refused(model: nn.Module) -> None:
    images = images_of(60)
    with pytest.raises(BadInput, match="out of range"):
        recover(model, Images(images.pixels, images.labels + 1, identity), epochs=1)
    model.requires_grad_(False)
    with pytest.raises(BadInput, match="requires_grad_"):
        recover(model, images, epochs=1)


def test_parameters_that_require_no_gradient_stay(model: nn.Module) -> None:
    model.get_parameter("conv1.weight").requires_grad_(False)
    recovered = recover(model, images_of(60), epochs=1)
    assert torch.equal(recovered.get_parameter("conv1.weight"), model.get_parameter("conv1.weight"))
    assert not torch.equal(recovered.get_parameter("conv2.weight"), model.get_parameter("conv2.weight"))


def test_a_worker_in_inference_mode_can_recover(model: nn.Module, data: Data) -> None:
    expected = recover(model, data, epochs=1)
    with torch.inference_mode():
        copied = copy.deepcopy(model)
        assert copied.get_parameter("conv1.weight").is_inference()
        got = recover(copied, data, epochs=1)
    assert states_equal(got, expected)


def test_a_network_with_auxiliary_logits_trains_on_its_own() -> None:
    """As googlenet and inception_v3, which answer with two kinds of logits in train mode."""

    class Outputs(NamedTuple):
        logits: Tensor
        aux_logits: Tensor

    class Auxiliary(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head, self.aux = nn.Conv2d(1, 4, 3), nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor | Outputs:
            features = torch.relu(self.body(x)).mean((2, 3))
            logits = self.head(features)
            return Outputs(logits, self.aux(features)) if self.training else logits

    model = Auxiliary()
    trained = recover(model, images_of(32), bn=False, epochs=1)
    assert not torch.equal(trained.get_parameter("head.weight"), model.head.weight)
    torch.testing.assert_close(trained.get_parameter("aux.weight"), model.aux.weight)
