from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest

from explorer.figures import instance_channel
from explorer.figures.instance_channel import (
    BASE,
    MIDDLE,
    MOST,
    SIDE,
    TOP,
    channel_at,
    columns,
    describe,
    extremes,
    image_at,
    pages,
    pictures,
    widest,
)
from explorer.figures.text_lines import pixels_of
from explorer.figures.view import update
from explorer.strings import LANGUAGES, Strings

STRINGS = Strings("en")
SHIFT = {"left": 0, "center": 0.5, "right": 1}  # share of a text that stands before its x


@dataclass(frozen=True, eq=False)
class Peaks:
    layer: str
    images: np.ndarray
    values: np.ndarray


def ramp(channels=3, count=21):
    """Channel k goes from 0 to 20 (k + 1) in even steps, over images 0, 3, 6, ... in a shuffled order."""
    order = np.random.default_rng(0).permutation(count)
    values = order[:, None] * np.arange(1, channels + 1)[None]
    return Peaks("conv2", 3 * np.arange(count), values.astype(np.float32))


def texts(tables):
    labels = tables["labels"]
    return ["".join(row) for row in zip(*(labels[role] for role in instance_channel._ROLES), strict=True)]


def test_boxes_are_quartiles_and_whiskers_percentiles_on_one_scale():
    boxes = columns(ramp(), STRINGS)["boxes"]
    unit = (TOP - BASE) / 57  # the 95th percentile of the largest channel, 3 x 19
    assert boxes["lower"] == pytest.approx([BASE + unit * 5 * k for k in (1, 2, 3)])
    assert boxes["median"] == pytest.approx([BASE + unit * 10 * k for k in (1, 2, 3)])
    assert boxes["upper"] == pytest.approx([BASE + unit * 15 * k for k in (1, 2, 3)])
    assert boxes["least"] == pytest.approx([BASE + unit * k for k in (1, 2, 3)])
    assert boxes["most"][-1] == pytest.approx(TOP)


def test_zero_is_on_the_scale_and_a_box_of_equal_values_is_seen():
    values = np.full((20, 2), -1.0, dtype=np.float32)
    values[:, 1] = 3
    tables = columns(Peaks("conv", np.arange(20), values), STRINGS)
    assert tables["axis"]["y"] == pytest.approx([BASE + (TOP - BASE) / 4])
    assert tables["boxes"]["upper"][0] - tables["boxes"]["lower"][0] == instance_channel.THINNEST


def test_few_channels_stand_in_their_order_and_many_by_their_spread():
    assert pages(ramp(5)) == ((0, 1, 2, 3, 4),)
    many = ramp(130)
    found = pages(many)
    assert [len(page) for page in found] == [MOST, MOST, 2]
    assert [channel for page in found for channel in page] == list(range(129, -1, -1))
    assert widest(many) == 129
    assert columns(many, STRINGS, page=99)["boxes"] == columns(many, STRINGS, page=2)["boxes"]


@pytest.mark.parametrize("channels", [1, 16, 64, 2000])
def test_every_box_is_three_pixels_wide_or_more(channels):
    boxes = columns(ramp(channels), STRINGS)["boxes"]
    wide = 430 / 1.01 * (np.array(boxes["right"]) - boxes["left"])
    assert wide.min() >= 3
    assert (np.array(boxes["left"][1:]) > boxes["right"][:-1]).all()


def test_extremes_fall_and_share_no_image():
    peaks = ramp()
    most, least = extremes(peaks, 1)
    assert peaks.values[list(most), 1].tolist() == [40, 38, 36, 34, 32]
    assert peaks.values[list(least), 1].tolist() == [8, 6, 4, 2, 0]
    most, least = extremes(Peaks("conv", np.arange(5), np.zeros((5, 1), np.float32)), 0)
    assert (most, least) == ((0, 1), (3, 4))
    assert extremes(Peaks("conv", np.arange(1), np.ones((1, 1), np.float32)), 0) == ((), ())


def test_a_tap_finds_the_channel_and_the_image_that_stand_there():
    peaks = ramp(4)
    assert [channel_at(peaks, 0, x, (BASE + TOP) / 2) for x in (0.1, 0.3, 0.99)] == [0, 1, 3]
    assert channel_at(peaks, 0, 1.001, BASE) is None
    assert channel_at(peaks, 0, 0.1, MIDDLE) is None
    x = columns(peaks, STRINGS, 1)["frames"]["x"]
    rows = [row for part in extremes(peaks, 1) for row in part]
    assert [image_at(peaks, 1, each, MIDDLE) for each in x] == [3 * row for row in rows]
    assert image_at(peaks, 1, 0.5, MIDDLE) is None
    assert image_at(peaks, 1, x[0], BASE) is None


def test_pictures_stand_apart_with_their_maxima_below():
    strongest = 3 * int(ramp().values[:, 2].argmax())
    urls = [f"url{place}" for place in range(10)]
    tables = columns(ramp(), STRINGS, 2, shown=urls, names={strongest: "shirt"})
    x = np.array(tables["frames"]["x"])
    assert (np.diff(x) * 430 / 1.01 > SIDE).all()
    assert 430 / 1.01 * x[0] >= SIDE / 2 - 2
    assert tables["pictures"]["x"] == x.tolist()
    shown = texts(tables)
    assert {"60.0", "48.0", "12.0", "0", "channel 2, excited most", "up to 57"} <= set(shown)
    assert tables["frames"]["hover"][0] == "shirt: 60"
    assert tables["frames"]["hover"][9] == f"Image {3 * int(ramp().values[:, 2].argmin())}: 0"


def test_the_chosen_channel_is_marked_and_the_widest_one_by_default():
    assert columns(ramp(4), STRINGS, 1)["chosen"] == {"left": [0.25], "right": [0.5]}
    assert columns(ramp(4), STRINGS)["chosen"] == {"left": [0.75], "right": [1.0]}
    assert columns(ramp(70), STRINGS, 0)["chosen"]["left"] == []  # it is on the other page


def test_a_picture_keeps_its_proportions():
    from base64 import b64decode
    from io import BytesIO

    from PIL import Image

    (url,) = pictures([np.full((10, 20), 200, dtype=np.uint8)])
    image = np.asarray(Image.open(BytesIO(b64decode(url.partition(",")[2]))))
    side = round(SIDE) * instance_channel.SHARPNESS
    assert image.shape == (side, side, 4)
    assert (image[..., 3] > 0).sum(axis=0).tolist() == [side // 2] * side


def test_it_is_told_in_sentences():
    said = describe(ramp(), STRINGS, 0)
    assert said[1] == "Channel 2 differs most: half of the images between 15 and 45, median 30."
    assert said[2] == "Channel 0: half of the images between 5 and 15, median 10."
    assert "20; " in said[3]
    assert len(describe(ramp(), STRINGS, 2)) == 4
    assert describe(None, STRINGS, message="wait") == ["wait"]
    assert texts(columns(None, STRINGS, message="wait")) == ["wait"]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("channels", [8, 512])
def test_texts_have_room(language, channels):
    peaks = ramp(channels)
    peaks = Peaks("features.denseblock4.denselayer16.conv1", peaks.images, peaks.values)
    tables = columns(peaks, Strings(language), channels - 1)
    lines = {}
    for x, y, align, text in zip(
        *(tables["labels"][key] for key in ("x", "y", "align")), texts(tables), strict=True
    ):
        wide = 0.93 * pixels_of(text)
        left = 425 * x - SHIFT[align] * wide
        lines.setdefault(y, []).append((left, left + wide, text))
    for line in lines.values():
        ends = [(-1, 0, ""), *sorted(line), (428, 430, "")]
        for (_left, end, one), (start, _right, other) in pairwise(ends):
            assert end <= start, (one, other)


def test_the_view_takes_the_tables():
    view = instance_channel.build(1.25)
    tables = columns(ramp(), STRINGS, shown=["data:,"] * 10)
    update(view, tables)
    assert {name: source.data for name, source in view.sources.items()} == tables
