"""Numbers over the steps of a run, as charts: its losses, or series of it."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from explorer.charts.marks import Axis, Chart, Line, Mark, Points, Text
from explorer.runs import Run
from explorer.strings import Strings

ROLE_ORDER = ("kept", "chosen", "first", "lost", "cut")
ROOM = 1.22  # of the x axis, for the names at the ends of the lines


def losses(run: Run, frame: int, say: Strings) -> Chart | None:
    """The losses of a run, each as a share of its own largest value; None before the first step."""
    found = {name: values for name, values in run.losses.items() if np.isfinite(values).any()}
    if not found:
        return None
    names = {name: say(f"{run.method}_loss_{name}") for name in found}
    scaled = {}
    for name, values in found.items():
        most = float(np.nanmax(np.abs(values)))
        scaled[names[name]] = values / most if most else values
    lines = [
        say("curve_says", name=names[name], first=f"{_first(values):.3g}", last=f"{_at(values, frame):.3g}")
        for name, values in found.items()
    ]
    return over_steps(
        run, frame, scaled, say, say("curve_losses_axis"), (0.0, 1.05), lines, {0.0: "0", 1.0: "max"}
    )


def over_steps(
    run: Run,
    frame: int,
    curves: Mapping[str, Sequence[float] | np.ndarray],
    say: Strings,
    label: str,
    span: tuple[float, float],
    sentences: Sequence[str],
    ticks: dict[float, str] | None = None,
) -> Chart:
    """Curves by name over the steps of a run, named at their ends, with the frame that is looked at."""
    steps, last = run.steps.astype(float), float(max(run.of, 1))
    low, high = span
    marks: list[Mark] = [Line([steps[frame]] * 2, [low, high], "soft", 1.0)]
    ends = []
    for place, (name, values) in enumerate(curves.items()):
        role, numbers = ROLE_ORDER[place % len(ROLE_ORDER)], np.asarray(values, dtype=float)
        says = sentences[place] if place < len(sentences) else name
        marks.append(Line(steps.tolist(), numbers.tolist(), role, 2.0, says))
        known = np.flatnonzero(np.isfinite(numbers))
        if len(known):
            ends.append((float(numbers[known[-1]]), name, role))
            at = numbers[frame]
            if math.isfinite(at):
                marks.append(Points([steps[frame]], [at], role, 8.0, [says]))
    for height, name, role in _apart(ends, (high - low) / 13):
        marks.append(Text(last * 1.02, height, name, role))
    epochs = max(1, round(run.of / max(run.per_epoch, 1)))
    every = max(1, math.ceil(epochs / 5))
    places = {float(epoch * run.per_epoch): str(epoch) for epoch in range(0, epochs + 1, every)}
    return Chart(
        Axis(0.0, last * ROOM, say("curve_epochs"), places), Axis(low, high, label, ticks), marks, sentences
    )


def _apart(ends: list[tuple[float, str, str]], least: float) -> list[tuple[float, str, str]]:
    """Heights of names at the ends of lines, moved so that none covers another."""
    placed: list[tuple[float, str, str]] = []
    for height, name, role in sorted(ends):
        lowest = placed[-1][0] + least if placed else height
        placed.append((max(height, lowest), name, role))
    return placed


def _first(values: np.ndarray) -> float:
    return float(values[np.flatnonzero(np.isfinite(values))[0]])


def _at(values: np.ndarray, frame: int) -> float:
    known = np.flatnonzero(np.isfinite(values[: frame + 1]))
    return float(values[known[-1]]) if len(known) else _first(values)
