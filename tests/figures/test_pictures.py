import base64
from io import BytesIO

import numpy as np
from PIL import Image

from explorer.figures import pictures


def decoded(uri):
    kind, data = uri.split(",")
    assert kind == "data:image/png;base64"
    return np.asarray(Image.open(BytesIO(base64.b64decode(data))))


def test_pixels_survive_the_png():
    rng = np.random.default_rng(0)
    for shape in ((4, 5), (4, 5, 3), (4, 5, 4)):
        pixels = rng.integers(0, 256, shape, dtype=np.uint8)
        np.testing.assert_array_equal(decoded(pictures.data_uri(pixels)), pixels)


def test_grey_goes_from_the_least_to_the_largest_or_as_told():
    values = np.array([[1.0, 2.0], [3.0, np.nan]])
    assert pictures.grey(values).tolist() == [[0, 128], [255, 0]]
    assert pictures.grey(values, low=0.0, high=2.0).tolist() == [[128, 255], [255, 0]]
    assert pictures.grey(np.ones((1, 2))).tolist() == [[128, 128]]


def test_diverging_colours_tell_the_sign_and_zero_shows_the_ground():
    pixels = pictures.diverging(np.array([[2.0, -1.0, 0.0, np.nan]]))[0]
    assert pixels[0].tolist() == [*pictures.ABOVE, 255]
    assert pixels[1].tolist() == [*pictures.BELOW, 128]
    assert pixels[2:, 3].tolist() == [0, 0]
    assert pictures.diverging(np.array([[1.0]]), most=2.0)[0, 0, 3] == 128
    assert pictures.diverging(np.zeros((1, 1)))[0, 0, 3] == 0


def test_photographs_are_grey_or_in_colour():
    grey = np.array([[[0, 255]]], dtype=np.uint8)
    assert pictures.photograph(grey).tolist() == [[0, 255]]
    colour = np.array([[[1]], [[2]], [[3]]], dtype=np.uint8)
    assert pictures.photograph(colour).tolist() == [[[1, 2, 3]]]
    assert pictures.photograph(np.array([[[-1.0, 1.0]]], dtype=np.float32)).tolist() == [[0, 255]]


def test_a_sprite_holds_all_pictures_with_gaps_between():
    sheet = pictures.sprite([np.full((2, 2), level, dtype=np.uint8) for level in (10, 20, 30)], columns=2)
    assert sheet.shape == (5, 5, 4)
    assert sheet[0, 0].tolist() == [10, 10, 10, 255]
    assert sheet[0, 3].tolist() == [20, 20, 20, 255]
    assert sheet[3, 0].tolist() == [30, 30, 30, 255]
    assert sheet[0, 2, 3] == sheet[3, 3, 3] == 0
