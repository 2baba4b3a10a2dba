"""The scale of batch norm, |gamma|: Liu et al. 2017 (ICCV), without their sparsity training."""

from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.modules.batchnorm import _BatchNorm

from explorer.criteria.subject import Subject, by_unit
from explorer.errors import ExplorerError


@final
@dataclass(frozen=True)
class BNGamma:
    """Mean of |gamma| over the batch norms of a unit's channels; Slimming ranks it raw across layers, `allocate`
    divides by the group's mean. Raises ExplorerError without batch norm."""

    name: str = "bn_gamma"
    label: str = "batch-norm scale"
    about: str = (
        "Absolute scale of batch norm; telling only if trained for it (Liu et al. 2017, who rank all layers' scales "
        "together; here they are divided by their group's mean before layers are compared)."
    )
    needs_data: bool = False
    comparable: bool = False

    def __call__(self, subject: Subject) -> dict[str, NDArray[np.float32]]:
        scales = {
            f"{name}.weight": module.weight.detach()
            for name, module in subject.model.named_modules()
            if isinstance(module, _BatchNorm) and module.weight is not None
        }
        scores = {}
        for group in subject.graph.prunable:
            rows = [
                by_unit(scales[slot.tensor].abs()[:, None], slot.unit, group.size)
                for slot in group.slots
                if slot.tensor in scales
            ]
            if not rows:
                raise ExplorerError(
                    f"Ranking by batch-norm scale needs a batch norm with a scale on every group; {group.id} has "
                    "none. Use l1, l2 or taylor for this network."
                )
            scores[group.id] = torch.cat(rows, dim=1).mean(dim=1).numpy()
        return scores
