"""What others published on DMCP and on methods beside it: structures and ImageNet accuracies, each with its source.

Numbers were read where `SOURCES` says, and none is from memory. Budgets are the sources' "FLOPs", which count
multiply-adds: MACs. Rows of one budget were trained by different recipes, so that a difference between two of them
is not that of the methods alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

DENSE_STEM = 64
DENSE_INNER = (64, 128, 256, 512)
DENSE_OUTPUTS = (256, 512, 1024, 2048)
DENSE_MACS = 4_089_184_256
DENSE_PARAMS = 25_557_032


# Where numbers stand, without the protocol: the READMEs of the repositories, except for structures.
SOURCES: Mapping[str, str] = MappingProxyType(
    {
        "dmcp": "github.com/Zx55/dmcp",  # the official release
        "paper": "arxiv.org/abs/2005.03354",  # as quoted by the PPSM paper, Hindawi 2022, table 3
        "metapruning": "github.com/liuzechun/MetaPruning",
        "slimmable": "github.com/JiahuiYu/slimmable_networks",
        "mmrazor": "github.com/open-mmlab/mmrazor",  # DMCP_R50_2G.json, converted from the official structure
        "robustart": "github.com/DIG-Beihang/RobustART",  # SenseTime's dmcp_resnet.py
    }
)

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


def _rows(by: str, source: str, caveat: str, *rows: tuple[str, str, int, float]) -> tuple[Result, ...]:
    return tuple(
        Result(network, budget, by, macs, top1, source, caveat) for network, budget, macs, top1 in rows
    )


RESULTS: tuple[Result, ...] = (
    *_rows(
        "dmcp", "dmcp", "plain_bn",
        ("ResNet-50", "3.0G", 2800, 76.6), ("ResNet-50", "2.2G", 2200, 76.5), ("ResNet-50", "1.1G", 1100, 74.1),
        ("ResNet-50", "280M", 279, 68.3), ("ResNet-18", "1.0G", 1040, 69.0),
    ),
    *_rows("dmcp", "paper", "second_hand", ("ResNet-50", "2.2G", 2200, 76.2), ("ResNet-50", "1.1G", 1100, 74.4)),
    *_rows(
        "dmcp", "dmcp", "from_wider",
        ("MobileNetV2", "300M", 300, 73.5), ("MobileNetV2", "210M", 211, 71.6), ("MobileNetV2", "100M", 97, 67.0),
        ("MobileNetV2", "90M", 87, 66.2), ("MobileNetV2", "60M", 59, 62.4), ("MobileNetV2", "43M", 43, 59.0),
    ),
    *_rows(
        "uniform", "metapruning", "",
        ("ResNet-50", "4.1G", 4100, 76.6), ("ResNet-50", "2.2G", 2300, 74.8), ("ResNet-50", "1.1G", 1100, 72.0),
        ("MobileNetV2", "300M", 313, 72.0), ("MobileNetV2", "43M", 43, 54.6),
    ),
    *_rows(
        "uniform", "slimmable", "shared_weights",
        ("ResNet-50", "280M", 278, 65.0), ("MobileNetV2", "210M", 209, 69.6), ("MobileNetV2", "100M", 97, 65.1),
        ("MobileNetV2", "90M", 88, 64.2), ("MobileNetV2", "60M", 59, 62.3),
    ),
    *_rows(
        "metapruning", "metapruning", "",
        ("ResNet-50", "2.2G", 2000, 75.4), ("ResNet-50", "1.1G", 1000, 73.4),
        ("MobileNetV2", "300M", 303, 72.7), ("MobileNetV2", "43M", 43, 58.3),
    ),
    *_rows(
        "autoslim", "slimmable", "distilled",
        ("ResNet-50", "3.0G", 3000, 76.0), ("ResNet-50", "2.2G", 2000, 75.6), ("ResNet-50", "1.1G", 1000, 74.0),
        ("MobileNetV2", "300M", 305, 74.2), ("MobileNetV2", "210M", 207, 73.0),
    ),
)  # fmt: skip


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


STRUCTURES: tuple[Structure, ...] = (
    Structure(
        "2.2G", "mmrazor", 52, (106, 155, 1024, 2048),
        (
            ((22, 22), (16, 16), (40, 16)),
            ((68, 56), (32, 68), (56, 56), (80, 92)),
            ((256, 256), (106, 106), (131, 256), (131, 256), (256, 256), (256, 256)),
            ((512, 512), (512, 461), (512, 512)),
        ),
        macs=2_194_130_032, params=21_968_906,
    ),
    Structure(
        "1.1G", "robustart", 48, (136, 288, 920, 1304),
        (
            ((16, 16), (16, 16), (16, 24)),
            ((24, 56), (40, 48), (32, 40), (40, 56)),
            ((80, 120), (64, 112), (88, 104), (80, 112), (96, 128), (112, 128)),
            ((256, 392), (312, 392), (400, 288)),
        ),
        macs=1_087_479_552, params=10_263_768,
    ),
    Structure(
        "280M", "robustart", 16, (32, 88, 248, 1304),
        (
            ((8, 8), (8, 8), (8, 8)),
            ((24, 24), (24, 24), (24, 24), (24, 24)),
            ((64, 72), (32, 56), (40, 64), (48, 72), (56, 80), (64, 64)),
            ((184, 176), (136, 224), (184, 224)),
        ),
        macs=282_932_480, params=4_283_000,
    ),
)  # fmt: skip
