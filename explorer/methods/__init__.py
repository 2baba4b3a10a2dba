"""Methods: procedures that train, for a plan or for a subnetwork of every image. One file each, on one loop."""

import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from explorer.costs import training_bytes
from explorer.errors import BadInput, Interrupted, require_name, require_path
from explorer.evaluate.recovery import class_labels
from explorer.graph import trace
from explorer.graph.checks import check_model
from explorer.memory import GIB, available
from explorer.methods.base import Method, Subject
from explorer.methods.dmcp import DMCP
from explorer.methods.fbs import FBS
from explorer.methods.loop import Event, Found, Training, never, steps
from explorer.methods.manidp import ManiDP
from explorer.methods.settings import checked
from explorer.methods.slimming import Slimming
from explorer.methods.snapshots import Snapshot
from explorer.values import ChannelGraph, content_key
from explorer.zoo.network import Network

METHODS: dict[str, Method] = {
    "dmcp": DMCP(),
    "manidp": ManiDP(),
    "fbs": FBS(),
    "slimming": Slimming(),
}


OPTIMISERS = 170 * 1024**2  # bytes of code that torch's optimisers load at their first use


def search_key(network: Network, graph: ChannelGraph, method: str = "dmcp", **settings: Any) -> str:
    """Content key of all that a search depends on: weights, graph, training images, method and settings."""
    subject, chosen = _checked(network, graph, method, settings)
    return _key(subject, method, chosen)


def events(
    network: Network,
    graph: ChannelGraph,
    method: str = "dmcp",
    resume: Snapshot | None = None,
    stop: Callable[[], bool] = never,
    **settings: Any,
) -> Iterator[Event]:
    """Search step by step: an event after every step, the last one with what was found.

    When `stop()` is true before a step, a last event with a snapshot ends it; `resume` goes on from one. The
    network, its mode and the global random state stay as they are. Raises UnknownName and BadInput before the first
    step for what cannot be searched (no training images with labels, a target out of reach, nothing to prune, too
    few images, a snapshot of something else), and BrokeDown, with the last sound snapshot, when a loss is not finite.
    """
    subject, chosen = _checked(network, graph, method, settings)
    return _events(subject, method, chosen, resume, stop)


def _events(
    subject: Subject, method: str, chosen: Any, resume: Snapshot | None, stop: Callable[[], bool] = never
) -> Iterator[Event]:
    with torch.inference_mode(False):  # else nothing could be trained
        training = Training(METHODS[method], subject, METHODS[method].begin(subject, chosen))
    key = _key(subject, method, chosen)
    if resume is not None:
        _check_resume(resume, method, key, training.algorithm.of)
        training.restore(resume.content)
    return steps(training, key, resume, stop)


def search(
    network: Network,
    method: str = "dmcp",
    progress: Callable[[Event], object] | None = None,
    checkpoint: str | Path | None = None,
    **settings: Any,
) -> Found:
    """Search or train to the end; `settings` as the method declares them, such as target=0.4, a share of the MACs.

    `progress` gets every event. `checkpoint` names a file that keeps the snapshot of the last epoch that ended: if it
    is there and fits, the search goes on from it; at the end it is removed. The network passed and the global random
    state stay as they are. Same seed, same result. Raises what `events` raises, and Interrupted, when the user
    interrupts.
    """
    if not isinstance(network, Network):
        raise BadInput(
            f"search takes a loaded network, not {type(network).__name__}: explorer.load(model, data=Data(...)) makes "
            "one of any model, with the images that it is trained on."
        )
    file = _writable(checkpoint)
    last = None
    try:
        graph = trace(network.model, network.example)
        subject, chosen = _checked(network, graph, method, settings)
        if short := memory_short(graph, method, settings):
            warnings.warn(
                f"This search needs about {short[0]:.1f} GiB of memory more, and {short[1]:.1f} GiB are left, so the "
                f"system may end it. Free memory, or pass a smaller batch than {chosen.batch}.",
                stacklevel=2,
            )
        last = Snapshot.load(file) if file is not None and file.exists() else None
        for event in _events(subject, method, chosen, last):
            if event.snapshot is not None:
                if file is not None:
                    event.snapshot.save(file)
                last = event.snapshot
            if progress is not None:
                progress(event)
            if event.found is not None:
                if file is not None:
                    file.unlink(missing_ok=True)
                return event.found
    except KeyboardInterrupt:
        raise Interrupted(_interrupted(last, file)) from None
    raise AssertionError("a search that nobody stops ends with what it found")


def memory_short(graph: ChannelGraph, method: str, settings: Mapping[str, Any]) -> tuple[float, float] | None:
    """GiB that a training will need beside what this process has taken, about, and that are left, where fewer; else
    None."""
    batch = settings.get("batch", METHODS[method].settings().batch)
    loading = 0 if "torch._dynamo" in sys.modules else OPTIMISERS
    needed, left = (training_bytes(graph, batch) + loading) / GIB, available() / GIB
    return (needed, left) if needed > left else None


def _writable(checkpoint: str | Path | None) -> Path | None:
    """The file; raises BadInput, before any work, if none can be written there."""
    if checkpoint is None:
        return None
    file = require_path("checkpoint", checkpoint)
    if file.is_dir() or not file.parent.is_dir() or not os.access(file.parent, os.W_OK | os.X_OK):
        raise BadInput(
            f"The snapshots cannot be written to {file}: name a file in a folder that can be written to."
        )
    return file


def _interrupted(last: Snapshot | None, file: Path | None) -> str:
    if file is None:
        return "The search was interrupted and nothing is kept: name a file, checkpoint='search.pt', to go on later."
    if last is None:
        return "The search was interrupted before its first epoch ended, so there is nothing to go on from."
    return f"The search was interrupted; {file} keeps its first {last.step} of {last.of} steps: call again to go on."


def _checked(
    network: Network, graph: ChannelGraph, method: str, settings: Mapping[str, object]
) -> tuple[Subject, Any]:
    require_name("method", method, METHODS)
    check_model(graph, network.model)
    chosen = checked(method, METHODS[method].settings, settings)
    data = network.data
    if data is None or data.train is None:
        raise BadInput(
            f"{METHODS[method].label} trains, and {network.name} was loaded without training images. Load it with "
            "data=explorer.Data(name, classes, train=explorer.Images(...), explore=..., final=None)."
        )
    class_labels(data.train)
    return Subject(network, graph, data.train), chosen


def _key(subject: Subject, method: str, chosen: Any) -> str:
    parts = sorted(asdict(chosen).items())
    return content_key(subject.network.weights_key, subject.graph.key, subject.images.key, method, parts)


def _check_resume(resume: Snapshot, method: str, key: str, of: int) -> None:
    if not isinstance(resume, Snapshot):
        raise BadInput(
            f"resume is a {type(resume).__name__}; expected the snapshot of an event, or Snapshot.load(path)."
        )
    if (resume.method, resume.key, resume.of) != (method, key, of) or not 0 <= resume.step <= of:
        raise BadInput(
            "This snapshot is of another search: another network, other weights, images or settings. Resume with those "
            "that it was made with, or start anew without it (delete the file that `checkpoint` names)."
        )
