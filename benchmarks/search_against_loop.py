"""What a step of `explorer.search` takes beside the same step written by hand for one network in plain torch, and
whether memory grows: python -m benchmarks.search_against_loop [--rounds 60] [--epochs 12] [--threads 1]

The hand-written loop slices each weight with two numbers and multiplies gates in after each batch norm. Both do the
joint phase of DMCP: forwards and backwards of the full, the smallest and two drawn networks on one batch, a step of
SGD, then a forward and backward of the full network behind gates, and a step of Adam. They take turns in one process,
on the same images and widths, and with rates so small that their weights stay together. That both come to the same
losses and gradients is what `tests/methods/test_by_hand.py` checks.
"""

import argparse
import gc
import resource
import time
import tracemalloc
from collections.abc import Callable
from statistics import median

import numpy as np
import torch

import explorer
from explorer.methods import events
from explorer.methods.loop import FRAMES
from explorer.records import TrainingCost
from tests.methods.by_hand import Beside, network_of

BATCH, PER_EPOCH = 128, 16
GOAL = 1.15


def compare(rounds: int) -> None:
    beside = Beside(PER_EPOCH * BATCH, BATCH)
    run = beside.run
    ratios, ours, theirs = [], [], []
    for each in range(-3, rounds):  # the first three are not timed
        number = max(0, each) * run.of // rounds
        search, by_hand = beside.calls(number)
        order = (search, by_hand) if each % 2 else (by_hand, search)
        seconds = {work: timed(work) for work in order}
        if each >= 0:
            ours.append(seconds[search])
            theirs.append(seconds[by_hand])
            ratios.append(ours[-1] / theirs[-1])
    print(f"step of explorer.search {median(ours) * 1e3:7.1f} ms   (n = {rounds}, batch {BATCH})")
    print(f"the same by hand        {median(theirs) * 1e3:7.1f} ms")
    quarters = np.quantile(ratios, [0.25, 0.75])
    print(
        f"ratio, median           {median(ratios):7.2f}      (quartiles {quarters[0]:.2f} to {quarters[1]:.2f}, "
        f"goal at most {GOAL})"
    )

    frame = median(timed(lambda: run.look(0, {}, TrainingCost())) for _ in range(10))
    snapshot = median(timed(run.content) for _ in range(10))
    each_step = frame / max(1, run.of // FRAMES) + snapshot / PER_EPOCH
    print(
        f"a frame {frame * 1e3:.1f} ms, a snapshot {snapshot * 1e3:.1f} ms: {each_step / median(ours):.1%} of a step "
        f"where an epoch has {PER_EPOCH}"
    )


def timed(work: Callable[[], object]) -> float:
    """Seconds of one call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def watch_memory(epochs: int) -> None:
    network = network_of(8 * BATCH)
    graph = explorer.trace(network.model, network.example)
    print("\nepoch  Python's memory  peak of the process")
    tracemalloc.start()
    for event in events(network, graph, warm_up=1, epochs=epochs - 1):
        if event.step and not event.step % (event.of // epochs) and event.found is None:
            gc.collect()
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            epoch = event.step * epochs // event.of
            print(f"{epoch:5}  {tracemalloc.get_traced_memory()[0] / 2**20:11.2f} MB  {peak:16.1f} MB")
    tracemalloc.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    compare(options.rounds)
    watch_memory(options.epochs)


if __name__ == "__main__":
    main()
