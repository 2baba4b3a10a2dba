"""What a user may pass as data, turned into Images and Data: tensors, Dataset, DataLoader, a folder, or ours."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten
from torch.utils.data import DataLoader, Dataset, IterableDataset

from explorer.data.images import Data, Images, Split, identity
from explorer.data.named import pictures_of
from explorer.data.picking import Pick, taken_apart
from explorer.data.pictures import Crop, as_crop, as_pixels, channels_of, require_room
from explorer.errors import BadInput, require_name
from explorer.graph.inputs import require_dense

SPLITS: tuple[Split, ...] = get_args(Split)

DataSource = (
    Data
    | Images
    | tuple[Any, ...]
    | Tensor
    | Mapping[str, Any]
    | list[Any]
    | Dataset[Any]
    | DataLoader[Any]
    | str
    | Path
)

ACCEPTED = (
    "Accepted: a pair of tensors (images (N, C, H, W), labels (N,)), a torch Dataset or DataLoader of "
    "(image, label), an image folder, the name of a data set such as 'cifar10', or explorer.data's Images or Data; and "
    "images without labels, as a tensor or a Dataset of them. Several inputs are ((images, more), labels), and items "
    "of other forms come with pick=."
)
ONCE = (
    "It can be read only once. Pass the Dataset or DataLoader itself, or list(data) for a list of items, or "
    "torch.cat([images for images, labels in data]) and as much of the labels."
)


def as_images(data: DataSource, split: Split, pick: Pick | None = None) -> Images:
    """The images of `split` of a Data, folder or named data set; any other source as it is.

    Float images are taken as inputs already, uint8 images are divided by 255. `pick` says what of an item is image and
    what target (`data.picking`). Raises BadInput for a split that is missing, an empty data set, wrong shapes or
    dtypes, NaN, and labels out of range.
    """
    require_name("split", split, SPLITS)
    if isinstance(data, Images):
        return data
    if isinstance(data, str | Path):
        data = pictures_of(data)
    if not isinstance(data, Data):
        return _collected(data, None, pick, identity)
    images: Images | None = getattr(data, split)
    if images is None:
        raise BadInput(
            f"{data.name} has no {split} images, and they are needed here. Pass data = explorer.data.Data("
            f"..., {split}=Images(...), ...)."
        )
    if images.class_numbers is not None and (most := int(images.class_numbers.max())) >= len(data.classes):
        raise BadInput(
            f"Label {most} among the {split} images of {data.name} is out of range: it has "
            f"{len(data.classes)} classes, so labels go from 0 to {len(data.classes) - 1}."
        )
    return images


def as_data(
    data: DataSource,
    normalize: Callable[[Tensor], Tensor] | None = None,
    name: str = "your data",
    size: int | tuple[int, int] | Crop | None = None,
    pick: Pick | None = None,
) -> Data:
    """A Data as it is, a folder as `image_folder` reads it, a name such as "cifar10" as `named_set` does; any other
    source as the explore images of a Data. A folder that has such a name is given as a Path, or as "./cifar10".

    `normalize` maps the source's images to inputs (None: they are inputs); Images and Data have their own.
    `size` is what pictures of a folder, or PIL pictures of a Dataset, are resized and cropped to, as
    `image_folder` takes it; tensors stay as they are. `pick` says what of an item
    is image and what target. Raises BadInput as `as_images` does.
    """
    if isinstance(data, Data | Images) and normalize is not None:
        raise BadInput(
            f"Both normalize and {type(data).__name__} were given, which has its own: leave normalize out, "
            "or pass the tensors."
        )
    if isinstance(data, Data):
        return data
    if isinstance(data, str | Path):
        return pictures_of(data, size, normalize)
    explore = (
        data if isinstance(data, Images) else _collected(data, as_crop(size), pick, normalize or identity)
    )
    count = 0 if explore.class_numbers is None else int(explore.class_numbers.max()) + 1
    return Data(name, _class_names(data, count), None, explore, None)


def _class_names(data: object, count: int) -> tuple[str, ...]:
    """The `classes` of a Dataset (or of the Dataset of a DataLoader), else the numbers below `count`."""
    source = data.dataset if isinstance(data, DataLoader) else data
    try:
        named = getattr(source, "classes", None)
        if isinstance(named, list | tuple) and len(named) >= count:
            return tuple(str(name) for name in named)
    except Exception as error:  # a user's own property may raise anything
        raise BadInput(
            f"The classes of {type(source).__name__} cannot be had: {type(error).__name__}: {error}. Make `classes` a "
            "list of names, or leave it out: classes are called by their numbers then."
        ) from error
    return tuple(str(label) for label in range(count))


def _collected(
    data: object, crop: Crop | None, pick: Pick | None, normalize: Callable[[Tensor], Tensor]
) -> Images:
    """All images and labels of a source on the CPU."""
    items = isinstance(data, list) and all(isinstance(each, tuple | Mapping) for each in data)
    if isinstance(data, Iterator):
        raise BadInput(f"Data cannot be a {type(data).__name__}. {ONCE}")
    if isinstance(data, list) and data and all(isinstance(each, Dataset | DataLoader) for each in data):
        raise BadInput(
            f"Data cannot be a list of {len(data)} {type(data[0]).__name__}s: pass one of them, or Data(name, classes, "
            "train=explorer.data.as_images(data[0], 'train'), explore=explorer.data.as_images(data[1], 'explore'), "
            "final=None)."
        )
    if isinstance(data, Tensor | np.ndarray | tuple | list | Mapping) and not items:
        given, labels = taken_apart(data, "the data", pick)
        leaves, spec = tree_flatten(given)
        pixels = [_as_pixels(_from_array(x)) for x in leaves]
        form = tree_unflatten(range(len(leaves)), spec)
        return _images(pixels, None if labels is None else _as_labels(_from_array(labels)), normalize, form)
    if not (items or isinstance(data, Dataset | DataLoader)):
        raise BadInput(f"Data cannot be a {type(data).__name__}. {ACCEPTED}")
    # Shuffling and random transforms must not move the user's random numbers.
    with torch.random.fork_rng(devices=[]):
        if isinstance(data, DataLoader):
            parts = [_pair(item, "batch", place, crop, pick) for place, item in _each(data, "batch", data)]
            join: Callable[[list[Tensor]], Tensor] = torch.cat
        else:
            count = 0 if isinstance(data, IterableDataset) else _length(data)
            found = _each(data, "item", _items(data, count))
            parts = [_pair(item, "item", place, crop, pick, count) for place, item in found]
            join = torch.stack
    if not parts:
        raise BadInput("The data set is empty: it must have at least one image.")
    given, labels = zip(*parts, strict=True)
    form = tree_unflatten(range(len(parts[0][0][0])), parts[0][0][1])
    if any(spec != given[0][1] for _, spec in given):
        raise BadInput(f"Items of the data hold their inputs in different ways: {given[0][1]} and others.")
    inputs = list(zip(*(leaves for leaves, _ in given), strict=True))
    for images in inputs:
        for place, image in enumerate(images):
            expected = images[0].shape if join is torch.stack else (len(image), *images[0].shape[1:])
            if image.shape != expected:
                raise BadInput(
                    f"Images must have one shape, but number {place} has {tuple(image.shape)} and the first "
                    f"{tuple(images[0].shape)}. Resize or crop them in the data set's transform."
                )
    known = [label for label in labels if label is not None]
    if known and len(known) < len(labels):
        raise BadInput(
            f"{len(known)} of {len(labels)} items of the data have a label, the others none. Give all of them one."
        )
    try:
        pixels = [_as_pixels(join(list(images))) for images in inputs]
        target = _as_labels(join(known)) if known else None
    except (RuntimeError, TypeError) as error:
        raise BadInput(
            f"The images and labels of {type(data).__name__} cannot be put together: {error}. Expected tensors of one "
            "kind and one shape, and one class number for each image."
        ) from error
    return _images(pixels, target, normalize, form)


def _images(
    pixels: Sequence[Tensor], labels: Tensor | None, normalize: Callable[[Tensor], Tensor], form: Any
) -> Images:
    if not pixels:
        raise BadInput(f"There is no image among the inputs. {ACCEPTED}")
    held = None if form in (0, (0,), [0]) else form
    return Images(pixels[0], labels, normalize, more=tuple(pixels[1:]), form=held)


def _length(data: Any) -> int:
    try:
        return len(data)
    except Exception as error:  # a user's __len__ may raise anything
        raise BadInput(
            f"{type(data).__name__} has no length ({error}): a map-style Dataset needs __len__."
        ) from error


def _items(data: Any, count: int) -> Iterable[Any]:
    return data if isinstance(data, IterableDataset) else (data[place] for place in range(count))


def _each(data: object, kind: str, items: Iterable[Any]) -> Iterator[tuple[int, Any]]:
    """The items, or batches, by place; what the user's own code raises on the way becomes BadInput."""
    done = 0
    try:
        for item in items:
            yield done, item
            done += 1
    except Exception as error:  # a Dataset, its transform or a DataLoader's collate_fn may raise anything
        # What a DataLoader's worker raised ends with its traceback; its last line says what it was.
        said = str(error).strip().rpartition("\n")[2]
        short = (
            " Is its __len__ larger than the number of its items?" if isinstance(error, IndexError) else ""
        )
        raise BadInput(
            f"{kind.capitalize()} {done} of {type(data).__name__} cannot be had: {type(error).__name__}: {said}."
            f"{short} Make sure that every one can be read, such as by list(data)."
        ) from error


def _pair(
    item: Any, kind: str, place: int, crop: Crop | None, pick: Pick | None, count: int = 0
) -> tuple[tuple[list[Tensor], TreeSpec], Tensor | None]:
    """Inputs and label of an item or batch, which is one of `count`, if known."""
    given, label = taken_apart(item, f"{kind} {place} of the data", pick)
    leaves, spec = tree_flatten(given)
    tensors = [_tensor(image, kind, place, crop, count) for image in leaves]
    if label is None:
        return (tensors, spec), None
    if not isinstance(label, int | float | Tensor | np.number | np.ndarray):
        raise BadInput(f"The label of {kind} {place} is a {type(label).__name__}, not a class number.")
    try:
        return (tensors, spec), torch.as_tensor(label)
    except (RuntimeError, OverflowError, ValueError, TypeError) as error:
        raise BadInput(f"The label of {kind} {place} is no class number ({error}): {label!r}.") from error


def _tensor(image: Any, kind: str, place: int, crop: Crop | None, count: int) -> Tensor:
    """An image as a tensor: pictures become bytes."""
    if kind == "item" and _is_picture(image):
        sides, channels = (
            crop.size if crop else image.size[::-1],
            (crop and crop.channels) or channels_of(image),
        )
        advice = "Pass a smaller size=, or fewer pictures, such as torch.utils.data.Subset(data, range(100))."
        require_room(max(count, place + 1), (channels, *sides), "the data set", advice)
        image = as_pixels(image, crop)
    image = _from_array(image)
    if not isinstance(image, Tensor):
        raise BadInput(
            f"The image of {kind} {place} is a {type(image).__name__}, not a tensor. Give the data set "
            "a transform to tensors, such as torchvision.transforms.ToTensor()."
        )
    require_dense(f"The image of {kind} {place}", image)
    return image


def _is_picture(image: object) -> bool:
    from PIL.Image import Image

    return isinstance(image, Image)


def _from_array(array: Any) -> Any:
    """The tensor of an array; anything else as it is."""
    if not isinstance(array, np.ndarray):
        return array
    try:
        return torch.tensor(array)
    except (TypeError, ValueError) as error:
        raise BadInput(f"An array of dtype {array.dtype} cannot be images or labels: {error}.") from error


def _as_pixels(images: Any) -> Tensor:
    """On the CPU, floating types as float32; Images checks the rest."""
    if not isinstance(images, Tensor):
        raise BadInput(f"The images are a {type(images).__name__}, not a tensor. {ACCEPTED}")
    require_dense("Images", images)
    images = images.detach().cpu()
    return images.float() if images.dtype.is_floating_point else images


def _as_labels(labels: Any) -> Tensor:
    """On the CPU; Images checks the rest."""
    if not isinstance(labels, Tensor):
        raise BadInput(f"The labels are a {type(labels).__name__}, not a tensor. {ACCEPTED}")
    require_dense("Labels", labels)
    return labels.detach().cpu()
