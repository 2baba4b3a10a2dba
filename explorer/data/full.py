"""The full Fashion-MNIST through torchvision, for a user with network access."""

from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from explorer.data.bundled import CLASSES
from explorer.data.images import Data, Images
from explorer.errors import ExplorerError
from explorer.interrupts import held_interrupts


def full_fashion_mnist(root: str | Path, normalize: Callable[[Tensor], Tensor]) -> Data:
    """All 60,000 training images; explore and final are the first and second half of the 10,000 test images.

    torchvision downloads what is not yet in `root`/FashionMNIST/raw (30 MB). The bundled explore and final
    images come from the same halves. Raises ExplorerError without torchvision or when offline.
    """
    try:
        with held_interrupts():
            from torchvision.datasets import FashionMNIST  # takes 170 MB of memory: only when asked for
    except ImportError as error:
        raise ExplorerError(
            "The full Fashion-MNIST is read by torchvision, which is not installed: pip install torchvision, "
            "or use the bundled images, explorer.data.fashion_mnist()."
        ) from error
    try:
        train = FashionMNIST(root, train=True, download=True)
        test = FashionMNIST(root, train=False, download=True)
    except (OSError, RuntimeError) as error:
        raise ExplorerError(
            f"Fashion-MNIST is not in {Path(root) / 'FashionMNIST' / 'raw'} and could not be downloaded "
            f"({error}). Go online, put the four decompressed idx files there, or use the bundled images, "
            "explorer.data.fashion_mnist()."
        ) from error
    half = len(test.data) // 2
    return Data(
        "Fashion-MNIST, full",
        CLASSES,
        Images(train.data.unsqueeze(1), train.targets, normalize),
        Images(test.data[:half].unsqueeze(1), test.targets[:half], normalize),
        Images(test.data[half:].unsqueeze(1), test.targets[half:], normalize),
    )
