"""What a step reports: its losses by name, and the multiply-adds of its forward passes; and what breaks down."""

import math

from torch import Tensor

from explorer.errors import ExplorerError
from explorer.methods.snapshots import Snapshot


class BrokeDown(ExplorerError):
    """Training came to numbers that are not finite. `snapshot` is the last sound one, None if there is none."""

    def __init__(self, message: str, snapshot: Snapshot | None = None) -> None:
        super().__init__(message)
        self.snapshot = snapshot


class Report:
    """Filled by an algorithm while it does a step."""

    def __init__(self) -> None:
        self.losses: dict[str, float] = {}
        self.macs = 0

    def loss(self, name: str, value: Tensor | float, of: str = "") -> float:
        """Note a loss; `of` says in words what it is of. Raises BrokeDown if it is NaN or infinite."""
        number = value.item() if isinstance(value, Tensor) else value
        if not math.isfinite(number):
            raise BrokeDown(f"the loss of {of or f'the term {name}'} is {number}.")
        self.losses[name] = number
        return number

    def ran(self, images: int, macs: int) -> None:
        """Note that `images` images passed a network of so many multiply-adds each."""
        self.macs += images * macs
