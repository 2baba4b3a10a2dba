"""Accuracy of every criterion at half of the MACs, for each recovery: a table in Markdown.

    python benchmarks/criteria_at_half.py [network] [keep]

Explore images, seed 0, global ranking. Below them *random at these widths*: SEEDS draws of channels at the widths of
some rankings, mean and range with re-estimated BN. The best of these rows is chosen on the images that it is told for.
"""

import sys
from collections.abc import Sequence
from statistics import mean

import explorer
from explorer.criteria import CRITERIA

SEEDS = 6


def main(arguments: Sequence[str]) -> None:
    name = arguments[0] if arguments else "resnet20"
    keep = float(arguments[1]) if len(arguments) > 1 else 0.5
    network = explorer.load(name)
    graph = explorer.trace(network.model, network.example)
    dense = explorer.evaluate(network)
    print(f"{name}: {dense.accuracy:.1%} dense, keep {keep:.0%} of the MACs, {dense.of:,} explore images\n")
    print("| criterion | parameters kept | no recovery | re-estimated BN | trained 1 epoch |")
    print("|---|---|---|---|---|")
    widths = {}
    for criterion in CRITERIA:
        plan = explorer.allocate(graph, explorer.score(network, graph, criterion), keep=keep)
        widths[criterion] = plan.widths
        cut = explorer.shrink(network.model, graph, plan)
        accuracies = [explorer.evaluate(cut, network.data).accuracy]
        for epochs in (0, 1):
            recovered = explorer.recover(cut, network.data, bn=True, epochs=epochs)
            accuracies.append(explorer.evaluate(recovered, network.data).accuracy)
        params = explorer.cost(graph, plan).params / explorer.cost(graph).params
        row = " | ".join(f"{accuracy:.1%}" for accuracy in accuracies)
        print(f"| {criterion} | {params:.0%} | {row} |", flush=True)
    for criterion in ("l1", "taylor", "obs"):
        found = []
        for seed in range(SEEDS):
            drawn = explorer.score(network, graph, "random", seed=seed)
            plan = explorer.plan_widths(graph, drawn, widths[criterion])
            cut = explorer.shrink(network.model, graph, plan)
            found.append(explorer.evaluate(explorer.recover(cut, network.data), network.data).accuracy)
        spread = f"{mean(found):.1%} ({min(found):.1%} to {max(found):.1%})"
        print(f"| random at the widths of {criterion}, {SEEDS} seeds | | | {spread} | |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
