"""Train a network by a method, measure what came of it, and write the run that ships with the explorer.

    python -m scripts.record dmcp resnet20 --set target=0.4
    python -m scripts.record manidp resnet20
    python -m scripts.record slimming resnet20 --set keep=0.5
    python -m scripts.record dmcp residual-64-32-16 --set target=0.2 --add-to resnet20

Everything runs on the bundled images, so that anyone can run it again. It can be interrupted at any time: what is
finished is kept in --work, and the same command goes on from there. Networks of scripts/unbalanced.py are trained from
scratch; they ship with no run of their own, but their comparison can be added to another's.
"""

import argparse
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import explorer
from explorer.methods import METHODS, search, search_key
from explorer.methods.loop import Event, Found
from explorer.methods.measuring import Measuring
from explorer.methods.recording import read_network, read_recorded, write_recorded
from explorer.methods.settings import declared
from explorer.runs import Recorded
from explorer.values import ChannelGraph
from explorer.zoo.networks import NETWORKS
from scripts import unbalanced

RECORDED = Path(__file__).parents[1] / "explorer" / "methods" / "recorded"
QUICK_TRAINING, QUICK_EXPLORE = 512, 100  # images of a trial


def say(event: Event) -> None:
    """A line at the end of every epoch."""
    if event.snapshot is None:
        return
    losses = ", ".join(f"{name} {value:.3f}" for name, value in event.losses.items())
    left = "" if event.seconds_left is None else f", {event.seconds_left:.0f} s left"
    print(f"  step {event.step} of {event.of} ({event.phase}): {losses}{left}", flush=True)


def trained(
    network: explorer.Network, graph: ChannelGraph, method: str, settings: Mapping[str, Any], work: Path
) -> Found:
    """What a method comes to with these settings, trained now or kept in `work`; its weights as a file holds them."""
    method, settings = settings.get("method", method), {k: v for k, v in settings.items() if k != "method"}
    folder = work / search_key(network, graph, method, **settings)
    kept = read_recorded(network, graph, method, folder)
    if kept is None:
        folder.mkdir(parents=True, exist_ok=True)
        print(f"{method}: {dict(settings)}", flush=True)
        found = search(network, method, say, folder / "search.pt", **settings)
        write_recorded(folder, Recorded(found.run), network.weights_key, found.network)
        kept = read_recorded(network, graph, method, folder)
    weights = read_network(network, graph, method, folder)
    assert kept is not None
    assert weights is not None
    plan = METHODS[method].plan(graph, kept.run, weights)
    return Found(method, kept.run, plan, weights, kept.run.training)


def record(given: argparse.Namespace, command: str) -> Path | None:
    """Train, measure and write; every part that was finished before is taken from the work folder."""
    method, name = given.method, given.network
    network = _network(name, given.quick)
    graph = explorer.trace(network.model, network.example)
    settings = dict(given.set)

    def again(settings: Mapping[str, Any], _name: str) -> Found:
        return trained(network, graph, method, settings, given.work)

    found = again(settings, "")
    measuring = Measuring(
        network,
        graph,
        found,
        tuple(range(given.seeds)),
        given.work,
        again,
        lambda words: print("  " + words, flush=True),
        dict(text.split("=", 1) for text in given.option),
    )
    evidence = METHODS[method].measure(measuring)
    if given.add_to:
        other = _network(given.add_to, given.quick)
        other_graph = explorer.trace(other.model, other.example)
        old = read_recorded(other, other_graph, method, given.folder)
        weights = read_network(other, other_graph, method, given.folder)
        if old is None or weights is None:
            raise SystemExit(f"{given.folder} has no recorded run of {given.add_to}: record that first.")
        added = (each for each in evidence.comparisons if each not in old.evidence.comparisons)
        both = replace(old.evidence, comparisons=(*old.evidence.comparisons, *added))
        whole = replace(old, evidence=both, command=f"{old.command}\n{command}")
        return write_recorded(given.folder, whole, other.weights_key, weights)
    if name not in NETWORKS:
        print("Nothing was written: --add-to names the recorded run that this comparison belongs to.")
        return None
    return write_recorded(
        given.folder, Recorded(found.run, evidence, command), network.weights_key, found.network
    )


def _network(name: str, quick: bool) -> explorer.Network:
    network = explorer.load(name) if name in NETWORKS else unbalanced.load(name)
    if not quick or network.data is None or network.data.train is None:
        return network
    few = replace(
        network.data,
        train=network.data.train.subset(QUICK_TRAINING),
        explore=network.data.explore.subset(QUICK_EXPLORE),
    )
    return replace(network, data=few)


def _settings(method: str, given: Sequence[str]) -> dict[str, Any]:
    """NAME=VALUE of a method's settings, each as the kind of number that it is."""
    kinds = {each.name: each.kind for each in declared(METHODS[method].settings)}
    found: dict[str, Any] = {}
    for text in given:
        name, _, value = text.partition("=")
        if name not in kinds:
            raise SystemExit(f"{name!r} is none of the settings of {method}: {', '.join(kinds)}.")
        try:
            found[name] = {"whole": int, "choice": str}.get(kinds[name], float)(value)
        except ValueError:
            raise SystemExit(f"{value!r} is no value of {name}.") from None
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("method", choices=list(METHODS))
    parser.add_argument("network", choices=[*NETWORKS, *unbalanced.WIDTHS])
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of the method"
    )
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each structure (default: 3)")
    parser.add_argument("--option", action="append", default=[], metavar="NAME=VALUE", help=(
        "of what is measured, such as start=supernet for dmcp"
    ))  # fmt: skip
    parser.add_argument("--add-to", choices=list(NETWORKS), metavar="NETWORK", help=(
        "add the comparison to the recorded run of this network and write nothing else"
    ))  # fmt: skip
    parser.add_argument(
        "--work", type=Path, default=Path("checkpoints"), help="what is finished is kept here"
    )
    parser.add_argument("--folder", type=Path, help="of the recorded runs (default: the package's)")
    parser.add_argument("--quick", action="store_true", help="a trial: few images, one epoch, one seed")
    given = parser.parse_args(arguments)
    words = ["python", "-m", "scripts.record", given.method, given.network]
    words += [word for text in given.set for word in ("--set", text)] + ["--seeds", f"{given.seeds}"]
    words += [word for text in given.option for word in ("--option", text)]
    words += (["--add-to", given.add_to] if given.add_to else []) + (["--quick"] if given.quick else [])
    given.set = _settings(given.method, given.set)
    if given.network in unbalanced.WIDTHS:
        given.set["start"] = "scratch"
    if given.quick:
        quick = {"warm_up": 0, "epochs": 1, "fine_tune": 1, "batch": 64}
        known = {each.name for each in declared(METHODS[given.method].settings)}
        given.set = {name: value for name, value in quick.items() if name in known} | given.set
        given.seeds = 1
    given.work = given.work / f"{given.method}-{given.network}{'-quick' if given.quick else ''}"
    given.folder = given.folder or (given.work if given.quick else RECORDED)
    try:
        path = record(given, shlex.join(words))
    except (KeyboardInterrupt, explorer.Interrupted):
        raise SystemExit("Interrupted: the same command goes on from where it was.") from None
    if path is not None:
        print(f"Written: {path}")


if __name__ == "__main__":
    main()
