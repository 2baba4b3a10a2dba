"""Distance to the other filters: FPGM, He et al. 2019 (CVPR), equation 5."""

from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray

from explorer.criteria.subject import Subject, member_filters


@final
@dataclass(frozen=True)
class FPGM:
    """Sum of Euclidean distances from a unit's filters to those of all units of its group.

    The filter nearest to the geometric median is the most replaceable one and scores lowest. Distances are
    between all member layers' filters concatenated.
    """

    name: str = "fpgm"
    label: str = "distance to other filters (FPGM)"
    about: str = (
        "Sum of distances to the group's other filters; near the median is replaceable (He et al. 2019)."
    )
    needs_data: bool = False
    comparable: bool = False

    def __call__(self, subject: Subject) -> dict[str, NDArray[np.float32]]:
        scores = {}
        for group in subject.graph.prunable:
            filters = member_filters(subject, group)
            # The matrix-product shortcut loses the small distances that matter here.
            distances = torch.cdist(filters, filters, compute_mode="donot_use_mm_for_euclid_dist")
            scores[group.id] = distances.sum(dim=1).numpy()
        return scores
