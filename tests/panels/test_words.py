import pytest

from explorer.figures.palette import DARK, LIGHT
from explorer.panels.scorecard import accuracy_html, latency_html
from explorer.panels.strings import STRINGS
from explorer.panels.style import scale_class, stylesheet
from explorer.panels.words import amount_of, duration, part_of, percent, tag, time_of
from explorer.values import Estimate, Latency


@pytest.mark.parametrize(("share", "text"), [(0.6, "60 %"), (0, "0 %"), (0.001, "<1 %"), (1, "100 %")])
def test_percent(share, text):
    assert percent(share) == text


def test_amounts_use_the_units_of_the_whole():
    assert part_of(24_600_000, 41_200_000) == "24.6 of 41.2 M"
    assert part_of(900, 272_474) == "0.9 of 272 k"
    assert part_of(9_970, 272_474) == "10 of 272 k"
    assert part_of(0, 272_474) == "0.0 of 272 k"
    assert part_of(30, 272_474) == "30 of 272 k"
    assert part_of(4_000, 41_200_000) == "4.00 k of 41.2 M"
    assert part_of(3, 10) == "3 of 10"
    assert amount_of(622_000, "B") == "622 kB"
    assert amount_of(12, "B") == "12 B"


def test_durations_are_milliseconds():
    assert duration(0.00066) == "0.66 ms"
    assert time_of(0.0214, 0.0331) == "21.4 of 33.1 ms"
    assert time_of(0.00187, 0.00634) == "1.9 of 6.3 ms"
    assert time_of(0.00066, 0.00085) == "0.66 of 0.85 ms"
    assert time_of(0.214) == "214 ms"


def test_texts_are_safe_in_html():
    assert tag("a", "<b>", 'say "x"') == '<span class="a" title="say &quot;x&quot;">&lt;b&gt;</span>'


def test_accuracy_names_recovery_images_interval_and_reference():
    html = accuracy_html(
        Estimate("k", 532, 640, 2000), "re-estimated BN", Estimate("d", 1852, 2000, 2000), ""
    )
    assert ">re-estimated BN<" in html
    assert ">640 of 2,000 images<" in html
    assert ">83.1<" in html
    assert "reference 92.6" in html
    assert 'aria-valuenow="640"' in html
    assert "± 2.9" in html
    assert "pe-stale" not in html


def test_before_the_first_image_the_reason_stands_where_the_number_will():
    assert "no images were given" in accuracy_html(None, "", None, "no images were given")


def test_latency_says_where_fewer_macs_are_not_less_time():
    dense, now = Latency(1, 0.001, 0.0009, 0.0011, 20), Latency(1, 0.00095, 0.0009, 0.001, 20)
    assert "no faster" in latency_html((dense, now), cheaper=True)
    assert "no faster" not in latency_html((dense, now), cheaper=False)
    assert "not measured" in latency_html((), cheaper=True)


def test_latency_names_the_batch_and_says_what_of_what_is():
    html = latency_html(
        (Latency(1, 0.00634, 0.006, 0.007, 20), Latency(1, 0.00187, 0.0018, 0.0019, 20)), True
    )
    assert ">batch 1: 1.9 of 6.3 ms<" in html
    assert 'title="Now, of the dense network&#x27;s.' in html


def test_progress_is_drawn_until_all_images_are_seen():
    assert "pe-progress" in accuracy_html(Estimate("k", 500, 640, 2000), "", None, "")
    assert "pe-progress" not in accuracy_html(Estimate("k", 1500, 2000, 2000), "", None, "")


def test_every_text_is_a_sentence_or_a_word():
    assert all(text.strip() for text in STRINGS.values())


def test_the_stylesheet_has_both_themes_and_the_scale():
    css = stylesheet(1.25)
    assert scale_class(1.25) == "pe-scale-125"
    assert LIGHT["kept"] in css
    assert f"--pe-kept:{DARK['kept']}" in css
    assert ".pe-scale-125{--pe:1.25}" in css
