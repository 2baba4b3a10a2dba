"""The report as one HTML file: what was asked, what it gave, how to get it again. It loads nothing."""

from collections.abc import Iterable, Iterator, Sequence
from html import escape

from explorer.costs import COSTS
from explorer.export import tradeoff
from explorer.export.page import PAGE
from explorer.export.picture import bars, image_name, share_text, svg
from explorer.export.replay import replay_script, replay_session
from explorer.export.report import Report
from explorer.export.table import (
    HEAD,
    accuracy_text,
    counted,
    definitions,
    divergence_text,
    latency_remarks,
    latency_text,
    proof_text,
    request_text,
    rows,
)
from explorer.records import FinalCheck, Visit
from explorer.values import ChannelGraph, ChannelGroup, Cost, Estimate, Plan, Request
from explorer.zoo import Network

Cells = Sequence[str]
LONG = 30  # characters


def html_report(
    network: Network,
    graph: ChannelGraph,
    plan: Plan,
    report: Report,
    visits: Sequence[Visit] = (),
    final_checks: Sequence[FinalCheck] = (),
    at: int | None = None,
    estimate: Estimate | None = None,
) -> str:
    """The page: pictures, tables, definitions, proof and replay scripts of one state and of the way to it.

    `visits` are the states that were visited, `at` the number of this one among them, `final_checks` all looks
    at the final images. `estimate` is what the explorer showed of this state: the replay script compares with
    it. Follows the reader's light or dark theme; prints light. Raises BadInput for a plan of another graph.
    """
    dense, now = report.dense, report.now
    data = network.data
    title = network.name if data is None else f"{network.name} on {data.name}"
    script = replay_script(network, graph, report.request, plan, report.request.recovery, estimate)
    sections = [
        *_section("Dense and now", _table(HEAD, rows(report)), *_paragraphs(*latency_remarks(report))),
        *_section("Widths", _figure(svg(bars(graph, plan), *_caption(report), image_name(network)))),
        *_visited(visits, dense.cost, at),
        *_section("Final images", *_final(network, final_checks, dense.cost)),
        *_section("Channel groups", _table(*_groups(graph, plan, report.request))),
        *_section(
            "What the numbers mean",
            "<dl>",
            *(f"<dt>{escape(name)}</dt><dd>{escape(said)}.</dd>" for name, said in definitions(report)),
            f"<dt>Proof</dt><dd>{escape(proof_text(report.proof))}.</dd>",
            "</dl>",
        ),
        *_section("Do it again", *_paragraphs("This script gives the state above."), _code(script)),
    ]
    if visits:
        sections += _details(
            "The same for every visited state", _code(replay_session(network, graph, visits))
        )
    return PAGE.format(
        title=escape(title),
        asked=escape(request_text(report.request)),
        after=escape(f"After cutting: {report.request.recovery.label}."),
        facts="".join(_facts(report)),
        body="\n".join(sections),
        remark=escape(share_text(now.cost, dense.cost)),
    )


# ---- parts -----------------------------------------------------------------------------------------------


def _facts(report: Report) -> Iterator[str]:
    """The numbers that people look for first."""
    dense, now = report.dense, report.now
    if now.explore is not None and dense.explore is not None:
        yield _fact(
            counted(now.explore).capitalize(),
            f"{now.explore.digits(now.explore.value)}{now.explore.unit}",
            f"{now.explore.digits(now.explore.low)} to {now.explore.digits(now.explore.high)}; dense "
            f"{accuracy_text(dense.explore)}",
        )
        if now.explore.divergence is not None:
            yield _fact("Divergence", divergence_text(now.explore), "from the dense network's probabilities")
    for name, part, whole in (
        ("MACs", now.cost.macs, dense.cost.macs),
        ("Parameters", now.cost.params, dense.cost.params),
        ("File", now.cost.file_bytes, dense.cost.file_bytes),
    ):
        unit = " bytes" if name == "File" else ""
        yield _fact(name, f"{100 * part / (whole or 1):.1f} %", f"{part:,} of {whole:,}{unit}")


def _fact(name: str, number: str, beside: str) -> str:
    return f"<div><span>{escape(name)}</span><strong>{escape(number)}</strong><small>{escape(beside)}</small></div>"


def _visited(visits: Sequence[Visit], dense: Cost, at: int | None) -> list[str]:
    if not visits:
        return []
    first = visits[0].estimate
    labelled = first.counts == "accuracy"
    second, these = ("divergence", "Agreement and divergence are")
    if labelled or first.divergence is None:
        second, these = "correct" if first.squares is None else "sum", f"{counted(first).capitalize()} is"
    return _section(
        "Visited states",
        _figure(tradeoff.svg(visits, dense, at)),
        _table(
            ("state", "after cutting", counted(first), second, "MACs", "parameters", "from", "asked for"),
            (_visit(visit, dense, visit.number == at) for visit in visits),
        ),
        *_paragraphs(*_timed(visits)),
        *_paragraphs(
            f"{these} of the {first.of:,} explore images, counted with batch norm folded "
            "into the convolutions: an image between two classes may fall the other way in the table above."
        ),
    )


def _visit(visit: Visit, dense: Cost, here: bool) -> Cells:
    name = f"{visit.number}: {visit.name}" if visit.name else f"{visit.number}"
    return (
        f"{name} (this one)" if here else name,
        visit.recovery.label,
        accuracy_text(visit.estimate),
        divergence_text(visit.estimate) or f"{visit.estimate.correct:,.10g}",
        f"{visit.cost.macs:,} ({100 * visit.cost.macs / (dense.macs or 1):.1f} %)",
        f"{visit.cost.params:,} ({100 * visit.cost.params / (dense.params or 1):.1f} %)",
        "" if visit.parent is None else f"{visit.parent}",
        _asked(visit.request),
    )


def _asked(request: Request) -> str:
    """A request in a few words and names of the API."""
    share = f"{request.keep * 100:.4g} % of {COSTS[request.cost]}"
    said = ["widths by hand" if request.stay else f"keep {share}", request.criterion]
    if not request.stay:
        said.append(request.allocation)
    said += [f"{group} = {width}" for group, width in request.widths]
    if request.minimum > 1:
        said.append(f"minimum {request.minimum}")
    if request.multiple > 1:
        said.append(f"multiples of {request.multiple}")
    if request.seed:
        said.append(f"seed {request.seed}")
    return ", ".join(said)


def _timed(visits: Sequence[Visit]) -> Iterator[str]:
    """Latencies of the visits that were timed."""
    for visit in visits:
        times = [f"batch {each.batch}: {latency_text(each)}" for each in visit.latency[1::2]]
        if times:
            yield f"Latency of state {visit.number}: {'; '.join(times)}."


def _final(network: Network, checks: Sequence[FinalCheck], dense: Cost) -> Iterator[str]:
    """The looks at the final images: how many there were belongs to what they say."""
    if network.data is None or network.data.final is None:
        yield from _paragraphs("There are no final images: every number here guided the search for it.")
        return
    if not checks:
        yield from _paragraphs("Nobody has looked at the final images. Explore images guided the search.")
        return
    yield from _paragraphs(
        f"Looks at the final images: {len(checks)}. They judge what explore images chose; each look that "
        "leads to another choice makes them less final."
    )
    yield _table(
        ("look", "after cutting", "MACs", f"{counted(checks[0].now)} now", "dense"),
        (
            (
                f"{check.number}",
                check.recovery.label,
                f"{100 * check.cost.macs / (dense.macs or 1):.1f} %",
                f"{check.now}",
                f"{check.dense}",
            )
            for check in checks
        ),
    )


def _groups(graph: ChannelGraph, plan: Plan, request: Request) -> tuple[Cells, list[Cells]]:
    """Head and rows of the widths."""
    found: list[Cells] = []
    for group in graph.groups:
        width = plan.widths.get(group.id, group.size)
        share = f"{100 * width / group.size:.0f} %"
        found.append(
            (group.id, ", ".join(group.layers), f"{width}", f"{group.size}", share, _reason(group, request))
        )
    return ("group", "layers", "kept", "of", "share", "why"), found


def _reason(group: ChannelGroup, request: Request) -> str:
    """Why the group has its width."""
    if not group.prunable:
        return f"not pruned: {group.reason}"
    if group.id in request.locked:
        return "locked by hand"
    if group.id in dict(request.widths):
        return "set by hand"
    return "left as it was" if request.stay else "by the budget"


def _caption(report: Report) -> tuple[str, str]:
    return share_text(report.now.cost, report.dense.cost), report.request.recovery.label


# ---- HTML ------------------------------------------------------------------------------------------------


def _section(title: str, *parts: str) -> list[str]:
    return ["<section>", f"<h2>{escape(title)}</h2>", *parts, "</section>"]


def _details(title: str, *parts: str) -> list[str]:
    return [f"<details><summary>{escape(title)}</summary>", *parts, "</details>"]


def _paragraphs(*sentences: str) -> Iterator[str]:
    return (f"<p>{escape(sentence)}</p>" for sentence in sentences)


def _figure(drawing: str) -> str:
    return f"<figure>{drawing}</figure>"


def _code(text: str) -> str:
    return f'<pre tabindex="0"><code>{escape(text)}</code></pre>'


def _table(head: Cells, body: Iterable[Cells]) -> str:
    """A table whose first column names the rows."""
    lines = [f'<th scope="col">{escape(cell)}</th>' for cell in head]
    parts = ['<div class="wide"><table>', f"<thead><tr>{''.join(lines)}</tr></thead>", "<tbody>"]
    for name, *cells in body:
        data = "".join(f"<td{_wrapped(cell)}>{escape(cell)}</td>" for cell in cells)
        parts.append(f'<tr><th scope="row">{escape(name)}</th>{data}</tr>')
    return "\n".join([*parts, "</tbody>", "</table></div>"])


def _wrapped(cell: str) -> str:
    """Sentences may go on in the next line, numbers may not."""
    return ' class="long"' if len(cell) > LONG else ""
