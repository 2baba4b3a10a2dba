"""The lower half of the layer view as HTML: one channel in pictures, and the next layer dense, cut and repaired."""

import math
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from explorer.figures.importance import number
from explorer.figures.pictures import Pixels, data_uri, diverging, grey, photograph
from explorer.figures.reader_errors import percent
from explorer.panels.kit.words import tag
from explorer.panels.layer.work import Portrait
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
    """The next layer's channels, each in one scale of colours: dense, cut and repaired, with their errors."""
    kept = int(found.kept.sum())
    head = strings("layer_next", name=name, kept=kept, size=len(found.kept))
    error = strings("layer_error", error=percent(found.error), images=found.images)
    if math.isnan(found.error):
        error = strings("layer_error_none")
    first = tag("pe-strong pe-cut-off", head, head) + tag("pe-soft", error, strings("layer_error_help"))
    channels = range(min(len(found.kept), SHOWN_MAPS))
    rows = "".join(
        _row(label, error, [_cell(found, maps, channel, strings) for channel in channels], strings)
        for label, error, maps in zip(_states(found, strings), ("", *_errors(found)), found.maps, strict=True)
    )
    css = "pe-states pe-three" if len(found.maps) > 2 else "pe-states"
    return f'<div class="{css}"><div class="pe-line">{first}</div>{rows}</div>'


def _states(found: "Comparison", strings: Strings) -> list[str]:
    """What the maps are of."""
    return [strings(key) for key in ("layer_dense", "layer_cut", "layer_repaired")[: len(found.maps)]]


def _errors(found: "Comparison") -> list[str]:
    return [percent(error) for error in found.errors]


def _row(label: str, error: str, cells: list[str], strings: Strings) -> str:
    beside = tag("pe-tiny", f"{error} %", strings("layer_map_error_help")) if error else ""
    return f'<div class="pe-maps"><span class="pe-soft">{escape(label)}{beside}</span>{"".join(cells)}</div>'


def _cell(found: "Comparison", maps: np.ndarray, channel: int, strings: Strings) -> str:
    """One channel's map; a removed one is an empty outline after the cut."""
    values = maps[channel]
    if np.isnan(values).any():
        words = escape(strings("layer_map_removed", channel=channel))
        return f'<span class="pe-removed" role="img" aria-label="{words}" title="{words}"></span>'
    alike = slice(None) if values.size == 1 else channel  # single numbers are compared with one another
    most = max(float(np.nanmax(np.abs(each[alike]), initial=0.0)) for each in found.maps)
    return _img(diverging(values, most), strings("layer_map_of", channel=channel))


def describe(found: "Comparison", name: str, image: int, strings: Strings) -> list[str]:
    """The comparison in sentences."""
    removed = int((~found.kept).sum())
    if math.isnan(found.error):
        return [strings("layer_say_next_none", name=name, removed=removed)]
    words = {"name": name, "removed": removed, "error": percent(found.error), "images": found.images}
    return [
        strings("layer_say_next", **words),
        *(
            strings("layer_say_map_error", image=image, state=state, error=error)
            for state, error in zip(_states(found, strings)[1:], _errors(found), strict=True)
        ),
    ]
