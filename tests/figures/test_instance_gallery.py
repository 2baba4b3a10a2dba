import base64
import io

import numpy as np
import pytest
from PIL import Image

from explorer.figures import instance_gallery as gallery
from explorer.figures.gallery import SHARPNESS
from explorer.figures.instance_gallery import CELL, HEIGHT, SIDE, TITLE
from explorer.figures.view import update
from explorer.strings import Strings
from tests.instance_runs import example_instances
from tests.panels.fake_session import CHAIN, make_graph

STRINGS = Strings("en")
NAMES = ("shirt", "coat", "bag", "boot")
WIDTH = 430.0


@pytest.fixture
def instances():
    return example_instances(make_graph(CHAIN), count=40)


def tables_of(instances, rows, picked=(), names=NAMES, strings=STRINGS):
    return gallery.columns(instances, rows, names, picked, WIDTH, "uri", strings)


@pytest.mark.parametrize(("count", "size"), [(40, 24), (40, 7), (40, 40), (40, 3), (5, 24), (1, 3)])
def test_every_page_goes_from_few_macs_to_many_and_all_pages_show_every_image_once(count, size):
    instances = example_instances(make_graph(CHAIN), count=count)
    shown = [gallery.page(instances, size, number) for number in range(gallery.pages(instances, size))]
    assert sorted(np.concatenate(shown).tolist()) == list(range(count))
    for rows in shown:
        assert 0 < len(rows) <= size
        assert (np.diff(instances.macs[rows]) >= 0).all()


def test_the_first_page_has_the_cheapest_and_the_dearest_image_and_every_page_spans_the_range(instances):
    first = gallery.page(instances, 8)
    assert (first[0], first[-1]) == (instances.order[0], instances.order[-1])
    for number in range(gallery.pages(instances, 8)):
        places = [instances.order.tolist().index(row) for row in gallery.page(instances, 8, number)]
        assert [place // 5 for place in places] == list(range(8))  # one of each eighth of 40 images


def test_a_page_needs_room_for_an_image(instances):
    with pytest.raises(ValueError, match="at least 1"):
        gallery.pages(instances, 0)
    assert gallery.room(10) == 3


def test_every_image_of_the_sheet_lies_behind_its_frame_and_its_share_below(instances):
    rows = gallery.page(instances, 10)
    levels = [20 * (place + 1) for place in range(10)]
    uri = gallery.sheet([np.full((28, 28), level, dtype=np.uint8) for level in levels], gallery.across(WIDTH))
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))
    tables = tables_of(instances, rows)
    cells = tables["cells"]
    size = round(tables["sheet"]["h"][0] * SHARPNESS), round(tables["sheet"]["w"][0] * SHARPNESS)
    assert pixels.shape[:2] == size
    for place, level in enumerate(levels):
        top, bottom = (round((HEIGHT - TITLE - cells[edge][place]) * SHARPNESS) for edge in ("top", "bottom"))
        left, right = (round(cells[edge][place] * SHARPNESS) for edge in ("left", "right"))
        assert (pixels[top:bottom, left:right] == [level, level, level, 255]).all()
        share = (cells["gauge"][place] - cells["left"][place]) / SIDE
        assert share == pytest.approx(instances.shares[rows[place]])
        assert cells["share"][place].startswith(f"{100 * instances.shares[rows[place]]:.0f} %")


def test_only_images_that_are_not_recognised_have_a_cross_and_a_dashed_frame(instances):
    rows = np.arange(24)
    cells = tables_of(instances, rows)["cells"]
    wrong = instances.predicted[:24] != instances.labels[:24]
    assert 0 < wrong.sum() < 24
    assert [text.endswith("✗") for text in cells["share"]] == wrong.tolist()
    assert [end == end for end in cells["wrong_right"]] == wrong.tolist()
    dashed = [each.glyph for each in gallery.build().root.renderers]
    assert [glyph.right for glyph in dashed if getattr(glyph, "line_dash", None)] == ["wrong_right"]


def test_label_prediction_loss_and_macs_are_there_to_hover_over(instances):
    row = int(np.flatnonzero(~instances.right)[0])
    label, taken = int(instances.labels[row]), int(instances.predicted[row])
    cells = tables_of(instances, [row])["cells"]
    said = [cells[name][0] for name in ("title", "macs", "label", "prediction", "loss")]
    assert said == [
        f"Image {2 * row}",
        f"{100 * instances.shares[row]:.1f} % of the MACs (theoretical)",
        f"label: {NAMES[label]}",
        f"prediction: {NAMES[taken]} (wrong)",
        f"loss: {instances.losses[row]:.2f} (cross-entropy)",
    ]


def test_picked_images_have_a_frame_of_their_own_and_a_number(instances):
    picked = int(instances.images[7]), int(instances.images[2])
    frames = tables_of(instances, np.arange(24), picked)["picked"]
    assert frames["number"] == ["2", "1"]  # in the order of the page
    assert [end == end for end in frames["first"]] == [False, True]
    assert [end == end for end in frames["second_x"]] == [True, False]
    cells = tables_of(instances, np.arange(24))["cells"]
    assert frames["second"][0] == pytest.approx(cells["right"][2] + 1.5)
    assert tables_of(instances, [0, 1], picked)["picked"]["number"] == []


def test_a_tap_finds_the_row_under_it(instances):
    rows = gallery.page(instances, 11)
    beside = gallery.across(WIDTH)
    cells = tables_of(instances, rows)["cells"]
    for place, row in enumerate(rows):
        middle = (cells["left"][place] + SIDE / 2, cells["gauge_bottom"][place])
        assert gallery.row_at(*middle, beside, rows) == row
    last = HEIGHT - TITLE - 1.5 * CELL[1]
    assert gallery.row_at(4 * CELL[0], last, beside, rows) is None  # three are in the second line
    assert gallery.row_at(5, HEIGHT - 2, beside, rows) is None  # the title
    assert gallery.row_at(8 * CELL[0] + 1, HEIGHT - TITLE - 5, beside, rows) is None


def test_without_images_it_says_so(instances):
    for tables in (tables_of(None, []), tables_of(instances, [])):
        assert tables["title"]["text"] == ["no image here"]
        assert tables["cells"]["left"] == tables["sheet"]["url"] == []
    assert gallery.describe(None, [], NAMES, (), STRINGS) == []


def test_the_page_in_sentences(instances):
    wrong = int(np.flatnonzero(~instances.right)[0])
    right = int(np.flatnonzero(instances.right)[0])
    said = gallery.describe(instances, [right, wrong], NAMES, [int(instances.images[wrong])], STRINGS)
    share, label = f"{100 * instances.shares[right]:.1f}", NAMES[int(instances.labels[right])]
    assert said[0] == (
        f"Image {2 * right}: {share} % of the MACs; {label}, recognised; loss {instances.losses[right]:.2f}."
    )
    assert f"taken for {NAMES[int(instances.predicted[wrong])]}" in said[1]
    assert said[2] == f"Image {2 * wrong} is picked."


def test_without_labels_it_speaks_of_the_dense_network(instances):
    wrong = int(np.flatnonzero(~instances.right)[0])
    tables = tables_of(instances, [wrong], names=(), strings=STRINGS.agreeing())
    assert tables["cells"]["label"] == [f"dense network: {instances.labels[wrong]}"]
    assert "not as dense" in tables["cells"]["prediction"][0]
    assert "not as dense" in tables["title"]["text"][0]


def test_the_view_takes_what_columns_gives(instances):
    view = gallery.build(scale=1.25)
    tables = tables_of(instances, gallery.page(instances, 24), (0, 2))
    update(view, tables)
    for name, table in tables.items():
        assert len({len(column) for column in table.values()}) == 1
        assert view.sources[name].name == f"instance-gallery-{name}"
    assert view.root.height == round(1.25 * HEIGHT)
