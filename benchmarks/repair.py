"""What repairs without training give, on the bundled networks: accuracy by budget, criterion and repair.

    python benchmarks/repair.py [--networks resnet20,vgg] [--budgets 0.5,0.35] [--epochs] [--seeds 3]

Every line is one plan: accuracy in % of 2,000 explore images after nothing, BN re-estimated, merge + BN, the instant
refit, instant + BN, and the sequential refit, in brackets (refits only) that of 2,000 final images; with --epochs also
BN and one epoch of training. The last columns are seconds of the instant refit of a plan (solves only) and of the
sequential one. "random at L1's widths" draws which channels stay, --seeds times. At the end the ratio of the time to
first estimate with the refit to that without, and of a refit to an epoch of training.
"""

import argparse
import statistics
import time

import torch

import explorer
from explorer.evaluate.live import LiveEvaluation
from explorer.repair import apply, gather
from explorer.values import Recovery

REPAIRS = ("none", "bn", "merge+bn", "refit", "refit+bn", "refit_sequential")
WAYS = (
    ("l1", "global"), ("l1", "error"), ("taylor", "global"), ("taylor", "error"), ("mean_activation", "global"),
    ("fpgm", "global"), ("obs", "global"), ("obs", "uniform"),
)  # fmt: skip


def plans(network, graph, budget, seeds, known):
    """(name, plan) of every way of choosing widths and channels, and of channels drawn at the first one's widths."""
    for criterion, allocation in WAYS:
        key = criterion, allocation == "error"
        if key not in known:
            known[key] = explorer.score(network, graph, criterion, errors=key[1])
        yield f"{criterion}, {allocation}", explorer.allocate(graph, known[key], budget, "macs", allocation)
    widths = explorer.allocate(graph, known["l1", False], budget, "macs").widths
    for seed in range(seeds):
        drawn = explorer.score(network.model, graph, "random", seed=seed)
        yield f"random {seed} at L1's widths", explorer.plan_widths(graph, drawn, widths)


def accuracy(model, images):
    return 100 * explorer.evaluate(model, images).accuracy


def timed(work, *given, **named):
    start = time.perf_counter()
    result = work(*given, **named)
    return result, time.perf_counter() - start


def measure(name, budgets, seeds, with_epochs):
    network = explorer.load(name)
    graph, data = explorer.trace(network.model, network.example), network.data
    observed, seconds = timed(gather, network.model, graph, data.train)
    dense = accuracy(network.model, data.explore), accuracy(network.model, data.final)
    print(
        f"\n{name}: dense {dense[0]:.2f} ({dense[1]:.2f}); moments of 400 images in {seconds:.2f} s",
        flush=True,
    )
    known, solves, epochs = {}, [], []
    for budget in budgets:
        for way, plan in plans(network, graph, budget, seeds, known):
            found, times = [], {}
            for code in REPAIRS:
                recovery = Recovery.parse(code)
                model = explorer.shrink(network.model, graph, plan)
                _, times[code] = timed(
                    apply, network.model, model, graph, plan, recovery.repair, observed, data.train
                )
                model = explorer.recover(model, data, bn=recovery.bn)
                found.append(
                    f"{code} {accuracy(model, data.explore):.1f} ({accuracy(model, data.final):.1f})"
                )
            if with_epochs and not way.startswith("random"):
                small = explorer.shrink(network.model, graph, plan)
                model, spent = timed(explorer.recover, small, data, bn=True, epochs=1)
                epochs.append(spent)
                found.append(f"epoch {accuracy(model, data.explore):.1f} ({accuracy(model, data.final):.1f})")
            solves.append(times["refit"])
            took = f"{times['refit']:.2f} s, {times['refit_sequential']:.2f} s"
            print(f"{name} {100 * budget:.0f} % {way}: {' · '.join(found)} · {took}", flush=True)
    print(f"{name}: median refit of a plan {statistics.median(solves):.3f} s", end="")
    print(f", {statistics.median(solves) / statistics.median(epochs):.4f} of an epoch" if epochs else "")
    first_estimates(network, graph, known["l1", False])


def first_estimates(network, graph, scores):
    """Time from a plan to its first estimate with the refit, as a ratio to that with BN alone, alternating."""
    live = LiveEvaluation(network, graph, network.data)
    live.observed()
    spent = {"bn": [], "refit+bn": []}
    for keep in [0.9 - 0.01 * step for step in range(40)]:
        plan = explorer.allocate(graph, scores, keep, "macs")
        for code, times in spent.items():
            estimates = live.estimates(plan, Recovery.parse(code))
            times.append(timed(next, estimates)[1])
    ratios = [refit / bn for bn, refit in zip(*spent.values(), strict=True)]
    print(
        f"{network.name}: move to first estimate, refit / without: {statistics.median(ratios):.2f}",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--networks", default="resnet20,vgg,inception,mobilenetv2")
    parser.add_argument("--budgets", default="0.8,0.5,0.35,0.2")
    parser.add_argument("--epochs", action="store_true", help="also train every plan for an epoch")
    parser.add_argument("--seeds", type=int, default=3)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    for name in asked.networks.split(","):
        measure(name, [float(each) for each in asked.budgets.split(",")], asked.seeds, asked.epochs)


if __name__ == "__main__":
    main()
