"""A loaded network: the model, an example of its input, and the images to judge it on."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from explorer.data.images import Data
from explorer.values import content_key


@dataclass(frozen=True, eq=False)
class Network:
    """What `load` returns.

    `model` is a private copy in eval mode, on the CPU; `example` an input, a batch of one; `normalize` maps
    images in [0, 1] to inputs. `source` is the Python file of a bundled network's class, None for a user's.
    """

    name: str
    model: nn.Module
    example: Tensor
    data: Data | None
    normalize: Callable[[Tensor], Tensor]
    source: str | None

    def __repr__(self) -> str:
        images = "without images" if self.data is None else f"on {self.data.name}"
        return f"<Network {self.name} {images}, inputs {tuple(self.example.shape)}>"

    @cached_property
    def weights_key(self) -> str:
        """Content key of the state dict: names, dtypes, shapes and bytes of its tensors."""
        parts: list[object] = []
        for name, value in self.model.state_dict().items():
            if isinstance(value, Tensor):
                # As bytes, since numpy has no bfloat16.
                flat = value.detach().contiguous().flatten().view(torch.uint8)
                parts += [name, str(value.dtype), tuple(value.shape), flat.numpy()]
            else:
                parts += [name, value]
        return content_key(*parts)
