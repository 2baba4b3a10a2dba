"""What others published on ManiDP and FBS, and on methods beside them: errors and what was saved, with sources.

Numbers were read where `SOURCES` says, and none is from memory; what could not be read is None, or missing, and
`NOT_READ` names tables of the ManiDP paper of which nothing was. Savings are the sources' "FLOPs", which count
multiply-adds: MACs, and theoretical ones. Rows of one network were trained by different recipes, so that a
difference between two of them is not that of the methods alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

SOURCES: Mapping[str, str] = MappingProxyType(
    {
        "manidp": "github.com/huawei-noah/Pruning",  # images of the paper's tables 1 and 4 in folder ManiDP
        "mayo": "github.com/deep-fry/mayo",  # FBS's authors, docs/fbs.md
        "practice": "github.com/63days/FBS-practice",  # others' reproduction of FBS, README
    }
)

NOT_READ = ("mobilenet", "speed", "ablation")
"""Tables of the ManiDP paper that could not be read: MobileNetV2, measured speed, and its terms left out."""

CAVEATS = ("", "gap", "density", "unit")
"""What is odd in a source: a gap that its own errors contradict; a density that its command and its text tell
apart; MACs without a unit, of which only shares are used."""


STATIC = ("mil", "sfp", "fpgm", "pfp", "taylor", "dmc", "dsa", "hinge", "hrank", "dhp")
"""Methods that prune once for all images."""


@dataclass(frozen=True)
class Pruned:
    """Errors of a pruned network on a data set, as ManiDP's tables print them, in percent.

    `by` is the method: "dense", one of `STATIC`, "lccn", "cgnet", "fbs", "manidp", "manidp_a" or "manidp_b".
    `saved` is the share of the dense network's FLOPs that is saved, in percent (None for the dense one).
    `printed_gap` is the table's own difference of top-1 errors to the dense network, where it prints one.
    """

    data: str
    network: str
    by: str
    error: float
    top5_error: float | None = None
    saved: float | None = None
    printed_gap: float | None = None
    source: str = "manidp"


@dataclass(frozen=True)
class Gated:
    """A network with FBS at a density (None: the dense network without FBS): accuracies in percent.

    `macs` are in millions; of a source that tells no unit, in whatever it counts.
    """

    data: str
    network: str
    density: float | None
    accuracy: float
    top5: float | None
    macs: float
    source: str
    caveat: str = ""


def _imagenet(
    network: str, *rows: tuple[str, float, float | None, float | None, float | None]
) -> list[Pruned]:
    return [
        Pruned("ImageNet", network, by, error, top5_error, saved, printed)
        for by, error, top5_error, saved, printed in rows
    ]


def _cifar(network: str, *rows: tuple[str, float, float | None]) -> list[Pruned]:
    return [Pruned("CIFAR-10", network, by, error, saved=saved) for by, error, saved in rows]


PRUNED: tuple[Pruned, ...] = (
    *_imagenet(
        "ResNet-18",
        ("dense", 30.24, 10.92, None, None),
        ("mil", 33.67, 13.06, 33.3, 3.43), ("sfp", 32.90, 12.22, 41.8, 2.66), ("fpgm", 31.59, 11.52, 41.8, 1.35),
        ("pfp", 34.35, 13.25, 43.1, 4.11), ("dsa", 31.39, 11.65, 40.0, 1.15), ("lccn", 33.67, 13.06, 34.6, 3.43),
        ("fbs", 31.83, 11.78, 49.5, 1.59), ("cgnet", 31.70, None, 50.7, 1.46),
        ("manidp_a", 31.12, 11.24, 51.0, 0.88), ("manidp_b", 31.65, 11.71, 55.1, 1.41),
    ),
    *_imagenet(
        "ResNet-34",
        ("dense", 26.69, 8.58, None, None),
        ("sfp", 28.17, 9.67, 41.1, 1.48), ("fpgm", 27.46, 8.87, 41.1, 0.07), ("taylor", 27.17, None, 24.2, 0.48),
        ("dmc", 27.43, 8.89, 43.4, 0.74), ("lccn", 27.01, 8.81, 24.8, 0.32),
        ("fbs", 28.34, 9.87, 51.2, 1.85), ("cgnet", 28.70, None, 50.4, 2.01),
        ("manidp_a", 26.70, 8.58, 46.8, 0.01), ("manidp_b", 27.26, 8.96, 55.3, 0.57),
    ),
    *_cifar(
        "ResNet-20",
        ("dense", 7.78, None), ("sfp", 9.17, 42.2), ("fpgm", 9.56, 54.0), ("dsa", 8.62, 50.3), ("hinge", 8.16, 45.5),
        ("dhp", 8.46, 51.8), ("fbs", 9.03, 53.1), ("manidp", 7.95, 54.2),
    ),
    *_cifar(
        "ResNet-32",
        ("dense", 7.34, None), ("mil", 9.26, 31.2), ("sfp", 7.92, 41.5), ("fpgm", 8.07, 53.2), ("fbs", 8.02, 55.7),
        ("manidp", 7.85, 63.2),
    ),
    *_cifar(
        "ResNet-56",
        ("dense", 6.30, None), ("sfp", 7.74, 52.6), ("fpgm", 6.51, 52.6), ("hrank", 6.83, 50.0), ("dsa", 7.09, 52.2),
        ("hinge", 6.31, 50.0), ("dhp", 6.42, 50.9), ("fbs", 6.48, 53.6), ("manidp", 6.36, 62.4),
    ),
)  # fmt: skip

GATED: tuple[Gated, ...] = (
    Gated("CIFAR-10", "M-CifarNet", None, 91.37, 99.68, 174, "mayo"),
    Gated("CIFAR-10", "M-CifarNet", 0.5, 90.54, 99.75, 57, "mayo", "density"),
    Gated("ImageNet", "VGG-16, slimmed", 0.6, 69.59, 89.39, 3379, "mayo"),
    *(
        Gated("CIFAR-10", "CifarNet", density, accuracy, None, macs, "practice", "unit")
        for density, accuracy, macs in (
            (None, 87.3, 1.74), (1.0, 86.31, 1.67), (0.9, 86.43, 1.38), (0.8, 86.65, 1.11), (0.7, 86.65, 0.84),
            (0.6, 85.69, 0.62), (0.5, 85.45, 0.44), (0.4, 83.91, 0.28), (0.3, 82.51, 0.16),
        )
    ),
)  # fmt: skip


def dense_of(row: Pruned) -> Pruned:
    """The dense network that a pruned one is compared with."""
    return next(
        each for each in PRUNED if each.by == "dense" and (each.data, each.network) == (row.data, row.network)
    )


def gap(row: Pruned) -> float:
    """Points of top-1 error above the dense network, from the errors; the printed gap is not used."""
    return round(row.error - dense_of(row).error, 2)


def misprinted(row: Pruned) -> bool:
    """Whether the printed gap is not that of the errors."""
    return row.printed_gap is not None and abs(row.printed_gap - gap(row)) > 0.005


def undiminished(row: Gated) -> Gated | None:
    """The network without FBS that the same source tells; None where it tells none."""
    same = (each for each in GATED if (each.source, each.network) == (row.source, row.network))
    return next((each for each in same if each.density is None), None)


def lost(row: Gated) -> float | None:
    """Points of accuracy below the network without FBS; None where its accuracy is not told."""
    whole = undiminished(row)
    return None if whole is None else round(whole.accuracy - row.accuracy, 2)


def saved(row: Gated) -> float | None:
    """The share of MACs that is saved, in percent; None where those of the network without FBS are not told."""
    whole = undiminished(row)
    return None if whole is None else 100 * (1 - row.macs / whole.macs)
