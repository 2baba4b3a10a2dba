"""Every classifier of torchvision through the explorer and through torch-pruning: writes docs/torchvision.md.

    python -m benchmarks.torchvision_table [--only NAME] [--jobs N] [--again] [--results FILE] [--to FILE]

Each network runs in a process of its own and adds a line to the results as soon as it is done, so that a run that
was stopped goes on where it was. Times are only comparable with one job. The giants need 20 GB of memory.
"""

import argparse
import json
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import torch_pruning
import torchvision
from torch import Tensor, nn
from torchvision.models import VisionTransformer

import explorer
from tests.counting import counted_macs
from tests.networks import inputs_like, random_plan
from tests.torchvision.classifiers import NAMES, build, example_of

LIMIT = 60  # seconds that torch-pruning has to construct its graph and pruner
MOST = 900  # seconds for a whole network

Row = dict[str, Any]


# --- one network, in a process of its own ---------------------------------------------------------------


def best_of_two(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds of the faster of two runs (of one, if that took over 5 s), and the last result."""
    times: list[float] = []
    while not times or (len(times) < 2 and times[0] < 5):
        start = time.perf_counter()
        result = work()
        times.append(time.perf_counter() - start)
    return min(times), result


@contextmanager
def time_limit(seconds: int) -> Iterator[None]:
    def stop(*_: object) -> None:
        raise TimeoutError

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)


def in_words(error: Exception) -> str:
    text = str(error).strip().split("\n")[0][:160].replace("|", "/")
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def ours(model: nn.Module, example: Tensor) -> Row:
    """Trace, costs against the count, half of the channels cut, the proof."""
    seconds, graph = best_of_two(lambda: explorer.trace(model, example))
    plan = random_plan(graph, 1, share=0.5)
    images = inputs_like(example, 2)
    proof = explorer.prove(model, graph, plan, images)
    shrunk = explorer.shrink(model, graph, plan)
    return {
        "front_end": graph.front_end,
        "seconds": seconds,
        "layers": len(graph.layers),
        "groups": len(graph.groups),
        "prunable": sum(group.size for group in graph.prunable) / sum(group.size for group in graph.groups),
        "difference": proof.max_difference / proof.scale,
        "conclusive": proof.conclusive,
        "dense": [explorer.cost(graph).macs, counted_macs(model, images[:1])],
        "shrunk": [explorer.cost(graph, plan).macs, counted_macs(shrunk, images[:1])],
    }


def theirs(model: nn.Module, example: Tensor) -> Row:
    """torch-pruning's dependency graph and pruner, half of every layer cut, one forward of what is left."""
    classifiers = [
        module
        for module in model.modules()
        if getattr(module, "out_features", getattr(module, "out_channels", 0)) == 1000
    ]
    heads = model.encoder.layers[0].num_heads if isinstance(model, VisionTransformer) else None

    def construct() -> Any:
        return torch_pruning.pruner.BasePruner(
            model,
            example,
            importance=torch_pruning.importance.MagnitudeImportance(p=1),
            pruning_ratio=0.5,
            ignored_layers=classifiers,
            round_to=heads,
        )

    try:
        with time_limit(LIMIT):
            seconds, pruner = best_of_two(construct)
    except TimeoutError:
        return {"failed": f"not constructed within {LIMIT} s"}
    except Exception as error:  # noqa: BLE001 - whatever it raises belongs into the table
        return {"failed": f"construction: {in_words(error)}"}
    row: Row = {"seconds": seconds}
    try:
        with time_limit(LIMIT):
            pruner.step()
            with torch.no_grad():
                model(example)
    except TimeoutError:
        row["failed"] = f"not pruned within {LIMIT} s"
    except Exception as error:  # noqa: BLE001
        row["failed"] = f"pruned network: {in_words(error)}"
    return row


def run_one(name: str) -> None:
    """Print the network's row as JSON, as far as it is known, after each of the two."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    small = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2))
    ours(small, torch.zeros(1, 3, 2, 2))  # loads what is loaded at the first use
    theirs(small, torch.zeros(1, 3, 2, 2))
    example = example_of(name)
    row: Row = {"name": name, "size": example.shape[-1]}
    try:
        model = explorer.live_weights(build(name), example)
        row |= {"millions": sum(p.numel() for p in model.parameters()) / 1e6, "ours": ours(model, example)}
    except Exception as error:  # noqa: BLE001
        row["ours"] = {"failed": in_words(error)}
    print(json.dumps(row), flush=True)
    row["theirs"] = theirs(model.requires_grad_(True), example)
    print(json.dumps(row), flush=True)


def in_a_process(name: str) -> Row:
    """A network's row; where its process dies or takes too long, what was known until then."""
    command = [sys.executable, "-m", "benchmarks.torchvision_table", "--child", name]
    why = f"stopped after {MOST} s"
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            output, errors = process.communicate(timeout=MOST)
            why = (errors.strip().splitlines() or [f"exit code {process.returncode}"])[-1]
        except subprocess.TimeoutExpired:
            process.kill()
            output, _ = process.communicate()
    rows = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    row: Row = rows[-1] if rows else {"name": name, "ours": {"failed": why}}
    return {"theirs": {"failed": why}, **row}


# --- the table ------------------------------------------------------------------------------------------


PAGE = """# torchvision's classifiers

Written by `python -m benchmarks.torchvision_table`: all {all} classifiers that torchvision {torchvision} registers, with
torch {torch} and torch-pruning {pruning}, one thread, random live weights, at the smallest input that each takes.

Traced, counted and proven conclusively: {good} of {all}.{missing} torch-pruning constructs its graph and pruner for
{constructed} within {limit} s, and what it has pruned runs for {run}. Time of our trace to that of its construction,
where both run: {middle}.

- *px*: height and width of the input.
- *prunable*: share of the channels that are in groups that can be pruned; for the others the coverage map gives reasons.
- *difference*: of masked and shrunk outputs, the largest, relative to the largest output, with half of every prunable
  group cut at random. *conclusive*: it is below 1e-4, and the cut changed the outputs by more than that.
- *dense*, *shrunk*: MACs of one example as the explorer says; "=" where this is the number that was counted on what the
  network really executes.
- *torch-pruning s*: for its dependency graph and pruner (layers with 1,000 outputs ignored, ViTs rounded to their heads).
  *its network*: whether that runs after a cut to half. *ratio*: our trace to its construction, in one process.

| network | px | front end | s | layers | groups | prunable | difference | conclusive | dense | shrunk | torch-pruning s | its network | ratio |
|---|---:|---|---:|---:|---:|---:|---:|---|---:|---:|---:|---|---:|
{rows}
"""  # noqa: E501


def counted(pair: list[int]) -> str:
    said, found = pair
    return f"{said / 1e6:,.1f} M" + (" =" if said == found else f" but {found / 1e6:,.1f} M")


def line_of(row: Row) -> str:
    ours, theirs = row["ours"], row["theirs"]
    cells = [row["name"], str(row.get("size", ""))]
    if "failed" in ours:
        cells += [f"fails: {ours['failed']}", *[""] * 8]
    else:
        cells += [
            ours["front_end"],
            f"{ours['seconds']:.2f}",
            str(ours["layers"]),
            str(ours["groups"]),
            f"{ours['prunable']:.0%}",
            f"{ours['difference']:.0e}",
            "yes" if ours["conclusive"] else "no",
            counted(ours["dense"]),
            counted(ours["shrunk"]),
        ]
    seconds = theirs.get("seconds")
    cells.append("" if seconds is None else f"{seconds:.2f}")
    cells.append(theirs.get("failed", "runs"))
    cells.append(f"{ours['seconds'] / seconds:.2f}" if seconds and "seconds" in ours else "")
    return f"| {' | '.join(cells)} |"


def right(row: Row) -> bool:
    """Whether the explorer traced, counted and proved the network."""
    ours = row["ours"]
    return (
        "failed" not in ours
        and ours["conclusive"]
        and all(a == b for a, b in (ours["dense"], ours["shrunk"]))
    )


def page(rows: list[Row]) -> str:
    good, known = [row for row in rows if right(row)], {row["name"] for row in rows}
    constructed = [row for row in rows if "seconds" in row["theirs"]]
    run = [row for row in constructed if "failed" not in row["theirs"]]
    ratios = sorted(
        row["ours"]["seconds"] / row["theirs"]["seconds"] for row in run if "seconds" in row["ours"]
    )
    middle = (
        f"{ratios[len(ratios) // 2]:.2f} in the middle, {ratios[-1]:.2f} at most"
        if ratios
        else "not measured"
    )
    others = [row["name"] for row in rows if not right(row)] + [
        f"{name} (not run)" for name in NAMES if name not in known
    ]
    missing = f" Not: {', '.join(others)}." if others else ""
    return PAGE.format(
        all=len(NAMES),
        torchvision=torchvision.__version__,
        torch=torch.__version__,
        pruning=version("torch-pruning"),
        good=len(good),
        missing=missing,
        constructed=len(constructed),
        run=len(run),
        limit=LIMIT,
        middle=middle,
        rows="\n".join(line_of(row) for row in rows),
    )


def read(results: Path) -> dict[str, Row]:
    """The last row of every network; a line that was cut off is passed over."""
    rows = {}
    for line in results.read_text().splitlines() if results.exists() else []:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        rows[row["name"]] = row
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", action="append", choices=NAMES, metavar="NAME", help="this network (again)")
    parser.add_argument("--jobs", type=int, default=1, help="networks at a time")
    parser.add_argument("--again", action="store_true", help="run all, whatever is known")
    parser.add_argument("--results", type=Path, default=Path("build/torchvision.jsonl"))
    parser.add_argument("--to", type=Path, default=Path("docs/torchvision.md"))
    parser.add_argument("--child", choices=NAMES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        run_one(options.child)
        return
    options.results.parent.mkdir(parents=True, exist_ok=True)
    known = set() if options.again else set(read(options.results))
    names = options.only or [name for name in NAMES if name not in known]
    writing = threading.Lock()

    def work(name: str) -> None:
        row = in_a_process(name)
        with writing, options.results.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(line_of(row), flush=True)

    with ThreadPoolExecutor(options.jobs) as pool:
        list(pool.map(work, names))
    rows = read(options.results)
    options.to.write_text(page([rows[name] for name in NAMES if name in rows]))


if __name__ == "__main__":
    main()
