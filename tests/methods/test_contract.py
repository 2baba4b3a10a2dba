"""What every method of METHODS keeps to: resumed as never stopped, nothing touched, views at every stage, all texts."""

import itertools
import random

import numpy as np
import pytest
import torch

import explorer
from explorer import literature
from explorer.charts.marks import ROLES, Chart
from explorer.figures.chart_drawing import Drawing
from explorer.methods import METHODS, events
from explorer.methods.base import Seen
from explorer.methods.recording import read_recorded
from explorer.methods.settings import declared
from explorer.methods.snapshots import Snapshot
from explorer.runs import Run
from explorer.strings import LANGUAGES, Strings
from tests.dynamic.toys import network_of
from tests.evaluate.toys import fingerprint
from tests.methods.searches import SETTINGS

SAY = Strings("en")
pytestmark = pytest.mark.parametrize("name", METHODS)


@pytest.fixture(scope="module")
def network():
    return network_of("residual")


@pytest.fixture(scope="module")
def graph(network):
    return explorer.trace(network.model, network.example)


@pytest.fixture(scope="module")
def whole(network, graph):
    """All events of every method, run once."""
    return {name: list(events(network, graph, name, **SETTINGS[name])) for name in METHODS}


def same(one, other):
    assert one.plan == other.plan
    assert one.run.steps.tolist() == other.run.steps.tolist()
    assert one.training.macs == other.training.macs
    for group in ("series", "losses"):
        ours, theirs = getattr(one.run, group), getattr(other.run, group)
        assert set(ours) == set(theirs)
        for name, values in ours.items():
            np.testing.assert_array_equal(values, theirs[name])
    for ours, theirs in zip(
        one.network.state_dict().values(), other.network.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("stop_after", [1, 4, 7])
def test_stopped_and_resumed_is_as_never_stopped(name, network, graph, whole, stop_after, tmp_path):
    answers = itertools.chain([False] * stop_after, itertools.repeat(True))
    *_, halted = events(network, graph, name, stop=lambda: next(answers), **SETTINGS[name])
    assert halted.snapshot.step == stop_after
    halted.snapshot.save(tmp_path / "snapshot")
    resumed = Snapshot.load(tmp_path / "snapshot")
    *_, last = events(network, graph, name, resume=resumed, **SETTINGS[name])
    same(last.found, whole[name][-1].found)


def test_same_seed_same_result_and_nothing_is_touched(name, network, graph, whole):
    modes = [module.training for module in network.model.modules()]
    before = fingerprint(network.model)
    states = torch.random.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002
    *_, last = events(network, graph, name, **SETTINGS[name])
    same(last.found, whole[name][-1].found)
    assert fingerprint(network.model) == before
    assert [module.training for module in network.model.modules()] == modes
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.model.modules())
    assert torch.equal(torch.random.get_rng_state(), states[0])
    assert np.random.get_state()[1].tolist() == states[1]  # noqa: NPY002
    assert random.getstate() == states[2]
    assert not last.found.network.training


def test_a_run_grows_frame_by_frame_and_says_when_it_ended(name, whole):
    told = whole[name]
    runs = [event.run for event in told if event.run is not None]
    assert all(isinstance(run, METHODS[name].run) for run in runs)
    assert [run.ended for run in runs] == [False] * (len(runs) - 1) + [True]
    assert [run.frames for run in runs[:-1]] == list(range(1, len(runs)))
    assert set(runs[-1].losses) == set(METHODS[name].losses)
    assert {loss for event in told for loss in event.losses} == set(METHODS[name].losses)
    assert runs[-1].training.macs == told[-1].training.macs > 0
    yields = METHODS[name].yields
    assert (told[-1].found.plan is not None) == bool(runs[-1].widths) == (yields == "widths")


def drawn(chart):
    """The chart, shown by Bokeh; what is drawn is what the marks say."""
    assert isinstance(chart, Chart)
    assert chart.sentences
    assert chart.x.low < chart.x.high
    assert chart.y.low < chart.y.high
    drawing = Drawing("test", 200)
    drawing.show(chart)
    rows = sum(len(next(iter(source.data.values()))) for source in drawing.sources.values())
    assert rows > 0
    assert {mark.role for mark in chart.marks} <= set(ROLES)
    for source in drawing.sources.values():
        assert len({len(values) for values in source.data.values()}) == 1
    return chart


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_view_is_drawn_empty_half_way_and_done(name, language, whole):
    say = Strings(language)
    runs = [event.run for event in whole[name] if event.run is not None]
    for run in (runs[0], runs[len(runs) // 2], runs[-1]):
        for view in METHODS[name].views:
            for frame in {0, run.frames // 2, run.frames - 1}:
                chart = view.draw(Seen(run, frame, None, say))
                assert chart is None or drawn(chart)
    last = runs[-1]
    assert any(view.draw(Seen(last, last.frames - 1, None, say)) for view in METHODS[name].views)


def test_what_ships_is_drawn_by_every_view(name):
    network = explorer.load("resnet20")
    recorded = read_recorded(network, explorer.trace(network.model, network.example), name)
    if recorded is None:
        assert name == "fbs", "it is recorded as one of the ways of ManiDP"
        return
    for view in METHODS[name].views:
        drawn(view.draw(Seen(recorded.run, recorded.run.frames - 1, recorded.evidence, SAY)))


def test_all_texts_are_there_in_every_language(name, whole):
    method = METHODS[name]
    keys = [f"{name}_about", *(f"{name}_loss_{loss}" for loss in method.losses)]
    keys += [f"{name}_phase_{phase}" for phase in {event.phase for event in whole[name]} - {""}]
    for setting in declared(method.settings):
        if setting.shown:
            label = f"{name}_set_{setting.name}"
            keys += [label, f"{label}_help", *(f"{label}_{choice}" for choice in setting.choices)]
    keys += [key for view in method.views for key in (view.text, f"{view.text}_help")]
    for language in LANGUAGES:
        table = Strings(language).table
        assert [key for key in keys if not table.get(key)] == []
    assert method.label
    assert method.about
    assert method.yields in ("widths", "instances")
    assert issubclass(method.run, Run)


def test_settings_are_refused_in_words_before_any_work(name, network, graph):
    for setting in declared(METHODS[name].settings):
        wrong = ["half", None] if setting.kind != "choice" else ["none of them"]
        if setting.kind != "choice" and setting.low > -1e9:
            wrong.append(setting.low - 1)
        for value in wrong:
            with pytest.raises(explorer.ExplorerError, match=setting.name):
                events(network, graph, name, **{setting.name: value})
    with pytest.raises(explorer.UnknownName, match="tempo"):
        events(network, graph, name, tempo=1)
    with pytest.raises(explorer.BadInput, match="batch"):
        events(network, graph, name, **{**SETTINGS[name], "batch": 4096})
    bare = explorer.load(network.model, example=network.example)
    with pytest.raises(explorer.BadInput, match="without training images"):
        events(bare, graph, name)


def test_published_tables_have_a_source(name):
    for table in literature.tables(name):
        assert table.rows
        assert table.source
        assert "<table>" in literature.as_html([table])
        assert len(literature.sentences([table])) == len(table.rows)
