import pytest

from explorer.figures.palette import DARK, LIGHT
from explorer.panels.kit.style import scale_class, stylesheet
from explorer.panels.kit.words import amount_of, duration, part_of, percent, tag, time_of
from explorer.records import recovered
from explorer.strings import Strings
from explorer.values import Recovery

STRINGS = Strings("en")


@pytest.mark.parametrize(("share", "text"), [(0.6, "60 %"), (0, "0 %"), (0.001, "<1 %"), (1, "100 %")])
def test_percent(share, text):
    assert percent(share) == text


def test_amounts_use_the_units_of_the_whole():
    assert part_of(STRINGS, 24_600_000, 41_200_000) == "24.6 of 41.2 M"
    assert part_of(STRINGS, 900, 272_474) == "0.9 of 272 k"
    assert part_of(STRINGS, 9_970, 272_474) == "10 of 272 k"
    assert part_of(STRINGS, 0, 272_474) == "0.0 of 272 k"
    assert part_of(STRINGS, 30, 272_474) == "30 of 272 k"
    assert part_of(STRINGS, 4_000, 41_200_000) == "4.00 k of 41.2 M"
    assert part_of(STRINGS, 3, 10) == "3 of 10"
    assert amount_of(622_000, "B") == "622 kB"
    assert amount_of(12, "B") == "12 B"


def test_durations_are_milliseconds():
    assert duration(0.00066) == "0.66 ms"
    assert time_of(STRINGS, 0.0214, 0.0331) == "21.4 of 33.1 ms"
    assert time_of(STRINGS, 0.00187, 0.00634) == "1.9 of 6.3 ms"
    assert time_of(STRINGS, 0.00066, 0.00085) == "0.66 of 0.85 ms"
    assert time_of(STRINGS, 0.214) == "214 ms"


@pytest.mark.parametrize("language", ["ja", "ko"])
def test_a_part_of_a_whole_is_worded_in_the_language(language):
    strings = Strings(language)
    assert part_of(strings, 24_600_000, 41_200_000) == "24.6 / 41.2 M"
    assert part_of(strings, 4_000, 41_200_000, "B") == "4.00 kB / 41.2 MB"
    assert time_of(strings, 0.00187, 0.00634) == "1.9 / 6.3 ms"


def test_texts_are_safe_in_html():
    assert tag("a", "<b>", 'say "x"') == '<span class="a" title="say &quot;x&quot;">&lt;b&gt;</span>'


def test_a_recovery_is_named_as_beside_an_accuracy():
    codes = "none", "bn", "3", "merge", "refit+bn", "refit_sequential", "refit+3"
    assert [STRINGS.say(recovered(Recovery.parse(code))) for code in codes] == [
        *("no recovery", "re-estimated BN", "trained, epochs: 3", "merged", "refit + BN"),
        *("refit layer after layer", "refit + trained, epochs: 3"),
    ]


def test_the_stylesheet_has_both_themes_and_the_scale():
    css = stylesheet(1.25)
    assert scale_class(1.25) == "pe-scale-125"
    assert LIGHT["kept"] in css
    assert f"--pe-kept:{DARK['kept']}" in css
    assert ".pe-scale-125{--pe:1.25}" in css
