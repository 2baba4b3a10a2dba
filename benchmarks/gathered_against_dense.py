"""Does an image run faster when only its own channels are computed?

    python -m benchmarks.gathered_against_dense [--runs 30] [--threads 1] [--width 128]

Runs each image's subnetwork for real (`explorer.dynamic.gathering`) beside the dense network, both with batch norm
folded, and beside the dynamic network that computes everything and zeroes what it dropped. They take turns in one
process; ratios are of medians, "dense / gathered" above 1 is a gain. The bundled network keeps each image's most active
channels, a choice that is given (it is only known after the dense pass); the wide network, with random weights, has
ManiDP's saliency modules, whose time counts. "again" is gathered with the weights sliced already.
"""

import argparse
import time
from collections.abc import Sequence
from statistics import median

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import explorer
from explorer.dynamic.counting import macs
from explorer.dynamic.gathering import Gathered, grouped, timed
from explorer.dynamic.heads import SaliencyModule
from explorer.dynamic.network import Dynamic, Passed, most_active
from explorer.dynamic.sites import find_sites
from explorer.evaluate import fold
from explorer.values import Bools

KEEPS = (1.0, 0.75, 0.5, 0.25)
IMAGES, BATCH = 64, 8


class Block(nn.Module):
    """Two 3 x 3 convolutions on a residual branch."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.norm1(self.conv1(x)))
        return torch.relu(x + self.norm2(self.conv2(y)))


def wide(width: int) -> Dynamic:
    """Three blocks at 28 x 28, and saliency modules that differ from image to image; all weights are random."""
    torch.manual_seed(0)
    stem = nn.Sequential(nn.Conv2d(1, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
    blocks = [Block(width) for _ in range(3)]
    model = nn.Sequential(stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10)).eval()
    example = torch.zeros(1, 1, 28, 28)
    graph = explorer.trace(model, example)
    sites = find_sites(model, graph, example, normed=True)
    heads = [SaliencyModule(width, width) for _ in sites.every]
    for head in heads:
        nn.init.normal_(head.excite.weight, std=0.1)
    return Dynamic("wide", model, graph, sites, "manidp", heads).eval()


def batch_of_one(dynamic: Dynamic, inputs: Tensor, runs: int) -> None:
    """Print one line for every share that is kept."""
    print("keep   MACs     dense    masked  gathered     again  dense / gathered  dense / again  verdict")
    for keep in KEEPS:
        found = timed(dynamic, inputs[:1], keep, runs)
        ways = (found.dense, found.masked, found.gathered, found.again)
        times = " ".join(f"{way.median * 1e3:6.2f} ms" for way in ways)
        print(
            f"{keep:4.2f} {found.share:6.1%} {times} {found.dense.median / found.gathered.median:17.2f} "
            f"{found.dense.median / found.again.median:14.2f}  {found.verdict}"
        )


def batches(dynamic: Dynamic, inputs: Tensor, rounds: int) -> None:
    """Print what batches cost whose images keep like channels: a batch computes what any of its images keeps."""
    full = explorer.cost(dynamic.graph).macs
    dense = fold(dynamic.model, dynamic.graph.folds)
    print(f"\n{len(inputs)} images in batches of {BATCH}")
    print("keep  own MACs  in order: MACs  dense / gathered  grouped: MACs  dense / gathered")
    for keep in KEEPS:
        gathered = Gathered(dynamic, keep)
        with torch.inference_mode():
            passed = dynamic.passed(inputs, keep)
        kept = passed.keep.numpy()
        line = f"{keep:4.2f} {counted(dynamic, kept).mean() / full:9.1%}"
        in_order = np.array_split(np.arange(len(inputs)), len(inputs) // BATCH)
        for parts in (in_order, grouped(kept, BATCH)):
            unions = counted(dynamic, np.stack([kept[part].any(0) for part in parts]))
            share = np.average(unions, weights=[len(part) for part in parts]) / full
            given = [(inputs[part], None if len(dynamic.heads) else only(passed, part)) for part in parts]
            line += f" {share:15.1%} {ratio(dense, gathered, given, rounds):17.2f}"
        print(line)


def counted(dynamic: Dynamic, keep: Bools) -> NDArray[np.int64]:
    """Multiply-adds of every row."""
    return macs(dynamic.graph, dynamic.sites, keep, dynamic.module_macs)


def only(passed: Passed, part: NDArray[np.int64]) -> Passed:
    """Some of the images."""
    return Passed(*(table[torch.from_numpy(part)] for table in passed))


def ratio(
    dense: nn.Module, gathered: Gathered, given: Sequence[tuple[Tensor, Passed | None]], rounds: int
) -> float:
    """Time of all batches with the dense network over that with the gathered one: the median over rounds."""

    def theirs() -> None:
        with torch.inference_mode():
            for inputs, _ in given:
                dense(inputs)

    def ours() -> None:
        for inputs, chosen in given:
            gathered.run(inputs, chosen)

    ratios = []
    for each in range(-1, rounds):  # the first is not counted
        took = {}
        for work in (ours, theirs) if each % 2 else (theirs, ours):
            started = time.perf_counter()
            work()
            took[work] = time.perf_counter() - started
        if each >= 0:
            ratios.append(took[theirs] / took[ours])
    return median(ratios)


def main() -> None:
    """Print both tables for both networks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", default="resnet20")
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    network = explorer.load(options.network)
    assert network.data is not None
    inputs = network.data.explore.inputs(torch.arange(IMAGES))
    dynamic = most_active(network, explorer.trace(network.model, network.example))
    print(f"{options.network}, most active channels, batch 1, {options.threads} threads")
    batch_of_one(dynamic, inputs, options.runs)
    batches(dynamic, inputs, options.rounds)
    dynamic = wide(options.width)
    with torch.inference_mode():
        dynamic.calibrate(dynamic.passed(inputs).saliency)
    print(f"\n{options.width} channels at 28 x 28, ManiDP's modules with random weights, batch 1")
    batch_of_one(dynamic, inputs, options.runs)
    batches(dynamic, inputs, options.rounds)


if __name__ == "__main__":
    main()
