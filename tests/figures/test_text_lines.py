import pytest

from explorer.figures.text_lines import clipped, lines_of, pixels_of


def test_wide_letters_are_as_wide_as_the_font_is_high():
    assert pixels_of("目標") == 26
    assert pixels_of("ii") < pixels_of("WW") < 26


def test_lines_break_at_spaces_and_lose_nothing():
    text = "one two three four five six seven"
    lines = lines_of(text, 80)
    assert len(lines) > 1
    assert " ".join(lines) == text
    assert max(map(pixels_of, lines)) <= 80


def test_japanese_breaks_between_letters_but_never_before_what_closes():
    lines = lines_of("先頭と末尾の差、探索後。", 6 * 13)
    assert lines == ["先頭と末尾の", "差、探索後。"]
    assert lines_of("先頭と末尾差、探索後。", 6 * 13)[0] == "先頭と末尾"


def test_korean_breaks_between_words():
    assert lines_of("앞쪽 채널이 더", 60) == ["앞쪽", "채널이 더"]


def test_a_word_that_is_too_wide_has_its_own_line():
    assert lines_of("a extraordinarily b", 40) == ["a", "extraordinarily", "b"]
    assert lines_of("", 40) == [""]


@pytest.mark.parametrize("room", [30, 60, 100])
def test_what_is_clipped_fits_and_says_that_it_goes_on(room):
    short = clipped("a long description of a network", room)
    assert short.endswith("…")
    assert pixels_of(short) <= room
    assert clipped("abc", 100) == "abc"
