"""Replay scripts: what was done in the explorer as a short Python file of the public API, with what it showed.

They prove themselves: each prints what it finds, and whether that is what the explorer showed.
"""

import json
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from explorer.allocate import by_hand
from explorer.costs import cost as cost_of
from explorer.data.bundled import BundledImages
from explorer.data.named import NAMED
from explorer.data.tasks import CLASSIFICATION, TASKS, Own
from explorer.errors import BadInput
from explorer.export.definition import imported
from explorer.export.script import Source
from explorer.graph.checks import check_plan
from explorer.graph.inputs import form_of, tensors_of, with_form
from explorer.records import Visit
from explorer.values import ChannelGraph, Cost, Estimate, Plan, Recovery, Request
from explorer.zoo import Network
from explorer.zoo.networks import NETWORKS

LINE = 110
FOLDED = (
    "The explorer folds batch norm into the convolutions before it counts, and this script does not: an image "
    "between two classes may fall the other way."
)
NOT_COUNTED = "The explorer had not counted the accuracy to its end."
STATE = '''\
"""{about}"""

{load}
graph = explorer.trace(net.model, net.example)
{score}
{cut}
{recover}
cost = explorer.cost(graph, plan)
{remark}
{count}

{shown}
found = {found}
print(found, "as the explorer showed" if found == shown else f"but the explorer showed {{shown}}")
'''
SESSION = '''\
"""{about}"""

from functools import cache

{load}
graph = explorer.trace(net.model, net.example)

# For every state: how channels are ranked, what is kept, what is done to the weights after cutting, and
# what the explorer showed.
STATES = [
{states}]


@cache
def ranked(criterion, seed):
    return explorer.score(net, graph, criterion, seed=seed)


{remark}
everything = []
for state in STATES:
    scores, cut, shown = ranked(**state["rank"]), state["cut"], state["shown"]
    by_hand = "keep" not in cut
    plan = (explorer.plan_widths if by_hand else explorer.allocate)(graph, scores, **cut)
    recover = {{**state["recover"], "graph": graph, "plan": plan}}
    repaired = recover["repair"] != "none"  # which cuts by itself
    small = net.model if repaired else explorer.shrink(net.model, graph, plan)
    small = explorer.recover(small, net.data, **recover)
    cost = explorer.cost(graph, plan)
    correct = {count}
    found = {found}
    everything.append(found)
    same = "as the explorer showed" if found == shown else f"but the explorer showed {{shown}}"
    print(state["name"], found, same)
'''
NAMES = frozenset(re.findall(r"\w+", STATE + SESSION))  # what a constructor must not be called
FOUND = '{"plan": plan.key, "macs": cost.macs, "params": cost.params, "correct": correct}'


def replay_script(
    network: Network,
    graph: ChannelGraph,
    request: Request,
    plan: Plan,
    recovery: Recovery,
    estimate: Estimate | None,
) -> str:
    """The script that reproduces one state: the plan that answered `request`, with `recovery` done to it.

    It ends with two dictionaries: `shown` (the plan's key, MACs, parameters and, if `estimate` is complete,
    the correct explore images; else None) and `found`. They are equal where it succeeds. A bundled network
    and one of torchvision is loaded by name, one with a constructor is made by it; for images other than the
    bundled ones and data sets by name, and for other networks, there are lines such as `data = ...` to fill in.
    Raises BadInput for a plan that is not of this graph.
    """
    check_plan(graph, plan)
    counted = estimate is not None and estimate.done
    cost = cost_of(graph, plan)
    return STATE.format(
        about=_about(
            f"{network.name}, {_share(graph, cost)} of its MACs: a state of Pruning Explorer, done again."
        ),
        load=_loading(network),
        score=_call(
            "scores = explorer.score", ("net", "graph", _literal(request.criterion)), {"seed": request.seed}
        ),
        cut=_call(
            f"plan = explorer.{'plan_widths' if by_hand(graph, request) else 'allocate'}",
            ("graph", "scores"),
            _cut(graph, request),
        ),
        recover=_recovering(recovery, request.seed),
        remark=_comment(f"The explorer showed {estimate}. {FOLDED}" if counted else NOT_COUNTED),
        count=f"correct = {_count(network) if counted else None}",
        shown=f"shown = {_literal(_shown(plan, cost, estimate), before=8)}",
        found=FOUND,
    )


def replay_session(network: Network, graph: ChannelGraph, visits: Sequence[Visit]) -> str:
    """The script that reproduces the visited states in order: a list of settings, and one loop.

    `everything` ends as the list of what was found, a dictionary as in `replay_script` for every state.
    Raises BadInput without visits.
    """
    if not visits:
        raise BadInput(
            "No state was visited yet, so there is nothing to replay: wait until an accuracy is complete."
        )
    return SESSION.format(
        about=_about(
            f"{network.name}: the states that were visited in Pruning Explorer, done again in order."
        ),
        load=_loading(network),
        states="".join(_entry(graph, visit) for visit in visits),
        remark=_comment(FOLDED),
        count=_count(network),
        found=FOUND,
    )


def _recovering(recovery: Recovery, seed: int) -> str:
    """The lines from the plan to the smaller network."""
    done = {"bn": recovery.bn, "epochs": recovery.epochs, "seed": seed}
    if recovery.repair != "none":  # which compares with the network before the cut, and cuts by itself
        repaired = "net", "net.data", "graph=graph", "plan=plan"
        return _call("small = explorer.recover", repaired, {"repair": recovery.repair, **done})
    cut = "small = explorer.shrink(net.model, graph, plan)\n"
    if recovery == Recovery():
        return f"{cut}# Nothing is done to the weights after cutting."
    return cut + _call("small = explorer.recover", ("small", "net.data"), done)


def _count(network: Network) -> str:
    """The expression that counts; images without labels are held against the dense network."""
    images = None if network.data is None else network.data.explore
    dense = "" if images is None or images.labelled else ", dense=net"
    classes = images is None or images.task is None or images.task.classifies
    return f"explorer.evaluate(small, net.data{dense}).{'correct' if classes else 'digits()'}"


def _cut(graph: ChannelGraph, request: Request) -> dict[str, object]:
    """The keywords of allocate, or of plan_widths."""
    if by_hand(graph, request):
        widths = {**dict(request.stay), **dict(request.widths)}
        return {"widths": {group.id: widths[group.id] for group in graph.prunable if group.id in widths}}
    chosen: dict[str, object] = {
        "keep": request.keep,
        "cost": request.cost,
        "allocation": request.allocation,
    }
    if request.widths:
        chosen["widths"] = dict(request.widths)
    if request.minimum > 1:
        chosen["minimum"] = request.minimum
    if request.multiple > 1:
        chosen["multiple"] = request.multiple
    return chosen


def _shown(plan: Plan, cost: Cost, estimate: Estimate | None) -> dict[str, object]:
    correct = None
    if estimate is not None and estimate.done:
        correct = estimate.correct if estimate.squares is None else estimate.digits()
    return {"plan": plan.key, "macs": cost.macs, "params": cost.params, "correct": correct}


def _entry(graph: ChannelGraph, visit: Visit) -> str:
    """One state of STATES, with its accuracy as a comment."""
    request, recovery = visit.request, visit.recovery
    parts = {
        "name": visit.name or f"state {visit.number}",
        "rank": {"criterion": request.criterion, "seed": request.seed},
        "cut": _cut(graph, request),
        "recover": {
            "repair": recovery.repair,
            "bn": recovery.bn,
            "epochs": recovery.epochs,
            "seed": request.seed,
        },
        "shown": _shown(visit.plan, visit.cost, visit.estimate),
    }
    lines = [
        f"        {_literal(name)}: {_literal(part, 8, len(name) + 4)},\n" for name, part in parts.items()
    ]
    return (
        f"    # {visit.estimate}; {_share(graph, visit.cost)} of the MACs; {recovery.label}\n"
        f"    {{\n{''.join(lines)}    }},\n"
    )


# ---- loading ---------------------------------------------------------------------------------------------


@dataclass
class _Lines:
    """Parts of what makes `net`: further imports, lines before the call, its arguments, and a hint on weights."""

    imports: list[str]
    before: list[str]
    arguments: list[str]
    keywords: list[str]
    hint: str = ""


def _loading(network: Network) -> str:
    """Imports, and the lines that make `net`."""
    parts = _network(network)
    data, inputs = network.data, tensors_of(network.example)
    if data is not None and not (network.source is not None and isinstance(data.explore, BundledImages)):
        splits = {"train": data.train, "explore": data.explore, "final": data.final}
        counts = ", ".join(f"{len(images):,} {name}" for name, images in splits.items() if images is not None)
        named = next((name for name, row in NAMED.items() if row.title == data.name), None)
        filled = "...  # fill in: your images, as you passed them to the explorer"
        parts.before.append(f"data = {filled if named is None else _literal(named)}")
        parts.before.append(_comment(f"(It had {counts} images of {data.name}.)"))
        parts.arguments.append("data")
        task = data.explore.task
        if isinstance(task, Own):
            parts.before.append("loss, score = ..., ...  # fill in: your functions of outputs and targets")
            parts.keywords += ["loss=loss", "score=score"]
        elif task is not None and task != CLASSIFICATION:
            parts.keywords.append(
                f"task={_literal(next(name for name, each in TASKS.items() if each == task))}"
            )
    torch = []
    if data is None or tuple(data.explore.inputs(slice(0, 1)).shape) != tuple(inputs[0].shape):
        zeros: Any = tuple(
            Source(f"torch.zeros({', '.join(map(str, each.shape))}, dtype={each.dtype})") for each in inputs
        )
        shown: Any = with_form(zeros, form_of(network.example))
        parts.keywords.append(f"example={getattr(shown, 'given', shown)!r}")
        torch = ["import torch\n"]
    said = f"These are not the weights that the explorer had.{parts.hint}"
    return "\n".join(
        [
            *torch,
            "import explorer",
            *parts.imports,
            "",
            *parts.before,
            f"net = explorer.load({', '.join([*parts.arguments, *parts.keywords])})",
            f"if net.weights_key != {_literal(network.weights_key)}:",
            f"    print({_literal(said)})",
        ]
    )


def _network(network: Network) -> _Lines:
    """By name, by its constructor, or to be filled in."""
    untrained = [] if network.trained else ["weights=None"]
    if network.source is not None and network.name in NETWORKS:
        return _Lines([], [], [_literal(network.name)], untrained)
    if _is_torchvisions(network):
        hint = " They may be of a file: load(..., weights=path)."
        return _Lines([], [], [_literal(network.name)], untrained, hint)
    if network.constructor is not None:
        dense = imported(network.constructor, NAMES)
        before = [
            f"model = {dense.make}",
            'weights = "default"  # those that it is made with; or the path of a file that has others',
        ]
        hint = " Name the file that has them in `weights`."
        return _Lines(list(dense.imports), before, ["model"], ["weights=weights"], hint)
    return _Lines(
        [],
        ["model = ...  # fill in: your network, with the weights that it had in the explorer"],
        ["model"],
        [],
    )


def _is_torchvisions(network: Network) -> bool:
    """Whether `explorer.load` makes this network by its name."""
    made = network.constructor
    return made is not None and (made.module, made.name) == ("torchvision.models", network.name)


# ---- Python as text --------------------------------------------------------------------------------------


def _about(sentence: str) -> str:
    """A docstring's text: the name in it may be any."""
    return sentence.replace("\\", "\\\\").replace('"', "'")


def _comment(sentence: str) -> str:
    return textwrap.fill(sentence, LINE, initial_indent="# ", subsequent_indent="# ")


def _share(graph: ChannelGraph, cost: Cost) -> str:
    return f"{cost.macs / (cost_of(graph).macs or 1) * 100:.1f} %"


def _call(function: str, positional: Iterable[str], keywords: Mapping[str, object]) -> str:
    """A call on one line, or with an argument per line."""
    given = [*positional, *(f"{name}={_literal(value)}" for name, value in keywords.items())]
    if len(line := f"{function}({', '.join(given)})") <= LINE:
        return line
    named = [f"{name}={_literal(value, 4, len(name) + 1)}" for name, value in keywords.items()]
    return f"{function}(\n" + "".join(f"    {each},\n" for each in [*positional, *named]) + ")"


def _literal(value: object, indent: int = 0, before: int = LINE * -100) -> str:
    """A value as Python text; a mapping that does not fit behind `before` characters goes on further lines."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if not isinstance(value, Mapping):
        return f"{value:_}" if type(value) is int else repr(value)
    items = [f"{_literal(name)}: {_literal(each)}" for name, each in value.items()]
    if indent + before + len(line := f"{{{', '.join(items)}}}") + 1 <= LINE:
        return line
    pad = " " * indent
    if any(isinstance(each, Mapping) for each in value.values()):
        items = [f"{_literal(k)}: {_literal(each, indent + 4, len(k) + 4)}" for k, each in value.items()]
    return "{\n" + "".join(f"{pad}    {row}\n" for row in _rows(items, LINE - indent - 4)) + pad + "}"


def _rows(items: Iterable[str], room: int) -> Iterator[str]:
    """Items with their commas, as many on a line as fit."""
    row = ""
    for item in items:
        if row and len(row) + len(item) + 2 > room:
            yield row
            row = ""
        row += f"{' ' if row else ''}{item},"
    yield row
