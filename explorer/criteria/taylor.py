"""First-order Taylor importance with gates: Molchanov et al. 2019 (CVPR), equation 8."""

from dataclasses import dataclass, replace
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray

from explorer.capture import gate_gradients, run
from explorer.criteria.subject import Subject
from explorer.data.batches import fitting, split_evenly

BATCH = 64


@final
@dataclass(frozen=True)
class Taylor:
    """Mean over batches of (dL/dg)^2, L a batch's mean loss, g a gate on the unit wherever a layer reads it.

    g = 0 is exactly what pruning does to the unit, so the group needs no rule for combining its member
    layers: one gate stands for all of them. Scores are squared changes of the loss, comparable between
    groups, and are ranked raw. All of a cut is decided by one look at the whole network; Molchanov et al. remove a few
    units at a time and train in between.
    """

    name: str = "taylor"
    label: str = "effect on the loss (Taylor)"
    about: str = (
        "Squared first-order change of the loss if the channel were removed (Molchanov et al. 2019, who score again "
        "after every few), over up to 512 training images: other 512 rank somewhat differently. Of images "
        "without labels, the network's own answers are taken for the labels; of numbers, the change of the outputs."
    )
    needs_data: bool = True
    comparable: bool = True

    def __call__(self, subject: Subject) -> dict[str, NDArray[np.float32]]:
        images = subject.images
        assert images is not None
        totals: dict[str, torch.Tensor] = {}
        one = images.inputs(slice(0, 1))
        if images.labelled and images.task is None:  # told by all targets, not batch by batch
            with torch.no_grad():
                answer = run(subject.model, subject.graph, one, lambda _layer, x: x)
            images, _task = images.understood(type(subject.model).__name__, answer, 1)
            subject = replace(subject, images=images)
        parts = split_evenly(torch.arange(len(images)), BATCH)
        at_once = fitting(subject.model, one, BATCH, gradients=True)
        for rows in parts:
            # Gradients are an image's own, so that a batch may come in pieces that fit memory.
            pieces = [_gradients(subject, piece) for piece in split_evenly(rows, at_once)]
            for group in pieces[0]:
                squares = torch.cat([piece[group] for piece in pieces]).double().mean(dim=0).square()
                totals[group] = totals[group] + squares if group in totals else squares
        return {group: (total / len(parts)).float().numpy() for group, total in totals.items()}


def _gradients(subject: Subject, rows: torch.Tensor) -> dict[str, torch.Tensor]:
    assert subject.images is not None
    images = subject.images
    targets = None if images.labels is None else images.labels[rows]
    return gate_gradients(subject.model, subject.graph, images.inputs(rows), targets, images.task)
