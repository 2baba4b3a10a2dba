"""What does it take to evaluate instance subnetworks, beside the dense network?

    python -m benchmarks.masked_evaluation [--network resnet20] [--rounds 5] [--threads 1]

Evaluates the explore images with the dense network, batch norm folded, and with the dynamic one, which computes all
channels and zeroes what each image drops, and notes what it kept and why. They take turns in one process; the ratio is
the median over rounds of the ratio within a round. Then the time to re-threshold the saliencies that are known, which
is what a slider waits for.
"""

import argparse
import time
from collections.abc import Callable
from statistics import median

import numpy as np
import torch

import explorer
from explorer.dynamic.evaluating import instances, rows_for, tried
from explorer.dynamic.network import most_active
from explorer.evaluate import Judge, fold
from explorer.instances import Instances

GOAL = 100  # milliseconds, to re-threshold


def seconds(work: Callable[[], object]) -> float:
    """Of one call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def main() -> None:
    """Print the times and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", default="resnet20")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    network = explorer.load(options.network)
    graph = explorer.trace(network.model, network.example)
    assert network.data is not None
    images = network.data.explore
    dynamic = most_active(network, graph)
    folded = fold(network.model, graph.folds)
    rows = rows_for(dynamic, images)

    def masked() -> Instances:
        found = [each for _estimate, each in instances(dynamic, images, rows) if each is not None]
        return found[-1]

    def dense() -> None:
        for _estimate in Judge(images).judge(folded, ""):
            pass

    found = masked()  # also warms up, as does the next line
    dense()
    ours, theirs = [], []
    for each in range(options.rounds):
        took = {work: seconds(work) for work in ((dense, masked) if each % 2 else (masked, dense))}
        ours.append(took[masked] / len(rows))
        theirs.append(took[dense] / len(images))
    ratio = median(one / other for one, other in zip(ours, theirs, strict=True))
    print(f"{options.network}, {options.threads} threads, {options.rounds} rounds")
    print(f"dense, folded   {median(theirs) * 1e3:7.3f} ms an image   ({len(images)} images)")
    print(f"masked          {median(ours) * 1e3:7.3f} ms an image   ({len(rows)} images)")
    print(f"masked / dense  {ratio:7.2f}")
    levels = np.linspace(0.1, 1.0, 10)
    again = [seconds(lambda level=level: tried(found, dynamic, float(level))) * 1e3 for level in levels]
    print(
        f"re-threshold    {median(again):7.1f} ms, at most {max(again):.1f} "
        f"({len(rows)} images, {found.sites.channels} channels; goal below {GOAL})"
    )


if __name__ == "__main__":
    main()
