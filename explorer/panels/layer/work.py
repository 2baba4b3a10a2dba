"""What the layer view computes beside the dashboard: activations, one channel's pictures, the next layer's maps."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from explorer.panels.header.cut import Cut
from explorer.values import Floats, Recovery

if TYPE_CHECKING:
    from explorer.observe.channels import Activations
    from explorer.observe.maps import Comparison
    from explorer.session import Session

COMPARED = 128  # images that the error of the next layer is of


@dataclass(frozen=True)
class Wish:
    """What the view shows below the importance of layer number `layer`: one thing that the worker is asked for.

    `channel` and `image` are numbers; `below` is "channels" or "next", which is of `cut`: None while its accuracy
    is not known, and then there is nothing to do yet.
    """

    layer: int
    channel: int
    image: int
    below: str
    cut: Cut | None = None


@dataclass(frozen=True, eq=False)
class Portrait:
    """One channel in pictures: its filter and, where there are images, what it answers to them.

    `map` is on the chosen `image`, uint8 or float32 (C, H, W); `own`: it is the layer's own output.
    `strongest` are pairs of a number and the image; `peaks` their largest activations.
    """

    filter: Floats
    image: NDArray[np.generic] | None = None
    map: Floats | None = None
    own: bool = False
    strongest: tuple[tuple[int, NDArray[np.generic]], ...] = ()
    peaks: tuple[float, ...] = ()


@dataclass(frozen=True, eq=False)
class Findings:
    """What is known so far: each thing with the wish that it answers to, None = nothing yet."""

    activations: "Activations | None" = None
    portrait: Portrait | None = None
    comparison: "Comparison | None" = None


@dataclass(eq=False)
class Looking:
    """Does the work of a wish on the dense network of a session, and remembers the activations of every layer."""

    session: "Session"
    known: dict[int, "Activations"] = field(default_factory=dict)
    filters: dict[int, Floats] = field(default_factory=dict)

    def look(self, wish: Wish, publish: Callable[[Findings], None], check: Callable[[], None]) -> None:
        """Publish what the wish asks for, the quick things first."""
        if wish.below == "next":
            self._compare(wish, publish, check)
            return
        found = self.known.get(wish.layer)
        publish(Findings(activations=found, portrait=self._portrait(wish, found)))
        data = self.session.network.data
        if found is None and data is not None:
            from explorer.observe.channels import activations, sample

            rows = sample(data.explore, self.session.dense_cost.macs)
            network = self.session.network.model
            found = activations(network, self.session.graph, wish.layer, data.explore, rows, check)
            self.known[wish.layer] = found
            publish(Findings(activations=found, portrait=self._portrait(wish, found)))

    def _portrait(self, wish: Wish, found: "Activations | None") -> Portrait:
        from explorer.observe.channels import filters, maps

        network, graph, layer = self.session.network, self.session.graph, wish.layer
        if layer not in self.filters:
            self.filters[layer] = filters(network.model, graph, layer)
        kernel = self.filters[layer][wish.channel]
        if network.data is None:
            return Portrait(kernel)
        images = network.data.explore
        here = slice(wish.image, wish.image + 1)
        seen, own = maps(network.model, graph, layer, wish.channel, images.inputs(here))
        strongest = () if found is None else tuple(found.strongest[wish.channel].tolist())
        return Portrait(
            kernel,
            images.pixels[wish.image].numpy(),
            seen[0],
            own,
            tuple((number, images.pixels[number].numpy()) for number in strongest),
            () if found is None else tuple(found.peaks[wish.channel].tolist()),
        )

    def _compare(self, wish: Wish, publish: Callable[[Findings], None], check: Callable[[], None]) -> None:
        from explorer.observe.maps import compare, next_layer
        from explorer.surgery import shrink

        session, cut = self.session, wish.cut
        reader = next_layer(session.graph, wish.layer)
        data = session.network.data
        if reader is None or data is None or cut is None:
            return
        pruned = cut.network(session)
        if pruned is None:  # another wish is on its way
            return
        images = data.explore
        some = images.inputs(slice(0, COMPARED))
        here = images.inputs(slice(wish.image, wish.image + 1))
        dense, graph = session.network.model, session.graph
        networks = [pruned]
        if cut.recovery != Recovery() and not all(keep.all() for keep in cut.plan.keep.values()):
            networks.insert(0, shrink(dense, graph, cut.plan))
        found = compare(dense, networks, graph, cut.plan, reader, here, some, check)
        publish(Findings(comparison=found))
