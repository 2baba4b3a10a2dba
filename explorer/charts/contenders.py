"""Structures of the same cost beside each other, as a chart: accuracies seed by seed, and paired differences."""

from statistics import fmean
from typing import Protocol

from explorer.charts.marks import Axis, Chart, Line, Mark, Points, Text
from explorer.paired import paired_difference
from explorer.strings import Strings


class Contended(Protocol):
    """A contender of `methods.evidence`: a name, shares of the MACs and accuracies, for every seed."""

    name: str
    shares: tuple[float, ...]
    accuracies: tuple[float, ...]


def contenders(found: "tuple[Contended, ...]", images: int, say: Strings) -> Chart | None:
    """One row for every contender, the first one's differences with the others in words; None without any."""
    if not found:
        return None
    rows = len(found)
    every = [100 * value for each in found for value in each.accuracies]
    low, high = min(every) - 1.0, max(every) + 1.0
    marks: list[Mark] = []
    sentences = [say("contenders_images", images=f"{images:,}")]
    names = {}
    for place, each in enumerate(found):
        y = float(rows - place)
        values, role = [100 * value for value in each.accuracies], "chosen" if place == 0 else "kept"
        mean, share = fmean(values), 100 * fmean(each.shares)
        label = say(f"contender_{each.name}") if place else say("contender_own")
        says = say("contender_says", name=label, mean=f"{mean:.1f}", share=f"{share:.1f}", seeds=len(values))
        marks.append(Points(values, [y] * len(values), role, 9.0, [says] * len(values)))
        marks.append(Line([mean, mean], [y - 0.22, y + 0.22], "soft", 2.0, says))
        names[y] = label
        if place:
            paired = paired_difference(found[0].accuracies, each.accuracies)
            if paired is not None and paired.seeds > 1:
                points = {
                    name: f"{100 * value:+.1f}".replace("-", "\u2212")
                    for name, value in (
                        ("difference", paired.difference),
                        ("low", paired.low),
                        ("high", paired.high),
                    )
                }
                told = "contender_difference" if paired.verdict != "open" else "contender_open"
                words = say(told, **points)
                marks.append(Text(low + 0.02 * (high - low), y - 0.36, words, "soft"))
                says = f"{says} {words}"
        sentences.append(says)
    return Chart(Axis(low, high, say("contenders_axis")), Axis(0.4, rows + 0.5, "", names), marks, sentences)
