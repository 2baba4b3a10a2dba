import copy

import pytest
import torch
from torch import Tensor, nn

from explorer.data import Data, Images, identity
from explorer.errors import BadInput, Interrupted
from explorer.evaluate.estimates import (
    FIRST_BATCH,
    Judge,
    evaluate,
    weights_key,
)
from explorer.zoo.network import Network
from tests.evaluate.toys import CLASSES, Toy, fingerprint


def loop_of_one(model: nn.Module, images: Images) -> list[bool]:
    """The plain loop: one image at a time."""
    with torch.no_grad():
        return [
            int(model(images.pixels[i : i + 1]).argmax()) == int(images.labels[i]) for i in range(len(images))
        ]


def test_evaluate_equals_a_plain_loop(model: nn.Module, images: Images) -> None:
    estimate = evaluate(model, images)
    right = loop_of_one(model, images)
    assert 0 < sum(right) < len(images)
    assert (estimate.correct, estimate.seen, estimate.of) == (sum(right), 330, 330)
    assert estimate.done
    assert estimate.low < estimate.accuracy < estimate.high


def test_the_images_that_are_right_come_in_order(model: nn.Module, images: Images) -> None:
    right = loop_of_one(model, images)
    for judged in Judge(images).judge(model, "state", batch=120):
        assert judged.right.tolist() == right[: judged.estimate.seen]
        assert judged.truth.tolist() == images.labels[: judged.estimate.seen].tolist()


def test_the_predicted_classes_come_in_order(model: nn.Module, images: Images) -> None:
    with torch.inference_mode():
        one_by_one = [int(model(images.inputs(slice(i, i + 1))).argmax()) for i in range(len(images))]
    parts = list(Judge(images).judge(model, "state", batch=120))
    assert [len(part.predicted) for part in parts] == [100, 215, 330]
    assert parts[-1].predicted.tolist() == one_by_one


def test_the_first_batch_is_small_and_the_counts_add_up(model: nn.Module, images: Images) -> None:
    estimates = [judged.estimate for judged in Judge(images).judge(model, "state", batch=120)]
    assert [e.seen for e in estimates] == [FIRST_BATCH, 215, 330]
    assert [e.done for e in estimates] == [False, False, True]
    right = loop_of_one(model, images)
    assert [e.correct for e in estimates] == [sum(right[: e.seen]) for e in estimates]
    assert {e.state_key for e in estimates} == {"state"}


@pytest.mark.parametrize("size", [1, 2, FIRST_BATCH, FIRST_BATCH + 1])
def test_every_image_is_seen_once(model: nn.Module, images: Images, size: int) -> None:
    assert list(Judge(images.subset(size)).judge(model, "state"))[-1].estimate.seen == size


def test_the_model_is_left_as_found_between_batches_and_after(model: nn.Module, images: Images) -> None:
    model.train()
    model.get_submodule("bn1").eval()  # a mixed mode, as of a user who froze a batch norm
    found = fingerprint(model)
    for _ in Judge(images).judge(model, "state"):
        assert fingerprint(model) == found
        assert not torch.is_inference_mode_enabled()
    assert fingerprint(model) == found


def test_the_model_is_left_as_found_after_an_error(model: nn.Module) -> None:
    model.train()
    found = fingerprint(model)
    wrong = Images(torch.zeros(3, 2, 6, 6), torch.zeros(3, dtype=torch.int64), identity)
    with pytest.raises(BadInput, match=r"\(3, 2, 6, 6\)"):
        evaluate(model, wrong)
    assert fingerprint(model) == found


def test_the_check_is_called_before_every_batch_and_may_stop(model: nn.Module, images: Images) -> None:
    calls: list[int] = []

    def check() -> None:
        calls.append(len(calls))
        if len(calls) == 3:
            raise Interrupted("enough")

    parts = Judge(images).judge(model, "state", batch=50, check=check)
    assert [next(parts).estimate.seen, next(parts).estimate.seen] == [50, 97]
    with pytest.raises(Interrupted, match="enough"):
        next(parts)


def test_nan_weights_are_named(model: nn.Module, images: Images) -> None:
    with torch.no_grad():
        model.get_parameter("conv2.weight")[1, 2, 0, 0] = torch.nan
    with pytest.raises(BadInput, match=r"1 of \d+ numbers in conv2\.weight are NaN"):
        evaluate(model, images)


def test_an_overflow_of_sound_weights_is_told_apart(model: nn.Module, images: Images) -> None:
    with torch.no_grad():
        model.get_parameter("classifier.weight").fill_(3e38)
    with pytest.raises(BadInput, match="all weights are finite"):
        evaluate(model, images)


def test_a_label_without_a_logit_is_refused(model: nn.Module, images: Images) -> None:
    wrong = Images(images.pixels, images.labels + 1, identity)
    with pytest.raises(BadInput, match=f"Label {CLASSES} .* {CLASSES} classes"):
        evaluate(model, wrong)


class Answers(nn.Module):
    """A network that answers with whatever it is given."""

    def __init__(self, answer: object) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, x: Tensor) -> object:
        return self.answer


@pytest.mark.parametrize("answer", [(torch.zeros(1, 3),), torch.zeros(1, 3)])
def test_answers_that_are_no_logits_are_refused(answer: object, images: Images) -> None:
    with pytest.raises(BadInput, match="expected one row of logits per input"):
        evaluate(Answers(answer), images.subset(4))


def test_a_loaded_network_brings_its_own_images(model: nn.Module, data: Data) -> None:
    network = Network("toy", model, torch.zeros(1, 1, 6, 6), data, identity, None)
    assert evaluate(network) == evaluate(model, data)
    assert evaluate(network, split="train").of == 300


def test_a_module_that_has_a_submodule_called_model_is_itself_evaluated(
    model: nn.Module, images: Images
) -> None:
    class Wrapper(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, x: Tensor) -> Tensor:
            return -self.model(x)

    assert evaluate(Wrapper(), images).correct != evaluate(model, images).correct


def test_what_is_no_network_and_what_has_no_images_is_refused(model: nn.Module, data: Data) -> None:
    with pytest.raises(BadInput, match="got str"):
        evaluate("resnet20", data)  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="No images"):
        evaluate(model)
    with pytest.raises(BadInput, match="final"):
        evaluate(model, data, split="final")


def test_an_interrupt_says_how_far_it_came(images: Images) -> None:
    class Impatient(Toy):
        def forward(self, x: Tensor) -> Tensor:
            if len(x) != FIRST_BATCH:
                raise KeyboardInterrupt
            return super().forward(x)

    with pytest.raises(Interrupted, match=f"after {FIRST_BATCH} of 330 images"):
        evaluate(Impatient(), images)


def test_the_key_follows_the_weights(model: nn.Module) -> None:
    same = copy.deepcopy(model)
    assert weights_key(model) == weights_key(same)
    with torch.no_grad():
        same.get_buffer("bn1.running_mean")[0] += 1
    assert weights_key(model) != weights_key(same)


def test_the_estimate_is_of_the_weights_as_they_are(model: nn.Module, images: Images) -> None:
    assert evaluate(model, images.subset(2)).state_key == weights_key(model)
