"""One image, looked into: the answers of the dense and the pruned network, and a layer's maps in both."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from explorer.figures.pictures import Pixels, data_uri, diverging
from explorer.panels.kit.words import percent, tag

if TYPE_CHECKING:
    from explorer.observe.answers import Answer
    from explorer.observe.maps import Comparison
    from explorer.strings import Strings
    from explorer.values import Floats

MOST_CHANNELS = 15  # with the mean before them two lines at the narrowest


@dataclass(frozen=True, eq=False)
class Look:
    """What there is to see of one image: its `picture`, both networks' answers, and the maps of `layer`.

    `label` is the right class (without labels the dense network's), `names` those of all classes; answers are empty
    where images have no classes; `maps` is None if no
    layer is selected.
    """

    picture: Pixels
    label: int
    names: Sequence[str]
    dense: Answer
    now: Answer
    layer: str
    maps: Comparison | None


def strongest(maps: Floats, count: int = MOST_CHANNELS) -> list[int]:
    """The channels (of float (channels, height, width)) with the largest mean magnitude, largest first."""
    sizes = np.abs(maps).mean((1, 2))
    return np.argsort(-sizes, kind="stable")[:count].tolist()


def look_html(look: Look, strings: Strings) -> str:
    """The view as HTML: the picture beside the answers, pairs of maps below, the dense one above the pruned one."""
    picture = f'<img class="pe-look-picture" alt="" src="{data_uri(look.picture)}">'
    sides = (("images_dense", look.dense), ("images_pruned", look.now))
    answers = "".join(_answers(strings(key), answer, look) for key, answer in sides if answer)
    return f'<div class="pe-look-head">{picture}{answers}</div>{_maps(look, strings)}'


def describe(look: Look, strings: Strings) -> list[str]:
    """The same in sentences."""
    sentences = []
    for key, answer in (("images_dense_says", look.dense), ("images_pruned_says", look.now)):
        if not answer:
            continue
        classes = ", ".join(f"{_name(look, label)} {percent(share)}" for label, share in answer)
        sentences.append(strings(key, classes=classes))
    if look.maps is not None:
        channels = strongest(look.maps.before)
        gone = [str(channel) for channel in channels if not look.maps.kept[channel]]
        shown = {"layer": look.layer, "shown": len(channels), "count": len(look.maps.kept)}
        sentences.append(strings("images_maps_strongest", **shown))
        sentences.append(
            strings("images_maps_gone", channels=", ".join(gone) or strings("images_maps_none_gone"))
        )
    return sentences


def _answers(title: str, answer: Answer, look: Look) -> str:
    rows = []
    for label, share in answer:
        right = "pe-strong" if label == look.label else ""
        name = tag(f"pe-look-name {right}", _name(look, label), _name(look, label))
        bar = f'<span class="pe-look-bar"><i style="width:{100 * share:.1f}%"></i></span>'
        rows.append(f"<div>{name}{bar}{tag('pe-look-share', percent(share))}</div>")
    return f'<div class="pe-look-answers">{tag("pe-soft", title)}{"".join(rows)}</div>'


def _maps(look: Look, strings: Strings) -> str:
    maps = look.maps
    if maps is None:
        return tag("pe-soft", strings("images_no_layer"))
    channels = strongest(maps.before)
    caption = strings("images_maps_strongest", layer=look.layer, shown=len(channels), count=len(maps.kept))
    error = "" if math.isnan(maps.error) else strings("images_maps_error", percent=f"{100 * maps.error:.0f}")
    left = maps.after[maps.kept]
    mean = maps.before.mean(0), left.mean(0) if len(left) and not np.isnan(left).any() else None
    pairs = [_pair(strings("images_mean"), *mean, strings("images_mean_help"), "pe-mean")]
    for channel in channels:
        after = (
            maps.after[channel] if maps.kept[channel] and not np.isnan(maps.after[channel]).any() else None
        )
        words = strings(
            "images_channel_kept" if after is not None else "images_channel_gone", channel=channel
        )
        pairs.append(_pair(str(channel), maps.before[channel], after, words))
    sides = tag("", strings("images_side_dense")) + tag("", strings("images_side_now"))
    head = tag("", caption, strings("images_maps_help")) + tag(
        "pe-soft", error, strings("images_maps_error_help")
    )
    return (
        f'<div class="pe-line">{head}</div><div class="pe-look-maps">'
        f'<div class="pe-pair pe-sides"><b></b>{sides}</div>{"".join(pairs)}</div>'
    )


def _pair(title: str, before: Floats, after: Floats | None, words: str, css: str = "") -> str:
    """A channel's two maps, one below the other, in colours of one range; an empty frame for a removed one."""
    most = max(float(np.abs(values).max()) for values in (before, after) if values is not None)
    above = _map(before, most)
    below = '<i class="pe-gone"></i>' if after is None else _map(after, most)
    return f'<div class="pe-pair {css}" title="{escape(words)}"><b>{escape(title)}</b>{above}{below}</div>'


def _map(values: Floats, most: float) -> str:
    return f'<img alt="" src="{data_uri(diverging(values, most))}">'


def _name(look: Look, label: int) -> str:
    return look.names[label] if label < len(look.names) else str(label)
