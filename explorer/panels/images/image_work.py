"""What the images tab lets a worker thread do: a page of small images, and a look into one image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from explorer.figures import gallery
from explorer.figures.pictures import photograph
from explorer.panels.header.cut import Cut
from explorer.panels.images.image_look import Look
from explorer.records import Outcomes

if TYPE_CHECKING:
    from torch import nn

    from explorer.data import Data
    from explorer.records import Scored
    from explorer.session import Session


@dataclass(frozen=True)
class Page:
    """A page of the gallery: positions of the images, and how many stand side by side."""

    outcomes: Outcomes | Scored
    images: tuple[int, ...]
    across: int


@dataclass(frozen=True)
class Opened:
    """One image to look into, of a cut and its outcomes, and the layer whose maps are wanted ("" for none)."""

    outcomes: Outcomes | Scored
    cut: Cut
    image: int
    layer: str


class ImageWork:
    """Does both jobs for one session with images; remembers the pruned network of the latest cut."""

    def __init__(self, session: Session, data: Data) -> None:
        self._session, self._data = session, data
        self._pruned: tuple[Cut, nn.Module] | None = None

    def __call__(
        self, job: Page | Opened, publish: Callable[[str | Look], None], check: Callable[[], None]
    ) -> None:
        """A page's sheet (see `gallery.sheet`) or a look, published; for `LatestWins`.

        Nothing is published of a cut that the session has left: another job is on its way.
        """
        if isinstance(job, Opened):
            pruned = self._network(job.cut)
            check()
            if pruned is not None:
                publish(self._look(job, pruned, check))
        else:
            pixels = self._data.explore.pixels
            images = [photograph(pixels[image].numpy()) for image in job.images]
            publish(gallery.sheet(images, job.across))

    def _network(self, cut: Cut) -> nn.Module | None:
        if self._pruned is None or self._pruned[0] != cut:
            pruned = cut.network(self._session)
            if pruned is None:
                return None
            self._pruned = cut, pruned
        return self._pruned[1]

    def _look(self, job: Opened, pruned: nn.Module, check: Callable[[], None]) -> Look:
        from explorer.observe.answers import top_classes
        from explorer.observe.maps import compare

        session = self._session
        dense = session.network.model
        images = self._data.explore
        inputs = images.inputs(slice(job.image, job.image + 1))
        layers = [layer.name for layer in session.graph.layers]
        maps, classifies = None, isinstance(job.outcomes, Outcomes)
        if job.layer in layers:
            layer = layers.index(job.layer)
            maps = compare(dense, [pruned], session.graph, job.cut.plan, layer, inputs, inputs, check)
        return Look(
            picture=photograph(images.pixels[job.image].numpy()),
            label=int(job.outcomes.labels[job.image]) if isinstance(job.outcomes, Outcomes) else 0,
            names=self._data.classes,
            dense=top_classes(dense, inputs)[0] if classifies else (),
            now=top_classes(pruned, inputs)[0] if classifies else (),
            layer=job.layer,
            maps=maps,
        )
