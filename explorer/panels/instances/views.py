"""What the instances pane shows: one figure at a time, each with its Bokeh document, built when first seen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from bokeh.events import Tap

from explorer.figures import instance_channel, instance_macs, instance_similarity, instance_strip
from explorer.figures.instance_order import ORDERS, class_name
from explorer.panels.instances.gallery import GallerySight, PairSight
from explorer.panels.instances.sight import HEIGHT, Options, Seen, Sight
from explorer.panels.instances.told import EffectsSight, PapersSight
from explorer.panels.instances.work import Alike, Peaked, Peaks, Pictures
from explorer.panels.kit.sights import BuiltWhenSeen

if TYPE_CHECKING:
    from explorer.figures.view import Columns
    from explorer.strings import Strings

VIEWS = ("gallery", "strip", "macs", "similarity", "channel", "effects", "papers")
TOLD = ("effects", "papers")  # that need no images
PICKABLE = ("gallery", "pair", "strip", "macs", "similarity", "channel")  # those that show single images


class MacsSight(Sight):
    """How many MACs images get, and whether difficult ones get more; `tap(image)` is called when one is tapped."""

    def __init__(self, strings: Strings, scale: float, tap: Callable[[int], None]) -> None:
        view = instance_macs.build(scale)
        tapped = instance_macs.make_tappable(view, scale)
        view.root.height = round(HEIGHT * scale)
        super().__init__(view, strings, heard=[(tapped, "data")])
        tapped.on_change("data", lambda _name, _old, new: tap(int(new["image"][0])))

    def _tables(self, seen: Seen) -> Mapping[str, Columns]:
        return instance_macs.columns(self._shown(seen), self._strings)

    def sentences(self, seen: Seen) -> list[str]:
        return instance_macs.describe(self._shown(seen), self._strings)

    @staticmethod
    def _shown(seen: Seen) -> instance_macs.Shown | None:
        return None if seen.found is None else instance_macs.Shown(seen.found, seen.picked, seen.names)


class StripSight(Sight):
    """What every image keeps of one layer; `tap(image)` is called when one is tapped."""

    def __init__(self, strings: Strings, scale: float, tap: Callable[[int], None]) -> None:
        view = instance_strip.build(scale)
        tapped = instance_strip.make_tappable(view)
        view.root.height = round(HEIGHT * scale)
        super().__init__(view, strings, heard=[(tapped, "data")])
        tapped.on_change("data", lambda _name, _old, new: tap(int(new["image"][0])))

    def options(self, _seen: Seen) -> Options:
        return [(self._strings(f"instance_order_{name}"), name) for name in ORDERS]

    def _tables(self, seen: Seen) -> Mapping[str, Columns]:
        return instance_strip.columns(self._shown(seen), self._strings)

    def sentences(self, seen: Seen) -> list[str]:
        return instance_strip.describe(self._shown(seen), self._strings)

    @staticmethod
    def _shown(seen: Seen) -> instance_strip.Shown | None:
        if seen.found is None or seen.site is None:
            return None
        return instance_strip.Shown(seen.found, seen.site.layer, seen.order, seen.picked, seen.names)


class SimilaritySight(Sight):
    """How alike images are, and how alike their subnetworks; what was compared last stays while it is worked out.

    `pick(*images)` is called when a cell is tapped, with its two images.
    """

    def __init__(self, strings: Strings, scale: float, pick: Callable[..., None]) -> None:
        view = instance_similarity.build(scale)
        tapped = instance_similarity.make_tappable(view)
        view.root.height = round(HEIGHT * scale)
        super().__init__(view, strings, heard=[(tapped, "data")])
        tapped.on_change(
            "data", lambda _name, _old, new: self._tapped(int(new["image"][0]), int(new["other"][0]))
        )
        self._pick = pick
        self._last: instance_similarity.Similarities | None = None

    def _tapped(self, one: int, other: int) -> None:
        self._pick(*dict.fromkeys((one, other)))

    def _tables(self, seen: Seen) -> Mapping[str, Columns]:
        return instance_similarity.columns(
            self._shown(seen), self._strings, self._strings("instance_comparing")
        )

    def sentences(self, seen: Seen) -> list[str]:
        return instance_similarity.describe(
            self._shown(seen), self._strings, self._strings("instance_comparing")
        )

    def _shown(self, seen: Seen) -> instance_similarity.Shown | None:
        if seen.found is None or seen.site is None:
            return None
        if not seen.found.trial:  # which would be compared again at once
            self._last = seen.ask(Alike(seen.found, seen.site)) or self._last
        if self._last is None or self._last.layer != seen.site.layer:
            return None
        return instance_similarity.Shown(self._last, seen.picked, seen.names)


class ChannelSight(Sight):
    """What excites the channels of one layer; `choose(channel)` and `tap(image)` are called when one is tapped."""

    def __init__(
        self, strings: Strings, scale: float, tap: Callable[[int], None], choose: Callable[[int], None]
    ) -> None:
        view = instance_channel.build(scale)
        self._tap, self._choose = tap, choose
        self._now: tuple[Peaked, int, int] | None = None  # what is drawn: peaks, channel and page
        view.root.on_event(Tap, self._tapped)
        view.root.height = round(HEIGHT * scale)
        super().__init__(view, strings)

    def _tapped(self, event: Tap) -> None:
        if self._now is None or event.x is None or event.y is None:
            return
        peaks, channel, page = self._now
        image = instance_channel.image_at(peaks, channel, event.x, event.y)
        chosen = instance_channel.channel_at(peaks, page, event.x, event.y)
        if image is not None:
            self._tap(image)
        elif chosen is not None:
            self._choose(chosen)

    def pages(self, seen: Seen) -> int:
        peaks = self._peaks(seen)
        return 1 if peaks is None else len(instance_channel.pages(peaks))

    def options(self, seen: Seen) -> Options:
        if seen.site is None:
            return []
        words = [(self._strings("instance_channel_most_spread"), -1)]
        return words + [
            (self._strings("instance_channel_number", channel=channel), channel)
            for channel in range(seen.site.size)
        ]

    def _tables(self, seen: Seen) -> Mapping[str, Columns]:
        peaks, say = self._peaks(seen), self._strings
        if peaks is None:
            self._now = None
            return instance_channel.columns(None, say, message=say("instance_exciting"))
        channel, page = _channel(peaks, seen), seen.page % len(instance_channel.pages(peaks))
        self._now = peaks, channel, page
        rows = [row for part in instance_channel.extremes(peaks, channel) for row in part]
        images = tuple(int(peaks.images[row]) for row in rows)
        pictures = seen.ask(Pictures(images)) or ()
        found, names = seen.found, {}
        for image in images:
            row = None if found is None else found.row(image)
            if found is not None and row is not None:
                label = class_name(seen.names, int(found.labels[row]))
                names[image] = say("images_title", image=image, label=label)
        drawn = instance_channel.pictures(pictures)
        return instance_channel.columns(peaks, say, channel, page, drawn, names)

    def sentences(self, seen: Seen) -> list[str]:
        peaks, say = self._peaks(seen), self._strings
        if peaks is None:
            return [say("instance_exciting")]
        return instance_channel.describe(peaks, say, _channel(peaks, seen))

    @staticmethod
    def _peaks(seen: Seen) -> Peaked | None:
        if seen.found is None or seen.site is None:
            return None
        peaks: Peaked | None = seen.ask(Peaks(seen.site, len(seen.found), seen.found.images))
        return peaks


def _channel(peaks: Peaked, seen: Seen) -> int:
    """The chosen channel; of a layer that has no such one, that which images excite most differently."""
    known = 0 <= seen.channel < peaks.values.shape[1]
    return seen.channel if known else instance_channel.widest(peaks)


class Sights(BuiltWhenSeen[Sight]):
    """All views by name, each built when it is first asked for.

    `tap(image)` and `choose(channel)` are called when one is tapped, `pick(*images)` with all that are to be picked,
    and `changed()` when a view is to be shown anew.
    """

    def __init__(
        self,
        strings: Strings,
        scale: float,
        tap: Callable[[int], None],
        pick: Callable[..., None],
        choose: Callable[[int], None],
        changed: Callable[[], None],
    ) -> None:
        builders: dict[str, Callable[[], Sight]] = {
            "gallery": lambda: GallerySight(strings, scale, tap, changed),
            "pair": lambda: PairSight(strings, scale),
            "macs": lambda: MacsSight(strings, scale, tap),
            "strip": lambda: StripSight(strings, scale, tap),
            "similarity": lambda: SimilaritySight(strings, scale, pick),
            "channel": lambda: ChannelSight(strings, scale, tap, choose),
            "effects": lambda: EffectsSight(strings, scale, changed),
            "papers": lambda: PapersSight(strings, scale),
        }
        super().__init__(builders)
