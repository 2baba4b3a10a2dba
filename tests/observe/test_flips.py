import math

import numpy as np
import pytest

from explorer.errors import BadInput
from explorer.observe.flips import ClassChange, flips, of_class
from explorer.records import Outcomes

# image          0  1  2  3  4  5  6  7
LABELS = np.array([2, 0, 0, 2, 2, 0, 2, 5])
BEFORE = np.array([2, 0, 1, 2, 0, 0, 2, 5], dtype=np.int16)
NOW = np.array([0, 0, 0, 1, 2, 2, 0, 5], dtype=np.int16)
# broken: 0 (2->0), 3 (2->1), 5 (0->2), 6 (2->0); mended: 2 (0), 4 (2)
OUTCOMES = Outcomes(BEFORE, NOW, LABELS)


def test_flips_are_ordered_by_class_and_then_by_position():
    found = flips(OUTCOMES)
    assert found.broken.tolist() == [5, 0, 3, 6]
    assert found.mended.tolist() == [2, 4]
    assert found.images == 8


def test_every_class_with_images_is_counted_by_itself():
    shirt, coat, bag = flips(OUTCOMES).classes
    assert shirt == ClassChange(label=0, images=3, right=2, broken=1, mended=1, taken_for=2, taken=1)
    assert coat == ClassChange(label=2, images=4, right=3, broken=3, mended=1, taken_for=0, taken=2)
    assert bag == ClassChange(label=5, images=1, right=1, broken=0, mended=0, taken_for=None, taken=0)
    assert [change.points for change in (shirt, coat, bag)] == [0, -50, 0]
    assert [change.remembered for change in (shirt, coat, bag)] == [0.5, 0, 1]


def test_a_class_that_was_never_right_has_nothing_to_remember():
    change = ClassChange(0, images=4, right=0, broken=0, mended=1, taken_for=None, taken=0)
    assert math.isnan(change.remembered)
    assert change.points == 25


def test_an_image_that_is_wrong_in_another_way_is_no_flip():
    found = flips(Outcomes(np.array([1], np.int16), np.array([2], np.int16), np.array([0])))
    assert len(found.broken) == len(found.mended) == 0


def test_the_interval_is_that_of_agresti_and_min():
    # By hand: n = 98 + 2, (12.5 - 32.5) / 100 = -0.20; variance (45 - 400 / 100) / 100^2, its root 0.06403.
    change = ClassChange(0, images=98, right=60, broken=32, mended=12, taken_for=1, taken=9)
    assert change.interval == pytest.approx((-32.55, -7.45), abs=0.005)
    assert change.beyond_chance
    assert not ClassChange(0, images=98, right=60, broken=13, mended=12, taken_for=1, taken=9).beyond_chance


def test_all_images_together_have_the_interval_of_all_their_flips():
    found = flips(OUTCOMES)
    assert found.points == -25
    # By hand: n = 8 + 2, (2.5 - 4.5) / 10 = -0.20; variance (7 - 4 / 10) / 10^2, its root 0.25690.
    assert found.interval == pytest.approx((-70.35, 30.35), abs=0.005)


def test_a_class_without_flips_is_still_uncertain():
    low, high = ClassChange(0, images=10, right=10, broken=0, mended=0, taken_for=None, taken=0).interval
    assert low == pytest.approx(-high)
    assert high == pytest.approx(100 * 1.959964 / 12)


def test_a_filter_keeps_the_order():
    found = flips(OUTCOMES)
    assert of_class(found.broken, OUTCOMES, 2).tolist() == [0, 3, 6]
    assert of_class(found.broken, OUTCOMES, 5).tolist() == []
    assert of_class(found.broken, OUTCOMES, None).tolist() == [5, 0, 3, 6]


def test_outcomes_of_different_images_are_refused():
    with pytest.raises(BadInput, match="2 and 1 images and 2 labels"):
        flips(Outcomes(np.zeros(2, np.int16), np.zeros(1, np.int16), np.zeros(2, np.int64)))
