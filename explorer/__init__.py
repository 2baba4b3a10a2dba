"""Channel pruning of CNNs: read a network, score its channels, cut it, recover it, measure it.

    import explorer

    net = explorer.load("resnet20")
    graph = explorer.trace(net.model, net.example)
    scores = explorer.score(net, graph, "taylor")
    plan = explorer.allocate(graph, scores, keep=0.5)
    small = explorer.recover(explorer.shrink(net.model, graph, plan), net.data, bn=True)
    print(explorer.cost(graph, plan), explorer.evaluate(small, net.data).accuracy)

The dashboard is `from explorer.app import Explorer`; importing this package loads no user-interface library.
"""

from explorer.allocate import allocate, plan_widths
from explorer.costs import cost
from explorer.criteria import score
from explorer.data import Data, Images
from explorer.errors import (
    BadInput,
    CannotTrace,
    ExplorerError,
    Interrupted,
    NotReachable,
    UnknownName,
)
from explorer.evaluate import evaluate, measure_latency, recover
from explorer.graph import trace
from explorer.surgery import live_weights, mask, prove, shrink
from explorer.values import (
    ChannelGraph,
    ChannelGroup,
    Cost,
    Estimate,
    Latency,
    Layer,
    Plan,
    Proof,
    Recovery,
    Scores,
    Slot,
    State,
)
from explorer.zoo import Network, load

__version__ = "0.1.0"

__all__ = [
    "BadInput",
    "CannotTrace",
    "ChannelGraph",
    "ChannelGroup",
    "Cost",
    "Data",
    "Estimate",
    "ExplorerError",
    "Images",
    "Interrupted",
    "Latency",
    "Layer",
    "Network",
    "NotReachable",
    "Plan",
    "Proof",
    "Recovery",
    "Scores",
    "Slot",
    "State",
    "UnknownName",
    "allocate",
    "cost",
    "evaluate",
    "live_weights",
    "load",
    "mask",
    "measure_latency",
    "plan_widths",
    "prove",
    "recover",
    "score",
    "shrink",
    "trace",
]
