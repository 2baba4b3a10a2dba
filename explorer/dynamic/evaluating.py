"""What a dynamic network says of images, batch by batch, and what it keeps for each of them."""

from collections.abc import Iterator
from dataclasses import replace
from numbers import Real
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from explorer.data import DataSource, Images, as_images
from explorer.data.batches import fitting, split_evenly
from explorer.data.fitting import require_labels
from explorer.dynamic.counting import macs
from explorer.dynamic.network import Dynamic, Passed, most_active
from explorer.errors import BadInput
from explorer.evaluate.estimates import Check, class_logits, divergences, eval_mode, not_finite, nothing
from explorer.graph import trace
from explorer.graph.inputs import Batch
from explorer.instances import Instances
from explorer.values import ChannelGraph, Estimate, content_key
from explorer.zoo.network import Network

MOST_IMAGES = 2_000
MOST_ENTRIES = 20_000_000  # of one table over images and channels: 80 MB
BATCH = 32  # whose activations stay in the cache of a processor: fewer and more images take longer each


def rows_for(dynamic: Dynamic, images: Images, most: int = MOST_IMAGES) -> NDArray[np.int64]:
    """Positions of the images that are looked at, evenly spread: fewer where a network has very many channels."""
    affordable = max(1, MOST_ENTRIES // max(dynamic.sites.channels, 1))
    count = min(len(images), most, affordable)
    return np.linspace(0, len(images) - 1, count).round().astype(np.int64)


def instances(
    dynamic: Dynamic,
    images: Images,
    rows: NDArray[np.int64],
    level: float | None = None,
    check: Check = nothing,
) -> Iterator[tuple[Estimate, Instances | None]]:
    """Estimates of the accuracy over the images at `rows`, the last one with what was kept for each.

    Without labels, what the dense network says of the images stands for them. `check` is called before every batch
    and may raise. Raises BadInput for images that the network cannot take or answers with numbers that are not finite.
    """
    level = dynamic.level if level is None else level
    require_level(level)
    fast = dynamic.folded()
    dense = None if images.labelled else dynamic.dense
    key = content_key(dynamic.source, level, *_weights(dynamic), images.key, rows)
    require_traced_size(dynamic.graph, images)
    seen, right, apart = 0, 0, 0.0
    parts: list[tuple[NDArray[np.generic], ...]] = []
    with torch.inference_mode():
        batch = fitting(fast, images.inputs(slice(0, 1)), BATCH)
    for part in split_evenly(torch.from_numpy(rows), batch):
        check()
        with torch.inference_mode():
            inputs = images.inputs(part)
            passed = fast.passed(inputs, level)
            _require_finite(dynamic, passed)
            labels = images.labels[part] if images.labels is not None else None
            if dense is not None:
                theirs = _dense_logits(dense, inputs)
                labels = theirs.argmax(1)
                apart += float(divergences(theirs, passed.logits).sum())
            assert labels is not None
            require_labels(labels, passed.logits)
            losses = cross_entropy(passed.logits, labels, reduction="none")
        predicted = passed.logits.argmax(1)
        seen, right = seen + len(part), right + int((predicted == labels).sum())
        kept = passed.keep.numpy()
        counted = macs(dynamic.graph, dynamic.sites, kept, dynamic.module_macs)
        kinds = passed.saliency.float().numpy(), passed.features.float().numpy(), kept
        parts.append(
            (*kinds, counted, predicted.numpy().astype(np.int16), labels.numpy(), losses.float().numpy())
        )
        estimate = Estimate(
            key,
            right,
            seen,
            len(rows),
            "accuracy" if dense is None else "agreement",
            None if dense is None else apart / seen,
        )
        if seen < len(rows):
            yield estimate, None
    names = "saliency", "features", "keep", "macs", "predicted", "labels", "losses"
    tables: dict[str, Any] = {
        name: np.concatenate(column) for name, column in zip(names, zip(*parts, strict=True), strict=True)
    }
    yield (
        estimate,
        Instances(
            network=dynamic.name,
            source=dynamic.source,
            level=level,
            sites=dynamic.sites,
            images=rows,
            of=len(images),
            dense_macs=_dense_macs(dynamic),
            module_macs=dynamic.module_macs,
            **tables,
        ),
    )


def subnetworks(
    network: Network,
    dynamic: Dynamic | None = None,
    level: float | None = None,
    data: DataSource | None = None,
) -> Instances:
    """What every image keeps of a network, and what comes of it: on the explore images, or those of `data`.

    `dynamic` says how channels are chosen: `search(network, "manidp").network`, or by default each image's most active
    channels, which needs no training (`most_active`). `level` in (0, 1] is the share that is kept. Raises BadInput
    without images, for a network that has nothing to drop, and for what cannot be evaluated.
    """
    if not isinstance(network, Network):
        raise BadInput(
            f"subnetworks takes a loaded network, not {type(network).__name__}: explorer.load(model, data=images)."
        )
    if data is None and network.data is None:
        raise BadInput(
            f"{network.name} was loaded without images, and every image has its own subnetwork: pass data=, such as a "
            "pair of tensors (inputs, labels) or a folder."
        )
    source = network.data if data is None else data
    assert source is not None
    images = as_images(source, "explore")
    if images.task is not None and not images.task.classifies:
        raise BadInput(
            f"Subnetworks of single images are judged by the classes that they answer with, and these images are for "
            f"{images.task.name}."
        )
    graph = trace(network.model, network.example)
    if dynamic is None:
        dynamic = most_active(network, graph)
    if not isinstance(dynamic, Dynamic):
        raise BadInput(
            f"dynamic is a {type(dynamic).__name__}; expected what explorer.search(network, 'manidp').network or "
            "explorer.most_active(network, graph) returns."
        )
    if dynamic.graph.key != graph.key:
        raise BadInput(
            f"The dynamic network was made of {dynamic.name}, whose layers are not those of {network.name}. Pass the "
            "network that it was made of."
        )
    *_, (_estimate, found) = instances(dynamic, images, rows_for(dynamic, images), level)
    assert found is not None
    return found


def tried(found: Instances, dynamic: Dynamic, level: float) -> Instances:
    """What images would keep at another level, from the saliencies that are known: a trial.

    What follows from it (predictions, and the saliencies of later layers, which read what earlier ones kept) is still
    as it was. Raises BadInput for a level that is no share.
    """
    require_level(level)
    keep = dynamic.keep(torch.from_numpy(found.saliency.copy()), level).numpy()
    counted = macs(dynamic.graph, dynamic.sites, keep, dynamic.module_macs)
    return replace(found, level=level, keep=keep, macs=counted, trial=True)


def require_level(level: object) -> float:
    """The level as a float; raises BadInput unless it is a share above 0 and up to 1."""
    flag = isinstance(level, bool)  # which Python takes for a number
    number = float(level) if isinstance(level, Real) and not flag else 0.0
    if not 0 < number <= 1:
        raise BadInput(
            f"What every image keeps is a share of the channels above 0 and up to 1, not {level!r}."
        )
    return number


def require_traced_size(graph: ChannelGraph, images: Images) -> None:
    """Raise BadInput for images whose inputs are of another size than the graph's: their MACs would be others."""
    with torch.inference_mode():
        shape = tuple(images.inputs(slice(0, 1)).shape[1:])
    if shape != graph.input_shape:
        raise BadInput(
            f"These images become inputs of shape {shape}, and the network was traced for {graph.input_shape}: MACs "
            "are counted for that size. Load the network with these images, or with an example of their size."
        )


def _dense_macs(dynamic: Dynamic) -> int:
    every = np.ones((1, dynamic.sites.channels), dtype=bool)
    return int(macs(dynamic.graph, dynamic.sites, every)[0])


def _dense_logits(dense: nn.Module, inputs: Batch) -> Tensor:
    with eval_mode(dense):
        return class_logits(dense, inputs)


def _weights(dynamic: Dynamic) -> list[object]:
    """What tells two dynamic networks apart: their parts' content."""
    found: list[object] = []
    for name, tensor in dynamic.state_dict().items():
        found += [name, tensor.detach().float().numpy()]
    return found


def _require_finite(dynamic: Dynamic, passed: Passed) -> None:
    if not (torch.isfinite(passed.logits).all() and torch.isfinite(passed.saliency).all()):
        raise BadInput(f"The answers of {dynamic.name} are not finite; {not_finite(dynamic)}")
