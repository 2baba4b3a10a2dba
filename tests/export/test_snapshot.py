"""The snapshot: its numbers, that it is sound SVG, and that large networks stay one screen high."""

from xml.etree import ElementTree as ET

import pytest

import explorer
from explorer.export import snapshot
from explorer.export.picture import Bar
from explorer.values import Estimate, full_plan

SVG = "{http://www.w3.org/2000/svg}"


def drawn(cut, estimate, reference=None):
    costs = explorer.cost(cut.graph, cut.plan), explorer.cost(cut.graph)
    text = snapshot.snapshot_svg(
        cut.network, cut.graph, cut.plan, *costs, estimate, "re-estimated <BN>", reference
    )
    drawing = ET.fromstring(text)
    return drawing, [each.text for each in drawing.iter(f"{SVG}text")]


def test_it_has_the_dashboards_main_facts(cut):
    _drawing, texts = drawn(cut, Estimate("k", 170, 200, 400), Estimate("d", 360, 400, 400))
    now, dense = explorer.cost(cut.graph, cut.plan), explorer.cost(cut.graph)
    assert {"resnet20 without images", "Accuracy, re-estimated <BN>", "85.0 %", "79.4 to 89.3"} <= set(texts)
    assert "200 of 400 images, reference 90.0 %" in texts
    assert f"{100 * now.macs / dense.macs:.1f} %" in texts
    assert f"{now.macs / 1e6:.1f} of {dense.macs / 1e6:.1f} M" in texts
    assert f"{100 * now.params / dense.params:.1f} %" in texts
    assert f"{cut.plan.widths['stage2.0.conv1']} of 32" in texts


def test_an_accuracy_that_is_not_known_is_not_invented(cut):
    for estimate in (None, Estimate("k", 0, 0, 400)):
        _drawing, texts = drawn(cut, estimate)
        assert "not known" in texts
        assert not [text for text in texts if "nan" in text]


def test_a_screen_reader_gets_numbers_and_bars(cut):
    drawing, _texts = drawn(cut, Estimate("k", 170, 200, 200))
    assert "85.0 % 79.4 to 89.3 200 images" in drawing.get("aria-label")
    assert drawing.find(f"{SVG}desc").text.startswith("stem: ")


def test_of_many_layers_those_that_lost_most_are_drawn_in_order():
    rows = [Bar(f"layer {n}", 100 - n % 50, 100, True, "") for n in range(100)]
    chosen = snapshot._chosen(rows)
    assert len(chosen) == snapshot.MOST
    assert min(bar.size - bar.kept for bar in chosen) == 30  # 49, 49, 48, ... down to 30: forty of them
    assert chosen == sorted(chosen, key=rows.index)
    assert snapshot._chosen(rows[:40]) == rows[:40]


@pytest.mark.parametrize("name", ["vgg", "mobilenetv2"])
def test_every_picture_fits_its_ground(name, cuts):
    cut = cuts[name]
    drawing, _texts = drawn(cut, None)
    height = float(drawing.get("height"))
    assert height == float(drawing.find(f"{SVG}rect").get("height")) < 1100
    assert max(float(each.get("y")) for each in drawing.iter(f"{SVG}text")) < height
    assert full_plan(cut.graph) != cut.plan
