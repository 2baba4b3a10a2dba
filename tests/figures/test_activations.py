import math
from dataclasses import replace

import numpy as np
import pytest

from explorer.figures import activations
from explorer.figures.activations import Answers
from explorer.figures.view import update
from explorer.strings import Strings

SAY = Strings("en")
ANSWERS = Answers(
    quartiles=np.array([[0, 1], [1, 2], [2, 4]], dtype=np.float32),
    zeros=np.array([0.25, 0.0], dtype=np.float32),
    keep=np.array([True, False]),
    images=500,
    of=2000,
    chosen=1,
)


def test_boxes_reach_from_quartile_to_quartile_on_one_scale():
    boxes = activations.columns(ANSWERS, SAY)["boxes"]
    unit = (activations.TOP - activations.BASE) / 4
    assert boxes["low"] == pytest.approx([activations.BASE, activations.BASE + unit])
    assert boxes["kept"][0] == pytest.approx(activations.BASE + 2 * unit)
    assert boxes["removed"][1] == pytest.approx(activations.TOP)
    assert boxes["median"] == pytest.approx([activations.BASE + unit, activations.BASE + 2 * unit])


def test_a_channel_is_drawn_as_kept_or_as_removed():
    boxes = activations.columns(ANSWERS, SAY)["boxes"]
    assert [math.isnan(top) for top in boxes["kept"]] == [False, True]
    assert [math.isnan(top) for top in boxes["removed"]] == [True, False]


def test_the_share_of_zeros_hangs_below():
    boxes = activations.columns(ANSWERS, SAY)["boxes"]
    hanging = [activations.HANGING - bottom for bottom in boxes["zeros"]]
    assert hanging == pytest.approx([activations.ZEROS / 4, 0])


def test_the_chosen_channel_is_marked_and_the_sample_is_named():
    tables = activations.columns(ANSWERS, SAY)
    assert tables["chosen"] == {"left": [0.5], "right": [1.0]}
    assert "activations, 500 of 2,000 images" in tables["labels"]["text"]


def test_a_silent_layer_is_still_seen():
    silent = replace(ANSWERS, quartiles=np.zeros((3, 2), dtype=np.float32))
    boxes = activations.columns(silent, SAY)["boxes"]
    assert boxes["kept"][0] - boxes["low"][0] == pytest.approx(activations.THINNEST)


def test_many_channels_share_boxes_and_every_one_can_be_pointed_at():
    quartiles = np.stack([np.full(200, 0.0), np.arange(200) / 100, np.full(200, 2.0)]).astype(np.float32)
    keep = np.arange(200) < 100
    tables = activations.columns(Answers(quartiles, np.zeros(200), keep, 5, 5, 150), SAY)
    boxes = tables["boxes"]
    assert len(boxes["left"]) == activations.MOST_BOXES
    assert tables["scale"] == {"size": [200]}
    assert tables["chosen"]["left"] == [0.75]
    assert boxes["median"] == sorted(boxes["median"])
    kept = [right for right, top in zip(boxes["right"], boxes["kept"], strict=True) if not math.isnan(top)]
    assert max(kept) == pytest.approx(0.5, abs=1 / activations.MOST_BOXES)


def test_until_they_are_measured_a_message_stands_there():
    tables = activations.columns(None, SAY, "wait")
    assert tables["labels"]["text"] == ["wait"]
    assert tables["scale"]["size"] == []


def test_the_chart_in_sentences():
    assert activations.describe("conv1", ANSWERS, SAY) == [
        "conv1: activations over 500 of 2,000 images.",
        "The largest median is that of channel 1: 2.",
        "Most often zero is channel 0: 25 % of its values.",
    ]
    assert activations.describe("conv1", None, SAY, "wait") == ["wait"]


def test_the_view_takes_the_columns():
    view = activations.build()
    update(view, activations.columns(ANSWERS, SAY))
    assert view.sources["scale"].data == {"size": [2]}
