"""The picture of the width bars: the numbers in it, where they stand, and that it is sound SVG."""

from xml.etree import ElementTree as ET

import pytest

import explorer
from explorer.export.picture import LEFT, LONGEST, Bar, bars, svg
from explorer.values import full_plan

SVG = "{http://www.w3.org/2000/svg}"


def drawn(rows: list[Bar]) -> ET.Element:
    return ET.fromstring(svg(rows, "title", "subtitle", "image"))


def texts(element: ET.Element) -> list[str]:
    return [text.text or "" for text in element.iter(f"{SVG}text")]


def test_bars_are_the_shrunk_networks_widths(cuts):
    for cut in cuts.values():
        shrunk = explorer.trace(cut.model, cut.network.example)
        rows = bars(cut.graph, cut.plan)
        assert [(bar.name, bar.kept) for bar in rows] == [(a.name, a.out_shape[0]) for a in shrunk.layers]
        assert [bar.size for bar in rows] == [layer.out_shape[0] for layer in cut.graph.layers]


def test_tied_and_fixed_layers_say_so(cut):
    rows = {bar.name: bar for bar in bars(cut.graph, cut.plan)}
    width = cut.plan.widths["stem"]
    assert rows["stem"].label == f"{width} of 16"
    assert rows["stage1.2.conv2"].label == f"{width} of 16, as stem"
    assert rows["classifier"].label == "10, not pruned"


def test_the_first_layer_stands_at_the_bottom_and_the_image_below():
    drawing = drawn([Bar("first", 8, 16, True, ""), Bar("second", 4, 16, True, "")])
    heights = {text.text: float(text.get("y")) for text in drawing.iter(f"{SVG}text")}
    assert heights["image"] > heights["first"] > heights["second"] > heights["title"]
    assert heights["first"] == heights["8 of 16"]


def test_kept_is_solid_and_removed_is_dashed_behind_it():
    drawing = drawn([Bar("half", 8, 16, True, ""), Bar("whole", 32, 32, True, "")])
    half, whole = drawing.findall(f"{SVG}g")
    removed, kept = half.findall(f"{SVG}rect")
    assert [float(kept.get(name)) for name in ("x", "width")] == [LEFT, pytest.approx(LONGEST / 4, abs=0.01)]
    assert float(removed.get("x")) == pytest.approx(LEFT + LONGEST / 4, abs=0.01)
    assert float(removed.get("width")) == pytest.approx(LONGEST / 4, abs=0.01)
    assert removed.get("fill") == "none"
    assert removed.get("stroke-dasharray")
    assert [rect.get("class") for rect in whole.findall(f"{SVG}rect")] == ["kept"]


def test_where_bars_would_be_too_narrow_each_has_its_own_scale():
    drawing = drawn([Bar("narrow", 4, 4, True, ""), Bar("wide", 128, 256, True, "")])
    widths = [float(rect.get("width")) for rect in drawing.iter(f"{SVG}rect") if rect.get("class") == "kept"]
    assert widths == [LONGEST, LONGEST / 2]
    assert any("its own 100 %" in text for text in texts(drawing))


def test_everything_can_be_read_as_text(cut):
    drawing = drawn(bars(cut.graph, full_plan(cut.graph)))
    assert drawing.find(f"{SVG}title").text == "title. subtitle"
    description = drawing.find(f"{SVG}desc").text
    assert description.startswith("stem: 16 of 16; stage1.0.conv1: 16 of 16; ")
    assert not [rect for rect in drawing.iter(f"{SVG}rect") if rect.get("class") == "removed"]


def test_odd_and_long_names_are_drawn_safely():
    name = "a<b>&" + "x" * 40
    drawing = drawn([Bar(name, 1, 2, True, "")])
    assert f"…{'x' * 23}" in texts(drawing)
    assert drawing.find(f"{SVG}g/{SVG}title").text == f"{name}: 1 of 2"
