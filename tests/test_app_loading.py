"""One explorer, several networks: what is shown after another, what undo brings back, and what is freed."""

import gc
import threading
import weakref

import pytest
import torch
from ipywidgets.widgets.widget import _instances as open_widgets
from torch import nn

from explorer.app import Explorer
from explorer.errors import BadInput, ExplorerError
from tests.session.conftest import WAIT, tiny_data, tiny_model


@pytest.fixture
def threads_before():
    return set(threading.enumerate())


@pytest.fixture
def dashboard():
    result = Explorer(tiny_model(), data=tiny_data())
    assert result.session.wait(WAIT)
    yield result
    result.close()


def wide():
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Conv2d(16, 4, 3))


EXAMPLE = torch.zeros(1, 1, 8, 8)


def test_another_network_takes_the_place_of_the_first(dashboard):
    header, picker = dashboard.children[1], dashboard._picker
    dashboard.load(wide(), example=EXAMPLE)
    assert dashboard.session.network.data is None
    assert dashboard.plan.widths == {group.id: group.size for group in dashboard.session.graph.prunable}
    dashboard.set(keep=0.5)
    assert dashboard.network()[0].out_channels < 16
    # What the page keeps, and with it the focus: the first line and the picker in it.
    assert dashboard.children[1] is header
    assert header.children == (picker, dashboard._board.heading)
    assert "no images" in dashboard._board.heading.images.value
    assert dashboard.children[2:] == dashboard._board.panels


def test_the_last_network_is_freed_with_its_threads_and_widgets(threads_before, dashboard):
    session = dashboard.session
    left = [weakref.ref(each) for each in (session, session.network.model, dashboard._board.bars)]
    widgets, threads = set(open_widgets), set(threading.enumerate())
    workers = [each for each in threads - threads_before if each.name == "explorer-worker"]
    assert len(workers) > 5
    del session
    dashboard.load(wide(), example=EXAMPLE)
    assert len(set(open_widgets) - widgets) > 50
    assert len(open_widgets) < 1.2 * len(widgets)
    for worker in workers:
        worker.join(WAIT)
        assert not worker.is_alive()
    gc.collect()
    assert [reference() for reference in left] == [None] * 3


def test_undo_at_the_beginning_brings_the_last_network_back_with_all_that_was_asked(dashboard):
    dashboard.set(keep=0.7)
    dashboard.set(keep=0.5)
    half = dashboard.plan
    dashboard.load(wide(), example=EXAMPLE)
    actions = dashboard._board.actions
    assert not dashboard.session.can_undo
    assert not actions.undo.disabled
    dashboard.undo()
    assert dashboard.session.network.data.name == "noise"
    assert dashboard.plan == half
    assert dashboard.session.request.keep == 0.5
    assert dashboard.session.wait(WAIT)  # and its accuracy answers
    dashboard.undo()
    assert dashboard.session.request.keep == 0.7


def test_redo_goes_forward_to_the_next_network_until_something_else_is_asked(dashboard):
    dashboard.load(wide(), example=EXAMPLE)
    dashboard.set(keep=0.6)
    dashboard.undo()
    dashboard.undo()
    assert dashboard.session.network.data is not None
    assert not dashboard._board.actions.redo.disabled
    dashboard.redo()
    assert dashboard.session.network.data is None
    dashboard.redo()
    assert dashboard.session.request.keep == 0.6
    dashboard.undo()
    dashboard.undo()
    dashboard.set(keep=0.9)
    assert dashboard._board.actions.redo.disabled
    dashboard.redo()
    assert dashboard.session.request.keep == 0.9


def test_what_was_undone_is_gone_after_another_network(dashboard):
    dashboard.set(keep=0.5)
    dashboard.undo()
    dashboard.load(wide(), example=EXAMPLE)
    dashboard.undo()
    assert not dashboard.session.can_redo


def test_what_cannot_be_loaded_changes_nothing(dashboard):
    dashboard.set(keep=0.5)
    board, children, open_before = dashboard._board, dashboard.children, set(open_widgets)
    for wrong in ("no network of that name", wide()):
        with pytest.raises(ExplorerError):
            dashboard.load(wrong)
    assert dashboard._board is board
    assert dashboard.children == children
    assert set(open_widgets) == open_before
    assert dashboard.session.request.keep == 0.5
    assert not dashboard._changes.can_go_back
    dashboard.set(keep=0.6)  # it is alive


def test_a_fault_while_drawing_leaves_the_old_network(dashboard, monkeypatch):
    monkeypatch.setattr("explorer.panels.header.scorecard.Scorecard.__init__", lambda *_arguments: 1 / 0)
    before = dashboard.session
    with pytest.raises(ZeroDivisionError):
        dashboard.load(wide(), example=EXAMPLE)
    assert dashboard.session is before
    dashboard.set(keep=0.6)


def test_a_network_is_loaded_beside_the_explorer_by_its_picker(dashboard):
    picker, stages = dashboard._picker, []
    dashboard._changes.observe(lambda change: stages.append(change["new"]), "stage")
    picker.opener.value = True
    picker.network.kind.value = "bundled"
    picker.network.bundled.value = "resnet20"
    picker.images.kind.value = "none"
    picker.load.click()
    assert dashboard._changes.idle(WAIT)
    assert stages == ["picker_stage_load", "frame_network", "frame_drawing", ""]
    assert dashboard.session.network.name == picker.opener.description == "resnet20"
    assert dashboard.session.network.data is None
    assert not picker.opened


def test_an_error_is_told_where_it_is_seen(dashboard):
    picker = dashboard._picker
    picker.opener.value = True
    picker.network.kind.value = "archive"
    picker.network.archive.path.value = "/no/such/file.pt2"
    picker.load.click()
    assert dashboard._changes.idle(WAIT)
    assert "file.pt2" in picker.answer.value
    assert 'role="alert"' in picker.answer.value
    assert dashboard.session.error == ""
    picker.opener.value = False
    picker.load.click()
    assert dashboard._changes.idle(WAIT)
    assert "file.pt2" in dashboard.session.error


def test_untrained_and_without_images_there_are_plans_and_costs():
    dashboard = Explorer("resnet20", weights=None)
    assert "untrained" in dashboard._board.heading.images.value
    dashboard.close()
    dashboard = Explorer("squeezenet1_1", weights=None)
    dashboard.set(keep=0.5)
    assert dashboard.session.cost.macs <= 0.5 * dashboard.session.dense_cost.macs
    assert dashboard.estimate is None
    assert "untrained, no images" in dashboard._board.heading.images.value
    dashboard.close()


def test_a_closed_explorer_loads_nothing(dashboard):
    dashboard.close()
    with pytest.raises(ExplorerError, match="closed"):
        dashboard.load(wide(), example=EXAMPLE)


def test_what_load_takes_is_passed_on(tmp_path):
    with pytest.raises(BadInput, match=r"missing\.safetensors"):
        Explorer(wide(), example=EXAMPLE, weights=tmp_path / "missing.safetensors")
    dashboard = Explorer(
        tiny_model(), (torch.full((6, 1, 8, 8), 0.5), torch.arange(6) % 3), normalize=lambda x: x + 1
    )
    assert dashboard.session.network.example.mean() == 1.5
    dashboard.close()
