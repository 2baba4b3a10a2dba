from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest

from explorer.figures import instance_similarity
from explorer.figures.instance_similarity import (
    BLOCKS,
    SIDE,
    STARTS,
    Shown,
    block_means,
    picture,
    similarities,
)
from explorer.figures.view import update
from explorer.strings import Strings
from tests.instance_runs import example_instances
from tests.panels.fake_session import make_graph

SAY = Strings("en")
NAMES = ("bag", "coat", "dress", "shirt")


@pytest.fixture(scope="module")
def instances():
    return example_instances(make_graph())


def at_first_site(instances, **settings):
    return similarities(instances, instances.sites.every[0], **settings)


def test_similarities_are_cosines_of_features_and_saliencies_by_class(instances):
    found, columns = at_first_site(instances), instances.sites.every[0].columns
    assert (np.diff(found.labels) >= 0).all()
    assert (instances.labels[found.rows] == found.labels).all()
    assert (instances.images[found.rows] == found.images).all()
    for table, matrix in ((instances.features, found.features), (instances.saliency, found.subnetworks)):
        one, other = (table[found.rows[k], columns].astype(float) for k in (3, 17))
        assert matrix[3, 17] == pytest.approx(one @ other / np.sqrt((one @ one) * (other @ other)))
    off = ~np.eye(len(found.rows), dtype=bool)
    assert found.correlation == pytest.approx(np.corrcoef(found.features[off], found.subnetworks[off])[0, 1])
    norm = np.linalg.norm(found.subnetworks - found.features)
    assert found.apart == pytest.approx(norm**2 / len(found.rows) ** 2)
    with pytest.raises(FrozenInstanceError):
        found.apart = 0.0


def test_without_saliency_modules_it_is_what_is_kept_that_is_compared(instances):
    active = replace(instances, source="active")
    found = at_first_site(active)
    kept = active.keep[found.rows, active.sites.every[0].columns]
    both, sizes = (kept[0] & kept[5]).sum(), kept[[0, 5]].sum(axis=1)
    assert found.masks
    assert found.subnetworks[0, 5] == pytest.approx(both / np.sqrt(sizes.prod()))


def test_of_many_images_as_many_are_taken_from_every_class():
    many = example_instances(make_graph(), count=120)
    found = at_first_site(many, most=40)
    assert np.bincount(found.labels).tolist() == [10, 10, 10, 10]
    assert len(set(found.rows.tolist())) == 40
    assert found.of == 120
    assert "40 of 120" in instance_similarity.describe(Shown(found), SAY)[1]


@pytest.mark.parametrize(("count", "most"), [(7, 3), (8, 3), (5, 9), (4, 4)])
def test_block_means_are_means_of_blocks(count, most):
    matrix = np.random.default_rng(0).random((count, count))
    means = block_means(matrix, most)
    parts = [
        np.arange(count)[k * count // len(means) : (k + 1) * count // len(means)] for k in range(len(means))
    ]
    expected = [[matrix[np.ix_(one, other)].mean() for other in parts] for one in parts]
    assert means == pytest.approx(np.array(expected))
    assert len(means) == min(count, most)


def test_the_picture_is_as_deep_as_the_cosines_are_large_and_small():
    count = 3 * BLOCKS
    matrix = np.linspace(0, 1, count)[:, None].repeat(count, axis=1)
    alpha = picture(block_means(matrix), 0.0, 1.0)[..., 3].astype(int)
    assert max(alpha.shape) <= 2 * BLOCKS
    assert alpha[0, 0] == 0
    assert alpha[-1, -1] == 255
    assert alpha[len(alpha) // 2, 0] == pytest.approx(128, abs=4)
    assert (np.diff(alpha[:, 0]) >= 0).all()


def test_what_is_tapped_is_the_image_that_is_drawn_there(instances):
    found = at_first_site(instances)
    tables = instance_similarity.columns(Shown(found, (8,), NAMES), SAY)
    assert tables["images"]["image"] == found.images.tolist()
    place = (tables["picked"]["x"][0] - STARTS[0]) / SIDE * len(found.rows)
    assert found.images[int(place)] == 8
    assert tables["picked"]["text"] == ["1", "1"]


def test_classes_are_named_and_told_of_pair_by_pair(instances):
    found = at_first_site(instances)
    tables = instance_similarity.columns(Shown(found, classes=NAMES), SAY)
    assert set(NAMES) <= set(tables["words"]["soft"])
    assert len(tables["hover"]["html"]) == 2 * 4 * 4
    own, other = (found.labels == 1), (found.labels == 2)
    mean = found.features[np.ix_(own, other)].mean()
    told = next(html for html in tables["hover"]["html"] if html.startswith("<b>coat and dress"))
    assert f"features {mean:.2f}" in told


@pytest.mark.parametrize(("noise", "words"), [(0.0, "get"), (50.0, "hardly")])
def test_the_correlation_in_words(instances, noise, words):
    random = np.random.default_rng(1)
    features = instances.saliency + noise * random.random(instances.saliency.shape)
    found = at_first_site(replace(instances, features=features.astype(np.float32)))
    said = instance_similarity.describe(Shown(found), SAY)
    assert words in said[0]
    assert f"{found.correlation:.2f}".replace("-", "−") in said[1]


def test_equal_saliencies_have_no_correlation_and_that_is_said(instances):
    found = at_first_site(replace(instances, saliency=np.ones_like(instances.saliency)))
    tables = instance_similarity.columns(Shown(found), SAY)
    assert np.isnan(found.correlation)
    assert "No correlation" in tables["words"]["ink"][0]
    assert not any("nan" in text for text in tables["words"]["soft"])


def test_one_class_and_one_image_are_said():
    single = at_first_site(example_instances(make_graph(), count=9, classes=1))
    assert len(instance_similarity.describe(Shown(single), SAY)) == 2
    one = Shown(at_first_site(example_instances(make_graph(), count=1)))
    assert instance_similarity.columns(one, SAY)["words"]["soft"] == instance_similarity.describe(one, SAY)
    assert instance_similarity.describe(None, SAY, "nothing yet") == ["nothing yet"]


def test_the_view_takes_the_columns(instances):
    view = instance_similarity.build()
    tables = instance_similarity.columns(Shown(at_first_site(instances)), SAY)
    update(view, tables)
    assert view.sources["matrices"].data == tables["matrices"]
    assert set(instance_similarity.make_tappable(view).data) == {"number", "image", "other"}
