"""What a network answers after a cut: accuracy, recovery of the weights, latency, the live road to them."""

from explorer.evaluate.estimates import Judge, evaluate
from explorer.evaluate.folding import fold
from explorer.evaluate.latency import measure_latency
from explorer.evaluate.live import LiveEvaluation
from explorer.evaluate.recovery import TrainingStep, recover, reestimate_bn, train
from explorer.evaluate.worker import LatestWins, Superseded

__all__ = [
    "Judge",
    "LatestWins",
    "LiveEvaluation",
    "Superseded",
    "TrainingStep",
    "evaluate",
    "fold",
    "measure_latency",
    "recover",
    "reestimate_bn",
    "train",
]
