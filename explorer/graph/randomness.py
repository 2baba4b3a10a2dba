"""Random numbers of code that we run for our own purposes must not move the user's."""

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

_TURN = threading.RLock()  # of the one global state: loans that overlap would put back each other's


@contextmanager
def own_torch_numbers(seed: int | None = None) -> Iterator[None]:
    """torch's random numbers go on as if none had been drawn inside; with a seed they are the same every time.

    One thread at a time. Numbers that other code draws meanwhile, without asking here, come from the same state.
    """
    with _TURN, torch.random.fork_rng(devices=[]):
        if seed is not None:
            torch.manual_seed(seed)
        yield


@contextmanager
def same_random_numbers(seed: int | None = None) -> Iterator[None]:
    """Python's, numpy's and torch's random numbers go on as if none had been drawn inside the context.

    With a seed, torch's are the same inside every time (see `own_torch_numbers`).
    """
    states = random.getstate(), np.random.get_state()  # noqa: NPY002  # user code may use either
    try:
        with own_torch_numbers(seed):
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
