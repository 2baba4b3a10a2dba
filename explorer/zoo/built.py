"""What the ways of loading have in common: a model, and what is known about it."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from explorer.data import Crop
from explorer.zoo.constructor import Constructor


@dataclass(frozen=True, eq=False)
class Built:
    """A model before it was given images: the fields of Network that do not depend on them.

    `normalize` None: not known. `shape` is that of one input of a batch of one, None where not known.
    """

    name: str
    model: nn.Module
    normalize: Callable[[Tensor], Tensor] | None = None
    crop: Crop | None = None
    classes: tuple[str, ...] = ()
    shape: tuple[int, ...] | None = None
    trained: bool = True
    notes: tuple[str, ...] = ()
    constructor: Constructor | None = None
    no_constructor: str = ""
    source: str | None = None


def sample_input(shape: tuple[int, ...]) -> Tensor:
    """An input float32 of the shape where there are no images: normally distributed, as normalised pixels are."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))
