"""What the notebook has that can be explored: networks and images among its variables."""

from collections.abc import Callable, Mapping
from typing import Any

from IPython import get_ipython

Namespace = Callable[[], Mapping[str, Any]]


def notebook_variables() -> Mapping[str, Any]:
    """The variables of the running notebook; outside of one there are none."""
    shell = get_ipython()
    return {} if shell is None else shell.user_ns


def networks(variables: Mapping[str, Any]) -> dict[str, Any]:
    """The variables that hold an nn.Module, by name, with their module."""
    from torch import nn

    return _named(variables, lambda value: isinstance(value, nn.Module))


def image_sources(variables: Mapping[str, Any]) -> dict[str, Any]:
    """The variables that hold a Dataset, a DataLoader, images with or without labels, or explorer.data's own kinds.

    Images are tensors or arrays (N, C, H, W); with labels they are a pair (images, labels).
    """
    from torch.utils.data import DataLoader, Dataset

    from explorer.data import Data, Images

    def fits(value: Any) -> bool:
        return isinstance(value, Data | Images | Dataset | DataLoader) or _is_batch(value) or _is_pair(value)

    return _named(variables, fits)


def _is_batch(value: Any) -> bool:
    import numpy as np
    from torch import Tensor

    return isinstance(value, Tensor | np.ndarray) and value.ndim == 4


def _is_pair(value: Any) -> bool:
    import numpy as np
    from torch import Tensor

    if not isinstance(value, tuple | list) or len(value) != 2:
        return False
    images, labels = value
    return (
        all(isinstance(each, Tensor | np.ndarray) for each in value) and images.ndim > 2 and labels.ndim == 1
    )


def _named(variables: Mapping[str, Any], fits: Callable[[Any], bool]) -> dict[str, Any]:
    """Names that begin with "_" are IPython's; asking an odd object for its class may raise anything."""
    found = {}
    for name, value in list(variables.items()):
        if name.startswith("_"):
            continue
        try:
            if fits(value):
                found[name] = value
        except Exception:  # noqa: BLE001 (somebody's lazy proxy; it is no network of ours)
            continue
    return found
