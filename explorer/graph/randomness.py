"""Random numbers of code that we run for our own purposes must not move the user's."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def same_random_numbers(seed: int | None = None) -> Iterator[None]:
    """Python's, numpy's and torch's random numbers go on as if none had been drawn inside the context.

    With a seed, torch's are the same inside every time.
    """
    states = random.getstate(), np.random.get_state()  # noqa: NPY002  # user code may use either
    try:
        with torch.random.fork_rng(devices=[]):
            if seed is not None:
                torch.manual_seed(seed)
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
