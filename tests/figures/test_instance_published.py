from html.parser import HTMLParser
from itertools import pairwise

import pytest

from explorer.figures import instance_published
from explorer.figures.instance_published import FOOT, HEIGHT, PAGES, columns, describe, table_html
from explorer.figures.text_lines import pixels_of
from explorer.figures.view import update
from explorer.published_dynamic import GATED, NOT_READ, PRUNED, SOURCES
from explorer.strings import LANGUAGES, Strings

STRINGS = Strings("en")
SHIFT = {"left": 0, "center": 0.5, "right": 1}  # share of a text that stands before its x


def texts(tables):
    labels = tables["labels"]
    return ["".join(row) for row in zip(*(labels[role] for role in instance_published._ROLES), strict=True)]


def dots(tables):
    """(x, y, whether it is ManiDP's) of every dot."""
    found = zip(tables["dots"]["own"], tables["dots"]["other"], tables["dots"]["y"], strict=True)
    return [(other if own != own else own, y, own == own) for own, other, y in found]


def test_dots_stand_at_their_points_above_the_dense_network():
    tables = columns("imagenet", STRINGS)
    first = dots(tables)[:5]  # ResNet-18, in the order of the table
    zero = tables["zeros"]["x"][0]
    unit = (first[1][0] - zero) / 1.59  # FBS
    assert [(x - zero) / unit for x, _y, _own in first] == pytest.approx([1.35, 1.59, 1.46, 0.88, 1.41])
    assert [own for _x, _y, own in first] == [False, False, False, True, True]


def test_a_wrongly_printed_gap_is_drawn_from_its_errors_and_told():
    tables = columns("imagenet", STRINGS)
    hover = [text for text in tables["dots"]["hover"] if "The table prints" in text]
    assert [text.split("The table")[1] for text in hover] == [
        " prints 0.07; its errors give 0.77.",
        " prints 1.85; its errors give 1.65.",
    ]
    zero = tables["zeros"]["x"][1]
    second = [x for x, _y, _own in dots(tables)[5:]]
    assert (second[0] - zero) / (second[1] - zero) == pytest.approx(0.77 / 1.65)


def test_a_method_has_one_line_and_no_dot_where_it_was_not_tried():
    tables = columns("cifar", STRINGS)
    y = {text: y for text, y in zip(texts(tables), tables["labels"]["y"], strict=True) if "static" in text}
    counts = {name: sum(1 for _x, height, _own in dots(tables) if height == y[name]) for name in y}
    assert counts == {"FPGM, static": 3, "HRank, static": 1, "Hinge, static": 2}
    assert len(dots(tables)) == 4 + 3 + 5


def test_fbs_saves_more_the_lower_its_density():
    tables = columns("fbs", STRINGS)
    assert {"density 1", "density 0.3", "−91 %", "−67 %", "CifarNet, others"} <= set(texts(tables))
    x = [x for x, _y, _own in dots(tables)]
    assert x[0] == min(x)  # M-CifarNet's only one
    zero = tables["zeros"]["x"][1]
    assert [(each - zero) / (x[-1] - zero) * 4.79 for each in x[1:]] == pytest.approx(
        [0.99, 0.87, 0.65, 1.85, 4.79]
    )


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("page", PAGES)
def test_texts_have_room(language, page):
    tables = columns(page, Strings(language))
    lines = {}
    for x, y, align, text in zip(
        *(tables["labels"][key] for key in ("x", "y", "align")), texts(tables), strict=True
    ):
        wide = 0.93 * pixels_of(text)
        left = 425 * x - SHIFT[align] * wide
        lines.setdefault(y, []).append((left, left + wide, text))
    assert min(lines) == FOOT
    assert max(lines) + 7 < HEIGHT
    for line in lines.values():
        ends = [(-1, 0, ""), *sorted(line), (429, 430, "")]
        for (_left, end, one), (start, _right, other) in pairwise(ends):
            assert end <= start, (one, other)


@pytest.mark.parametrize("page", PAGES)
def test_everything_is_told_in_sentences(page):
    said = describe(page, STRINGS)
    expected = {"imagenet": 21, "cifar": 23, "fbs": len(GATED)}
    assert len(said) == expected[page]
    if page == "cifar":
        assert said[7] == (
            "ResNet-20 on CIFAR-10, ManiDP: error 7.95 %, 0.17 points above 7.78, saves 54.2 % of the MACs."
        )
    if page == "fbs":
        assert said[2].endswith("accuracy 69.59 % at 3,379 M MACs; without FBS not told.")


class Cells(HTMLParser):
    """Rows of tables as texts, and whether every tag that is opened is closed in order."""

    def __init__(self, html):
        super().__init__()
        self.rows, self.open = [], []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, _attributes):
        if tag == "br":
            return
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


def test_the_tables_hold_every_row_and_leave_unknown_cells_empty():
    found = Cells(table_html(STRINGS))
    assert found.open == []
    assert len(found.rows) == 2 + len(PRUNED) + len(GATED)
    assert ["ResNet-18", "dense", "30.24", "10.92", "–", "–"] in found.rows
    assert ["", "FPGM, static", "27.46", "8.87", "0.77a", "41.1"] in found.rows
    assert ["", "CGNet", "31.70", "–", "1.46", "50.7"] in found.rows
    assert ["CIFAR-10", "0.5b", "90.54", "99.75", "0.83", "57M", "67.2"] in found.rows
    assert ["VGG-16, slimmedImageNet", "0.6", "69.59", "89.39", "–", "3,379M", "–"] in found.rows
    assert ["", "0.3", "82.51", "–", "4.79", "0.16c", "90.8"] in found.rows


@pytest.mark.parametrize("language", LANGUAGES)
def test_notes_sources_and_what_was_not_read_stand_below(language):
    strings = Strings(language)
    html = table_html(strings)
    assert Cells(html).open == []
    assert all(address in html for address in SOURCES.values())
    assert all(
        strings(f"instance_published_missing_{name}").replace("'", "&#x27;") in html for name in NOT_READ
    )
    assert all(f"<sup>{mark}</sup>" in html for mark in "abc")


def test_the_view_takes_the_tables():
    view = instance_published.build(1.25)
    for page in PAGES:
        tables = columns(page, STRINGS)
        update(view, tables)
        assert {name: source.data for name, source in view.sources.items()}.keys() == tables.keys()
        assert view.sources["labels"].data == tables["labels"]
