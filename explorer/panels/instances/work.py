"""What the instances pane lets one worker thread do: pictures, similarities, peaks and a measured run."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from explorer.figures.instance_similarity import Similarities, similarities
from explorer.figures.pictures import Pixels, photograph
from explorer.instances import Instances, Site
from explorer.values import Floats

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from explorer.data import Images
    from explorer.dynamic.gathering import Timing
    from explorer.evaluate.worker import LatestWins
    from explorer.session import Session

Check = Callable[[], None]


@dataclass(frozen=True)
class Pictures:
    """Images to be shown, by their positions among the explore images."""

    images: tuple[int, ...]

    def run(self, session: Session, check: Check) -> tuple[Pixels, ...]:
        """Their pixels, one by one."""
        pixels = _explore(session).pixels
        found = []
        for image in self.images:
            check()
            found.append(photograph(pixels[image].numpy()))
        return tuple(found)


@dataclass(frozen=True)
class Alike:
    """How alike images are in a site's features, and how alike in the channels that they need there."""

    found: Instances
    site: Site

    def run(self, _session: Session, _check: Check) -> Similarities:
        return similarities(self.found, self.site)


@dataclass(frozen=True, eq=False)
class Peaked:
    """The largest activations of a layer's channels, as `figures.instance_channel` reads them."""

    layer: str
    images: NDArray[np.int64]
    values: Floats


@dataclass(frozen=True)
class Peaks:
    """The largest activation of every channel of a site's layer, of the network as it was loaded, image by image."""

    site: Site
    count: int
    images: NDArray[np.int64] = field(compare=False)

    def run(self, session: Session, check: Check) -> Peaked:
        import torch

        from explorer.observe.exciting import peaks

        explore = _explore(session)
        rows = torch.from_numpy(self.images.copy())
        found = peaks(session.network.model, session.graph, self.site.place, explore, rows, check)
        return Peaked(self.site.layer, self.images, found)


@dataclass(frozen=True)
class TimedRun:
    """One image's subnetwork, run for real on this machine."""

    source: str
    level: float
    image: int

    def run(self, session: Session, _check: Check) -> Timing | None:
        """Measured times; None where the session shows other subnetworks by now."""
        from explorer.dynamic.gathering import timed

        dynamic = session.dynamic()
        if dynamic is None or not self.fits(session):
            return None
        return timed(dynamic, _explore(session).inputs(slice(self.image, self.image + 1)), self.level)

    def fits(self, session: Session) -> bool:
        """Whether the session shows these subnetworks."""
        return (session.instance_source, session.instance_level) == (self.source, self.level)


Job = Pictures | Alike | Peaks | TimedRun


def _explore(session: Session) -> Images:
    data = session.network.data
    assert data is not None, "instances are of images"
    return data.explore


class InstanceWork:
    """Does the latest job of every kind for one session, and remembers what came of it.

    `told()` is called on the worker thread when something is there.
    """

    def __init__(self, session: Session, told: Callable[[], None]) -> None:
        self._session, self._told = session, told
        self._lock = threading.Lock()
        self._wanted: dict[type[Job], Job] = {}
        self._known: dict[type[Job], tuple[Job, Any]] = {}
        self._worker: LatestWins[None, None] | None = None

    def ask(self, job: Job) -> Any:
        """What came of the job; None while it is not done, and then it is begun. Returns at once."""
        kind = type(job)
        with self._lock:
            known = self._known.get(kind)
            if known is not None and known[0] == job:
                self._wanted.pop(kind, None)
                return known[1]
            if self._wanted.get(kind) == job:
                return None
            self._wanted[kind] = job
            if self._worker is None:
                from explorer.evaluate.worker import LatestWins

                self._worker = LatestWins(self._work, lambda _job, _done: self._told(), self._failed)
            self._worker.submit(None)
        return None

    def idle(self, timeout: float | None = None) -> bool:
        """Wait until nothing is done; False if that took longer than `timeout` seconds."""
        return self._worker is None or self._worker.idle(timeout)

    def close(self) -> None:
        """End the worker thread."""
        if self._worker is not None:
            self._worker.close()

    # ---- the worker thread ------------------------------------------------------------------------------

    def _work(self, _job: None, publish: Callable[[None], None], check: Check) -> None:
        """All jobs that are wanted. One that gives way to a newer request is still wanted, and begun again."""
        while (job := self._next()) is not None:
            result = job.run(self._session, check)
            with self._lock:
                self._known[type(job)] = job, result
                if self._wanted.get(type(job)) is job:
                    del self._wanted[type(job)]
            publish(None)

    def _next(self) -> Job | None:
        with self._lock:
            return next(iter(self._wanted.values()), None)

    def _failed(self, _job: None, error: BaseException) -> None:
        """Nothing is tried again by itself: it would fail again."""
        with self._lock:
            self._wanted.clear()
        self._session.report(error)
