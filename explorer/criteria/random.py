"""Random scores: the control that every criterion must beat."""

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from explorer.criteria.subject import Subject


@final
@dataclass(frozen=True)
class Random:
    """Uniform in [0, 1), seeded: the same seed gives the same scores."""

    name: str = "random"
    label: str = "at random"
    about: str = (
        "A control: widths and channels are drawn, and one draw is luck. Trade-off compares with several, at uniform "
        "widths and at the ranking's own."
    )
    needs_data: bool = False
    comparable: bool = True

    def __call__(self, subject: Subject) -> dict[str, NDArray[np.float32]]:
        generator = np.random.default_rng(subject.seed)
        return {group.id: generator.random(group.size, dtype=np.float32) for group in subject.graph.prunable}
