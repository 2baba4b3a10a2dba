"""Channel pruning of CNNs: read a network, score its channels, cut it, recover it, measure it.

    import explorer

    net = explorer.load("resnet20")
    graph = explorer.trace(net.model, net.example)
    scores = explorer.score(net, graph, "l1")
    plan = explorer.allocate(graph, scores, keep=0.5)
    small = explorer.recover(explorer.shrink(net.model, graph, plan), net.data, bn=True)
    print(explorer.cost(graph, plan), explorer.evaluate(small, net.data).accuracy)

The dashboard is `from explorer.app import Explorer`. Importing this package loads neither torch nor a user-interface
library: names are looked up at their first use.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

from explorer.interrupts import held_interrupts

if TYPE_CHECKING:
    from explorer.allocate import allocate, plan_widths
    from explorer.chains import Chain, ChainRun
    from explorer.costs import cost
    from explorer.coverage import coverage
    from explorer.criteria import score
    from explorer.data import Data, Images
    from explorer.dynamic.evaluating import subnetworks
    from explorer.dynamic.gathering import Gathered
    from explorer.dynamic.network import Dynamic, most_active
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
    from explorer.graph.checks import removable
    from explorer.instances import Instances
    from explorer.methods import search
    from explorer.methods.loop import Found
    from explorer.records import Coverage
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
    "Chain",
    "ChainRun",
    "ChannelGraph",
    "ChannelGroup",
    "Cost",
    "Coverage",
    "Data",
    "Dynamic",
    "Estimate",
    "ExplorerError",
    "Found",
    "Gathered",
    "Images",
    "Instances",
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
    "coverage",
    "evaluate",
    "live_weights",
    "load",
    "mask",
    "measure_latency",
    "most_active",
    "plan_widths",
    "prove",
    "recover",
    "removable",
    "repair",
    "score",
    "search",
    "shrink",
    "subnetworks",
    "trace",
]

_MODULES = {
    "BadInput": "explorer.errors",
    "CannotTrace": "explorer.errors",
    "Chain": "explorer.chains",
    "ChainRun": "explorer.chains",
    "ChannelGraph": "explorer.values",
    "ChannelGroup": "explorer.values",
    "Cost": "explorer.values",
    "Coverage": "explorer.records",
    "Data": "explorer.data",
    "Dynamic": "explorer.dynamic.network",
    "Estimate": "explorer.values",
    "ExplorerError": "explorer.errors",
    "Found": "explorer.methods.road",
    "Gathered": "explorer.dynamic.gathering",
    "Images": "explorer.data",
    "Instances": "explorer.instances",
    "Interrupted": "explorer.errors",
    "Latency": "explorer.values",
    "Layer": "explorer.values",
    "Network": "explorer.zoo",
    "NotReachable": "explorer.errors",
    "Plan": "explorer.values",
    "Proof": "explorer.values",
    "Recovery": "explorer.values",
    "Scores": "explorer.values",
    "Slot": "explorer.values",
    "State": "explorer.values",
    "UnknownName": "explorer.errors",
    "allocate": "explorer.allocate",
    "cost": "explorer.costs",
    "coverage": "explorer.coverage",
    "evaluate": "explorer.evaluate",
    "live_weights": "explorer.surgery",
    "load": "explorer.zoo",
    "mask": "explorer.surgery",
    "measure_latency": "explorer.evaluate",
    "most_active": "explorer.dynamic.network",
    "plan_widths": "explorer.allocate",
    "prove": "explorer.surgery",
    "recover": "explorer.evaluate",
    "removable": "explorer.graph.checks",
    "repair": "explorer.repair",
    "score": "explorer.criteria",
    "search": "explorer.methods",
    "shrink": "explorer.surgery",
    "subnetworks": "explorer.dynamic.evaluating",
    "trace": "explorer.graph",
}


class _Package(ModuleType):
    """Names of the table stay what the table says: importing `explorer.allocate`, the module, would put the
    module in place of the function of that name.
    """

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _MODULES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with held_interrupts():
        value = getattr(import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})


sys.modules[__name__].__class__ = _Package
