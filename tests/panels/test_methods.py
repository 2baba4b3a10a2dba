"""The methods tab over a real session of a tiny network; runs are values of real, short trainings."""

from dataclasses import replace

import pytest

import explorer
from explorer.figures.chart_drawing import Drawing
from explorer.methods import METHODS, search
from explorer.panels.methods.pane import MethodPane
from explorer.panels.methods.tab import MethodsTab
from explorer.records import Progress, Runs, TrainingCost
from explorer.runs import Recorded
from explorer.session import Session
from explorer.strings import Strings
from tests.dynamic.toys import network_of
from tests.methods.searches import SETTINGS
from tests.panels.test_chain import is_shown, words
from tests.session.conftest import WAIT

SAY = Strings("en")
OTHERS = [name for name in METHODS if name != "dmcp"]


@pytest.fixture(scope="module")
def network():
    return network_of("residual")


@pytest.fixture(scope="module")
def found(network):
    return {name: search(network, name, **SETTINGS[name]) for name in OTHERS}


@pytest.fixture
def session(network):
    made = Session(network)
    assert made.wait(WAIT)
    yield made
    made.close()


@pytest.fixture
def opened(session):
    """The tab, and what was asked to be opened."""
    asked = []
    tab = MethodsTab(session, SAY, 1.0, asked.append)
    yield tab, asked
    for pane in tab.panes.values():
        pane.close()
    tab.close()


def progress(name, run, state="ready"):
    return Progress(
        name, dict(run.settings), state, 10, run.of, "train", {}, None, TrainingCost(1, 1, 1), run
    )


def rows(drawing: Drawing) -> int:
    return sum(len(next(iter(source.data.values()))) for source in drawing.sources.values())


def test_every_method_has_a_pane_and_only_the_one_that_is_seen_follows(opened):
    tab, _asked = opened
    assert [name for _label, name in tab.choice.options] == list(METHODS)
    for name in METHODS:
        tab.choice.value = name
        assert [pane.binding.active for pane in tab.panes.values()] == [each == name for each in tab.panes]
        assert [is_shown(pane) for pane in tab.panes.values()] == [each == name for each in tab.panes]
    tab.binding.active = False
    assert not any(pane.binding.active for pane in tab.panes.values())


@pytest.mark.parametrize("name", OTHERS)
def test_before_any_training_it_says_how_to_begin(name, opened):
    tab, _asked = opened
    tab.turn_to(name)
    pane = tab.panes[name]
    assert isinstance(pane, MethodPane)
    assert words(pane.title.value) == SAY("method_none")
    assert is_shown(pane.empty)
    assert not is_shown(pane.figure)
    assert not is_shown(pane.uses)
    assert not pane.form.refusal


@pytest.mark.parametrize("name", OTHERS)
def test_a_run_of_the_session_is_shown_by_every_view_and_replayed(name, opened, session, found):
    tab, asked = opened
    tab.turn_to(name)
    pane, run = tab.panes[name], found[name].run
    session.runs = Runs({name: progress(name, run)})
    assert pane.slider.max == run.frames - 1 == pane.slider.value
    for place, view in enumerate(METHODS[name].views):
        pane.view.value = place
        there = view.text != "view_contenders"  # measured for recorded runs only
        assert is_shown(pane.figure) == there
        assert is_shown(pane.empty) == (not there)
        assert (rows(pane._drawing) > 0) or not there
        assert is_shown(pane.replay) == (there and view.replayed)
    pane.view.value = 0
    pane.slider.value = 2
    assert f"step {run.steps[2]} of {run.of}" in words(pane.step.value)
    session.runs = Runs({name: progress(name, run, "running")})
    assert pane.slider.value == 2, "who looks at an earlier step stays there"
    widths = METHODS[name].yields == "widths"
    session.runs = Runs({name: progress(name, run)})
    assert (is_shown(pane.uses), is_shown(pane.opens), is_shown(pane.shows)) == (widths, widths, not widths)
    if widths:
        pane.uses.click()
        assert {group: session.plan.widths[group] for group in run.widths} == dict(run.widths)
        pane.opens.click()
        assert asked == [name]


def test_what_is_recorded_is_shown_with_what_was_measured_until_one_chooses(opened, session, found):
    tab, _asked = opened
    tab.turn_to("slimming")
    pane, run = tab.panes["slimming"], found["slimming"].run
    evidence = explorer.methods.evidence
    contenders = tuple(
        evidence.Contender(name, (0.4, 0.4), (0.7, 0.8)) for name in ("slimming", "one_shot", "uniform")
    )
    measured = evidence.WidthsEvidence(40, 2, 1, (0, 1), contenders)
    own = replace(run, settings={**run.settings, "seed": 7})
    session.runs = Runs({}, {"slimming": Recorded(run, measured, "a command")})
    assert words(pane.title.value).startswith(SAY("method_recorded"))
    assert not is_shown(pane.whose)
    pane.view.value = 3
    assert is_shown(pane.figure)
    assert "80" in pane.summary.value or "75.0 %" in pane.summary.value
    session.runs = Runs({"slimming": progress("slimming", own)}, session.runs.recorded)
    assert is_shown(pane.whose)
    assert not is_shown(pane.figure), "nothing was measured after one's own"
    pane.whose.value = "recorded"
    assert is_shown(pane.figure)
    pane.view.value = 4
    assert is_shown(pane.papers)
    assert "arxiv.org/abs/1708.06519" in pane.papers.value
    assert "DenseNet-40" in pane.summary.value


def test_a_failed_training_says_why(opened, session, found):
    tab, _asked = opened
    tab.turn_to("fbs")
    told = replace(progress("fbs", found["fbs"].run, "failed"), error="The loss is <nan>.")
    session.runs = Runs({"fbs": told})
    assert words(tab.panes["fbs"].title.value) == "The loss is <nan>."


def test_a_form_begins_the_training_that_it_says(opened, session):
    tab, _asked = opened
    tab.turn_to("slimming")
    form = tab.panes["slimming"].form
    for name, value in (("epochs", 1), ("fine_tune", 1), ("keep", 60)):
        form.fields["slimming"][name].value = value
    form.popover.opener.value = True
    assert "2.0 epochs" in form.cost.value
    form.fields["slimming"]["passes"].value = 0
    form.start.click()
    assert not session.runs.progress
    assert "passes" in form.answer.value
    form.fields["slimming"]["passes"].value = 1
    form.start.click()
    assert not form.popover.opener.value
    assert session.wait(WAIT)
    told = session.runs.progress["slimming"]
    assert told.state == "ready"
    assert told.settings["keep"] == 0.6
    assert told.run.widths
