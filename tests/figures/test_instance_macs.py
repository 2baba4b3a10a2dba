from dataclasses import replace

import numpy as np
import pytest

from explorer.figures import instance_macs
from explorer.figures.instance_macs import Shown
from explorer.figures.instance_macs_axes import BARS, BASE, HEIGHT, MOST, POINTS, TOP, axes_of, bins, points
from explorer.figures.view import update
from explorer.strings import LANGUAGES, Strings
from tests.instance_runs import example_instances
from tests.panels.fake_session import make_graph

SAY = Strings("en")


@pytest.fixture(scope="module")
def found():
    return example_instances(make_graph())


def test_bins_tell_right_from_wrong_images():
    shares = np.array([0.50, 0.505, 0.52, 0.539, 0.54])
    right = np.array([True, False, True, True, False])
    assert [
        (pytest.approx(low), pytest.approx(high), good, bad)
        for low, high, good, bad in bins(shares, right, 0.5)
    ] == [(0.50, 0.52, 1, 1), (0.52, 0.54, 2, 0), (0.54, 0.56, 0, 1)]


def test_the_bars_are_as_high_as_images_are_many(found):
    bars, axes = instance_macs.columns(Shown(found), SAY)["bars"], axes_of(found)
    counts = np.array([part[2:] for part in bins(found.shares, found.right, axes.high - axes.low)])
    assert counts.sum(axis=0).tolist() == [found.right.sum(), (~found.right).sum()]
    room = (TOP - BASE) / counts.sum(axis=1).max()
    assert np.array(bars["middle"]) == pytest.approx(BASE + room * counts[:, 0])
    assert np.array(bars["top"]) == pytest.approx(BASE + room * counts.sum(axis=1))
    ends = [*zip(bars["left"], bars["right"], strict=True)]
    assert all(BARS[0] <= left < right <= BARS[1] for left, right in ends)


def test_mean_and_dense_are_marked(found):
    tables, axes = instance_macs.columns(Shown(found), SAY), axes_of(found)
    assert tables["mean"]["x"] == [pytest.approx(axes.x(found.macs.mean() / found.dense_macs, BARS))]
    assert tables["dense"]["x"] == [pytest.approx(axes.x(1.0, BARS))]
    assert f"mean {100 * found.macs.mean() / found.dense_macs:.0f} %" in tables["words"]["bold"]


def test_every_image_is_a_point_of_its_kind(found):
    tables = instance_macs.columns(Shown(found, (4,)), SAY)
    assert set(tables["right"]["image"]) == set(found.images[found.right].tolist())
    assert set(tables["wrong"]["image"]) == set(found.images[~found.right].tolist())
    low, high = (np.argmin(found.losses), np.argmax(found.losses))
    heights = dict(zip(tables["right"]["image"], tables["right"]["y"], strict=True))
    heights |= dict(zip(tables["wrong"]["image"], tables["wrong"]["y"], strict=True))
    assert BASE < heights[found.images[low]] <= heights[found.images[high]] <= TOP
    assert tables["picked"]["text"] == ["1"]
    assert tables["picked"]["y"] == [heights[4]]


def test_of_many_images_some_are_points_and_the_picked_ones_among_them():
    many = example_instances(make_graph(), count=2 * MOST + 1)
    order = np.argsort(many.losses, kind="stable")
    picked = int(many.images[order[1]])
    rows = points(many, (picked,))
    assert len(rows) == len(set(rows.tolist())) == MOST + 1
    assert {order[0], order[1], order[-1]} <= set(rows.tolist())


def test_diamonds_are_the_fifths_with_the_lowest_and_the_highest_losses(found):
    tables, axes = instance_macs.columns(Shown(found), SAY), axes_of(found)
    order = np.argsort(found.losses)
    means = [found.shares[order[:8]].mean(), found.shares[order[-8:]].mean()]
    assert tables["fifths"]["x"] == [pytest.approx(axes.x(mean, POINTS)) for mean in means]
    assert tables["names"]["text"] == [f"easiest {100 * means[0]:.0f} %", f"hardest {100 * means[1]:.0f} %"]
    assert f"Spearman {found.correlation:.2f}" in tables["words"]["bold"]


def test_equal_macs_have_no_correlation_and_that_is_said(found):
    same = replace(found, macs=np.full(len(found), found.dense_macs), predicted=found.labels.astype(np.int16))
    tables = instance_macs.columns(Shown(same), SAY)
    assert "no correlation" in tables["words"]["bold"]
    assert tables["fifths"]["x"] == []
    assert len(tables["bars"]["left"]) == 1
    assert tables["bars"]["right"][0] <= BARS[1]
    said = instance_macs.describe(Shown(same), SAY)
    assert any("No image is wrong" in each for each in said)
    assert any("no rank correlation" in each for each in said)


def test_losses_that_are_no_numbers_are_drawn(found):
    losses = found.losses.copy()
    losses[:2] = np.inf, np.nan
    tables = instance_macs.columns(Shown(replace(found, losses=losses)), SAY)
    heights = [*tables["right"]["y"], *tables["wrong"]["y"]]
    assert len(heights) == len(found)
    assert all(BASE < y <= TOP for y in heights)


def test_what_only_a_perfect_predictor_would_save_is_said(found):
    for source, words in (("active", "perfect predictor"), ("fbs", "theoretical")):
        said = instance_macs.describe(Shown(replace(found, source=source)), SAY)
        assert words in said[0]


def test_right_and_wrong_images_in_sentences(found):
    said = " ".join(instance_macs.describe(Shown(found), SAY))
    right, wrong = (100 * found.shares[kind].mean() for kind in (found.right, ~found.right))
    assert f"{right:.0f} % on average, wrong ones ({(~found.right).sum()}) {wrong:.0f} %" in said


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("count", [1, 2, 40])
def test_all_that_is_drawn_lies_within_the_figure(count, language):
    few = example_instances(make_graph(), count=count)
    tables = instance_macs.columns(Shown(few), Strings(language))
    assert all(6 < y < HEIGHT - 6 for y in tables["words"]["y"])
    assert len(tables["right"]["x"]) + len(tables["wrong"]["x"]) == count


def test_without_instances_only_the_message_is_drawn():
    assert instance_macs.columns(None, SAY, "nothing yet")["words"]["soft"] == ["nothing yet"]
    assert instance_macs.describe(None, SAY, "nothing yet") == ["nothing yet"]


def test_the_view_takes_the_columns(found):
    view = instance_macs.build()
    tables = instance_macs.columns(Shown(found), SAY)
    update(view, tables)
    assert view.sources["bars"].data == tables["bars"]
    assert set(instance_macs.make_tappable(view).data) == {"number", "image"}
