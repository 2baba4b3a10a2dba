"""The order that the channels have: for networks whose channels were trained to be ordered."""

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from explorer.criteria.subject import Subject


@final
@dataclass(frozen=True)
class Order:
    """Unit k = 0, 1, ... of a group of C scores (C - k) / C, so that the first are kept, whatever the weights.

    Scores of different groups are comparable: a global ranking keeps the same share of every group.
    """

    name: str = "order"
    label: str = "in their order"
    about: str = (
        "The first channels are kept; meant for supernets, which are trained for it (Guo et al. 2020)."
    )
    needs_data: bool = False
    comparable: bool = True

    def __call__(self, subject: Subject) -> dict[str, NDArray[np.float32]]:
        groups = subject.graph.prunable
        return {group.id: np.linspace(1, 0, group.size, endpoint=False, dtype=np.float32) for group in groups}
