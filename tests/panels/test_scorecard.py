import pytest

from explorer.panels.header.scorecard import Scorecard, accuracy_html, latency_html
from explorer.strings import Message, Strings
from explorer.values import Estimate, Latency
from tests.panels.fake_session import FakeSession

STRINGS = Strings("en")


@pytest.fixture
def session():
    return FakeSession()


def test_scorecard_follows_estimate_and_cost(session):
    panel = Scorecard(session, STRINGS)
    session.propose(keep=0.6)
    assert "84.5" in panel.accuracy.value
    assert ">re-estimated BN · 640 of 2,000 images<" in panel.accuracy.value
    assert "60 %" in panel.costs.value
    assert "24.7 of 41.2 M" in panel.costs.value
    assert "no images were given" in Scorecard(FakeSession(data=False), STRINGS).accuracy.value


def test_latency_is_measured_on_demand_and_then_shown_in_its_place(session):
    panel = Scorecard(session, STRINGS)
    session.propose(keep=0.6)
    assert "pe-shut" not in panel.measure._dom_classes
    panel.measure.click()
    assert "pe-shut" in panel.measure._dom_classes
    assert ">99 %<" in panel.latency.value
    assert "no faster" in panel.latency.value


def test_the_reference_says_its_interval_and_images_and_whether_it_is_done(session):
    panel = Scorecard(session, STRINGS)
    assert ">reference 92.6<" in panel.accuracy.value
    assert 'title="The dense network on 2,000 images; 95 % interval: 91.4 to 93.7 %"' in panel.accuracy.value
    session.reference = Estimate("dense", 90, 100, 2000)
    assert ">reference 90.0 so far<" in panel.accuracy.value
    assert "The dense network on 100 of 2,000 images; 95 % interval: 82.6 to 94.5 %" in panel.accuracy.value
    session.reference_is_dense = False
    assert "The dense network" not in panel.accuracy.value
    assert "The state that you set as the reference" in panel.accuracy.value


def test_a_stale_estimate_looks_stale_and_names_the_state_that_it_is_of(session):
    panel = Scorecard(session, STRINGS)
    session.estimate_share = 0.6
    session.current = False
    assert "pe-stale" in panel.accuracy.value
    assert ">of 60 % of MACs<" in panel.accuracy.value
    assert "being counted…" in panel.accuracy.value
    session.stage = Message("stage_latency")
    assert ">measuring latency…<" in panel.accuracy.value
    assert "reference 92.6" in panel.accuracy.value
    session.propose(cost="params")
    assert ">of 60 % of parameters<" in panel.accuracy.value
    session.current = True
    assert "measuring" not in panel.accuracy.value
    assert "pe-stale" not in panel.accuracy.value


def test_accuracy_names_recovery_images_and_interval():
    html = accuracy_html(STRINGS, Estimate("k", 532, 640, 2000), "re-estimated BN", "<i>reference</i>", "")
    assert ">re-estimated BN · 640 of 2,000 images<" in html
    assert ">83.1<" in html
    assert "<i>reference</i>" in html
    assert 'aria-valuenow="640"' in html
    assert "± 2.9" in html
    assert "pe-stale" not in html


def test_before_the_first_image_the_reason_stands_where_the_number_will():
    assert "no images were given" in accuracy_html(STRINGS, None, "", "", "no images were given")


def test_progress_is_drawn_until_all_images_are_seen():
    assert "progressbar" in accuracy_html(STRINGS, Estimate("k", 500, 640, 2000), "", "", "")
    assert "progressbar" not in accuracy_html(STRINGS, Estimate("k", 1500, 2000, 2000), "", "", "")


def test_latency_says_where_fewer_macs_are_not_less_time():
    dense, now = Latency(1, 0.001, 0.0009, 0.0011, 20), Latency(1, 0.00095, 0.0009, 0.001, 20)
    assert "no faster" in latency_html(STRINGS, (dense, now), cheaper=True)
    assert "no faster" not in latency_html(STRINGS, (dense, now), cheaper=False)
    assert "not measured yet" in latency_html(STRINGS, (), cheaper=True)


def test_latency_is_a_share_of_the_dense_network_and_a_time():
    pair = Latency(1, 0.00634, 0.006, 0.007, 20), Latency(1, 0.00187, 0.0018, 0.0019, 20)
    html = latency_html(STRINGS, pair, cheaper=True)
    assert ">29 %<" in html
    assert ">1.9 ms<" in html
    assert 'title="Now, of the dense network&#x27;s.' in html
