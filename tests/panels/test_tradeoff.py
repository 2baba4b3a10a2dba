from dataclasses import replace

import numpy as np
import pytest
from bokeh.events import Tap

from explorer.errors import BadInput
from explorer.panels.overview.tradeoff import TradeoffPane
from explorer.records import Outcomes, SweepPoint, Visit
from explorer.strings import Strings
from explorer.values import Cost, Estimate, Latency, Plan, Recovery, Request
from tests.panels.fake_session import FakeSession

STRINGS = Strings("en")


def visit(session, number, keep, accuracy, **fields):
    """A state in which every group keeps that share of its channels."""
    groups = session.graph.prunable
    plan = Plan(session.graph.key, {g.id: np.arange(g.size) < keep * g.size for g in groups})
    dense = session.dense_cost
    cost = Cost(round(keep * dense.macs), round(keep * dense.params), 0, 0, (), ())
    estimate = Estimate(f"visit {number}", round(2000 * accuracy), 2000, 2000)
    recovery = Recovery(bn=keep < 1)
    return Visit(number, number - 1 if number else None, Request(), plan, recovery, cost, estimate, **fields)


@pytest.fixture
def session():
    session = FakeSession()
    states = ((1.0, 0.926), (0.75, 0.91), (0.5, 0.905))
    session.visits = tuple(visit(session, number, *state) for number, state in enumerate(states))
    session.at = 2
    return session


@pytest.fixture
def pane(session):
    return TradeoffPane(session, STRINGS, 1.0)


def column(document, source, name):
    return document._model.select_one({"name": source}).data[name]


def texts(document, name):
    both = (column(document, f"{name}-labels", role) for role in ("soft", "ink"))
    return [a or b for a, b in zip(*both, strict=True)]


def test_every_visit_is_a_point_and_a_line_of_the_list(session, pane):
    assert len(column(pane.chart, "tradeoff-points", "x")) == 3
    assert [label for label, _number in pane.visit.options] == [
        "dense network · 92.6 % at 100 %",
        "state 1 · 91.0 % at 75 %",
        "state 2 · 90.5 % at 50 %",
    ]
    session.visits = (*session.visits, visit(session, 3, 0.25, 0.8))
    assert len(column(pane.chart, "tradeoff-points", "x")) == 4
    assert len(pane.visit.options) == 4


def test_a_tap_on_a_point_goes_back_to_it(session, pane):
    figure = pane.chart._model
    x, y = (column(pane.chart, "tradeoff-points", name)[1] for name in "xy")
    figure._trigger_event(Tap(figure, x=x, y=y))
    assert session.called == [("restore", 1)]
    assert pane.visit.value == 1  # so that the name and a comparison are of the point that was chosen
    figure._trigger_event(Tap(figure, x=x, y=y + 80))
    assert session.called == [("restore", 1)]


def test_a_tap_on_the_state_now_chooses_it_without_going_anywhere(session, pane):
    figure = pane.chart._model
    x, y = (column(pane.chart, "tradeoff-points", name)[2] for name in "xy")
    figure._trigger_event(Tap(figure, x=x, y=y))
    assert session.called == []
    assert pane.visit.value == 2


def test_the_list_and_a_button_do_the_same_without_a_pointer(session, pane):
    pane.visit.value = 1
    pane.restore.click()
    assert session.called == [("restore", 1)]
    pane.visit.value = 2
    assert pane.restore.disabled  # we are there


def test_the_chosen_state_is_named(session, pane):
    pane.visit.value = 1
    pane.name.value = "slim"
    assert session.called == [("name_visit", 1, "slim")]
    session.visits = (session.visits[0], replace(session.visits[1], name="slim"), session.visits[2])
    assert pane.visit.value == 1
    assert pane.visit.options[1][0].startswith("slim")
    assert "slim" in texts(pane.chart, "tradeoff")
    pane.visit.value = 0
    assert pane.name.value == ""
    assert session.called == [("name_visit", 1, "slim")]  # to show a name is not to give one


def test_comparing_shows_both_states_and_whether_their_intervals_are_apart(session, pane):
    pane.visit.value = 1
    pane.compare.value = True
    assert pane.chart.layout.display == "none"
    assert pane.bars.layout.display == ""
    assert "48 → 32" in texts(pane.bars, "two-states")
    for words in ("state 1", "91.0 %", "MACs 75 %", "now: state 2", "90.5 %", "params 50 %"):
        assert words in pane.verdict.value
    assert STRINGS("tradeoff_overlap") in pane.verdict.value  # 91.0 and 90.5 %, each ± 1.3
    session.visits = (*session.visits, visit(session, 3, 0.25, 0.8))
    session.at = 3
    assert STRINGS("tradeoff_apart_other") in pane.verdict.value
    pane.visit.value = 3
    assert "state 2" in pane.verdict.value, "the state now is compared with the one that it came from"
    pane.visit.value = session.at = 0
    assert pane.verdict.value == ""
    assert texts(pane.bars, "two-states") == [STRINGS("tradeoff_compare_itself")]
    session.at = None
    assert texts(pane.bars, "two-states") == [STRINGS("tradeoff_compare_wait")]
    pane.compare.value = False
    assert pane.chart.layout.display == ""
    assert pane.bars.layout.display == "none"


def outcomes(both, broken, mended, neither):
    """What two states say of so many images of class 1: right in both, in the first alone, the second alone, none."""
    before = np.repeat([1, 1, 0, 0], [both, broken, mended, neither]).astype(np.int16)
    now = np.repeat([1, 0, 1, 0], [both, broken, mended, neither]).astype(np.int16)
    return Outcomes(before, now, np.ones(len(now), np.int64))


# The interval by hand, of 45 broken and 21 mended of 2,000: middle (21.5 - 45.5) / 2002 = -1.1988 %, variance
# (67 - 24^2 / 2002) / 2002^2, half 1.959964 * 8.16776 / 2002 = 0.7996 %.
@pytest.mark.parametrize(
    ("broken", "mended", "key", "says"),
    [
        (45, 21, "tradeoff_worse", ("−1.2", "−2.0", "−0.4")),
        (21, 45, "tradeoff_better", ("+1.2", "+0.4", "+2.0")),
        (30, 30, "tradeoff_not_apart", ("0.0", "−0.8", "+0.8")),
    ],
)
def test_a_comparison_is_judged_on_the_same_images_though_the_intervals_overlap(
    session, pane, broken, mended, key, says
):
    session.remembered[1, 2] = outcomes(1800, broken, mended, 200 - broken - mended)
    pane.visit.value = 1
    pane.compare.value = True
    points, low, high = says
    assert STRINGS(key, points=points, low=low, high=high) in pane.verdict.value
    counts = STRINGS("tradeoff_flips", images="2,000", broken=str(broken), mended=str(mended))
    assert counts in pane.verdict.value
    assert STRINGS("tradeoff_overlap") not in pane.verdict.value


def test_a_better_state_now_is_said(session, pane):
    session.visits = (*session.visits, visit(session, 3, 0.25, 0.8))
    pane.visit.value = 3
    pane.compare.value = True
    assert STRINGS("tradeoff_apart_now") in pane.verdict.value


def test_the_axis_can_be_parameters_or_latency_and_what_is_not_timed_is_said(session, pane):
    pane.axis.value = "params"
    assert STRINGS("tradeoff_axis_params") in texts(pane.chart, "tradeoff")
    pane.axis.value = "latency"
    assert STRINGS("tradeoff_no_latency") in texts(pane.chart, "tradeoff")
    both = Latency(64, 0.03, 0.03, 0.03, 20), Latency(64, 0.02, 0.02, 0.02, 20)
    session.visits = (*session.visits[:2], replace(session.visits[2], latency=both))
    assert "timed: 1 of 3" in texts(pane.chart, "tradeoff")
    assert STRINGS("tradeoff_no_latency") not in texts(pane.chart, "tradeoff")


def test_the_sweep_is_started_shown_and_stopped(session, pane):
    pane.sweep.click()
    assert session.called == [("sweep", "bands")]
    session.sweeping = "bands"
    assert pane.sweep.description == STRINGS("tradeoff_sweep_stop")
    point = SweepPoint("uniform", 0.5, session.dense_cost, Estimate("k", 400, 500, 500), Recovery())
    session.bands = (point, replace(point, cost=Cost(20_000_000, 100_000, 0, 0, (), ())))
    assert "2 of 28" in pane.progress.value
    assert len(column(pane.chart, "tradeoff-uniform", "x")) > 1
    pane.sweep.click()
    assert session.called[-1] == ("sweep", "")
    session.sweeping = ""
    assert pane.sweep.description == STRINGS("tradeoff_sweep")
    assert pane.progress.value == ""


def test_a_sweep_of_something_else_is_not_shown_as_ours(session, pane):
    session.sweeping = "sensitivity"
    assert pane.sweep.description == STRINGS("tradeoff_sweep")


def test_little_to_show_says_what_to_do_next():
    session = FakeSession()
    pane = TradeoffPane(session, STRINGS, 1.0)
    assert STRINGS("tradeoff_empty") in texts(pane.chart, "tradeoff")
    assert pane.restore.disabled
    assert pane.compare.disabled
    session.visits, session.at = (visit(session, 0, 1.0, 0.926),), 0
    assert STRINGS("tradeoff_first") in texts(pane.chart, "tradeoff")
    without = TradeoffPane(FakeSession(data=False), STRINGS, 1.0)
    assert STRINGS("tradeoff_no_data") in texts(without.chart, "tradeoff")
    assert without.sweep.disabled


def test_a_refusal_reaches_the_status_line(session, pane, monkeypatch):
    def refuse(_number):
        raise BadInput("There is no visited state 7.")

    monkeypatch.setitem(session.__dict__, "restore", refuse)
    pane.restore.click()
    assert session.error == "There is no visited state 7."


def test_the_summary_mirrors_the_chart_and_the_comparison(session, pane):
    assert pane.summary.value.count("<li>") == 1 + 3
    assert "where you are now" in pane.summary.value
    pane.compare.value = True
    assert "stage1.0.conv1: 16 channels, then 8, of 16" in pane.summary.value


def test_while_hidden_nothing_is_drawn(session, pane):
    pane.binding.active = False
    session.visits = session.visits[:1]
    assert len(column(pane.chart, "tradeoff-points", "x")) == 3
    pane.binding.active = True
    assert len(column(pane.chart, "tradeoff-points", "x")) == 1


def test_a_name_is_text_and_no_markup(session, pane):
    session.visits = (*session.visits[:2], replace(session.visits[2], name="<b>x"))
    pane.compare.value = True
    assert "&lt;b&gt;x" in pane.verdict.value
    assert "<b>x" not in pane.verdict.value + pane.summary.value


def test_the_invitation_to_cut_is_not_written_over_bands():
    session = FakeSession()
    pane = TradeoffPane(session, STRINGS, 1.0)
    session.visits, session.at = (visit(session, 0, 1.0, 0.926),), 0
    assert STRINGS("tradeoff_first") in texts(pane.chart, "tradeoff")
    half = Cost(20_000_000, 100_000, 0, 0, (), ())
    session.bands = tuple(
        SweepPoint("uniform", keep, cost, Estimate("k", 450, 500, 500), Recovery())
        for keep, cost in ((1.0, session.dense_cost), (0.5, half))
    )
    assert STRINGS("tradeoff_first") not in texts(pane.chart, "tradeoff")
    pane.axis.value = "latency"  # where no bands are drawn
    assert STRINGS("tradeoff_no_latency") in texts(pane.chart, "tradeoff")
