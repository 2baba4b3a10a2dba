"""Accuracy of every criterion at half of the MACs, for each recovery: a table in Markdown.

    python benchmarks/criteria_at_half.py [network] [keep]

Explore images, seed 0, global ranking. Random is one draw of many: try other seeds before comparing.
"""

import sys
from collections.abc import Sequence

import explorer
from explorer.criteria import CRITERIA


def main(arguments: Sequence[str]) -> None:
    name = arguments[0] if arguments else "resnet20"
    keep = float(arguments[1]) if len(arguments) > 1 else 0.5
    network = explorer.load(name)
    graph = explorer.trace(network.model, network.example)
    dense = explorer.evaluate(network)
    print(f"{name}: {dense.accuracy:.1%} dense, keep {keep:.0%} of the MACs, {dense.of:,} explore images\n")
    print("| criterion | parameters kept | no recovery | re-estimated BN | trained 1 epoch |")
    print("|---|---|---|---|---|")
    for criterion in CRITERIA:
        plan = explorer.allocate(graph, explorer.score(network, graph, criterion), keep=keep)
        cut = explorer.shrink(network.model, graph, plan)
        accuracies = [explorer.evaluate(cut, network.data).accuracy]
        for epochs in (0, 1):
            recovered = explorer.recover(cut, network.data, bn=True, epochs=epochs)
            accuracies.append(explorer.evaluate(recovered, network.data).accuracy)
        params = explorer.cost(graph, plan).params / explorer.cost(graph).params
        row = " | ".join(f"{accuracy:.1%}" for accuracy in accuracies)
        print(f"| {criterion} | {params:.0%} | {row} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
