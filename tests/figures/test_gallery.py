import base64
import io

import numpy as np
import pytest
from PIL import Image

from explorer.figures import gallery
from explorer.figures.gallery import CELL, HEIGHT, SHARPNESS, SIDE, TITLE, Flip
from explorer.figures.view import update
from explorer.strings import Strings

STRINGS = Strings("en")
BROKEN = Flip("Image 4", "shirt", "ankle boot", broken=True)
MENDED = Flip("Image 9", "coat", "shirt", broken=False)


def read(uri):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.removeprefix("data:image/png;base64,")))))


def shades(*levels):
    return [np.full((28, 28), level, dtype=np.uint8) for level in levels]


def test_every_image_of_the_sheet_lies_behind_its_frame():
    sheet = read(gallery.sheet(shades(10, 20, 30, 40, 50), 3))
    cells = gallery.columns([BROKEN] * 5, 3 * CELL[0], "uri", STRINGS)["cells"]
    assert sheet.shape[:2] == (2 * CELL[1] * SHARPNESS, 3 * CELL[0] * SHARPNESS)
    for place, level in enumerate([10, 20, 30, 40, 50]):
        top, bottom = (round((HEIGHT - TITLE - cells[edge][place]) * SHARPNESS) for edge in ("top", "bottom"))
        left, right = (round(cells[edge][place] * SHARPNESS) for edge in ("left", "right"))
        inside = sheet[top:bottom, left:right]
        assert inside.shape[:2] == (SIDE * SHARPNESS, SIDE * SHARPNESS)
        assert (inside == [level, level, level, 255]).all()
    assert (sheet[CELL[1] * SHARPNESS :, 2 * CELL[0] * SHARPNESS :, 3] == 0).all()  # no sixth image


def test_small_images_grow_in_squares_and_large_ones_are_averaged():
    grey = np.array([[0, 100], [200, 255]], dtype=np.uint8)
    assert gallery.fitted(grey, 4)[:, :, 0].tolist() == [[0, 0, 100, 100]] * 2 + [[200, 200, 255, 255]] * 2
    stripes = np.tile(np.array([[0, 100, 20, 40]], dtype=np.uint8), (2, 1))
    assert gallery.fitted(stripes, 2)[:, :, 0].tolist() == [[50, 30]]
    tall = np.zeros((224, 112, 3), dtype=np.uint8)
    tall[..., 0] = 200
    assert gallery.fitted(tall, 78).shape == (78, 39, 4)
    assert gallery.fitted(tall, 78)[0, 0].tolist() == [200, 0, 0, 255]


def test_captions_read_before_then_now_and_the_right_class_is_bold():
    captions = gallery.columns([BROKEN, MENDED], 400, "uri", STRINGS)["captions"]
    assert captions["right"] == ["shirt", "", "", "shirt"]
    assert captions["wrong"] == ["", "ankle…", "coat", ""]
    assert captions["y"][0] > captions["y"][1]


def test_the_full_names_are_there_to_hover_over():
    cells = gallery.columns([BROKEN], 400, "uri", STRINGS)["cells"]
    assert (cells["name"], cells["before"], cells["now"]) == (
        ["Image 4"],
        ["before: shirt"],
        ["now: ankle boot"],
    )


@pytest.mark.parametrize(("width", "across"), [(10, 1), (52 + 39, 2), (52 + 38, 1), (206, 4), (466, 9)])
def test_the_last_image_of_a_line_needs_no_gap(width, across):
    assert gallery.across(width) == across


def test_a_tap_finds_the_image_under_it():
    cells = gallery.columns([BROKEN] * 5, 3 * CELL[0], "uri", STRINGS)["cells"]
    for place in range(5):
        middle = (cells["left"][place] + SIDE / 2, cells["bottom"][place] + 1)
        assert gallery.place_at(*middle, 3, 5) == place
    below = HEIGHT - TITLE - 1.5 * CELL[1]
    assert gallery.place_at(2.5 * CELL[0], below, 3, 5) is None  # there is no sixth
    assert gallery.place_at(3.5 * CELL[0], HEIGHT - TITLE - 5, 3, 5) is None
    assert gallery.place_at(5, HEIGHT - 2, 3, 5) is None  # the title


def test_an_empty_page_says_so():
    tables = gallery.columns([], 208, "", STRINGS)
    assert tables["title"]["text"] == ["no image here"]
    assert tables["cells"]["left"] == tables["sheet"]["url"] == []
    assert gallery.sheet([], 4) == ""


def test_the_summary_has_a_sentence_for_every_image():
    assert gallery.describe([BROKEN, MENDED], STRINGS) == [
        "Image 4: before shirt, now ankle boot.",
        "Image 9: before coat, now shirt.",
    ]


def test_the_view_takes_what_columns_gives():
    view = gallery.build(scale=1.25)
    update(view, gallery.columns([BROKEN], 208, "uri", STRINGS))
    assert view.sources["sheet"].data["url"] == ["uri"]
    assert view.root.height == round(1.25 * HEIGHT)
