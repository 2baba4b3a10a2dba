"""A small network with images that it learns in seconds: what searches are tested with."""

from typing import Any

import torch
from torch import nn

import explorer
from explorer.data import Data, Images
from explorer.methods import METHODS
from explorer.methods.base import Algorithm
from explorer.methods.loop import Training
from explorer.methods.report import Report
from tests.evaluate.toys import CLASSES, Toy, images_of, livened

QUICK: dict[str, Any] = {"target": 0.4, "warm_up": 1, "epochs": 2, "batch": 16, "divisions": 4}


def toy_network(images: Images | None = None, model: nn.Module | None = None) -> explorer.Network:
    """The toy of the evaluation's tests, untrained, with 64 training images of four classes."""
    if model is None:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = livened(Toy())
    train = images_of(64) if images is None else images
    data = Data("noise", tuple("abcd"[:CLASSES]), train=train, explore=images_of(32, 1), final=None)
    return explorer.load(model, data=data)


def step(run: Algorithm, number: int, turn: str = "") -> Report:
    """Step `number` of an algorithm, or one of its turns alone."""
    turns, run.turns = run.turns, {turn: run.turns[turn]} if turn else run.turns
    try:
        return Training(METHODS["dmcp"], run.subject, run).step(number)
    finally:
        run.turns = turns


def graph_of(network: explorer.Network) -> explorer.ChannelGraph:
    return explorer.trace(network.model, network.example)


SETTINGS: dict[str, dict[str, Any]] = {
    "dmcp": QUICK,
    "manidp": {"epochs": 2, "batch": 16},
    "fbs": {"epochs": 2, "batch": 16},
    "slimming": {"epochs": 2, "fine_tune": 1, "batch": 16, "sparsity": 0.05},
}
"""Quick settings of every method."""
