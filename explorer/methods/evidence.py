"""What was measured after a method that yields widths: its structure beside others of the same cost."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Contender:
    """A structure for each seed: its `shares` of the dense MACs, and accuracies in [0, 1] after all training.

    `name` is that of the method, "one_shot" (L1, one ranking over all layers) or "uniform" (L1, the same share of every
    layer).
    """

    name: str
    shares: tuple[float, ...]
    accuracies: tuple[float, ...]


@dataclass(frozen=True)
class WidthsEvidence:
    """Contenders of equal cost, on `images` images: `before` epochs of training, the cut, and `after` epochs more."""

    images: int
    before: int
    after: int
    seeds: tuple[int, ...]
    contenders: tuple[Contender, ...]
