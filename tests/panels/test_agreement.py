"""Panels over images without labels: they say agreement where they would say accuracy."""

import re
from html import unescape

import pytest

from explorer.app import Explorer
from explorer.panels.header.final_check import answer_html
from explorer.panels.header.scorecard import Scorecard, accuracy_html, nats_of
from explorer.records import FinalCheck
from explorer.strings import LANGUAGES, Strings
from explorer.values import Cost, Estimate, Recovery
from tests.panels.fake_session import FakeSession
from tests.session.conftest import WAIT
from tests.session.test_unlabelled import decided, tiny_data, without_labels

STRINGS = Strings("en").agreeing()
NOW, ITSELF = Estimate("k", 971, 1000, 2000, "agreement", 0.03127), Estimate("d", 9, 9, 9, "itself", 0.0)


def words(html: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", html)).split())


def test_the_scorecard_says_agreement_and_divergence():
    html = accuracy_html(STRINGS, NOW, "re-estimated BN", "", "")
    assert words(html) == (
        "Agreement with dense re-estimated BN · 1,000 of 2,000 images 97.1 % ± 1.1 divergence 0.031 nats"
    )
    assert "in nats" in html


def test_the_scorecard_says_that_the_dense_network_agrees_by_definition():
    said = words(accuracy_html(STRINGS, ITSELF, "nothing cut", "", ""))
    assert said == "Agreement with dense nothing cut · 9 images 100 % by definition"


def test_a_stale_divergence_is_not_shown_beside_the_new_state():
    html = accuracy_html(
        STRINGS, NOW, "re-estimated BN", "", "", earlier="of 60 % of MACs", working="counting"
    )
    assert "nats" not in html


def test_a_reference_of_100_percent_by_definition_is_not_repeated():
    session = FakeSession()
    session.estimate, session.reference = NOW, ITSELF
    assert "reference" not in words(Scorecard(session, STRINGS).accuracy.value)
    session.reference = NOW
    assert "reference 97.1" in words(Scorecard(session, STRINGS).accuracy.value)


def test_an_accuracy_has_no_divergence():
    assert words(accuracy_html(Strings("en"), Estimate("k", 8, 9, 9), "", "", "")).endswith("88.9 % ± 20.8")


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0.000"), (1e-9, "<0.001"), (0.03127, "0.031"), (0.996, "1.00"), (12.3, "12.30")],
)
def test_a_divergence_is_short_and_never_zero_by_rounding(value, text):
    assert nats_of(value) == text


def test_a_final_check_says_both():
    cost = Cost(10, 10, 10, 10, (), ())
    said = words(answer_html(STRINGS, FinalCheck(1, Recovery(), cost, NOW, ITSELF), cost))
    assert "97.1 % agreement (95.9 to 98.0)" in said
    assert "dense network 100 % by definition" in said


@pytest.fixture
def dashboard():
    made = Explorer(decided(), data=without_labels(tiny_data()))
    yield made
    made.close()


def test_the_whole_dashboard_speaks_of_agreement(dashboard):
    session = dashboard.session
    assert session.wait(WAIT)
    session.propose(keep=0.5)
    assert session.wait(WAIT)
    texts, waiting = [], list(dashboard._board.panels)
    while waiting:
        widget = waiting.pop()
        waiting += getattr(widget, "children", ())
        texts += [str(getattr(widget, name, "")) for name in ("value", "description", "tooltip")]
    said = words(re.sub(r"<style>.*?</style>", "", " ".join(texts), flags=re.DOTALL))
    assert "Agreement with dense" in said
    assert "answered otherwise than by the dense network" in said
    assert re.findall(r".{40}\baccura.{20}", said, re.IGNORECASE) == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_has_words_for_it(language):
    strings = Strings(language)
    assert strings.agreeing()("accuracy") != strings("accuracy")
    assert strings.agreeing()("tradeoff_y") != strings("tradeoff_y")
