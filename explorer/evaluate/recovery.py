"""What is done to the weights after a cut: a repair, BN statistics re-estimated, then epochs of training."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from explorer.data import Data, DataSource, Images, as_images
from explorer.data.batches import fitting, split_evenly
from explorer.data.tasks import Own
from explorer.errors import BadInput, ExplorerError, Interrupted, require_name
from explorer.evaluate.estimates import (
    Check,
    as_module,
    eval_mode,
    forward,
    not_finite,
    nothing,
)
from explorer.graph.copies import deep_copy
from explorer.graph.randomness import own_torch_numbers
from explorer.repair import repair as repaired
from explorer.values import REPAIRS, ChannelGraph, Plan, Repair
from explorer.zoo.network import Network

BN_IMAGES = 256  # up to 4,096 give the same accuracy on the bundled resnet20, within 0.5 %
BATCH = 128
FEWEST = 16  # images of a batch whose statistics are taken, however much memory they need
PEAK_RATE = 0.02
MOMENTUM = 0.9
WEIGHT_DECAY = 5e-4
WARM_UP = 0.2  # share of the steps in which the rate rises


@dataclass(frozen=True)
class TrainingStep:
    """One step of training: number `step` (from 1) `of` so many, and the mean loss of its batch before it."""

    step: int
    of: int
    loss: float


def norms_with_statistics(model: nn.Module) -> list[_BatchNorm]:
    """The batch norms that have running statistics: what can be re-estimated."""
    return [m for m in model.modules() if isinstance(m, _BatchNorm) and m.running_mean is not None]


def reestimate_bn(
    model: nn.Module, images: Images, count: int = BN_IMAGES, batch: int = BATCH, check: Check = nothing
) -> None:
    """In place: running statistics of every batch norm = mean over batches of the batch statistics.

    Passes `count` mixed images (`Images.mixed`) in batches of about `batch`, or fewer that fit memory; only
    batch norms run in train mode (momentum None: the cumulative average), all else in eval mode, so dropout is
    off. Modes and momentums are as found afterwards. A network without batch norm is left alone. `check` is
    called before every batch. Raises BadInput for fewer than 2 images, or inputs that the network cannot take.
    """
    norms = norms_with_statistics(model)
    if not norms:
        return
    used = images.mixed(count)
    _require_two(used, "BN statistics")
    momentums = [norm.momentum for norm in norms]
    try:
        with eval_mode(model), torch.no_grad():
            batch = max(min(batch, FEWEST), fitting(model, used.inputs(slice(0, 1)), batch))
            for norm in norms:
                norm.reset_running_stats()
                norm.momentum = None
                norm.train()
            for rows in split_evenly(torch.arange(len(used)), batch):
                check()
                forward(model, used.inputs(rows))
    finally:
        for norm, momentum in zip(norms, momentums, strict=True):
            norm.momentum = momentum
    for norm in norms:
        assert norm.running_mean is not None
        assert norm.running_var is not None
        if not (torch.isfinite(norm.running_mean).all() and torch.isfinite(norm.running_var).all()):
            raise BadInput(f"The re-estimated BN statistics are not finite; {not_finite(model)}")


def train(
    model: nn.Module,
    images: Images,
    epochs: int,
    seed: int = 0,
    batch: int = BATCH,
    peak_rate: float = PEAK_RATE,
    check: Check = nothing,
) -> Iterator[TrainingStep]:
    """Train in place on the loss of the images' task, one event per step; the model is in eval mode after the last one.

    SGD with Nesterov momentum 0.9, weight decay 5e-4 on matrices and filters, rate rising to `peak_rate` in
    the first fifth of the steps and falling to 0 along a cosine. Parameters that do not require gradients
    stay. Order and dropout come from `seed`. Within a step torch's global random state is borrowed and put
    back; it belongs to the process, so another thread that draws meanwhile draws from ours.
    `check` is called before every step. Raises BadInput, and ExplorerError when the loss is no longer finite:
    then, as after any exception, the model is half trained.
    """
    trained = [p for p in model.parameters() if p.requires_grad]
    _require_trainable(model, trained, images, epochs)
    require_trainable(images)
    name = type(model).__name__
    optimizer = torch.optim.SGD(
        [
            {"params": [p for p in trained if p.dim() > 1], "weight_decay": WEIGHT_DECAY},
            {"params": [p for p in trained if p.dim() <= 1], "weight_decay": 0.0},
        ],
        lr=peak_rate,
        momentum=MOMENTUM,
        nesterov=True,
    )
    generator = torch.Generator().manual_seed(seed)
    per_epoch = len(split_evenly(torch.arange(len(images)), batch))
    of, step = per_epoch * epochs, 0
    model.train()
    for _ in range(epochs):
        for rows in split_evenly(torch.randperm(len(images), generator=generator), batch):
            check()
            for group in optimizer.param_groups:
                group["lr"] = peak_rate * share_of_peak(step, of)
            step_seed = int(torch.randint(2**62, (), generator=generator))
            step += 1
            with own_torch_numbers(step_seed), torch.inference_mode(False), torch.enable_grad():
                answer = forward(model, images.inputs(rows))
                if step == 1:
                    images, task = images.understood(name, answer, len(rows))
                assert images.labels is not None
                outputs = task.outputs(name, answer, len(rows))
                loss = task.losses(outputs, images.labels[rows]).mean()
                if not math.isfinite(loss.item()):
                    raise ExplorerError(
                        f"Training broke down: the loss is {loss.item()} at step {step} of {of}; "
                        f"{not_finite(model)} Nothing was kept. Cut less, or recover by BN statistics only."
                    )
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            yield TrainingStep(step, of, loss.item())
    optimizer.zero_grad()
    model.eval()


def recover(
    model: nn.Module | Network,
    data: DataSource | None,
    bn: bool = True,
    epochs: int = 0,
    seed: int = 0,
    progress: Callable[[TrainingStep], object] | None = None,
    stop: Callable[[], object] | None = None,
    repair: Repair = "none",
    graph: ChannelGraph | None = None,
    plan: Plan | None = None,
) -> nn.Module:
    """A copy in eval mode with BN statistics re-estimated (`bn`), then trained for `epochs`.

    With a `repair`, and for it the `graph` and the `plan`, the model is the network before the cut: it is shrunk and
    repaired first, as by `explorer.repair`. After "refit_sequential" pass bn=False: its means are fitted already, and
    re-estimation lowers the accuracy of deep cuts.
    Uses the training images of a Data; any other source of images is taken as training images. Re-estimation
    needs no labels, training does.
    `progress` gets every TrainingStep. `stop` is called before every batch: returning True ends the work with
    Interrupted, and what it raises passes through. The model passed, its mode and the global random state
    stay as they are. Same seed, same result. Raises BadInput without the training images or labels, and
    ExplorerError when the loss is no longer finite.
    """
    source = as_module(model)
    require_name("repair", repair, REPAIRS)

    def check() -> None:
        if stop is not None and stop():
            raise Interrupted("Recovery was stopped; the network stays as it was.")

    try:
        with torch.inference_mode(False):  # else the copy's weights could never be trained
            if repair == "none":
                recovered = deep_copy(source)
                recovered.eval()
            elif graph is None or plan is None:
                raise BadInput(
                    f"repair={repair!r} compares the cut network with the whole one: pass the network before the cut "
                    "as model, and graph= and plan=, or repair it first by explorer.repair(model, graph, plan, how)."
                )
            else:
                seen = None if repair == "merge" else _training_images(data)
                recovered = repaired(source, graph, plan, repair, seen, check)
        if not bn and not epochs:
            return recovered
        images = _training_images(data)
        with torch.inference_mode(False):
            if bn:
                reestimate_bn(recovered, images, check=check)
        if epochs:
            for event in train(recovered, images, epochs, seed, check=check):
                if progress is not None:
                    progress(event)
    except KeyboardInterrupt:
        raise Interrupted("Recovery was interrupted; the network stays as it was.") from None
    return recovered


def _training_images(data: DataSource | None) -> Images:
    if data is None or (isinstance(data, Data) and data.train is None):
        raise BadInput(
            "Recovery needs training images, and these data have none: images that load() was given as a pair "
            "or Dataset are all for judging. Pass recover() the training images themselves, as a pair of tensors "
            "(inputs, labels), or load with explorer.Data(name, classes, train=explorer.Images(...), explore=...)."
        )
    return as_images(data, "train")


def _require_two(images: Images, what: str) -> None:
    if len(images) < 2:
        raise BadInput(f"{what} need at least 2 training images, got {len(images)}: pass more.")


def require_trainable(images: Images) -> None:
    """Raise BadInput if training images have no targets, or their task no loss."""
    if images.labels is None:
        raise BadInput(
            "Training needs labels, and these training images have none. Pass labelled ones, or only re-estimate "
            "the statistics of batch norm, which needs images alone."
        )
    if isinstance(images.task, Own) and images.task.loss is None:
        raise BadInput("Training needs a loss, and load() was given a score only: pass loss=f too.")


def class_labels(images: Images) -> Tensor:
    """The labels int64 (N,) of training images, for what trains on classes only. Raises BadInput."""
    require_trainable(images)
    if images.class_numbers is None:
        what = "other targets" if images.task is None else images.task.name
        raise BadInput(
            f"This trains by cross-entropy on class labels, and these images are for {what}. Plain training, under "
            "After cutting or explorer.recover, uses the loss of any task."
        )
    return images.class_numbers


def _require_trainable(model: nn.Module, trained: list[nn.Parameter], images: Images, epochs: int) -> None:
    if epochs < 1:
        raise BadInput(f"Training needs at least 1 epoch, got {epochs}.")
    _require_two(images, "Training steps")
    if not trained:
        raise BadInput(
            f"No parameter of {type(model).__name__} requires gradients, so there is nothing to train: call "
            "model.requires_grad_(True) first."
        )


def share_of_peak(step: int, of: int, rise: float = WARM_UP) -> float:
    """The rate of step 0, 1, ... as a share of the peak: a line up in a share `rise`, then half a cosine down to 0."""
    done = (step + 1) / (of + 1)
    return done / rise if done < rise else (1 + math.cos(math.pi * (done - rise) / (1 - rise))) / 2
