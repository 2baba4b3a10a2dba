"""The HTML report: well formed, on its own, with every number, and escaped; the trade-off's points in place."""

from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import pytest
import torch

import explorer
from explorer.data import Data, Images, identity
from explorer.export import tradeoff
from explorer.export.html_report import html_report
from explorer.records import FinalCheck, Visit
from explorer.values import Cost, Estimate, Recovery, Request, full_plan

SVG = "{http://www.w3.org/2000/svg}"
VOID = {"meta"}
NOTHING = Recovery()


class Page(HTMLParser):
    """Text, attributes that load or lead somewhere, and whether every element that opens closes in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []
        self.links: list[str] = []
        self.cells: list[str] = []
        self.code: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.links += [
            f"{name}={value}" for name, value in attrs if name in ("src", "href", "srcset", "data")
        ]
        assert tag not in ("script", "link", "iframe", "img"), "the report loads nothing"
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        inside = self.open[-1] if self.open else ""
        if inside == "style":
            assert "url(" not in data
            assert "@import" not in data
            return
        self.words.append(data)
        if inside in ("td", "th"):
            self.cells.append(data)
        if inside == "code":
            self.code.append(data)

    @property
    def text(self) -> str:
        return " ".join(self.words)


@pytest.fixture
def visits(cut) -> list[Visit]:
    dense = full_plan(cut.graph)
    states = [
        (Request("random"), dense, Recovery(), 170, ""),
        (cut.report.request, cut.plan, Recovery(), 43, '<b>odd</b> & "bold"'),
        (replace(cut.report.request, recovery=Recovery(bn=True)), cut.plan, Recovery(bn=True), 121, ""),
    ]
    return [
        Visit(number, number - 1 if number else None, request, plan, recovery,
              explorer.cost(cut.graph, plan), Estimate(f"state {number}", correct, 200, 200), name)
        for number, (request, plan, recovery, correct, name) in enumerate(states)
    ]  # fmt: skip


def test_it_is_whole_and_loads_nothing(cut, visits):
    text = html_report(cut.network, cut.graph, cut.plan, cut.report, visits, at=1)
    page = Page(text)
    assert page.open == []
    assert page.links == []
    assert text.startswith("<!DOCTYPE html>")
    for drawing in text.split("<figure>")[1:]:
        ET.fromstring(drawing.split("</figure>")[0])  # sound XML too


def test_every_number_of_the_visits_is_in_a_table(cut, visits):
    cells = Page(html_report(cut.network, cut.graph, cut.plan, cut.report, visits, at=1)).cells
    for visit in visits:
        assert f"{visit.estimate.correct}" in cells
        assert any(cell.startswith(f"{visit.cost.macs:,} (") for cell in cells)
        assert any(cell.startswith(f"{visit.cost.params:,} (") for cell in cells)
    assert "85.0 % (79.4 to 89.3)" in cells  # 170 of 200 by Wilson
    assert '1: <b>odd</b> & "bold" (this one)' in cells


def test_every_group_has_its_width_and_a_reason(cut):
    request = replace(cut.report.request, widths=(("stem", 3), ("stage1.0.conv1", 2)), locked=("stem",))
    report = replace(cut.report, request=request)
    cells = Page(html_report(cut.network, cut.graph, cut.plan, report)).cells
    start = cells.index("why") + 1
    rows = {cells[i]: cells[i + 1 : i + 6] for i in range(start, len(cells), 6)}
    for group in cut.graph.groups:
        assert rows[group.id][1:3] == [str(cut.plan.widths.get(group.id, group.size)), str(group.size)]
    assert [rows[name][4] for name in ("stem", "stage1.0.conv1", "stage2.0.conv1")] == [
        "locked by hand",
        "set by hand",
        "by the budget",
    ]
    assert rows["classifier"][4] == f"not pruned: {cut.graph.group('classifier').reason}"


def test_table_definitions_proof_and_script_are_there(cut):
    page = Page(html_report(cut.network, cut.graph, cut.plan, cut.report))
    assert "45.0 % (38.3 to 51.9)" in page.cells
    assert "multiply-adds of convolutions" in page.text
    assert "the shrunk network's logits are within" in page.text
    assert 'plan = explorer.allocate(graph, scores, keep=0.4, cost="macs"' in page.code[0]
    assert "After cutting: no recovery." in page.text


def test_final_images_are_reported_with_the_count_of_looks(cut):
    images = Images(cut.network.example, torch.tensor([0]), identity)
    data = Data("toys", ("a",), None, images, images)
    network = replace(cut.network, data=data)
    silent = Page(html_report(network, cut.graph, cut.plan, cut.report))
    assert "Nobody has looked at the final images." in silent.text
    cost = explorer.cost(cut.graph, cut.plan)
    checks = [
        FinalCheck(n, Recovery(bn=True), cost, Estimate("k", 60 + n, 90, 90), Estimate("d", 80, 90, 90))
        for n in (1, 2)
    ]
    page = Page(html_report(network, cut.graph, cut.plan, cut.report, final_checks=checks))
    assert "Looks at the final images: 2." in page.text
    assert str(checks[1].now) in page.cells
    assert "There are no final images" in Page(html_report(*cut.all[:3], cut.report)).text


def visit(number, macs, correct, recovery=NOTHING, parent=None):
    cost = Cost(macs, 10, 10, 10, (), ())
    return Visit(number, parent, Request(), None, recovery, cost, Estimate(f"{number}", correct, 100, 100))


def test_points_of_the_trade_off_stand_where_their_numbers_say():
    dense = Cost(1000, 10, 10, 10, (), ())
    drawing = ET.fromstring(
        tradeoff.svg(
            [
                visit(0, 1000, 90),
                visit(1, 500, 50, Recovery(bn=True), 0),
                visit(2, 250, 90, Recovery(True, 1), 1),
            ],
            dense,
            at=1,
        )
    )
    groups = drawing.findall(f"{SVG}g")
    assert groups[1].find(f"{SVG}title").text.startswith("1: 50.0 % of MACs, accuracy 50.0 %")
    bare, bn = groups[0].find(f"{SVG}circle[@class='hollow']"), groups[1].find(f"{SVG}circle[@class='kept']")
    trained = groups[2].find(f"{SVG}rect")
    assert float(bare.get("cx")) == tradeoff.RIGHT
    assert float(bn.get("cx")) == (tradeoff.LEFT + tradeoff.RIGHT) / 2
    assert float(trained.get("x")) + 5 == tradeoff.LEFT + (tradeoff.RIGHT - tradeoff.LEFT) / 4
    assert float(trained.get("y")) + 5 == pytest.approx(float(bare.get("cy")))  # 90 % both
    ring = groups[1].find(f"{SVG}circle[@class='ring']")
    assert (ring.get("cx"), ring.get("cy")) == (bn.get("cx"), bn.get("cy"))
    low, high, _step = tradeoff.scale_of(0.4038, 0.9448)  # Wilson: 50 and 90 of 100
    assert (low, high) == (40, 100)
    middle = tradeoff.BOTTOM - (tradeoff.BOTTOM - tradeoff.TOP) * (50 - low) / (high - low)
    assert float(bn.get("cy")) == pytest.approx(middle, abs=0.01)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0.0, 1.0, (0, 100, 20)), (0.913, 0.938, (91, 94, 0.5)), (0.5, 0.5, (50, 50.2, 0.2))],
)
def test_axes_have_round_steps(low, high, expected):
    assert tradeoff.scale_of(low, high) == pytest.approx(expected)
