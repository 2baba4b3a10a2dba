"""What ManiDP's terms do, training by training, and what its rivals reach: costs, accuracies and correlations.

Two pages. "terms": ManiDP with all terms, and with one left out or changed. "rivals": ManiDP and FBS beside the
dense network, the dense one trained longer, and one pruned network for all images.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from bokeh.models import HoverTool

from explorer.figures.class_changes import signed
from explorer.figures.palette import paint
from explorer.figures.text_lines import lines_of
from explorer.figures.view import Columns, View, append_row, canvas, empty, sources
from explorer.instances import Effect, InstanceEvidence
from explorer.paired import Paired
from explorer.records import percent_of
from explorer.strings import Strings
from explorer.values import Bools, wilson_interval

HEIGHT = 210.0
PIXELS = 430.0
WHOLE = "whole"
TERMS = ("no_similarity", "strong_similarity", "no_sparsity", "uniform", "strong_sparsity", "strong_uniform")
MODULES = ("fbs",)  # trainings that are no variant of ManiDP
PAGES = ("terms", "rivals")
PAIRS = ((WHOLE, "uniform"), ("strong_sparsity", "strong_uniform"))  # adaptive and uniform weight, else alike
NAME, SHARE, SPREAD, STRIP, ACCURACY, RANK, AGREE = (
    0.0,
    0.335,
    (0.365, 0.525),
    (0.56, 0.71),
    0.795,
    0.905,
    1.0,
)
HEAD = 202.0
PITCH = 16.0  # of rows
LINE = 15.0  # of sentences
GAP = 6.0  # between the rows and the sentences
Z = 1.959964


@dataclass(frozen=True)
class _Row:
    """What stands in a line; None or NaN where a rival has no such thing."""

    name: str
    share: float
    accuracy: float
    images: int
    effect: Effect | None = None

    @property
    def interval(self) -> tuple[float, float]:
        return wilson_interval(round(self.accuracy * self.images), self.images)


def pages(evidence: InstanceEvidence | None) -> tuple[str, ...]:
    """Those of `PAGES` that have more than the whole run to show."""
    return tuple(page for page in PAGES if len(_rows(evidence, page)) > 1)


def _rows(evidence: InstanceEvidence | None, page: str) -> list[_Row]:
    if evidence is None:
        return []
    effects = {effect.name: effect for effect in evidence.effects}
    names = (WHOLE, *(TERMS if page == "terms" else MODULES))
    found = [
        _Row(name, effects[name].mean_share, effects[name].accuracy, len(effects[name].right), effects[name])
        for name in names
        if name in effects
    ]
    rivals = evidence.rivals if page == "rivals" else ()
    return found + [_Row(rival.name, rival.share, rival.accuracy, rival.images) for rival in rivals]


# ---- differences ------------------------------------------------------------------------------------------


def paired_accuracy(one: Bools, other: Bools) -> Paired:
    """Accuracy of one minus that of the other over the same images, with its 95 % interval.

    The interval is Wald's with half an image added to each of the four counts (Agresti & Min 2005, Statistics in
    Medicine 24), so that it has a width where both are right on the same images; it knows of images, not of
    training seeds.
    """
    images = len(one)
    gained, lost = int((one & ~other).sum()), int((~one & other).sum())
    more, fewer, count = gained + 0.5, lost + 0.5, images + 2.0
    middle = (more - fewer) / count
    half = Z * math.sqrt(more + fewer - (more - fewer) ** 2 / count) / count
    return Paired((gained - lost) / images, middle - half, middle + half, 1)


def unpaired_accuracy(one: _Row, other: _Row) -> Paired:
    """As `paired_accuracy` where it is not known which images are right: from both Wilson intervals (Newcombe 1998,
    Statistics in Medicine 17, method 10). Wider than a paired one where the images are the same."""
    difference = one.accuracy - other.accuracy
    (low, high), (least, most) = one.interval, other.interval
    below = math.hypot(one.accuracy - low, most - other.accuracy)
    above = math.hypot(high - one.accuracy, other.accuracy - least)
    return Paired(difference, difference - below, difference + above, 1)


def spread(effect: Effect) -> tuple[float, float]:
    """(MACs of the hardest fifth minus those of the easiest, as shares; half of its 95 % interval).

    The fifths count as independent samples: which images are in them counts as given.
    """
    order = np.argsort(effect.losses, kind="stable")
    part = max(1, len(order) // 5)
    easy, hard = effect.macs[order[:part]].astype(np.float64), effect.macs[order[-part:]].astype(np.float64)
    return float(hard.mean() - easy.mean()), Z * math.sqrt((easy.var() + hard.var()) / part)


# ---- sentences --------------------------------------------------------------------------------------------


def verdict(evidence: InstanceEvidence, name: str, strings: Strings) -> str:
    """How a row's accuracy differs from that of the whole run, with its interval; "" for that run, or without it."""
    rows = {row.name: row for page in PAGES for row in _rows(evidence, page)}
    if name == WHOLE or not {name, WHOLE} <= rows.keys():
        return ""
    row, whole = rows[name], rows[WHOLE]
    same = row.effect is not None and whole.effect is not None and row.images == whole.images
    if same and row.effect is not None and whole.effect is not None:
        found = paired_accuracy(row.effect.right, whole.effect.right)
    else:
        found = unpaired_accuracy(row, whole)
    points = {"low": signed(100 * found.low), "high": signed(100 * found.high)}
    points |= {"points": signed(100 * found.difference), "share": signed(100 * (row.share - whole.share))}
    key = f"instance_effects_is_{'open' if found.verdict == 'open' else 'different'}"
    return strings(key, name=strings(f"instance_effects_{name}"), **points)


def notes(evidence: InstanceEvidence | None, page: str, strings: Strings) -> list[str]:
    """What a page's numbers do and do not show, worked out of them."""
    if evidence is None or page not in pages(evidence):
        return []
    effects = {effect.name: effect for effect in evidence.effects}
    if page == "rivals":
        said = [verdict(evidence, name, strings) for name in ("static", *MODULES)]
        said += [strings("instance_effects_theoretical"), strings("instance_effects_one_seed")]
        return [each for each in said if each]
    found = [
        _complexity(effects[one], effects[other], strings)
        for one, other in PAIRS
        if {one, other} <= effects.keys()
    ]
    if "uniform" in effects:
        found.insert(0, _rank(effects["uniform"], strings))
    return [*found, strings("instance_effects_one_seed")]


def _rank(uniform: Effect, strings: Strings) -> str:
    """Whether a uniform weight, too, comes with a rank correlation: beyond 1.96 / sqrt(N - 1)."""
    correlation = uniform.correlation
    shows = correlation > Z / math.sqrt(max(1, len(uniform.macs) - 1))
    return strings(f"instance_effects_rank_{'too' if shows else 'not'}", rank=_hundredths(correlation))


def _complexity(adaptive: Effect, uniform: Effect, strings: Strings) -> str:
    """Whether the gap of easy and hard images is wider with the adaptive weight, beyond the images' chance."""
    (own, own_half), (other, other_half) = spread(adaptive), spread(uniform)
    chance = math.hypot(own_half, other_half)
    kind = "wider" if own - other > chance else "narrower" if other - own > chance else "same"
    values = {"own": f"{100 * own:.1f}", "other": f"{100 * other:.1f}", "chance": f"{100 * chance:.1f}"}
    strong = "_strong" if adaptive.name != WHOLE else ""
    return strings(f"instance_effects_gap_{kind}{strong}", **values)


def describe(evidence: InstanceEvidence | None, page: str, strings: Strings, message: str = "") -> list[str]:
    """Every row of a page, its difference to the whole run, and what the page does and does not show."""
    rows = _rows(evidence, page)
    if evidence is None or page not in pages(evidence):
        return [message] if message else []
    sentences = []
    for row in rows:
        sentences.append(_row_says(row, strings))
        sentences.append(verdict(evidence, row.name, strings))
    return [each for each in (*sentences, *notes(evidence, page, strings)) if each]


def _row_says(row: _Row, strings: Strings) -> str:
    low, high = row.interval
    values = {
        "name": strings(f"instance_effects_{row.name}"),
        "share": percent_of(row.share),
        "accuracy": f"{100 * row.accuracy:.1f}",
        "low": f"{100 * low:.1f}",
        "high": f"{100 * high:.1f}",
        "images": f"{row.images:,}",
    }
    if row.effect is None:
        return strings("instance_effects_says_rival", **values)
    easy, hard = row.effect.by_quintile
    values |= {"easy": percent_of(easy), "hard": percent_of(hard)}
    values |= {"rank": _hundredths(row.effect.correlation), "agreement": _hundredths(row.effect.agreement)}
    return strings("instance_effects_says", **values)


def _hundredths(value: float) -> str:
    """A correlation: "0.60", "−0.05", "–" for NaN."""
    return "–" if math.isnan(value) else f"{value:.2f}".replace("-", "−")


# ---- the chart --------------------------------------------------------------------------------------------


def name_at(evidence: InstanceEvidence | None, page: str, y: float) -> str | None:
    """The row at a height of the chart; None above and below the rows."""
    rows = _rows(evidence, page)
    place = int((HEAD - PITCH / 2 - y) // PITCH)
    return rows[place].name if 0 <= place < len(rows) else None


def columns(
    evidence: InstanceEvidence | None, page: str, strings: Strings, chosen: str = "", message: str = ""
) -> dict[str, Columns]:
    """The tables of the view: "rows", "chosen", "spreads", "means", "strips", "accuracies" and "labels".

    Below the rows stands what the page shows, or the verdict on the `chosen` row. `message` stands where there is
    nothing. x is in parts of the chart, y in pixels upwards.
    """
    tables = empty(_COLUMNS)
    if evidence is None or page not in pages(evidence):
        _text(tables, 0.5, HEIGHT / 2, message, "center", "soft")
        return tables
    rows = _rows(evidence, page)
    _heads(tables, strings)
    everything = [row for each in PAGES for row in _rows(evidence, each)]
    accuracies, shares = _accuracy_range(everything), _share_range(everything)
    for place, row in enumerate(rows):
        y = HEAD - PITCH * (place + 1)
        _row(tables, row, y, accuracies, shares, strings)
        hover = " ".join(
            each for each in (_row_says(row, strings), verdict(evidence, row.name, strings)) if each
        )
        append_row(tables["rows"], {"bottom": y - PITCH / 2, "top": y + PITCH / 2, "hover": hover})
        if row.name == chosen:
            append_row(tables["chosen"], {"bottom": y - PITCH / 2, "top": y + PITCH / 2})
    below = HEAD - PITCH * (len(rows) + 0.5) - GAP - LINE / 2
    said = verdict(evidence, chosen, strings) if chosen in {row.name for row in rows} else ""
    sentences = [said, strings("instance_effects_one_seed")] if said else notes(evidence, page, strings)
    lines = [line for sentence in sentences for line in lines_of(sentence, PIXELS)]
    for number, line in enumerate(lines[: 1 + int((below - LINE / 2) // LINE)]):
        _text(tables, NAME, below - LINE * number, line, "left", "ink")
    return tables


def _heads(tables: dict[str, Columns], strings: Strings) -> None:
    for x, key, align in (
        (NAME, "name", "left"),
        (SHARE, "macs", "right"),
        (sum(SPREAD) / 2, "spread", "center"),
        ((STRIP[0] + ACCURACY) / 2, "accuracy", "center"),
        (RANK, "rank", "right"),
        (AGREE, "agree", "right"),
    ):
        _text(tables, x, HEAD, strings(f"instance_effects_head_{key}"), align, "soft")
    help_row = {
        "bottom": HEAD - PITCH / 2,
        "top": HEAD + PITCH / 2,
        "hover": strings("instance_effects_heads"),
    }
    append_row(tables["rows"], help_row)


def _accuracy_range(rows: Sequence[_Row]) -> tuple[float, float]:
    low = min(row.interval[0] for row in rows)
    return low, max(low + 0.004, *(row.interval[1] for row in rows))


def _share_range(rows: Sequence[_Row]) -> tuple[float, float]:
    """Whole tenths around the fifths of all trainings."""
    found = [share for row in rows if row.effect is not None for share in row.effect.by_quintile]
    low, high = min(found, default=0.0), max(found, default=1.0)
    least = math.floor(10 * low) / 10
    return least, max(math.ceil(10 * high) / 10, least + 0.1)


def _at(value: float, ends: tuple[float, float], strip: tuple[float, float]) -> float:
    return strip[0] + (strip[1] - strip[0]) * (value - ends[0]) / (ends[1] - ends[0])


def _row(
    tables: dict[str, Columns],
    row: _Row,
    y: float,
    accuracies: tuple[float, float],
    shares: tuple[float, float],
    strings: Strings,
) -> None:
    own = row.name == WHOLE
    _text(tables, NAME, y, strings(f"instance_effects_{row.name}"), "left", "kept" if own else "ink")
    _text(tables, SHARE, y, percent_of(row.share), "right", "ink")
    _text(tables, ACCURACY, y, f"{100 * row.accuracy:.1f}", "right", "ink")
    low, high = (_at(end, accuracies, STRIP) for end in row.interval)
    entry = {"x": _at(row.accuracy, accuracies, STRIP), "low": low, "high": high, "y": y}
    append_row(tables["accuracies"], entry)
    append_row(tables["strips"], {"left": STRIP[0], "right": STRIP[1], "y": y})
    if row.effect is None:
        return
    append_row(tables["strips"], {"left": SPREAD[0], "right": SPREAD[1], "y": y})
    easy, hard = (_at(share, shares, SPREAD) for share in row.effect.by_quintile)
    append_row(tables["spreads"], {"easy": easy, "hard": hard, "y": y})
    _text(tables, RANK, y, _hundredths(row.effect.correlation), "right", "ink")
    _text(tables, AGREE, y, _hundredths(row.effect.agreement), "right", "ink")


def _text(tables: dict[str, Columns], x: float, y: float, text: str, align: str, role: str) -> None:
    if text:
        entry = {"x": x, "y": y, "align": align, **dict.fromkeys(_ROLES, "")} | {role: text}
        append_row(tables["labels"], entry)


_ROLES = ("soft", "ink", "kept")
_COLUMNS: dict[str, Sequence[str]] = {
    "rows": ("bottom", "top", "hover"),
    "chosen": ("bottom", "top"),
    "strips": ("left", "right", "y"),
    "spreads": ("easy", "hard", "y"),
    "accuracies": ("x", "low", "high", "y"),
    "labels": ("x", "y", "align", *_ROLES),
}
_HOVER = """<div style="font: {size}px sans-serif; max-width: {wide}px; color: #1f2933">@hover</div>"""


def build(scale: float = 1.0) -> View:
    """An empty view. `scale` multiplies heights and fonts."""
    data = sources("instance-effects", empty(_COLUMNS))
    chart = canvas("instance-effects", HEIGHT, (-0.005, 1.005), scale)
    chosen = chart.quad(
        left=-0.005, right=1.005, bottom="bottom", top="top", line_alpha=0, source=data["chosen"]
    )
    paint(chosen.glyph, fill_color="pale")
    strip = chart.segment(x0="left", x1="right", y0="y", y1="y", source=data["strips"])
    paint(strip.glyph, line_color="line")
    spread_source, marks = data["spreads"], {"y": "y", "size": 8 * scale, "line_width": 1.5}
    bar = chart.segment(x0="easy", x1="hard", y0="y", y1="y", line_width=2.5, source=spread_source)
    paint(bar.glyph, line_color="kept")
    easy = chart.scatter(x="easy", source=spread_source, **marks)
    paint(easy.glyph, fill_color="paper", line_color="kept")
    hard = chart.scatter(x="hard", source=spread_source, **marks)
    paint(hard.glyph, fill_color="kept", line_color="kept")
    whisker = chart.segment(x0="low", x1="high", y0="y", y1="y", line_width=2, source=data["accuracies"])
    paint(whisker.glyph, line_color="soft")
    dot = chart.scatter(x="x", marker="diamond", source=data["accuracies"], **(marks | {"size": 10 * scale}))
    paint(dot.glyph, fill_color="ink", line_color="ink")
    sides = {"left": -0.005, "right": 1.005, "bottom": "bottom", "top": "top"}
    room = chart.quad(fill_alpha=0, line_alpha=0, source=data["rows"], **sides)
    place = {"x": "x", "y": "y", "text_align": "align", "text_baseline": "middle", "source": data["labels"]}
    for role in _ROLES:
        style = "bold" if role == "kept" else "normal"
        text = chart.text(text=role, text_font_size=f"{13 * scale}px", text_font_style=style, **place)
        paint(text.glyph, text_color=role)
    hover = _HOVER.format(size=round(13 * scale), wide=round(280 * scale))
    chart.add_tools(HoverTool(renderers=[room], tooltips=hover, point_policy="follow_mouse"))
    return View(chart, data)
