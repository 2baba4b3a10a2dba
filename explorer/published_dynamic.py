"""What others published on ManiDP and FBS, and on methods beside them: errors and what was saved, with sources.

Numbers were read where `SOURCES` says, and none is from memory; what could not be read is None, or missing, and
`NOT_READ` names tables of the ManiDP paper of which nothing was. Savings are the sources' "FLOPs", which count
multiply-adds: MACs, and theoretical ones. Rows of one network were trained by different recipes, so that a
difference between two of them is not that of the methods alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from explorer import literature

_READ = literature.read("manidp")
SOURCES: Mapping[str, str] = MappingProxyType(_READ["sources"])

NOT_READ: tuple[str, ...] = tuple(_READ["not_read"])
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
    accuracy: float
    macs: float
    source: str
    density: float | None = None
    top5: float | None = None
    caveat: str = ""


PRUNED: tuple[Pruned, ...] = tuple(Pruned(**each) for each in _READ["pruned"])
GATED: tuple[Gated, ...] = tuple(Gated(**each) for each in _READ["gated"])


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
