"""The trade-off as a picture: accuracy of every visited state over its MACs, with 95 % intervals."""

import math
from collections.abc import Iterator, Mapping, Sequence

from explorer.export.drawing import COLOURS, line, picture, text, titled
from explorer.export.table import counted
from explorer.records import Visit
from explorer.values import Cost, next_step

WIDTH, HEIGHT = 800, 412
LEFT, RIGHT, TOP, BOTTOM = 44, 776, 40, 318
REACH = 12  # pixels from a point to the middle of its number
CLEAR = 13  # pixels that two numbers stay apart
TICKS = 6
POLYGONS = {"merge": ((-6, 5), (6, 5), (0, -6)), "refit": ((-6.5, 0), (0, -6.5), (6.5, 0), (0, 6.5))}


def svg(visits: Sequence[Visit], dense: Cost, at: int | None = None) -> str:
    """The picture as SVG text. Points have the visits' numbers; number `at` is ringed.

    What was done after cutting shows in the form: a ring for nothing, a disc for re-estimated BN, a triangle
    for a merge, a diamond for a refit, a square for training. Thin lines lead from each state to those that came
    from it.
    """
    low, high, step = scale_of(
        min(visit.estimate.low for visit in visits),
        max(visit.estimate.high for visit in visits),
        100.0 if visits[0].estimate.percent else 1.0,
    )
    places = {visit.number: _place(visit, dense, low, high) for visit in visits}
    body = [
        *_axes(
            counted(visits[0].estimate) + " on explore images" + ", %" * visits[0].estimate.percent,
            low,
            high,
            step,
        ),
        *(
            line("line", *places[visit.parent], *places[visit.number], 1.5)
            for visit in visits
            if visit.parent in places
        ),
        *(_point(visit, dense, places[visit.number], low, high, visit.number == at) for visit in visits),
        *_numbers(places),
        *_legend({visit.recovery.kind for visit in visits}),
    ]
    title = f"{counted(visits[0].estimate).capitalize()} over MACs of the visited states"
    return picture(WIDTH, HEIGHT, title, "; ".join(described(visit, dense) for visit in visits), body)


def described(visit: Visit, dense: Cost) -> str:
    """A visit in words."""
    name = f" ({visit.name})" if visit.name else ""
    what = "accuracy " if visit.estimate.measure == "accuracy" else ""  # what is none says so itself
    return (
        f"{visit.number}{name}: {_share(visit.cost, dense):.1f} % of MACs, {what}{visit.estimate}, "
        f"{visit.recovery.label}"
    )


def scale_of(low: float, high: float, unit: float = 100.0) -> tuple[float, float, float]:
    """Ends and step of an axis, in percent or `unit`s, from `low` to `high`: steps of 1, 2 or 5 times 10^k."""
    step = next_step(max(unit * (high - low), 0.01 * unit) / TICKS)
    bottom = math.floor(unit * low / step)
    return bottom * step, max(math.ceil(unit * high / step), bottom + 1) * step, step


def _share(cost: Cost, dense: Cost) -> float:
    """Percent of the dense MACs."""
    return 100 * cost.macs / (dense.macs or 1)


def _x(percent: float) -> float:
    return LEFT + (RIGHT - LEFT) * percent / 100


def _y(percent: float, low: float, high: float) -> float:
    return BOTTOM - (BOTTOM - TOP) * (percent - low) / (high - low)


def _place(visit: Visit, dense: Cost, low: float, high: float) -> tuple[float, float]:
    return _x(_share(visit.cost, dense)), _y(visit.estimate.shown, low, high)


def _axes(what: str, low: float, high: float, step: float) -> Iterator[str]:
    yield text(16, 20, what, "soft")
    for place in range(round((high - low) / step) + 1):
        value = low + place * step
        yield line("line", LEFT, _y(value, low, high), RIGHT, _y(value, low, high))
        yield text(LEFT - 8, _y(value, low, high) + 4.5, f"{value:g}", "soft", "end")
    for percent in range(0, 101, 20):
        yield line("soft", _x(percent), BOTTOM, _x(percent), BOTTOM + 5)
        yield text(_x(percent), BOTTOM + 20, f"{percent}", "soft", "middle")
    yield text(RIGHT, BOTTOM + 40, "MACs, % of the dense network", "soft", "end")


def _mark(form: str, x: float, y: float) -> str:
    colour = COLOURS["kept"]
    if form == "trained":
        return f'<rect class="kept" x="{x - 5:.2f}" y="{y - 5:.2f}" width="10" height="10" fill="{colour}"/>'
    if form in POLYGONS:
        corners = " ".join(f"{x + dx:.2f},{y + dy:.2f}" for dx, dy in POLYGONS[form])
        return f'<polygon class="kept" points="{corners}" fill="{colour}"/>'
    if form == "bn":
        return f'<circle class="kept" cx="{x:.2f}" cy="{y:.2f}" r="5.5" fill="{colour}"/>'
    return (
        f'<circle class="hollow" cx="{x:.2f}" cy="{y:.2f}" r="5" fill="{COLOURS["ground"]}" '
        f'stroke="{colour}" stroke-width="2"/>'
    )


def _point(
    visit: Visit, dense: Cost, place: tuple[float, float], low: float, high: float, ringed: bool
) -> str:
    x, y = place
    estimate = visit.estimate
    unit = 100 if estimate.percent else 1
    parts = [
        line("removed", x, _y(unit * estimate.low, low, high), x, _y(unit * estimate.high, low, high), 2)
    ]
    if ringed:
        parts.append(
            f'<circle class="ring" cx="{x:.2f}" cy="{y:.2f}" r="10" fill="none" '
            f'stroke="{COLOURS["chosen"]}" stroke-width="3"/>'
        )
    return titled(described(visit, dense), *parts, _mark(visit.recovery.kind, x, y))


def _numbers(places: Mapping[int, tuple[float, float]]) -> Iterator[str]:
    """The numbers of the points, each on the side of its point where there is most room."""
    taken = list(places.values())
    sides = [(1, -0.9), (-1, -0.9), (1, 0.9), (-1, 0.9)]
    for number, (x, y) in places.items():
        spots = [(x + REACH * dx, y + REACH * dy) for dx, dy in sides]
        others = [spot for spot in taken if spot != (x, y)]
        room = [min((math.dist(spot, other) for other in others), default=CLEAR) for spot in spots]
        best = next((k for k, space in enumerate(room) if space >= CLEAR), room.index(max(room)))
        taken.append(spots[best])
        yield text(spots[best][0], spots[best][1] + 4, f"{number}", anchor="middle", size=12, bold=True)


def _legend(forms: set[str]) -> Iterator[str]:
    """What the forms mean, for those that occur."""
    x = 16.0
    meanings = {
        "none": "nothing done after cutting",
        "bn": "re-estimated BN",
        "merge": "merged",
        "refit": "refit",
        "trained": "trained",
    }
    for form, meaning in meanings.items():
        if form in forms:
            yield _mark(form, x + 6, HEIGHT - 20)
            yield text(x + 18, HEIGHT - 15.5, meaning, "soft")
            x += 40 + 7 * len(meaning)
    yield text(RIGHT, HEIGHT - 15.5, "upright lines: 95 % intervals; ringed: this state", "soft", "end")
