import threading

import pytest
from bokeh.events import Tap

from explorer.panels.charts import Charts
from explorer.panels.header import Header
from explorer.panels.keep import Keep
from explorer.panels.scorecard import Scorecard
from explorer.panels.status import Status
from explorer.values import Estimate
from tests.panels.fake_session import CHAIN, FakeSession

CRITERIA = {"taylor": "effect on the loss", "l1": "filter size"}
ALLOCATIONS = {"global": "by ranking", "uniform": "uniformly"}


@pytest.fixture
def session():
    return FakeSession()


def test_keep_proposes_a_share_and_follows_the_session(session):
    panel = Keep(session)
    panel.slider.value = 60
    assert session.request.keep == 0.6
    assert "60 %" in panel.value_text.value
    session.propose(keep=0.3)
    assert panel.slider.value == 30
    assert session.proposed == [{"keep": 0.6}, {"keep": 0.3}]  # no echo


def test_keep_stops_at_what_can_be_reached_and_says_it(session):
    panel = Keep(session)
    assert panel.slider.min == 4
    assert "4 %" in panel.reach.value


def test_cost_and_recovery_are_proposed(session):
    panel = Keep(session)
    panel.cost.value = "params"
    panel.after.value = "1"
    assert session.request.cost == "params"
    assert session.request.recovery.epochs == 1


def test_pinned_widths_read_custom(session):
    panel = Keep(session)
    session.propose(widths=(("sum1", 8),))
    assert "custom" in panel.value_text.value


def test_without_training_images_nothing_is_the_only_choice_and_says_why():
    panel = Keep(FakeSession(train=False))
    assert [code for _label, code in panel.after.options] == ["none"]
    assert "no training images" in panel.after.options[0][0]


def test_a_refused_gesture_goes_to_the_error_and_the_widget_back(session):
    panel = Keep(session)
    session.reach = (0.5, 1.0)
    panel.slider.min = 1
    panel.slider.value = 20
    assert "keep is 0.2" in session.error
    assert session.request.keep == 1.0
    assert panel.slider.value == 100


def test_a_fault_in_a_callback_reaches_the_error_in_words(session, monkeypatch, caplog):
    panel = Header(session, CRITERIA, ALLOCATIONS)
    monkeypatch.setattr(session, "propose", lambda **_changes: 1 / 0)
    panel.rank.value = "l1"
    assert "ZeroDivisionError" in session.error
    assert panel.rank.value == "taylor"
    assert "ZeroDivisionError" in caplog.text


def test_header_names_network_and_data_and_proposes(session):
    panel = Header(session, CRITERIA, ALLOCATIONS)
    assert "resnet20" in panel.title.value
    assert "on Fashion-MNIST" in panel.title.value
    panel.share.value = "uniform"
    assert session.request.allocation == "uniform"
    assert "no images" in Header(FakeSession(data=False), CRITERIA, ALLOCATIONS).title.value


def test_scorecard_follows_estimate_and_cost(session):
    panel = Scorecard(session)
    session.propose(keep=0.6)
    assert "84.5" in panel.accuracy.value
    assert "640 of 2,000 images" in panel.accuracy.value
    assert "60 %" in panel.costs.value
    panel.measure.click()
    assert "no faster" in panel.latency.value
    assert "21.4 of 33.1 ms" in panel.latency.value
    assert "no images were given" in Scorecard(FakeSession(data=False)).accuracy.value


def test_the_reference_says_its_interval_and_images_and_whether_it_is_done(session):
    panel = Scorecard(session)
    assert ">reference 92.6<" in panel.accuracy.value
    assert 'title="The dense network on 2,000 images; 95 % interval: 91.4 to 93.7 %"' in panel.accuracy.value
    session.reference = Estimate("dense", 90, 100, 2000)
    assert ">reference 90.0 so far<" in panel.accuracy.value
    assert "The dense network on 100 of 2,000 images; 95 % interval: 82.6 to 94.5 %" in panel.accuracy.value


def test_a_stale_estimate_looks_stale(session):
    panel = Scorecard(session)
    session.current = False
    assert "pe-stale" in panel.accuracy.value
    assert "of the state before" in panel.accuracy.value
    assert "being counted…" in panel.accuracy.value
    session.stage = "training, step 12 of 79"
    assert ">training, step 12 of 79…<" in panel.accuracy.value
    assert "reference 92.6" in panel.accuracy.value
    session.current = True
    assert "training" not in panel.accuracy.value
    assert "before" not in panel.accuracy.value


def test_status_shows_the_error_before_all_else(session):
    panel = Status(session)
    session.stage, session.status = "evaluating", "7 channels cut"
    assert "7 channels cut" in panel.value
    session.error = "keep is <7>"
    assert 'role="alert"' in panel.value
    assert "Error:" in panel.value
    assert "&lt;7&gt;" in panel.value


def charts(session):
    return Charts(session, CRITERIA)


def column(panel, source, name):
    return panel.document._model.select_one({"name": source}).data[name]


def test_charts_draw_the_plan_and_the_middle_layer_before_a_selection(session):
    panel = charts(session)
    session.propose(keep=0.5)
    widths = [f"{session.plan.widths['s1b0']} of 16 channels kept"]
    assert column(panel, "bars-rows", "count")[2:3] == widths
    assert sum(column(panel, "importance-kept", "top")) > 0
    assert session.selection == ""


def test_a_tap_names_the_layer_and_selects_its_group(session):
    panel = charts(session)
    for name in ("stage3.0.shortcut.0", "stage3.2.conv2", "stage3.0.shortcut.0"):
        row = next(row for row in panel._layout.rows if row.name == name)
        panel._bars.root._trigger_event(Tap(panel._bars.root, x=0.2, y=row.middle))
        assert session.selection == "sum3"
        assert dict(map(reversed, panel.layer.options))[panel.layer.value] == name
        assert row.words in panel.details.value
        assert "moves 4 layers" in panel.details.value
        highlighted = [length > 0 for length in column(panel, "bars-rows", "chosen")]
        assert sum(highlighted) == 4


def test_a_layer_of_the_same_group_in_the_list_shows_its_own_shape(session):
    panel = charts(session)
    for name in ("stage3.0.conv2", "stage3.0.shortcut.0"):
        panel.layer.value = dict(panel.layer.options)[name]
        row = panel._layout.rows[panel.layer.value]
        assert row.words in panel.details.value


def test_the_layer_list_selects_as_well_and_stays_on_its_layer(session):
    panel = charts(session)
    panel.layer.value = dict(panel.layer.options)["stage3.0.shortcut.0"]
    assert session.selection == "sum3"
    assert dict(map(reversed, panel.layer.options))[panel.layer.value] == "stage3.0.shortcut.0"


def test_an_unprunable_layer_says_why(session):
    panel = charts(session)
    session.select("classes")
    assert any("the network's output" in text for text in column(panel, "importance-labels", "plain"))


def test_summaries_mirror_the_charts(session):
    panel = charts(session)
    session.propose(keep=0.5)
    assert f"keeps {session.plan.widths['s1b0']} of 16 channels" in panel.summary.value
    assert "channels removed" in panel.summary.value


def test_bars_are_there_before_the_scores():
    session = FakeSession(CHAIN, scored=False)
    panel = charts(session)
    assert len(column(panel, "bars-rows", "name")) == 4
    assert "being scored" in panel.summary.value
    session.finish_scoring()
    assert "being scored" not in panel.summary.value


def test_panels_take_changes_from_other_threads(session):
    panels = Keep(session), Scorecard(session), charts(session), Status(session)

    def change(start):
        for step in range(start, 60, 2):
            session.propose(keep=(100 - step) / 100)

    threads = [threading.Thread(target=change, args=(start,)) for start in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert not any(thread.is_alive() for thread in threads)
    session.propose(keep=0.5)
    session.estimate = Estimate("x", 1, 4, 4)
    assert panels[0].slider.value == 50
    assert "25.0" in panels[1].accuracy.value
    assert session.error == ""
