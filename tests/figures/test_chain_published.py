import re
from html.parser import HTMLParser
from itertools import pairwise

import pytest

from explorer.figures import chain_published
from explorer.figures.chain_published import BASE, TOP, columns, describe, origin, short, table_html
from explorer.figures.text_lines import pixels_of
from explorer.figures.view import update
from explorer.published import RESULTS, SOURCES, STRUCTURES, Result
from explorer.strings import LANGUAGES, Strings

STRINGS = Strings("en")
LARGE, *_OTHERS = STRUCTURES


def texts(tables):
    labels = tables["labels"]
    return ["".join(row) for row in zip(*(labels[role] for role in chain_published._ROLES), strict=True)]


def test_bars_are_as_tall_as_the_share_that_is_kept():
    tables = columns(LARGE, STRINGS)
    shares = [(top - BASE) / (TOP - BASE) for top in tables["outputs"]["top"]]
    assert shares == pytest.approx([52 / 64, 106 / 256, 155 / 512, 1, 1])
    inner = [(top - BASE) / (TOP - BASE) for top in tables["inner"]["top"]]
    assert len(inner) == 2 * (3 + 4 + 6 + 3)
    assert inner[:6] == pytest.approx([22 / 64, 22 / 64, 16 / 64, 16 / 64, 40 / 64, 16 / 64])
    assert inner[-3] == pytest.approx(461 / 512)


def test_bars_stand_in_order_and_do_not_overlap():
    tables = columns(LARGE, STRINGS)
    rows = [
        (left, right)
        for table in ("outputs", "inner")
        for left, right in zip(tables[table]["left"], tables[table]["right"], strict=True)
    ]
    rows.sort()
    assert all(one[1] < other[0] for one, other in pairwise(rows))
    assert 0 < rows[0][0] < rows[-1][1] < 1


def test_stages_are_named_with_their_outputs():
    said = texts(columns(LARGE, STRINGS))
    assert {"stem", "52/64", "stage 2", "155/512", "stage 4", "2048/2048"} <= set(said)
    assert "ResNet-50 at 2.2G: 54 % of MACs, 86 % of parameters" in said


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("structure", STRUCTURES, ids=lambda structure: structure.name)
def test_texts_have_room(language, structure):
    tables = columns(structure, Strings(language))
    rows = sorted(zip(tables["labels"]["y"], tables["labels"]["x"], texts(tables), strict=True))
    for (y, x, text), (next_y, next_x, _text) in zip(rows, [*rows[1:], (0, 1, "")], strict=True):
        end = 425 * x + 0.93 * pixels_of(text)
        assert end <= (425 * next_x if y == next_y else 427), text


def test_everything_is_told_with_its_source():
    sentences = describe(LARGE, STRINGS)
    assert sentences[0] == "stem keeps 52 of 64 channels."
    assert sentences[3:5] == [
        "stage 2 keeps 155 of 512 channels.",
        "stage 2, inner convolutions: 32 to 92 of 128 channels.",
    ]
    assert sentences[-1] == origin(LARGE, STRINGS)
    assert "github.com/open-mmlab/mmrazor" in sentences[-1]
    assert "MACs counted here: 2,194 M" in sentences[-1]
    assert describe(None, STRINGS) == []
    assert texts(columns(None, STRINGS)) == []


class Cells(HTMLParser):
    """Rows of a table as texts, and whether every tag that is opened is closed in order."""

    def __init__(self, html):
        super().__init__()
        self.rows, self.open = [], []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, _attributes):
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data


def test_the_table_has_a_row_for_every_network_and_budget():
    found = Cells(table_html(STRINGS))
    assert found.open == []
    assert found.rows[0] == ["top-1, %", "MACs", "DMCP", "uniform", "MetaPruning", "AutoSlim"]
    assert ["", "2.2G", "76.5a, 76.2b", "74.8 2.3G", "75.4 2.0G", "75.6e 2.0G"] in found.rows
    assert ["ResNet-18", "1.0G", "69.0a", "–", "–", "–"] in found.rows
    assert ["MobileNetV2", "300M", "73.5c", "72.0 313M", "72.7", "74.2e"] in found.rows
    assert len(found.rows) == 1 + len({(result.network, result.budget) for result in RESULTS})


def test_every_number_of_the_table_is_a_published_one():
    cells = " ".join(re.findall(r"<td>(.*?)</td>", table_html(STRINGS)))
    shown = re.findall(r"\b\d\d\.\d\b", cells)
    assert sorted(map(float, shown)) == sorted(result.top1 for result in RESULTS)


@pytest.mark.parametrize("language", LANGUAGES)
def test_caveats_and_sources_stand_below(language):
    html = table_html(Strings(language))
    assert {f"<sup>{mark}</sup>" for mark in "abcde"} <= set(re.findall(r"<sup>.</sup>", html))
    assert all(SOURCES[result.source] in html for result in RESULTS)
    assert Cells(html).open == []


def test_a_letter_in_the_table_tells_its_caveat():
    html = table_html(STRINGS)
    told = re.findall(r'<sup title="([^"]*)">(.)</sup>', html)
    letters = dict(re.findall(r"<sup>(.)</sup> (.*?)(?:; <|\.</p>)", html.replace("; <sup>", "; <<sup>")))
    assert {mark for _words, mark in told} == set(letters) == set("abcde")
    assert all(letters[mark] == words for words, mark in told)


def test_texts_are_escaped():
    result = Result("<b>net", "1.0G", "dmcp", 1000, 70.0, "dmcp")
    html = table_html(STRINGS, (result,))
    assert "&lt;b&gt;net" in html
    assert "<b>net" not in html


def test_millions_in_short():
    assert [short(macs) for macs in (43, 279, 1000, 1040, 2200)] == ["43M", "279M", "1.0G", "1.0G", "2.2G"]


def test_the_view_takes_the_tables():
    view = chain_published.build(1.25)
    tables = columns(LARGE, STRINGS)
    update(view, tables)
    assert {name: source.data for name, source in view.sources.items()} == tables
