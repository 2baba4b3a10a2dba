"""What of an item, or of a batch, are the network's inputs, and what is the target."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_map

from explorer.errors import BadInput, ExplorerError

Pick = Callable[[Any], tuple[Any, Any]] | tuple[Any, Any]
IMAGES = ("image", "images", "img", "imgs", "pixel_values", "input", "inputs", "x")
TARGETS = ("label", "labels", "target", "targets", "y", "mask", "masks")
HOW = (
    "Say which with pick=: two places or keys, such as pick=(0, 1) or pick=('image', 'label'), where several inputs "
    "are a tuple, list or dict of them, pick=((0, 1), 2), and None is no target; or a function that returns "
    "(image, target) of an item."
)


def taken_apart(item: Any, what: str, pick: Pick | None) -> tuple[Any, Any]:
    """Inputs and target (None: there is none) of an item or batch; inputs are one or a tree. Raises BadInput.

    Without `pick`: the item alone, (image,), (image, target), or a dict whose keys say which is which, other
    values being no pictures. A dict with a target, and pictures whose keys say nothing, is a dict of inputs.
    """
    if pick is not None:
        return _picked(item, what, pick)
    if isinstance(item, Mapping):
        return _by_keys(item, what)
    parts = item if isinstance(item, tuple | list) else (item,)
    if len(parts) not in (1, 2):
        raise BadInput(
            f"{what.capitalize()} is a {type(item).__name__} of {len(parts)}, not (image, label) or an image. {HOW}"
        )
    return parts[0], parts[1] if len(parts) == 2 else None


def _picked(item: Any, what: str, pick: Pick) -> tuple[Any, Any]:
    try:
        if callable(pick):
            images, target = pick(item)
            return images, target
        images, target = pick
        return tree_map(item.__getitem__, images), None if target is None else item[target]
    except ExplorerError:
        raise
    except Exception as error:  # a user's own function may raise anything
        known = f" It has the keys {', '.join(map(repr, item))}." if isinstance(item, Mapping) else ""
        raise BadInput(
            f"{what.capitalize()} cannot be taken apart by pick={pick!r}: {type(error).__name__}: {error}.{known} {HOW}"
        ) from error


def _by_keys(item: Mapping[Any, Any], what: str) -> tuple[Any, Any]:
    named = {key: str(key).lower() for key in item}
    images = [key for key, name in named.items() if name in IMAGES]
    targets = [key for key, name in named.items() if name in TARGETS]
    pictures = [key for key in item if key not in targets and getattr(item[key], "ndim", 0) > 1]
    target = item[targets[0]] if len(targets) == 1 else None
    if len(images) == 1 and len(targets) <= 1 and set(pictures) <= set(images):
        return item[images[0]], target
    if (
        not images
        and len(targets) == 1
        and pictures
        and all(isinstance(item[key], Tensor) for key in pictures)
    ):
        return {key: item[key] for key in pictures}, target
    raise BadInput(
        f"{what.capitalize()} is a dict with the keys {', '.join(map(repr, item))}, which do not say what is the "
        f"image and what the target. {HOW}"
    )
