"""Images, with labels or without, and the splits of a data set: what networks are scored and evaluated on."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor

from explorer.data.tasks import Task, guess
from explorer.errors import BadInput, ExplorerError, require_whole
from explorer.graph.inputs import Batch, require_dense, with_form
from explorer.values import content_key

Split = Literal["train", "explore", "final"]
MAPS = "It maps float images in [0, 1] (N, C, H, W) to inputs, as explorer.data.Normalize(mean, std) does."
FAIR = 0.25  # share of images that may be of the wrong classes (total variation) in a part that stands for the whole


def identity(images: Tensor) -> Tensor:
    """The normalisation of images that are inputs already."""
    return images


@dataclass(frozen=True)
class Normalize:
    """(image - mean) / std: images (N, C, H, W) in [0, 1] -> inputs.

    `mean` and `std` are numbers for all channels, or one per channel: `Normalize((0.485, 0.456, 0.406),
    (0.229, 0.224, 0.225))`. Raises BadInput for what are no finite numbers, for a std that is not above 0, and
    for images of another number of channels.
    """

    mean: float | tuple[float, ...]
    std: float | tuple[float, ...]

    def __post_init__(self) -> None:
        for name in ("mean", "std"):
            object.__setattr__(self, name, _per_channel(name, getattr(self, name)))
        if min(_listed(self.std)) <= 0:
            raise BadInput(f"std is {self.std}; it must be above 0: inputs are (image - mean) / std.")
        if (wrong := {len(_listed(self.mean)), len(_listed(self.std))} - {1}) and len(wrong) > 1:
            raise BadInput(f"mean {self.mean} and std {self.std} are of different numbers of channels.")

    def __call__(self, images: Tensor) -> Tensor:
        return (images - self._shaped(self.mean, images)) / self._shaped(self.std, images)

    def _shaped(self, value: float | tuple[float, ...], images: Tensor) -> float | Tensor:
        if isinstance(value, float):
            return value
        if images.dim() < 3 or images.shape[-3] != len(value):
            raise BadInput(
                f"{self} is for images of {len(value)} channels, (N, {len(value)}, H, W); these have the shape "
                f"{tuple(images.shape)}."
            )
        return torch.tensor(value).view(-1, 1, 1)


@dataclass(frozen=True, eq=False)
class Images:
    """Images of one shape, their targets if they have any, and how they become a network's inputs.

    `pixels` (N, C, H, W) is uint8 (0..255), or float32; `labels` are class numbers, int64 (N,), 0 or more, the targets
    of another task (N, ...), or None; of two
    classes they may be given as floats 0. and 1., and all of them as (N, 1). `normalize` maps float32 images (0..1 if
    they were uint8) to inputs of the same batch size. `task` says how outputs are judged; None: it is guessed from
    outputs and targets. Raises BadInput.

    A network of several inputs is given `more` (N, ...) too, in the tuple, list or dict `form`, which holds the
    numbers of tensors in their places (None: in order, by position). Those that are pictures of as many channels are
    normalised as the first, others are inputs already. What shows pictures shows the first input.
    """

    pixels: Tensor
    labels: Tensor | None
    normalize: Callable[[Tensor], Tensor]
    task: Task | None = None
    more: tuple[Tensor, ...] = ()
    form: Any = None

    def __post_init__(self) -> None:
        _check_pixels(self.pixels)
        for each in self.more:
            _check_further(each, len(self.pixels))
        if self.labels is not None:
            object.__setattr__(self, "labels", _targets(self.labels, len(self.pixels), self.task))
        if not callable(self.normalize):
            raise BadInput(f"normalize is a {type(self.normalize).__name__}; expected a function. {MAPS}")

    def __repr__(self) -> str:
        kind = "labelled images" if self.labelled else "images without labels"
        return f"<{len(self)} {kind} of shape {tuple(self.pixels.shape[1:])}>"

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def labelled(self) -> bool:
        """Whether the targets are known."""
        return self.labels is not None

    def inputs(self, rows: slice | Tensor = slice(None)) -> Batch:
        """Normalised inputs float32 (rows, C, H, W) of a slice, or of a tensor of positions."""
        return with_form(tuple(self._input(each[rows]) for each in (self.pixels, *self.more)), self.form)

    def _input(self, pixels: Tensor) -> Tensor:
        images = pixels.float() / 255 if pixels.dtype == torch.uint8 else pixels
        alike = pixels.dim() == 4 and pixels.shape[1] == self.pixels.shape[1]
        return self._normalised(images) if alike else images

    def _normalised(self, images: Tensor) -> Tensor:
        """Inputs of float32 images; raises BadInput for what a user's function raises, or answers instead."""
        try:
            inputs = self.normalize(images)
        except ExplorerError:
            raise
        except Exception as error:  # it may raise anything
            raise BadInput(
                f"normalize cannot take images of shape {tuple(images.shape)} ({images.dtype}): "
                f"{type(error).__name__}: {error}. {MAPS}"
            ) from error
        if not isinstance(inputs, Tensor) or inputs.shape[:1] != images.shape[:1]:
            found = f"shape {tuple(inputs.shape)}" if isinstance(inputs, Tensor) else type(inputs).__name__
            raise BadInput(
                f"normalize answered images of shape {tuple(images.shape)} with {found}, not with as many inputs. "
                f"{MAPS}"
            )
        return inputs

    def subset(self, count: int) -> "Images":
        """The first `count` images (all, if there are fewer). Raises BadInput for a count below 1."""
        require_whole("The number of images in a subset", count, 1)
        if count >= len(self):
            return self
        return self._taken(slice(0, count))

    @property
    def class_numbers(self) -> Tensor | None:
        """The right classes, int64 (N,), where targets are class numbers; else None."""
        labels = self.labels
        named = self.task is None or self.task.classifies
        return (
            labels
            if named and labels is not None and labels.dim() == 1 and not labels.is_floating_point()
            else None
        )

    def judged_as(self, task: Task, outputs: Any) -> "Images":
        """The images with the task, and targets as it takes them for outputs of that shape. Raises BadInput."""
        labels = None if self.labels is None else task.matched(self.labels, outputs)
        return Images(self.pixels, labels, self.normalize, task, self.more, self.form)

    def understood(self, name: str, answer: Any, count: int) -> tuple["Images", Task]:
        """`judged_as` by their own task, or by that which the answer of the network `name` to `count` inputs and all
        targets tell. Raises BadInput.
        """
        task = self.task or guess(name, answer, self.labels)
        return self.judged_as(task, task.outputs(name, answer, count)), task

    def mixed(self, count: int) -> "Images":
        """`count` images (all, if there are fewer) that stand for the whole: the first ones, where these do.

        Labelled images that lie sorted by class, and images whose classes are not known, are drawn at random instead,
        always the same ones. Raises BadInput for a count below 1.
        """
        require_whole("The number of images in a subset", count, 1)
        if count >= len(self):
            return self
        if (labels := self.class_numbers) is not None:
            classes = int(labels.max()) + 1
            whole = labels.bincount(minlength=classes) / len(self)
            first = labels[:count].bincount(minlength=classes) / count
            if float((whole - first).abs().sum()) / 2 <= FAIR:
                return self.subset(count)
        rows = torch.randperm(len(self), generator=torch.Generator().manual_seed(0))[:count]
        return self._taken(rows)

    def _taken(self, rows: slice | Tensor) -> "Images":
        labels = None if self.labels is None else self.labels[rows]
        more = tuple(each[rows] for each in self.more)
        return Images(self.pixels[rows], labels, self.normalize, self.task, more, self.form)

    @cached_property
    def key(self) -> str:
        """Content key of pixels, labels and what `normalize` does to a ramp from 0 to 1."""
        shape = self.pixels.shape[1:]
        ramp = self._normalised(torch.linspace(0, 1, shape.numel()).view(1, *shape))
        labels = None if self.labels is None else self.labels.numpy()
        more = [each.numpy() for each in self.more]
        return content_key(self.pixels.numpy(), labels, ramp.detach().numpy(), *more)


@dataclass(frozen=True, eq=False)
class Data:
    """The splits of a data set and the names of its classes (label i is `classes[i]`).

    `train` images are for calibration, BN statistics and training only; the sliders look at `explore`
    images; `final` images are for an explicit final check. Without `train` there is no recovery. Without
    labels a network is judged by how often it agrees with the dense one. Raises BadInput if only one of
    explore and final images has labels.
    """

    name: str
    classes: tuple[str, ...]
    train: Images | None
    explore: Images
    final: Images | None

    def __post_init__(self) -> None:
        if self.final is not None and self.final.labelled != self.explore.labelled:
            raise BadInput(
                "Explore and final images are judged alike, but only one of the two has labels. Give both "
                "labels or none, or leave the final images out: final=None."
            )


def _listed(value: float | tuple[float, ...]) -> tuple[float, ...]:
    return (value,) if isinstance(value, float) else value


def _per_channel(name: str, value: object) -> float | tuple[float, ...]:
    """A number as float, several as a tuple of them."""
    try:
        each = [float(number) for number in (value if isinstance(value, Iterable) else [value])]  # type: ignore[arg-type]
    except (TypeError, ValueError):
        each = []
    if isinstance(value, str) or not each or not all(math.isfinite(number) for number in each):
        raise BadInput(f"{name} is {value!r}; expected a number, or one number per channel.")
    return tuple(each) if isinstance(value, Iterable) else each[0]


def _check_pixels(pixels: Tensor) -> None:
    if isinstance(pixels, Tensor):
        require_dense("Images", pixels)
    if not isinstance(pixels, Tensor) or pixels.dim() != 4:
        found = f"shape {tuple(pixels.shape)}" if isinstance(pixels, Tensor) else type(pixels).__name__
        raise BadInput(
            f"Images are a tensor of shape (N, C, H, W), not {found}. Grey images (N, H, W) become it by "
            "images.unsqueeze(1), channels-last ones by images.permute(0, 3, 1, 2)."
        )
    if len(pixels) == 0:
        raise BadInput("The data set is empty: it must have at least one image.")
    if pixels.numel() == 0:
        raise BadInput(f"Images of shape {tuple(pixels.shape[1:])} have no pixels.")
    if pixels.dtype not in (torch.uint8, torch.float32):
        raise BadInput(
            f"Images have dtype {pixels.dtype}; expected uint8 (0..255) or float32. Convert them with "
            ".to(torch.uint8) or .float()."
        )
    if pixels.dtype == torch.float32 and not (finite := torch.isfinite(pixels).flatten(1).all(1)).all():
        bad = int((~finite).sum())
        first = int((~finite).nonzero()[0])
        raise BadInput(
            f"{bad} of {len(pixels)} images hold NaN or infinite pixels; the first is image {first}."
        )


def _check_further(tensor: Tensor, count: int) -> None:
    if not isinstance(tensor, Tensor) or tensor.dtype not in (torch.uint8, torch.float32, torch.int64):
        found = tensor.dtype if isinstance(tensor, Tensor) else type(tensor).__name__
        raise BadInput(f"A further input is {found}; expected a tensor (N, ...), uint8, float32 or int64.")
    require_dense("A further input", tensor)
    if tensor.shape[:1] != (count,):
        raise BadInput(f"{count} images were given, and a further input of shape {tuple(tensor.shape)}.")
    if not torch.isfinite(tensor).all():
        raise BadInput("A further input holds NaN or infinite numbers.")


def _targets(targets: Tensor, count: int, task: Task | None) -> Tensor:
    """Targets of `count` images: class numbers int64 (N,) also of those who have them as users of a binary loss do,
    (N, 1) and floats 0. and 1.; others as they are. Raises BadInput.
    """
    if not isinstance(targets, Tensor):
        raise BadInput(
            f"Labels are class numbers, int64 of shape (N,), or other targets, a tensor (N, ...), not "
            f"{type(targets).__name__}."
        )
    require_dense("Labels", targets)
    if targets.dim() == 0 or targets.is_complex() or len(targets) != count:
        raise BadInput(
            f"{count} images and labels of shape {tuple(targets.shape)} ({targets.dtype}) were given; there must be "
            "one label, or one row of targets, per image."
        )
    if (
        targets.is_floating_point()
        and not (finite := torch.isfinite(targets).reshape(count, -1).all(1)).all()
    ):
        raise BadInput(
            f"The target of image {int((~finite).nonzero()[0])} holds NaN or infinite numbers: leave it out."
        )
    if targets.dtype == torch.bool or not targets.is_floating_point():
        targets = targets.long()
    one_each = targets.numel() == count and targets.dim() <= 2
    if one_each and (task is None or task.classifies) and bool(((targets == 0) | (targets == 1)).all()):
        targets = targets.long()
    if one_each and not targets.is_floating_point():
        targets = targets.flatten()
        if (least := int(targets.min())) < 0 and (task is None or task.classifies):
            raise BadInput(
                f"Label {least} is out of range: labels are class numbers from 0 on. Images without a class, often "
                "-1, are left out by keep = labels >= 0: images[keep], labels[keep]."
            )
    return targets
