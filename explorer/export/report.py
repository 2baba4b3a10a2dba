"""What is known of a cut, dense against now: the values that tables, the widths file and the script state."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from explorer.costs import cost
from explorer.evaluate import evaluate, measure_latency
from explorer.values import ChannelGraph, Cost, Estimate, Latency, Plan, Proof, Request
from explorer.zoo import Network

BATCHES = (1, 64)
MEASURES = {
    "accuracy": "share of images whose top-1 class is the label, with its 95 % (Wilson) interval",
    "agreement": "share of images, which have no labels, whose top-1 class is the dense network's, with its 95 % "
    "(Wilson) interval; the dense network agrees with itself by definition",
    "R2": "1 - squared error of the outputs / variance of the targets, about the mean of every output; a mean over "
    "images, "
    "with its 95 % interval",
    "1 - relative error": "1 - squared distance of the outputs from the dense network's / their variance, about the "
    "mean "
    "of every output over the first images; a mean over images, which have no targets, with its 95 % interval",
    "labels right": "share of the labels that are decided rightly; a mean over images, with its 95 % interval",
    "pixel accuracy": "share of the pixels whose most probable class is the right one; a mean over images, with its "
    "95 % "
    "interval",
    "mean IoU": "intersection over union of said and right pixels, a mean over the classes of an image and then over "
    "images, with its 95 % interval",
    "score": "the user's own score, a mean over images, with its 95 % interval",
}
"""What estimates count, by `Estimate.measure`."""
DEFINITIONS = {
    "divergence": "mean over the images of KL(dense || now), from the dense network's class probabilities (softmax of "
    "the logits) to those of the network now, in nats",
    "macs": "multiply-adds of convolutions, linear layers and matrix products for one image, padding taps "
    "counted; bias, batch norm, activations and pooling are not",
    "params": "elements of the parameters, tied ones once",
    "file_bytes": "size of the weights as a safetensors file",
    "peak_bytes": "largest sum of float32 activations alive at once, batch 1, weights excluded",
    "latency": "seconds per batch on this machine: median and quartiles; batch norm not folded",
}


@dataclass(frozen=True)
class Measured:
    """One network's numbers; None where there are no images of that split, empty where nothing was timed."""

    explore: Estimate | None
    final: Estimate | None
    cost: Cost
    latencies: tuple[Latency, ...]


@dataclass(frozen=True)
class Report:
    """What was asked for, and the dense network's and the shrunk and recovered one's numbers.

    The proof is of the cut before recovery.
    """

    request: Request
    dense: Measured
    now: Measured
    proof: Proof


def make_report(
    network: Network,
    graph: ChannelGraph,
    plan: Plan,
    model: nn.Module,
    request: Request,
    proof: Proof,
    batches: Sequence[int] = BATCHES,
    final: bool = True,
) -> Report:
    """Evaluate the dense network and `model`, what the plan and recovery made of it, and time both.

    Explore images and, if `final`, final ones, where the network has them; latency for every batch size of
    `batches`. Whoever chose the plan by looking at accuracies passes `final=False`: final images are for an
    explicit check. Raises what evaluate and measure_latency raise.
    """
    models, data = (network.model, model), network.data
    explore = [None if data is None else evaluate(each, data, "explore", network) for each in models]
    looks = final and data is not None and data.final is not None
    last = [evaluate(each, data, "final", network) if looks else None for each in models]
    # One batch size after the other, so that what else the machine does falls on both networks alike.
    timed = [[measure_latency(each, network.example, batch) for each in models] for batch in batches]
    costs = (cost(graph), cost(graph, plan))
    dense, now = (Measured(explore[i], last[i], costs[i], tuple(pair[i] for pair in timed)) for i in range(2))
    return Report(request, dense, now, proof)
