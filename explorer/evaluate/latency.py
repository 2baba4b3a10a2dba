"""Seconds per forward pass, measured on this machine."""

import time

import numpy as np
import torch
from torch import nn

from explorer.errors import BadInput, require_whole
from explorer.evaluate.estimates import as_module, eval_mode, forward
from explorer.graph.inputs import Example, arguments, inputs_of, mapped
from explorer.values import Latency
from explorer.zoo.network import Network

WARM_UP = 3


def measure_latency(model: nn.Module | Network, example: Example, batch: int, runs: int = 20) -> Latency:
    """Median and quartiles over `runs` forward passes of one batch, in seconds; three more warm up first.

    `example` is an input (1, ...), repeated to `batch` of them. Runs in eval and inference mode with torch's
    threads as they are set; what else the machine does shows in the spread. Raises BadInput for no runs, an
    empty batch, or an example that the network cannot take.
    """
    require_whole("batch", batch, 1)
    require_whole("runs", runs, 1)
    module = as_module(model)
    given = inputs_of(module, example)
    if not len(given):
        raise BadInput("The example is empty; expected an input, a tensor (1, ...), such as network.example.")
    inputs = mapped(given, lambda each: each[:1].expand(batch, *each.shape[1:]).contiguous())
    args, kwargs = arguments(module, inputs)  # beforehand: what is timed is the network
    seconds = []
    with eval_mode(module), torch.inference_mode():
        for _ in range(WARM_UP):
            forward(module, inputs)
        for _ in range(runs):
            started = time.perf_counter()
            module(*args, **kwargs)
            seconds.append(time.perf_counter() - started)
    low, median, high = (float(x) for x in np.percentile(seconds, [25, 50, 75]))
    return Latency(batch, median, low, high, runs)
