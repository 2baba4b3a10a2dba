"""What others published on DMCP and on methods beside it: structures and ImageNet accuracies, each with its source.

Numbers were read where `SOURCES` says, and none is from memory. Budgets are the sources' "FLOPs", which count
multiply-adds: MACs. Rows of one budget were trained by different recipes, so that a difference between two of them
is not that of the methods alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from explorer import literature

DENSE_STEM = 64
DENSE_INNER = (64, 128, 256, 512)
DENSE_OUTPUTS = (256, 512, 1024, 2048)
DENSE_MACS = 4_089_184_256
DENSE_PARAMS = 25_557_032


_READ = literature.read("dmcp")
SOURCES: Mapping[str, str] = MappingProxyType(_READ["sources"])
CAVEATS = ("", "plain_bn", "second_hand", "shared_weights", "from_wider", "distilled")
"""Why a number is not what its column says: trained with plain instead of synchronised batch norm, quoted by
others, with the weights that all widths share, (MobileNetV2's DMCP) pruned from 1.5 times the width as well, or with
soft targets (AutoSlim's released networks are: trained jointly, for 300 epochs)."""


@dataclass(frozen=True)
class Result:
    """Top-1 accuracy on ImageNet, in percent, of one network. `budget` names the row of like costs that it stands
    in, `by` the way its widths were found ("dmcp", "uniform", "metapruning", "autoslim"); `macs` in millions;
    `source` and `caveat` as in `SOURCES` and `CAVEATS`."""

    network: str
    budget: str
    by: str
    macs: int
    top1: float
    source: str
    caveat: str = ""


RESULTS: tuple[Result, ...] = tuple(Result(**each) for each in _READ["results"])


@dataclass(frozen=True)
class Structure:
    """Widths of a pruned ResNet-50: its stem, every stage's output, and of every block the two inner convolutions.

    `macs` and `params` are counted with this package's graph of torchvision's resnet50, at 224 x 224.
    """

    name: str
    source: str
    stem: int
    outputs: tuple[int, ...]
    inner: tuple[tuple[tuple[int, int], ...], ...]
    macs: int
    params: int

    @property
    def widths(self) -> Mapping[str, tuple[int, int]]:
        """Layer of torchvision's resnet50 -> (width, dense width): of tied layers, the first block's."""
        found = {"conv1": (self.stem, DENSE_STEM)}
        for stage, blocks in enumerate(self.inner):
            found[f"layer{stage + 1}.0.conv3"] = (self.outputs[stage], DENSE_OUTPUTS[stage])
            for block, pair in enumerate(blocks):
                for conv, width in enumerate(pair, start=1):
                    found[f"layer{stage + 1}.{block}.conv{conv}"] = (width, DENSE_INNER[stage])
        return found


STRUCTURES: tuple[Structure, ...] = tuple(
    Structure(
        **{
            **each,
            "outputs": tuple(each["outputs"]),
            "inner": tuple(tuple(tuple(pair) for pair in blocks) for blocks in each["inner"]),
        }
    )
    for each in _READ["structures"]
)
