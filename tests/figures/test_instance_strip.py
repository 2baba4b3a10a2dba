import base64
import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from explorer.errors import UnknownName
from explorer.figures import instance_strip
from explorer.figures.instance_order import class_name, ordered
from explorer.figures.instance_strip import FAINTEST, HEIGHT, MOST, Shown, drawn, intensities
from explorer.figures.view import update
from explorer.strings import LANGUAGES, Strings
from tests.instance_runs import example_instances
from tests.panels.fake_session import make_graph

SAY = Strings("en")
NAMES = ("bag", "coat", "dress", "shirt")


@pytest.fixture(scope="module")
def found():
    return example_instances(make_graph())


def site_of(found, place=0):
    return found.sites.every[place]


def opacity(url):
    pixels = Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2])))
    return np.asarray(pixels)[..., 3]


def test_by_class_the_images_of_a_class_go_from_few_macs_to_many(found):
    order = ordered(found, site_of(found), "class")
    expected = sorted(range(len(found)), key=lambda row: (found.labels[row], found.macs[row], row))
    assert order.tolist() == expected


def test_by_macs_they_never_fall(found):
    order = ordered(found, site_of(found), "macs")
    assert sorted(order) == list(range(len(found)))
    assert (np.diff(found.macs[order]) >= 0).all()


@pytest.mark.parametrize("source", ["manidp", "active"])
def test_by_similarity_two_kinds_of_images_lie_apart(found, source):
    site = site_of(found)
    kind = np.arange(len(found)) % 2
    low = np.arange(site.size) < site.size // 2
    saliency, keep = found.saliency.copy(), found.keep.copy()
    saliency[:, site.columns] = np.where(low == kind[:, None], 1.0, 0.1)
    keep[:, site.columns] = low == kind[:, None]
    two = replace(found, saliency=saliency, keep=keep, source=source)
    order = ordered(two, site, "similarity")
    assert sorted(order) == list(range(len(found)))
    assert np.count_nonzero(np.diff(kind[order])) == 1
    assert (order == ordered(two, site, "similarity")).all()


def test_where_all_are_alike_the_order_is_that_of_the_images(found):
    alike = replace(found, saliency=np.ones_like(found.saliency))
    assert ordered(alike, site_of(found), "similarity").tolist() == list(range(len(found)))
    none = replace(found, saliency=np.zeros_like(found.saliency))
    assert ordered(none, site_of(found), "similarity").tolist() == list(range(len(found)))


def test_an_unknown_order_is_refused(found):
    with pytest.raises(UnknownName, match="similarity"):
        ordered(found, site_of(found), "colour")


def test_what_is_dropped_is_empty_and_what_is_kept_is_as_deep_as_it_is_salient(found):
    site, rows = site_of(found), np.arange(len(found))
    depths = intensities(found, site, rows)
    keep, saliency = found.keep[:, site.columns], found.saliency[:, site.columns]
    assert ((depths > 0) == keep).all()
    assert depths[keep].min() >= FAINTEST
    assert depths.max() == 1
    place = np.unravel_index(np.argmin(np.where(keep, saliency, np.inf)), keep.shape)
    most = np.quantile(saliency[keep], 0.99)
    assert depths[place] == pytest.approx(FAINTEST + (1 - FAINTEST) * saliency[place] / most, abs=1e-5)


def test_the_picture_has_the_first_channel_at_the_bottom_and_a_column_for_every_image(found):
    site = site_of(found)
    tables = instance_strip.columns(Shown(found, site.layer, "macs"), SAY)
    alpha = opacity(tables["pictures"]["url"][0])
    down, along = alpha.shape[0] // site.size, alpha.shape[1] // len(found)
    seen = alpha[down // 2 :: down, along // 2 :: along]
    assert ((seen[::-1].T > 0) == found.keep[found.order, site.columns]).all()
    assert tables["images"]["image"] == found.images[found.order].tolist()


def test_of_many_images_some_are_drawn_and_the_picked_ones_among_them():
    many = example_instances(make_graph(), count=MOST + 111)
    rows = drawn(many, many.order, (2, 4))
    assert len(rows) == len(set(rows.tolist())) == MOST
    assert {1, 2} <= set(rows.tolist())
    assert (np.diff(many.macs[rows]) >= 0).all()
    tables = instance_strip.columns(Shown(many, site_of(many).layer, "macs", (2, 4)), SAY)
    assert tables["picked"]["text"] == ["1", "2"]
    for x, image in zip(tables["picked"]["x"], (2, 4), strict=True):
        assert tables["images"]["image"][int(x * MOST)] == image
    assert f"{MOST} of {len(many)}" in tables["words"]["soft"]


def test_by_class_the_classes_are_named_below_their_images(found):
    tables = instance_strip.columns(Shown(found, site_of(found).layer, classes=NAMES), SAY)
    places = dict(zip(tables["words"]["soft"], tables["words"]["x"], strict=True))
    assert [places[name] for name in NAMES] == pytest.approx([0.125, 0.375, 0.625, 0.875])
    assert tables["ends"]["x"] == pytest.approx([0.25, 0.5, 0.75])
    assert len(tables["pictures"]["url"]) == 1


def test_another_order_shows_the_classes_as_rows(found):
    tables = instance_strip.columns(Shown(found, site_of(found).layer, "macs"), SAY)
    alpha = opacity(tables["pictures"]["url"][1])
    down, along = alpha.shape[0] // 4, alpha.shape[1] // len(found)
    seen = alpha[down // 2 :: down, along // 2 :: along] > 0
    assert (seen.argmax(0) == found.labels[found.order]).all()
    assert (seen.sum(0) == 1).all()


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("by", ["class", "macs", "similarity"])
def test_all_that_is_drawn_lies_within_the_figure(found, by, language):
    tables = instance_strip.columns(Shown(found, site_of(found).layer, by, (0,), NAMES), Strings(language))
    assert all(6 < y < HEIGHT - 6 for y in tables["words"]["y"])
    assert max(tables["curve"]["y"]) < HEIGHT


def test_one_image_and_equal_saliencies_are_drawn():
    one = example_instances(make_graph(), count=1)
    layer = site_of(one).layer
    for by in ("class", "macs", "similarity"):
        tables = instance_strip.columns(Shown(one, layer, by, (0, 7)), SAY)
        assert tables["images"]["image"] == [0]
        assert tables["picked"]["text"] == ["1"]
    zeros = replace(one, saliency=np.zeros_like(one.saliency), keep=np.ones_like(one.keep))
    assert opacity(instance_strip.columns(Shown(zeros, layer), SAY)["pictures"]["url"][0]).min() == 255


def test_a_layer_that_drops_nothing_is_said_to(found):
    shown = Shown(found, "classes")
    tables = instance_strip.columns(shown, SAY)
    assert tables["pictures"]["url"] == []
    assert instance_strip.describe(shown, SAY) == [" ".join(tables["words"]["soft"])]
    assert "classes" in instance_strip.describe(shown, SAY)[0]
    assert instance_strip.describe(None, SAY, "nothing yet") == ["nothing yet"]


def test_the_strip_in_sentences(found):
    site = site_of(found)
    said = instance_strip.describe(Shown(found, site.layer, classes=NAMES), SAY)
    kept = found.keep[:, site.columns].sum(axis=1)
    assert f"{kept.mean():.1f}" in said[0]
    coat = next(each for each in said if each.startswith("coat"))
    assert f"{kept[found.labels == 1].mean():.1f} channels" in coat
    assert class_name(NAMES, 9) == "9"


def test_the_view_takes_the_columns(found):
    view = instance_strip.build()
    tables = instance_strip.columns(Shown(found, site_of(found).layer), SAY)
    update(view, tables)
    assert view.sources["images"].data == tables["images"]
    assert set(instance_strip.make_tappable(view).data) == {"number", "image"}
