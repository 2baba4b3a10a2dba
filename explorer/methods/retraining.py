"""A structure trained by itself: from the supernet's weights, or from weights that are initialised anew."""

from collections.abc import Callable, Iterable
from contextlib import suppress

import torch
from torch import nn

from explorer.data import Data, Images
from explorer.errors import BadInput, require_name, require_whole
from explorer.evaluate.estimates import Check, Judge, nothing
from explorer.evaluate.recovery import PEAK_RATE, TrainingStep, train
from explorer.graph.copies import deep_copy
from explorer.graph.randomness import same_random_numbers

SCRATCH_RATE = 0.1  # the peak where training starts from random weights; from trained ones it is recovery's
SHARED_BN_IMAGES = 1024  # for statistics of batch norm: eight batches, where the paper's code takes five
STARTS = ("scratch", "supernet")
RESETS = ("reset_parameters", "_reset_parameters")  # the latter is torch's name in attention and transformers


def fresh(model: nn.Module, seed: int = 0) -> nn.Module:
    """A copy in eval mode whose weights are drawn anew: every module's own `reset_parameters`, parts before wholes.

    The same seed gives the same weights; the global random numbers go on as if none had been drawn. What a
    constructor did to the weights beyond that (zeroing a last scale, say) is not repeated, and parameters that
    require no gradients stay as they are. Raises BadInput, with
    the names, for parameters that no module resets: a network that keeps them does not start from scratch.
    """
    require_whole("seed", seed, 0)
    with torch.inference_mode(False), torch.no_grad(), same_random_numbers(seed):
        copied = deep_copy(model)
        frozen = [(each, each.clone()) for each in copied.parameters() if not each.requires_grad]
        for parameter in copied.parameters():
            if parameter.is_floating_point():
                parameter.fill_(torch.nan)  # what is left of it was not reset
        for module in reversed(list(copied.modules())):
            for name in RESETS:
                with suppress(TypeError):  # a user's own, which wants arguments: its parameters stay NaN
                    getattr(module, name, nothing)()
        for parameter, before in frozen:
            parameter.copy_(before)
    kept = [name for name, parameter in copied.named_parameters() if parameter.isnan().any()]
    if kept:
        named = ", ".join(kept[:3]) + (f" and {len(kept) - 3} more" if len(kept) > 3 else "")
        raise BadInput(
            f"{type(model).__name__} cannot start from scratch, because no module initialises {named} anew. Give the "
            "module that holds them a method reset_parameters(), or start from the weights that are there."
        )
    copied.eval()
    return copied


def retrained(
    structure: nn.Module,
    images: Images,
    epochs: int,
    seed: int = 0,
    start: str = "scratch",
    check: Check = nothing,
    progress: Callable[[TrainingStep], object] | None = None,
) -> nn.Module:
    """A trained copy of a network in eval mode; `start`: "scratch" (see `fresh`) or "supernet" (its weights).

    Schedule and optimiser are recovery's (`recovery.train`): a rise over the first fifth of the steps, half a
    cosine down to 0; the peak is 0.1 from scratch and 0.02 from trained weights. `seed` gives initial weights
    and the order of the images. `check` is called before every step and may raise. Raises UnknownName for
    another start, BadInput for images that cannot be trained on, and ExplorerError if the loss is not finite.
    """
    require_name("start of retraining", start, STARTS)
    scratch = start == "scratch"
    with torch.inference_mode(False):
        network = fresh(structure, seed) if scratch else deep_copy(structure)
    peak = SCRATCH_RATE if scratch else PEAK_RATE
    for step in train(network, images, epochs, seed, peak_rate=peak, check=check):
        if progress is not None:
            progress(step)
    return network


def require_seeds(seeds: object) -> tuple[int, ...]:
    """The seeds as Python's integers. Raises BadInput for what is no sequence of whole numbers of at least 0."""
    if not isinstance(seeds, Iterable):
        raise BadInput(f"seeds must be several whole numbers, such as (0, 1, 2), not {seeds!r}.")
    for seed in seeds:
        require_whole("seed", seed, 0)
    return tuple(int(seed) for seed in seeds)


def require_labelled(data: Data | None) -> tuple[Images, Images]:
    """(training images, explore images) of the data; raises BadInput where there are none, or none with labels."""
    if not isinstance(data, Data) or data.train is None:
        raise BadInput(
            "Training needs images as explorer.Data with training images: load the network with "
            "data=explorer.Data(name, classes, train=explorer.Images(...), explore=explorer.Images(...), final=None)."
        )
    if data.train.class_numbers is None or data.explore.class_numbers is None:
        raise BadInput(
            f"Accuracy after training needs class labels, and the images of {data.name} have none."
        )
    return data.train, data.explore


def accuracy_of(network: nn.Module, images: Images, check: Check = nothing) -> float:
    """Share of labelled images that a network gets right, in [0, 1]. Raises BadInput."""
    *_, last = Judge(images).judge(network, "", check=check)
    return last.estimate.accuracy
