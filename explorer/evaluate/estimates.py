"""Accuracy, batch by batch: what a network says of images, and which it gets right."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from explorer.data import DataSource, Images, as_images, identity
from explorer.data.batches import split_evenly
from explorer.data.fitting import first_not_finite, require_labels, require_logits, taking
from explorer.data.images import Split
from explorer.errors import BadInput, Interrupted
from explorer.values import Bools, Classes, Estimate
from explorer.zoo.network import Network

FIRST_BATCH = 100  # images before the first estimate; later batches may be larger
Check = Callable[[], object]


def nothing() -> None:
    """The check that never stops anything."""


def as_module(source: nn.Module | Network) -> nn.Module:
    """The network itself, or the `.model` of a loaded one; raises BadInput for anything else."""
    module = source if isinstance(source, nn.Module) else getattr(source, "model", None)
    if not isinstance(module, nn.Module):
        raise BadInput(
            "Expected a torch network (nn.Module) or what explorer.load() returns, "
            f"got {type(source).__name__}."
        )
    return module


def weights_key(source: nn.Module | Network) -> str:
    """Content key of the state dict, as a loaded network's `.weights_key`."""
    if not isinstance(source, Network):  # one definition of the key for both
        source = Network("", source, torch.empty(0), None, identity, None)
    return source.weights_key


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Every module in eval mode; afterwards each in the mode that it was found in."""
    found = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        yield
    finally:
        for module, training in found:
            module.training = training


def forward(model: nn.Module, inputs: Tensor) -> Tensor:
    """Logits (N, classes) of inputs (N, ...); raises BadInput where the network cannot take or give that."""
    name = type(model).__name__
    hint = "Check that the images have the size and channels that the network was made for."
    with taking(name, inputs, hint):
        answer = model(inputs)
    return require_logits(name, answer, len(inputs))


def not_finite(model: nn.Module) -> str:
    """Where NaN or infinity may come from, in words: the first weights tensor that holds any."""
    if bad := first_not_finite(model):
        return f"{bad}: load sound weights."
    return "all weights are finite, so they overflow on the way: check the scale of inputs and weights."


def predicted_by_batch(
    model: nn.Module, images: Images, batch: int = 125, check: Check = nothing
) -> Iterator[Classes]:
    """Predicted classes (top-1 logit): int16 (n,) per batch, in the order of the images.

    The first batch has at most FIRST_BATCH images, the others at most `batch`. `check` is called before every
    batch and may raise. The network runs in eval and inference mode and is left as found between batches.
    Raises BadInput for inputs, labels or weights that cannot be evaluated.
    """
    first = min(FIRST_BATCH, batch)
    rows = torch.arange(len(images))
    for part in (*split_evenly(rows[:first], first), *split_evenly(rows[first:], batch)):
        check()
        taken = slice(int(part[0]), int(part[-1]) + 1)
        with eval_mode(model), torch.inference_mode():
            logits = forward(model, images.inputs(taken))
        require_labels(images.labels[taken], logits)
        if not torch.isfinite(logits).all():
            raise BadInput(f"The logits of {type(model).__name__} are not finite; {not_finite(model)}")
        yield logits.argmax(1).to(torch.int16).numpy()


def correct_by_batch(
    model: nn.Module, images: Images, batch: int = 125, check: Check = nothing
) -> Iterator[Bools]:
    """Which images are right (the predicted class is the label): bool (n,) per batch; `predicted_by_batch`."""
    labels, seen = images.labels.numpy(), 0
    for predicted in predicted_by_batch(model, images, batch, check):
        yield predicted == labels[seen : seen + len(predicted)]
        seen += len(predicted)


def count(
    model: nn.Module, images: Images, state_key: str, batch: int = 125, check: Check = nothing
) -> Iterator[Estimate]:
    """One estimate after each batch, the last one over all images; see `correct_by_batch`."""
    correct = seen = 0
    for right in correct_by_batch(model, images, batch, check):
        correct, seen = correct + int(np.count_nonzero(right)), seen + len(right)
        yield Estimate(state_key, correct, seen, len(images))


def evaluate(
    model: nn.Module | Network, data: DataSource | None = None, split: Split = "explore"
) -> Estimate:
    """Accuracy of a network on all images of a split ("train", "explore" or "final") of the data.

    `data` is anything that holds labelled images (Data, Images, a pair of tensors, a Dataset or DataLoader);
    by default the loaded network's own. The estimate's `state_key` is the content key of the weights as they
    are (a loaded network's `weights_key`), equal for equal weights however they came about; a live estimate's
    is that of a `State` (weights, plan and recovery) and never equals it.

    Raises UnknownName for a split that does not exist, BadInput for what cannot be evaluated, and Interrupted,
    with the accuracy so far, when the user interrupts.
    """
    module = as_module(model)
    if data is None and isinstance(model, Network):
        data = model.data
    if data is None:
        raise BadInput("No images to evaluate on: pass data, for example a pair of tensors (inputs, labels).")
    images = as_images(data, split)
    estimate = Estimate(weights_key(model), 0, 0, len(images))
    try:
        for latest in count(module, images, estimate.state_key):
            estimate = latest
    except KeyboardInterrupt:
        so_far = f", {estimate.correct} of them right" if estimate.seen else ""
        raise Interrupted(
            f"Evaluation stopped after {estimate.seen} of {estimate.of} images{so_far}."
        ) from None
    return estimate
