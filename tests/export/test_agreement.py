"""Exports over images without labels: agreement and divergence where accuracy would stand."""

from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest
import torch

import explorer
from explorer.data import Data, Images, Normalize
from explorer.export import make_report, table, tradeoff
from explorer.export.html_report import html_report
from explorer.export.picture import captions
from explorer.export.replay import replay_script, replay_session
from explorer.export.snapshot import snapshot_svg
from explorer.export.widths import document
from explorer.records import FinalCheck, Visit
from explorer.values import Estimate, Recovery, Request, full_plan
from tests.export.test_replay import Bench, run
from tests.session.conftest import tiny_data
from tests.session.test_unlabelled import decided, without_labels

ITSELF = Estimate("dense", 80, 80, 80, "itself", 0.0)


@pytest.fixture
def bare(cut):
    """The cut, with images that have no labels; and the report that is made of it."""
    draw = torch.Generator().manual_seed(0)
    explore, final = (
        Images(torch.rand((count, 1, 28, 28), generator=draw), None, Normalize(0.25, 0.5))
        for count in (80, 40)
    )
    network = replace(cut.network, data=Data("bare", (), None, explore, final))
    report = make_report(
        network, cut.graph, cut.plan, cut.model, cut.report.request, cut.report.proof, batches=()
    )
    return replace(cut, network=network, report=report)


def visits(cut, now: Estimate) -> tuple[Visit, ...]:
    cost, dense = explorer.cost(cut.graph, cut.plan), explorer.cost(cut.graph)
    request = cut.report.request
    return (
        Visit(0, None, request, full_plan(cut.graph), Recovery(), dense, ITSELF),
        Visit(1, 0, request, cut.plan, Recovery(), cost, now),
    )


def test_the_report_is_what_evaluate_says(bare):
    dense, now = bare.report.dense, bare.report.now
    assert (dense.explore.counts, dense.explore.correct) == ("itself", 80)
    assert now.explore == explorer.evaluate(bare.model, bare.network.data, dense=bare.network.model)
    assert now.final == explorer.evaluate(bare.model, bare.network.data, "final", bare.network)
    assert now.explore.counts == now.final.counts == "agreement"


def test_the_table_names_what_is_counted(bare):
    text = table(bare.report, "resnet20 on bare")
    rows = {line.split("  ")[0]: line for line in text.splitlines()}
    estimate = bare.report.now.explore
    assert "100 % (by definition)" in rows["agreement with dense, 80 explore images"]
    assert f"{100 * estimate.accuracy:.1f} %" in rows["agreement with dense, 80 explore images"]
    assert f"{estimate.divergence:.3g} nats" in rows["divergence from dense, explore images"]
    assert f"{bare.report.now.final.divergence:.3g} nats" in rows["divergence from dense, final images"]
    assert "What is counted of now is for that." in text
    assert "in nats." in text
    assert "accuracy" not in text.lower()


def test_the_page_names_what_is_counted(bare):
    now = bare.report.now.explore
    seen = visits(bare, now)
    check = FinalCheck(1, Recovery(), seen[1].cost, bare.report.now.final, bare.report.dense.final)
    page = html_report(bare.network, bare.graph, bare.plan, bare.report, seen, (check,), at=1, estimate=now)
    body = page[: page.index("Do it again")]
    assert "<span>Agreement with dense</span>" in body
    assert f"<strong>{now.divergence:.3g} nats</strong>" in body
    assert '<th scope="col">divergence</th>' in body
    assert "Agreement and divergence are of the 80 explore images" in body
    assert "agreement with dense now" in body
    assert "ccurac" not in body


def test_the_trade_off_names_what_is_counted(bare):
    drawing = ET.fromstring(tradeoff.svg(visits(bare, bare.report.now.explore), explorer.cost(bare.graph)))
    words = " ".join(drawing.itertext())
    assert "Agreement with dense over MACs" in words
    assert "agreement with dense on explore images, %" in words
    assert "the dense network itself, 100 % by definition" in words
    assert "ccuracy" not in words


def test_snapshot_and_picture_name_what_is_counted(bare):
    now, cost, dense = bare.report.now.explore, *(explorer.cost(bare.graph, p) for p in (bare.plan, None))

    def texts(estimate: Estimate) -> list[str]:
        drawing = snapshot_svg(
            bare.network, bare.graph, bare.plan, cost, dense, estimate, "no recovery", ITSELF
        )
        return [each.text or "" for each in ET.fromstring(drawing).iter("{http://www.w3.org/2000/svg}text")]

    assert "Agreement with dense, no recovery" in texts(now)
    assert f"80 images, divergence {now.divergence:.3g} nats" in texts(now)
    assert "by definition" in texts(ITSELF)
    _title, subtitle = captions("net", cost, dense, Recovery(), now)
    assert subtitle.startswith("no recovery: agreement with dense ")


def test_the_widths_file_does_not_call_it_accuracy(bare):
    results = document(bare.network, bare.graph, bare.plan, bare.report)
    text = str(results)
    assert f"'agreement': {bare.report.now.explore.accuracy}" in text
    assert f"'divergence': {bare.report.now.explore.divergence}" in text
    assert "'accuracy': 0" not in text


def test_replay_scripts_find_the_same_agreement_again(capsys):
    model, data = decided(), without_labels(tiny_data())
    bench = Bench(explorer.load(model, data=data), "taylor")
    plan = explorer.allocate(bench.graph, bench.scores, keep=0.5)
    request = Request("taylor", keep=0.5, recovery=Recovery(bn=True))
    recovery, live = request.recovery, bench.estimate(plan, request.recovery)
    names = run(
        replay_script(bench.network, bench.graph, request, plan, recovery, live), model=model, data=data
    )
    assert names["found"] == names["shown"]
    assert names["correct"] == live.correct < 150
    cost = explorer.cost(bench.graph, plan)
    visits = (Visit(0, None, request, plan, recovery, cost, live),)
    names = run(replay_session(bench.network, bench.graph, visits), model=model, data=data)
    assert [found["correct"] for found in names["everything"]] == [live.correct]
    assert "but the explorer" not in capsys.readouterr().out
