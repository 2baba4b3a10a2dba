"""Seconds per forward pass, measured on this machine."""

import time

import numpy as np
import torch
from torch import Tensor, nn

from explorer.errors import BadInput, require_whole
from explorer.evaluate.estimates import as_module, eval_mode, forward
from explorer.values import Latency
from explorer.zoo.network import Network

WARM_UP = 3


def measure_latency(model: nn.Module | Network, example: Tensor, batch: int, runs: int = 20) -> Latency:
    """Median and quartiles over `runs` forward passes of one batch, in seconds; three more warm up first.

    `example` is an input (1, ...), repeated to `batch` of them. Runs in eval and inference mode with torch's
    threads as they are set; what else the machine does shows in the spread. Raises BadInput for no runs, an
    empty batch, or an example that the network cannot take.
    """
    require_whole("batch", batch, 1)
    require_whole("runs", runs, 1)
    module = as_module(model)
    if not isinstance(example, Tensor) or example.dim() < 2 or not len(example):
        found = f"shape {tuple(example.shape)}" if isinstance(example, Tensor) else type(example).__name__
        raise BadInput(
            f"The example is {found}; expected an input, a tensor of shape (1, ...), such as network.example."
        )
    inputs = example[:1].expand(batch, *example.shape[1:]).contiguous()
    seconds = []
    with eval_mode(module), torch.inference_mode():
        for _ in range(WARM_UP):
            forward(module, inputs)
        for _ in range(runs):
            started = time.perf_counter()
            module(inputs)
            seconds.append(time.perf_counter() - started)
    low, median, high = (float(x) for x in np.percentile(seconds, [25, 50, 75]))
    return Latency(batch, median, low, high, runs)
