"""How much faster is evaluation when the network is smaller?

    python benchmarks/evaluation_by_width.py [--network resnet20] [--rounds 7] [--threads 1]

Counts the correct explore images with the dense and with shrunk networks, both with batch norm folded, as the
explorer does. The networks alternate in one process, so that other load hits all of them; the ratio is the
median over rounds of the ratio within a round. The time of the first estimate is that of the first batch.
"""

import argparse
import time
from statistics import median

import torch
from torch import nn

import explorer
from explorer.data import Images
from explorer.evaluate import Judge, LiveEvaluation, fold

KEEPS = (1.0, 0.75, 0.5, 0.25)


def seconds(model: nn.Module, images: Images) -> tuple[float, float]:
    """Until the first estimate, and until the last."""
    started = time.perf_counter()
    estimates = Judge(images).judge(model, "")
    next(estimates)
    first = time.perf_counter() - started
    for _ in estimates:
        pass
    return first, time.perf_counter() - started


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", default="resnet20")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    network = explorer.load(options.network)
    graph = explorer.trace(network.model, network.example)
    scores = explorer.score(network, graph, "taylor")
    plans = {keep: explorer.allocate(graph, scores, keep=keep) for keep in KEEPS}
    models = {
        keep: fold(explorer.shrink(network.model, graph, plan), graph.folds) for keep, plan in plans.items()
    }
    assert network.data is not None
    images = network.data.explore
    for model in models.values():
        next(Judge(images).judge(model, ""))  # warm up
    rounds = [{keep: seconds(model, images) for keep, model in models.items()} for _ in range(options.rounds)]
    print(
        f"{options.network}, {len(images)} explore images, {options.threads} threads, {options.rounds} rounds"
    )
    print("keep   MACs  first estimate  all images  dense / shrunk")
    dense = explorer.cost(graph).macs
    for keep, plan in plans.items():
        macs = explorer.cost(graph, plan).macs / dense
        first, last = (median(r[keep][i] for r in rounds) for i in (0, 1))
        ratio = median(r[1.0][1] / r[keep][1] for r in rounds)
        print(f"{keep:4.2f}  {macs:5.1%}  {first * 1000:11.0f} ms  {last:8.2f} s  {ratio:14.2f}")

    live = LiveEvaluation(network, graph, network.data)
    for code in ("none", "bn"):
        started = time.perf_counter()
        next(live.estimates(plans[0.5], explorer.Recovery.parse(code)))
        print(f"plan to first estimate, keep 0.5, recovery {code}: {time.perf_counter() - started:.2f} s")


if __name__ == "__main__":
    main()
