"""What the next layers lose when a channel goes and the others make up for it (Optimal Brain Surgeon)."""

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from explorer.criteria.subject import Subject
from explorer.repair.removal import removal_losses


@final
@dataclass(frozen=True)
class OBS:
    """Channels go one after the other, the least missed first; a score is what its removal adds to the error of the
    layers that read it, refitted, as a share of their answers' variance. No labels and no gradients.

    Groups are not on one scale: layers differ in how many channels they can spare at all. Of the ways tried on the four
    bundled networks (raw, per MAC, weighted by the loss's gradients), division by the group's mean was best or near it.
    """

    name: str = "obs"
    label: str = "what the others cannot make up for (OBS)"
    about: str = (
        "What the next layers' answers lose when the channel goes and the others are refitted to make up for it "
        "(after Hassibi and Stork 1993)."
    )
    needs_data: bool = True
    comparable: bool = False

    def __call__(self, subject: Subject) -> dict[str, NDArray[np.float32]]:
        assert subject.observed is not None
        losses = removal_losses(subject.model, subject.graph, subject.observed)
        return {group: values.astype(np.float32) for group, values in losses.items()}
