"""A loaded network: the model, an example of its input, and the images to judge it on."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from explorer.data.images import Data
from explorer.data.pictures import Crop
from explorer.graph.inputs import Batch, tensors_of
from explorer.values import content_key
from explorer.zoo.constructor import Constructor

UNSAFE = re.compile(r'\.*[\x00-\x1f\x7f\ud800-\udfff/\\:*?"<>|~][\x00-\x1f\x7f\ud800-\udfff/\\:*?"<>|~.]*')
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # on Windows
LONGEST = 100  # bytes of a file's name that are the network's: file systems take 143 to 255 of all


@dataclass(frozen=True, eq=False)
class Network:
    """What `load` returns.

    `model` is a private copy in eval mode, on the CPU; `example` an input, a batch of one
    (`Inputs` where its forward takes several); `normalize` maps
    images in [0, 1] to inputs, and `crop` pictures of any size to such images (None: not known). `source` is the
    Python file of a bundled network's class, None for others.

    `constructor` makes the dense network again, for exported files; where there is none, `no_constructor` is a
    sentence that says why. `trained` is False only where the weights are known to be random. `classes` are the
    names of the logits, () where not known. `notes` are sentences on what was adapted when it was loaded.
    """

    name: str
    model: nn.Module
    example: Batch
    data: Data | None
    normalize: Callable[[Tensor], Tensor]
    source: str | None
    constructor: Constructor | None = None
    no_constructor: str = ""
    trained: bool = True
    classes: tuple[str, ...] = ()
    crop: Crop | None = None
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        images = "without images" if self.data is None else f"on {self.data.name}"
        shapes = ", ".join(str(tuple(each.shape)) for each in tensors_of(self.example))
        weights = "" if self.trained else ", untrained"
        return f"<Network {self.name} {images}, inputs {shapes}{weights}>"

    @cached_property
    def file_name(self) -> str:
        """What the names of the network's files begin with: its name, without what leads to another folder or what
        some system does not take. Networks of different names may have the same.
        """
        plain = UNSAFE.sub("_", self.name).strip(". ").encode()[:LONGEST].decode(errors="ignore")
        return f"_{plain}" if RESERVED.fullmatch(plain) else plain.strip(". ") or "network"

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
