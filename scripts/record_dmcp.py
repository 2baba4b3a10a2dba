"""Search a network's widths with DMCP, measure what came of it, and write the run that ships with the explorer.

    python scripts/record_dmcp.py resnet20 --target 0.4           # the recorded run of a bundled network
    python scripts/record_dmcp.py residual-64-32-16 --target 0.2 --add-comparison-to resnet20

Search, order curves (which channels carry the information?) and a comparison with the uniform structure of the same
MACs over several seeds, all on the bundled images, so that anyone can run it again. It can be interrupted at any time:
what is finished is kept in --work, and the same command goes on from there. Networks of scripts/unbalanced.py are
trained from scratch; they ship with no run of their own, but their comparison can be added to another's.
"""

import argparse
import json
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean, stdev

import unbalanced

import explorer
from explorer.chains import ChainRun, Comparison, Recorded
from explorer.methods import METHODS, search, search_key
from explorer.methods.comparison import Retraining, compare
from explorer.methods.order_claim import order_curves
from explorer.methods.recording import read_recorded, read_supernet, write_recorded
from explorer.methods.retraining import STARTS
from explorer.methods.road import Event
from explorer.methods.settings import declared
from explorer.paired import paired_difference
from explorer.values import ChannelGraph
from explorer.zoo.networks import NETWORKS

RECORDED = Path(__file__).parents[1] / "explorer" / "methods" / "recorded"
QUICK_TRAINING, QUICK_EXPLORE = 512, 100  # images of a trial
SETTINGS = {setting.name: setting for setting in declared(METHODS["dmcp"].settings)}


class Remembered(dict[str, float]):
    """Accuracies by content key, in a file from the moment that they are known."""

    def __init__(self, path: Path) -> None:
        super().__init__(json.loads(path.read_text()) if path.exists() else {})
        self._path = path

    def __setitem__(self, key: str, value: float) -> None:
        super().__setitem__(key, value)
        temporary = self._path.with_suffix(".partial")
        temporary.write_text(json.dumps(self))
        temporary.replace(self._path)
        print(f"    {value:.2%}", flush=True)


def say(event: Event) -> None:
    """A line at the end of every epoch."""
    if event.snapshot is None or event.run is None:
        return
    losses = ", ".join(f"{name} {value:.3f}" for name, value in event.losses.items())
    left = "" if event.seconds_left is None else f", {event.seconds_left:.0f} s left"
    share = event.run.shares[-1]
    print(
        f"  step {event.step} of {event.of} ({event.phase}): {losses}; expected {share:.1%}{left}", flush=True
    )


def say_training(at: Retraining) -> None:
    """A line at the beginning of every training."""
    if at.training.step == 1:
        print(f"  training {at.number} of {at.of}: {at.contender}, seed {at.seed}", flush=True)


def say_measured(done: int, of: int) -> None:
    """A line at every tenth network of the order curves."""
    if done % 10 == 0:
        print(f"  {done} of {of} networks", flush=True)


def searched(
    network: explorer.Network, graph: ChannelGraph, settings: dict[str, object], work: Path
) -> Recorded:
    """The run of these settings, searched now or already in `work`, where its supernet is too."""
    kept = read_recorded(network, graph, work)
    if kept is not None:
        print(f"  was searched before: {work}")
        return kept
    found = search(network, progress=say, checkpoint=work / "search.pt", **settings)
    write_recorded(work, Recorded(found.run), network.weights_key, found.network)
    return Recorded(found.run)


def like(comparison: Comparison) -> tuple[object, ...]:
    """Of two comparisons that are alike in this, only one is recorded."""
    return comparison.network, comparison.target, comparison.start, comparison.epochs


def with_comparison(recorded: Recorded, old: Recorded | None, new: Comparison, command: str) -> Recorded:
    """The run with its own comparison, and those that were added to it before: a line of command for each."""
    added = [] if old is None else list(zip(old.comparisons, old.command.splitlines(), strict=True))[1:]
    return _joined(recorded, [(new, command), *(each for each in added if like(each[0]) != like(new))])


def with_added(recorded: Recorded, new: Comparison, command: str) -> Recorded:
    """The run with a further comparison, in the place of the like if there is one."""
    pairs = list(zip(recorded.comparisons, recorded.command.splitlines(), strict=True))
    place = next((place for place, each in enumerate(pairs) if like(each[0]) == like(new)), len(pairs))
    pairs[place : place + 1] = [(new, command)]
    return _joined(recorded, pairs)


def _joined(recorded: Recorded, pairs: Sequence[tuple[Comparison, str]]) -> Recorded:
    comparisons, commands = zip(*pairs, strict=True)
    return replace(recorded, comparisons=comparisons, command="\n".join(commands))


def table(run: ChainRun, comparison: Comparison) -> str:
    """What a person wants to know of it."""
    training = run.training
    took = f"search {training.seconds:.0f} s, as much as {training.epochs:.1f} epochs of training the dense network"
    lines = [
        f"{comparison.network}, target {comparison.target:.0%} of MACs; {took}",
        f"{'':10}{'MACs':>8}{'shared':>9}{'retrained':>11}   seeds",
    ]
    for each in comparison.contenders:
        again = each.retrained
        spread = f" +- {100 * stdev(again):.2f}" if len(again) > 1 else ""
        seeds = " ".join(f"{100 * value:.2f}" for value in again)
        average = f"{fmean(again):.2%}" if again else ""
        lines.append(
            f"{each.name:10}{each.share:8.1%}{each.shared:9.2%}{average:>11}   {seeds}{spread}".rstrip()
        )
    named = {each.name: each for each in comparison.contenders}
    paired = paired_difference(named["dmcp"].retrained, named["uniform"].retrained)
    if paired is not None:
        between = f" ({100 * paired.low:+.2f} to {100 * paired.high:+.2f})" if paired.seeds > 1 else ""
        numbers = f"{100 * paired.difference:+.2f}{between}"
        lines.append(f"dmcp - uniform: {numbers} points, seeds {paired.seeds}: {paired.verdict}")
    for each in (named["dmcp"], named["uniform"]):
        widths = " ".join(f"{group}:{width}" for group, width in each.widths)
        lines.append(f"{each.name:10}{widths}")
    return "\n".join(lines)


def record(options: argparse.Namespace, settings: dict[str, object], command: str) -> None:
    """Search, measure, print and write; every part that was finished before is taken from the work folder."""
    network = _network(options.name, options.quick)
    graph = explorer.trace(network.model, network.example)
    into = options.add_comparison_to or (options.name if options.name in NETWORKS else None)
    other = _network(into, options.quick) if into not in (None, options.name) else network
    other_graph = explorer.trace(other.model, other.example)
    old = None if into is None else read_recorded(other, other_graph, options.folder)
    if options.add_comparison_to and old is None:
        raise SystemExit(f"{options.folder} has no recorded run of {into}: record that first.")
    asked = options.name, options.target, options.retrain_start, options.retrain_epochs
    if options.add_comparison_to and old is not None and like(old.comparisons[0]) == asked:
        raise SystemExit(
            "That is the recorded run's own comparison: record it again without --add-comparison-to."
        )
    work = options.work / f"{options.name}-{search_key(network, graph, 'dmcp', **settings)}"
    work.mkdir(parents=True, exist_ok=True)
    print(f"Search: {settings}", flush=True)
    recorded = searched(network, graph, settings, work)
    supernet = read_supernet(network, work)  # as it ships, rounded: what is measured is what others will see
    assert supernet is not None
    if not options.add_comparison_to and into and not recorded.order:
        print("Order curves", flush=True)
        order = order_curves(network, supernet, graph, network.data, progress=say_measured)
        recorded = replace(recorded, order=order)
        write_recorded(work, recorded, network.weights_key)
    print("Comparison", flush=True)
    comparison = compare(
        network, graph, recorded.run, supernet, range(options.seeds), options.retrain_epochs,
        options.retrain_start, progress=say_training, remembered=Remembered(work / "retrained.json"),
    )  # fmt: skip
    print("\n" + table(recorded.run, comparison))
    if into is None:
        print(
            "Nothing was written: --add-comparison-to names the recorded run that this comparison belongs to."
        )
        return
    old = read_recorded(other, other_graph, options.folder)  # again: hours may have passed
    if options.add_comparison_to:
        assert old is not None
        write_recorded(options.folder, with_added(old, comparison, command), other.weights_key)
    else:
        whole = with_comparison(recorded, old, comparison, command)
        write_recorded(options.folder, whole, network.weights_key, supernet)
    print(f"Written: {options.folder / into}.json")


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


def _setting(text: str) -> tuple[str, object]:
    """NAME=VALUE of a setting of the method, as the kind of number that it is."""
    name, _, value = text.partition("=")
    if name not in SETTINGS:
        raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(SETTINGS)}")
    kind = {"whole": int, "choice": str}.get(SETTINGS[name].kind, float)
    try:
        return name, kind(value)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{value!r} is no value of {name}") from None


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=[*NETWORKS, *unbalanced.WIDTHS])
    parser.add_argument("--target", type=float, default=0.4, help="share of the MACs (default: 0.4)")
    parser.add_argument("--set", type=_setting, action="append", default=[], metavar="NAME=VALUE", help=(
        f"another setting of the search: {', '.join(SETTINGS)}"
    ))  # fmt: skip
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each structure (default: 3)")
    parser.add_argument("--retrain-epochs", type=int, default=4, help="epochs of each (default: 4)")
    parser.add_argument("--retrain-start", choices=STARTS, default="scratch")
    parser.add_argument("--add-comparison-to", choices=list(NETWORKS), metavar="NETWORK", help=(
        "add the comparison to the recorded run of this network and write nothing else"
    ))  # fmt: skip
    parser.add_argument(
        "--work", type=Path, default=Path("checkpoints"), help="what is finished is kept here"
    )
    parser.add_argument("--folder", type=Path, help="of the recorded runs (default: the package's)")
    parser.add_argument("--quick", action="store_true", help="a trial: few images, one epoch, one seed")
    given = parser.parse_args(arguments)
    settings: dict[str, object] = {"target": given.target, **dict(given.set)}
    if given.name in unbalanced.WIDTHS:
        settings["start"] = "scratch"
    if given.quick:
        settings = {"warm_up": 0, "epochs": 1, "batch": 64, **settings}
        given.seeds = given.retrain_epochs = 1
    given.folder = given.folder or (given.work / "quick" if given.quick else RECORDED)
    try:
        record(given, settings, _command(given))
    except (KeyboardInterrupt, explorer.Interrupted):
        raise SystemExit("Interrupted: the same command goes on from where it was.") from None


def _command(given: argparse.Namespace) -> str:
    """The command that makes it again, wherever its files are kept."""
    words = ["python", "scripts/record_dmcp.py", given.name, "--target", f"{given.target:g}"]
    for name, value in given.set:
        words += ["--set", f"{name}={value}"]
    words += ["--seeds", f"{given.seeds}", "--retrain-epochs", f"{given.retrain_epochs}"]
    words += ["--retrain-start", given.retrain_start]
    if given.add_comparison_to:
        words += ["--add-comparison-to", given.add_comparison_to]
    return shlex.join(words + (["--quick"] if given.quick else []))


if __name__ == "__main__":
    main()
