"""Train a network's instance subnetworks, measure what each term does, and write the run that ships with the explorer.

    python scripts/record_manidp.py resnet20

One training for every line of WAYS, from the same weights, images, seed and schedule, and what it comes to on all
explore images; beside them the dense network trained for as long, and one pruned network for all images of the same
mean MACs (ranked by Taylor, cut globally), trained for as long too. It can be interrupted at any time: what is
finished is kept in --work, and the same command goes on from there.
"""

import argparse
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import explorer
from explorer.allocate import allocate
from explorer.dynamic.evaluating import instances, rows_for
from explorer.dynamic.network import Dynamic
from explorer.evaluate.recovery import train
from explorer.instances import InstanceRun, RecordedInstances, Rival
from explorer.methods import METHODS, search
from explorer.methods.instance_recording import (
    as_stored,
    effect_of,
    read_recorded_dynamic,
    read_recorded_instances,
    write_recorded_instances,
)
from explorer.methods.retraining import accuracy_of
from explorer.methods.road import Event
from explorer.surgery import shrink
from explorer.values import ChannelGraph
from explorer.zoo import Network

RECORDED = Path(__file__).parents[1] / "explorer" / "methods" / "recorded"
WAYS: Mapping[str, tuple[str, Mapping[str, object]]] = {
    "whole": ("manidp", {}),
    "no_similarity": ("manidp", {"similarity": 0.0}),
    "strong_similarity": ("manidp", {"similarity": 0.3}),
    "no_sparsity": ("manidp", {"sparsity": 0.0}),
    "uniform": ("manidp", {"weight": "uniform"}),
    "strong_sparsity": ("manidp", {"sparsity": 0.2}),
    "strong_uniform": ("manidp", {"sparsity": 0.2, "weight": "uniform"}),
    "fbs": ("fbs", {}),
}
RATE = 0.05  # the peak of all trainings
QUICK = 512  # training images of a trial


def say(event: Event) -> None:
    """A line at the end of every epoch."""
    if event.snapshot is None:
        return
    losses = ", ".join(f"{name} {value:.3f}" for name, value in event.losses.items())
    left = "" if event.seconds_left is None else f", {event.seconds_left:.0f} s left"
    print(f"  step {event.step} of {event.of}: {losses}{left}", flush=True)


def made(
    network: Network, graph: ChannelGraph, name: str, work: Path, epochs: int, seed: int, command: str
) -> RecordedInstances:
    """One way of training and what it came to: measured now, or read where it was before."""
    if (known := read_recorded_instances(network, graph, work / name)) is None:
        print(name, flush=True)
        method, settings = WAYS[name]
        found = search(network, method, say, work / f"{name}.snapshot", epochs=epochs, seed=seed, **settings)
        assert isinstance(found.network, Dynamic)
        assert isinstance(found.run, InstanceRun)
        assert network.data is not None
        dynamic, explore = as_stored(found.network), network.data.explore
        *_, (_estimate, seen) = instances(dynamic, explore, rows_for(dynamic, explore))
        assert seen is not None
        effect = effect_of(name, seen, found.run.settings, seed, command)
        known = RecordedInstances(found.run, (effect,), (), command)
        write_recorded_instances(work / name, known, network.weights_key, dynamic)
    effect = known.effects[0]
    easy, hard = effect.by_quintile
    print(
        f"{name}: {effect.mean_share:.1%} of the MACs ({effect.macs.min():.1%} to {effect.macs.max():.1%}), "
        f"{effect.accuracy:.2%} right, MACs and loss {effect.correlation:.3f}, easy {easy:.1%}, hard {hard:.1%}, "
        f"similarities agree {effect.agreement:.3f}, apart {effect.apart:.3f}, {known.run.training.seconds:.0f} s",
        flush=True,
    )
    return known


def rivals(network: Network, graph: ChannelGraph, share: float, epochs: int, seed: int) -> tuple[Rival, ...]:
    """The dense network, the same trained for longer, and one pruned network for all images."""
    data = network.data
    assert data is not None
    assert data.train is not None
    explore, count = data.explore, len(data.explore)
    dense = explorer.cost(graph).macs
    found = [Rival("dense", 1.0, accuracy_of(network.model, explore), count)]
    scores = explorer.score(network, graph, "taylor")
    plan = allocate(graph, scores, share)
    for name, start in (("longer", network.model), ("static", shrink(network.model, graph, plan))):
        copied = explorer.recover(start, data, bn=name == "static")
        for _step in train(copied, data.train, epochs, seed, peak_rate=RATE):
            pass
        macs = dense if name == "longer" else explorer.cost(graph, plan).macs
        found.append(Rival(name, macs / dense, accuracy_of(copied, explore), count))
        print(found[-1], flush=True)
    return tuple(found)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("network", help="a bundled network, such as resnet20")
    parser.add_argument("--work", type=Path, default=Path("recording"), help="folder for what is finished")
    parser.add_argument("--to", type=Path, default=RECORDED, help="folder of the recorded run")
    parser.add_argument("--epochs", type=int, default=METHODS["manidp"].settings().epochs)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=list(WAYS), default=list(WAYS), help="ways of training")
    parser.add_argument("--quick", action="store_true", help="a trial: few images, one epoch")
    chosen = parser.parse_args()
    network = explorer.load(chosen.network)
    graph = explorer.trace(network.model, network.example)
    data = network.data
    assert data is not None
    assert data.train is not None
    epochs = chosen.epochs
    if chosen.quick:
        epochs = 1
        few = replace(data, train=data.train.subset(QUICK), explore=data.explore.subset(100))
        network = replace(network, data=few)
    chosen.work.mkdir(parents=True, exist_ok=True)
    found = {}
    for name in chosen.only:
        command = f"python scripts/record_manidp.py {chosen.network} --seed {chosen.seed} --only {name}"
        found[name] = made(network, graph, name, chosen.work, epochs, chosen.seed, command)
    if "whole" not in found:
        return
    whole = found["whole"]
    dynamic = read_recorded_dynamic(network, graph, chosen.work / "whole")
    assert dynamic is not None
    beside = rivals(network, graph, whole.effects[0].mean_share, epochs, chosen.seed)
    effects = tuple(each.effects[0] for each in found.values())
    command = f"python scripts/record_manidp.py {chosen.network} --seed {chosen.seed}"
    recorded = RecordedInstances(whole.run, effects, beside, command)
    write_recorded_instances(chosen.to, recorded, network.weights_key, dynamic)


if __name__ == "__main__":
    main()
