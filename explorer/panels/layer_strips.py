"""The lower half of the layer view as HTML: one channel in pictures, and the next layer before and after the cut."""

import math
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from explorer.figures.importance import number
from explorer.figures.pictures import Pixels, data_uri, diverging, grey, photograph
from explorer.panels.layer_work import Portrait
from explorer.panels.words import tag
from explorer.strings import Strings

if TYPE_CHECKING:
    from explorer.observe.maps import Comparison

SHOWN_MAPS = 16  # as many as a wide dashboard has room for; those that do not fit are not seen


def portrait_html(portrait: Portrait, strings: Strings) -> str:
    """Filter, image, map and the images that excite the channel most, side by side with captions below."""
    pictures = [_figure(diverging(portrait.filter), strings("layer_filter"), strings("layer_filter_help"))]
    if portrait.image is not None and portrait.map is not None:
        pictures.append(
            _figure(photograph(portrait.image), strings("layer_image"), strings("layer_image_help"))
        )
        if portrait.map.size > 1:
            help_text = strings("layer_map_own_help" if portrait.own else "layer_map_help")
            pictures.append(_figure(_map(portrait.map), strings("layer_map"), help_text))
    if portrait.strongest:
        parts = [
            _img(photograph(pixels), strings("layer_peak", image=place, peak=number(peak)))
            for (place, pixels), peak in zip(portrait.strongest, portrait.peaks, strict=True)
        ]
        caption = tag("pe-soft pe-tiny", strings("layer_strongest"), strings("layer_strongest_help"))
        pictures.append(
            f'<div class="pe-picture"><div class="pe-several">{"".join(parts)}</div>{caption}</div>'
        )
    return f'<div class="pe-pictures">{"".join(pictures)}</div>'


def _map(values: np.ndarray) -> Pixels:
    """A map that is never below zero in grey from 0 on, any other in two colours around 0."""
    return diverging(values) if float(values.min()) < 0 else grey(values, 0.0, float(values.max()) or 1.0)


def _figure(pixels: Pixels, caption: str, help_text: str) -> str:
    return (
        f'<div class="pe-picture">{_img(pixels, help_text)}{tag("pe-soft pe-tiny", caption, help_text)}</div>'
    )


def _img(pixels: Pixels, text: str) -> str:
    words = escape(text)
    return f'<img src="{data_uri(pixels)}" alt="{words}" title="{words}">'


def comparison_html(found: "Comparison", name: str, strings: Strings) -> str:
    """The next layer's channels before and after, each in one scale of colours, and the error."""
    kept = int(found.kept.sum())
    head = strings("layer_next", name=name, kept=kept, size=len(found.kept))
    error = strings("layer_error", error=_percent(found.error), images=found.images)
    if math.isnan(found.error):
        error = strings("layer_error_none")
    first = tag("pe-strong pe-cut-off", head, head) + tag("pe-soft", error, strings("layer_error_help"))
    channels = range(min(len(found.kept), SHOWN_MAPS))
    rows = "".join(
        _row(strings(key), [_cell(found, maps, channel, strings) for channel in channels])
        for key, maps in (("layer_before", found.before), ("layer_after", found.after))
    )
    return f'<div class="pe-line">{first}</div>{rows}'


def _percent(share: float) -> str:
    return "–" if math.isnan(share) else f"{100 * share:.1f}"


def _row(label: str, cells: list[str]) -> str:
    return f'<div class="pe-maps"><span class="pe-soft">{escape(label)}</span>{"".join(cells)}</div>'


def _cell(found: "Comparison", maps: np.ndarray, channel: int, strings: Strings) -> str:
    """One channel's map; a removed one is an empty outline after the cut."""
    values = maps[channel]
    if np.isnan(values).any():
        words = escape(strings("layer_map_removed", channel=channel))
        return f'<span class="pe-removed" role="img" aria-label="{words}" title="{words}"></span>'
    alike = slice(None) if values.size == 1 else channel  # single numbers are compared with one another
    most = float(np.nanmax(np.abs(np.stack([found.before[alike], found.after[alike]]))))
    return _img(diverging(values, most), strings("layer_map_of", channel=channel))


def describe(found: "Comparison", name: str, strings: Strings) -> list[str]:
    """The comparison in sentences."""
    removed = int((~found.kept).sum())
    if math.isnan(found.error):
        return [strings("layer_say_next_none", name=name, removed=removed)]
    words = {"name": name, "removed": removed, "error": _percent(found.error), "images": found.images}
    return [strings("layer_say_next", **words)]
