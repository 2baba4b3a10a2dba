"""L1 and L2 norm of a unit's filters: Li et al. 2017 (ICLR), section 3.1, and its Euclidean sibling."""

from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray

from explorer.criteria.subject import Subject, member_filters


@final
@dataclass(frozen=True)
class Norm:
    """The p-norm of all weights that produce a unit, over all member layers of the group together."""

    name: str
    label: str
    about: str
    order: int
    needs_data: bool = False
    comparable: bool = False

    def __call__(self, subject: Subject) -> dict[str, NDArray[np.float32]]:
        return {
            group.id: torch.linalg.vector_norm(member_filters(subject, group), self.order, dim=1).numpy()
            for group in subject.graph.prunable
        }


L1 = Norm("l1", "filter size (L1)", "Sum of the absolute weights of a filter (Li et al. 2017).", 1)
L2 = Norm("l2", "filter size (L2)", "Euclidean norm of a filter.", 2)
