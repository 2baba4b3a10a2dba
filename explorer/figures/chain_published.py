"""What was published on DMCP: widths of ResNet-50 as bars, kept of the dense width, and accuracies as a table."""

from collections.abc import Iterator, Sequence
from html import escape
from itertools import groupby

from bokeh.models import HoverTool

from explorer.figures.palette import paint
from explorer.figures.view import Columns, View, canvas, empty, sources
from explorer.published import DENSE_MACS, DENSE_PARAMS, RESULTS, SOURCES, Result, Structure
from explorer.records import percent_of
from explorer.strings import Strings

HEIGHT = 112.0
BASE, TOP = 22.0, 72.0  # of the bars: 0 and 100 % of the dense width
HEAD, KEPT, FOOT = 102.0, 83.0, 9.0
OUTPUT, INNER = 2.2, 1.0  # widths of bars
PAIR, STAGE, STEM = 0.5, 1.8, 4.4  # gaps, after a block, a stage and the stem
GAP = 0.12
BY = ("dmcp", "uniform", "metapruning", "autoslim")
NEAR = 0.04
_MARKS = "abcde"


def columns(structure: Structure | None, strings: Strings) -> dict[str, Columns]:
    """The tables of the view: "outputs" and "inner" (bars) and "labels"; x in parts of the chart.

    Every stage begins with its output, as wide a bar; the others are the inner convolutions, block by block.
    """
    tables = empty(_COLUMNS)
    if structure is None:
        return tables
    bars, names = _bars(structure)
    whole = bars[-1][1] + INNER
    for layer, start, wide, is_output in bars:
        width, size = structure.widths[layer]
        key = "chain_published_hover_output" if is_output else "chain_published_hover"
        entry = {
            "left": (start + GAP) / whole,
            "right": (start + wide - GAP) / whole,
            "top": BASE + (TOP - BASE) * width / size,
            "hover": strings(key, layer=layer, width=f"{width:,}", size=f"{size:,}"),
        }
        for column, value in entry.items():
            tables["outputs" if is_output else "inner"][column].append(value)
    for stage, (layer, start) in enumerate(names):
        width, size = structure.widths[layer]
        name = strings("chain_published_stage", number=stage) if stage else strings("chain_published_stem")
        _text(tables, start / whole, FOOT, name, "soft")
        _text(tables, start / whole, KEPT, strings("chain_published_kept", width=width, size=size), "ink")
    title = strings(
        "chain_published_title",
        name=structure.name,
        macs=percent_of(structure.macs / DENSE_MACS), params=percent_of(structure.params / DENSE_PARAMS),
    )  # fmt: skip
    _text(tables, 0.0, HEAD, title, "bold")
    return tables


def _bars(structure: Structure) -> tuple[list[tuple[str, float, float, bool]], list[tuple[str, float]]]:
    """Every bar (layer, start, width, whether it is an output), and each stage's output with its start."""
    bars, names, x = [("conv1", 0.0, OUTPUT, True)], [("conv1", 0.0)], OUTPUT + STEM
    for stage, blocks in enumerate(structure.inner, start=1):
        names.append((f"layer{stage}.0.conv3", x))
        bars.append((f"layer{stage}.0.conv3", x, OUTPUT, True))
        x += OUTPUT + PAIR
        for block in range(len(blocks)):
            for conv in (1, 2):
                bars.append((f"layer{stage}.{block}.conv{conv}", x, INNER, False))
                x += INNER
            x += PAIR
        x += STAGE - PAIR
    return bars, names


def describe(structure: Structure | None, strings: Strings) -> list[str]:
    """The stem, every stage's output and the range of its inner convolutions; then where the widths stand."""
    if structure is None:
        return []
    sentences = []
    for stage, (layer, _start) in enumerate(_bars(structure)[1]):
        name = strings("chain_published_stage", number=stage) if stage else strings("chain_published_stem")
        width, size = structure.widths[layer]
        sentences.append(strings("chain_published_says", name=name, width=f"{width:,}", size=f"{size:,}"))
        if stage:
            widths = [width for pair in structure.inner[stage - 1] for width in pair]
            size = structure.widths[f"layer{stage}.0.conv1"][1]
            inner = strings(
                "chain_published_says_inner", name=name, low=min(widths), high=max(widths), size=size
            )
            sentences.append(inner)
    return [*sentences, origin(structure, strings)]


def origin(structure: Structure, strings: Strings) -> str:
    """Where a structure's widths stand, and its MACs as counted by this package."""
    source = strings(f"chain_published_source_{structure.source}", address=SOURCES[structure.source])
    return strings("chain_published_from", source=source, macs=f"{structure.macs / 1e6:,.0f}")


def table_html(strings: Strings, results: Sequence[Result] = RESULTS) -> str:
    """The accuracies as HTML, one row for every network and budget: a region of class "pe-papers" that scrolls.

    Letters refer to the caveats below the table; MACs stand beside an accuracy where they are not the row's.
    """
    caveats = dict.fromkeys(result.caveat for result in results if result.caveat)
    marks = dict(zip(caveats, _MARKS, strict=False))
    keys = ("network", "macs", *BY)
    head = "".join(f'<th scope="col">{escape(strings(f"chain_published_{key}"))}</th>' for key in keys)
    words = {caveat: escape(strings(f"chain_published_caveat_{caveat}")) for caveat in caveats}
    notes = [f"<sup>{mark}</sup> {words[caveat]}" for caveat, mark in marks.items()]
    titled = {caveat: f'<sup title="{words[caveat]}">{mark}</sup>' for caveat, mark in marks.items()}
    rows = "".join(_rows(results, titled))
    used = dict.fromkeys(result.source for result in results)
    named = "; ".join(strings(f"chain_published_source_{key}", address=SOURCES[key]) for key in used)
    region = escape(strings("chain_published_region"))
    return (
        f'<div class="pe-papers" role="region" tabindex="0" aria-label="{region}">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
        f"<p>{escape(strings('chain_published_mixed'))} {'; '.join(notes)}.</p>"
        f"<p>{escape(strings('chain_published_sources', sources=named))}</p></div>"
    )


def _rows(results: Sequence[Result], marks: dict[str, str]) -> Iterator[str]:
    """The table's rows; `marks` is HTML by caveat."""
    networks = list(dict.fromkeys(result.network for result in results))
    order = sorted(results, key=lambda result: (networks.index(result.network), -_millions(result.budget)))
    before = ""
    for (network, budget), group in groupby(order, lambda result: (result.network, result.budget)):
        found = list(group)
        cells = "".join(f"<td>{_cell([r for r in found if r.by == by], marks)}</td>" for by in BY)
        name = "" if network == before else escape(network)
        first = ' class="pe-first"' if name else ""
        yield f'<tr{first}><th scope="row">{name}</th><td>{escape(budget)}</td>{cells}</tr>'
        before = network


def _cell(results: Sequence[Result], marks: dict[str, str]) -> str:
    parts: list[str] = []
    for result in results:
        mark = marks[result.caveat] if result.caveat else ""
        macs = "" if _near(result) else f" <small>{short(result.macs)}</small>"
        value = f"{result.top1:.1f}{mark}"
        parts.append(f"<b>{value}</b>{macs}" if result.by == "dmcp" and not parts else f"{value}{macs}")
    return ", ".join(parts) or "–"


def _near(result: Result) -> bool:
    """Whether a network's MACs are about what its row says."""
    off = abs(result.macs / _millions(result.budget) - 1)
    return off <= NEAR or short(result.macs) == result.budget


def short(macs: int) -> str:
    """Millions in short: "2.2G", "97M"."""
    return f"{macs / 1000:.1f}G" if macs >= 1000 else f"{macs}M"


def _millions(budget: str) -> float:
    return float(budget[:-1]) * (1000 if budget.endswith("G") else 1)


def _text(tables: dict[str, Columns], x: float, y: float, text: str, role: str) -> None:
    entry = {"x": x, "y": y, **dict.fromkeys(_ROLES, "")} | {role: text}
    for key, value in entry.items():
        tables["labels"][key].append(value)


_ROLES = ("soft", "ink", "bold")
_BAR = ("left", "right", "top", "hover")
_COLUMNS: dict[str, Sequence[str]] = {"outputs": _BAR, "inner": _BAR, "labels": ("x", "y", *_ROLES)}
_HOVER = """<div style="font: {size}px sans-serif; max-width: {wide}px; color: #1f2933">@hover</div>"""


def build(scale: float = 1.0) -> View:
    """An empty view. `scale` multiplies heights and fonts."""
    data = sources("chain-published", empty(_COLUMNS))
    chart = canvas("chain-published", HEIGHT, (-0.005, 1.005), scale)
    rooms = []
    for table, alpha in (("outputs", 1.0), ("inner", 0.5)):
        sides = {"left": "left", "right": "right", "bottom": BASE, "source": data[table]}
        rooms.append(chart.quad(top=TOP, line_dash=[3, 2], **sides))
        paint(rooms[-1].glyph, fill_color="pale", line_color="cut")
        if table == "inner":  # too narrow for an outline
            rooms[-1].glyph.line_alpha = 0
        kept = chart.quad(top="top", line_color=None, fill_alpha=alpha, **sides)
        paint(kept.glyph, fill_color="kept")
    place = {"x": "x", "y": "y", "text_baseline": "middle", "source": data["labels"]}
    for role in _ROLES:
        style = "bold" if role == "bold" else "normal"
        text = chart.text(text=role, text_font_size=f"{13 * scale}px", text_font_style=style, **place)
        paint(text.glyph, text_color="ink" if role == "bold" else role)
    hover = _HOVER.format(size=round(13 * scale), wide=round(260 * scale))
    chart.add_tools(HoverTool(renderers=rooms, tooltips=hover, point_policy="follow_mouse"))
    return View(chart, data)
